package drift

import (
	"fmt"
	"strings"
	"time"
)

// CauseCode names why a container has another mode than it should.
type CauseCode string

// The causes, in the order in which they decide.
const (
	StaleEnvironment  CauseCode = "stale_environment"
	OverrideIgnored   CauseCode = "override_ignored"
	OverrideStale     CauseCode = "override_stale"
	ModelEmpty        CauseCode = "model_empty"
	ModelFromOtherKey CauseCode = "model_from_other_key"
	AuthEnvMissing    CauseCode = "auth_env_missing"
	GlobalsIgnored    CauseCode = "globals_ignored"
	RuntimeDiffers    CauseCode = "runtime_differs"
	RegistryDiffers   CauseCode = "registry_differs"
	CauseUnknown      CauseCode = "unknown"
)

// Cause is one input that, had it been other than it is, would have given the
// observed mode.
type Cause struct {
	Code    CauseCode
	Summary string
}

// Past is what Diagnose may know beyond the facts of now.
type Past struct {
	Previous  Derivation // the registry before the present one; nil: none given
	Overrides []Mode     // earlier recognised overrides, from our own history; never guessed
}

// Diagnose explains a mode mismatch: it resolves the provision path again with
// one input changed at a time, and lists every change that gives the observed
// mode, the one that decides first. Without a mode mismatch there is nothing to
// explain, and the list is empty; otherwise it has at least CauseUnknown.
func Diagnose(d Derivation, past Past, f *Facts, findings []Finding) []Cause {
	if len(findings) == 0 || findings[0].Kind != ModeMismatch {
		return nil
	}
	x := &diagnosis{Derivation: d, past: past, Facts: f, observed: f.Observation.Mode()}
	x.right = d.Inputs(f.Workspace)
	var causes []Cause
	for _, explain := range explanations {
		if cause := explain(x); cause != nil {
			causes = append(causes, *cause)
		}
	}
	if causes == nil {
		causes = []Cause{{CauseUnknown, "no single input, changed, gives the observed mode"}}
	}
	return causes
}

// explanations are asked in the order in which causes decide.
var explanations = []func(*diagnosis) *Cause{
	staleEnvironment, overrideIgnored, overrideStale, modelEmpty, modelFromOtherKey,
	authEnvMissing, globalsIgnored, runtimeDiffers, registryDiffers,
}

type diagnosis struct {
	Derivation
	*Facts
	past     Past
	observed Mode
	right    Inputs
}

// gives tells whether inputs resolve to the observed mode. An input that could
// not be read explains nothing.
func (x *diagnosis) gives(in Inputs) bool {
	return in.Err == "" && x.Resolve(in).Mode == x.observed
}

func fits(code CauseCode, format string, args ...any) *Cause {
	return &Cause{code, fmt.Sprintf(format, args...)}
}

// staleEnvironment: the container was started before one of its inputs was
// written. What a model was before cannot be known, so its date alone speaks;
// of a credential the name is the input, so its absence must give the mode.
func staleEnvironment(x *diagnosis) *Cause {
	start := x.Observation.StartedAt
	if start.IsZero() || x.right.Override != ModeUnknown {
		return nil // an override decides whatever the secrets say, and has no date
	}
	newest := x.newestInput(x.Workspace.Secrets, "workspace_secrets", start)
	if newest == nil {
		newest = x.newestInput(x.Workspace.Globals, "global_secrets", start)
	}
	return newest
}

func (x *diagnosis) newestInput(rows []StoredSecret, store string, start time.Time) *Cause {
	for i := range rows {
		row := &rows[i]
		if !row.UpdatedAt.After(start) || !x.isInput(row, store) {
			continue
		}
		return fits(StaleEnvironment, "%s.%s was written at %s, after the container's start at %s: the container runs with what was there before",
			store, row.Key, stamp(row.UpdatedAt), stamp(start))
	}
	return nil
}

func (x *diagnosis) isInput(row *StoredSecret, store string) bool {
	switch {
	case row.Key == KeyModel && strings.HasSuffix(x.Desired.ModelFrom, "."+KeyMoleculeModel):
		return false // the other key wins, whatever this one says
	case row.Key == KeyModel || row.Key == KeyMoleculeModel:
		return store == "workspace_secrets" || !hasKey(x.Workspace.Secrets, row.Key)
	}
	in := x.right
	in.AuthEnv = without(in.AuthEnv, row.Key)
	return len(in.AuthEnv) < len(x.right.AuthEnv) && x.gives(in)
}

func hasKey(rows []StoredSecret, key string) bool {
	return stored(rows, func(s *StoredSecret) bool { return s.Key == key })
}

func without(names []string, name string) []string {
	var rest []string
	for _, n := range names {
		if n != name {
			rest = append(rest, n)
		}
	}
	return rest
}

func overrideIgnored(x *diagnosis) *Cause {
	in := x.right
	if in.Override == ModeUnknown {
		return nil
	}
	if in.Override = ModeUnknown; !x.gives(in) {
		return nil
	}
	return fits(OverrideIgnored, "the observed mode is what derivation gives without the override %s", x.right.Override)
}

func overrideStale(x *diagnosis) *Cause {
	if x.right.Override != ModeUnknown {
		return nil
	}
	for _, earlier := range x.past.Overrides {
		if earlier == x.observed {
			return fits(OverrideStale, "an override %s that stood before and is gone now gives the observed mode", earlier)
		}
	}
	return nil
}

func modelEmpty(x *diagnosis) *Cause {
	in := x.right
	if in.Model == "" {
		return nil
	}
	if in.Model = ""; !x.gives(in) {
		return nil
	}
	return fits(ModelEmpty, "the observed mode is what derivation gives when the model is empty")
}

func modelFromOtherKey(x *diagnosis) *Cause {
	for _, store := range []struct {
		name string
		rows []StoredSecret
	}{{"workspace_secrets", x.Workspace.Secrets}, {"global_secrets", x.Workspace.Globals}} {
		for i := range store.rows {
			row := &store.rows[i]
			if row.Key != KeyModel && row.Key != KeyMoleculeModel || row.Err != "" || row.Value == "" || row.Value == x.right.Model {
				continue
			}
			in := x.right
			in.Model = row.Value
			if x.gives(in) {
				return fits(ModelFromOtherKey, "the observed mode is what derivation gives with the model of %s.%s (%q) instead of %s (%q)",
					store.name, row.Key, row.Value, x.Desired.ModelFrom, x.right.Model)
			}
		}
	}
	return nil
}

func authEnvMissing(x *diagnosis) *Cause {
	in := x.right
	if len(in.AuthEnv) == 0 {
		return nil
	}
	if in.AuthEnv = nil; !x.gives(in) {
		return nil
	}
	return fits(AuthEnvMissing, "the observed mode is what derivation gives when no credential's name is known")
}

func globalsIgnored(x *diagnosis) *Cause {
	if len(x.Workspace.Globals) == 0 {
		return nil
	}
	w := *x.Workspace
	w.Globals = nil
	if !x.gives(x.Inputs(&w)) {
		return nil
	}
	return fits(GlobalsIgnored, "the observed mode is what derivation gives without the tenant's global secrets")
}

func runtimeDiffers(x *diagnosis) *Cause {
	in := x.right
	if in.Runtime == DefaultRuntime {
		return nil
	}
	was := in.Runtime
	if in.Runtime = DefaultRuntime; !x.gives(in) {
		return nil
	}
	return fits(RuntimeDiffers, "the observed mode is what derivation gives with the runtime %s instead of %q", DefaultRuntime, was)
}

func registryDiffers(x *diagnosis) *Cause {
	if x.past.Previous == nil {
		return nil
	}
	in := x.past.Previous.Inputs(x.Workspace)
	if in.Err != "" || x.past.Previous.Resolve(in).Mode != x.observed {
		return nil
	}
	return fits(RegistryDiffers, "the observed mode is what derivation gives with the previous registry")
}
