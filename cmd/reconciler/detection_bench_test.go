package main

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// BenchmarkDetection is how long a billed call that should not be takes from
// its line being written until its event is committed, while 1,000 lines a
// second are written to the same log and passes go on: the whole way through a
// daemon in a process of its own, its database and a simulated fleet.
func BenchmarkDetection(b *testing.B) {
	if testing.Short() {
		b.Skip("takes minutes")
	}
	const hits = 300
	for b.Loop() {
		listen := freeAddress(b)
		world, fleet := stage(b, staging{Workspaces: 2000, Tenants: 4, Listen: listen, Interval: 30 * time.Second, Noise: 1000})
		launch(b, fleet.Config)
		db := look(b, fleet.StateURL)
		await(b, "the first passes", time.Minute, func() bool {
			return value[bool](b, db, "SELECT to_regclass('sources') IS NOT NULL") && value[int](b, db, "SELECT count(*) FROM sources WHERE last_pass_at IS NOT NULL AND name <> '*'") == 4
		})
		if len(fleet.Guarded) < hits {
			b.Fatalf("%d workspaces to be hit, want %d", len(fleet.Guarded), hits)
		}
		told := tidings(b, fleet.StateURL)
		var took []time.Duration
		for _, id := range fleet.Guarded[:hits] {
			written := happens(b, world, churn{Hit: id})
			took = append(took, told.of(id).Sub(written))
			time.Sleep(50 * time.Millisecond)
		}
		slices.Sort(took)
		for name, at := range map[string]int{"p50-ms": len(took) / 2, "p90-ms": len(took) * 9 / 10, "p99-ms": len(took) * 99 / 100, "max-ms": len(took) - 1} {
			b.ReportMetric(float64(took[at].Microseconds())/1e3, name)
		}
		for _, bound := range []time.Duration{25, 50, 100, 150, 200, 250, 500, 1000, 5000} {
			n, _ := slices.BinarySearch(took, bound*time.Millisecond)
			b.Logf("within %5d ms: %3d of %d", bound, n, len(took))
		}
		b.ReportMetric(value[float64](b, db, "SELECT sum(lines)::float8 FROM inputs"), "lines")
		if n := value[int](b, db, "SELECT count(*) FROM events WHERE kind = 'drift_opened'"); n != hits {
			b.Errorf("%d drifts were told, want the %d that were hit", n, hits)
		}
	}
}

// news is when the event of each workspace's drift was there to be read.
type news struct {
	b    *testing.B
	mu   sync.Mutex
	at   map[string]time.Time
	wake chan struct{}
}

// tidings listens to the database as it commits.
func tidings(b *testing.B, url string) *news {
	b.Helper()
	n := &news{b: b, at: map[string]time.Time{}, wake: make(chan struct{}, 1)}
	ctx, stop := context.WithCancel(b.Context())
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := conn.Exec(ctx, "LISTEN reconciler_event"); err != nil {
		b.Fatal(err)
	}
	reader := look(b, url)
	done := make(chan struct{})
	go func() {
		defer close(done)
		last := int64(0)
		for {
			if _, err := conn.WaitForNotification(ctx); err != nil {
				return
			}
			now := time.Now()
			rows, err := reader.Query(ctx, "SELECT id, workspace::text FROM events WHERE id > $1 AND kind = $2 ORDER BY id", last, string(drift.EventDriftOpened))
			if err != nil {
				return
			}
			var id string
			_, err = pgx.ForEachRow(rows, []any{&last, &id}, func() error {
				n.mu.Lock()
				n.at[id] = now
				n.mu.Unlock()
				return nil
			})
			if err != nil {
				return
			}
			select {
			case n.wake <- struct{}{}:
			default:
			}
		}
	}()
	b.Cleanup(func() {
		stop()
		<-done
		_ = conn.Close(context.Background())
	})
	return n
}

// of waits for the event of a workspace's drift.
func (n *news) of(id string) time.Time {
	n.b.Helper()
	late := time.After(30 * time.Second)
	for {
		n.mu.Lock()
		at, ok := n.at[id]
		n.mu.Unlock()
		if ok {
			return at
		}
		select {
		case <-n.wake:
		case <-late:
			n.b.Fatalf("the call of %s was not told within 30 s", id)
		}
	}
}
