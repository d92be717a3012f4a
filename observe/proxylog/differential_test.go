package proxylog_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

// alike lets times differ by what a float cannot tell.
var alike = cmpopts.EquateApproxTime(time.Millisecond)

// TestAgainstNaive reads random lines, whole and spoilt, by the parser and by
// the naive readers. One parser reads them all, so what it remembers counts.
// DIFFERENTIAL_LINES says how many of each; before a release, a million.
func TestAgainstNaive(t *testing.T) {
	n := 50_000
	if s := os.Getenv("DIFFERENTIAL_LINES"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		format proxylog.Format
		draw   func(*rand.Rand) string
		naive  func(string) seen
	}{
		{proxylog.Combined, drawCombined, naiveCombined},
		{proxylog.JSON, drawJSON, naiveJSON},
		{proxylog.ALB, drawALB, naiveALB},
	} {
		t.Run(tc.format.String(), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(3, 4))
			p := proxylog.NewParser(tc.format)
			outcomes := map[proxylog.Outcome]int{}
			for range n {
				line := tc.draw(r)
				if r.IntN(5) == 0 {
					line = spoil(r, line)
				}
				got, want := parse(p, line), tc.naive(line)
				if got != want && !cmp.Equal(got, want, alike) {
					t.Fatalf("%q\n(-naive +got):\n%s", line, cmp.Diff(want, got, alike))
				}
				outcomes[got.Outcome]++
			}
			t.Logf("%d not understood, %d others, %d calls", outcomes[proxylog.NotUnderstood], outcomes[proxylog.Other], outcomes[proxylog.Call])
			for _, o := range []proxylog.Outcome{proxylog.NotUnderstood, proxylog.Other, proxylog.Call} {
				if outcomes[o] < n/8 {
					t.Errorf("outcome %v: got %d lines of %d: the lines drawn show too little", o, outcomes[o], n)
				}
			}
		})
	}
}

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

func drawTarget(r *rand.Rand) string {
	return pick(r, "", "", "", "/api/v1", "/x/..", "/%41", "https://h:1", "//") +
		pick(r, "/internal/llm/anthropic/v1/messages", "/internal/llm/anthropic/v1/messages", "/internal/llm/anthropic/v1/messages", "/internal/llm/anthropic/v1/messages", "/internal//llm/anthropic/v1/%6dessages", "/internal/llm/anthropic/v1/messages/batches",
			"/internal/llm/openai/v1/responses", "/internal/llm/openai/v1/chat/./completions", "/v1/messages", "/healthz", "/search?u=/internal/llm/anthropic/v1/messages") +
		pick(r, "", "", "", "", "", "/", "?beta=true", "?beta=true", "/count_tokens", "/..", "%2F", "#x", "%")
}

func drawMethod(r *rand.Rand) string {
	return pick(r, "POST", "POST", "POST", "POST", "GET", "PUT", "post")
}

func drawIP(r *rand.Rand) string {
	return pick(r, "192.0.2.1", "10.0.0.1", "192.0.2.255", "1.2.3.4:80", "2001:db8::1", "[2001:db8::2]:5", "::ffff:192.0.2.3", "-", "host.example", "unix:", "1.2.3.04", "256.1.1.1")
}

func drawList(r *rand.Rand) string {
	return pick(r, "-", "", "x, ") + pick(r, "", "192.0.2.7, ", "unknown,") + drawIP(r)
}

func drawCombined(r *rand.Rand) string {
	stamp := time.Unix(1779993114+r.Int64N(3), 0).In(time.FixedZone("", 3600*r.IntN(3))).Format("02/Jan/2006:15:04:05 -0700")
	request := drawMethod(r) + " " + drawTarget(r) + pick(r, " HTTP/1.1", " HTTP/1.1", " HTTP/2.0", "")
	line := pick(r, "", "", "", "vhost:443 ", "1.1.1.1:80 ") + drawIP(r) + " - " + pick(r, "-", "-", "john doe", "[x] ") +
		" [" + pick(r, stamp, stamp, stamp, stamp, stamp, stamp, stamp, stamp, stamp, "2026-05-28T18:31:54+00:00", "1779993114.25", "31/Feb/2026:00:00:00 +0000") + `] "` +
		pick(r, request, request, request, request, request, request, request, "-", `\x16\x03`) + `" ` + pick(r, "200", "499", "429", "-", "500", "200", "200", "200", "200", "0200") + " " + pick(r, "0", "512", "-", "77", "78", "79", "80", "12a")
	if r.IntN(4) == 0 {
		return line
	}
	line += ` "` + pick(r, "-", "https://x.example/internal/llm/anthropic/v1/messages") + `" "` +
		pick(r, "-", `a \" quote`, `\\`, `POST /internal/llm/anthropic/v1/messages HTTP/1.1`, "192.0.2.8", `\x22`) + `"`
	for range r.IntN(4) {
		line += pick(r, " ", " ", "  ") + pick(r, `"`+drawList(r)+`"`, `"`+drawList(r)+`"`, "rt=0.5", `uct="0.5"`, `workspace_id=`+workspaceID, `X-Molecule-Workspace-Id="`+strings.ToUpper(workspaceID)+`"`, "-", `=""`)
	}
	return line
}

func drawALB(r *rand.Rand) string {
	stamp := time.Unix(1779993114+r.Int64N(3), r.Int64N(1e6)*1000).UTC().Format("2006-01-02T15:04:05.000000Z")
	client := pick(r, "192.0.2.1:2817", "192.0.2.1:2817", "10.0.0.1:1", "2001:db8::1:443", "[2001:db8::1]:443", "192.0.2.1", "-", "host:1", "1.2.3.04:5", "1.2.3.4:70000")
	line := pick(r, "http", "https", "https", "https", "h2", "wss", "x") + " " + pick(r, stamp, stamp, stamp, stamp, stamp, stamp, "2026-05-28T18:31:54", "1779993114.1234567890") + " app/x/1 " + client +
		" 10.0.0.1:80 0.086 0.048 -1 " + pick(r, "200", "499", "429", "-", "0", "200", "2000") + pick(r, " ", " ", "  ") + "200 0 57 \"" +
		drawMethod(r) + " " + drawTarget(r) + pick(r, " HTTP/1.1", " HTTP/2.0", "") + `"`
	for range r.IntN(4) {
		line += pick(r, " ", " ", "  ") + pick(r, `"curl/7.46.0"`, `"-"`, "-", "TLSv1.2", `"a \" b"`, `Root="1-58"`, "arn:aws:x")
	}
	return line
}

// drawJSON writes an object of known and unknown keys in any order, some of
// them twice or inside others, with blanks and escapes here and there.
func drawJSON(r *rand.Rand) string {
	members := []string{
		member(r, pick(r, "time", "time", "ts", "@timestamp", "StartUTC"), drawJSONTime(r)),
		member(r, pick(r, "status", "status", "response_code", "DownstreamStatus"), pick(r, "200", "499", `"429"`, "500", "0", "200", "200", "200", "200", "200", "2000", "20.0", "null", `"-"`)),
	}
	switch r.IntN(6) {
	case 0, 1, 2:
		members = append(members, member(r, pick(r, "method", "requestMethod", "verb"), quote(r, drawMethod(r))), member(r, pick(r, "path", "uri", "url", "RequestPath"), quote(r, drawTarget(r))))
	case 3, 4:
		members = append(members, member(r, pick(r, "request", "request_line"), quote(r, drawMethod(r)+" "+drawTarget(r)+" HTTP/1.1")))
	}
	for range r.IntN(8) {
		members = append(members, drawMember(r, 2))
	}
	r.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	return object(r, members)
}

func drawJSONTime(r *rand.Rand) string {
	return pick(r, `"2026-05-28T18:31:54Z"`, `"2026-05-28T20:31:54.25+02:00"`, `"2026-05-28T18:31:55.123456Z"`, `"28/May/2026:18:31:54 +0000"`,
		"1779993114", "1779993114.5", "1779993114250", `"1779993114.75"`, "1.779993114e9", `"2026-02-30T00:00:00Z"`)
}

func drawMember(r *rand.Rand, depth int) string {
	switch key := pick(r, "remote_ip", "remote_addr", "client_ip", "ClientHost", "x_forwarded_for", "X-Forwarded-For", "workspace_id", "X-Molecule-Workspace-Id",
		"model", "input_tokens", "completion_tokens", "cost_usd", "cost", "response_cost", "msg", "level", "é", "", "status", "method", "path", "request", "req", "headers", "response", "usage", "ctx", "http"); key {
	case "remote_ip", "remote_addr", "client_ip", "ClientHost":
		return member(r, key, quote(r, drawIP(r)))
	case "x_forwarded_for", "X-Forwarded-For":
		return member(r, key, pick(r, quote(r, drawList(r)), "["+quote(r, drawList(r))+" , "+quote(r, drawIP(r))+"]", "[]", `["",["x"]]`, "null"))
	case "workspace_id", "X-Molecule-Workspace-Id":
		return member(r, key, pick(r, quote(r, workspaceID), quote(r, strings.ToUpper(workspaceID)), `"-"`, "7"))
	case "cost_usd", "cost", "response_cost":
		return member(r, key, pick(r, "0", "0.0125", `"0.0125"`, "1e-3", "-1", `"1.5.5"`, `"$1"`, "1e9", "01", "null"))
	case "request", "req", "headers", "response", "usage", "ctx", "http":
		if depth > 0 {
			var members []string
			for range r.IntN(4) {
				members = append(members, drawMember(r, depth-1))
			}
			return member(r, key, object(r, members))
		}
		return member(r, key, "null")
	default:
		return member(r, key, pick(r, quote(r, drawTarget(r)), `"a \" \\ \/ \u00e9 \ud83d\ude00 \ud83d x é"`, "-1.5e+3", "12", "true", `{"path":"/x"}`, `[1,{"status":500},[]]`, `"POST"`, `""`))
	}
}

func member(r *rand.Rand, key, value string) string {
	return quote(r, key) + pick(r, ":", ":", ":", " : ") + value
}

func object(r *rand.Rand, members []string) string {
	return pick(r, "{", "{", "{ ") + strings.Join(members, pick(r, ",", ",", ", ", "\t,\t")) + pick(r, "}", "}", " }")
}

// quote writes s as a JSON string, now and then with a letter escaped.
func quote(r *rand.Rand, s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	if n := len(s); n > 0 && r.IntN(8) == 0 && s[0] < utf8.RuneSelf {
		return fmt.Sprintf(`"\u%04x%s`, s[0], b[2:])
	}
	return string(b)
}

// spoil changes one byte, or cuts the line.
func spoil(r *rand.Rand, line string) string {
	at := r.IntN(len(line) + 1)
	with := pick(r, `"`, `\`, " ", "[", "]", "{", "}", ",", ":", "0", "9", "-", "=", "/", "\t", "x", "e", ".", "\x00", "\x1f", "%", "")
	switch r.IntN(4) {
	case 0:
		return line[:at]
	case 1:
		return line[:at] + with + line[at:]
	}
	return line[:at] + with + line[min(at+1, len(line)):]
}

// FuzzParse reads any line in any format: it must not panic, and what it says
// must be what the naive readers say.
func FuzzParse(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 20 {
		f.Add(drawCombined(r))
		f.Add(drawJSON(r))
		f.Add(drawALB(r))
	}
	f.Add(`https 2026-05-28T18:31:54.123456Z app/x 192.0.2.1:2817 10.0.0.1:80 0.1 0.1 0.1 200 200 0 57 "POST https://h:443/internal/llm/anthropic/v1/messages HTTP/1.1" "x" - - arn`)
	f.Fuzz(func(t *testing.T, line string) {
		auto := proxylog.NewParser(proxylog.Auto)
		once := parse(auto, line)
		checkSame(t, line, once, parse(auto, line)) // though it is remembered
		combined, object, balancer := parse(proxylog.NewParser(proxylog.Combined), line), parse(proxylog.NewParser(proxylog.JSON), line), parse(proxylog.NewParser(proxylog.ALB), line)
		want := combined
		if strings.HasPrefix(strings.TrimLeft(strings.TrimLeft(line, "\x00"), " \t"), "{") {
			want = object
		} else if combined.Outcome == proxylog.NotUnderstood {
			want = balancer
		}
		checkSame(t, line, want, once)
		if !utf8.ValidString(line) || strings.Count(line, "{")+strings.Count(line, "[") > 150 {
			return // encoding/json rewrites what is not UTF-8, and nests deeper
		}
		if object.Outcome != proxylog.NotUnderstood && !json.Valid([]byte(strings.TrimLeft(line, "\x00"))) {
			t.Errorf("%q: understood, and not JSON", line)
		}
		if !odd.MatchString(line) {
			checkSame(t, line, naiveCombined(line), combined)
			checkSame(t, line, naiveJSON(line), object)
			checkSame(t, line, naiveALB(line), balancer)
		}
	})
}

// odd finds what time.Parse reads otherwise: leap seconds, and zones of a day
// and more.
var odd = regexp.MustCompile(`:60|[+-]2[4-9]|[+-]\d\d:?60`)

func checkSame(t *testing.T, line string, want, got seen) {
	t.Helper()
	if diff := cmp.Diff(want, got, alike); diff != "" {
		t.Errorf("%q (-naive +got):\n%s", line, diff)
	}
}

func FuzzClassify(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 30 {
		f.Add(drawTarget(r))
	}
	f.Fuzz(func(t *testing.T, target string) {
		if got, want := proxylog.Classify([]byte(target)).String(), naiveClassify(target); got != want {
			t.Errorf("%q: got %q, want %q", target, got, want)
		}
	})
}

// FuzzTimes reads two times, one after the other, by a parser that remembers
// the first: each must be what the naive reader makes of it.
func FuzzTimes(f *testing.F) {
	for _, s := range []string{"2026-05-28T18:31:54Z", "2026-05-28T20:31:54.25+02:00", "2026-05-28 18:31:55,123456", "28/May/2026:18:31:54 +0000", "1779993114", "1779993114250.5", "1.7e9"} {
		f.Add(s, "2026-05-28T18:31:54.123Z")
		f.Add("28/May/2026:18:31:54 +0000", s)
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		p := proxylog.NewParser(proxylog.JSON)
		for _, text := range []string{first, second} {
			if !utf8.ValidString(text) || odd.MatchString(text) || text == "" || text == "-" {
				continue
			}
			quoted, err := json.Marshal(text)
			if err != nil {
				t.Fatal(err)
			}
			got := parse(p, `{"request":"POST `+messagesPath+` HTTP/1.1","status":200,"time":`+string(quoted)+`}`)
			want, ok := naiveTime(text)
			if (got.Outcome == proxylog.Call) != ok {
				t.Errorf("%q: got outcome %v, the naive reader says %v", text, got.Outcome, ok)
			} else if ok && got.Time.Sub(want).Abs() > time.Millisecond {
				t.Errorf("%q: got %v, want %v", text, got.Time, want)
			}
		}
	})
}
