package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Entry is one value that is in force.
type Entry struct {
	Path   string `json:"path"`   // sources[0].region
	Value  string `json:"value"`  // *** for a secret; "" for what is not set
	Origin string `json:"origin"` // reconciler.yaml:12, environment RENO_DATABASE_URL (...), default, not set
}

// Show lists every value that is in force, in the order of the documentation,
// secrets redacted. A part that is not there is one entry, not set.
func (c *Config) Show() []Entry {
	w := &shower{config: c}
	w.node("", reflect.ValueOf(c).Elem())
	return w.entries
}

// Render gives the same as YAML that Load would read, but for the secrets,
// with each value's origin as a comment.
func (c *Config) Render() ([]byte, error) {
	w := &shower{config: c}
	text, err := yaml.Dump(w.node("", reflect.ValueOf(c).Elem()), yaml.WithIndent(2), yaml.WithLineWidth(-1))
	if err != nil {
		return nil, fmt.Errorf("render configuration: %w", err)
	}
	return text, nil
}

// Origin says in words where the value at a path comes from.
func (c *Config) Origin(path string) string {
	o, ok := c.origins[path]
	switch {
	case !ok:
		return "default"
	case o.Secret != "":
		return fmt.Sprintf("file %s (%s:%d)", o.Secret, o.File, o.Line)
	case len(o.Env) > 0:
		return fmt.Sprintf("environment %s (%s:%d)", strings.Join(o.Env, ", "), o.File, o.Line)
	}
	return fmt.Sprintf("%s:%d", o.File, o.Line)
}

// shower walks a configuration and makes both of its pictures.
type shower struct {
	config  *Config
	entries []Entry
}

func (w *shower) node(path string, v reflect.Value) *yaml.Node {
	switch {
	case v.Kind() == reflect.Pointer && v.IsNil():
		return w.scalar(path, v, "not set")
	case v.Kind() == reflect.Pointer:
		return w.node(path, v.Elem())
	case v.Kind() == reflect.Slice && v.Len() > 0:
		return w.list(path, v)
	case v.Kind() == reflect.Struct && !opaque(v) && !isScalarNow(v):
		return w.mapping(path, v)
	}
	if _, given := w.config.origins[path]; !given && (v.IsZero() || v.Kind() == reflect.Slice) && v.Kind() != reflect.Bool && !isScalarNow(v) {
		return w.scalar(path, v, "not set")
	}
	return w.scalar(path, v, w.config.Origin(path))
}

// isScalarNow: a struct that may be written as one word is, where it has no
// more to say.
func isScalarNow(v reflect.Value) bool {
	_, ok := v.Interface().(Targets)
	return ok && v.IsZero()
}

func (w *shower) list(path string, v reflect.Value) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode}
	_, given := w.config.origins[path]
	for i := range v.Len() {
		item := w.node(fmt.Sprintf("%s[%d]", path, i), v.Index(i))
		if !given {
			item.LineComment = "# default"
			w.entries[len(w.entries)-1].Origin = "default"
		}
		n.Content = append(n.Content, item)
	}
	return n
}

func (w *shower) mapping(path string, v reflect.Value) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for i := range v.NumField() {
		key := v.Type().Field(i).Tag.Get("yaml")
		if key == "" {
			continue
		}
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, w.node(join(path, key), v.Field(i)))
	}
	return n
}

func (w *shower) scalar(path string, v reflect.Value, origin string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: shown(v), LineComment: "# " + origin}
	switch {
	case v.Kind() == reflect.Slice:
		n = &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle, LineComment: n.LineComment}
	case origin == "not set":
		n.Tag, n.Value = "!!null", "null"
	case v.Kind() == reflect.Int:
		n.Tag = "!!int"
	case v.Kind() == reflect.Bool:
		n.Tag = "!!bool"
	case v.Kind() == reflect.Float64, isPlainWord(n.Value):
		n.Tag = ""
	}
	w.entries = append(w.entries, Entry{path, shown(v), origin})
	return n
}

// isPlainWord: `mode: off` reads well without quotes, and means the same to
// Load.
func isPlainWord(s string) bool { return s == "off" }

func shown(v reflect.Value) string {
	switch {
	case v.Kind() == reflect.Pointer, v.Kind() == reflect.Slice:
		return ""
	case v.Type() == secretType:
		if v.String() == "" {
			return ""
		}
		return "***"
	case v.Kind() == reflect.String:
		return escapeDollar(v.String())
	case v.Kind() == reflect.Int:
		return strconv.FormatInt(v.Int(), 10)
	case v.Kind() == reflect.Bool:
		return strconv.FormatBool(v.Bool())
	}
	return escapeDollar(fmt.Sprint(v.Interface()))
}

// escapeDollar keeps what was expanded once from being expanded again.
func escapeDollar(s string) string { return strings.ReplaceAll(s, "$", "$$") }
