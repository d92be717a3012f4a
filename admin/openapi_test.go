package admin_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write golden files")

// The document is what other programs are generated from, so that a change of it
// is one that somebody has looked at.
func TestOpenAPI(t *testing.T) {
	w := serve(t)
	got := w.ask("GET /openapi.json").want(t, 200)
	if ct := got.header.Get("Content-Type"); ct != "application/openapi+json" {
		t.Errorf("Content-Type: got %s", ct)
	}
	var text bytes.Buffer
	if err := json.Indent(&text, []byte(got.body), "", "  "); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "openapi.json")
	if *update {
		if err := os.WriteFile(golden, text.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text.String()); diff != "" {
		t.Errorf("go test ./admin -run OpenAPI -update writes it anew; %s", diff)
	}
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			OperationID, Summary, Description string
			Security                          []map[string][]string
		}
	}
	if err := json.Unmarshal(want, &doc); err != nil {
		t.Fatal(err)
	}
	if doc.OpenAPI != "3.1.0" {
		t.Errorf("openapi: got %s", doc.OpenAPI)
	}
	for path, ops := range doc.Paths {
		for method, op := range ops {
			if op.OperationID == "" || op.Summary == "" || op.Description == "" || len(op.Security) == 0 {
				t.Errorf("%s %s: got %+v, want an id, words and security", method, path, op)
			}
		}
	}
}

// Every route that is served is documented: what is not, answers 404. The paths
// are those of the contract and the task's list.
func TestEveryRouteIsDocumented(t *testing.T) {
	w := serve(t)
	var doc struct{ Paths map[string]map[string]any }
	if err := json.Unmarshal([]byte(w.ask("GET /openapi.json").body), &doc); err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for path, ops := range doc.Paths {
		for _, method := range []string{"get", "post", "delete", "put", "patch"} {
			if ops[method] != nil {
				got[path] = append(got[path], method)
			}
		}
	}
	want := map[string][]string{
		"/api/v1/status": {"get"}, "/api/v1/workspaces": {"get"}, "/api/v1/workspaces/{id}": {"get"}, "/api/v1/workspaces/{id}/look": {"post"}, "/api/v1/workspaces/{id}/traffic": {"get"},
		"/api/v1/drifts": {"get"}, "/api/v1/drifts/{id}": {"get"}, "/api/v1/events": {"get"}, "/api/v1/events/stream": {"get"},
		"/api/v1/pauses": {"get"}, "/api/v1/pause": {"post"}, "/api/v1/resume": {"post"}, "/api/v1/suppressions": {"get", "post"},
		"/api/v1/suppressions/{id}": {"delete"}, "/api/v1/sources/{name}/accept": {"post"},
		"/api/v1/actions": {"get"}, "/api/v1/actions/{id}": {"get"}, "/api/v1/workspaces/{id}/reprovision": {"post"}, "/api/v1/workspaces/{id}/approve": {"post"},
		"/api/v1/drifts/{id}/evidence": {"get"}, "/api/v1/workspaces/{id}/evidence": {"get"}, "/api/v1/causes": {"get"}, "/api/v1/causes/{cause}/approve": {"post"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	page, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	for path, methods := range got {
		for _, method := range methods {
			if line := "| `" + strings.ToUpper(method) + " " + path + "` |"; !strings.Contains(string(page), line) {
				t.Errorf("docs/api.md lacks %s", line)
			}
		}
	}
}
