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
	"github.com/molecule-ai/billing-reconciler/observe/ssm"
)

// weather makes some calls fail, and some instances bad for any batch.
func weather(random *rand.Rand) func(string, []string) error {
	var mu sync.Mutex
	return func(operation string, batch []string) error {
		mu.Lock()
		dice := random.IntN(100)
		mu.Unlock()
		if operation == "SendCommand" {
			for _, one := range batch {
				if isBad(one) {
					return refusal("InvalidInstanceId")
				}
			}
		}
		switch {
		case dice < 8:
			return refusal("ThrottlingException")
		case dice < 12 && operation == "ListCommands" || dice < 12 && operation == "ListCommandInvocations":
			return refusal("InternalServerError")
		}
		return nil
	}
}

func isBad(id string) bool { return strings.HasSuffix(id, "7b") }

// member asks at some time about some instances, and may leave early.
func (r *rig) member(t *testing.T, random *rand.Rand) {
	from, n := random.IntN(600), 1+random.IntN(120)
	urgent, leaves := random.IntN(5) == 0, random.IntN(3) == 0
	come, stay := time.Duration(random.IntN(20_000))*time.Millisecond, time.Duration(random.IntN(30_000))*time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	time.Sleep(come)
	if leaves {
		ctx, cancel = context.WithTimeout(ctx, stay)
		defer cancel()
	}
	cmd, seen := command, map[string]int{}
	cmd.Urgent = urgent
	r.pool.Observe(ctx, cmd, ids(900)[from:][:n], func(id string, o drift.Observation) {
		seen[id]++
		want := drift.Observed
		if isBad(id) {
			want = drift.Unreachable
		}
		if o.State != want && ctx.Err() == nil {
			t.Errorf("%s: %s (%s), want %s", id, o.State, o.Reason, want)
		}
	})
	if len(seen) != n {
		t.Errorf("%d answered of %d", len(seen), n)
	}
	for id, times := range seen {
		if times != 1 {
			t.Errorf("%s answered %d times", id, times)
		}
	}
}

// Whoever comes when, leaves when and is refused what: everybody is answered
// once and rightly, no more commands are under way than may be, and none is
// left running.
func TestAnyCrowd(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 7))
			f := newFake()
			f.latency = time.Duration(random.IntN(1500)) * time.Millisecond
			f.running = time.Duration(1+random.IntN(9000)) * time.Millisecond
			f.lag = time.Duration(random.IntN(3)) * time.Second
			f.refuse = weather(rand.New(rand.NewPCG(seed, 8)))
			places := 1 + random.IntN(8)
			r := f.rig(ssm.Options{InFlight: places, Rate: 20, Gather: time.Duration(random.IntN(3)) * time.Second, Timeout: 10 * time.Minute})
			var crowd sync.WaitGroup
			for n := range uint64(1 + random.IntN(15)) {
				own := rand.New(rand.NewPCG(seed, 100+n))
				crowd.Go(func() { r.member(t, own) })
			}
			crowd.Wait()
			for id, c := range f.sent {
				if !f.done(c) {
					t.Errorf("seed %d: %s goes on", seed, id)
				}
			}
			if f.most > places+4 {
				t.Errorf("seed %d: %d commands under way at once, want %d and 4 urgent at most", seed, f.most, places)
			}
			began := time.Now()
			if r.pool.Close(); time.Since(began) > time.Second {
				t.Errorf("seed %d: something was under way for nobody", seed)
			}
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}
