package ssm_test

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim/ssmsim"
	"github.com/molecule-ai/billing-reconciler/observe/ssm"
)

// crowd has many callers ask at one time, each about so many, and counts who
// was observed.
func (r *rig) crowd(ctx context.Context, t testing.TB, all []string, each int, apart time.Duration) int {
	t.Helper()
	var mu sync.Mutex
	var callers sync.WaitGroup
	observed := 0
	for from := 0; from < len(all); from += each {
		ids := all[from:min(len(all), from+each)]
		callers.Go(func() {
			n := count(r.observe(ctx, t, ids), drift.Observed)
			mu.Lock()
			defer mu.Unlock()
			observed += n
		})
		time.Sleep(apart)
	}
	callers.Wait()
	return observed
}

func (f *fake) made() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := map[string]int{}
	for operation, calls := range f.calls {
		n[operation] = len(calls)
	}
	return n
}

// A thousand small sources cost no more calls than a big one, whether they come
// at once or one after the other.
func TestManyCallersCostNoMoreThanOne(t *testing.T) {
	for _, row := range []struct {
		name  string
		tag   string
		apart time.Duration
	}{
		{"at once", "", 0},
		{"within half a minute", "", 30 * time.Millisecond},
		{"by tag", "Role=workspace", 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			calls := map[int]map[string]int{}
			for _, each := range []int{10_000, 10} {
				synctest.Test(t, func(t *testing.T) {
					f := newFake()
					f.all = ids(10_000)
					r := f.rig(ssm.Options{Gather: 2 * time.Second, Tag: row.tag})
					if n := r.crowd(t.Context(), t, f.all, each, row.apart); n != 10_000 {
						t.Errorf("%d observed of 10,000", n)
					}
					calls[each] = f.made()
				})
			}
			t.Logf("one caller %v, a thousand %v", calls[10_000], calls[10])
			for operation, one := range calls[10_000] {
				if many := calls[10][operation]; many > one {
					t.Errorf("%s: %d calls for one caller, %d for a thousand", operation, one, many)
				}
			}
		})
	}
}

// Company is waited for, but not for ever.
func TestALoneCallerWaitsForCompanyOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, began := newFake(), time.Now()
		f.rig(ssm.Options{Gather: 2 * time.Second}).observe(t.Context(), t, ids(10))
		if first := f.calls["DescribeInstanceInformation"][0].Sub(began); first != 2*time.Second {
			t.Errorf("asked after %s, want 2 s", first)
		}
		if first := f.calls["SendCommand"][0].Sub(began); first > 3*time.Second {
			t.Errorf("sent after %s, though nobody else was there", first)
		}
	})
}

func TestNewcomersDoNotKeepAnybodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, began := newFake(), time.Now()
		r := f.rig(ssm.Options{Gather: 2 * time.Second})
		r.crowd(t.Context(), t, ids(30), 1, 1900*time.Millisecond)
		if first := f.calls["DescribeInstanceInformation"][0].Sub(began); first > 10*time.Second {
			t.Errorf("asked after %s, want five times 2 s at most", first)
		}
	})
}

// What is not gathered goes at once, whoever else asks.
func TestWithoutGatheringNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		r := f.rig(ssm.Options{})
		var pass sync.WaitGroup
		pass.Go(func() { r.observe(t.Context(), t, ids(5000)) })
		time.Sleep(10 * time.Second)
		began := time.Now()
		r.observe(t.Context(), t, []string{id(9000)})
		if took := time.Since(began); took > 35*time.Second {
			t.Errorf("took %s: longer than the queue was", took)
		}
		pass.Wait()
	})
}

// Whose own inventory is back waits a limited time for that of others, even
// where it hangs.
func TestASlowInventoryHoldsUpItsOwnCallerAlone(t *testing.T) {
	for _, row := range []struct {
		name          string
		gather, leave time.Duration // leave: when the slow one does
		within        time.Duration
	}{
		{"nobody gathers", 0, time.Hour, 5 * time.Second},
		{"five times as long as is gathered", time.Second, time.Hour, 11 * time.Second},
		{"no longer than the slow one stays", 10 * time.Second, 15 * time.Second, 20 * time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), row.leave)
				defer cancel()
				f := newFake()
				f.refuse = func(operation string, batch []string) error {
					if operation == "DescribeInstanceInformation" && len(batch) == 50 {
						time.Sleep(time.Minute)
					}
					return nil
				}
				r := f.rig(ssm.Options{Gather: row.gather})
				var slow sync.WaitGroup
				slow.Go(func() { r.observe(ctx, t, ids(100)) })
				time.Sleep(50 * time.Millisecond) // so that no call is shared
				began := time.Now()
				r.observe(t.Context(), t, ids(110)[100:])
				if took := time.Since(began); took > row.within {
					t.Errorf("took %s, want %s at most", took, row.within)
				}
				slow.Wait()
			})
		})
	}
}

// What a person waits for overtakes a pass: at the limiter, at the places in
// flight, and where every call of the pass hangs.
func TestUrgentOvertakesAPass(t *testing.T) {
	for _, row := range []struct {
		name    string
		opts    ssm.Options
		hang    bool
		running time.Duration
	}{
		{"at the limiter", ssm.Options{Gather: 2 * time.Second}, false, 2 * time.Second},
		{"at the places in flight", ssm.Options{InFlight: 3}, false, time.Minute},
		{"where calls hang", ssm.Options{}, true, 2 * time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				f := newFake()
				f.running = row.running
				f.refuse = func(_ string, batch []string) error {
					if row.hang && len(batch) == 50 {
						<-ctx.Done()
					}
					return nil
				}
				r := f.rig(row.opts)
				var pass sync.WaitGroup
				pass.Go(func() { r.observe(ctx, t, ids(10_000)) })
				time.Sleep(10 * time.Second)
				f.mu.Lock()
				f.running = 2 * time.Second
				f.mu.Unlock()
				began, seen := time.Now(), 0
				cmd := command
				cmd.Urgent = true
				r.pool.Observe(t.Context(), cmd, []string{id(20_000)}, func(_ string, o drift.Observation) {
					if o.State == drift.Observed {
						seen++
					}
				})
				if took := time.Since(began); seen != 1 || took > 4*time.Second {
					t.Errorf("%d observed after %s, want one within 4 s", seen, took)
				}
				cancel()
				pass.Wait()
			})
		})
	}
}

func TestUrgentAddressesOvertakeAPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		r := f.rig(ssm.Options{Gather: 2 * time.Second})
		var pass sync.WaitGroup
		pass.Go(func() { r.observe(t.Context(), t, ids(5000)) })
		time.Sleep(5 * time.Second)
		began := time.Now()
		r.pool.UrgentAddresses(t.Context(), []string{id(20_000)}, func(string, drift.Observation) {})
		if took := time.Since(began); took > time.Second {
			t.Errorf("took %s", took)
		}
		pass.Wait()
	})
}

// shared starts two callers whose instances share a batch: the first half of
// ids is the first one's.
func (r *rig) shared(ctx context.Context, t *testing.T, ids []string) (mine, others chan map[string]drift.Observation) {
	t.Helper()
	mine, others = make(chan map[string]drift.Observation, 1), make(chan map[string]drift.Observation, 1)
	go func() { mine <- r.observe(ctx, t, ids[:len(ids)/2]) }()
	go func() { others <- r.observe(t.Context(), t, ids[len(ids)/2:]) }()
	return mine, others
}

func TestASlowInstanceHoldsUpItsOwnCallerAlone(t *testing.T) {
	r := connect(t, ssmsim.Options{}, ssm.Options{Gather: 50 * time.Millisecond, Timeout: time.Minute})
	ids := r.fleet(40)
	r.sim.Set(ssmsim.Instance{ID: ids[0], Never: true})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	slow, others := r.shared(ctx, t, ids)
	select {
	case seen := <-others:
		if n := count(seen, drift.Observed); n != 20 {
			t.Errorf("%d observed of the others' 20", n)
		}
	case <-slow:
		t.Fatal("the slow one was answered first")
	}
	cancel()
	if n := count(<-slow, drift.Observed); n != 19 {
		t.Errorf("%d observed, want all 19 that had answered when the caller left", n)
	}
	if n := r.sim.Calls()["SendCommand"]; n != 1 {
		t.Errorf("%d commands sent, want one shared: the test shows nothing", n)
	}
	if n := r.sim.Cancelled(); n != 1 {
		t.Errorf("%d commands cancelled, want the one that nobody waits for any more", n)
	}
}

// The slow one's caller has left: what the others have got is fetched, and the
// rest is not waited for.
func TestNobodyWaitsForTheSlowOneAnyMore(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := connect(t, ssmsim.Options{Fail: func(operation string, _ int) *ssmsim.Failure {
		if operation == "ListCommands" {
			cancel()
		}
		return nil
	}}, ssm.Options{Gather: 50 * time.Millisecond, Timeout: time.Minute})
	ids := r.fleet(40)
	r.sim.Set(ssmsim.Instance{ID: ids[0], Never: true})
	slow, others := r.shared(ctx, t, ids)
	<-slow
	if n := count(<-others, drift.Observed); n != 20 {
		t.Errorf("%d observed of the others' 20", n)
	}
	r.pool.Close()
	if n := r.sim.Cancelled(); n != 1 {
		t.Errorf("%d commands cancelled, want the one that nobody waits for any more", n)
	}
}

func TestACallerWhoLeavesTakesNobodyAlong(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := connect(t, ssmsim.Options{Runner: slowly{}, Fail: func(operation string, _ int) *ssmsim.Failure {
		if operation == "ListCommands" {
			cancel()
		}
		return nil
	}}, ssm.Options{Gather: 50 * time.Millisecond})
	left, stayed := r.shared(ctx, t, r.fleet(40))
	if n := count(<-left, drift.Observed); n == 20 {
		t.Error("all were observed before the caller left: the test shows nothing")
	}
	if n := count(<-stayed, drift.Observed); n != 20 {
		t.Errorf("%d observed of the 20 who were waited for", n)
	}
	if n := r.sim.Cancelled(); n != 0 {
		t.Errorf("%d commands cancelled, which somebody waited for", n)
	}
}

// slowly answers after a while, so that something can happen meanwhile.
type slowly struct{}

func (slowly) Run(context.Context, string, string) (string, int) {
	time.Sleep(20 * time.Millisecond)
	return "good", 0
}

// A caller that is slow to take answers holds up itself.
func TestACallerWhoDoesNotTakeHisAnswers(t *testing.T) {
	r := connect(t, ssmsim.Options{}, ssm.Options{Gather: 50 * time.Millisecond})
	ids, release, done := r.fleet(40), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		r.pool.Observe(t.Context(), command, ids[:20], func(string, drift.Observation) { <-release })
	}()
	if n := count(r.observe(t.Context(), t, ids[20:]), drift.Observed); n != 20 {
		t.Errorf("%d observed of 20", n)
	}
	close(release)
	<-done
}

// What is wrong with one command does not end the looks of another.
func TestARefusedDocumentIsItsOwnCallersMatter(t *testing.T) {
	r := connect(t, ssmsim.Options{}, ssm.Options{Gather: 50 * time.Millisecond})
	ids, refused := r.fleet(40), make(chan int)
	go func() {
		cmd, n := command, 0
		cmd.Document = "nobodys"
		r.pool.Observe(t.Context(), cmd, ids[:20], func(_ string, o drift.Observation) {
			if strings.Contains(o.Reason, "there is no document nobodys") {
				n++
			}
		})
		refused <- n
	}()
	if n := count(r.observe(t.Context(), t, ids[20:]), drift.Observed); n != 20 {
		t.Errorf("%d observed of 20", n)
	}
	if n := <-refused; n != 20 {
		t.Errorf("%d told why, want 20", n)
	}
}

// Who asks for addresses does not mind that answers can't be read.
func TestADeniedReadIsNotTheInventorysMatter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.refuse = func(operation string, _ []string) error {
			if operation == "ListCommandInvocations" {
				return refusal("AccessDeniedException")
			}
			return nil
		}
		r := f.rig(ssm.Options{})
		var pass sync.WaitGroup
		pass.Go(func() {
			for _, o := range r.observe(t.Context(), t, ids(100)) {
				if !strings.Contains(o.Reason, "not allowed to call ssm:ListCommandInvocations") {
					t.Errorf("%q", o.Reason)
				}
			}
		})
		r.pool.Addresses(t.Context(), ids(5000), func(id string, o drift.Observation) {
			if o.State != drift.NotAsked {
				t.Fatalf("%s: %s (%s)", id, o.State, o.Reason)
			}
		})
		pass.Wait()
	})
}

// Callers with other parameters share the inventory and nothing else.
func TestOtherParametersAreAnotherCommand(t *testing.T) {
	r := connect(t, ssmsim.Options{}, ssm.Options{Gather: 100 * time.Millisecond})
	ids := r.fleet(20)
	var callers sync.WaitGroup
	for _, text := range []string{"true", "false"} {
		callers.Go(func() {
			cmd := command
			cmd.Parameters = map[string][]string{"commands": {text}}
			r.pool.Observe(t.Context(), cmd, ids, func(id string, o drift.Observation) {
				if o.State != drift.Observed {
					t.Errorf("%s: %s", id, o.Reason)
				}
			})
		})
	}
	callers.Wait()
	if calls := r.sim.Calls(); calls["DescribeInstanceInformation"] != 1 || calls["SendCommand"] != 2 {
		t.Errorf("called %v, want one inventory and two commands", calls)
	}
}

// A crowd over HTTP against an endpoint that throttles, shows late and in part,
// and refuses batches for instances that went; one caller leaves in the middle.
func TestACrowdWithEverythingAtOnce(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	limits := map[string]float64{"SendCommand": 15, "ListCommands": 15, "ListCommandInvocations": 15, "DescribeInstanceInformation": 15}
	var r *rig
	r = connect(t, ssmsim.Options{Rate: limits, Hide: 50 * time.Millisecond, Short: true, Terse: true, Parallel: 20, Fail: func(operation string, n int) *ssmsim.Failure {
		if operation == "SendCommand" && n == 2 {
			r.sim.Set(ssmsim.Instance{ID: id(100), Ping: "Inactive"})
			r.sim.Set(ssmsim.Instance{ID: id(455), Ping: "Inactive"})
			cancel()
		}
		return nil
	}}, ssm.Options{Rate: 30, Gather: 100 * time.Millisecond, Timeout: 10 * time.Second})
	ids := r.fleet(500)
	want := map[string]drift.State{}
	for n, i := range ids {
		want[i] = r.afflict(n, i)
	}
	delete(want, id(100)) // gone by the time it is sent to, or not
	delete(want, id(455))
	var leaver, callers sync.WaitGroup
	leaver.Go(func() { r.observe(ctx, t, ids[300:400]) })
	random := rand.New(rand.NewPCG(1, 1))
	for range 30 {
		some := make([]string, 20)
		for i := range some {
			some[i] = ids[random.IntN(len(ids))]
		}
		callers.Go(func() {
			for i, o := range r.observe(t.Context(), t, some) {
				if state, known := want[i]; known && o.State != state {
					t.Errorf("%s: %s (%s), want %s", i, o.State, o.Reason, state)
				}
			}
		})
	}
	callers.Wait()
	leaver.Wait()
}

func TestCloseEndsWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.running = 0
		r := f.rig(ssm.Options{Gather: time.Second})
		var callers sync.WaitGroup
		for n := range 4 {
			callers.Go(func() {
				for _, o := range r.observe(t.Context(), t, ids(200)[n*50:][:50]) {
					if o.Reason != "interrupted before an answer came" {
						t.Errorf("%s %q", o.State, o.Reason)
					}
				}
			})
		}
		time.Sleep(10 * time.Second)
		r.pool.Close()
		if f.cancelled != 4 {
			t.Errorf("%d commands cancelled when closed, want 4", f.cancelled)
		}
		callers.Wait()
		calls := f.made()
		r.observe(t.Context(), t, ids(3))
		r.pool.Close()
		if after := f.made(); after["DescribeInstanceInformation"] != calls["DescribeInstanceInformation"] {
			t.Error("asked after it was closed")
		}
	})
}
