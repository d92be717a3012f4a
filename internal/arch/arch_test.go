package arch_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/molecule-ai/billing-reconciler"

// longest is the number of lines at which a file is split.
const longest = 400

// listed is a package as `go list` tells of it.
type listed struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
}

// name is the package's path within the module.
func (p listed) name() string { return local(p.ImportPath) }

func local(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
}

func packages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,GoFiles,Imports", "./...")
	cmd.Dir = "../.."
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 5 {
		t.Fatalf("only %d packages: go list does not see the module", len(all))
	}
	return all
}

// matches tells whether a path is a pattern's, or under it where it ends in
// "/...".
func matches(pattern, path string) bool {
	if tree, ok := strings.CutSuffix(pattern, "..."); ok {
		return strings.HasPrefix(path+"/", tree)
	}
	return pattern == path
}

func roomOf(name string) (room, bool) {
	i := slices.IndexFunc(rooms, func(r room) bool { return matches(r.path, name) })
	if i < 0 {
		return room{}, false
	}
	return rooms[i], true
}

// violations lists what is wrong with a package's imports.
func violations(p listed) (wrong []string) {
	r, ok := roomOf(p.name())
	if !ok {
		return []string{fmt.Sprintf("%s is in no room: say in rooms_test.go what it may know, and why", p.name())}
	}
	for _, path := range p.Imports {
		if problem := violation(r, p.name(), path); problem != "" {
			wrong = append(wrong, fmt.Sprintf("%s imports %s: %s", p.name(), local(path), problem))
		}
	}
	return wrong
}

func violation(r room, name, path string) string {
	first, _, _ := strings.Cut(path, "/")
	ours, third := strings.HasPrefix(path+"/", module+"/"), strings.Contains(first, ".")
	switch {
	case ours && !slices.ContainsFunc(r.may, func(may string) bool { return matches(may, local(path)) }):
		return r.why
	case !ours && third && !slices.ContainsFunc(r.may, func(may string) bool { return matches(may+"/...", path) || may == "..." }):
		return r.why
	case !ours && !third:
		return standard(name, path)
	}
	return ""
}

// standard judges an import of the standard library.
func standard(name, path string) string {
	if name == "drift" && slices.Contains(pure, path) {
		return "the decisions are pure"
	}
	for _, g := range guarded {
		if g.path == path && !slices.ContainsFunc(g.may, func(may string) bool { return matches(may, name) }) {
			return g.why
		}
	}
	return ""
}

func TestEveryImportIsAllowed(t *testing.T) {
	for _, p := range packages(t) {
		for _, wrong := range violations(p) {
			t.Error(wrong)
		}
	}
}

func TestTheCheckSeesAForbiddenImport(t *testing.T) {
	for rule, p := range map[string]listed{
		"drift knows no room":                       {ImportPath: module + "/drift", Imports: []string{module + "/metrics"}},
		"drift knows no module":                     {ImportPath: module + "/drift", Imports: []string{"golang.org/x/sync/errgroup"}},
		"drift is pure":                             {ImportPath: module + "/drift", Imports: []string{"context"}},
		"desired and observe don't know each other": {ImportPath: module + "/desired", Imports: []string{module + "/observe/ssm"}},
		"and the other way":                         {ImportPath: module + "/observe/ssm", Imports: []string{module + "/desired"}},
		"only observe/ssm knows AWS":                {ImportPath: module + "/platform", Imports: []string{"github.com/aws/aws-sdk-go-v2/service/ssm"}},
		"only some know PostgreSQL":                 {ImportPath: module + "/reconcile", Imports: []string{"github.com/jackc/pgx/v5/pgxpool"}},
		"the loop declares interfaces":              {ImportPath: module + "/reconcile", Imports: []string{module + "/platform"}},
		"only cmd knows commands":                   {ImportPath: module + "/admin", Imports: []string{"github.com/spf13/cobra"}},
		"only platform calls out":                   {ImportPath: module + "/desired", Imports: []string{"net/http"}},
		"a name that only begins alike":             {ImportPath: module + "/desired", Imports: []string{"github.com/jackc/pgx/v55"}},
		"a package nobody has placed":               {ImportPath: module + "/util"},
	} {
		if len(violations(p)) != 1 {
			t.Errorf("%s: got %q, want one violation", rule, violations(p))
		}
	}
	fine := listed{ImportPath: module + "/desired", Imports: []string{module + "/drift", "github.com/jackc/pgx/v5/pgxpool", "github.com/jackc/pgx/v5", "time"}}
	if wrong := violations(fine); wrong != nil {
		t.Errorf("accused: %q", wrong)
	}
}

func TestNoFileIsTooLong(t *testing.T) {
	for _, p := range packages(t) {
		for _, name := range p.GoFiles {
			text, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if lines := bytes.Count(text, []byte("\n")); lines > longest {
				t.Errorf("%s/%s has %d lines: split it by noun", p.name(), name, lines)
			}
		}
	}
}

func TestDriftIsToldTheTime(t *testing.T) {
	for _, p := range packages(t) {
		if p.name() != "drift" {
			continue
		}
		for _, name := range p.GoFiles {
			text, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			for _, call := range clockCalls(t, text) {
				t.Errorf("drift/%s asks %s", name, call)
			}
		}
	}
	if calls := clockCalls(t, []byte("package drift\nvar x = time.Now()")); len(calls) != 1 {
		t.Errorf("the check does not see time.Now: %q", calls)
	}
}

// clockCalls lists the clocks that a file asks.
func clockCalls(t *testing.T, text []byte) (calls []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "", text, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && slices.Contains(clocks, x.Name+"."+sel.Sel.Name) {
			calls = append(calls, x.Name+"."+sel.Sel.Name)
		}
		return true
	})
	return calls
}
