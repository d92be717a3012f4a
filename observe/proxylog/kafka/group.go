package kafka

import (
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

// assigned implements kgo's callback: the group gives partitions, and reading
// begins where they were counted to. Those of which that cannot be found out now
// are found by turns that come.
func (r *reading) assigned(ctx context.Context, given map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []int32
	for n := range given[r.Topic] {
		list = append(list, n)
		r.held[n] = &partition{astray: true, diverged: noOffset, stored: proxylog.NoPosition}
	}
	if len(list) == 0 {
		return given, nil
	}
	placed, err := r.place(ctx, list)
	if err != nil {
		r.Log.Warn("a partition's position cannot be read yet", "input", r.Input, "error", err)
		r.troubled(err)
	}
	if r.astray() && r.wake != nil {
		r.wake() // a poll that began before would wait for messages only
	}
	for n, at := range placed {
		given[r.Topic][n] = kgo.NewOffset().At(at).WithEpoch(-1)
	}
	return given, nil
}

// revoked implements kgo's callback: the group takes partitions away.
func (r *reading) revoked(_ context.Context, _ *kgo.Client, taken map[string][]int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(taken[r.Topic]) > 0 && r.ctx.Err() == nil {
		// What is gathered is counted, so that the next one need not read it; if
		// that fails, it reads it.
		ctx, end := context.WithTimeout(r.ctx, revokedWithin)
		defer end()
		if err := r.count(ctx); err != nil {
			r.Log.Info("lines of partitions that another member gets now are left to it", "input", r.Input, "error", err)
		}
	}
	r.drop(taken[r.Topic])
}

// revokedWithin leaves most of the 60 s that the group waits for.
const revokedWithin = 10 * time.Second

// lost implements kgo's callback: the group has gone on without this member.
func (r *reading) lost(_ context.Context, _ *kgo.Client, taken map[string][]int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(taken[r.Topic])
}

// drop forgets partitions, with all that is gathered of them.
func (r *reading) drop(taken []int32) {
	for key, g := range r.gathered {
		if !slices.ContainsFunc(taken, func(n int32) bool { _, has := g.to[n]; return has }) {
			continue
		}
		for n := range g.to {
			r.held[n].astray = true
		}
		delete(r.gathered, key)
	}
	for _, n := range taken {
		delete(r.held, n)
	}
	r.full = r.full && len(r.gathered) > 0
	r.note()
}
