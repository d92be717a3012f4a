package store_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

func key(request string) store.OnceKey {
	return store.OnceKey{Principal: "ops", Key: "k", Digest: sha256.Sum256([]byte(request))}
}

func pauseAll(c *store.Change) (any, error) {
	return c.Pause(context.Background(), store.Pause{Scope: everything, Reason: "why", By: "ops"})
}

func TestAKeyChangesOnce(t *testing.T) {
	r := newReplica(t, migrated(t), "a")
	first, replayed, err := r.Once(t.Context(), key("a"), pauseAll)
	if r.must(err); replayed {
		t.Error("the first was a replay")
	}
	again, replayed, err := r.Once(t.Context(), key("a"), pauseAll)
	if r.must(err); !replayed || string(again) != string(first) {
		t.Errorf("replayed %t: %s, want %s", replayed, again, first)
	}
	if _, _, err := r.Once(t.Context(), key("b"), pauseAll); !errors.Is(err, store.ErrKeyReused) {
		t.Errorf("another request: %v", err)
	}
	other := key("b")
	other.Principal = "dev"
	if _, replayed, err := r.Once(t.Context(), other, pauseAll); err != nil || replayed {
		t.Errorf("another's key: %t %v", replayed, err)
	}
	diff(t, []drift.EventKind{drift.EventPaused, drift.EventPaused}, r.kinds())
	_, err = conn(t, r.url).Exec(t.Context(), "UPDATE answers SET at = at - interval '25 hours'")
	r.must(err)
	if _, replayed, err := r.Once(t.Context(), key("b"), pauseAll); err != nil || replayed {
		t.Errorf("a day later: %t %v", replayed, err)
	}
}

func TestAChangeThatFailsIsNone(t *testing.T) {
	r := newReplica(t, migrated(t), "a")
	want := errors.New("refused")
	for range 2 {
		_, _, err := r.Once(t.Context(), key("a"), func(c *store.Change) (any, error) {
			if _, err := pauseAll(c); err != nil {
				return nil, err
			}
			return nil, want
		})
		if !errors.Is(err, want) {
			t.Errorf("got %v", err)
		}
	}
	diff(t, []drift.EventKind(nil), r.kinds())
	if _, replayed, err := r.Once(t.Context(), key("a"), pauseAll); err != nil || replayed {
		t.Errorf("tried again: %t %v", replayed, err)
	}
}

func TestOfTwoAtOnceOneReplays(t *testing.T) {
	a := newReplica(t, migrated(t), "a")
	b := newReplica(t, a.url, "b")
	var changes, replays atomic.Int64
	var both sync.WaitGroup
	for n := range 8 {
		r := []*replica{a, b}[n%2]
		both.Go(func() {
			_, replayed, err := r.Once(t.Context(), key("a"), func(c *store.Change) (any, error) {
				changes.Add(1)
				time.Sleep(20 * time.Millisecond) // so that the others come meanwhile
				return pauseAll(c)
			})
			if err != nil {
				t.Error(err)
			}
			if replayed {
				replays.Add(1)
			}
		})
	}
	both.Wait()
	if changes.Load() != 1 || replays.Load() != 7 {
		t.Errorf("%d changes, %d replays; want 1 and 7", changes.Load(), replays.Load())
	}
}

// The events of all that is changed are written last, whatever the order of the
// changes, so that nobody waits in a circle.
func TestSeveralChangesAtOnceInEitherOrder(t *testing.T) {
	r := newReplica(t, migrated(t), "a")
	end := time.Now().Add(time.Hour)
	steps := []func(*store.Change) error{
		func(c *store.Change) error { _, err := pauseAll(c); return err },
		func(c *store.Change) error {
			_, err := c.Suppress(context.Background(), store.Suppression{Source: source, Reason: "r", By: "b", ExpiresAt: end})
			return err
		},
	}
	var all sync.WaitGroup
	for n := range 12 {
		all.Go(func() {
			k := key("a")
			k.Key = string(rune('a' + n))
			_, _, err := r.Once(t.Context(), k, func(c *store.Change) (any, error) {
				return n, errors.Join(steps[n%2](c), steps[1-n%2](c))
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := len(r.kinds()); got != 24 {
		t.Errorf("%d events, want 24", got)
	}
}

func TestARequestForAWorkspaceThatWaitsIsTheSame(t *testing.T) {
	r := newReplica(t, migrated(t), "a")
	var ids []int64
	for _, id := range []string{ws(1), ws(1), ws(2)} {
		l, err := r.RequestLook(t.Context(), store.Look{Source: source, Workspace: id, Reason: "why", By: "ops"})
		r.must(err)
		ids = append(ids, l.ID)
	}
	if ids[0] != ids[1] || ids[1] == ids[2] {
		t.Errorf("numbers %v", ids)
	}
	waiting, err := r.Looks(t.Context(), []string{source})
	if r.must(err); len(waiting) != 2 || waiting[0].Reason != "why" {
		t.Errorf("waiting %+v", waiting)
	}
	if _, err := r.RequestLook(t.Context(), store.Look{Source: source, Workspace: "x"}); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}
