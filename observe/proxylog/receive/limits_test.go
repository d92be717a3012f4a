package receive_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
	"github.com/molecule-ai/billing-reconciler/observe/proxylog/receive"
)

// TestWhatIsRefused: 400, 413 and 415 are never sent again, so each must be for
// what cannot be taken whenever it comes.
func TestWhatIsRefused(t *testing.T) {
	small := func(o *receive.Options) { o.MaxBody, o.MaxText, o.MaxLines = 4<<10, 32<<10, 50 }
	air := bytes.Repeat([]byte{'\n'}, 8<<20)
	many := strings.Repeat("x\n", 51)
	ingest := func(kind, encoding string, body []byte) sent {
		return sent{path: "/ingest", kind: kind, encoding: encoding, body: body}
	}
	loki := func(kind, encoding string, body []byte) sent {
		return sent{path: "/loki/api/v1/push", kind: kind, encoding: encoding, body: body}
	}
	logs := func(kind, encoding string, body []byte) sent {
		return sent{path: "/v1/logs", kind: kind, encoding: encoding, body: body}
	}
	half := func(b []byte) []byte { return b[:len(b)/2] }
	for _, c := range []struct {
		name   string
		push   sent
		change func(*receive.Options)
		status int
		says   string
	}{
		{"a body that is too long", ingest("text/plain", "", make([]byte, 5<<10)), small, 413, "at most 4096 are taken"},
		{"too long unpacked", ingest("text/plain", "gzip", packed(t, "gzip", []byte(strings.Repeat(" ", 33<<10)))), small, 413, "longer than 32768 bytes unpacked"},
		{"by zstd, too", ingest("text/plain", "zstd", packed(t, "zstd", []byte(strings.Repeat(" ", 33<<10)))), small, 413, "unpacked"},
		{"by snappy, too", loki("application/x-protobuf", "", snappy.Encode(nil, make([]byte, 33<<10))), small, 413, "at most 32768 are taken"},
		{"in a record of Firehose, too", firehose("r", packed(t, "gzip", make([]byte, 33<<10))), small, 413, "longer than 32768 bytes unpacked"},
		{"too many lines", ingest("text/plain", "", []byte(many)), small, 413, "more than 50 lines"},
		{"too many entries", loki("application/json", "", lokiJSON(strings.Fields(many), 1)), small, 413, "more than 50 lines"},
		{"too many records", logs("application/x-protobuf", "", otlpProto(records(strings.Fields(many), 1))), small, 413, "more than 50 lines"},
		{"a bomb of gzip", ingest("text/plain", "gzip", packed(t, "gzip", air)), nil, 413, "250 times longer"},
		{"a bomb of zstd", ingest("text/plain", "zstd", packed(t, "zstd", air)), nil, 413, "250 times longer"},
		{"a bomb in Loki's JSON", loki("application/json", "gzip", packed(t, "gzip", air)), nil, 413, "250 times longer"},
		{"a bomb in OTLP", logs("application/json", "zstd", packed(t, "zstd", air)), nil, 413, "250 times longer"},
		{"a bomb in a record of Firehose", firehose("r", packed(t, "gzip", air)), nil, 413, "250 times longer"},
		{"a snappy block that says it is a bomb", loki("application/x-protobuf", "snappy", append(binary.AppendUvarint(nil, 1<<32-1), 0)), nil, 413, "at most"},
		{"a window of zstd that is too large", ingest("text/plain", "zstd", wideFrame(t)), nil, 413, "wants a window of"},
		{"an encoding nobody knows", ingest("text/plain", "br", nil), nil, 415, `Content-Encoding "br"`},
		{"two encodings", ingest("text/plain", "gzip, gzip", nil), nil, 415, "Content-Encoding"},
		{"protobuf for lines", ingest("application/x-protobuf", "", nil), nil, 415, "send lines as text/plain"},
		{"a form for Loki", loki("text/plain", "", nil), nil, 415, "send application/json"},
		{"a form for OTLP", logs("text/plain", "", nil), nil, 415, "send application/x-protobuf"},
		{"gzip that is none", ingest("text/plain", "gzip", []byte("hello, hello")), nil, 400, "unpack gzip"},
		{"gzip cut short", ingest("text/plain", "gzip", half(packed(t, "gzip", []byte(numbered(1))))), nil, 400, "unpack gzip"},
		{"zstd that is none", ingest("text/plain", "zstd", []byte("hello, hello")), nil, 400, "unpack zstd"},
		{"zstd cut short", ingest("text/plain", "zstd", half(packed(t, "zstd", []byte(numbered(1))))), nil, 400, "unpack zstd"},
		{"snappy that is none", loki("application/x-protobuf", "", []byte("\x05hello")), nil, 400, "unpack snappy"},
		{"an array cut short", ingest("application/json", "", []byte(`[{"a":1},`)), nil, 400, "no"},
		{"JSON cut short for Loki", loki("application/json", "", []byte(`{"streams":[`)), nil, 400, "no JSON"},
		{"JSON of something else", loki("application/json", "", []byte(`{"a":1}`)), nil, 400, `{"streams": [...]}`},
		{"a time that is none", loki("application/json", "", []byte(`{"streams":[{"values":[["noon","x"]]}]}`)), nil, 400, "nanoseconds"},
		{"an entry without a line", loki("application/json", "", []byte(`{"streams":[{"values":[["1"]]}]}`)), nil, 400, "of the form"},
		{"a line that is none", loki("application/json", "", []byte(`{"streams":[{"values":[["1",2]]}]}`)), nil, 400, "not a string"},
		{"protobuf cut short", loki("application/x-protobuf", "", snappy.Encode(nil, half(lokiProto(numberedLines(0, 2), 1)))), nil, 400, "no protobuf"},
		{"protobuf cut short for OTLP", logs("application/x-protobuf", "", half(otlpProto(records(numberedLines(0, 2), 1)))), nil, 400, "no protobuf"},
		{"JSON cut short for OTLP", logs("application/json", "", []byte(`{"resourceLogs":[`)), nil, 400, "no JSON"},
		{"a time that is none for OTLP", logs("application/json", "", []byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"noon"}]}]}]}`)), nil, 400, "nanoseconds"},
		{"no request of Firehose", sent{path: "/ingest/firehose", kind: "application/json", body: []byte(`{"records":[]}`)}, nil, 400, "requestId"},
		{"data that is no base64", sent{path: "/ingest/firehose", kind: "application/json", body: []byte(`{"requestId":"r","records":[{"data":"?"}]}`)}, nil, 400, "base64"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLedger(nil)
			var changes []func(*receive.Options)
			if c.change != nil {
				changes = append(changes, c.change)
			}
			w := c.push.to(routes(receiver(l, changes...)))
			if w.Code != c.status || !strings.Contains(strings.ReplaceAll(w.Body.String(), `\"`, `"`), c.says) {
				t.Errorf("got %d %q, want %d %q", w.Code, w.Body, c.status, c.says)
			}
			if l.asked > 0 {
				t.Error("something was counted")
			}
		})
	}
}

// wideFrame is a zstd frame whose window is 16 MiB.
func wideFrame(t *testing.T) []byte {
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, zstd.WithWindowSize(16<<20), zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	for n := range 2000 {
		fmt.Fprintln(w, numbered(n))
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	return out.Bytes()
}

// TestManySmallThingsTakeNoMoreThanTheirBytes: generated code would make
// gigabytes of these bodies.
func TestManySmallThingsTakeNoMoreThanTheirBytes(t *testing.T) {
	const much = 6 << 20
	empties := bytes.Repeat([]byte{0x0a, 0x00}, much/2)
	for name, push := range map[string]sent{
		"empty streams":             {path: "/loki/api/v1/push", kind: "application/x-protobuf", encoding: "identity", body: empties},
		"empty resources":           {path: "/v1/logs", kind: "application/x-protobuf", body: empties},
		"empty records":             {path: "/v1/logs", kind: "application/x-protobuf", body: nested(nil, 1, nested(nil, 2, bytes.Repeat([]byte{0x12, 0x00}, much/2)))},
		"empty attributes":          {path: "/v1/logs", kind: "application/x-protobuf", body: nested(nil, 1, nested(nil, 2, nested(nil, 2, bytes.Repeat([]byte{0x32, 0x00}, much/2))))},
		"empty resources in JSON":   {path: "/v1/logs", kind: "application/json", body: []byte(`{"resourceLogs":[{}` + strings.Repeat(",{}", much/3) + `]}`)},
		"empty streams in JSON":     {path: "/loki/api/v1/push", kind: "application/json", body: []byte(`{"streams":[{}` + strings.Repeat(",{}", much/3) + `]}`)},
		"empty records of Firehose": {path: "/ingest/firehose", kind: "application/json", body: []byte(`{"requestId":"r","records":[{}` + strings.Repeat(",{}", much/3) + `]}`)},
		"an array of nothing":       {path: "/ingest", kind: "application/json", body: []byte(`[""` + strings.Repeat(`,""`, much/3) + `]`)},
	} {
		t.Run(name, func(t *testing.T) {
			if push.path == "/loki/api/v1/push" && push.kind != "application/json" {
				push.encoding, push.body = "", snappy.Encode(nil, push.body[:200<<10])
			}
			h := routes(receiver(newLedger(nil)))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			w := push.to(h)
			runtime.ReadMemStats(&after)
			if w.Code/100 != 2 {
				t.Fatalf("got %d %s", w.Code, w.Body)
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > 8*much {
				t.Errorf("%d bytes were allocated for a body of %d", got, len(push.body))
			}
		})
	}
}

func TestALineThatIsTooLongIsSkipped(t *testing.T) {
	l := newLedger(nil)
	body := numbered(1) + "\n" + strings.Repeat("y", 5<<20) + "\n" + numbered(2) + "\n" + strings.Repeat("z", 1<<20) + "\n" + numbered(3)
	if w := ndjson(body).to(routes(receiver(l))); w.Code != 200 {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	if got, want := l.sums(), [3]int64{5, 3, 2}; got != want {
		t.Errorf("got %v lines, calls, not understood, want %v", got, want)
	}
}

// gate is a Counter that counts when it is opened.
type gate struct {
	*ledger
	entered chan struct{}
	open    chan struct{}
}

func (g *gate) Count(ctx context.Context, b *proxylog.Batch) error {
	g.entered <- struct{}{}
	<-g.open
	return g.ledger.Count(ctx, b)
}

// TestPushesBeyondTheMemoryAreToldToComeAgain: nothing of what is being worked
// on is lost, and the place is free again afterwards.
func TestPushesBeyondTheMemoryAreToldToComeAgain(t *testing.T) {
	g := &gate{newLedger(nil), make(chan struct{}), make(chan struct{})}
	h := routes(receiver(g, func(o *receive.Options) { o.InFlight = 512 << 10 }))
	push := func(no int) *httptest.ResponseRecorder {
		return forms[0].make(t, numberedLines(no*100, no*100+100), no).to(h)
	}
	var running sync.WaitGroup
	refused := 0
	for no := range 20 {
		done := make(chan *httptest.ResponseRecorder, 1)
		running.Go(func() { done <- push(no) })
		select {
		case <-g.entered:
		case w := <-done:
			refused++
			if w.Code != 429 || w.Header().Get("Retry-After") != "1" {
				t.Errorf("got %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
			}
		}
	}
	if refused == 0 || refused >= 19 {
		t.Errorf("%d of 20 were refused", refused)
	}
	close(g.open)
	go func() {
		for range g.entered { //nolint:revive // lets all in
		}
	}()
	defer close(g.entered)
	running.Wait()
	if w := push(99); w.Code != 200 {
		t.Errorf("afterwards: got %d", w.Code)
	}
	if got, want := g.sums()[0], int64((20-refused+1)*100); got != want {
		t.Errorf("got %d lines counted, want %d", got, want)
	}
}

// TestAPushThatIsAloneMayBeLargerThanTheMemory: otherwise it could never come.
func TestAPushThatIsAloneMayBeLargerThanTheMemory(t *testing.T) {
	l := newLedger(nil)
	h := routes(receiver(l, func(o *receive.Options) { o.InFlight = 64 << 10 }))
	for no := range 3 {
		if w := forms[2].make(t, numberedLines(no*5000, no*5000+5000), no).to(h); w.Code != 204 {
			t.Fatalf("got %d %s", w.Code, w.Body)
		}
	}
	if got := l.sums()[0]; got != 15_000 {
		t.Errorf("got %d lines", got)
	}
}

// TestSlowBodiesAreGivenUp, and may be sent again.
func TestSlowBodiesAreGivenUp(t *testing.T) {
	l := newLedger(nil)
	server := httptest.NewServer(routes(receiver(l, func(o *receive.Options) { o.MaxWait = 100 * time.Millisecond })))
	defer server.Close()
	for _, path := range []string{"/ingest", "/loki/api/v1/push"} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: 1000\r\n\r\n%s\n", path,
			map[string]string{"/ingest": "text/plain", "/loki/api/v1/push": "application/json"}[path], numbered(1))
		answer, err := io.ReadAll(conn)
		conn.Close()
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 503 ") || !strings.Contains(string(answer), "Retry-After: 1\r\n") {
			t.Errorf("%s: got %q, %v", path, answer, err)
		}
	}
	if l.asked > 0 {
		t.Error("half a body was counted")
	}
}

// TestASenderThatHangsUpIsCounted once, for it comes again, whatever became of
// the first time.
func TestASenderThatHangsUpIsCounted(t *testing.T) {
	g := &gate{newLedger(nil), make(chan struct{}, 2), make(chan struct{})}
	server := httptest.NewServer(routes(receiver(g)))
	defer server.Close()
	push := forms[0].make(t, numberedLines(0, 7), 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := http.DefaultClient.Do(push.request(server.URL).WithContext(ctx))
		done <- err
	}()
	<-g.entered
	cancel()
	if err := <-done; err == nil {
		t.Error("an answer came")
	}
	close(g.open)
	response, err := http.DefaultClient.Do(push.request(server.URL))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if got := g.sums()[0]; response.StatusCode != 200 || got != 7 {
		t.Errorf("got %d, %d lines", response.StatusCode, got)
	}
}
