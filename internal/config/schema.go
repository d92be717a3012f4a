package config

import (
	"embed"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strings"

	"github.com/invopop/jsonschema"
)

// sources are this package's structs as written: their comments are the
// descriptions of the keys, in one place for readers of code, schema and docs.
//
//go:embed config.go daemon.go observe.go remediate.go notify.go admin.go
var sources embed.FS

// Schema gives the JSON schema of the configuration, for editors.
func Schema() ([]byte, error) {
	comments, err := fieldComments()
	if err != nil {
		return nil, fmt.Errorf("configuration schema: %w", err)
	}
	r := &jsonschema.Reflector{
		Anonymous: true, DoNotReference: true, FieldNameTag: "yaml", RequiredFromJSONSchemaTags: true, Mapper: scalarSchema,
	}
	s := r.ReflectFromType(reflect.TypeFor[Config]())
	s.Title = "billing reconciler configuration"
	decorate(s, reflect.TypeFor[Config](), comments)
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("configuration schema: %w", err)
	}
	return append(text, '\n'), nil
}

// scalarSchema gives the schema of the types that are one value; nil leaves a
// type to the reflector.
func scalarSchema(t reflect.Type) *jsonschema.Schema {
	if t.Kind() == reflect.Pointer {
		return nil
	}
	v := reflect.New(t)
	if w, ok := v.Elem().Interface().(worded); ok {
		var words []any
		for _, word := range w.words() {
			words = append(words, word)
		}
		return orVariable(&jsonschema.Schema{Enum: words})
	}
	text := &jsonschema.Schema{Type: "string"}
	switch {
	case t == reflect.TypeFor[Targets]():
		tag := jsonschema.NewProperties()
		tag.Set("tag", text)
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{
			{Type: "string"}, {Type: "object", Properties: tag, AdditionalProperties: jsonschema.FalseSchema},
		}}
	case t == reflect.TypeFor[StatusPattern]():
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "integer"}, text}}
	case t.Kind() == reflect.Int:
		return orVariable(&jsonschema.Schema{Type: "integer"})
	case t.Kind() == reflect.Float64:
		return orVariable(&jsonschema.Schema{Type: "number"})
	case t.Kind() == reflect.Bool:
		return orVariable(&jsonschema.Schema{Type: "boolean"})
	case takesScalar(v.Elem()):
		return text
	}
	return nil
}

// orVariable also allows an environment variable in the value's place.
func orVariable(s *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{s, {Type: "string", Pattern: `\$\{[A-Za-z_][A-Za-z0-9_]*\}`}}}
}

// decorate adds what the reflector can't know: descriptions, defaults, what is
// required, and a _file beside every secret.
func decorate(s *jsonschema.Schema, t reflect.Type, comments map[string]string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() == reflect.Slice && s.Items != nil {
		decorate(s.Items, t.Elem(), comments)
	}
	if t.Kind() != reflect.Struct || s.Properties == nil {
		return
	}
	for i := range t.NumField() {
		f := t.Field(i)
		key := f.Tag.Get("yaml")
		p, ok := s.Properties.Get(key)
		if key == "" || !ok {
			continue
		}
		decorate(p, f.Type, comments)
		p.Description = described(t, f, comments)
		if text, ok := f.Tag.Lookup("default"); ok {
			p.Default = defaultOf(f.Type, text)
		}
		demand(s, f, key, p)
	}
	demandOne(s, t)
}

// demandOne says that exactly one of the keys with an `either` tag must be
// there; a secret's may be its _file.
func demandOne(s *jsonschema.Schema, t reflect.Type) {
	var ways []*jsonschema.Schema
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Tag.Get("either") == "" {
			continue
		}
		key := f.Tag.Get("yaml")
		ways = append(ways, &jsonschema.Schema{Required: []string{key}})
		if f.Type == secretType {
			ways = append(ways, &jsonschema.Schema{Required: []string{key + "_file"}})
		}
	}
	if len(ways) > 0 {
		s.AllOf = append(s.AllOf, &jsonschema.Schema{OneOf: ways})
	}
}

// described gives what a key is, and when a change of it is taken up where that
// is not at once.
func described(t reflect.Type, f reflect.StructField, comments map[string]string) string {
	text := comments[t.Name()+"."+f.Name]
	if f.Tag.Get("restart") != "" {
		text += " Changes at a restart."
	}
	return text
}

// demand says whether a key must be there; a secret's may be its _file. What
// holds something that must be there must be there itself.
func demand(s *jsonschema.Schema, f reflect.StructField, key string, p *jsonschema.Schema) {
	required := f.Tag.Get("required") != "" || f.Type.Kind() == reflect.Struct && len(p.Required) > 0
	if f.Type != secretType {
		if required {
			s.Required = append(s.Required, key)
		}
		return
	}
	s.Properties.Set(key+"_file", &jsonschema.Schema{Type: "string", Description: "Path of a file that holds " + key + "."})
	both := &jsonschema.Schema{Required: []string{key, key + "_file"}}
	s.AllOf = append(s.AllOf, &jsonschema.Schema{Not: both})
	if required {
		s.AllOf = append(s.AllOf, &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Required: both.Required[:1]}, {Required: both.Required[1:]}}})
	}
}

func defaultOf(t reflect.Type, text string) any {
	switch t.Kind() {
	case reflect.Int, reflect.Float64, reflect.Bool:
		return json.RawMessage(text)
	case reflect.Slice:
		return strings.Split(text, ",")
	}
	return text
}

// fieldComments gives the comment above every field, by Type.Field.
func fieldComments() (map[string]string, error) {
	files, err := sources.ReadDir(".")
	if err != nil {
		return nil, err
	}
	comments := map[string]string{}
	for _, file := range files {
		text, err := sources.ReadFile(file.Name())
		if err != nil {
			return nil, err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file.Name(), text, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		collectComments(parsed, comments)
	}
	return comments, nil
}

func collectComments(file *ast.File, comments map[string]string) {
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if s, ok := spec.Type.(*ast.StructType); ok {
			for _, f := range s.Fields.List {
				for _, name := range f.Names {
					comments[spec.Name.Name+"."+name.Name] = strings.Join(strings.Fields(f.Doc.Text()), " ")
				}
			}
		}
		return false
	})
}
