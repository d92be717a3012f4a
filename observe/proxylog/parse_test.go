package proxylog_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

const (
	messagesPath = "/api/v1/internal/llm/anthropic/v1/messages"
	workspaceID  = "6b66de8d-9337-4fb4-be8d-6d49dca0d809"
)

var moment = time.Date(2026, 5, 28, 18, 31, 54, 0, time.UTC)

// seen is a Hit that can be kept and compared.
type seen struct {
	Outcome   proxylog.Outcome
	Time      time.Time
	Peer      string
	Forwarded string
	Operation string
	Status    int
	Workspace string
	Model     string
	In, Out   int64
	Cost      float64
	CostKnown bool
}

// soiled is what a Hit may look like before a line is read into it.
var soiled = proxylog.Hit{
	Time: time.Unix(1, 1), Peer: netip.IPv6Unspecified(), Client: netip.IPv6Unspecified(), Forwarded: []byte("soiled"), Operation: 77, Status: 77,
	Workspace: proxylog.ID{77}, Model: []byte("soiled"), InputTokens: 77, OutputTokens: 77, CostUSD: 77, CostKnown: true,
}

func parse(p *proxylog.Parser, line string) seen {
	h := soiled
	out := p.Parse([]byte(line), &h)
	if out != proxylog.Call {
		return seen{Outcome: out}
	}
	s := seen{
		Outcome: out, Time: h.Time, Forwarded: string(h.Forwarded), Operation: h.Operation.String(), Status: h.Status,
		Workspace: h.Workspace.String(), Model: string(h.Model), In: h.InputTokens, Out: h.OutputTokens, Cost: h.CostUSD, CostKnown: h.CostKnown,
	}
	if h.Peer.IsValid() {
		s.Peer = h.Peer.String()
	}
	if h.Client != h.Peer {
		panic("the client is not the peer before proxies are looked at: " + line)
	}
	return s
}

func TestClassify(t *testing.T) {
	const m, b, c, r, none = proxylog.Messages, proxylog.Batches, proxylog.ChatCompletions, proxylog.Responses, proxylog.NoOperation
	for _, tc := range []struct {
		rule, target string
		want         proxylog.Operation
	}{
		{"messages", messagesPath, m},
		{"batches", messagesPath + "/batches", b},
		{"chat completions", "/api/v1/internal/llm/openai/v1/chat/completions", c},
		{"responses", "/api/v1/internal/llm/openai/v1/responses", r},
		{"any prefix", "/internal/llm/anthropic/v1/messages", m},
		{"a query hides nothing", messagesPath + "?beta=true&x=/y", m},
		{"nor does a fragment", messagesPath + "#x", m},
		{"nor a slash at the end", messagesPath + "/", m},
		{"nor several", messagesPath + "///?a", m},
		{"nor doubled ones", "/api//v1/internal//llm/anthropic/v1//messages", m},
		{"nor percent-encoding", "/api/v1/internal/llm/anthropic/v1/%6D%65ssages", m},
		{"nor of a slash", "/api/v1/internal%2fllm%2Fanthropic/v1/messages", m},
		{"nor dot segments", "/api/v1/internal/x/../llm/./anthropic/v1/messages/.", m},
		{"nor encoded ones", "/api/v1/internal/x/%2e%2e/llm/anthropic/v1/messages/%2E", m},
		{"nor leaving the root", "/../../internal/llm/anthropic/v1/messages/x/..", m},
		{"nor the absolute form", "https://user@api.example:443" + messagesPath + "?x", m},
		{"count_tokens is free", messagesPath + "/count_tokens", none},
		{"also doubled", messagesPath + "//count_tokens/", none},
		{"decoded once only", "/api/v1/internal/llm/anthropic/v1/%256Dessages", none},
		{"an encoded question mark is part of the path", messagesPath + "%3Fbeta=true", none},
		{"the last part whole", messagesPath + "s", none},
		{"a segment whole", "/xinternal/llm/anthropic/v1/messages", none},
		{"a vendor's own path", "/v1/messages", none},
		{"the right vendor", "/internal/llm/openai/v1/messages", none},
		{"case counts", "/internal/llm/anthropic/v1/Messages", none},
		{"below is another operation", "/internal/llm/openai/v1/responses/resp_1/cancel", none},
		{"the host is no path", "https://internal/llm/anthropic/v1/messages", none},
		{"no path at all", "https://internal", none},
		{"path in a query", "/x?u=" + messagesPath, none},
		{"path dot-dotted away", messagesPath + "/..", none},
		{"broken percent", messagesPath + "%zz", none},
		{"empty", "", none},
		{"asterisk", "*", none},
		{"only a query", "?" + messagesPath, none},
	} {
		if got := proxylog.Classify([]byte(tc.target)); got != tc.want {
			t.Errorf("%s: %q: got %v, want %v", tc.rule, tc.target, got, tc.want)
		}
	}
}

func TestJSONTells(t *testing.T) {
	base := seen{Outcome: proxylog.Call, Time: moment, Peer: "192.0.2.1", Operation: "messages", Status: 200}
	with := func(change func(*seen)) seen { s := base; change(&s); return s }
	cost := func(usd float64) seen { return with(func(s *seen) { s.Cost, s.CostKnown = usd, true }) }
	const line = `{"time":"2026-05-28T18:31:54Z","remote_ip":"192.0.2.1","method":"POST","path":"` + messagesPath + `","status":200%s}`
	for _, tc := range []struct {
		rule, more string
		want       seen
	}{
		{"the base", ``, base},
		{"model and tokens", `,"model":"opus","input_tokens":3,"output_tokens":"4"`, with(func(s *seen) { s.Model, s.In, s.Out = "opus", 3, 4 })},
		{"usage", `,"usage":{"prompt_tokens":3,"completion_tokens":4}`, with(func(s *seen) { s.In, s.Out = 3, 4 })},
		{"tokens under either vendor's names", `,"prompt_tokens":3,"completion_tokens":4`, with(func(s *seen) { s.In, s.Out = 3, 4 })},
		{"usage by the other names", `,"usage":{"input_tokens":3,"output_tokens":4}`, with(func(s *seen) { s.In, s.Out = 3, 4 })},
		{"usage in the response", `,"response":{"usage":{"input_tokens":3,"output_tokens":4,"cost":0.5}}`, with(func(s *seen) { s.In, s.Out, s.Cost, s.CostKnown = 3, 4, 0.5, true })},
		{"the top's tokens count more than usage", `,"usage":{"input_tokens":9},"input_tokens":3`, with(func(s *seen) { s.In = 3 })},
		{"cost in dollars", `,"cost_usd":0.0125`, cost(0.0125)},
		{"cost as text", `,"cost":"0.0125"`, cost(0.0125)},
		{"total cost", `,"total_cost":2.5e-1`, cost(0.25)},
		{"LiteLLM's response_cost", `,"response_cost":0.25`, cost(0.25)},
		{"cost in usage", `,"usage":{"cost":0.25}`, cost(0.25)},
		{"the dollars count more than a cost of some kind", `,"cost_usd":0.5,"cost":3,"total_cost":4,"response_cost":5`, cost(0.5)},
		{"a cost of nothing is known", `,"cost":0`, cost(0)},
		{"a cost that is null is not known", `,"cost":null`, base},
		{"nor a negative one", `,"cost":-0.5`, base},
		{"nor one with its currency", `,"cost":"$0.5"`, base},
		{"nor one in hexadecimal", `,"cost":"0x1p-2"`, base},
		{"nor infinity", `,"cost":"inf"`, base},
		{"nor what no call costs", `,"cost":1000001`, base},
		{"nor an object", `,"cost":{"cost":1}`, base},
		{"a cost in a header is none", `,"headers":{"cost":"1"}`, base},
		{"workspace by the header's name", `,"X-Molecule-Workspace-Id":"` + workspaceID + `"`, with(func(s *seen) { s.Workspace = workspaceID })},
		{"workspace as nginx names the header", `,"http_x_molecule_workspace_id":"` + workspaceID + `"`, with(func(s *seen) { s.Workspace = workspaceID })},
		{"workspace as Traefik names the header", `,"request_X-Molecule-Workspace-Id":"` + workspaceID + `"`, with(func(s *seen) { s.Workspace = workspaceID })},
		{"workspace as pino writes the header", `,"req":{"headers":{"x-molecule-workspace-id":"` + workspaceID + `"}}`, with(func(s *seen) { s.Workspace = workspaceID })},
		{"escapes in values", `,"model":"a\u00e9\n\ud83d\ude00\ud83d\"\/"`, with(func(s *seen) { s.Model = "aé\n😀�\"/" })},
		{"workspace in capitals", `,"workspace_id":"` + strings.ToUpper(workspaceID) + `"`, with(func(s *seen) { s.Workspace = workspaceID })},
		{"workspace that is none", `,"workspace_id":"6b66de8d-9337-4fb4-be8d-6d49dca0d80"`, base},
		{"workspace null", `,"workspace_id":null`, base},
		{"header of the request", `,"headers":{"X-Molecule-Workspace-Id":["` + workspaceID + `"]}`, with(func(s *seen) { s.Workspace = workspaceID })},
		{"header of the response", `,"response":{"headers":{"X-Molecule-Workspace-Id":["` + workspaceID + `"]}}`, base},
		{"headers are not the line", `,"headers":{"status":500,"path":"/x","remote_ip":"192.0.2.2"}`, base},
		{"a header's values are joined", `,"headers":{"X-Forwarded-For":["192.0.2.7, 192.0.2.8","192.0.2.9"]}`, with(func(s *seen) { s.Forwarded = "192.0.2.7, 192.0.2.8,192.0.2.9" })},
		{"the top counts more than inside", `,"request":{"path":"/x","method":"GET"}`, base},
		{"names of unknown objects mean nothing", `,"ctx":{"path":"/x","method":"GET","status":500}`, base},
		{"objects and arrays of objects are no values", `,"status":{"a":1},"method":[{"x":["GET"]}],"path":true`, base},
		{"what stands in an array's objects is no value", `,"headers":{"X-Forwarded-For":[{"a":"192.0.2.7"}]}`, base},
		{"the last double counts", `,"status":500,"status":499`, with(func(s *seen) { s.Status = 499 })},
		{"nothing is not a value", `,"method":"","path":"-","status":null`, base},
		{"the better name counts, wherever it is", `,"request_uri":"/internal/llm/openai/v1/responses"`, with(func(s *seen) { s.Operation = "responses" })},
		{"the better name of the time", `,"ts":1,"start_time":"2001-01-01T00:00:00Z"`, base},
		{"blanks", " , \"x\" : [ 1 , 2 ] \t", base},
	} {
		got := parse(proxylog.NewParser(proxylog.JSON), fmt.Sprintf(line, tc.more))
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.rule, diff)
		}
	}
}

func TestTimes(t *testing.T) {
	for _, tc := range []struct {
		text string
		want string // RFC 3339; "": not understood
	}{
		{`"2026-05-28T18:31:54Z"`, "2026-05-28T18:31:54Z"},
		{`"2026-05-28t18:31:54.5z"`, "2026-05-28T18:31:54.5Z"},
		{`"2026-05-28T20:31:54.123456789123+02:00"`, "2026-05-28T18:31:54.123456789Z"},
		{`"2026-05-28 13:01:54,25-0530"`, "2026-05-28T18:31:54.25Z"},
		{`"2026-05-28T18:31:54"`, "2026-05-28T18:31:54Z"},
		{`"2028-02-29T23:59:60Z"`, "2028-03-01T00:00:00Z"},
		{`"28/May/2026:18:31:54 +0000"`, "2026-05-28T18:31:54Z"},
		{`1779993114`, "2026-05-28T18:31:54Z"},
		{`1779993114.1234567891`, "2026-05-28T18:31:54.123456789Z"},
		{`"1779993114.25"`, "2026-05-28T18:31:54.25Z"},
		{`1779993114250`, "2026-05-28T18:31:54.25Z"},
		{`"1779993114250"`, "2026-05-28T18:31:54.25Z"},
		{`1779993114250.5`, "2026-05-28T18:31:54.2505Z"},
		{`1779993114250001`, "2026-05-28T18:31:54.250001Z"},
		{`1779993114250000001`, "2026-05-28T18:31:54.25Z"}, // beyond 18 digits: as a float
		{`1.779993114e9`, "2026-05-28T18:31:54Z"},
		{`99999999999`, "5138-11-16T09:46:39Z"},
		{`100000000000`, "1973-03-03T09:46:40Z"},
		{`0`, ""}, {`-5`, ""}, {`""`, ""}, {`"-"`, ""}, {`null`, ""}, {`true`, ""}, {`1e30`, ""}, {`"1.2.3"`, ""}, {`"NaN"`, ""},
		{`"2026-05-28T18:31:54."`, ""}, {`"2026-05-28T18:31:54+25:00"`, ""}, {`"2026-13-28T18:31:54Z"`, ""},
		{`"2026-02-29T18:31:54Z"`, ""}, {`"2026-05-28T24:00:00Z"`, ""}, {`"2026-05-28T18:31:5xZ"`, ""}, {`"2026-05-28_18:31:54Z"`, ""},
		{`"28/Mai/2026:18:31:54 +0000"`, ""}, {`"31/Jun/2026:18:31:54 +0000"`, ""}, {`"28/May/2026:18:31:54 00000"`, ""},
	} {
		got := ""
		s := parse(proxylog.NewParser(proxylog.JSON), `{"request":"POST `+messagesPath+` HTTP/1.1","status":200,"time":`+tc.text+`}`)
		if s.Outcome == proxylog.Call {
			got = s.Time.Format(time.RFC3339Nano)
		}
		if tc.text == `1779993114250000001` {
			got = strings.Replace(got, s.Time.Format(".999999999"), ".25", 1)
		}
		if got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.text, got, tc.want)
		}
	}
}

// TestNothingIsRemembered: a line means the same whatever came before, though
// the parser remembers seconds and keys.
func TestNothingIsRemembered(t *testing.T) {
	lines := []string{
		combinedLine("28/May/2026:18:31:54 +0000"), combinedLine("28/May/2026:18:31:54 +0100"), combinedLine("28/May/2026:18:31:55 +0000"),
		combinedLine(strings.Repeat("\x00", 26)), combinedLine("2026-05-28T18:31:54Z"),
		jsonTimed("2026-05-28T18:31:54Z"), jsonTimed("2026-05-28T18:31:54+01:00"), jsonTimed("2026-05-28T18:31:55.5Z"),
		`{"time":"2026-05-28T18:31:54Z","request":{"method":"POST","path":"` + messagesPath + `"},"status":200}`,
		`{"time":"2026-05-28T18:31:54Z","resp":{"method":"POST","path":"` + messagesPath + `"},"status":200}`,
		`{"headers":{"method":"POST","path":"` + messagesPath + `"},"time":"2026-05-28T18:31:54Z","status":200}`,
		`{"request_x_molecule_workspace_id":"` + workspaceID + `","time":"2026-05-28T18:31:54Z","method":"POST","path":"` + messagesPath + `","status":200}`,
		`{"request_x_molecule_workspace_no":"` + workspaceID + `","time":"2026-05-28T18:31:54Z","method":"POST","path":"` + messagesPath + `","status":200}`,
	}
	for _, first := range lines {
		for _, second := range lines {
			p := proxylog.NewParser(proxylog.Auto)
			parse(p, first)
			if diff := cmp.Diff(parse(proxylog.NewParser(proxylog.Auto), second), parse(p, second)); diff != "" {
				t.Errorf("%s\nafter %s\n(-alone +after):\n%s", second, first, diff)
			}
		}
	}
}

func combinedLine(stamp string) string {
	return `192.0.2.1 - - [` + stamp + `] "POST ` + messagesPath + ` HTTP/1.1" 200 5 "-" "x"`
}

func jsonTimed(stamp string) string {
	return `{"time":"` + stamp + `","method":"POST","path":"` + messagesPath + `","status":200}`
}

func TestParseAllocatesNothing(t *testing.T) {
	for name, line := range map[string]string{
		"combined": `192.0.2.1 - - [28/May/2026:18:31:54 +0000] "POST ` + messagesPath + `?beta=true HTTP/1.1" 200 5 "-" "x" "192.0.2.3, 10.1.1.1" workspace_id=` + workspaceID,
		"get":      `192.0.2.1 - - [28/May/2026:18:31:54 +0000] "GET /x HTTP/1.1" 200 5 "-" "x"`,
		"encoded":  `192.0.2.1 - - [28/May/2026:18:31:54 +0000] "POST /internal%2Fllm/anthropic/v1/messages/ HTTP/1.1" 200 5 "-" "x"`,
		"json":     jsonTimed("2026-05-28T18:31:54.25Z"),
		"cost":     `{"time":"2026-05-28T18:31:54Z","method":"POST","path":"` + messagesPath + `","status":200,"model":"opus","usage":{"input_tokens":5,"output_tokens":7,"cost":"0.012345678901234"}}`,
		"escapes":  `{"ts":1779993114.25,"remote_addr":"192.0.2.1:4","request":"POST \/internal\/llm\/anthropic\/v1\/messages HTTP\/1.1","status":200}`,
		"caddy":    `{"ts":1779993114.25,"request":{"remote_ip":"192.0.2.1","method":"POST","uri":"` + messagesPath + `","headers":{"X-Forwarded-For":["192.0.2.2","192.0.2.3"]}},"status":200}`,
		"alb":      `https 2026-05-28T18:31:54.123456Z app/x 192.0.2.1:2817 10.0.0.1:80 0.1 0.1 0.1 200 200 0 57 "POST https://api.example:443` + messagesPath + ` HTTP/1.1" "x" - - arn`,
		"broken":   `192.0.2.1 - - [28/May/2026:18:31:54 +0000] "POST `,
	} {
		p, b := proxylog.NewParser(proxylog.Auto), []byte(line)
		var h proxylog.Hit
		if p.Parse(b, &h) == proxylog.NotUnderstood != (name == "broken") {
			t.Fatalf("%s: understood: %v", name, name == "broken")
		}
		if got := testing.AllocsPerRun(200, func() { p.Parse(b, &h) }); got != 0 {
			t.Errorf("%s: got %v allocations a line, want 0", name, got)
		}
	}
}
