package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/reconcile"
)

// clerk is a witness that says of each life the calls that its id stands for.
// It reads for as long as hold says.
type clerk struct {
	hold  func(ctx context.Context)
	blind bool // it gives no answers

	mu       sync.Mutex
	readings [][]reconcile.Life
}

func (c *clerk) Traffic(ctx context.Context, lives []reconcile.Life) reconcile.Calls {
	c.mu.Lock()
	c.readings = append(c.readings, lives)
	c.mu.Unlock()
	if c.hold != nil {
		c.hold(ctx)
	}
	calls := reconcile.Calls{Err: context.Cause(ctx)}
	for _, l := range lives {
		var n int
		_, _ = fmt.Sscanf(l.ID, "w%d", &n)
		calls.ByLife = append(calls.ByLife, drift.Traffic{Billed: n})
	}
	if c.blind {
		calls.ByLife = nil
	}
	return calls
}

func (c *clerk) read() [][]reconcile.Life {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.readings
}

func life(n int) reconcile.Life { return reconcile.Life{Source: "s", ID: fmt.Sprintf("w%d", n)} }

// Many that ask at once cost two readings: the one under way, and the next.
func TestSharedWitness(t *testing.T) {
	goOn := make(chan struct{})
	c := &clerk{hold: func(context.Context) { <-goOn }}
	s := &reconcile.Shared{Witness: c}
	var asking sync.WaitGroup
	ask := func(n int) {
		asking.Go(func() {
			got := s.Traffic(t.Context(), []reconcile.Life{life(n), life(n + 1)})
			if diff := cmp.Diff([]drift.Traffic{{Billed: n}, {Billed: n + 1}}, got.ByLife); diff != "" || got.Err != nil {
				t.Errorf("%d: %v (-want +got):\n%s", n, got.Err, diff)
			}
		})
	}
	ask(1000)
	until(t, func() bool { return len(c.read()) == 1 })
	for n := range 200 {
		ask(n)
	}
	until(t, func() bool { return reconcile.Waiting(s) == 200 })
	close(goOn)
	asking.Wait()
	if readings := c.read(); len(readings) != 2 || len(readings[1]) != 201 {
		t.Errorf("%d readings, the second of %d lives", len(readings), len(readings[len(readings)-1]))
	}
}

func until(t *testing.T, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never came to be")
		}
	}
}

// One that goes away takes the answer from no other, whoever asked first.
func TestSharedWitnessSurvivesWhoAskedFirst(t *testing.T) {
	goOn := make(chan struct{})
	c := &clerk{hold: func(ctx context.Context) {
		select {
		case <-goOn:
		case <-ctx.Done():
		}
	}}
	s := &reconcile.Shared{Witness: c}
	block, unblock := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	asking.Go(func() { s.Traffic(block, []reconcile.Life{life(0)}) })
	until(t, func() bool { return len(c.read()) == 1 })
	first, leave := context.WithCancelCause(t.Context())
	asking.Go(func() {
		if got := s.Traffic(first, []reconcile.Life{life(1)}); !errors.Is(got.Err, context.Canceled) && got.Err == nil {
			t.Errorf("the one who left got %+v", got)
		}
	})
	until(t, func() bool { return reconcile.Waiting(s) == 1 })
	asking.Go(func() {
		if got := s.Traffic(t.Context(), []reconcile.Life{life(2)}); got.Err != nil || got.ByLife[0].Billed != 2 {
			t.Errorf("the one who stayed got %+v", got)
		}
	})
	until(t, func() bool { return reconcile.Waiting(s) == 2 })
	unblock() // the first reading is nobody's any more: it ends, and the next begins
	until(t, func() bool { return len(c.read()) == 2 })
	leave(errors.New("paused"))
	time.AfterFunc(10*time.Millisecond, func() { close(goOn) })
	asking.Wait()
}

// When all have gone the reading ends before the last returns: whoever closes the
// log does not do so behind a reader's back.
func TestSharedWitnessEndsWithTheLast(t *testing.T) {
	ended := false
	c := &clerk{hold: func(ctx context.Context) {
		<-ctx.Done()
		time.Sleep(10 * time.Millisecond) // as one who closes a file
		ended = true
	}}
	s := &reconcile.Shared{Witness: c}
	ctx, stop := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, stop)
	if got := s.Traffic(ctx, []reconcile.Life{life(1)}); got.Err == nil || !ended {
		t.Errorf("ended %v, %+v", ended, got)
	}
}

// Law 1: an answer that the witness did not give is no acquittal.
func TestSharedWitnessWithoutAnswers(t *testing.T) {
	s := &reconcile.Shared{Witness: &clerk{blind: true}}
	got := s.Traffic(t.Context(), []reconcile.Life{life(1)})
	if len(got.ByLife) != 1 || got.ByLife[0].Err == "" {
		t.Errorf("got %+v", got)
	}
}

// A pass sees its workspaces better than others remember them; a list that many
// passes bring along is taken once.
func TestSharedWitnessTakesTheFleetOnce(t *testing.T) {
	remembered := make([]reconcile.Life, 0, 50)
	for n := range 50 {
		l := life(n)
		l.Remembered = true
		remembered = append(remembered, l)
	}
	for _, shared := range []bool{true, false} {
		c := &clerk{}
		var w reconcile.Witness = c
		if shared {
			w = &reconcile.Shared{Witness: c}
		}
		got := reconcile.Among(t.Context(), w, []reconcile.Life{life(7), {Source: "s"}}, remembered)
		if got.ByLife[0].Billed != 7 {
			t.Errorf("shared %v: got %+v", shared, got.ByLife)
		}
		lives := c.read()[0]
		if len(lives) != 51 || lives[0].Remembered {
			t.Errorf("shared %v: %d lives were asked about, the first %+v", shared, len(lives), lives[0])
		}
	}
}
