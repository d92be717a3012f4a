package reconcile

import (
	"context"
	"slices"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// glimpse is how a container was when it was last seen, for the moment in which
// the log tells of a call that should not be: there is no time to look again
// before it is told.
type glimpse struct {
	instance    string
	key         drift.Key // that its fingerprints were made under
	observation drift.Observation
}

// remind keeps how the containers were seen that the platform must not pay for.
func (h *holder) remind(l *look) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l.full {
		h.glimpses = map[string]glimpse{}
	}
	for i := range l.result.Workspaces {
		j := &l.result.Workspaces[i]
		id := j.Workspace.ID
		switch {
		case j.Observation.State == drift.Observed && j.Desired.Mode != drift.ModePlatformManaged:
			h.glimpses[id] = glimpse{j.Workspace.InstanceID, l.key, j.Observation}
		default:
			delete(h.glimpses, id)
		}
	}
}

func (h *holder) glimpsesOf(ids map[string]bool) map[drift.Key]memory {
	h.mu.Lock()
	defer h.mu.Unlock()
	byKey := map[drift.Key]memory{}
	for id := range ids {
		g, ok := h.glimpses[id]
		if !ok {
			continue
		}
		if byKey[g.key] == nil {
			byKey[g.key] = memory{}
		}
		byKey[g.key][id] = g
	}
	return byKey
}

// memory answers in the place of machines. It is an Observer.
type memory map[string]glimpse

// Observe implements Observer.
func (m memory) Observe(_ context.Context, _ drift.Key, targets []Target) []drift.Observation {
	answers := make([]drift.Observation, len(targets))
	for i, target := range targets {
		answers[i].Reason = "not looked at since its instance is another"
		for _, g := range m {
			if g.instance == target.InstanceID {
				answers[i] = g.observation
			}
		}
	}
	return answers
}

// hear judges workspaces of which the log tells a billed call: by what they
// should be now, as their tenant says, by what the log tells, and by how their
// containers were last seen. What should not be is a drift at once. It gives
// those that a look need not be spent on: nothing is wrong with them.
func (h *holder) hear(ctx context.Context, w *World, source Source, looks []store.Look) (sound []store.Look) {
	ids := map[string]bool{}
	for _, l := range looks {
		ids[l.Workspace] = true
	}
	source.Platform, source.Asks = nil, 0 // it would take long, and has its say at the look that follows
	judged, wrong := map[string]bool{}, map[string]bool{}
	for key, seen := range h.glimpsesOf(ids) {
		walk := h.walk(w, source)
		walk.Gate, walk.Learn, walk.Observer = nil, nil, seen
		walk.Only = map[string][]string{source.Name: nil}
		for id := range seen {
			walk.Only[source.Name] = append(walk.Only[source.Name], id)
		}
		result, err := walk.Run(ctx, key)
		if err != nil || result.Sources[0].Err != nil {
			continue // the look that follows tells why
		}
		for i := range result.Workspaces {
			judged[result.Workspaces[i].Workspace.ID] = result.Workspaces[i].Observation.State == drift.Observed
		}
		result.Workspaces = slices.DeleteFunc(result.Workspaces, func(j Judged) bool { return !accusedByTraffic(&j) })
		for i := range result.Workspaces {
			wrong[result.Workspaces[i].Workspace.ID] = true
		}
		if len(result.Workspaces) > 0 {
			h.heard(wrong, result)
			h.write(ctx, w, &look{result: result, key: key, hearsay: true})
		}
	}
	for _, l := range looks {
		if judged[l.Workspace] && !wrong[l.Workspace] {
			sound = append(sound, l)
		}
	}
	return sound
}

// heard lets a pass that has asked the log before not take the drift back.
func (h *holder) heard(ids map[string]bool, result *Result) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id := range ids {
		h.looked[id] = result.At
	}
}

func accusedByTraffic(j *Judged) bool {
	return slices.ContainsFunc(j.Findings, func(f drift.Finding) bool { return f.Kind == drift.ProxyTraffic })
}
