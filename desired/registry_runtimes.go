package desired

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

// runtimeSet reads the runtimes, with the catalogue known.
func (ps *problems) runtimeSet(r *Registry, root *yaml.Node, fields []field) {
	set := lookup(fields, "runtimes")
	if set == nil {
		ps.add(root, "runtimes", "is missing, add the runtimes with their providers")
		return
	}
	runtimes := ps.fields(set, "runtimes")
	if runtimes != nil && len(runtimes) == 0 {
		ps.add(set, "runtimes", "is empty, name at least one runtime")
	}
	for _, f := range runtimes {
		at := "runtimes." + printable(f.name)
		if f.name == "" {
			ps.add(f.key, at, "has no name: a workspace's runtime '' must stay an unknown one")
		}
		rt := &Runtime{Name: f.name}
		if body := ps.fields(f.value, at); body != nil {
			ps.entries(r, rt, f, body)
		}
		r.Runtimes = append(r.Runtimes, rt)
		r.runtimes[rt.Name] = rt
	}
}

func (ps *problems) entries(r *Registry, rt *Runtime, f field, body []field) {
	at := "runtimes." + printable(f.name) + ".providers"
	list := lookup(body, "providers")
	if list == nil {
		ps.add(f.key, at, "is missing, list the runtime's providers")
		return
	}
	items := ps.items(list, at)
	if items != nil && len(items) == 0 {
		ps.add(list, at, "is empty, list at least one provider")
	}
	lines := map[string]int{}
	for i, item := range items {
		at := fmt.Sprintf("%s[%d]", at, i)
		fields := ps.fields(item, at)
		if fields == nil {
			continue
		}
		name, n := ps.required(item, fields, at, "name")
		if n == nil {
			continue
		}
		if first, doubled := lines[name]; doubled {
			ps.add(n, at+".name", "%q stands twice in this runtime, first in line %d: keep one", name, first)
		}
		lines[name] = n.Line
		entry := RuntimeEntry{Provider: r.providers[name], Models: ps.models(fields, at)}
		if entry.Provider == nil {
			ps.add(n, at+".name", "%q is not in the catalogue: add it to providers, or correct the name", name)
			continue
		}
		rt.Entries = append(rt.Entries, entry)
	}
}

func (ps *problems) models(fields []field, at string) []string {
	list := lookup(fields, "models")
	if list == nil {
		return nil
	}
	models := ps.words(list, at+".models")
	for _, m := range models {
		if strings.TrimSpace(m.text) != m.text {
			ps.add(m.node, at+".models", "%q can never be asked for: ids are trimmed before they are looked up", m.text)
		}
	}
	return texts(models)
}
