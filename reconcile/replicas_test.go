package reconcile_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/reconcile"
	"github.com/molecule-ai/billing-reconciler/store"
)

// Two daemons share the sources; when one ends, the other has all of them.
func TestDaemonsShareAndHandOver(t *testing.T) {
	t.Parallel()
	s := newSite(t, 10, 2)
	s.drained[ws(301)] = true
	one, two := s.start(s.world()), s.start(s.world())
	s.eventually("both have their share", func() bool {
		a, b := one.Holds(), two.Holds()
		return len(a) >= 4 && len(b) >= 4 && len(a)+len(b) == 10
	})
	s.walked(3)
	one.stop()
	s.eventually("the other has all", func() bool { return len(two.Holds()) == 10 && two.Leads() })
	s.walked(2)
	s.with(func() {
		if s.overlaps != 0 {
			t.Errorf("%d readings overlapped", s.overlaps)
		}
	})
	db := s.another()
	if diff := cmp.Diff(map[drift.EventKind]int{drift.EventDriftOpened: 1}, s.told(db)); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	s.sound(db)
}

// A source that was to be handed over, and whose taker goes away before its
// pass has ended, is walked again.
func TestRetirementIsTakenBack(t *testing.T) {
	t.Parallel()
	s := newSite(t, 4, 1)
	goOn, begun := make(chan struct{}), make(chan struct{}, 100)
	s.looked = func(ctx context.Context, _ []reconcile.Target) {
		begun <- struct{}{}
		select {
		case <-goOn:
		case <-ctx.Done():
		}
	}
	s.change = func(w *reconcile.World) { w.Limits.SourcesAtOnce = 10 }
	one := s.start(s.world())
	for range 4 {
		<-begun
	}
	two := s.start(s.world())
	s.eventually("the first wants to hand over", func() bool { return one.Retired() > 0 })
	two.stop()
	s.eventually("it stays", func() bool { return one.Retired() == 0 })
	close(goOn)
	s.walked(3)
}

// Whoever has lost the lease in mid-pass writes nothing of it, and nothing stays
// of the holder.
func TestLeaseLostInMidPass(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1, 3)
	s.drained[ws(1)] = true
	begun, goOn := make(chan struct{}, 100), make(chan struct{})
	s.looked = func(context.Context, []reconcile.Target) {
		begun <- struct{}{}
		<-goOn // whatever happens to its context
	}
	d := s.start(s.world())
	<-begun
	s.with(func() { delete(s.drained, ws(1)) })
	s.exec("UPDATE leases SET token = token + 1, holder = NULL WHERE source = 't00'")
	close(goOn)
	s.walked(3)
	db := s.another()
	if told := s.told(db); len(told) != 0 {
		t.Errorf("told by a pass whose lease was lost: %v", told)
	}
	s.eventually("the source is held again", func() bool { return slices.Equal(d.Holds(), []string{"t00"}) })
	s.sound(db)
}

// The database's connections break at any moment, at the commit too: every drift
// is told of once, opening and end, and none is missed.
func TestBrokenConnectionsTellNothingTwice(t *testing.T) {
	t.Parallel()
	s := newSite(t, 4, 4)
	s.start(s.world())
	s.walked(1)
	db := s.another()
	ctx, stop := context.WithCancel(t.Context())
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		for ctx.Err() == nil {
			s.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'daemon' AND datname = current_database() AND state <> 'idle'")
			wait(ctx, time.Duration(rand.IntN(20))*time.Millisecond)
		}
	}()
	end := time.Now().Add(4 * time.Second)
	turns := 0
	for ; time.Now().Before(end); turns++ {
		for _, drained := range []bool{true, false} {
			s.with(func() { s.drained[ws(102)] = drained })
			s.eventually("a drift opens and ends though connections break", func() bool {
				drifts, _, err := db.Drifts(t.Context(), store.DriftFilter{Open: &drained, Limit: 1000})
				return err == nil && (drained && len(drifts) == 1 || !drained && len(drifts) == turns+1)
			})
		}
	}
	stop()
	<-killed
	s.walked(3)
	if diff := cmp.Diff(map[drift.EventKind]int{drift.EventDriftOpened: turns, drift.EventDriftClosed: turns}, s.told(db)); diff != "" {
		t.Errorf("told in %d turns (-want +got):\n%s", turns, diff)
	}
	s.sound(db)
}

// A source that left the configuration of every replica is forgotten: its drift
// ends, and says why. One that another replica still has is not.
func TestOrphansAreForgotten(t *testing.T) {
	t.Parallel()
	s := newSite(t, 3, 2)
	s.drained[ws(1)], s.drained[ws(101)] = true, true
	one, two := s.start(s.world()), s.start(s.world("t01", "t02"))
	db := s.another()
	s.eventually("both drifts are told of", func() bool { return s.told(db)[drift.EventDriftOpened] == 2 })
	s.eventually("t00 is held by who has it", func() bool { return slices.Contains(one.Holds(), "t00") })
	held := store.Scope{Kind: store.ScopeSource, Source: "t00"}
	if _, err := db.Pause(t.Context(), store.Pause{Scope: held, Observing: true, Reason: "test", By: "test"}); err != nil {
		t.Fatal(err)
	}
	s.walked(50, "t01", "t02") // longer than an orphan is waited for; t00 is held, and not walked
	if told := s.told(db); told[drift.EventDriftClosed] != 0 {
		t.Fatalf("a source that one replica has was forgotten: %v", told)
	}
	s.exec("INSERT INTO actions (source, workspace, name, cause, inputs, lap, state, mode, by, reason, forced, created_at, opened_at, called_at, attempt) VALUES " +
		"('t00', '" + ws(1) + "', '', 'c', 'i', 0, 'proving', 'enforce', '', '', false, now(), now(), now(), '{}')")
	one.Use(s.world("t01", "t02"))
	s.eventually("it is given up, before a pass can end its action", func() bool { return !slices.Contains(one.Holds(), "t00") })
	if _, err := db.Resume(t.Context(), held, "test", ""); err != nil {
		t.Fatal(err)
	}
	s.eventually("its drift ends", func() bool { return s.told(db)[drift.EventDriftClosed] == 1 })
	s.eventually("and it is forgotten", func() bool {
		sources, err := db.Sources(t.Context())
		return err == nil && len(sources) == 2
	})
	if a, err := db.Action(t.Context(), 1); err != nil || a.Outcome != drift.Superseded {
		t.Errorf("its action, which nobody can look at any more: %+v, %v", a, err)
	}
	ended := s.events(db, drift.EventDriftClosed)[0]
	if e, err := db.Drift(t.Context(), ended.Episode); err != nil || ended.Source != "t00" || e.Result != drift.SourceRemoved {
		t.Errorf("ended: %+v, %+v, %v", ended, e, err)
	}
	s.walked(5, "t01", "t02")
	if sources, err := db.Sources(t.Context()); err != nil || len(sources) != 2 {
		t.Errorf("%d sources, %v: a heartbeat made its lease anew", len(sources), err)
	}
	if rows, _, err := db.Workspaces(t.Context(), store.WorkspaceFilter{}); err != nil || len(rows) != 4 {
		t.Errorf("%d states are left, %v", len(rows), err)
	}
	two.stop()
	one.Use(s.world()) // it comes back
	s.eventually("it is walked anew", func() bool { return s.told(db)[drift.EventDriftOpened] == 3 })
	s.sound(db)
}

// Nobody has walked a source for long, its passes being paused or all replicas
// having been down, and the one replica that has it is just starting anew. That
// the other, which leads, has another configuration is no reason to forget it.
func TestASourceThatNobodyWalksIsNoOrphan(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rule string
		down bool // the one that leads was down too
	}{
		{rule: "paused"},
		{rule: "all were down", down: true},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newSite(t, 2, 2)
			s.orphan = time.Minute
			s.drained[ws(1)] = true
			db := s.another()
			two := s.start(s.world("t01"))
			s.eventually("who does not have it leads", two.Leads)
			one := s.start(s.world())
			s.eventually("its drift is told of", func() bool { return s.told(db)[drift.EventDriftOpened] == 1 })
			if _, err := db.Pause(t.Context(), store.Pause{Scope: store.Scope{Kind: store.ScopeSource, Source: "t00"}, Observing: true, Reason: "test", By: "test"}); err != nil {
				t.Fatal(err)
			}
			one.stop()
			if c.down {
				two.stop()
			}
			s.exec("UPDATE sources SET last_pass_at = last_pass_at - interval '1 hour', tried_at = tried_at - interval '1 hour'")
			s.exec("UPDATE leases SET since = since - interval '1 hour'")
			if c.down {
				two = s.start(s.world("t01"))
			}
			s.eventually("who leads has seen that nobody has it", func() bool {
				noticed, adopted := two.Orphans()
				if len(adopted) > 0 {
					t.Fatalf("%v is to be forgotten", adopted)
				}
				return slices.Equal(noticed, []string{"t00"})
			})
			one = s.start(s.world())
			s.eventually("it is held by who has it", func() bool { return slices.Contains(one.Holds(), "t00") })
			s.eventually("nobody lacks it any more", func() bool { noticed, _ := two.Orphans(); return len(noticed) == 0 })
			if told := s.told(db); told[drift.EventDriftClosed] != 0 {
				t.Errorf("its drift has ended: %v", told)
			}
			s.sound(db)
		})
	}
}
