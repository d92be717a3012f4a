package store_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/molecule-ai/billing-reconciler/internal/localpg/pgtest"
	"github.com/molecule-ai/billing-reconciler/store"
)

func TestReplicasThatMigrateAtOnceWaitForEachOther(t *testing.T) {
	url := pgtest.NewDatabase(t)
	s := open(t, url)
	if err := s.Check(t.Context()); !errors.Is(err, store.ErrOlderSchema) {
		t.Errorf("an empty database: %v", err)
	}
	_, want, err := s.SchemaVersion(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var applied atomic.Int64
	var all sync.WaitGroup
	for range 4 {
		s := open(t, url)
		all.Go(func() {
			names, err := s.Migrate(t.Context())
			if err != nil {
				t.Error(err)
			}
			applied.Add(int64(len(names)))
		})
	}
	all.Wait()
	if applied.Load() != want {
		t.Errorf("%d migrations applied, want %d", applied.Load(), want)
	}
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestANewerSchemaIsRefused(t *testing.T) {
	r := newReplica(t, migrated(t), "a")
	_, err := conn(t, r.url).Exec(t.Context(), "INSERT INTO reconciler_schema (version_id, is_applied) VALUES (99999, true)")
	r.must(err)
	if err := r.Check(t.Context()); !errors.Is(err, store.ErrNewerSchema) {
		t.Errorf("check: %v", err)
	}
	if _, err := r.Migrate(t.Context()); !errors.Is(err, store.ErrNewerSchema) {
		t.Errorf("migrate: %v", err)
	}
	r.keep(source) // one that runs already goes on
}
