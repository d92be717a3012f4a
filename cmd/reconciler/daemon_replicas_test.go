package main

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/internal/fleetsim"
	"github.com/molecule-ai/billing-reconciler/internal/tcpfault"
)

// takeover is what the contract promises from the death of a replica, or its
// falling silent, to others having its sources.
const takeover = 20 * time.Second

// spread waits until the replicas have all leases between them, and none more
// than its share.
func (w *watched) spread(replicas ...*replica) {
	w.t.Helper()
	all := len(w.sim.Tenants) + 1 // and the fleet's
	share := (all + len(replicas) - 1) / len(replicas)
	var held []string
	if !awaits(patience, func() bool {
		sum, even := 0, true
		held = nil
		for _, p := range replicas {
			mine := p.leases()
			sum, even = sum+len(mine), even && len(mine) <= share && len(mine) > 0
			held = append(held, fmt.Sprint(p.pid(), mine))
		}
		return sum == all && even
	}) {
		w.t.Fatalf("leases are not spread, %d for each at most: %v", share, held)
	}
}

// loses waits until others have all that a replica held, and gives how long
// that took; by the database, which is the one that decides.
func (w *watched) loses(p *replica, since time.Time) time.Duration {
	w.t.Helper()
	if !awaits(patience, func() bool {
		free := w.strings("SELECT source FROM leases l WHERE holder IS NULL OR NOT EXISTS (SELECT FROM replicas r WHERE r.id = l.holder)")
		return free != nil && len(free) == 0 && len(p.leases()) == 0
	}) {
		w.t.Fatalf("nobody took over %v", p.leases())
	}
	return time.Since(since)
}

func (w *watched) inTime(what string, took time.Duration) {
	w.t.Helper()
	w.t.Logf("%s: taken over after %s", what, took.Round(10*time.Millisecond))
	if took > takeover {
		w.t.Errorf("%s: taken over after %s, want at most %s", what, took, takeover)
	}
}

func TestDaemonReplicasShareAndTakeOver(t *testing.T) {
	t.Parallel()
	w := watch(t, fleetsim.Options{Workspaces: 24, Tenants: 6})
	members := w.breakable()
	one, two := w.start(), w.start()
	w.spread(one, two)
	three := w.start()
	w.spread(one, two, three)
	w.breaks(members[:3]...)
	w.opens(members[:3]...)

	begun := time.Now()
	three.stop()
	took := w.loses(three, begun)
	t.Logf("stopped in order: taken over after %s", took.Round(10*time.Millisecond))
	if took > 10*time.Second {
		t.Errorf("a replica that ended in order was waited for like a dead one: %s", took)
	}
	w.spread(one, two)

	w.mends(members[0])
	begun = time.Now()
	two.kill()
	w.inTime("kill -9", w.loses(two, begun))
	w.spread(one)
	w.opens(members[1:3]...)
	w.passes(2)
	w.holds()
	if opened := w.events("drift_opened"); len(opened) != 3 {
		t.Errorf("three drifts opened, and told was %v", opened)
	}
}

// A replica that is frozen in the middle of a transaction, the lease's row
// locked, loses its sources within the promised time, and writes nothing once
// it wakes.
func TestDaemonFrozenWithinATransaction(t *testing.T) {
	t.Parallel()
	w := watch(t, fleetsim.Options{Workspaces: 12, Tenants: 2})
	members := w.breakable()
	straight := w.text
	line := w.lead(w.sim.StateURL)
	frozen := w.start()
	w.opens()
	w.passes(1)
	w.text = straight
	other := w.start()
	w.spread(frozen, other)
	var once sync.Once
	at := make(chan time.Time, 1)
	line.Obey(func(_ int, said []byte) tcpfault.Fate {
		if bytes.Contains(said, []byte("FOR NO KEY UPDATE")) && bytes.Contains(said, []byte("SELECT token FROM leases")) {
			once.Do(func() {
				at <- time.Now()
				_ = frozen.cmd.Process.Signal(syscall.SIGSTOP)
			})
		}
		return tcpfault.Carried
	})
	w.breaks(members...) // so that every source has something to write
	begun := <-at
	w.inTime("SIGSTOP within a transaction", w.loses(frozen, begun))
	w.opens(members...)
	before := w.strings("SELECT id::text FROM events ORDER BY id")
	frozen.signal(syscall.SIGCONT)
	frozen.says("lease lost")
	w.spread(frozen, other) // it joins again
	w.passes(2)
	w.holds()
	if after := w.strings("SELECT id::text FROM events ORDER BY id"); len(after) != len(before) {
		t.Errorf("events before and after it woke: %d and %d", len(before), len(after))
	}
}

// Frozen at any moment, again and again, while the fleet churns: what one
// replica saw before it froze is never written over what another saw since.
func TestDaemonFrozenAtAnyMoment(t *testing.T) {
	t.Parallel()
	rounds := 8
	if testing.Short() {
		rounds = 2
	}
	w := watch(t, fleetsim.Options{Workspaces: 16, Tenants: 4})
	members := w.breakable()
	pair := []*replica{w.start(), w.start()}
	w.spread(pair...)
	stop := w.churn(members, 2)
	defer stop()
	for i := range rounds {
		p := pair[i%2]
		time.Sleep(time.Duration(97*i%900) * time.Millisecond) // anywhere in a pass
		p.signal(syscall.SIGSTOP)
		begun := time.Now()
		if i == 0 {
			w.inTime("SIGSTOP", w.loses(p, begun))
		} else { // the wait has been seen: now what comes after it
			awaits(takeover, func() bool {
				w.bury(p)
				return len(p.leases()) == 0
			})
			w.loses(p, begun)
		}
		w.passes(1)
		p.signal(syscall.SIGCONT)
		w.spread(pair...)
		w.holds()
	}
	broken := stop()
	w.opens(broken...)
	w.passes(3)
	w.opens(broken...)
	w.holds()
	lost := 0
	for _, p := range pair {
		lost += strings.Count(p.said(), "lease lost")
	}
	t.Logf("%d times a pass that had been frozen was refused; %d events", lost, len(w.events("drift_")))
}
