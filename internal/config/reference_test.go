package config

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"
)

var update = flag.Bool("update", false, "write docs/config.md")

// row is a key of the reference.
type row struct{ path, standard, description string }

// rows lists every key of a struct and of those in it.
func rows(t reflect.Type, path string, comments map[string]string) (all []row) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		if t.Kind() == reflect.Slice {
			path += "[]"
		}
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	for i := range t.NumField() {
		f := t.Field(i)
		key := f.Tag.Get("yaml")
		if key == "" {
			continue
		}
		r := row{join(path, key), "", described(t, f, comments)}
		if text, ok := f.Tag.Lookup("default"); ok {
			r.standard = "`" + text + "`"
		}
		if f.Tag.Get("required") != "" {
			r.standard = "required"
		}
		all = append(append(all, r), rows(f.Type, r.path, comments)...)
	}
	return all
}

func reference(t *testing.T) []row {
	t.Helper()
	comments, err := fieldComments()
	if err != nil {
		t.Fatal(err)
	}
	return rows(reflect.TypeFor[Config](), "", comments)
}

// TestTheDocumentationIsWhatTheCodeSays holds the table of docs/config.md;
// `go test ./internal/config -update` writes it.
func TestTheDocumentationIsWhatTheCodeSays(t *testing.T) {
	const file, begin, end = "../../docs/config.md", "<!-- keys: generated -->\n", "<!-- end of keys -->"
	var b strings.Builder
	b.WriteString("| key | default | |\n|---|---|---|\n")
	for _, r := range reference(t) {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", r.path, r.standard, strings.ReplaceAll(r.description, "|", `\|`))
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(text), begin)
	got, tail, found := strings.Cut(rest, end)
	if !found {
		t.Fatalf("%s has lost its marks", file)
	}
	if *update {
		if err := os.WriteFile(filepath.Clean(file), []byte(head+begin+b.String()+end+tail), 0o644); err != nil { // #nosec G306 -- a document
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(b.String(), got); diff != "" {
		t.Errorf("out of date; run go test ./internal/config -update (-code +docs)\n%s", diff)
	}
}

func TestEveryKeyIsDescribed(t *testing.T) {
	for _, r := range reference(t) {
		if !strings.HasSuffix(r.description, ".") {
			t.Errorf("%s: %q is no sentence", r.path, r.description)
		}
	}
}

func TestTheExampleParsesAndNamesEveryKey(t *testing.T) {
	text, err := os.ReadFile("../../deploy/reconciler.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "reconciler.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(file, func(string) (string, bool) { return "x", true })
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(NeedAWS | NeedState); err != nil {
		t.Error(err)
	}
	for _, r := range reference(t) {
		key := r.path[strings.LastIndexByte(r.path, '.')+1:]
		if !regexp.MustCompile(`(?m)[ {#]` + key + `:|^` + key + `:`).Match(text) {
			t.Errorf("the example does not name %s", r.path)
		}
	}
}

func TestTheSchemaHasEveryKeyAndDefault(t *testing.T) {
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var root jsonschema.Schema
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	for _, r := range reference(t) {
		s := &root
		for part := range strings.SplitSeq(r.path, ".") {
			key, isList := strings.CutSuffix(part, "[]")
			if key == "tag" {
				s = s.OneOf[1]
			}
			next, ok := s.Properties.Get(key)
			if !ok {
				t.Fatalf("the schema lacks %s", r.path)
			}
			if s = next; isList {
				s = s.Items
			}
		}
		if (s.Default == nil) != (r.standard == "" || r.standard == "required") {
			t.Errorf("%s: default %v in the schema, %q in the code", r.path, s.Default, r.standard)
		}
	}
	if diff := cmp.Diff([]string{"policy", "proxy", "registry"}, slices.Sorted(slices.Values(root.Required))); diff != "" {
		t.Error(diff)
	}
}

func TestTheSchemaDemandsOneOfAlternatives(t *testing.T) {
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var root jsonschema.Schema
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"notify":       "webhook slack alertmanager",
		"observe.logs": "file push kafka sqs",
		"admin.tokens": "token token_file token_sha256 token_sha256_file",
	} {
		s := &root
		for key := range strings.SplitSeq(path, ".") {
			s, _ = s.Properties.Get(key)
		}
		var got []string
		for _, all := range s.Items.AllOf {
			for _, way := range all.OneOf {
				got = append(got, way.Required...)
			}
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}

func TestSuggestionsAreNearOrNone(t *testing.T) {
	for word, want := range map[string]string{
		"regoin": `; did you mean "region"?`, "name_": `; did you mean "name"?`, "databse": `; did you mean "database"?`,
		"x": "", "": "", "something_else": "", strings.Repeat("region", 100): "",
	} {
		if got := didYouMean(word, keysOf(reflect.TypeFor[Source]())); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}

// FuzzLoad: whatever the text, Load returns; each error says where; and what it
// accepts it accepts again when rendered.
func FuzzLoad(f *testing.F) {
	for _, file := range []string{"init.yaml", "../../deploy/reconciler.example.yaml"} {
		text, err := os.ReadFile(filepath.Clean(file))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	for _, text := range []string{"", "a: &a [*a]", "sources: &s [{name: a, database_file: /dev/null}]\nsources_from: x", "registry: ${", "? a", "- - -", "&a : *a", "!!binary x: y", "\x00", "sources: [*", "registry: $${A}"} {
		f.Add(text)
	}
	env := map[string]string{"A": "1", "B": "$${A}"}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "_file") || strings.Contains(text, "_from") {
			return // no reading of the machine's own files
		}
		root, err := parse("f.yaml", []byte(text))
		if err != nil {
			return
		}
		l := &loader{env: func(n string) (string, bool) { v, ok := env[n]; return v, ok }, file: "f.yaml", origins: map[string]Origin{}, failed: map[string]bool{}}
		c, err := l.load(root)
		if err != nil {
			var all Errors
			if !errors.As(err, &all) {
				t.Fatalf("%T: %v", err, err)
			}
			for _, e := range all {
				if e.File != "f.yaml" || e.Message == "" || e.Line == 0 && root != nil {
					t.Errorf("an error without its place: %#v", e)
				}
			}
			return
		}
		rendered, err := c.Render()
		if err != nil {
			t.Fatal(err)
		}
		again, err := parse("f.yaml", rendered)
		if err != nil {
			t.Fatalf("%v in\n%s", err, rendered)
		}
		l = &loader{env: l.env, file: "f.yaml", origins: map[string]Origin{}, failed: map[string]bool{}}
		c2, err := l.load(again)
		if err != nil {
			t.Fatalf("%v in\n%s", err, rendered)
		}
		values := func(c *Config) map[string]string {
			m := map[string]string{}
			for _, e := range c.Show() {
				m[e.Path] = e.Value
			}
			return m
		}
		if diff := cmp.Diff(values(c), values(c2)); diff != "" {
			t.Errorf("%s\n%s", diff, rendered)
		}
	})
}
