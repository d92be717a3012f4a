package arch_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// changing are the methods that may change something at a server.
var changing = []string{"POST", "PUT", "PATCH", "DELETE"}

// Only one file of the room that calls platforms can send what changes one, and
// no other room knows the way.
func TestOnlyTheActorChangesTheWorld(t *testing.T) {
	for _, p := range packages(t) {
		for _, name := range p.GoFiles {
			text, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			for _, way := range waysToAct(t, p.name(), text) {
				if p.name() != "platform" || name != "restart.go" {
					t.Errorf("%s/%s: %s: only platform/restart.go may act", p.name(), name, way)
				}
			}
		}
	}
}

func TestTheCheckSeesAnotherWayToAct(t *testing.T) {
	for _, row := range []struct{ room, text string }{
		{"platform", `var x = http.MethodPost`},
		{"platform", `var x = http.MethodDelete`},
		{"platform", `var x = "PUT"`},
		{"platform", `var _, _ = http.Post(u, "", nil)`},
		{"platform", `var _, _ = client.PostForm(u, nil)`},
		{"reconcile", `var x = "/workspaces/" + id + "/restart"`},
	} {
		if ways := waysToAct(t, row.room, []byte("package x\n"+row.text)); len(ways) != 1 {
			t.Errorf("%s: %s: got %q, want one way", row.room, row.text, ways)
		}
	}
	if ways := waysToAct(t, "notify", []byte("package x\nvar x = http.MethodPost")); ways != nil {
		t.Errorf("who tells somebody is accused: %q", ways)
	}
}

// waysToAct lists what a file has in it that could change a platform: in its
// own room every method that changes, elsewhere the route.
func waysToAct(t *testing.T, room string, text []byte) (ways []string) {
	t.Helper()
	if strings.HasPrefix(room, "internal/fleetsim") {
		return nil // it is the platform that is called
	}
	file, err := parser.ParseFile(token.NewFileSet(), "", text, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			method, named := strings.CutPrefix(n.Sel.Name, "Method")
			if room == "platform" && (named && slices.Contains(changing, strings.ToUpper(method)) || n.Sel.Name == "Post" || n.Sel.Name == "PostForm") {
				ways = append(ways, n.Sel.Name)
			}
		case *ast.BasicLit:
			word, err := strconv.Unquote(n.Value)
			if err == nil && (word == "/restart" || room == "platform" && slices.Contains(changing, word)) {
				ways = append(ways, n.Value)
			}
		}
		return true
	})
	return ways
}
