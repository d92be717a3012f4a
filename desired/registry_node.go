package desired

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Problem is one thing wrong with a registry file.
type Problem struct {
	File         string
	Line, Column int    // from 1; 0: not known
	Key          string // e.g. "providers[3].auth_env"; "": the file as a whole
	Wrong        string // what is wrong, and what to do
}

// Error gives file:line:col: key: what is wrong.
func (p *Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	if p.Key != "" {
		b.WriteString(": " + p.Key)
	}
	b.WriteString(": " + p.Wrong)
	return b.String()
}

// maxProblems bounds a report: a file that is not a registry at all has
// something wrong in every line.
const maxProblems = 50

// problems collects what is wrong, so that an author sees all of it at once.
type problems struct {
	file string
	all  []*Problem
}

func (ps *problems) add(n *yaml.Node, key, format string, args ...any) {
	p := &Problem{File: ps.file, Key: key, Wrong: fmt.Sprintf(format, args...)}
	if n != nil {
		p.Line, p.Column = n.Line, n.Column
	}
	ps.all = append(ps.all, p)
}

// err joins the problems in the order of the file; nil without any.
func (ps *problems) err() error {
	slices.SortStableFunc(ps.all, func(a, b *Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	var errs []error
	for i, p := range ps.all {
		if i == maxProblems {
			errs = append(errs, fmt.Errorf("%s: and %d more", ps.file, len(ps.all)-i))
			break
		}
		errs = append(errs, p)
	}
	return errors.Join(errs...)
}

// field is a key of a mapping with its value; several keys may have one name.
type field struct {
	name  string
	key   *yaml.Node
	value *yaml.Node // never an alias
}

// fields reads a mapping. A key that stands twice is reported, its first value
// counts. nil where n is no mapping.
func (ps *problems) fields(n *yaml.Node, at string) []field {
	n = target(n)
	if n == nil || n.Kind != yaml.MappingNode {
		ps.add(n, at, "is %s, must be a mapping", kindOf(n))
		return nil
	}
	fields := make([]field, 0, len(n.Content)/2)
	seen := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], target(n.Content[i+1])
		switch first, doubled := seen[key.Value]; {
		case key.Kind != yaml.ScalarNode:
			ps.add(key, at, "has a key that is %s, keys must be words", kindOf(key))
		case key.ShortTag() == "!!merge":
			ps.add(key, at, "has a merge key (<<), which is not supported: write the keys out")
		case doubled:
			ps.add(key, join(at, key.Value), "stands twice, first in line %d: keep one", first)
		default:
			seen[key.Value] = key.Line
			fields = append(fields, field{key.Value, key, value})
		}
	}
	return fields
}

// lookup gives the named field's value, nil where it is missing or null.
func lookup(fields []field, name string) *yaml.Node {
	for _, f := range fields {
		if f.name == name && !isNull(f.value) {
			return f.value
		}
	}
	return nil
}

// items reads a sequence; nil where n is none, which is reported.
func (ps *problems) items(n *yaml.Node, at string) []*yaml.Node {
	if n = target(n); n == nil || n.Kind != yaml.SequenceNode {
		ps.add(n, at, "is %s, must be a list", kindOf(n))
		return nil
	}
	items := make([]*yaml.Node, len(n.Content))
	for i := range n.Content {
		items[i] = target(n.Content[i])
	}
	return items
}

// word reads a scalar that must say something; where it is taken from the
// platform's own reading, a number counts as the word that it is written as.
func (ps *problems) word(n *yaml.Node, at string) (string, bool) {
	switch {
	case n == nil || n.Kind != yaml.ScalarNode || isNull(n):
		ps.add(n, at, "is %s, must be a word", kindOf(n))
	case strings.TrimSpace(n.Value) == "":
		ps.add(n, at, "is blank, must be a word")
	default:
		return n.Value, true
	}
	return "", false
}

// required reads a field that must be there and be a word.
func (ps *problems) required(owner *yaml.Node, fields []field, at, name string) (string, *yaml.Node) {
	n := lookup(fields, name)
	if n == nil {
		ps.add(owner, join(at, name), "is missing, add it")
		return "", nil
	}
	value, ok := ps.word(n, join(at, name))
	if !ok {
		return "", nil
	}
	return value, n
}

// target follows an alias to what it stands for.
func target(n *yaml.Node) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool {
	return n != nil && n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

func kindOf(n *yaml.Node) string {
	switch {
	case n == nil || n.Kind == 0:
		return "missing"
	case isNull(n):
		return "null"
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	}
	return "a single value"
}

func join(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}
