package admin_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/admin"
)

func withMetrics(o *admin.Options) {
	o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("reconciler_up 1\n")) })
}

// operations lists every "METHOD path" that the server documents, with ids
// filled in.
func operations(t *testing.T, w *served) (all []string) {
	t.Helper()
	var doc struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal([]byte(w.ask("GET /openapi.json").want(t, 200).body), &doc); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("/workspaces/{id}", "/workspaces/"+idOf(1), "{id}", "1", "{name}", "acme")
	for path, ops := range doc.Paths {
		for method := range ops {
			all = append(all, strings.ToUpper(method)+" !"+fill.Replace(path))
		}
	}
	if len(all) < 15 {
		t.Fatalf("only %d operations: %q", len(all), all)
	}
	return all
}

func TestRoleByRoute(t *testing.T) {
	w := serve(t, withMetrics, func(o *admin.Options) { o.FailedAuthPerMinute = 10_000 })
	routes := append(operations(t, w), "GET !/api/v1/openapi.json", "GET !/api/v1/openapi.yaml", "GET /metrics", "GET !/not/there", "POST !/not/there", "PUT !/api/v1/status")
	for _, route := range routes {
		read := strings.HasPrefix(route, "GET")
		for who, c := range map[string]struct {
			token string
			in    bool
			want  int
		}{
			"nobody":    {"", false, 401},
			"a guess":   {"guess", false, 401},
			"a prefix":  {operatorToken[:8], false, 401},
			"ingest":    {ingestToken, false, 403},
			"viewer":    {viewerToken, read, 403},
			"operator":  {operatorToken, true, 0},
			"two words": {operatorToken + " " + operatorToken, false, 401},
		} {
			if strings.Contains(route, "/events/stream") && c.in {
				continue // it would not end; TestStream is let in
			}
			got := w.as(c.token).ask(route)
			switch {
			case c.in && (got.status == 401 || got.status == 403 || got.status >= 500):
				t.Errorf("%s as %s: got %d, want to be let in: %s", route, who, got.status, got.body)
			case !c.in:
				got.want(t, c.want)
				if c.want == 401 && !strings.HasPrefix(got.header.Get("WWW-Authenticate"), "Bearer") {
					t.Errorf("%s as %s: no WWW-Authenticate", route, who)
				}
				if need := map[bool]string{true: "role viewer", false: "role operator"}[read]; c.want == 403 {
					got.says(t, "needs the "+need)
				}
			}
		}
	}
}

func TestIngestRoleMayOnlyPush(t *testing.T) {
	w := serve(t)
	for _, path := range []string{"/ingest", "/loki/api/v1/push", "/v1/logs", "/ingest/more"} {
		w.as(operatorToken).ask("POST !"+path+" {}").want(t, 403).says(t, "needs the role ingest")
		w.as(ingestToken).ask("POST !"+path+" {}").want(t, 404) // let in, and nothing is there yet
	}
	w.as(ingestToken).ask("POST !/ingestion {}").want(t, 403)
}

func TestProbersNeedNoToken(t *testing.T) {
	w := serve(t).as("")
	w.ask("GET /healthz").want(t, 200).says(t, `"alive":true`)
	w.ask("GET /readyz").want(t, 200).says(t, `"ready":true`)
}

func TestTokensChangeAtOnce(t *testing.T) {
	w := serve(t)
	w.ask("GET /status").want(t, 200)
	next := []admin.Token{{Name: "new", Role: admin.Operator, Hash: sha256.Sum256([]byte("next"))}}
	if err := w.server.SetTokens(next); err != nil {
		t.Fatal(err)
	}
	w.ask("GET /status").want(t, 401)
	w.as("next").ask("GET /status").want(t, 200)
	if err := w.server.SetTokens(append(next, admin.Token{Name: "bad", Role: "root", Hash: [32]byte{1}})); err == nil {
		t.Error("a role that does not exist was taken")
	}
	w.as("next").ask("GET /status").want(t, 200)
}

func TestTokensThatAreRefused(t *testing.T) {
	good := admin.Token{Name: "a", Role: admin.Viewer, Hash: sha256.Sum256([]byte("x"))}
	for rule, tokens := range map[string][]admin.Token{
		"no name":         {{Role: admin.Viewer, Hash: good.Hash}},
		"no role":         {{Name: "a", Hash: good.Hash}},
		"no hash":         {{Name: "a", Role: admin.Viewer}},
		"the empty token": {{Name: "a", Role: admin.Viewer, Hash: sha256.Sum256(nil)}},
		"a doubled name":  {good, {Name: "a", Role: admin.Viewer, Hash: [32]byte{1}}},
		"a doubled token": {good, {Name: "b", Role: admin.Operator, Hash: good.Hash}},
	} {
		if _, err := admin.New(admin.Options{Store: newStore(t), Tokens: tokens}); err == nil {
			t.Errorf("%s: taken", rule)
		}
	}
}

// The comparison cannot be timed in a test, but it can be read: hashes are
// compared by subtle alone, all of them.
func TestTokensAreComparedInConstantTime(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "auth.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var find *ast.FuncDecl
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == "find" {
			find = f
		}
	}
	var calls []string
	ast.Inspect(find, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.RangeStmt:
			ast.Inspect(n.Body, func(n ast.Node) bool {
				switch n.(type) {
				case *ast.ReturnStmt, *ast.BranchStmt, *ast.IfStmt:
					t.Error("the loop over tokens ends early, or branches")
				}
				return true
			})
		case *ast.CallExpr:
			if sel, ok := n.Fun.(*ast.SelectorExpr); ok {
				calls = append(calls, fmt.Sprintf("%s.%s", sel.X, sel.Sel))
			}
		}
		return true
	})
	if diff := cmp.Diff([]string{"sha256.Sum256", "subtle.ConstantTimeCompare", "subtle.ConstantTimeSelect"}, calls); diff != "" {
		t.Error(diff)
	}
}

func TestWrongTokensAreLimited(t *testing.T) {
	w := serve(t, func(o *admin.Options) { o.FailedAuthPerMinute = 3 })
	for range 10 {
		w.as("").ask("GET /status").want(t, 401) // no token is no guess
	}
	for i := range 3 {
		w.as(fmt.Sprint("guess", i)).ask("GET /status").want(t, 401)
	}
	got := w.as("guess").ask("GET /status").want(t, 429)
	if wait := got.header.Get("Retry-After"); wait != "20" && wait != "19" {
		t.Errorf("Retry-After: got %q, want the 20 seconds that one of 3 a minute takes", wait)
	}
	w.ask("GET /status").want(t, 429) // else the right guess would still get through
	w.as("").ask("GET /healthz").want(t, 200)
}

func TestFailuresAreCountedByAddress(t *testing.T) {
	now := time.Date(2026, 5, 28, 18, 0, 0, 0, time.UTC)
	f := admin.NewFailures(2)
	for range 2 {
		f.Count("203.0.113.7:1000", now)
		f.Count("[2001:db8:0:1::1]:1000", now)
	}
	for remote, limited := range map[string]bool{
		"203.0.113.7:2222": true, "[::ffff:203.0.113.7]:1": true, "203.0.113.8:1000": false,
		"[2001:db8:0:1:ffff::9]:1": true, "[2001:db8:0:2::1]:1": false,
	} {
		if got := f.Wait(remote, now) > 0; got != limited {
			t.Errorf("%s: got limited %t, want %t", remote, got, limited)
		}
	}
	if got := f.Wait("203.0.113.7:1", now.Add(30*time.Second)); got != 0 {
		t.Errorf("after half a minute of two: still %s to wait", got)
	}
}

func TestFailuresTakeBoundedMemory(t *testing.T) {
	now := time.Now()
	f := admin.NewFailures(5)
	for i := range admin.MostAddresses + 500 {
		f.Count(net.IPv4(10, byte(i>>16), byte(i>>8), byte(i)).String()+":1", now)
	}
	if got := f.Size(); got > admin.MostAddresses {
		t.Errorf("got %d addresses, want at most %d", got, admin.MostAddresses)
	}
	f.Count("192.0.2.1:1", now.Add(time.Hour))
	if got := f.Size(); got != 1 {
		t.Errorf("got %d addresses an hour later, want the new one alone", got)
	}
}
