package store_test

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// called counts calls of a workspace, all at one minute.
func (r *replica) called(n, minute int, kind store.AttributionKind, billed, unpriced int64) {
	r.Helper()
	at := min0(minute)
	_, err := r.Count(r.Context(), &store.Counting{Input: store.Input{Name: "file", Host: "proxy1"}, Lines: 1, Newest: at, Calls: []store.Calls{{
		Bucket: at.Truncate(5 * time.Minute), Address: netip.MustParseAddr("203.0.113.7"), Operation: 1, Class: 2, Billed: billed, Input: 10 * billed, CostUSD: 0.5, Unpriced: unpriced,
		First: at, Last: at, LastBilled: at}}},
		func([]store.Tenure, []store.Named) func(*store.Calls) store.Owner {
			return func(*store.Calls) store.Owner {
				return store.Owner{Kind: kind, Source: source, Workspace: uuid.MustParse(ws(n))}
			}
		})
	r.must(err)
}

// episode opens the drift of a workspace that minutes 1 to 10 are of, and ends it
// where that is wanted.
func (r *replica) episode(l store.Lease, n int, over bool) int64 {
	r.Helper()
	change := opened(n, 2) // the first evidence is a minute before
	id := r.apply(pass(l, 2, func(o *store.Outcome) {
		o.States, o.Episodes = []store.State{state(n, drifted)}, []store.EpisodeChange{change}
	})).Episodes[0]
	if over {
		change.ID = id
		r.apply(pass(l, 10, func(o *store.Outcome) {
			o.States, o.Episodes = []store.State{state(n, nil)}, []store.EpisodeChange{closed(change.Episode, 10)}
		}))
	}
	return id
}

func sums(list []store.HourCalls) (billed, edge, unpriced int64) {
	for _, c := range list {
		billed, edge, unpriced = billed+c.Billed, edge+c.Edge, unpriced+c.Unpriced
	}
	return billed, edge, unpriced
}

func TestEvidenceIsOfTheDriftAlone(t *testing.T) {
	r, l := one(t)
	id := r.episode(l, 1, true)
	r.episode(l, 2, false)
	r.called(1, -60, store.ByAddress, 100, 0) // an earlier hour
	r.called(1, 2, store.ByAddress, 3, 1)
	r.called(1, 7, store.ByName, 4, 0)
	r.called(1, 8, store.Doubtful, 1000, 0)
	r.called(2, 8, store.ByAddress, 1000, 0)
	r.called(1, 30, store.ByAddress, 100, 0) // after its end
	e, err := r.Evidence(t.Context(), id)
	r.must(err)
	if billed, edge, unpriced := sums(e.Calls); billed != 7 || edge != 0 || unpriced != 1 || len(e.Calls) != 2 {
		t.Errorf("got %d billed, %d at the edge, %d unpriced of %+v", billed, edge, unpriced, e.Calls)
	}
	if c := e.Calls[0]; !c.Hour.Equal(t0) || c.Attribution != store.ByAddress || c.Input != 30 || c.CostUSD != 0.5 {
		t.Errorf("got %+v", c)
	}
	if len(e.Events) != 2 || e.Events[0].Kind != drift.EventDriftOpened || e.Events[1].Kind != drift.EventDriftClosed {
		t.Errorf("got %+v", e.Events)
	}
	if len(e.Suppressions) != 0 || len(e.Quiet) != 0 || len(e.Actions) != 0 || string(e.Opened) == "" {
		t.Errorf("got %+v", e)
	}
	r.called(1, 0, store.ByAddress, 2, 0) // counted together with those of minute 2
	e, err = r.Evidence(t.Context(), id)
	r.must(err)
	if billed, edge, _ := sums(e.Calls); billed != 9 || edge != 5 {
		t.Errorf("got %d billed, %d at the edge: a row that begins before the first evidence is said to", billed, edge)
	}
	if _, err := r.Evidence(t.Context(), 99); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestEvidenceHasActionsAndWhatWasWanted(t *testing.T) {
	r, l := one(t)
	id := r.episode(l, 1, false)
	_, err := r.Request(t.Context(), store.Request{Source: source, Workspace: ws(1), Reason: "r", By: "ops"})
	r.must(err)
	_, err = r.Request(t.Context(), store.Request{Source: source, Workspace: ws(2), Reason: "another", By: "ops"})
	r.must(err)
	list := candidates(remedy, 1)
	list[0].Episode = id
	r.through(r.plan(l, list).Opened[0], drift.Cured)
	e, err := r.Evidence(t.Context(), id)
	r.must(err)
	var states []store.ActionState
	for _, a := range e.Actions {
		states = append(states, a.State)
	}
	if !slices.Equal(states, []store.ActionState{store.ActionRequested, store.ActionEnded}) || e.Actions[1].Attempt.Call.Result != drift.CallAccepted {
		t.Errorf("got %+v", e.Actions)
	}
	var kinds []drift.EventKind
	for _, v := range e.Events {
		kinds = append(kinds, v.Kind)
	}
	if !slices.Equal(kinds, []drift.EventKind{drift.EventDriftOpened, drift.EventRequested, drift.EventReprovisioned, drift.EventCured}) {
		t.Errorf("got %v", kinds)
	}
}

// However a suppression ends, what was kept quiet about stays known.
func TestASuppressionHasItsPrice(t *testing.T) {
	r, l := one(t)
	id := r.episode(l, 1, false)
	suppress := func(kind drift.Kind, workspace string) int64 {
		s, err := r.Suppress(t.Context(), store.Suppression{Source: source, Workspace: workspace, Kind: kind, Reason: "known", By: "ops", ExpiresAt: time.Now().Add(time.Hour)})
		r.must(err)
		return s.ID
	}
	first := suppress(drift.ModeMismatch, ws(1))
	second := suppress("", "")
	other := suppress(drift.ModelMismatch, ws(1))
	suppress("", ws(2))
	soon := int(time.Since(t0)/time.Minute) + 60
	r.called(1, 5, store.ByAddress, 100, 0) // before
	r.called(1, soon, store.ByAddress, 3, 0)
	e, err := r.Evidence(t.Context(), id)
	r.must(err)
	if len(e.Suppressions) != 2 || e.Suppressions[0].ID != first || e.Suppressions[1].ID != second || !e.Suppressions[0].EndedAt.IsZero() {
		t.Fatalf("got %+v, want those that cover what was found", e.Suppressions)
	}
	for _, p := range e.Suppressions {
		if billed, _, _ := sums(p.Calls); billed != 3 {
			t.Errorf("suppression %d: %d calls, want 3", p.ID, billed)
		}
	}
	if billed, _, _ := sums(e.Quiet); billed != 3 {
		t.Errorf("while any was in force: %d calls, want 3, counted once", billed)
	}
	prices, err := r.Prices(t.Context())
	r.must(err)
	if p := prices[first]; p.Billed != 3 || p.CostUSD != 0.5 || p.Unpriced != 0 || prices[other].Billed != 0 {
		t.Errorf("got %+v", prices)
	}
	was, err := r.Unsuppress(t.Context(), first, "ops")
	r.must(err)
	_, err = conn(t, r.url).Exec(t.Context(), "UPDATE suppressions SET expires_at = at + interval '1 microsecond' WHERE id = $1", second)
	r.must(err)
	for range 2 { // run out, and then gone
		e, err = r.Evidence(t.Context(), id)
		r.must(err)
		if !was || len(e.Suppressions) != 2 || e.Suppressions[0].EndedAt.IsZero() || !e.Suppressions[1].EndedAt.Equal(e.Suppressions[1].ExpiresAt) || len(e.Quiet) != 0 {
			t.Errorf("ended: got %+v", e.Suppressions)
		}
		_, err = r.Expire(t.Context(), r.keep(store.Fleet).Leases[0])
		r.must(err)
	}
}

func TestHeldIsOfTheWorkspacesThatAreNamed(t *testing.T) {
	r, l := one(t)
	id := r.plan(l, candidates(remedy, 1, 2)).Opened[0]
	ref := func(n int) store.Ref { return store.Ref{Source: source, ID: ws(n)} }
	held, err := r.Held(t.Context(), []store.Ref{ref(1), ref(2), ref(3), {Source: "other", ID: ws(1)}})
	r.must(err)
	if len(held) != 2 || held[ref(1)].InFlight != id || held[ref(2)].InFlight != 0 || held[ref(2)].Judgement.Rule != drift.RuleCanaryPending {
		t.Errorf("got %+v", held)
	}
}
