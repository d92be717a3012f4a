package desired

import (
	"slices"
	"strings"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Policy is what the operator decides, as far as the desired side needs it.
type Policy struct {
	// Deployment decides the mode where nothing can be derived: drift.SaaS has
	// a proxy (platform_managed), drift.SelfHosted has none (byok).
	Deployment string
	// GlobalSecrets says whose the credentials in global_secrets are:
	// drift.OwnerPlatform or drift.OwnerCustomer.
	GlobalSecrets drift.Owner
}

// Resolver derives what workspaces should be from one registry and one policy.
// It is pure, and safe for concurrent use.
type Resolver struct {
	Registry *Registry
	Policy   Policy

	authEnv  map[string]bool
	runtimes map[string]*matcher
}

// NewResolver prepares the derivation over a registry.
func NewResolver(reg *Registry, p Policy) *Resolver {
	r := &Resolver{Registry: reg, Policy: p, authEnv: reg.authEnv, runtimes: map[string]*matcher{}}
	for _, rt := range reg.Runtimes {
		r.runtimes[rt.Name] = newMatcher(rt)
	}
	return r
}

// Desired gives what w should be, without a trace.
func (r *Resolver) Desired(w *drift.Workspace) drift.Desired {
	provision, read := r.provisionInputs(w), r.readInputs(w)
	path, derived := r.resolve(provision.Inputs)
	readPath, _ := r.resolve(read.Inputs)
	return r.desired(w, provision, path, derived.provider, readPath)
}

func (r *Resolver) desired(w *drift.Workspace, in chosen, path drift.Path, p *Provider, read drift.Path) drift.Desired {
	d := drift.Desired{Path: path, ModelFrom: in.modelFrom, Override: in.Override, Supply: drift.SupplyNotNeeded, ReadPath: read}
	if p != nil {
		d.AuthEnv = p.AuthEnv
		if path.Mode == drift.ModeBYOK {
			d.Supply = r.supply(w, p)
		}
	}
	return d
}

// resolve gives the path of in, and how its provider was derived: the zero
// derivation where it was not, because an override decides or because the
// inputs could not be read.
func (r *Resolver) resolve(in drift.Inputs) (drift.Path, derivation) {
	path := drift.Path{Model: strings.TrimSpace(in.Model)}
	switch {
	case in.Override.Recognised():
		path.Mode, path.Source = in.Override, drift.FromOverride
		return path, derivation{}
	case in.Err != "":
		path.Mode, path.Source, path.Err = r.fallback(), drift.FromFallback, in.Err
		return path, derivation{}
	}
	d := r.derive(in.Runtime, in.Model, in.AuthEnv)
	switch {
	case d.provider == nil:
		path.Mode, path.Source = r.fallback(), drift.FromDefault
	case d.provider.Name == drift.PlatformProvider:
		path.Mode, path.Source, path.Provider = drift.ModePlatformManaged, drift.FromProvider, d.provider.Name
	default:
		path.Mode, path.Source, path.Provider = drift.ModeBYOK, drift.FromProvider, d.provider.Name
	}
	return path, d
}

// fallback is the mode of a deployment where nothing can be derived.
func (r *Resolver) fallback() drift.Mode {
	if r.Policy.Deployment == drift.SelfHosted {
		return drift.ModeBYOK
	}
	return drift.ModePlatformManaged
}

// supply tells where the customer has stored a credential that p takes. An
// empty row of the workspace hides the global one of its key.
func (r *Resolver) supply(w *drift.Workspace, p *Provider) drift.Supply {
	holds := func(rows []drift.StoredSecret, name string) bool {
		row := find(rows, name)
		return row != nil && !row.Empty
	}
	if slices.ContainsFunc(p.AuthEnv, func(name string) bool { return holds(w.Secrets, name) }) {
		return drift.SupplyWorkspace
	}
	if r.Policy.GlobalSecrets == drift.OwnerCustomer && slices.ContainsFunc(p.AuthEnv, func(name string) bool {
		return holds(w.Globals, name) && find(w.Secrets, name) == nil
	}) {
		return drift.SupplyGlobal
	}
	return drift.SupplyNone
}
