package receive_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"

	"github.com/molecule-ai/billing-reconciler/internal/localpg/pgtest"
	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
	"github.com/molecule-ai/billing-reconciler/observe/proxylog/receive"
)

func TestMain(m *testing.M) { pgtest.MainNoLeaks(m) }

// fate is what becomes of a batch.
type fate int

const (
	counts       fate = iota
	failsBefore       // nothing is applied, and an error comes
	failsAfter        // it is applied, and an error comes all the same
	isBusy            // ErrBusy
	countsSlowly      // after the caller's patience
)

var errBroken = errors.New("the connection broke")

// ledger is a Counter in memory, as nasty as a database may be.
type ledger struct {
	mu     sync.Mutex
	plan   func(n int) fate // of the nth batch; nil: all are counted
	asked  int
	ids    map[string]bool
	at     map[string]proxylog.Position
	state  int
	lines  int64
	unread int64
	calls  int64
	by     map[netip.Addr]int64 // calls
	groups []proxylog.Group     // of the batch counted last
}

func newLedger(plan func(n int) fate) *ledger {
	return &ledger{plan: plan, ids: map[string]bool{}, at: map[string]proxylog.Position{}, by: map[netip.Addr]int64{}}
}

func (l *ledger) Positions(_ context.Context, input, prefix string) (out []proxylog.Position, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, p := range l.at {
		if strings.HasPrefix(key, prefix) && input == "push" {
			out = append(out, p)
		}
	}
	return out, nil
}

func (l *ledger) State(context.Context, string, error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state++
	return nil
}

func (l *ledger) Count(ctx context.Context, b *proxylog.Batch) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b.Input != "push" || (len(b.Moves) > 0) == (b.ID != "") || b.Read.IsZero() {
		return fmt.Errorf("a batch of %q with %d moves, read at %v, id %q", b.Input, len(b.Moves), b.Read, b.ID)
	}
	l.asked++
	what := counts
	if l.plan != nil {
		what = l.plan(l.asked)
	}
	switch what {
	case failsBefore:
		return errBroken
	case isBusy:
		return proxylog.ErrBusy
	case countsSlowly:
		<-ctx.Done()
	}
	if l.ids[b.ID] {
		return proxylog.ErrCounted
	}
	for _, m := range b.Moves {
		if p, known := l.at[m.Key]; !known && m.From != proxylog.NoPosition || known && p.Offset != m.From {
			return proxylog.ErrMoved
		}
	}
	for _, m := range b.Moves {
		l.at[m.Key] = proxylog.Position{Key: m.Key, Offset: m.To, Detail: m.Detail}
	}
	if b.ID != "" {
		l.ids[b.ID] = true
	}
	l.lines += b.Tally.Lines
	l.unread += b.Tally.NotUnderstood
	l.groups = b.Tally.Groups()
	for _, g := range l.groups {
		l.calls += g.Billed + g.Rejected
		l.by[g.Address] += g.Billed + g.Rejected
	}
	if what == failsAfter || what == countsSlowly {
		return errBroken
	}
	return nil
}

// sums are lines, calls and lines not understood.
func (l *ledger) sums() [3]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return [3]int64{l.lines, l.calls, l.unread}
}

// receiver makes one that counts into l.
func receiver(l proxylog.Counter, change ...func(*receive.Options)) *receive.Receiver {
	o := receive.Options{Input: "push", Counter: l, Tally: &proxylog.TallyOptions{}}
	for _, c := range change {
		c(&o)
	}
	return receive.New(o)
}

// routes are all handlers, where senders look for them.
func routes(rc *receive.Receiver) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/ingest", rc.Lines())
	mux.Handle("/ingest/firehose", rc.Firehose())
	mux.Handle("/loki/api/v1/push", rc.Loki())
	mux.Handle("/v1/logs", rc.OTLP())
	return mux
}

// sent is a request that can be sent again.
type sent struct {
	path, kind, encoding, id string
	body                     []byte
}

func (s sent) request(url string) *http.Request {
	r, _ := http.NewRequest(http.MethodPost, url+s.path, bytes.NewReader(s.body))
	set := func(name, value string) {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	set("Content-Type", s.kind)
	set("Content-Encoding", s.encoding)
	set("X-Batch-Id", s.id)
	return r
}

// to sends to a handler without a network.
func (s sent) to(h http.Handler) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := s.request("http://localhost")
	h.ServeHTTP(w, r)
	return w
}

func (s sent) packed(t testing.TB, encoding string) sent {
	s.encoding, s.body = encoding, packed(t, encoding, s.body)
	return s
}

func packed(t testing.TB, encoding string, body []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	switch encoding {
	case "gzip":
		w = gzip.NewWriter(&out)
	case "zstd":
		z, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		w = z
	default:
		t.Fatal(encoding)
	}
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

const callPath = "/api/v1/internal/llm/anthropic/v1/messages"

var noon = time.Date(2026, 5, 28, 12, 0, 0, 0, time.UTC)

// address is the one that the nth line comes from.
func address(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
}

// numbered is the nth line of a proxy's log.
func numbered(n int) string {
	return fmt.Sprintf(`%s - - [%s] "POST %s HTTP/1.1" 200 512 "-" "node"`, address(n), noon.Add(time.Duration(n)*time.Millisecond).Format("02/Jan/2006:15:04:05 -0700"), callPath)
}

func numberedLines(from, to int) []string {
	var out []string
	for n := from; n < to; n++ {
		out = append(out, numbered(n))
	}
	return out
}

// forms are all ways to send lines; no is the number of the batch.
var forms = []struct {
	name string
	make func(t testing.TB, lines []string, no int) sent
}{
	{"plain lines", func(_ testing.TB, lines []string, no int) sent {
		return sent{path: "/ingest", kind: "text/plain", id: fmt.Sprint("batch ", no), body: []byte(strings.Join(lines, "\n") + "\n")}
	}},
	{"lines in a JSON array", func(_ testing.TB, lines []string, no int) sent {
		return sent{path: "/ingest", kind: "application/json", id: fmt.Sprint("batch ", no), body: asJSON(lines)}
	}},
	{"Loki's JSON", func(_ testing.TB, lines []string, no int) sent {
		return sent{path: "/loki/api/v1/push", kind: "application/json; charset=utf-8", body: lokiJSON(lines, no)}
	}},
	{"Loki's protobuf", func(_ testing.TB, lines []string, no int) sent {
		return sent{path: "/loki/api/v1/push", kind: "application/x-protobuf", body: snappy.Encode(nil, lokiProto(lines, no))}
	}},
	{"OTLP's protobuf", func(_ testing.TB, lines []string, no int) sent {
		return sent{path: "/v1/logs", kind: "application/x-protobuf", body: otlpProto(records(lines, no))}
	}},
	{"OTLP's JSON", func(t testing.TB, lines []string, no int) sent {
		return sent{path: "/v1/logs", kind: "application/json", body: otlpJSON(t, records(lines, no))}
	}},
	{"Firehose with lines", func(_ testing.TB, lines []string, no int) sent {
		half := len(lines) / 2
		return firehose(fmt.Sprint("request ", no), []byte(strings.Join(lines[:half], "\n")+"\n"), []byte(strings.Join(lines[half:], "\n")))
	}},
	{"Firehose with CloudWatch Logs", func(t testing.TB, lines []string, no int) sent {
		return firehose(fmt.Sprint("request ", no), packed(t, "gzip", cloudWatch("DATA_MESSAGE", lines)), packed(t, "gzip", cloudWatch("CONTROL_MESSAGE", []string{"CWL CONTROL MESSAGE: Checking health of destination Firehose."})))
	}},
}

func asJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func stamp(no, i int) int64 {
	return noon.Add(time.Duration(no)*time.Second + time.Duration(i)).UnixNano()
}

func lokiJSON(lines []string, no int) []byte {
	var values [][2]string
	for i, line := range lines {
		values = append(values, [2]string{fmt.Sprint(stamp(no, i)), line})
	}
	return asJSON(map[string]any{"streams": []any{map[string]any{"stream": map[string]string{"job": "proxy"}, "values": values}}})
}

func nested(b []byte, number protowire.Number, inner []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), inner)
}

func varint(b []byte, number protowire.Number, v int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), uint64(v))
}

func lokiProto(lines []string, no int) []byte {
	stream := nested(nil, 1, []byte(`{job="proxy"}`))
	for i, line := range lines {
		stream = nested(stream, 2, lokiEntry(stamp(no, i), line))
	}
	return nested(nil, 1, stream)
}

func lokiEntry(at int64, line string, meta ...string) []byte {
	entry := nested(nil, 1, varint(varint(nil, 1, at/1e9), 2, at%1e9))
	entry = nested(entry, 2, []byte(line))
	for i := 0; i+1 < len(meta); i += 2 {
		entry = nested(entry, 3, nested(nested(nil, 1, []byte(meta[i])), 2, []byte(meta[i+1])))
	}
	return entry
}

func text(s string) *commonpb.AnyValue {
	return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: s}}
}

func number(n int64) *commonpb.AnyValue {
	return &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: n}}
}

func list(pairs ...any) *commonpb.AnyValue {
	return &commonpb.AnyValue{Value: &commonpb.AnyValue_KvlistValue{KvlistValue: &commonpb.KeyValueList{Values: keyValues(pairs...)}}}
}

func keyValues(pairs ...any) (out []*commonpb.KeyValue) {
	for i := 0; i < len(pairs); i += 2 {
		var v *commonpb.AnyValue
		switch x := pairs[i+1].(type) {
		case string:
			v = text(x)
		case int:
			v = number(int64(x))
		case *commonpb.AnyValue:
			v = x
		}
		out = append(out, &commonpb.KeyValue{Key: pairs[i].(string), Value: v})
	}
	return out
}

func records(lines []string, no int) (out []*logspb.LogRecord) {
	for i, line := range lines {
		out = append(out, &logspb.LogRecord{TimeUnixNano: uint64(stamp(no, i)), ObservedTimeUnixNano: uint64(stamp(no, i)) + 5, Body: text(line), TraceId: make([]byte, 16)})
	}
	return out
}

func logs(records []*logspb.LogRecord) *logspb.LogsData {
	return &logspb.LogsData{ResourceLogs: []*logspb.ResourceLogs{{ScopeLogs: []*logspb.ScopeLogs{{LogRecords: records}}}}}
}

func otlpProto(records []*logspb.LogRecord) []byte {
	b, err := proto.Marshal(logs(records))
	if err != nil {
		panic(err)
	}
	return b
}

func firehose(id string, records ...[]byte) sent {
	var list []any
	for _, r := range records {
		list = append(list, map[string]string{"data": base64.StdEncoding.EncodeToString(r)})
	}
	return sent{path: "/ingest/firehose", kind: "application/json", body: asJSON(map[string]any{"requestId": id, "timestamp": noon.UnixMilli(), "records": list})}
}

func cloudWatch(kind string, lines []string) []byte {
	var events []any
	for i, line := range lines {
		events = append(events, map[string]any{"id": fmt.Sprint(i), "timestamp": noon.UnixMilli(), "message": line})
	}
	return asJSON(map[string]any{"messageType": kind, "owner": "123456789012", "logGroup": "/cp/access", "logStream": "a", "subscriptionFilters": []string{"f"}, "logEvents": events})
}
