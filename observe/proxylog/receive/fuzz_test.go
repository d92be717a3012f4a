package receive_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/snappy"

	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/proto"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog/receive"
)

// holds sends a body twice and checks what must hold of every answer: a refused
// body counts nothing, an accepted one counts the same both times and, where
// the sender names it, once.
func holds(t *testing.T, push sent, ok int) (accepted bool, sums [3]int64) {
	t.Helper()
	l := newLedger(nil)
	h := routes(receiver(l, func(o *receive.Options) { o.MaxText, o.MaxLines = 1<<20, 5000 }))
	push.id = "fuzz"
	first := push.to(h)
	sums = l.sums()
	second := push.to(h)
	if first.Code != second.Code || first.Code == 200 && push.path != "/ingest" && answerOf(first) != answerOf(second) {
		t.Fatalf("sent twice: %d %q, then %d %q", first.Code, first.Body, second.Code, second.Body)
	}
	switch first.Code {
	case ok:
	case 400, 413, 415:
		if l.asked > 0 {
			t.Fatalf("refused with %d, and counted", first.Code)
		}
	default:
		t.Fatalf("got %d %s", first.Code, first.Body)
	}
	if got := l.sums(); got != sums {
		t.Fatalf("sent twice: %v, then %v", sums, got)
	}
	if sums[1]+sums[2] > sums[0] {
		t.Fatalf("more calls and not understood than lines: %v", sums)
	}
	return first.Code == ok, sums
}

// answerOf is an answer without its time.
func answerOf(w *httptest.ResponseRecorder) string {
	before, rest, _ := strings.Cut(w.Body.String(), `"timestamp":`)
	_, after, _ := strings.Cut(rest, "}")
	return before + after
}

func seed(f *testing.F, bodies ...[]byte) {
	for _, b := range bodies {
		f.Add(b)
	}
}

func FuzzLines(f *testing.F) {
	seed(f, []byte(numbered(1)+"\n"+numbered(2)), []byte(`{"log":`+string(asJSON(numbered(1)))+"}\r\n\n{}"), []byte("\x00\xff\n{\"a\":[[[{"))
	f.Fuzz(func(t *testing.T, body []byte) {
		_, sums := holds(t, sent{path: "/ingest", kind: "text/plain", body: body}, 200)
		lines := 0
		for line := range bytes.SplitSeq(body, []byte("\n")) {
			if len(bytes.Trim(line, "\x00 \t\r")) > 0 {
				lines++
			}
		}
		if lines <= 5000 && sums[0] != int64(lines) {
			t.Errorf("%d lines were counted of %d", sums[0], lines)
		}
	})
}

func FuzzArray(f *testing.F) {
	seed(f, asJSON([]string{numbered(1), "x"}), []byte(`[{"time":1780000000,"method":"POST","path":"/v1/messages","status":200},{"a":{"b":[]}}]`), []byte(" [\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		holds(t, sent{path: "/ingest", kind: "application/json", body: body}, 200)
	})
}

func FuzzLokiJSON(f *testing.F) {
	seed(f, lokiJSON(numberedLines(0, 2), 1), []byte(`{"streams":[{"labels":"{}","entries":[{"ts":"2026-05-28T20:31:54.123+02:00","line":"x"}]}]}`),
		[]byte(`{"streams":[{"values":[["1","{\"a\":\"b\"}",{"url.path":"/","x":{"y":1}}]],"stream":{"a":"b"}}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		ok, sums := holds(t, sent{path: "/loki/api/v1/push", kind: "application/json", body: body}, 204)
		if ok != json.Valid(body) && ok {
			t.Errorf("accepted what is no JSON, with %v", sums)
		}
	})
}

func FuzzLokiProtobuf(f *testing.F) {
	seed(f, lokiProto(numberedLines(0, 2), 1), nested(nil, 1, nested(nil, 2, lokiEntry(1, "x", "url.path", "/", "a", "\x00\""))), []byte{0x0a, 0xff})
	f.Fuzz(func(t *testing.T, body []byte) {
		packed, _ := holds(t, sent{path: "/loki/api/v1/push", kind: "application/x-protobuf", body: snappy.Encode(nil, body)}, 204)
		plain, _ := holds(t, sent{path: "/loki/api/v1/push", kind: "application/x-protobuf", encoding: "gzip", body: packedQuietly(body)}, 204)
		if packed != plain {
			t.Errorf("in snappy accepted: %v; in gzip: %v", packed, plain)
		}
	})
}

func FuzzSnappy(f *testing.F) {
	seed(f, snappy.Encode(nil, lokiProto(numberedLines(0, 2), 1)), []byte("\xff\xff\xff\xff\x0f\x00"), []byte("\x05hello"))
	f.Fuzz(func(t *testing.T, body []byte) {
		holds(t, sent{path: "/loki/api/v1/push", kind: "application/x-protobuf", body: body}, 204)
	})
}

// FuzzOTLPProtobuf holds the walk against the generated code, too: both take the
// same messages for whole, where ours looks at all.
func FuzzOTLPProtobuf(f *testing.F) {
	seed(f, otlpProto(records(numberedLines(0, 2), 1)), otlpProto([]*logspb.LogRecord{{TimeUnixNano: 1, Body: list("a", list("b", 1)), Attributes: keyValues("url.path", "/", "x", "y")}}), []byte{0x0a, 0x02, 0x12})
	f.Fuzz(func(t *testing.T, body []byte) {
		ok, sums := holds(t, sent{path: "/v1/logs", kind: "application/x-protobuf", body: body}, 200)
		var whole logspb.LogsData
		if err := proto.Unmarshal(body, &whole); err != nil {
			return // ours does not look into what it does not need, and takes a text that is no UTF-8
		}
		lines := 0
		for _, r := range whole.ResourceLogs {
			for _, s := range r.ScopeLogs {
				lines += len(s.LogRecords)
			}
		}
		if !ok && lines <= 5000 {
			t.Errorf("refused what is a whole message of %d records", lines)
		}
		if sums[0] < 0 {
			t.Error(sums)
		}
	})
}

func FuzzOTLPJSON(f *testing.F) {
	seed(f, []byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1780000000000000000","body":{"stringValue":"x"},"attributes":[{"key":"url.path","value":{"stringValue":"/"}},{"key":"a","value":{"kvlistValue":{"values":[{"key":"b","value":{"arrayValue":{"values":[{"intValue":"1"},{"doubleValue":2.5},{"boolValue":true},{}]}}}]}}}]}]}]}]}`),
		[]byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"observedTimeUnixNano":1,"body":{"kvlistValue":{}}}]}]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		holds(t, sent{path: "/v1/logs", kind: "application/json", body: body}, 200)
	})
}

func FuzzFirehose(f *testing.F) {
	seed(f, firehose("r", []byte(numbered(1))).body, firehose("r", cloudWatch("DATA_MESSAGE", []string{numbered(1), "{}"}), packedQuietly(cloudWatch("CONTROL_MESSAGE", nil))).body,
		[]byte(`{"requestId":"r","timestamp":1,"records":[{"data":"H4sIAAAAAAAA"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		holds(t, sent{path: "/ingest/firehose", kind: "application/json", body: body}, 200)
	})
}

func FuzzFirehoseRecord(f *testing.F) {
	seed(f, []byte(numbered(1)), cloudWatch("DATA_MESSAGE", []string{numbered(1), "{}"}), []byte(`{"messageType":"DATA_MESSAGE","logEvents":{}}`))
	f.Fuzz(func(t *testing.T, record []byte) {
		if bytes.HasPrefix(record, []byte{0x1f, 0x8b}) {
			holds(t, firehose("r", record), 200)
			return
		}
		_, plain := holds(t, firehose("r", record), 200)
		_, packed := holds(t, firehose("r", packedQuietly(record)), 200)
		if plain != packed {
			t.Errorf("plain %v, packed %v", plain, packed)
		}
	})
}

func FuzzPacked(f *testing.F) {
	f.Add("gzip", packedQuietly([]byte(numbered(1))))
	f.Add("zstd", []byte("\x28\xb5\x2f\xfd\x04\x00\x19\x00\x00abc\n"))
	f.Add("zstd", []byte("\x50\x2a\x4d\x18\x01\x00\x00\x00x"))
	f.Fuzz(func(t *testing.T, encoding string, body []byte) {
		holds(t, sent{path: "/ingest", kind: "text/plain", encoding: strings.Map(printable, encoding), body: body}, 200)
	})
}

func printable(r rune) rune {
	if r < ' ' || r > '~' {
		return -1
	}
	return r
}

func packedQuietly(b []byte) []byte { return packed(&testing.B{}, "gzip", b) }

// FuzzWalk holds the cursor against encoding/json.
func FuzzWalk(f *testing.F) {
	for _, s := range []string{`{"a":[1,-2.5e7,"x\u00e9\ud83d\ude00\ud83d\n",true,null,{"\u0062":{}}],"":[]}`, ` "\\\"" `, `[[[]],{"a":"\\"}]`, `"\ud83d\u0041"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, ok := receive.Walk(b)
		if ok != json.Valid(b) {
			t.Fatalf("valid: %v", ok)
		}
		if !ok || !utf8.Valid(b) {
			return // encoding/json mends what is no UTF-8
		}
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		var want any
		if err := d.Decode(&want); err != nil {
			t.Skip(err) // nested too deeply
		}
		if diff := cmp.Diff(worded(want), got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

// worded is what Walk makes of the same.
func worded(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			v[k] = worded(inner)
		}
		return v
	case []any:
		for i, inner := range v {
			v[i] = worded(inner)
		}
		return v
	case string:
		return v
	case nil:
		return receive.Word("null")
	}
	return receive.Word(fmt.Sprint(v))
}

func FuzzQuoted(f *testing.F) {
	f.Add("plain")
	f.Add("a\"\\\x00\x1f\u2028é")
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return
		}
		var got string
		if err := json.Unmarshal(receive.Quoted(s), &got); err != nil || got != s {
			t.Errorf("got %q, %v, want %q", got, err, s)
		}
	})
}
