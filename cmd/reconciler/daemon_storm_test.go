package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim"
	"github.com/molecule-ai/billing-reconciler/store"
)

// storm is what happens when much of a fleet drifts at once.
type storm struct {
	workspaces                 int // of the fleet
	broken                     int
	inFlight, perHour, percent int
	kills                      int
}

// flaky is a platform that fails in every way that leaves the workspace as it
// was, or acts and does not say so.
var flaky = map[fleetsim.Nasty]float64{fleetsim.NastyThrottle: .04, fleetsim.NastyDown: .04, fleetsim.NastyCut: .03,
	fleetsim.NastyCutAfter: .03, fleetsim.NastyFail: .03, fleetsim.NastyGarble: .03}

// A storm over three replicas that are killed at random, and a platform that
// fails: no budget is ever exceeded, by the platform's own book, and nobody is
// restarted twice for one drift.
func TestDaemonWeathersAStorm(t *testing.T) {
	t.Parallel()
	s := &storm{workspaces: 120, broken: 60, inFlight: 12, perHour: 45, percent: 15, kills: 4}
	if testing.Short() {
		s = &storm{workspaces: 40, broken: 16, inFlight: 6, perHour: 12, percent: 20, kills: 2}
	}
	s.run(t)
}

// BenchmarkStorm is the same with 2,000 workspaces at once. It takes minutes.
func BenchmarkStorm(b *testing.B) {
	if testing.Short() {
		b.Skip("takes a quarter of an hour")
	}
	for b.Loop() {
		s := storm{workspaces: 4000, broken: 2000, inFlight: 60, perHour: 1500, percent: 5, kills: 20}
		s.run(b)
	}
}

func (s *storm) run(t testing.TB) {
	book := filepath.Join(t.TempDir(), "restarts.jsonl")
	options := hasty
	options.Fixed, options.Dice, options.LogPath = true, flaky, book
	w := watch(t, fleetsim.Options{Workspaces: s.workspaces, Tenants: 3, Platform: options})
	w.alter(enforcing(fmt.Sprintf("attempts: 20\n  max_in_flight: %d\n  max_per_hour: %d\n  max_fleet_percent: %d", s.inFlight, s.perHour, s.percent)),
		swap("policy: {", "policy: {surge: {percent: 0}, "))
	replicas := []*replica{w.start(), w.start(), w.start()}
	w.passes(1)
	broken := w.guarded(s.broken)
	for _, m := range broken {
		if err := w.sim.Break(m, fleetsim.ReprovisionedEmpty); err != nil {
			t.Fatal(err)
		}
	}
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 9))
	began := time.Now()
	for range s.kills {
		time.Sleep(time.Duration(2000+random.IntN(4000)) * time.Millisecond)
		i := random.IntN(len(replicas))
		replicas[i].kill()
		replicas[i] = w.start()
	}
	want := min(s.perHour, s.broken)
	cured := func() int { return len(w.strings("SELECT 1::text FROM actions WHERE outcome = 'cured'")) }
	opened := func() int {
		return len(w.strings("SELECT 1::text FROM actions WHERE opened_at IS NOT NULL AND outcome NOT IN ('superseded', 'blocked')"))
	}
	for had := -1; cured() < s.broken && opened() < want; { // for as long as it goes on
		if had = opened() + cured(); !awaits(4*patience, func() bool { return opened()+cured() > had }) {
			t.Errorf("%d cured, %d opened, want %d, and no more", cured(), opened(), want)
			break
		}
	}
	w.rest()
	calls, err := fleetsim.ReadRestartCalls(book)
	if err != nil {
		t.Fatal(err)
	}
	s.judge(t, w, calls)
	t.Logf("%d calls, %d acted; %d cured, %d opened; %s from the storm's beginning", len(calls), len(acted(calls)), cured(), opened(), time.Since(began).Round(time.Second))
	w.holds()
}

// judge reads the platform's own book.
func (s *storm) judge(t testing.TB, w *watched, calls []fleetsim.RestartCall) {
	t.Helper()
	sizes := map[string]int{}
	for _, m := range w.sim.Members {
		sizes[m.Tenant.Name]++
	}
	if n := atOnce(calls, ""); n > s.inFlight {
		t.Errorf("%d under way at once, want max_in_flight %d", n, s.inFlight)
	}
	for tenant, size := range sizes {
		if n, most := atOnce(calls, tenant), (drift.Budget{Percent: s.percent}).Share(size); n > most {
			t.Errorf("%d of %d workspaces of %s under way at once, want %d", n, size, tenant, most)
		}
	}
	for id, n := range acted(calls) {
		if n > 1 {
			t.Errorf("%s was restarted %d times for one drift", id, n)
		}
	}
	if n := len(acted(calls)); n > s.perHour {
		t.Errorf("%d workspaces were restarted within an hour, want max_per_hour %d", n, s.perHour)
	}
}

// atOnce gives the most restarts of a tenant, or "" of all, that were under way
// at one moment.
func atOnce(calls []fleetsim.RestartCall, tenant string) (most int) {
	type edge struct {
		at   time.Time
		step int
	}
	var edges []edge
	for _, c := range calls {
		if !c.Acted || tenant != "" && c.Tenant != tenant {
			continue
		}
		edges = append(edges, edge{c.At, 1})
		if !c.Ended.IsZero() {
			edges = append(edges, edge{c.Ended, -1})
		}
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Or(a.at.Compare(b.at), a.step-b.step) })
	n := 0
	for _, e := range edges {
		n += e.step
		most = max(most, n)
	}
	return most
}

// Once a pause is acknowledged no call starts, whatever is queued and wherever
// an action has come to.
func TestDaemonCallsNothingOncePaused(t *testing.T) {
	t.Parallel()
	options := hasty
	options.Fixed = true
	w := watch(t, fleetsim.Options{Workspaces: 120, Tenants: 2, Platform: options})
	w.alter(enforcing("max_in_flight: 8\n  max_per_hour: 1000\n  max_fleet_percent: 100"), swap("policy: {", "policy: {surge: {percent: 0}, "))
	one, two := w.start(), w.start()
	w.spread(one, two)
	w.passes(1)
	w.proves("model_empty")
	for _, m := range w.guarded(40) {
		if err := w.sim.Break(m, fleetsim.ReprovisionedEmpty); err != nil {
			t.Fatal(err)
		}
	}
	everything := store.Scope{Kind: store.ScopeAll}
	for range 3 {
		begun := len(w.sim.RestartCalls())
		if !awaits(patience, func() bool { return len(w.sim.RestartCalls()) >= begun+3 }) {
			t.Fatalf("no calls: %+v", w.actions())
		}
		if _, err := w.store.Pause(t.Context(), store.Pause{Scope: everything, Reason: "stop", By: "ops"}); err != nil {
			t.Fatal(err)
		}
		acknowledged := time.Now()
		waiting := len(w.strings("SELECT 1::text FROM actions WHERE state IN ('queued', 'calling')"))
		w.passes(2)
		for _, c := range w.sim.RestartCalls() {
			if c.At.After(acknowledged) {
				t.Errorf("call %d came %s after the pause was acknowledged", c.Number, c.At.Sub(acknowledged))
			}
		}
		t.Logf("paused after %d calls, with %d actions on their way", len(w.sim.RestartCalls()), waiting)
		if _, err := w.store.Resume(t.Context(), everything, "ops", "go on"); err != nil {
			t.Fatal(err)
		}
	}
	w.pausedBehindTheSwitch()
	w.holds()
}

// pausedBehindTheSwitch pauses everything while an action has been looked at
// and judged, and waits for the switch to call: it must not.
func (w *watched) pausedBehindTheSwitch() {
	w.t.Helper()
	tx, err := w.db.Begin(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(w.t.Context())) }()
	if _, err := tx.Exec(w.t.Context(), "SELECT pg_advisory_xact_lock(x'7265636e'::int, 1)"); err != nil {
		w.t.Fatal(err)
	}
	made := len(w.sim.RestartCalls()) // none is being made: the switch is ours alone
	if !awaits(patience, func() bool {
		return len(w.strings("SELECT 'x' FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND classid = x'7265636e'::int AND objid = 1 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")) > 0
	}) {
		w.t.Fatalf("nobody waits to call: %+v", w.actions())
	}
	_, err = tx.Exec(w.t.Context(), "INSERT INTO pauses (kind, source, workspace, observing, reason, by, at) VALUES ('all', '', '', false, 'stop', 'ops', now())")
	if err = errors.Join(err, tx.Commit(w.t.Context())); err != nil {
		w.t.Fatal(err)
	}
	w.passes(2)
	if n := len(w.sim.RestartCalls()); n != made {
		w.t.Errorf("%d calls were made by those who waited for the switch while it was turned", n-made)
	}
}

// proves makes a cause one of which much has been proven, so that many actions
// may be under way.
func (w *watched) proves(cause string) {
	w.t.Helper()
	if _, err := w.db.Exec(w.t.Context(), "INSERT INTO ramps VALUES ($1, 10, 10, 0, 0, '', NULL, '', '', '', NULL, now())", cause); err != nil {
		w.t.Fatal(err)
	}
}
