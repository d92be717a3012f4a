package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"go.yaml.in/yaml/v4"
)

// Origin is where a value stands.
type Origin struct {
	File   string
	Line   int // from 1
	Column int
	Env    []string // the environment variables in it
	Secret string   // the file that holds the secret; "" where it stands here
}

// Load reads the configuration at path. env looks up environment variables, as
// os.LookupEnv does. What is wrong comes as Errors, all of it at once; with
// them the configuration is given too, as far as it could be understood.
func Load(path string, env func(string) (string, bool)) (*Config, error) {
	root, err := parseFile(path)
	if err != nil {
		return nil, err
	}
	l := &loader{env: env, file: path, dir: filepath.Dir(path), origins: map[string]Origin{}, failed: map[string]bool{}}
	return l.load(root)
}

// loader is one configuration being read.
type loader struct {
	env         func(string) (string, bool)
	file        string // as the user wrote it
	dir         string // what relative paths are relative to
	origins     map[string]Origin
	failed      map[string]bool // paths that are wrong already
	secretFiles []string        // that were asked for
	errs        Errors
}

// place is a node of YAML with where it stands.
type place struct {
	file string
	path string
	node *yaml.Node
}

func (p place) key(name string, node *yaml.Node) place {
	p.node = node
	if p.path != "" {
		name = p.path + "." + name
	}
	p.path = name
	return p
}

func (p place) index(i int, node *yaml.Node) place {
	return place{p.file, fmt.Sprintf("%s[%d]", p.path, i), node}
}

func (l *loader) load(root *yaml.Node) (*Config, error) {
	c := &Config{origins: l.origins, file: l.file}
	defer func() { c.secretFiles = l.secretFiles }()
	setDefaults(reflect.ValueOf(c).Elem())
	if root != nil {
		p := place{file: l.file, node: root}
		l.note(p, Origin{})
		if l.bind(p, reflect.ValueOf(c).Elem()); l.failed[""] {
			return c, l.result() // no configuration at all: what it lacks is not the trouble
		}
	}
	l.moreSources(c)
	l.check("", reflect.ValueOf(c).Elem())
	l.checkSources(c)
	l.complete(c)
	return c, l.result()
}

// parseFile gives the root node of a file's only document; nil where there is
// none.
func parseFile(path string) (*yaml.Node, error) {
	text, err := os.ReadFile(path) // #nosec G304 -- the user's own
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return parse(path, text)
}

func parse(file string, text []byte) (*yaml.Node, error) {
	loader, err := yaml.NewLoader(bytes.NewReader(text))
	if err != nil {
		return nil, Errors{{File: file, Message: err.Error()}}
	}
	var doc, more yaml.Node
	switch err := loader.Load(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, Errors{syntaxError(file, err)}
	}
	switch err := loader.Load(&more); {
	case errors.Is(err, io.EOF):
	case err != nil:
		return nil, Errors{syntaxError(file, err)}
	default:
		return nil, Errors{{File: file, Line: more.Line, Column: more.Column, Message: "a second document: there must be one"}}
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) == 0 {
		return nil, nil
	}
	return doc.Content[0], nil
}

func syntaxError(file string, err error) *Error {
	var at *yaml.LoadError
	if !errors.As(err, &at) {
		return &Error{File: file, Message: err.Error()}
	}
	e := &Error{File: file, Line: at.Mark.Line, Column: at.Mark.Column, Message: at.Message}
	if at.ContextMsg != "" {
		e.Message = at.ContextMsg + ": " + at.Message
	}
	return e
}

// moreSources adds the tenants of the files that sources_from names.
func (l *loader) moreSources(c *Config) {
	if c.SourcesFrom == "" {
		return
	}
	files, err := filepath.Glob(string(c.SourcesFrom))
	if err != nil || len(files) == 0 {
		l.failAt("sources_from", "no such file: %s", c.SourcesFrom)
		l.failed["sources"] = true
		return
	}
	slices.Sort(files)
	for _, file := range files {
		l.sourcesOf(c, file)
	}
}

func (l *loader) sourcesOf(c *Config, file string) {
	root, err := parseFile(file)
	var wrong Errors
	switch {
	case errors.As(err, &wrong):
		l.errs = append(l.errs, wrong...)
		l.failed["sources"] = true
	case err != nil:
		l.failAt("sources_from", "%v", err)
		l.failed["sources"] = true
	}
	if root == nil {
		return
	}
	p := place{file: file, path: "sources", node: resolve(root)}
	if p.node.Kind == yaml.MappingNode {
		p.node = l.onlySources(p)
	}
	if p.node != nil {
		l.sequence(p, reflect.ValueOf(&c.Sources).Elem())
	}
}

// onlySources gives what stands under the one key that a file of tenants may
// have.
func (l *loader) onlySources(p place) (list *yaml.Node) {
	for _, kv := range l.pairs(p) {
		if kv.key.Value == "sources" {
			list = resolve(kv.value)
			continue
		}
		l.fail(place{p.file, kv.key.Value, kv.key}, `unknown key; a file of sources holds "sources" alone`)
	}
	return list
}

// checkSources holds what the tenants are to each other.
func (l *loader) checkSources(c *Config) {
	if len(c.Sources) == 0 && !l.failed["sources"] {
		l.failAt("sources", "required: at least one source, here or by sources_from")
	}
	first := map[string]int{}
	for i := range c.Sources {
		name := c.Sources[i].Name
		if name == "" {
			continue
		}
		at := fmt.Sprintf("sources[%d].name", i)
		if j, ok := first[name]; ok {
			o := l.origins[fmt.Sprintf("sources[%d].name", j)]
			l.failAt(at, "%q is the name of sources[%d] too (%s:%d)", name, j, o.File, o.Line)
			continue
		}
		first[name] = i
	}
}
