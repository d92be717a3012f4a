package config

import (
	"encoding"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/molecule-ai/billing-reconciler/drift"
)

var (
	secretType = reflect.TypeFor[drift.Secret]()
	pathType   = reflect.TypeFor[Path]()
)

// bind fills v from a node, as far as the node allows, and reports the rest. A
// null leaves the default.
func (l *loader) bind(p place, v reflect.Value) {
	p.node = resolve(p.node)
	isScalar := p.node.Kind == yaml.ScalarNode
	switch {
	case isScalar && p.node.Tag == "!!null":
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		setDefaults(v.Elem())
		l.bind(p, v.Elem())
	case isScalar && takesScalar(v):
		l.scalar(p, v)
	case p.node.Kind == yaml.MappingNode && v.Kind() == reflect.Struct && !opaque(v):
		l.mapping(p, v)
	case p.node.Kind == yaml.SequenceNode && v.Kind() == reflect.Slice:
		v.SetZero()
		l.sequence(p, v)
	default:
		l.fail(p, "must be %s", shape(v))
	}
}

// resolve follows aliases, which the parser allows to defined anchors only.
func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	return n
}

func unmarshaler(v reflect.Value) (encoding.TextUnmarshaler, bool) {
	u, ok := v.Addr().Interface().(encoding.TextUnmarshaler)
	return u, ok
}

func takesScalar(v reflect.Value) bool {
	_, ok := unmarshaler(v)
	return ok || v.Kind() == reflect.String || v.Kind() == reflect.Int || v.Kind() == reflect.Bool
}

// opaque tells whether a struct is a scalar to its users: none of its fields
// is a key.
func opaque(v reflect.Value) bool { return len(fieldsOf(v.Type())) == 0 }

func shape(v reflect.Value) string {
	switch {
	case v.Kind() == reflect.Slice:
		return "a list"
	case v.Kind() == reflect.Struct && !opaque(v):
		return "a mapping with keys among " + strings.Join(keysOf(v.Type()), ", ")
	}
	return "a single value"
}

func (l *loader) sequence(p place, v reflect.Value) {
	if p.node.Kind != yaml.SequenceNode {
		l.fail(p, "must be a list")
		return
	}
	l.note(p, Origin{})
	for _, n := range p.node.Content {
		item := reflect.New(v.Type().Elem()).Elem()
		setDefaults(item)
		l.bind(p.index(v.Len(), n), item)
		v.Set(reflect.Append(v, item))
	}
}

func (l *loader) mapping(p place, v reflect.Value) {
	l.note(p, Origin{})
	fields := fieldsOf(v.Type())
	for _, kv := range l.pairs(p) {
		name := kv.key.Value
		if f, ok := fields[name]; ok {
			l.bind(p.key(name, kv.value), v.FieldByIndex(f.Index))
			continue
		}
		base, isFile := strings.CutSuffix(name, "_file")
		if f, ok := fields[base]; ok && isFile && f.Type == secretType {
			l.secretFile(p.key(base, kv.value), kv.key, v.FieldByIndex(f.Index))
			continue
		}
		l.fail(place{p.file, p.key(name, nil).path, kv.key}, "unknown key%s", didYouMean(name, keysOf(v.Type())))
	}
}

// pair is a key of a mapping with its value.
type pair struct{ key, value *yaml.Node }

// pairs gives a mapping's own keys, and reports what is not a key or doubled.
func (l *loader) pairs(p place) []pair {
	var pairs []pair
	seen := map[string]int{}
	for i := 0; i+1 < len(p.node.Content); i += 2 {
		key, value := resolve(p.node.Content[i]), p.node.Content[i+1]
		at := place{p.file, p.path, key}
		if key.Kind != yaml.ScalarNode {
			l.fail(at, "a key must be a single value")
			continue
		}
		at = place{p.file, p.key(key.Value, nil).path, key}
		if line, ok := seen[key.Value]; ok {
			l.fail(at, "doubled: the first is in line %d", line)
			continue
		}
		seen[key.Value] = key.Line
		pairs = append(pairs, pair{key, value})
	}
	return pairs
}

func (l *loader) scalar(p place, v reflect.Value) {
	text, names, err := expand(p.node.Value, l.env)
	if err != nil {
		l.fail(p, "%v", err)
		return
	}
	if l.taken(p) {
		return
	}
	l.note(p, Origin{Env: names})
	if v.Type() == pathType {
		text = l.absolute(text)
	}
	if err := setText(v, text); err != nil {
		l.fail(p, "%v", err)
	}
}

// secretFile fills a secret from the file that its _file key names.
func (l *loader) secretFile(p place, key *yaml.Node, v reflect.Value) {
	node := resolve(p.node)
	if node.Kind != yaml.ScalarNode || node.Tag == "!!null" {
		l.fail(p, "%s must be the path of a file", key.Value)
		return
	}
	name, env, err := expand(node.Value, l.env)
	if err != nil {
		l.fail(p, "%v", err)
		return
	}
	if l.taken(p) {
		return
	}
	name = l.absolute(name)
	text, err := l.readSecret(name)
	if err != nil {
		l.fail(p, "%v", err)
		return
	}
	p.node = node
	l.note(p, Origin{Env: env, Secret: name})
	secret := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	v.SetString(secret)
}

// taken reports a secret that is given twice, by its key and by its _file.
func (l *loader) taken(p place) bool {
	o, ok := l.origins[p.path]
	if ok {
		name := p.path[strings.LastIndexByte(p.path, '.')+1:]
		l.fail(p, "both %s and %s_file are given; the other is in line %d", name, name, o.Line)
	}
	return ok
}

func (l *loader) absolute(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(l.dir, path)
}

// note remembers where a value stands.
func (l *loader) note(p place, o Origin) {
	o.File, o.Line, o.Column = p.file, p.node.Line, p.node.Column
	if _, ok := l.origins[p.path]; !ok {
		l.origins[p.path] = o
	}
}

// setText sets a scalar. Its errors do not repeat the text.
func setText(v reflect.Value, text string) error {
	if w, ok := v.Interface().(worded); ok {
		return setWord(v, w, text)
	}
	if u, ok := unmarshaler(v); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.Int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return errNumber
		}
		v.SetInt(int64(n))
	case reflect.Bool:
		switch strings.ToLower(text) {
		case "true", "yes", "on":
			v.SetBool(true)
		case "false", "no", "off":
			v.SetBool(false)
		default:
			return errBool
		}
	default:
		v.SetString(text)
	}
	return nil
}
