package desired

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// schemaVersion is the one that the platform writes today.
const schemaVersion = "1"

// ParseRegistry reads a registry; name is what errors call the file. Keys that
// derivation does not need may be there and say what they like. Everything
// wrong is reported at once: the error unwraps to a *Problem each.
func ParseRegistry(name string, src []byte) (*Registry, error) {
	ps := &problems{file: name}
	root, err := document(ps, src)
	if err != nil {
		return nil, err
	}
	r := &Registry{Name: name, providers: map[string]*Provider{}, runtimes: map[string]*Runtime{}}
	fields := ps.fields(root, "")
	if fields != nil {
		ps.version(root, fields)
		ps.catalogue(r, root, fields)
		ps.runtimeSet(r, root, fields)
	}
	if err := ps.err(); err != nil {
		return nil, err
	}
	r.index(src)
	return r, nil
}

// document reads the one YAML document that the file must be.
func document(ps *problems, src []byte) (*yaml.Node, error) {
	if len(src) > maxRegistryBytes {
		ps.add(nil, "", "has more than %d MiB, which no registry has", maxRegistryBytes>>20)
		return nil, ps.err()
	}
	decoder := yaml.NewDecoder(bytes.NewReader(src))
	var doc, second yaml.Node
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF):
		ps.add(nil, "", "is empty, must be a provider registry")
		return nil, ps.err()
	case err != nil:
		return nil, ps.syntax(err)
	}
	if err := decoder.Decode(&second); err == nil {
		ps.add(&second, "", "has a second document, must have one")
		return nil, ps.err()
	} else if !errors.Is(err, io.EOF) {
		return nil, ps.syntax(err)
	}
	if len(doc.Content) == 0 {
		return &doc, nil
	}
	return doc.Content[0], nil
}

// syntax reports what the YAML reader could not read.
func (ps *problems) syntax(err error) error {
	var broken *yaml.LoadError
	if errors.As(err, &broken) {
		ps.add(&yaml.Node{Line: broken.Mark.Line, Column: broken.Mark.Column}, "", "not YAML: %s", broken.Message)
		return ps.err()
	}
	return fmt.Errorf("%s: not YAML: %w", ps.file, err)
}

func (ps *problems) version(root *yaml.Node, fields []field) {
	v, n := ps.required(root, fields, "", "schema_version")
	if n != nil && (v != schemaVersion || n.ShortTag() != "!!int") {
		ps.add(n, "schema_version", "is %q, this reconciler reads version %s: upgrade it, or give it the registry that the platform runs with", v, schemaVersion)
	}
}

func (ps *problems) catalogue(r *Registry, root *yaml.Node, fields []field) {
	list := lookup(fields, "providers")
	if list == nil {
		ps.add(root, "providers", "is missing, add the catalogue of providers")
		return
	}
	items := ps.items(list, "providers")
	if items != nil && len(items) == 0 {
		ps.add(list, "providers", "is empty, list at least one provider")
	}
	lines := map[string]int{}
	for i, item := range items {
		p, n := ps.provider(item, fmt.Sprintf("providers[%d]", i))
		if n == nil {
			continue
		}
		if first, doubled := lines[p.Name]; doubled {
			ps.add(n, fmt.Sprintf("providers[%d].name", i), "%q stands twice, first in line %d: names must be unique", p.Name, first)
			continue
		}
		lines[p.Name] = n.Line
		r.Providers = append(r.Providers, p)
		r.providers[p.Name] = p
	}
}

// provider reads an entry of the catalogue, and gives the node of its name;
// nil without one. What is wrong besides is reported, and the entry kept, so
// that runtimes that name it are not blamed too.
func (ps *problems) provider(n *yaml.Node, at string) (*Provider, *yaml.Node) {
	fields := ps.fields(n, at)
	if fields == nil {
		return nil, nil
	}
	p := &Provider{BaseURL: optional(fields, "base_url_template"), BaseURLAnthropic: optional(fields, "base_url_anthropic")}
	var name *yaml.Node
	p.Name, name = ps.required(n, fields, at, "name")
	if name != nil {
		at = fmt.Sprintf("%s (%s)", at, printable(p.Name))
		ps.plain(name, at+".name", p.Name)
	}
	var protocol *yaml.Node
	if p.Protocol, protocol = ps.required(n, fields, at, "protocol"); protocol != nil && p.Protocol != "anthropic" && p.Protocol != "openai" {
		ps.add(protocol, at+".protocol", "is %q, must be anthropic or openai", p.Protocol)
	}
	p.AuthMode, _ = ps.required(n, fields, at, "auth_mode")
	p.AuthEnv = ps.authEnv(n, fields, at)
	if expr, node := ps.required(n, fields, at, "model_prefix_match"); node != nil {
		var err error
		if p.prefix, err = regexp.Compile(expr); err != nil {
			ps.add(node, at+".model_prefix_match", "is not a regular expression of RE2: %s", regexpError(err))
		}
	}
	return p, name
}

// variable is what a POSIX shell takes as a variable's name. The names end up
// in a script that runs as root, so nothing else is let in.
var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (ps *problems) authEnv(owner *yaml.Node, fields []field, at string) []string {
	at += ".auth_env"
	list := lookup(fields, "auth_env")
	if list == nil {
		ps.add(owner, at, "is missing, name the variables that hold the credential")
		return nil
	}
	names := ps.words(list, at)
	if len(list.Content) == 0 && list.Kind == yaml.SequenceNode {
		ps.add(list, at, "is empty, name at least one variable")
	}
	for _, w := range names {
		if !variable.MatchString(w.text) {
			ps.add(w.node, at, "%q is not the name of a variable: letters, digits and _ only", w.text)
		}
	}
	return texts(names)
}

// located is a word with its place.
type located struct {
	text string
	node *yaml.Node
}

// words reads a list of words, none of them twice.
func (ps *problems) words(list *yaml.Node, at string) []located {
	var words []located
	lines := map[string]int{}
	for i, item := range ps.items(list, at) {
		text, ok := ps.word(item, fmt.Sprintf("%s[%d]", at, i))
		if !ok {
			continue
		}
		if first, doubled := lines[text]; doubled {
			ps.add(item, fmt.Sprintf("%s[%d]", at, i), "%q stands twice, first in line %d: keep one", text, first)
			continue
		}
		lines[text] = item.Line
		words = append(words, located{text, item})
	}
	return words
}

func texts(words []located) []string {
	var all []string
	for _, w := range words {
		all = append(all, w.text)
	}
	return all
}

// plain refuses names that could not be told apart, or that break a line, when
// printed.
func (ps *problems) plain(n *yaml.Node, at, name string) {
	if !utf8.ValidString(name) || strings.ContainsFunc(name, func(c rune) bool { return unicode.IsSpace(c) || !unicode.IsPrint(c) }) {
		ps.add(n, at, "%q must be printable and without spaces", name)
	}
	if name != drift.PlatformProvider && strings.EqualFold(name, drift.PlatformProvider) {
		ps.add(n, at, "%q is too near to the reserved name %q, which means that the platform pays", name, drift.PlatformProvider)
	}
}

// optional reads a field that nothing is decided by.
func optional(fields []field, name string) string {
	if n := lookup(fields, name); n != nil && n.Kind == yaml.ScalarNode {
		return n.Value
	}
	return ""
}

func printable(name string) string {
	if strings.ContainsFunc(name, func(c rune) bool { return !unicode.IsPrint(c) }) {
		return fmt.Sprintf("%q", name)
	}
	return name
}

func regexpError(err error) string {
	return strings.TrimPrefix(err.Error(), "error parsing regexp: ")
}
