package desired

import (
	"fmt"
	"strings"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Explain gives what w should be with the trace of every step: each input with
// where it came from and what it was preferred to, the candidates, the rule
// that decided; first of the provision path, then of the read path.
func (r *Resolver) Explain(w *drift.Workspace) drift.Desired {
	provision, read := r.provisionInputs(w), r.readInputs(w)
	path, derived := r.resolve(provision.Inputs)
	readPath, readDerived := r.resolve(read.Inputs)
	d := r.desired(w, provision, path, derived.provider, readPath)

	t := &trace{registry: r.Registry.Name}
	t.runtime(w, provision.Runtime)
	t.override(w)
	t.provisionModel(w, provision)
	t.provisionNames(w, provision.AuthEnv)
	t.path(provision, path, derived)
	t.supply(r.Policy, d)

	t.prefix = "read path: "
	t.runtime(w, read.Runtime)
	t.readModel(w, read)
	t.add("auth env", list(read.AuthEnv), "keys of workspace_secrets, empty ones too; globals are not looked at")
	t.path(read, readPath, readDerived)
	d.Trace = t.steps
	return d
}

// trace collects steps.
type trace struct {
	registry string
	prefix   string
	steps    []drift.Step
}

func (t *trace) add(what, got, from string) {
	t.steps = append(t.steps, drift.Step{What: t.prefix + what, Got: got, From: from})
}

func (t *trace) runtime(w *drift.Workspace, runtime string) {
	from := "workspaces.runtime"
	switch {
	case w.Runtime == nil:
		from += " is NULL, which means " + drift.DefaultRuntime
	case *w.Runtime == "" && runtime == "":
		from += " is '', which this path takes for an unknown runtime"
	case *w.Runtime == "":
		from += " is '', which this path takes for " + drift.DefaultRuntime
	}
	t.add("runtime", quoted(runtime), from)
}

func (t *trace) override(w *drift.Workspace) {
	switch {
	case w.Override == nil:
		t.add("override", "none", "workspaces.llm_billing_mode is NULL, or there is no such column")
	case override(w) == drift.ModeUnknown:
		t.add("override", "none", fmt.Sprintf("workspaces.llm_billing_mode is %q, which is no mode and counts as none", *w.Override))
	default:
		t.add("override", *w.Override, "workspaces.llm_billing_mode")
	}
}

// provisionModel tells every row that could have given the model, in the order
// in which they are asked, up to the one that does.
func (t *trace) provisionModel(w *drift.Workspace, in chosen) {
	for _, k := range modelKeys {
		own, global := find(w.Secrets, k.key), find(w.Globals, k.key)
		switch {
		case own == nil && global == nil:
			t.add("model", "not "+k.key, "neither workspace_secrets nor global_secrets has it")
			continue
		case own != nil && global != nil:
			t.add("model", "not "+k.global, "the workspace has a row of its own of that key")
		}
		row, from := own, k.workspace
		if row == nil {
			row, from = global, k.global
		}
		if !row.Empty {
			break
		}
		t.add("model", "not "+from, "its value is empty")
	}
	t.model(in)
}

func (t *trace) readModel(w *drift.Workspace, in chosen) {
	row := find(w.Secrets, drift.KeyModel)
	switch {
	case row == nil:
		t.add("model", "not "+fromWorkspaceModel, "there is no such row, and this path looks nowhere else")
	case row.Empty:
		t.add("model", "not "+fromWorkspaceModel, "its value is empty, and this path looks nowhere else")
	}
	t.model(in)
}

func (t *trace) model(in chosen) {
	switch {
	case in.Err != "":
		t.add("model", "unreadable", in.Err)
	case in.modelFrom == "":
		t.add("model", "none", "no row has a value")
	default:
		t.add("model", quoted(in.Model), in.modelFrom)
	}
}

func (t *trace) provisionNames(w *drift.Workspace, names []string) {
	froms := make([]string, len(names))
	for i, name := range names {
		froms[i] = storeGlobal + "." + name
		if find(w.Secrets, name) != nil {
			froms[i] = storeWorkspace + "." + name
		}
	}
	from := "no row with a value has a name of any provider's auth_env"
	if len(names) > 0 {
		from = strings.Join(froms, ", ")
	}
	t.add("auth env", list(names), from)
}

// path tells how the provider was found, and the mode that follows.
func (t *trace) path(in chosen, p drift.Path, d derivation) {
	if len(d.providers) > 0 {
		what, from := "prefix", "model_prefix_match of the providers of"
		if d.exact {
			what, from = "exact model id", "models listed by the providers of"
		}
		t.add(what, names(d.providers), fmt.Sprintf("%s runtime %s in %s", from, in.Runtime, t.registry))
	}
	if d.narrowed != nil {
		t.add("narrowed", names(d.narrowed), "auth_env of the candidates meets "+list(in.AuthEnv))
	}
	if d.rule != "" {
		got := "none"
		if d.provider != nil {
			got = d.provider.Name
		}
		t.add("provider", got, d.rule)
	}
	t.add("mode", string(p.Mode), fmt.Sprintf("%s: %s", p.Source, reason(p)))
}

func reason(p drift.Path) string {
	switch {
	case p.Source == drift.FromOverride:
		return "a recognised override wins over everything"
	case p.Source == drift.FromFallback:
		return "the deployment's default, since an input could not be read"
	case p.Provider == "":
		return "the deployment's default, since nothing was derived"
	case p.Provider == drift.PlatformProvider:
		return "the platform's own provider: the platform pays"
	}
	return "a provider that is not the platform's: the customer pays"
}

func (t *trace) supply(policy Policy, d drift.Desired) {
	if d.Supply == drift.SupplyNotNeeded {
		return
	}
	globals := "global_secrets do not count: by policy they are the platform's"
	if policy.GlobalSecrets == drift.OwnerCustomer {
		globals = "global_secrets count: by policy they are the tenant's"
	}
	t.add("credential", string(d.Supply), fmt.Sprintf("%s takes any of %s; %s", d.Provider, list(d.AuthEnv), globals))
}

func names(providers []*Provider) string {
	all := make([]string, len(providers))
	for i, p := range providers {
		all[i] = p.Name
	}
	return list(all)
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// quoted shows a stored text as it is, and in quotes where that could mislead.
func quoted(s string) string {
	if q := fmt.Sprintf("%q", s); s == "" || len(q) != len(s)+2 || strings.TrimSpace(s) != s {
		return q
	}
	return s
}
