package store_test

import (
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// A drift that tells of billed calls spares a look while it is open; one that
// tells of something else does not, and neither does one that is over.
func TestWhatSparesALook(t *testing.T) {
	t.Parallel()
	r := newReplica(t, migrated(t), "a")
	l := r.leaseOf(source)
	at := recent()
	r.holds(l, at.Add(-time.Hour), map[int]string{1: "203.0.113.1", 2: "203.0.113.2", 3: "203.0.113.3"})
	r.strings("UPDATE states SET desired_mode = 'disabled' WHERE id = '" + ws(3) + "' RETURNING name")
	over, other := opened(1, 0), opened(2, 0) // the other is of the mode alone
	over.Findings = []drift.Finding{{Kind: drift.ProxyTraffic, Severity: drift.Critical}}
	over.ID = r.apply(&store.Outcome{Lease: l, At: at, Episodes: []store.EpisodeChange{over, other}}).Episodes[0]
	asked := func(what string, want int, address string) {
		t.Helper()
		if got := r.counts(from(call(at, address))); got.Asked != want || len(got.Guarded) != 1 {
			t.Errorf("%s: asked for %d looks, want %d; guarded %v", what, got.Asked, want, got.Guarded)
		}
	}
	asked("a drift of calls is open", 0, "203.0.113.1")
	asked("a drift of the mode is open", 1, "203.0.113.2")
	asked("it is to have no LLM at all", 1, "203.0.113.3")
	r.apply(&store.Outcome{Lease: l, At: at, Episodes: []store.EpisodeChange{closed(over.Episode, 1)}})
	asked("the drift of calls is over", 1, "203.0.113.1")
	r.counts(from(call(at.Add(-time.Second), "203.0.113.1"), call(at.Add(time.Second), "203.0.113.2")))
	looks, err := r.Looks(t.Context(), []string{source})
	r.must(err)
	hits := map[string]time.Time{}
	for _, look := range looks {
		hits[look.Workspace] = look.HitAt
	}
	diff(t, map[string]time.Time{ws(1): at.Add(-time.Second), ws(2): at, ws(3): at}, hits) // of each, the earliest call
}
