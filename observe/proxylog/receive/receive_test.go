package receive_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"

	logspb "go.opentelemetry.io/proto/otlp/logs/v1"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog/receive"
)

// otlpJSON is as OTLP has it: protojson's, but for ids, which are hexadecimal.
func otlpJSON(t testing.TB, records []*logspb.LogRecord) []byte {
	t.Helper()
	b, err := protojson.Marshal(logs(records))
	if err != nil {
		t.Fatal(err)
	}
	return []byte(strings.ReplaceAll(string(b), "AAAAAAAAAAAAAAAAAAAAAA==", "5b8efff798038103d269b633813fc60c"))
}

func TestEachFormIsCounted(t *testing.T) {
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			lines := append(numberedLines(0, 100), "what is this", `1.2.3.4 - - [28/May/2026:12:00:00 +0000] "GET /healthz HTTP/1.1" 200 2 "-" "-"`)
			for _, encoding := range []string{"", "gzip", "zstd"} {
				l := newLedger(nil)
				push := f.make(t, lines, 1)
				if encoding != "" {
					if f.name == "Loki's protobuf" {
						push.body = lokiProto(lines, 1) // packed otherwise
					}
					push = push.packed(t, encoding)
				}
				w := push.to(routes(receiver(l)))
				if w.Code/100 != 2 {
					t.Fatalf("packed by %q: got %d %s", encoding, w.Code, w.Body)
				}
				if got, want := l.sums(), [3]int64{102, 100, 1}; got != want {
					t.Errorf("packed by %q: got %v lines, calls, not understood, want %v", encoding, got, want)
				}
				for n := range 100 {
					if l.by[address(n)] != 1 {
						t.Errorf("packed by %q: line %d was counted %d times", encoding, n, l.by[address(n)])
					}
				}
			}
		})
	}
}

func TestSentAgainIsCountedOnce(t *testing.T) {
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			l := newLedger(nil)
			h := routes(receiver(l))
			push := f.make(t, numberedLines(0, 10), 1)
			for i, again := range []sent{push, push, push.maybePacked(t, "gzip"), push.maybePacked(t, "zstd")} {
				if w := again.to(h); w.Code/100 != 2 {
					t.Fatalf("try %d: got %d %s", i, w.Code, w.Body)
				}
			}
			if got, want := l.sums(), [3]int64{10, 10, 0}; got != want {
				t.Errorf("got %v, want %v", got, want)
			}
			if w := f.make(t, numberedLines(10, 20), 2).to(h); w.Code/100 != 2 {
				t.Fatalf("another batch: got %d", w.Code)
			}
			if got, want := l.sums(), [3]int64{20, 20, 0}; got != want {
				t.Errorf("after another batch: got %v, want %v", got, want)
			}
		})
	}
}

// maybePacked leaves alone what is packed already.
func (s sent) maybePacked(t testing.TB, encoding string) sent {
	if s.path == "/loki/api/v1/push" && s.kind == "application/x-protobuf" {
		return s
	}
	return s.packed(t, encoding)
}

func TestWhatTellsPushesApart(t *testing.T) {
	lines, others := numberedLines(0, 5), numberedLines(5, 10)
	plain := func(id string, lines []string) sent { return forms[0].make(t, lines, 0).as(id) }
	untimed := func(id string) sent {
		r := records(lines, 0)
		for _, one := range r {
			one.TimeUnixNano, one.ObservedTimeUnixNano = 0, 0
		}
		return sent{path: "/v1/logs", kind: "application/x-protobuf", body: otlpProto(r)}.as(id)
	}
	stream := func(labels string, lines []string) string {
		return `{"stream":` + labels + `,"values":[["1",` + string(asJSON(lines[0])) + `],["2",` + string(asJSON(lines[1])) + `]]}`
	}
	loki := func(streams ...string) sent {
		return sent{path: "/loki/api/v1/push", kind: "application/json", body: []byte(`{"streams":[` + strings.Join(streams, ",") + `]}`)}
	}
	for _, c := range []struct {
		name  string
		a, b  sent
		lines int64
	}{
		{"lines without an id count again", plain("", lines), plain("", lines), 10},
		{"lines with the same id count once", plain("a", lines), plain("a", lines), 5},
		{"lines with another id count again", plain("a", lines), plain("b", lines), 10},
		{"a careless id loses nothing", plain("1", lines), plain("1", others), 10},
		{"OTLP records without times count again", untimed(""), untimed(""), 10},
		{"but not under an id", untimed("a"), untimed("a"), 5},
		{"Loki's streams have no order", loki(stream(`{"a":"b"}`, lines), stream(`{"c":"d"}`, others)), loki(stream(`{"c":"d"}`, others), stream(`{"a":"b"}`, lines)), 4},
		{"labels tell streams apart", loki(stream(`{"a":"b"}`, lines)), loki(stream(`{"a":"c"}`, lines)), 4},
		{"two requests of Firehose may say the same", firehose("r1", []byte(numbered(1))), firehose("r2", []byte(numbered(1))), 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLedger(nil)
			h := routes(receiver(l))
			for _, s := range []sent{c.a, c.b} {
				if w := s.to(h); w.Code/100 != 2 {
					t.Fatalf("got %d %s", w.Code, w.Body)
				}
			}
			if got := l.sums()[0]; got != c.lines {
				t.Errorf("got %d lines counted, want %d", got, c.lines)
			}
		})
	}
}

func (s sent) as(id string) sent {
	s.id = id
	return s
}

func TestAcceptedMeansCounted(t *testing.T) {
	for _, f := range forms {
		for _, c := range []struct {
			name       string
			plan       func(n int) fate
			status     int
			retryAfter string
			lines      int64
		}{
			{"an error, and then none, is mended here", func(n int) fate { return []fate{failsBefore, counts}[min(n, 2)-1] }, 200, "", 3},
			{"an error after counting, too", func(n int) fate { return []fate{failsAfter, counts}[min(n, 2)-1] }, 200, "", 3},
			{"errors that go on are told", func(int) fate { return failsBefore }, 503, "2", 0},
			{"too much to count is told", func(int) fate { return isBusy }, 429, "1", 0},
			{"a counter that takes too long is told", func(int) fate { return countsSlowly }, 503, "2", 3},
		} {
			t.Run(f.name+"/"+c.name, func(t *testing.T) {
				l := newLedger(c.plan)
				rc := receiver(l, func(o *receive.Options) {
					if strings.Contains(c.name, "too long") {
						o.MaxWait = 50 * time.Millisecond
					}
				})
				push := f.make(t, numberedLines(0, 3), 1)
				w := push.to(routes(rc))
				if got := w.Code; got != c.status && (c.status != 200 || got != 204) {
					t.Errorf("got %d, want %d: %s", got, c.status, w.Body)
				}
				if got := w.Header().Get("Retry-After"); got != c.retryAfter {
					t.Errorf("Retry-After: got %q, want %q", got, c.retryAfter)
				}
				if got := l.sums()[0]; got != c.lines {
					t.Errorf("got %d lines counted, want %d", got, c.lines)
				}
				l.plan = nil
				if w := push.to(routes(rc)); w.Code/100 != 2 {
					t.Errorf("sent again: got %d", w.Code)
				}
				if got := l.sums()[0]; got != 3 {
					t.Errorf("sent again: got %d lines counted, want 3", got)
				}
			})
		}
	}
}

func TestAnswersAreTheProtocolsOwn(t *testing.T) {
	h := routes(receiver(newLedger(nil)))
	for _, c := range []struct {
		name   string
		push   sent
		status int
		kind   string
		body   string // with a time as 0
	}{
		{"lines are told what became of them", forms[0].make(t, []string{numbered(1), "?"}, 1), 200, "application/json",
			`{"lines":2,"calls":1,"not_understood":1,"counted_before":false}` + "\n"},
		{"and that they were counted before", forms[0].make(t, []string{numbered(1), "?"}, 1), 200, "application/json",
			`{"lines":2,"calls":1,"not_understood":1,"counted_before":true}` + "\n"},
		{"a problem document for lines", sent{path: "/ingest", kind: "image/png"}, 415, "application/problem+json",
			`{"title":"Unsupported Media Type","status":415,"detail":"Content-Type \"image/png\" is not taken here: send lines as text/plain or application/x-ndjson"}` + "\n"},
		{"Loki says nothing", forms[2].make(t, []string{numbered(1)}, 1), 204, "", ""},
		{"Loki says in words what is wrong", sent{path: "/loki/api/v1/push", kind: "application/json", body: []byte("{")}, 400, "text/plain; charset=utf-8", "the body is no JSON\n"},
		{"OTLP answers in protobuf", forms[4].make(t, []string{numbered(1)}, 1), 200, "application/x-protobuf", ""},
		{"OTLP answers in JSON", forms[5].make(t, []string{numbered(1)}, 1), 200, "application/json", "{}\n"},
		{"a google.rpc.Status in protobuf", sent{path: "/v1/logs", kind: "application/x-protobuf", body: []byte{0x0a}}, 400, "application/x-protobuf",
			"\x08\x03\x12" + string(rune(len("the body is no protobuf message of the expected kind: unexpected EOF"))) + "the body is no protobuf message of the expected kind: unexpected EOF"},
		{"a google.rpc.Status in JSON", sent{path: "/v1/logs", kind: "application/json", body: []byte("[]")}, 400, "application/json",
			`{"code":3,"message":"the body is no JSON object"}` + "\n"},
		{"Firehose is given its request's id", firehose("r7", []byte(numbered(1))), 200, "application/json", `{"requestId":"r7","timestamp":0}` + "\n"},
		{"and a message", firehose("r8", []byte{0x1f, 0x8b, 0}), 400, "application/json",
			`{"requestId":"r8","timestamp":0,"errorMessage":"unpack gzip: unexpected EOF"}` + "\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := c.push.to(h)
			body := w.Body.String()
			if _, rest, ok := strings.Cut(body, `"timestamp":`); ok {
				digits := rest[:strings.IndexAny(rest, ",}")]
				if ms := json.Number(digits); ms == "" || len(digits) != 13 {
					t.Errorf("timestamp %q is not in milliseconds", digits)
				}
				body = strings.Replace(body, digits, "0", 1)
			}
			got := []any{w.Code, w.Header().Get("Content-Type"), body}
			if diff := cmp.Diff([]any{c.status, c.kind, c.body}, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestOtherMethodsAreRefused(t *testing.T) {
	h := routes(receiver(newLedger(nil)))
	for _, f := range forms {
		s := f.make(t, numberedLines(0, 2), 1)
		r := s.request("http://localhost")
		r.Method = http.MethodPut
		w := &recorder{header: http.Header{}}
		h.ServeHTTP(w, r)
		if w.status != 405 || w.header.Get("Allow") != "POST" {
			t.Errorf("%s: got %d, Allow %q", f.name, w.status, w.header.Get("Allow"))
		}
	}
}

type recorder struct {
	header http.Header
	status int
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(b []byte) (int, error) { return len(b), nil }
func (r *recorder) WriteHeader(status int)      { r.status = status }

func TestRunTellsThatItIsReady(t *testing.T) {
	l := newLedger(nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- receiver(l).Run(ctx) }()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		l.mu.Lock()
		told := l.state
		l.mu.Unlock()
		if told > 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil || l.state == 0 {
		t.Errorf("got %v, told %d times", err, l.state)
	}
}
