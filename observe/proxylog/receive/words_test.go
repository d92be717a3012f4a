package receive_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/snappy"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

var at = time.Date(2026, 5, 28, 18, 31, 54, 123_000_000, time.UTC)

// seen is what a call was understood as.
type seen struct {
	Time      time.Time
	Address   string
	Workspace string
	Class     int
	Input     int64
}

func (l *ledger) seen() (out []seen) {
	for _, g := range l.groups {
		out = append(out, seen{g.First, g.Address.String(), g.Workspace.String(), g.Class, g.Input})
	}
	return out
}

const workspace = "6b66de8d-0000-4000-8000-000000000001"

func otlp(records ...*logspb.LogRecord) sent {
	return sent{path: "/v1/logs", kind: "application/x-protobuf", body: otlpProto(records)}
}

func loki(line string, meta ...string) sent {
	return sent{path: "/loki/api/v1/push", kind: "application/x-protobuf",
		body: snappy.Encode(nil, nested(nil, 1, nested(nested(nil, 1, []byte(`{a="b"}`)), 2, lokiEntry(at.UnixNano(), line, meta...))))}
}

func ndjson(lines string) sent {
	return sent{path: "/ingest", kind: "application/x-ndjson", body: []byte(lines)}
}

// TestWhatIsUnderstood shows in how many ways a call is told of.
func TestWhatIsUnderstood(t *testing.T) {
	call := seen{Time: at, Address: "203.0.113.7", Class: 2}
	second := seen{Time: at.Truncate(time.Second), Address: "203.0.113.7", Class: 2}
	named := seen{Time: at, Address: "203.0.113.7", Workspace: workspace, Class: 2, Input: 12}
	combined := `203.0.113.7 - - [28/May/2026:18:31:54 +0000] "POST ` + callPath + ` HTTP/1.1" 200 1 "-" "-"`
	untimed := `{"remote_ip":"203.0.113.7","method":"POST","path":"` + callPath + `","status":200}`
	stamp := uint64(at.UnixNano())
	conventions := []any{"http.request.method", "POST", "url.path", callPath, "http.response.status_code", 201, "client.address", "203.0.113.7",
		"http.request.header.x-molecule-workspace-id", &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{ArrayValue: &commonpb.ArrayValue{Values: []*commonpb.AnyValue{text(workspace)}}}},
		"gen_ai.usage.input_tokens", 12}
	for _, c := range []struct {
		name string
		push sent
		want seen
	}{
		{"a line in OTLP's body", otlp(&logspb.LogRecord{Body: text(combined)}), second},
		{"a line in OTLP's body as bytes", otlp(&logspb.LogRecord{Body: &commonpb.AnyValue{Value: &commonpb.AnyValue_BytesValue{BytesValue: []byte(combined + "\n")}}}), second},
		{"an object without a time has the record's", otlp(&logspb.LogRecord{TimeUnixNano: stamp, Body: text(untimed)}), call},
		{"or when it was observed", otlp(&logspb.LogRecord{ObservedTimeUnixNano: stamp, Body: text(untimed)}), call},
		{"its own time wins", otlp(&logspb.LogRecord{TimeUnixNano: 1, Body: text(`{"ts":` + fmt.Sprint(at.UnixMilli()) + `,` + untimed[1:])}), call},
		{"a map as the body", otlp(&logspb.LogRecord{TimeUnixNano: stamp, Body: list("remote_ip", "203.0.113.7", "method", "POST", "path", callPath, "status", 200)}), call},
		{"a nested map as the body", otlp(&logspb.LogRecord{TimeUnixNano: stamp, Body: list("req", list("method", "POST", "url", callPath, "remoteAddress", "203.0.113.7"), "res", list("statusCode", 200))}), call},
		{"attributes by the conventions", otlp(&logspb.LogRecord{TimeUnixNano: stamp, Body: text("request completed"), Attributes: keyValues(conventions...)}), named},
		{"without any body", otlp(&logspb.LogRecord{TimeUnixNano: stamp, Attributes: keyValues(conventions...)}), named},
		{"attributes by the conventions before", otlp(&logspb.LogRecord{TimeUnixNano: stamp, Attributes: keyValues("http.method", "POST", "http.target", callPath+"?beta=true", "http.status_code", 200, "net.peer.ip", "203.0.113.7")}), call},
		{"attributes by nginx' names", otlp(&logspb.LogRecord{TimeUnixNano: stamp, Body: text("access"), Attributes: keyValues("remote_addr", "203.0.113.7", "request", "POST "+callPath+" HTTP/1.1", "status", "200")}), call},
		{"a body that is an object, beside attributes", otlp(&logspb.LogRecord{TimeUnixNano: stamp, Body: text(`{"msg":"done","status":200}`), Attributes: keyValues("http.request.method", "POST", "url.path", callPath, "client.address", "203.0.113.7")}), call},
		{"the same in OTLP's JSON", sent{path: "/v1/logs", kind: "application/json",
			body: otlpJSON(t, []*logspb.LogRecord{{TimeUnixNano: stamp, Body: text("request completed"), Attributes: keyValues(conventions...)}})}, named},
		{"a nested map in OTLP's JSON", sent{path: "/v1/logs", kind: "application/json",
			body: otlpJSON(t, []*logspb.LogRecord{{TimeUnixNano: stamp, Body: list("req", list("method", "POST", "url", callPath, "remoteAddress", "203.0.113.7"), "res", list("statusCode", 200))}})}, call},
		{"Loki's time for an object without one", loki(untimed), call},
		{"Loki's structured metadata", loki("done", "http.request.method", "POST", "url.path", callPath, "http.response.status_code", "200", "client.address", "203.0.113.7"), call},
		{"in Loki's JSON", sent{path: "/loki/api/v1/push", kind: "application/json", body: []byte(fmt.Sprintf(
			`{"streams":[{"values":[["%d","done",{"method":"POST","path":%q,"status":"200","client_ip":"203.0.113.7"}]],"stream":{}}]}`, at.UnixNano(), callPath))}, call},
		{"Loki's JSON of old", sent{path: "/loki/api/v1/push", kind: "application/json", body: []byte(fmt.Sprintf(
			`{"streams":[{"labels":"{}","entries":[{"ts":"2026-05-28T20:31:54.123+02:00","line":%q}]}]}`, untimed))}, call},
		{"Fluent Bit carries a line under log", ndjson(string(asJSON(map[string]any{"date": 1.5, "log": combined}))), second},
		{"Vector under message", ndjson(string(asJSON(map[string]any{"timestamp": "2026-05-28T18:31:54Z", "message": combined, "host": "a"}))), second},
		{"Beats under event.original", ndjson(string(asJSON(map[string]any{"event": map[string]string{"original": combined}}))), second},
		{"an object carried by an object", loki(string(asJSON(map[string]string{"message": untimed}))), call},
		{"winston's meta behind a line", loki(combined + ` {"level":"info","a":{"b":1}}`), second},
		{"or behind words", loki(`request completed {"level":"info", "a": {"b":1},` + untimed[1:]), call},
		{"the Elastic Common Schema", ndjson(`{"@timestamp":"2026-05-28T18:31:54.123Z","http":{"request":{"method":"POST"},"response":{"status_code":200}},"url":{"path":"` + callPath + `"},"source":{"ip":"203.0.113.7"}}`), call},
		{"CloudWatch's time", firehose("r", packed(t, "gzip", asJSON(map[string]any{"messageType": "DATA_MESSAGE", "logEvents": []any{map[string]any{"timestamp": at.UnixMilli(), "message": untimed}}}))), call},
		{"CloudWatch's messages, unpacked by Firehose", firehose("r", asJSON(map[string]any{"messageType": "DATA_MESSAGE", "logEvents": []any{map[string]any{"timestamp": at.UnixMilli(), "message": untimed}}})), call},
		{"escapes in keys and values", ndjson(`{"t\u0069me":"2026-05-28T18:31:54.123Z","url.p\u0061th":"\/api/v1/internal/llm/anthropic/v1/messages","http.method":"POST","http.status_code":200,"client.address":"203.0.113.\u0037"}`), call},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLedger(nil)
			if w := c.push.to(routes(receiver(l))); w.Code/100 != 2 {
				t.Fatalf("got %d %s", w.Code, w.Body)
			}
			if diff := cmp.Diff([]seen{c.want}, l.seen()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if got, want := l.sums(), [3]int64{1, 1, 0}; got != want {
				t.Errorf("got %v lines, calls, not understood, want %v", got, want)
			}
		})
	}
}

// TestWhatIsNotGuessed: a line is a call when all of it is told, and not else.
func TestWhatIsNotGuessed(t *testing.T) {
	for _, c := range []struct {
		name string
		push sent
		want [3]int64
	}{
		{"no time at all", otlp(&logspb.LogRecord{Attributes: keyValues("http.request.method", "POST", "url.path", callPath, "http.response.status_code", 200)}), [3]int64{1, 0, 1}},
		{"no status", otlp(&logspb.LogRecord{TimeUnixNano: 1, Attributes: keyValues("http.request.method", "POST", "url.path", callPath)}), [3]int64{1, 0, 1}},
		{"NDJSON without a time", ndjson(`{"remote_ip":"203.0.113.7","method":"POST","path":"` + callPath + `","status":200}`), [3]int64{1, 0, 1}},
		{"nothing at all is no line", otlp(&logspb.LogRecord{TimeUnixNano: 1}), [3]int64{}},
		{"blank lines are none", ndjson("\n \r\n\x00\n"), [3]int64{}},
		{"an entry of several lines", loki(numbered(1) + "\n\n" + numbered(2) + "\r\nwhat\n"), [3]int64{3, 2, 1}},
		{"CloudWatch asks whether we are there", firehose("r", packed(t, "gzip", cloudWatch("CONTROL_MESSAGE", []string{numbered(1)}))), [3]int64{}},
		{"a list as the body", otlp(&logspb.LogRecord{TimeUnixNano: 1, Body: &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{ArrayValue: &commonpb.ArrayValue{Values: []*commonpb.AnyValue{text("a")}}}}}), [3]int64{1, 0, 1}},
		{"a number as the body", otlp(&logspb.LogRecord{TimeUnixNano: 1, Body: number(7)}), [3]int64{}},
		{"another request is understood", ndjson(`{"time":1780000000,"method":"GET","path":"/","status":200}`), [3]int64{1, 0, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLedger(nil)
			if w := c.push.to(routes(receiver(l))); w.Code/100 != 2 {
				t.Fatalf("got %d %s", w.Code, w.Body)
			}
			if got := l.sums(); got != c.want {
				t.Errorf("got %v lines, calls, not understood, want %v", got, c.want)
			}
		})
	}
}

// TestForwardedAddressesAreBelievedFromTrustedProxies holds for attributes, too:
// the client that a proxy names stands for X-Forwarded-For.
func TestForwardedAddressesAreBelievedFromTrustedProxies(t *testing.T) {
	trusted := proxylog.Proxies{netip.MustParsePrefix("10.0.0.0/8")}
	for peer, want := range map[string]string{"10.0.0.9": "203.0.113.7", "198.51.100.1": "198.51.100.1"} {
		l := newLedger(nil)
		rc := receiver(l)
		rc.Tally.Proxies = trusted
		push := otlp(&logspb.LogRecord{TimeUnixNano: uint64(at.UnixNano()), Attributes: keyValues("http.request.method", "POST", "url.path", callPath,
			"http.response.status_code", 200, "network.peer.address", peer, "client.address", "203.0.113.7")})
		if w := push.to(routes(rc)); w.Code != 200 {
			t.Fatal(w.Code)
		}
		if got := l.seen(); len(got) != 1 || got[0].Address != want {
			t.Errorf("from %s: got %v, want %s", peer, got, want)
		}
	}
}
