package store_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/internal/localpg"
	"github.com/molecule-ai/billing-reconciler/store"
)

const benchStates = 100_000

// BenchmarkApply writes a look at 100,000 workspaces of one source, to a server
// that makes every commit durable. Before each a checkpoint has just ended, so
// that every page that is touched goes to the log whole: the worst case.
func BenchmarkApply(b *testing.B) {
	server, err := localpg.Start(b.Context(), localpg.Options{Dir: serverDir(b)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = server.Stop() })
	r := newReplica(b, server.URL(""), "bench")
	b.Cleanup(r.Close)
	_, err = r.Migrate(b.Context())
	r.must(err)
	l := r.keep(source).Leases[0]
	look := conn(b, r.url)
	turn := 0
	r.apply(pass(l, 0, func(o *store.Outcome) {
		for n := range benchStates {
			o.States = append(o.States, benchState(n, 0))
		}
	}))
	_, err = look.Exec(b.Context(), "VACUUM ANALYZE")
	r.must(err)
	for _, row := range []struct {
		name    string
		changed int
	}{{"nothing changed", 0}, {"1% changed", benchStates / 100}} {
		b.Run(row.name, func(b *testing.B) {
			written := int64(0)
			for b.Loop() {
				b.StopTimer()
				turn++
				o := pass(l, turn, func(o *store.Outcome) {
					for _, n := range rand.Perm(benchStates)[:row.changed] {
						o.States = append(o.States, benchState(n, turn))
					}
				})
				_, err := look.Exec(b.Context(), "CHECKPOINT")
				r.must(err)
				before := wal(b, look)
				b.StartTimer()
				r.apply(o)
				b.StopTimer()
				written += wal(b, look) - before
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/op")
			b.ReportMetric(float64(written)/1e6/float64(b.N), "WAL-MB/op")
		})
	}
}

// benchState has a document of the size of a real one.
func benchState(n, turn int) store.State {
	return state(n, func(s *store.State) {
		s.Document = json.RawMessage(fmt.Sprintf(`{"source": "acme", "id": %q, "name": "Agent %d", "turn": %d, "runtime": "claude-code", "status": "online", "instance_id": "i-%017x", "pad": %q}`,
			ws(n), n, turn, n, padding(n)))
	})
}

// padding is 1.8 kB that compress about as well as a document does.
func padding(n int) string {
	var s strings.Builder
	for i := 0; s.Len() < 1800; i++ {
		fmt.Fprintf(&s, `credentials %x observed at_proxy %d provider;`, uint32(n)*2654435761+uint32(i)*40503, i)
	}
	return s.String()
}

func wal(b *testing.B, c *pgx.Conn) (at int64) {
	b.Helper()
	if err := c.QueryRow(b.Context(), "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").Scan(&at); err != nil {
		b.Fatal(err)
	}
	return at
}
