package desired

import (
	"slices"
	"strings"
)

// The rules by which a provider is derived, or none; what explain shows.
const (
	ruleNoRuntime  = "the registry does not know the runtime: nothing is derived"
	ruleNoModel    = "there is no model: nothing is derived"
	ruleBlank      = "the model is blank: nothing is derived"
	ruleExact      = "the only provider of the runtime that lists the model"
	ruleExactNamed = "of those that list the model, the only one whose credential is there"
	ruleExactFirst = "several list the model and the credentials do not single one out: the first declared"
	rulePrefix     = "the only provider of the runtime whose prefix the model has"
	ruleNamed      = "of those whose prefix the model has, the only one whose credential is there"
	ruleAmbiguous  = "several have the model's prefix and the credentials do not single one out: nothing is derived"
	ruleNone       = "no provider of the runtime takes the model: nothing is derived"
)

// derivation is how a provider was found, step by step.
type derivation struct {
	candidates
	narrowed []*Provider // those whose credential is there; nil where there was nothing to narrow
	provider *Provider   // nil: none
	rule     string
}

// candidates are the providers of a runtime that take a model, as declared.
type candidates struct {
	exact     bool // they list the id; else they have its prefix
	providers []*Provider
}

// derive finds the provider for a model id. names are the credentials' names
// that are present.
func (r *Resolver) derive(runtime, model string, names []string) derivation {
	rt := r.runtimes[runtime]
	id := strings.TrimSpace(model)
	switch {
	case model == "":
		return derivation{rule: ruleNoModel}
	case id == "":
		return derivation{rule: ruleBlank}
	case rt == nil:
		return derivation{rule: ruleNoRuntime}
	}
	d := derivation{candidates: rt.candidates(id)}
	switch len(d.providers) {
	case 0:
		d.rule = ruleNone
	case 1:
		d.provider, d.rule = d.providers[0], rulePrefix
		if d.exact {
			d.rule = ruleExact
		}
	default:
		d.narrow(names)
	}
	return d
}

// narrow decides between several candidates by the credentials that are there.
func (d *derivation) narrow(names []string) {
	d.narrowed = []*Provider{}
	for _, p := range d.providers {
		if p.takesAny(names) {
			d.narrowed = append(d.narrowed, p)
		}
	}
	switch {
	case len(d.narrowed) == 1 && d.exact:
		d.provider, d.rule = d.narrowed[0], ruleExactNamed
	case len(d.narrowed) == 1:
		d.provider, d.rule = d.narrowed[0], ruleNamed
	case d.exact:
		d.provider, d.rule = d.providers[0], ruleExactFirst
	default:
		d.rule = ruleAmbiguous
	}
}

func (p *Provider) takesAny(names []string) bool {
	return slices.ContainsFunc(p.AuthEnv, func(name string) bool { return slices.Contains(names, name) })
}

// matcher finds a runtime's candidates for a model id.
type matcher struct {
	byID      map[string][]*Provider
	providers []*Provider
	prefixes  memo
}

func newMatcher(rt *Runtime) *matcher {
	m := &matcher{byID: map[string][]*Provider{}}
	for _, entry := range rt.Entries {
		m.providers = append(m.providers, entry.Provider)
		for _, id := range entry.Models {
			m.byID[id] = append(m.byID[id], entry.Provider)
		}
	}
	return m
}

func (m *matcher) candidates(id string) candidates {
	if listed := m.byID[id]; listed != nil {
		return candidates{exact: true, providers: listed}
	}
	return candidates{providers: m.prefixes.get(id, m.byPrefix)}
}

func (m *matcher) byPrefix(id string) []*Provider {
	var match []*Provider
	for _, p := range m.providers {
		if p.prefix.MatchString(id) {
			match = append(match, p)
		}
	}
	return match
}
