package store_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

var (
	everything  = store.Scope{Kind: store.ScopeAll}
	thisSource  = store.Scope{Kind: store.ScopeSource, Source: source}
	otherSource = store.Scope{Kind: store.ScopeSource, Source: "other"}
	workspace1  = store.Scope{Kind: store.ScopeWorkspace, Source: source, Workspace: ws(1)}
	workspace2  = store.Scope{Kind: store.ScopeWorkspace, Source: source, Workspace: ws(2)}
)

func (r *replica) pause(scope store.Scope) {
	r.Helper()
	_, err := r.Pause(r.Context(), store.Pause{Scope: scope, Reason: "why", By: "ops"})
	r.must(err)
}

func (r *replica) kinds() (kinds []drift.EventKind) {
	r.Helper()
	events, err := r.Events(r.Context(), store.EventFilter{})
	r.must(err)
	for _, e := range events {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// hoursPass makes what ends within two hours have ended.
func (r *replica) hoursPass() {
	r.Helper()
	_, err := conn(r.TB, r.url).Exec(r.Context(), "UPDATE pauses SET expires_at = expires_at - interval '2 hours'; UPDATE suppressions SET expires_at = expires_at - interval '2 hours'")
	r.must(err)
}

func TestWhatAPauseStops(t *testing.T) {
	for rule, row := range map[string]struct {
		scope store.Scope
		stops bool
	}{
		"everything":          {everything, true},
		"its source":          {thisSource, true},
		"another source":      {otherSource, false},
		"itself":              {workspace1, true},
		"another workspace":   {workspace2, false},
		"one of another name": {store.Scope{Kind: store.ScopeWorkspace, Source: "other", Workspace: ws(1)}, false},
	} {
		r := newReplica(t, migrated(t), "a")
		r.pause(row.scope)
		started := false
		start := func(context.Context) error { started = true; return nil }
		err := r.Acting(t.Context(), source, ws(1), start)
		if started == row.stops || row.stops != errors.Is(err, store.ErrPaused) {
			t.Errorf("%s: started %t, %v", rule, started, err)
		}
		var paused *store.PausedError
		if row.stops && (!errors.As(err, &paused) || paused.Reason != "why" || paused.By != "ops") {
			t.Errorf("%s: does not say why: %v", rule, err)
		}
		was, err := r.Resume(t.Context(), row.scope, "ops", "done")
		if r.must(err); !was {
			t.Errorf("%s: was not paused", rule)
		}
		started = false
		if r.must(r.Acting(t.Context(), source, ws(1), start)); !started {
			t.Errorf("%s: not started after it was resumed", rule)
		}
	}
}

func TestActingGivesTheErrorOfItsStart(t *testing.T) {
	r := newReplica(t, migrated(t), "a")
	want := errors.New("refused")
	if err := r.Acting(t.Context(), source, ws(1), func(context.Context) error { return want }); !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
}

// Law 9: once a pause is acknowledged no start goes on and none begins, on any
// replica; and the many who act do not keep the one who pauses waiting.
func TestPauseWins(t *testing.T) {
	a := newReplica(t, migrated(t), "a")
	b := newReplica(t, a.url, "b")
	var acknowledged, running, after atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	for n := range 8 {
		r := []*replica{a, b}[n%2]
		workers.Go(func() {
			for ctx.Err() == nil {
				_ = r.Acting(context.WithoutCancel(ctx), source, ws(n), func(context.Context) error {
					running.Add(1)
					defer running.Add(-1)
					for range 3 { // a start that lasts
						after.Add(acknowledged.Load())
						time.Sleep(time.Millisecond)
					}
					return nil
				})
			}
		})
	}
	for range 15 {
		eventually(t, "something is being started", func() bool { return running.Load() > 0 })
		b.pause(everything)
		if n := running.Load(); n != 0 {
			t.Errorf("%d starts under way after the pause", n)
		}
		acknowledged.Store(1)
		_, err := a.Pauses(t.Context()) // time in which one could begin
		a.must(err)
		acknowledged.Store(0)
		_, err = a.Resume(t.Context(), everything, "ops", "")
		a.must(err)
	}
	stop()
	workers.Wait()
	if n := after.Load(); n != 0 {
		t.Errorf("%d starts went on after a pause", n)
	}
}

func TestAPauseIsReplacedAndEnds(t *testing.T) {
	r := newReplica(t, migrated(t), "a")
	r.pause(thisSource)
	end := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	second, err := r.Pause(t.Context(), store.Pause{Scope: thisSource, Observing: true, Reason: "longer", By: "other", ExpiresAt: &end})
	r.must(err)
	pauses, err := r.Pauses(t.Context())
	r.must(err)
	diff(t, []store.Pause{second}, pauses)
	for range 2 {
		_, err := r.Resume(t.Context(), thisSource, "ops", "")
		r.must(err)
	}
	diff(t, []drift.EventKind{drift.EventPaused, drift.EventPaused, drift.EventResumed}, r.kinds())
}

func TestWhatPausesNeed(t *testing.T) {
	r := newReplica(t, migrated(t), "a")
	past := time.Now().Add(-time.Minute)
	for rule, p := range map[string]store.Pause{
		"a reason":              {Scope: everything, By: "ops"},
		"somebody who wants it": {Scope: everything, Reason: "why"},
		"an end to come":        {Scope: everything, Reason: "why", By: "ops", ExpiresAt: &past},
		"a source":              {Scope: store.Scope{Kind: store.ScopeSource}, Reason: "why", By: "ops"},
		"a workspace's id":      {Scope: store.Scope{Kind: store.ScopeWorkspace, Source: source, Workspace: "x"}, Reason: "why", By: "ops"},
		"a kind":                {Reason: "why", By: "ops"},
	} {
		if _, err := r.Pause(t.Context(), p); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%s: %v", rule, err)
		}
	}
	diff(t, []drift.EventKind(nil), r.kinds())
}

func TestWhatHasRunOutSaysSoOnce(t *testing.T) {
	r := newReplica(t, migrated(t), "a")
	fleet := r.keep(store.Fleet).Leases[0]
	end := time.Now().Add(time.Hour)
	_, err := r.Pause(t.Context(), store.Pause{Scope: everything, Reason: "why", By: "ops", ExpiresAt: &end})
	r.must(err)
	_, err = r.Suppress(t.Context(), store.Suppression{Source: source, Reason: "why", By: "ops", ExpiresAt: end})
	r.must(err)
	r.hoursPass()
	pauses, err := r.Pauses(t.Context())
	r.must(err)
	quiet, err := r.Suppressions(t.Context(), "")
	if r.must(err); len(pauses)+len(quiet) != 0 {
		t.Errorf("still in force: %v %v", pauses, quiet)
	}
	r.must(r.Acting(t.Context(), source, ws(1), func(context.Context) error { return nil }))
	if was, err := r.Resume(t.Context(), everything, "ops", ""); err != nil || was {
		t.Errorf("resumed what had run out: %t %v", was, err)
	}
	told := 0
	for range 2 {
		events, err := r.Expire(t.Context(), fleet)
		r.must(err)
		told += len(events)
	}
	if told != 2 {
		t.Errorf("told of %d, want 2", told)
	}
	diff(t, []drift.EventKind{drift.EventPaused, drift.EventSuppressed, drift.EventPauseExpired, drift.EventSuppressionEnded}, r.kinds())
	fleet.Token--
	if _, err := r.Expire(t.Context(), fleet); !errors.Is(err, store.ErrFenced) {
		t.Errorf("without the lease: %v", err)
	}
}

func TestAnExpiredPauseThatIsReplacedSaysSoToo(t *testing.T) {
	r := newReplica(t, migrated(t), "a")
	end := time.Now().Add(time.Hour)
	_, err := r.Pause(t.Context(), store.Pause{Scope: everything, Reason: "why", By: "ops", ExpiresAt: &end})
	r.must(err)
	r.hoursPass()
	r.pause(everything)
	diff(t, []drift.EventKind{drift.EventPaused, drift.EventPauseExpired, drift.EventPaused}, r.kinds())
}

func TestSuppressions(t *testing.T) {
	r, l := one(t)
	e := opened(1, 0)
	e.Findings = append(e.Findings, drift.Finding{Kind: drift.ModelMismatch, Severity: drift.Medium}, drift.Finding{Kind: drift.Underivable, Severity: drift.Low})
	id := r.apply(pass(l, 0, func(o *store.Outcome) {
		o.States, o.Episodes = []store.State{state(1, drifted)}, []store.EpisodeChange{e}
	})).Episodes[0]
	is := func(rule string, want bool) {
		t.Helper()
		d, err := r.Drift(t.Context(), id)
		if r.must(err); d.Suppressed != want {
			t.Errorf("%s: suppressed %t, want %t", rule, d.Suppressed, want)
		}
	}
	end := time.Now().Add(time.Hour)
	suppress := func(s store.Suppression) int64 {
		t.Helper()
		s.Reason, s.By, s.ExpiresAt = "why", "ops", end
		s, err := r.Suppress(t.Context(), s)
		r.must(err)
		return s.ID
	}
	is("nothing is suppressed", false)
	suppress(store.Suppression{Source: "other"})
	suppress(store.Suppression{Source: source, Workspace: ws(2)})
	suppress(store.Suppression{Source: source, Kind: drift.ModeMismatch})
	is("one kind of two", false)
	last := suppress(store.Suppression{Source: source, Workspace: ws(1), Kind: drift.ModelMismatch})
	is("all kinds that accuse", true)
	for _, want := range []bool{true, false} {
		if was, err := r.Unsuppress(t.Context(), last, "ops"); err != nil || was != want {
			t.Errorf("ended: %t %v, want %t", was, err, want)
		}
	}
	is("one ended", false)
	list, err := r.Suppressions(t.Context(), source)
	if r.must(err); len(list) != 2 || list[0].Workspace != ws(2) || list[1].Kind != drift.ModeMismatch {
		t.Errorf("in force: %+v", list)
	}
	events, err := r.Events(t.Context(), store.EventFilter{Kinds: []drift.EventKind{drift.EventUnsuppressed}})
	if r.must(err); len(events) != 1 || events[0].Name != "Agent 1" || events[0].By != "ops" {
		t.Errorf("events %+v", events)
	}
}
