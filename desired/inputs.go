package desired

import (
	"fmt"
	"slices"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Where a model may come from, in words of the contract (model_from).
const (
	fromWorkspaceModel    = storeWorkspace + "." + drift.KeyModel
	fromWorkspaceMolecule = storeWorkspace + "." + drift.KeyMoleculeModel
	fromGlobalModel       = storeGlobal + "." + drift.KeyModel
	fromGlobalMolecule    = storeGlobal + "." + drift.KeyMoleculeModel

	storeWorkspace = "workspace_secrets"
	storeGlobal    = "global_secrets"
)

// modelKeys are asked in this order by the provision path.
var modelKeys = []struct{ key, workspace, global string }{
	{drift.KeyMoleculeModel, fromWorkspaceMolecule, fromGlobalMolecule},
	{drift.KeyModel, fromWorkspaceModel, fromGlobalModel},
}

// chosen are a path's inputs with where the model comes from; "": nowhere.
type chosen struct {
	drift.Inputs
	modelFrom string
}

// Inputs chooses the provision path's inputs: what the platform would derive
// from on a provision that finds every stored value. A model that had to be
// read and could not be sets Err; a secret that decides nothing does not.
func (r *Resolver) Inputs(w *drift.Workspace) drift.Inputs { return r.provisionInputs(w).Inputs }

// Resolve gives the path that in leads to.
func (r *Resolver) Resolve(in drift.Inputs) drift.Path {
	path, _ := r.resolve(in)
	return path
}

func (r *Resolver) provisionInputs(w *drift.Workspace) chosen {
	in := chosen{Inputs: drift.Inputs{Runtime: w.RuntimeOrDefault(), Override: override(w)}}
	for _, k := range modelKeys {
		row, from := find(w.Secrets, k.key), k.workspace
		if row == nil {
			row, from = find(w.Globals, k.key), k.global
		}
		if row != nil && !row.Empty {
			in.take(row, from)
			break
		}
	}
	in.AuthEnv = r.mergedNames(w)
	return in
}

// readInputs chooses the read endpoint's inputs: the workspace's own rows
// alone, and an empty credential counts by its name.
func (r *Resolver) readInputs(w *drift.Workspace) chosen {
	in := chosen{Inputs: drift.Inputs{Runtime: w.RuntimeOrDefault(), Override: override(w)}}
	if in.Runtime == "" {
		in.Runtime = drift.DefaultRuntime
	}
	if row := find(w.Secrets, drift.KeyModel); row != nil && !row.Empty {
		in.take(row, fromWorkspaceModel)
	}
	for i := range w.Secrets {
		if r.authEnv[w.Secrets[i].Key] {
			in.AuthEnv = append(in.AuthEnv, w.Secrets[i].Key)
		}
	}
	slices.Sort(in.AuthEnv)
	return in
}

// take makes row the model. A row that could not be read is still where the
// model would have come from.
func (in *chosen) take(row *drift.StoredSecret, from string) {
	in.modelFrom = from
	if row.Err != "" {
		in.Err = fmt.Sprintf("%s: %s", from, row.Err)
		return
	}
	in.Model = row.Value
}

// mergedNames lists the names of auth_env that the globals overlaid by the
// workspace's own rows hold a value under. Sorted.
func (r *Resolver) mergedNames(w *drift.Workspace) []string {
	var names []string
	for i := range w.Secrets {
		if row := &w.Secrets[i]; !row.Empty && r.authEnv[row.Key] {
			names = append(names, row.Key)
		}
	}
	for i := range w.Globals {
		if row := &w.Globals[i]; !row.Empty && r.authEnv[row.Key] && find(w.Secrets, row.Key) == nil {
			names = append(names, row.Key)
		}
	}
	slices.Sort(names)
	return names
}

// override gives the stored override where the platform would recognise it.
func override(w *drift.Workspace) drift.Mode {
	if w.Override != nil && drift.Mode(*w.Override).Recognised() {
		return drift.Mode(*w.Override)
	}
	return drift.ModeUnknown
}

// find gives the row of that key, or nil. Rows are few: a workspace has some
// six, a tenant some dozens.
func find(rows []drift.StoredSecret, key string) *drift.StoredSecret {
	for i := range rows {
		if rows[i].Key == key {
			return &rows[i]
		}
	}
	return nil
}
