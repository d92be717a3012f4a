package reconcile_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/reconcile"
	"github.com/molecule-ai/billing-reconciler/store"
)

// A drift is told of once when it opens and once when it ends, over passes and
// a restart.
func TestDaemonTellsOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, 2, 3)
	s.drained[ws(1)] = true
	d := s.start(s.world())
	s.walked(3)
	d.stop()
	s.start(s.world())
	s.walked(3)
	s.with(func() { delete(s.drained, ws(1)) })
	db := s.another()
	s.eventually("the end is told", func() bool { return s.told(db)[drift.EventDriftClosed] == 1 })
	s.walked(3)
	if diff := cmp.Diff(map[drift.EventKind]int{drift.EventDriftOpened: 1, drift.EventDriftClosed: 1}, s.told(db)); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	if rows, _, err := db.Workspaces(t.Context(), store.WorkspaceFilter{}); err != nil || len(rows) != 6 {
		t.Errorf("%d states, %v", len(rows), err)
	}
	s.sound(db)
}

// Passes over one source never overlap, though each takes longer than the interval.
func TestPassesNeverOverlap(t *testing.T) {
	t.Parallel()
	s := newSite(t, 3, 2)
	s.change = func(w *reconcile.World) { w.Limits.Interval = 10 * time.Millisecond }
	s.read = func(ctx context.Context, _ string) { wait(ctx, 30*time.Millisecond) }
	s.start(s.world())
	s.walked(20)
	s.with(func() {
		if s.overlaps != 0 {
			t.Errorf("%d readings overlapped another of the same source", s.overlaps)
		}
	})
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// A tenant whose database hangs, and one whose instances do, hold up no other,
// though only two may be read at once.
func TestHangingSourcesHoldUpNoOther(t *testing.T) {
	t.Parallel()
	s := newSite(t, 12, 2)
	s.read = func(ctx context.Context, source string) {
		if source == "t00" {
			<-ctx.Done()
		}
	}
	s.looked = func(ctx context.Context, targets []reconcile.Target) {
		if targets[0].Source == "t01" {
			<-ctx.Done()
		}
	}
	s.start(s.world())
	var others []string
	for i := 2; i < 12; i++ {
		others = append(others, fmt.Sprintf("t%02d", i))
	}
	s.walked(5, others...)
}

// Sources that could not be read the last time have places of their own.
func TestDoubtfulSourcesHaveTheirOwnLane(t *testing.T) {
	g := reconcile.NewGate(2)
	ended, end := context.WithCancel(t.Context())
	end()
	var leave []func()
	for range 4 {
		leave = append(leave, reconcile.Enter(g, t.Context(), true))
	}
	for range 2 {
		leave = append(leave, reconcile.Enter(g, t.Context(), false)) // would hang if the hanging took these places
	}
	for _, doubtful := range []bool{true, false} {
		reconcile.Enter(g, ended, doubtful)() // gives back no place that it has not got
		got := make(chan func(), 1)
		var waiting sync.WaitGroup
		waiting.Go(func() { got <- reconcile.Enter(g, t.Context(), doubtful) })
		select {
		case <-got:
			t.Error("a lane has a place too many")
		case <-time.After(20 * time.Millisecond):
		}
		leave[map[bool]int{true: 0, false: 4}[doubtful]]()
		waiting.Wait()
	}
}

// A look that somebody asks for overtakes the pass that is running, and its
// newer answer wins.
func TestLooksOvertakeThePass(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1, 3)
	s.drained[ws(1)] = true
	inPass, goOn := make(chan struct{}, 100), make(chan struct{})
	s.looked = func(ctx context.Context, targets []reconcile.Target) {
		if len(targets) > 1 {
			inPass <- struct{}{}
			select {
			case <-goOn:
			case <-ctx.Done():
			}
		}
	}
	s.start(s.world())
	db := s.another()
	<-inPass // it has seen the drained container, and has not come back
	s.with(func() { delete(s.drained, ws(1)) })
	if _, err := db.RequestLook(t.Context(), store.Look{Source: "t00", Workspace: ws(1), Reason: "mended", By: "test"}); err != nil {
		t.Fatal(err)
	}
	s.eventually("the look is answered", func() bool {
		looks, err := db.Looks(t.Context(), []string{"t00"})
		return err == nil && len(looks) == 0
	})
	row, err := db.Workspace(t.Context(), "t00", ws(1))
	if err != nil || row.Verdict != drift.InSync {
		t.Errorf("the look found %+v, %v", row, err)
	}
	close(goOn)
	s.walked(3)
	if told := s.told(db); len(told) != 0 {
		t.Errorf("the older answer of the pass was believed: %v", told)
	}
	s.sound(db)
}

// To pause observing ends the pass under way, and begins none until it is over.
func TestPauseInterrupts(t *testing.T) {
	t.Parallel()
	s := newSite(t, 2, 2)
	begun, ended := make(chan struct{}, 100), make(chan struct{}, 100)
	var hang atomic.Bool
	hang.Store(true)
	s.looked = func(ctx context.Context, targets []reconcile.Target) {
		if hang.Load() && targets[0].Source == "t00" {
			begun <- struct{}{}
			<-ctx.Done()
			ended <- struct{}{}
		}
	}
	d := s.start(s.world())
	<-begun
	db := s.another()
	since := time.Now()
	if _, err := db.Pause(t.Context(), store.Pause{Scope: store.Scope{Kind: store.ScopeSource, Source: "t00"}, Observing: true, Reason: "test", By: "test"}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatalf("the pass goes on %s after the pause", time.Since(since))
	}
	hang.Store(false)
	s.walked(3, "t01")
	s.with(func() {
		if s.reading["t00"] != 0 || s.walks["t00"] > 1 {
			t.Errorf("paused, and walked %d times", s.walks["t00"])
		}
	})
	if problems := d.Problems(); slices.ContainsFunc(problems, func(p string) bool { return p[:10] == "source t00" }) {
		t.Errorf("a pause is no problem: %v", problems)
	}
	if _, err := db.Resume(t.Context(), store.Scope{Kind: store.ScopeSource, Source: "t00"}, "test", ""); err != nil {
		t.Fatal(err)
	}
	s.walked(2, "t00")
}

// Whoever ends gives up what is under way, at once.
func TestEndsInMidPass(t *testing.T) {
	t.Parallel()
	s := newSite(t, 3, 2)
	begun := make(chan struct{}, 100)
	s.looked = func(ctx context.Context, _ []reconcile.Target) {
		begun <- struct{}{}
		<-ctx.Done()
	}
	w := s.world()
	var closed atomic.Int32
	w.Close = func() { closed.Add(1) }
	d := s.start(w)
	<-begun
	since := time.Now()
	d.stop()
	if took := time.Since(since); took > 10*time.Second || closed.Load() != 1 {
		t.Errorf("ending took %s; the world was closed %d times", took, closed.Load())
	}
	db := s.another()
	if replicas, err := db.Replicas(t.Context(), reconcile.LeaseTTL); err != nil || len(replicas) != 0 {
		t.Errorf("%d replicas are left, %v", len(replicas), err)
	}
}

// A reload in mid-pass: the pass ends in its own world, which is closed after
// that and once; what comes after the end is closed at once.
func TestReloadInMidPass(t *testing.T) {
	t.Parallel()
	s := newSite(t, 2, 2)
	begun, goOn := make(chan struct{}, 100), make(chan struct{})
	s.looked = func(ctx context.Context, targets []reconcile.Target) {
		if targets[0].Source == "t00" {
			begun <- struct{}{}
			select {
			case <-goOn:
			case <-ctx.Done():
			}
		}
	}
	var first, second, third atomic.Int32
	w := s.world("t00")
	w.Close = func() { first.Add(1) }
	d := s.start(w)
	<-begun
	w = s.world()
	w.Close = func() { second.Add(1) }
	d.Use(w)
	s.walked(2, "t01")
	if first.Load() != 0 {
		t.Error("the world was closed under a pass")
	}
	close(goOn)
	s.eventually("the first world is closed", func() bool { return first.Load() == 1 })
	s.walked(2)
	d.stop()
	w = s.world()
	w.Close = func() { third.Add(1) }
	d.Use(w)
	if got := [3]int32{first.Load(), second.Load(), third.Load()}; got != [3]int32{1, 1, 1} {
		t.Errorf("the worlds were closed %v times", got)
	}
}
