package admin_test

import (
	"bufio"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/molecule-ai/billing-reconciler/admin"
)

func TestEveryRefusalIsAProblemDocument(t *testing.T) {
	w := serve(t, func(o *admin.Options) {
		o.Metrics = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("broken gauge") })
	})
	for rule, c := range map[string]struct {
		what   string
		status int
		words  string
	}{
		"no such path":              {"GET /nothing", 404, "openapi.json"},
		"no such path at all":       {"GET !/x/y", 404, "openapi.json"},
		"another method":            {"PUT /status {}", 405, "GET"},
		"a panic":                   {"GET /metrics", 500, "log"},
		"a body too large":          {`POST /pause {"reason":"` + strings.Repeat("x", 70<<10) + `"}`, 413, "65536"},
		"no body":                   {"POST /pause", 400, "body"},
		"no json":                   {"POST /pause {", 400, "body"},
		"two documents":             {`POST /pause {"scope":"all","reason":"x"}{}`, 400, "body"},
		"an unknown field":          {`POST /pause {"scope":"all","reason":"x","resaon":"y"}`, 422, "body.resaon"},
		"a field in another case":   {`POST /pause {"Scope":"all","reason":"x"}`, 422, "body.Scope"},
		"a field of another type":   {`POST /pause {"scope":"all","reason":7}`, 422, "body.reason"},
		"a field that is null":      {`POST /pause {"scope":"all","reason":null}`, 422, "body.reason"},
		"an unknown query":          {"GET /events?kind=paused", 422, "query.kind"},
		"an unknown event kind":     {"GET /events?kinds=paused,pausd", 422, "query.kinds[1]"},
		"a limit too high":          {"GET /workspaces?limit=1001", 422, "query.limit"},
		"a limit of none":           {"GET /workspaces?limit=0", 422, "query.limit"},
		"no uuid":                   {"GET /workspaces/6b66", 422, "path.id"},
		"no number":                 {"GET /drifts/x", 422, "path.id"},
		"a verdict that is none":    {"GET /workspaces?verdict=fine", 422, "query.verdict"},
		"a time that is none":       {"GET /drifts?since=yesterday", 422, "query.since"},
		"a cursor that is none":     {"GET /workspaces?cursor=%21%21", 422, "cursor"},
		"an event id that is none":  {"GET /events/stream?after=x", 422, "query.after"},
		"a source name that is one": {`POST /sources/a%2Fb/accept {"reason":"x"}`, 422, "path.name"},
	} {
		t.Run(rule, func(t *testing.T) { w.ask(c.what).want(t, c.status).says(t, c.words) })
	}
	if log := w.log.String(); !strings.Contains(log, "broken gauge") {
		t.Errorf("the panic is not in the log: %s", log)
	}
	w.ask("PUT /status {}").want(t, 405)
	if allow := w.ask("PUT /status {}").header.Get("Allow"); allow != "GET, HEAD" {
		t.Errorf("Allow: got %q", allow)
	}
}

func TestAnUnreachableDatabaseIsSaidToBe(t *testing.T) {
	gone := openStore(t, "postgres://u:hunter2@127.0.0.1:1/none")
	w := serve(t, func(o *admin.Options) { o.Store = gone })
	for _, what := range []string{"GET /status", "GET /workspaces", "GET /drifts/1", "GET /events/stream", `POST /pause {"scope":"all","reason":"x"}`} {
		got := w.ask(what).want(t, 503).says(t, "state database")
		if got.header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", what)
		}
		if strings.Contains(got.body+w.log.String(), "hunter2") {
			t.Errorf("%s: the password is shown", what)
		}
	}
	w.ask("GET /healthz").want(t, 200)
}

// Law 8: a token shows nowhere, wherever somebody puts it.
func TestATokenIsNeverShown(t *testing.T) {
	const planted = "planted-5ec7e7"
	w := serve(t)
	var said strings.Builder
	for _, c := range [][]string{
		{"GET /status", "Authorization: Bearer " + planted},
		{"GET /status", "Authorization: " + planted},
		{"GET /status?token=" + planted},
		{"GET /status", "Idempotency-Key: " + planted, "X-Token: " + planted},
		{"GET /" + planted},
		{"GET /workspaces/" + planted},
		{planted + " /status"},
		{`POST /pause {"` + planted[:7] + `":"` + planted + `","scope":"all","reason":"x"}`},
		{`POST /pause {"scope":"` + planted + `","reason":"x"}`},
		{`POST /suppressions {"source":"acme","kind":"` + planted + `","reason":"x","for":"` + planted + `"}`},
		{"GET /events?kinds=" + planted},
		{"GET /events?order=" + planted},
		{"GET /events/stream?after=" + planted},
		{"GET /workspaces?cursor=" + planted},
	} {
		got := w.ask(c[0], c[1:]...)
		said.WriteString(got.body)
		for name, values := range got.header {
			said.WriteString(name + ": " + strings.Join(values, " ") + "\n")
		}
	}
	said.WriteString(raw(t, w, "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+planted+"\r\nbroken header "+planted+"\r\n\r\n"))
	for where, text := range map[string]string{"answers": said.String(), "the log": w.log.String()} {
		for _, secret := range []string{planted, operatorToken, viewerToken} {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("%s show %s: %s", where, secret, text[max(0, i-200):min(len(text), i+50)])
			}
		}
	}
	if !strings.Contains(w.log.String(), "http request") {
		t.Error("no request is in the log")
	}
}

// raw sends what no client library would, and gives the answer's first line.
func raw(t *testing.T, w *served, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line
}

func TestRequestsAreLogged(t *testing.T) {
	w := serve(t)
	w.ask("GET /workspaces/"+idOf(7)).want(t, 404)
	w.as("nobody's").ask("GET /status").want(t, 401)
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	log := w.log.String()
	for _, words := range []string{
		`msg="http request" method=GET route="GET /api/v1/workspaces/{id}" status=404 duration=`, "principal=ops",
		`method=GET route="" status=401`, `principal=""`,
	} {
		if !strings.Contains(log, words) {
			t.Errorf("the log lacks %q:\n%s", words, log)
		}
	}
	if strings.Contains(log, idOf(7)) {
		t.Error("the log holds a path as typed")
	}
}
