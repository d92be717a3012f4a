package store_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/molecule-ai/billing-reconciler/store"
)

func names(leases []store.Lease) []string {
	var list []string
	for _, l := range leases {
		list = append(list, l.Source)
	}
	return list
}

// soon is a time after which a silent replica is dead, short enough to wait for.
const soon = 300 * time.Millisecond

func (r *replica) keepFor(ttl time.Duration, want ...string) store.Keeping {
	r.Helper()
	k, err := r.Keep(r.Context(), r.me, want, ttl)
	r.must(err)
	return k
}

func TestSourcesAreSpreadOverTheReplicas(t *testing.T) {
	a := newReplica(t, migrated(t), "a")
	b := newReplica(t, a.url, "b")
	want := []string{"s1", "s2", "s3", "s4", store.Fleet}
	if got := a.keep(want...); len(got.Leases) != 5 || got.Excess != nil || len(got.Replicas) != 1 || got.Replicas[0].Name != "a" {
		t.Fatalf("alone: %+v", got)
	}
	if got := b.keep(want...); got.Leases != nil || len(got.Replicas) != 2 {
		t.Fatalf("nothing is free: %+v", got)
	}
	excess := a.keep(want...).Excess
	if len(excess) != 2 {
		t.Fatalf("excess %v, want 2: three are a fair share", excess)
	}
	a.must(a.Release(t.Context(), a.me, excess))
	if got := a.keep(want...); len(got.Leases) != 3 || got.Excess != nil {
		t.Errorf("took back what it had given up: %+v", got)
	}
	got := b.keep(want...)
	diff(t, names(excess), names(got.Leases))
	if got.Leases[0].Token <= excess[0].Token {
		t.Errorf("the token did not grow: %v after %v", got.Leases, excess)
	}
	b.must(b.Depart(t.Context(), b.me))
	if got := a.keep(want...); len(got.Leases) != 5 || len(got.Replicas) != 1 {
		t.Errorf("after the other departed: %+v", got)
	}
}

func TestWhatIsNoLongerWantedIsGivenUp(t *testing.T) {
	a := newReplica(t, migrated(t), "a")
	a.keep("s1", "s2")
	got := a.keep("s2")
	diff(t, []string{"s1"}, names(got.Excess))
}

func TestADeadReplicaIsSucceededAndCanWriteNothing(t *testing.T) {
	a := newReplica(t, migrated(t), "a")
	b := newReplica(t, a.url, "b")
	old := a.keep(source).Leases[0]
	if got := b.keep(source); got.Leases != nil {
		t.Fatalf("took what lives: %+v", got)
	}
	var l store.Lease
	eventually(t, "b takes over", func() bool {
		got := b.keepFor(soon, source).Leases
		if len(got) == 1 {
			l = got[0]
		}
		return len(got) == 1
	})
	b.apply(pass(l, 1, nil))
	if _, err := a.Apply(t.Context(), pass(old, 2, nil)); !errors.Is(err, store.ErrFenced) {
		t.Errorf("the old holder wrote: %v", err)
	}
	if _, err := a.Load(t.Context(), old); !errors.Is(err, store.ErrFenced) {
		t.Errorf("the old holder was told that it holds: %v", err)
	}
	if got := a.keep(source); got.Leases != nil {
		t.Errorf("the old holder holds %v", got.Leases)
	}
	a.must(a.Release(t.Context(), a.me, []store.Lease{old}))
	diff(t, []store.Lease{l}, b.keep(source).Leases)
}

func TestWhatWasReleasedCanWriteNothing(t *testing.T) {
	r, l := one(t)
	r.must(r.Release(t.Context(), r.me, []store.Lease{l}))
	if _, err := r.Apply(t.Context(), pass(l, 1, nil)); !errors.Is(err, store.ErrFenced) {
		t.Errorf("got %v", err)
	}
}

func TestAHeartbeatWaitsForNoApply(t *testing.T) {
	a, _ := one(t)
	b := newReplica(t, a.url, "b")
	busy := conn(t, a.url)
	for _, sql := range []string{"BEGIN", "SELECT FROM leases FOR NO KEY UPDATE"} {
		_, err := busy.Exec(t.Context(), sql)
		a.must(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if k, err := a.Keep(ctx, a.me, []string{source}, ttl); err != nil || len(k.Leases) != 1 {
		t.Errorf("its own heartbeat: %+v %v", k, err)
	}
	eventually(t, "a is dead", func() bool { return len(b.keepFor(soon, source).Replicas) == 1 })
	if got := b.keepFor(soon, source); got.Leases != nil {
		t.Errorf("b took a lease under an Apply: %v", got.Leases)
	}
	_, err := busy.Exec(t.Context(), "ROLLBACK")
	a.must(err)
	if got := b.keepFor(soon, source); len(got.Leases) != 1 {
		t.Errorf("b has not taken it afterwards: %+v", got)
	}
}

// A process that is frozen in the middle of an Apply must lose its session, and
// with it the lease's row, in time for others to take over within 20 s.
func TestAFrozenApplyIsBrokenOff(t *testing.T) {
	b := newReplica(t, migrated(t), "b")
	way := newFreezer(t, b.url)
	a := newReplica(t, way.url, "a")
	l := a.keep(source).Leases[0]
	way.freezeAfter("FOR NO KEY UPDATE")
	failed := make(chan error, 1)
	go func() {
		_, err := a.Apply(context.WithoutCancel(t.Context()), pass(l, 1, func(o *store.Outcome) { o.States = []store.State{state(1, nil)} }))
		failed <- err
	}()
	<-way.frozen
	began := time.Now()
	var got store.Lease
	eventually(t, "b takes over", func() bool {
		k := b.keepFor(soon, source)
		if len(k.Leases) == 1 {
			got = k.Leases[0]
		}
		return len(k.Leases) == 1
	})
	if took := time.Since(began); took > 10*time.Second { // with the heartbeat's 15 s, which run meanwhile, this is far below the law's 20
		t.Errorf("the frozen one kept its row for %v", took)
	}
	way.thaw()
	if err := <-failed; err == nil || !store.Unreachable(err) {
		t.Errorf("the woken one: %v", err)
	}
	if k := b.load(got); len(k.States) != 0 {
		t.Errorf("the woken one wrote %v", k.States)
	}
}

func TestALeaseThatNobodyElseWantsIsTakenBeyondTheShare(t *testing.T) {
	a := newReplica(t, migrated(t), "a")
	b := newReplica(t, a.url, "b")
	eventually(t, "a holds all that it alone wants", func() bool {
		b.keepFor(soon, "s1")
		return len(a.keepFor(soon, "s2", "s3", "s4").Leases) == 3
	})
	b.keepFor(soon, "s1")
	if k := a.keepFor(soon, "s2", "s3", "s4"); k.Excess != nil {
		t.Errorf("and gives up %v, which nobody takes", k.Excess)
	}
}

// Whatever comes and goes: no lease has two holders, tokens only grow, and once
// nothing changes any more all are held, evenly.
func TestLeasesSettle(t *testing.T) {
	url := migrated(t)
	s := open(t, url)
	rapid.Check(t, func(rt *rapid.T) {
		prefix := uuid.NewString()
		var want []string
		for n := range rapid.IntRange(1, 8).Draw(rt, "sources") {
			want = append(want, fmt.Sprint(prefix, n))
		}
		x := &spread{rt: rt, s: s, want: want, alive: map[string]store.Replica{}, tokens: map[string]int64{}}
		defer x.end()
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			x.step()
		}
		for range 6 {
			for _, id := range x.ids() {
				x.keep(id)
			}
		}
		x.settled()
	})
}

type spread struct {
	rt     *rapid.T
	s      *store.Store
	want   []string
	alive  map[string]store.Replica
	tokens map[string]int64
}

func (x *spread) ids() []string { return slices.Sorted(maps.Keys(x.alive)) }

func (x *spread) step() {
	ids := x.ids()
	if len(ids) == 0 || rapid.Bool().Draw(x.rt, "comes") {
		r := store.Replica{ID: uuid.NewString(), Name: "r", StartedAt: t0}
		x.alive[r.ID] = r
		x.keep(r.ID)
		return
	}
	id := rapid.SampledFrom(ids).Draw(x.rt, "replica")
	if rapid.IntRange(0, 3).Draw(x.rt, "goes") == 0 {
		x.must(x.s.Depart(context.Background(), x.alive[id]))
		delete(x.alive, id)
		return
	}
	x.keep(id)
}

func (x *spread) keep(id string) {
	k, err := x.s.Keep(context.Background(), x.alive[id], x.want, time.Hour)
	x.must(err)
	for _, l := range k.Leases {
		if l.Token < x.tokens[l.Source] {
			x.rt.Fatalf("the token of %s fell from %d to %d", l.Source, x.tokens[l.Source], l.Token)
		}
		x.tokens[l.Source] = l.Token
	}
	x.must(x.s.Release(context.Background(), x.alive[id], k.Excess))
}

func (x *spread) settled() {
	holder := map[string]string{}
	for _, id := range x.ids() {
		k, err := x.s.Keep(context.Background(), x.alive[id], x.want, time.Hour)
		x.must(err)
		if most := (len(x.want) + len(x.alive) - 1) / len(x.alive); len(k.Leases) > most {
			x.rt.Fatalf("%d leases of one, want at most %d", len(k.Leases), most)
		}
		for _, l := range k.Leases {
			if holder[l.Source] != "" {
				x.rt.Fatalf("%s has two holders", l.Source)
			}
			holder[l.Source] = id
		}
	}
	if len(x.alive) > 0 && len(holder) != len(x.want) {
		x.rt.Fatalf("%d of %d leases are held", len(holder), len(x.want))
	}
}

func (x *spread) end() {
	for _, r := range x.alive {
		x.must(x.s.Depart(context.Background(), r))
	}
}

func (x *spread) must(err error) {
	if err != nil {
		x.rt.Fatal(err)
	}
}
