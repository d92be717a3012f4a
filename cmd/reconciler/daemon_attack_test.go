package main

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim"
	"github.com/molecule-ai/billing-reconciler/internal/tcpfault"
	"github.com/molecule-ai/billing-reconciler/store"
)

// attacked is a fleet on whose platform each call meets a fate of the test's.
func attacked(t testing.TB, opts fleetsim.Options, fate func(tenant, id string) fleetsim.Nasty) *watched {
	t.Helper()
	opts.Platform = hasty
	opts.Platform.Fixed, opts.Platform.Nasty = true, fate
	w := watch(t, opts)
	w.alter(enforcing("max_in_flight: 8\n  max_per_hour: 1000\n  max_fleet_percent: 100"), swap("policy: {", "policy: {surge: {percent: 0}, "))
	return w
}

// forgets breaks members as the platform's bug does.
func (w *watched) forgets(members ...*fleetsim.Member) {
	w.t.Helper()
	for _, m := range members {
		if err := w.sim.Break(m, fleetsim.ReprovisionedEmpty); err != nil {
			w.t.Fatal(err)
		}
	}
}

// gets waits until a query of the state database finds anything.
func (w *watched) gets(sql string, args ...any) {
	w.t.Helper()
	if !awaits(patience, func() bool { return len(w.strings(sql, args...)) > 0 }) {
		w.t.Fatalf("never found: %s; actions %+v", sql, w.actions())
	}
}

// once checks that of all workspaces each was restarted once at most.
func (w *watched) once() {
	w.t.Helper()
	for id, n := range acted(w.sim.RestartCalls()) {
		if n > 1 {
			w.t.Errorf("%s was restarted %d times for one drift: %+v", id, n, w.sim.RestartCalls())
		}
	}
}

// A replica freezes at some point of an action and wakes when another has taken
// over and has settled it: it calls nothing, and nothing is done twice.
func TestDaemonFrozenInAnAction(t *testing.T) {
	for name, at := range map[string]string{
		"when it writes that it calls": "SET state = 'calling'",
		"when it asks once more":       "FROM ramps WHERE cause",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := attacked(t, fleetsim.Options{Workspaces: 4, Tenants: 1}, nil)
			plain := w.text
			line := w.lead(w.sim.StateURL)
			one := w.start().ready()
			var begins, frozen atomic.Bool
			line.Obey(func(_ int, said []byte) tcpfault.Fate {
				begins.CompareAndSwap(false, bytes.Contains(said, []byte("SET state = 'calling'")))
				if begins.Load() && bytes.Contains(said, []byte(at)) && frozen.CompareAndSwap(false, true) {
					_ = one.cmd.Process.Signal(syscall.SIGSTOP)
				}
				return tcpfault.Carried
			})
			w.forgets(w.guarded(1)...)
			if !awaits(patience, frozen.Load) {
				t.Fatalf("it never came to %q: %+v", at, w.actions())
			}
			line.Obey(nil)
			w.bury(one)
			w.text = plain
			w.start()
			w.gets("SELECT 1::text FROM actions WHERE outcome = 'cured'")
			settled := len(w.sim.RestartCalls())
			one.signal(syscall.SIGCONT)
			w.passes(3)
			if calls := w.sim.RestartCalls(); len(calls) != settled {
				t.Errorf("%d calls when it was settled, then %+v", settled, calls)
			}
			w.rest()
			w.once()
			w.holds()
		})
	}
}

// A replica freezes while the platform does what it asked for, before it can
// write down the answer.
func TestDaemonFrozenInTheCall(t *testing.T) {
	t.Parallel()
	var one *replica
	var frozen atomic.Bool
	w := attacked(t, fleetsim.Options{Workspaces: 4, Tenants: 1}, func(string, string) fleetsim.Nasty {
		if frozen.CompareAndSwap(false, true) {
			_ = one.cmd.Process.Signal(syscall.SIGSTOP)
		}
		return fleetsim.NotNasty
	})
	one = w.start().ready()
	w.forgets(w.guarded(1)...)
	if !awaits(patience, frozen.Load) {
		t.Fatalf("no call: %+v", w.actions())
	}
	w.bury(one)
	w.start()
	w.gets("SELECT 1::text FROM actions WHERE outcome = 'cured'")
	one.signal(syscall.SIGCONT)
	w.passes(2)
	w.rest()
	if n := len(w.sim.RestartCalls()); n != 1 {
		t.Errorf("%d calls, want 1: %+v", n, w.actions())
	}
	w.holds()
}

// The line to the state database breaks when the platform is called, and is
// gone for a while: answers that could not be written are found out by looking.
func TestDaemonLosesItsDatabaseAtTheCall(t *testing.T) {
	t.Parallel()
	var line *tcpfault.Line
	var calls atomic.Int32
	w := attacked(t, fleetsim.Options{Workspaces: 40, Tenants: 1}, func(string, string) fleetsim.Nasty {
		if n := calls.Add(1); n == 2 {
			line.Refuse(true)
			line.Cut()
			time.AfterFunc(8*time.Second, func() { line.Refuse(false) })
		}
		return fleetsim.NotNasty
	})
	line = w.lead(w.sim.StateURL)
	w.start().ready()
	w.passes(1)
	w.proves("model_empty")
	members := w.guarded(8)
	w.forgets(members...)
	if !awaits(patience, func() bool { return len(acted(w.sim.RestartCalls())) == len(members) }) {
		t.Errorf("%d were restarted: %+v", len(acted(w.sim.RestartCalls())), w.actions())
	}
	w.opens()
	w.rest()
	w.once()
	w.holds()
}

// A platform that answers no call holds up neither passes nor a pause, and when
// it is well again so is the fleet.
func TestDaemonWithAPlatformThatHangs(t *testing.T) {
	t.Parallel()
	var well atomic.Bool
	w := attacked(t, fleetsim.Options{Workspaces: 40, Tenants: 2}, func(string, string) fleetsim.Nasty {
		if well.Load() {
			return fleetsim.NotNasty
		}
		return fleetsim.NastyHang
	})
	p := w.start().ready()
	w.passes(1)
	w.proves("model_empty")
	members := w.guarded(4)
	w.forgets(members...)
	if !awaits(patience, func() bool { return len(w.sim.RestartCalls()) >= 2 }) {
		t.Fatalf("no calls: %+v", w.actions())
	}
	w.passes(2)
	p.types("pause", "--reason", "the platform hangs")
	n := len(w.sim.RestartCalls())
	w.passes(2)
	if got := len(w.sim.RestartCalls()); got != n {
		t.Errorf("%d calls after the pause", got-n)
	}
	well.Store(true)
	p.types("resume", "--reason", "it is well")
	if !awaits(2*patience, func() bool { return len(w.open()) == 0 }) {
		t.Errorf("still drifted: %v; %+v", w.open(), w.actions())
	}
	w.rest()
	w.once()
	w.holds()
}

// Switched off while actions are queued, calling and proving: nothing more is
// called, and what was called is proven to its end.
func TestDaemonSwitchedOffAmidActions(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	throttled := map[string]bool{}
	w := attacked(t, fleetsim.Options{Workspaces: 40, Tenants: 1}, func(_, id string) fleetsim.Nasty {
		mu.Lock()
		defer mu.Unlock()
		if len(throttled) < 3 || throttled[id] {
			throttled[id] = true
			return fleetsim.NastyThrottle
		}
		return fleetsim.NotNasty
	})
	p := w.start().ready()
	w.passes(1)
	w.proves("model_empty")
	w.forgets(w.guarded(8)...)
	w.gets("SELECT 1::text FROM actions WHERE state IN ('proving', 'ended')")
	p.rewrite(strings.Replace(w.text, "mode: enforce", "mode: off", 1))
	if !awaits(patience, func() bool {
		return strings.Contains(p.said(), "msg=reloaded") || p.status().Remediation.Modes[w.sim.Tenants[0].Name] == "off"
	}) {
		t.Fatal("not reloaded")
	}
	w.passes(3) // turns that had begun have ended
	n := len(w.sim.RestartCalls())
	w.rest()
	if got := len(w.sim.RestartCalls()); got != n {
		t.Errorf("%d calls after it was switched off", got-n)
	}
	for _, a := range w.actions() {
		if a.Outcome != drift.Cured && a.Outcome != drift.Superseded {
			t.Errorf("action %d: %s: %s", a.ID, a.Outcome, a.Words)
		}
	}
	w.once()
	w.holds()
}

// What a decision rested on changes before the call: it is superseded.
func TestDaemonCallsNothingOnOldInputs(t *testing.T) {
	t.Parallel()
	var w *watched
	var m *fleetsim.Member
	var calls atomic.Int32
	w = attacked(t, fleetsim.Options{Workspaces: 4, Tenants: 1}, func(string, string) fleetsim.Nasty {
		if calls.Add(1) == 1 {
			w.tenant(m.Tenant, fmt.Sprintf("UPDATE workspace_secrets SET updated_at = now() WHERE workspace_id = '%s'", m.Row.ID))
			return fleetsim.NastyThrottle
		}
		return fleetsim.NotNasty
	})
	m = w.guarded(1)[0]
	w.start()
	w.forgets(m)
	w.gets("SELECT 1::text FROM actions WHERE outcome <> ''")
	if a := w.actions()[0]; a.Outcome != drift.Superseded || a.Calls != 1 {
		t.Errorf("called %d times, %s: %s", a.Calls, a.Outcome, a.Words)
	}
	w.holds()
}

// Ended in good order while the platform keeps it waiting.
func TestDaemonEndsAmidACall(t *testing.T) {
	t.Parallel()
	var p *replica
	var calls atomic.Int32
	w := attacked(t, fleetsim.Options{Workspaces: 4, Tenants: 1}, func(string, string) fleetsim.Nasty {
		if calls.Add(1) == 1 {
			_ = p.cmd.Process.Signal(syscall.SIGTERM)
			return fleetsim.NastyHang
		}
		return fleetsim.NotNasty
	})
	p = w.start().ready()
	w.forgets(w.guarded(1)...)
	if !awaits(patience, func() bool { return calls.Load() > 0 }) {
		t.Fatal("no call")
	}
	<-p.over
	if code := p.cmd.ProcessState.ExitCode(); code != exitOK {
		t.Errorf("exit %d", code)
	}
	if a := w.actions()[0]; a.State != store.ActionProving {
		t.Errorf("left in state %s: %s", a.State, a.Words)
	}
	w.start()
	w.gets("SELECT 1::text FROM actions WHERE outcome = 'cured'")
	w.rest()
	w.once()
	w.holds()
}

// A workspace is deleted, row and all, while it is being proven: its action ends.
func TestDaemonProvesWhatIsDeleted(t *testing.T) {
	t.Parallel()
	w := attacked(t, fleetsim.Options{Workspaces: 8, Tenants: 1}, func(string, string) fleetsim.Nasty { return fleetsim.NastyLost })
	w.alter(swap("lost_after: 1m", "lost_after: 10s"))
	m := w.guarded(1)[0]
	w.start()
	w.forgets(m)
	w.gets("SELECT 1::text FROM actions WHERE state = 'proving'")
	w.tenant(m.Tenant, fmt.Sprintf("DELETE FROM workspaces WHERE id = '%s'", m.Row.ID))
	w.rest()
	if a := w.actions()[0]; a.Outcome != drift.Superseded {
		t.Errorf("%s: %s", a.Outcome, a.Words)
	}
	if stopped := w.strings("SELECT stopped FROM ramps WHERE stopped <> '' OR opened > 0"); len(stopped) > 0 {
		t.Errorf("its cause does not go on: %v", stopped)
	}
	w.holds()
}
