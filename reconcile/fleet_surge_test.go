package reconcile_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/reconcile"
	"github.com/molecule-ai/billing-reconciler/store"
)

// managed flips the workspaces of some last digits to the platform's account.
func managed(digits string) func(*drift.Workspace, drift.Desired) drift.Desired {
	return func(w *drift.Workspace, d drift.Desired) drift.Desired {
		for _, digit := range digits {
			if w.ID[len(w.ID)-1] == byte(digit) {
				d.Mode, d.Provider, d.ReadPath = drift.ModePlatformManaged, "platform", drift.Path{Mode: drift.ModePlatformManaged, Source: drift.FromProvider, Provider: "platform"}
				d.AuthEnv, d.Supply = nil, drift.SupplyNotNeeded
			}
		}
		return d
	}
}

// Half of every small tenant flips by another registry: none is a surge by
// itself. It is told of once, no drift is, until somebody accepts it.
func TestFleetSurge(t *testing.T) {
	t.Parallel()
	s := newSite(t, 12, 4)
	d := s.start(s.world())
	s.walked(2)
	db := s.another()
	s.resolve = managed("01")
	s.change = func(w *reconcile.World) { w.ResolverID = "r2" }
	d.Use(s.world())
	s.eventually("the surge is told of", func() bool { return s.told(db)[drift.EventSurge] > 0 })
	s.walked(3)
	if diff := cmp.Diff(map[drift.EventKind]int{drift.EventSurge: 1}, s.told(db)); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	if e := s.events(db)[0]; e.Source != "" {
		t.Errorf("told of source %q, want the fleet", e.Source)
	}
	if err := db.Accept(t.Context(), store.Fleet, "test", "meant"); err != nil {
		t.Fatal(err)
	}
	s.eventually("it is over, and what flipped is drifted", func() bool {
		told := s.told(db)
		return told[drift.EventSurgeEnded] == 1 && told[drift.EventDriftOpened] == 24
	})
	s.walked(2)
	want := map[drift.EventKind]int{drift.EventSurge: 1, drift.EventSurgeAccepted: 1, drift.EventSurgeEnded: 1, drift.EventDriftOpened: 24}
	if diff := cmp.Diff(want, s.told(db)); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	s.sound(db)
}

// What flips by another registry is not believed, by a pass or by a look, until
// most of the fleet has been read with it.
func TestQuorum(t *testing.T) {
	t.Parallel()
	s := newSite(t, 2, 10)
	var hang atomic.Bool
	s.read = func(ctx context.Context, source string) {
		if source == "t01" && hang.Load() {
			<-ctx.Done()
		}
	}
	d := s.start(s.world())
	db := s.another()
	s.eventually("both are walked, and that is written", func() bool { return s.lastPass(db, "t00") && s.lastPass(db, "t01") })
	hang.Store(true)
	s.resolve = managed("0")
	s.change = func(w *reconcile.World) { w.ResolverID = "r2" }
	d.Use(s.world())
	s.walked(3, "t00")
	if _, err := db.RequestLook(t.Context(), store.Look{Source: "t00", Workspace: ws(0), Reason: "curious", By: "test"}); err != nil {
		t.Fatal(err)
	}
	s.eventually("the look is answered", func() bool {
		looks, err := db.Looks(t.Context(), []string{"t00"})
		return err == nil && len(looks) == 0
	})
	if told := s.told(db); len(told) != 0 {
		t.Errorf("believed before the rest was read: %v", told)
	}
	hang.Store(false)
	d.stop() // the hanging pass with it
	s.start(s.world())
	s.eventually("believed when it was", func() bool { return s.told(db)[drift.EventDriftOpened] == 2 })
	s.sound(db)
}
