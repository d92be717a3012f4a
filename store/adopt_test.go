package store_test

import (
	"errors"
	"testing"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

func TestWhatADeadReplicaWorkedOnIsQueuedAgain(t *testing.T) {
	r := newReplica(t, migrated(t), "one")
	leases := r.keep(source, store.Fleet).Leases
	fleet, l := leases[0], leases[1]
	id := r.plan(l, candidates(remedy, 1)).Opened[0]
	db := conn(t, r.url)
	adopts := func(want ...int64) {
		t.Helper()
		got, err := r.Adopt(t.Context(), fleet)
		r.must(err)
		diff(t, want, got)
	}
	adopts() // it waits in the queue
	_, err := db.Exec(t.Context(), "UPDATE river_job SET state = 'running', attempted_at = now(), attempt = 1, attempted_by = ARRAY['somebody', $1::text]", r.me.ID)
	r.must(err)
	adopts() // a living one works on it
	_, err = db.Exec(t.Context(), "UPDATE river_job SET attempted_by = ARRAY[$1::text, 'dead']", r.me.ID)
	r.must(err)
	adopts(id)
	adopts() // once
	_, err = r.End(t.Context(), id, store.ActionQueued, drift.Superseded, "", nil)
	r.must(err)
	_, err = db.Exec(t.Context(), "DELETE FROM river_job")
	r.must(err)
	adopts() // it is over
}

// Nobody can look at what came of actions of a source that is forgotten: they end,
// and hold no budget and no ramp.
func TestActionsOfAForgottenSourceEnd(t *testing.T) {
	r, l := one(t)
	first := r.plan(l, candidates(remedy, 1)).Opened[0]
	_, err := r.Calling(t.Context(), first, drift.Attempt{StartedAt: t0}, nil)
	r.must(err)
	_, err = r.Called(t.Context(), first, drift.Call{Result: drift.CallAccepted})
	r.must(err)
	wish, err := r.Request(t.Context(), store.Request{Source: source, Workspace: ws(2), Reason: "ticket", By: "ops"})
	r.must(err)
	other := l
	other.Token--
	if _, err := r.Abandon(t.Context(), other); !errors.Is(err, store.ErrFenced) {
		t.Fatalf("by a lease that is lost: %v", err)
	}
	events, err := r.Abandon(t.Context(), l)
	r.must(err)
	for id, want := range map[int64]drift.Outcome{first: drift.Superseded, wish.ID: drift.Blocked} {
		if a, err := r.Action(t.Context(), id); err != nil || a.Outcome != want || a.EndedAt.IsZero() {
			t.Errorf("action %d: %+v, %v; want %s", id, a, err, want)
		}
	}
	if len(events) != 1 || events[0].Kind != drift.EventBlocked || events[0].By != "ops" {
		t.Errorf("told: %+v", events)
	}
	if p := r.plan(l, candidates(remedy, 3)); len(p.Opened) != 1 {
		t.Errorf("the canary's place is not free again: %v", rulesOf(p))
	}
	r.sound()
}
