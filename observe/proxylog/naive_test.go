package proxylog_test

import (
	"encoding/json"
	"fmt"
	"math/big"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

// What follows reads lines a second time, slowly and by other means: regular
// expressions, encoding/json, path.Clean, time.Parse and rationals. It was
// written from the formats' descriptions, not from the code that it checks.

const (
	quotedRE = `"(?:[^"\\]|\\.)*"`
	bareRE   = `(?:[^ "]*=` + quotedRE + `|[^ "]+)`
	fieldRE  = `(?:[^ "]*=` + quotedRE + `|` + quotedRE + `|[^ "]+)`
)

var (
	combinedRE  = regexp.MustCompile(`(?s)^\x00*([^ "\x00][^"]*) \[([^"\[]*)\] "((?:[^"\\]|\\.)*)" (\d{3}|-) (?:\d+|-)((?: +` + fieldRE + `)*) *$`)
	albRE       = regexp.MustCompile(`(?s)^\x00*(` + bareRE + `)` + strings.Repeat(` +(`+bareRE+`)`, 11) + ` +"((?:[^"\\]|\\.)*)"((?: +` + fieldRE + `)*) *$`)
	albStatusRE = regexp.MustCompile(`^(?:-|\d{1,3})$`)
	oneFieldRE  = regexp.MustCompile(`(?s)` + fieldRE)
	requestRE   = regexp.MustCompile(`(?s)^POST (.*)$`)
	protocolRE  = regexp.MustCompile(`(?s)^(.*) HTTP/[^ ]*$`)
	percentRE   = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)
	isoRE       = regexp.MustCompile(`^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d`)
	clfRE       = regexp.MustCompile(`^\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}$`)
	numberRE    = regexp.MustCompile(`^\d+(\.\d*)?([eE][+-]?0*\d{1,3})?$`)
	costRE      = regexp.MustCompile(`^(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?0*\d{1,3})?$`)
	uuidRE      = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
)

func naiveClassify(target string) string {
	target, _, _ = strings.Cut(target, "?")
	target, _, _ = strings.Cut(target, "#")
	if !strings.HasPrefix(target, "/") {
		_, rest, _ := strings.Cut(target, "://")
		_, rest, ok := strings.Cut(rest, "/")
		if !ok {
			return ""
		}
		target = "/" + rest
	}
	target = percentRE.ReplaceAllStringFunc(target, func(s string) string {
		n, err := strconv.ParseUint(s[1:], 16, 8)
		if err != nil {
			panic(err)
		}
		return string([]byte{byte(n)})
	})
	target = path.Clean(target)
	for end, op := range map[string]string{
		"/internal/llm/anthropic/v1/messages": "messages", "/internal/llm/anthropic/v1/messages/batches": "batches",
		"/internal/llm/openai/v1/chat/completions": "chat_completions", "/internal/llm/openai/v1/responses": "responses",
	} {
		if strings.HasSuffix(target, end) {
			return op
		}
	}
	return ""
}

func naiveRequest(line string) string {
	m := requestRE.FindStringSubmatch(line)
	if m == nil {
		return ""
	}
	if p := protocolRE.FindStringSubmatch(m[1]); p != nil {
		return naiveClassify(p[1])
	}
	return naiveClassify(m[1])
}

func naiveAddr(s string) string {
	plain := s
	if strings.HasPrefix(s, "[") && strings.Index(s, "]") == len(s)-1 {
		plain = s[1 : len(s)-1]
	}
	if a, err := netip.ParseAddr(plain); err == nil && len(plain) <= 64 {
		return a.WithZone("").Unmap().String()
	}
	if a, err := netip.ParseAddrPort(s); err == nil && len(s)-strings.LastIndexByte(s, ':') <= 19 { // more zeros are no port
		return a.Addr().WithZone("").Unmap().String()
	}
	return ""
}

func naiveID(s string) string {
	if s = strings.ToLower(s); uuidRE.MatchString(s) && strings.Trim(s, "0-") != "" {
		return s
	}
	return ""
}

func naiveTime(s string) (time.Time, bool) {
	if isoRE.MatchString(s) {
		s = s[:10] + "T" + strings.Replace(s[11:], "z", "Z", 1)
	} else if strings.Contains(s, ":") && !clfRE.MatchString(s) {
		return time.Time{}, false // time.Parse takes an hour of one digit
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05-0700", "2006-01-02T15:04:05", "02/Jan/2006:15:04:05 -0700"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	if !numberRE.MatchString(s) || len(s) > 40 {
		return time.Time{}, false
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok || r.Cmp(new(big.Rat).SetFloat64(1e20)) >= 0 {
		return time.Time{}, false
	}
	if f, _ := r.Float64(); f <= 0 {
		return time.Time{}, false // smaller than any float: nothing
	}
	for r.Cmp(big.NewRat(1e11, 1)) >= 0 {
		r.Mul(r, big.NewRat(1, 1000))
	}
	r.Mul(r, big.NewRat(1e9, 1))
	ns := new(big.Int).Quo(r.Num(), r.Denom())
	sec, nsec := new(big.Int).QuoRem(ns, big.NewInt(1e9), new(big.Int))
	return time.Unix(sec.Int64(), nsec.Int64()), true
}

func naiveCombined(line string) seen {
	m := combinedRE.FindStringSubmatch(line)
	if m == nil {
		return seen{}
	}
	at, ok := naiveTime(m[2])
	if !ok {
		return seen{}
	}
	op := naiveRequest(m[3])
	if op == "" {
		return seen{Outcome: proxylog.Other}
	}
	s := seen{Outcome: proxylog.Call, Time: at.UTC(), Operation: op}
	s.Status, _ = strconv.Atoi(m[4])
	words := append(strings.Split(m[1], " "), "")
	first, second := naiveAddr(words[0]), naiveAddr(words[1])
	_, err := netip.ParseAddr(words[0])
	if s.Peer = first; second != "" && err != nil {
		s.Peer = second
	}
	naiveExtras(&s, m[5])
	return s
}

func naiveALB(line string) seen {
	m := albRE.FindStringSubmatch(line)
	if m == nil || !slices.Contains([]string{"http", "https", "h2", "grpcs", "ws", "wss"}, m[1]) || !albStatusRE.MatchString(m[9]) || len(m[2]) < len("2026-05-28T18:31:54") {
		return seen{}
	}
	at, ok := naiveTime(m[2])
	if !ok {
		return seen{}
	}
	op := naiveRequest(m[13])
	if op == "" {
		return seen{Outcome: proxylog.Other}
	}
	s := seen{Outcome: proxylog.Call, Time: at.UTC(), Operation: op, Peer: naiveAddr(m[4])}
	s.Status, _ = strconv.Atoi(m[9])
	if i := strings.LastIndexByte(m[4], ':'); i >= 0 && naiveAddr(m[4][:i]) != "" {
		if _, err := strconv.ParseUint(m[4][i+1:], 10, 16); err == nil && len(m[4])-i <= 19 {
			s.Peer = naiveAddr(m[4][:i])
		}
	}
	return s
}

func naiveExtras(s *seen, fields string) {
	quoted := 0
	for _, f := range oneFieldRE.FindAllString(fields, -1) {
		if !strings.HasPrefix(f, `"`) {
			name, value, ok := strings.Cut(f, "=")
			name = plain(name)
			id := naiveID(strings.Trim(value, `"`))
			if ok && id != "" && slices.Contains(facts["workspace"], name) {
				s.Workspace = id
			}
			continue
		}
		quoted++
		f = f[1 : len(f)-1]
		last := strings.Trim(f[strings.LastIndex(f, ",")+1:], " \t")
		if quoted > 2 && s.Forwarded == "" && naiveAddr(last) != "" {
			s.Forwarded = f
		}
	}
}

// facts are the names of each fact, the best first.
var facts = map[string][]string{
	"peer":      {"clientaddr", "downstreamdirectremoteaddress", "remoteip", "remoteaddr", "remoteaddress", "remotehost", "peer"},
	"client":    {"clientip", "clienthost", "downstreamremoteaddress", "client", "realip", "ip"},
	"forwarded": {"xforwardedfor", "httpxforwardedfor", "requestxforwardedfor", "xff"},
	"method":    {"method", "requestmethod", "httpmethod", "verb"},
	"target":    {"requesturi", "originalurl", "uri", "url", "path", "requestpath"},
	"line":      {"request", "requestline", "req"},
	"status":    {"downstreamstatus", "status", "statuscode", "responsecode", "responsestatus", "httpstatus", "elbstatuscode", "originstatus", "response"},
	"time":      {"time", "ts", "timestamp", "timeiso8601", "timelocal", "msec", "starttime", "startutc", "startlocal"},
	"workspace": {"workspaceid", "xmoleculeworkspaceid", "httpxmoleculeworkspaceid", "requestxmoleculeworkspaceid"},
	"model":     {"model"},
	"in":        {"inputtokens", "prompttokens"},
	"out":       {"outputtokens", "completiontokens"},
	"cost":      {"costusd", "totalcostusd", "totalcost", "responsecost", "cost"},
}

// inside are the facts that an object may give, by the object's name.
var inside = map[string][]string{
	"request":  {"peer", "client", "forwarded", "method", "target", "line", "status", "workspace", "model", "in", "out", "cost"},
	"response": {"status"}, "headers": {"forwarded", "workspace"}, "usage": {"in", "out", "cost"},
}

var objects = map[string]string{
	"request": "request", "req": "request", "httprequest": "request", "http": "request", "response": "response", "res": "response",
	"headers": "headers", "requestheaders": "headers", "usage": "usage",
}

var punctuation = strings.NewReplacer("_", "", "-", "", ".", "", "@", "")

func plain(name string) string {
	return strings.ToLower(punctuation.Replace(name))
}

type naiveFact struct {
	text string
	rank int // lower is better
}

func naiveJSON(line string) seen {
	line = strings.TrimLeft(line, "\x00")
	if !json.Valid([]byte(line)) || !strings.HasPrefix(strings.TrimLeft(line, " \t\r\n"), "{") {
		return seen{}
	}
	d := json.NewDecoder(strings.NewReader(line))
	d.UseNumber()
	got := map[string]naiveFact{}
	must(d.Token())
	naiveObject(d, "", got)
	at, timeOK := naiveTime(got["time"].text)
	status, err := strconv.Atoi(got["status"].text)
	op, requestOK := naiveOperation(got)
	if !timeOK || err != nil || !requestOK || len(got["status"].text) > 3 || strings.ContainsAny(got["status"].text, "+-") {
		return seen{}
	}
	if op == "" {
		return seen{Outcome: proxylog.Other}
	}
	s := seen{Outcome: proxylog.Call, Time: at.UTC(), Operation: op, Status: status, Forwarded: got["forwarded"].text}
	s.Workspace, s.Model = naiveID(got["workspace"].text), got["model"].text
	if s.Peer = naiveAddr(got["peer"].text); s.Peer == "" {
		s.Peer = naiveAddr(got["client"].text)
	} else if s.Forwarded == "" {
		s.Forwarded = got["client"].text
	}
	s.In, s.Out = naiveCount(got["in"].text), naiveCount(got["out"].text)
	s.Cost, s.CostKnown = naiveCost(got["cost"].text)
	return s
}

func naiveCost(s string) (float64, bool) {
	r, ok := new(big.Rat).SetString(s)
	if !costRE.MatchString(s) || len(s) > 32 || !ok || r.Cmp(big.NewRat(1_000_000, 1)) > 0 {
		return 0, false
	}
	f, _ := r.Float64()
	return f, true
}

func naiveCount(s string) int64 {
	n, err := strconv.ParseUint(s, 10, 60)
	if err != nil || len(s) > 18 {
		return 0
	}
	return int64(n)
}

func naiveOperation(got map[string]naiveFact) (string, bool) {
	method, target, line := got["method"].text, got["target"].text, got["line"].text
	if target == "" && strings.HasPrefix(line, "/") {
		target = line
	}
	switch {
	case method != "" && target != "" && strings.ToUpper(method) == "POST":
		return naiveClassify(target), true
	case method != "" && target != "":
		return "", true
	}
	return naiveRequest(line), strings.Index(line, " ") > 0
}

func must(t json.Token, err error) json.Token {
	if err != nil {
		panic(err)
	}
	return t
}

// naiveObject reads an object, its brace being read, that is called name; ""
// is the whole line.
func naiveObject(d *json.Decoder, name string, got map[string]naiveFact) {
	for d.More() {
		key := plain(must(d.Token()).(string))
		value := must(d.Token())
		fact, rank := naiveName(name, key)
		switch v := value.(type) {
		case string, json.Number:
			naiveKeep(got, fact, rank, fmt.Sprint(v))
		case json.Delim:
			switch object := objects[key]; {
			case v == '{' && (name == "" || name == "request" || name == "response" && object == "usage"):
				if object == "" {
					object = "unknown"
				}
				naiveObject(d, object, got)
			case v == '{':
				naiveObject(d, "unknown", got)
			default:
				naiveKeep(got, fact, rank, naiveList(d))
			}
		}
	}
	must(d.Token())
}

// naiveList joins an array's strings up to the first nested value.
func naiveList(d *json.Decoder) string {
	var parts []string
	nested := false
	for d.More() {
		switch v := must(d.Token()).(type) {
		case string:
			parts = append(parts, v)
		case json.Delim:
			nested = true
			if v == '{' {
				naiveObject(d, "unknown", map[string]naiveFact{})
			} else {
				naiveList(d)
			}
		}
	}
	must(d.Token())
	if nested {
		return ""
	}
	return strings.TrimLeft(strings.Join(parts, ","), ",")
}

func naiveName(object, key string) (fact string, rank int) {
	for fact, names := range facts {
		if i := slices.Index(names, key); i >= 0 && (object == "" || slices.Contains(inside[object], fact)) {
			rank := i * 2
			if object != "" {
				rank++
			}
			return fact, rank
		}
	}
	return "", 0
}

func naiveKeep(got map[string]naiveFact, fact string, rank int, text string) {
	if old, ok := got[fact]; text != "" && text != "-" && (!ok || rank <= old.rank) {
		got[fact] = naiveFact{text, rank}
	}
}
