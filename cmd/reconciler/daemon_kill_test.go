package main

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/internal/fleetsim"
	"github.com/molecule-ai/billing-reconciler/internal/tcpfault"
)

// churn breaks and mends members until it is stopped; then it gives those that
// are broken.
func (w *watched) churn(members []*fleetsim.Member, seed uint64) (stop func() []*fleetsim.Member) {
	random := rand.New(rand.NewPCG(seed, 7))
	end := make(chan struct{})
	broken := map[*fleetsim.Member]bool{}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			select {
			case <-end:
				return
			case <-time.After(time.Duration(50+random.IntN(250)) * time.Millisecond):
			}
			m, fault := members[random.IntN(len(members))], fleetsim.Fault("")
			if broken[m] = !broken[m]; broken[m] {
				fault = faultFor(m)
			}
			if err := w.sim.Break(m, fault); err != nil { // no fault: mended
				w.t.Error(err)
				return
			}
		}
	})
	return sync.OnceValue(func() (list []*fleetsim.Member) {
		close(end)
		work.Wait()
		for m, yes := range broken {
			if yes {
				list = append(list, m)
			}
		}
		return list
	})
}

// Killed at 50 moments, half of them anywhere in time and half within what it
// says to its database, a daemon loses nothing and tells nothing twice.
func TestDaemonKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	kills := 50
	if testing.Short() {
		kills = 8
	}
	w := watch(t, fleetsim.Options{Workspaces: 16, Tenants: 2})
	line := w.lead(w.sim.StateURL)
	line.Delay(time.Millisecond) // so that more of the time is spent within transactions
	members := w.breakable()
	steady, churning := members[0], members[1:]
	w.breaks(steady)
	first := w.start()
	w.opens(steady)
	first.kill()
	w.bury(first)
	stop := w.churn(churning, 1)
	defer stop()
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 3))
	within, longer := 0, 1
	enough := func() bool { return len(w.events("drift_")) >= kills/4 }
	for i := 0; i < kills || i < 4*kills && !enough(); i++ { // where the machine is slow, until they have come to something
		p := w.start()
		if i%2 == 0 {
			time.Sleep(time.Duration(random.IntN(1600*longer)) * time.Millisecond)
		} else if p.diesWithin(line, (20+random.IntN(120))*longer) {
			within++
		}
		p.kill()
		line.Obey(nil)
		w.bury(p)
		w.holds()
		if len(w.events("drift_")) < i/3 && longer < 8 { // a busy machine: they die before they have come to anything
			longer++
		}
	}
	t.Logf("%d of %d kills within what was said to the database; %d events in all; lives %d times as long at the end",
		within, kills, len(w.events("drift_")), longer)
	if !enough() {
		t.Errorf("only %d events: the daemons did not live long enough to be interrupted", len(w.events("drift_")))
	}
	broken := append(stop(), steady)
	w.start()
	w.opens(broken...)
	w.passes(3)
	w.opens(broken...)
	w.holds()
	if told := w.strings("SELECT kind FROM events WHERE workspace = $1", steady.Row.ID); len(told) != 1 {
		t.Errorf("of a drift that stood all the time was told %v, want its opening alone", told)
	}
}

// diesWithin lets the process die at something that it says to its database,
// that number of sayings from now, just before or just after it arrives.
// False: it did not say so much.
func (p *replica) diesWithin(line *tcpfault.Line, left int) bool {
	var mu sync.Mutex
	fate := []tcpfault.Fate{tcpfault.Carried, tcpfault.Lost}[rand.IntN(2)]
	line.Obey(func(int, []byte) tcpfault.Fate {
		mu.Lock()
		defer mu.Unlock()
		if left--; left > 0 {
			return tcpfault.Carried
		}
		if left == 0 {
			_ = p.cmd.Process.Kill()
		}
		return fate
	})
	select {
	case <-p.over:
		return true
	case <-time.After(6 * time.Second):
		return false
	}
}
