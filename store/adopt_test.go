package store_test

import (
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
