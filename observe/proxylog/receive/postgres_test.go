package receive_test

import (
	"context"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/metrics"
	"github.com/molecule-ai/billing-reconciler/store"
	"github.com/molecule-ai/billing-reconciler/store/storetest"
	"github.com/molecule-ai/billing-reconciler/traffic"
)

// database gives a state database and a connection to it that is not ours to
// lose.
func database(t testing.TB) (*store.Store, *pgx.Conn) {
	t.Helper()
	url := storetest.Database(t)
	s := storetest.Open(t, url, "torture")
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return s, conn
}

// TestTortureInPostgreSQL: lines pushed by each form into a real database whose
// connections are ended all the while, by a server that is killed.
func TestTortureInPostgreSQL(t *testing.T) {
	lines, per := 20_000, 2000 // 100,000 take five minutes on a busy machine
	if testing.Short() {
		lines = 4_000
	}
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			s, conn := database(t)
			counter := traffic.NewCounter(traffic.Options{Store: s, Metrics: metrics.New("test")})
			h := newHouse(t, func() http.Handler { return routes(receiver(counter)) })
			ctx, cancel := context.WithCancel(t.Context())
			kills := make(chan int)
			go func() { kills <- end(ctx, t, h, conn) }()
			var batches []sent
			for no := range lines / per {
				batches = append(batches, f.make(t, numberedLines(no*per, (no+1)*per), no).maybePacked(t, "gzip"))
			}
			began := time.Now()
			again := deliver(t, "http://"+h.addr, batches, 3)
			took := time.Since(began)
			cancel()
			t.Logf("%d lines in %v; batches sent again %d times; server and connections ended %d times", lines, took, again, <-kills)
			exact(t, counted(t, conn), lines)
		})
	}
}

// end ends the database's connections, and now and then the server, until ctx
// ends.
func end(ctx context.Context, t *testing.T, h *house, conn *pgx.Conn) (ends int) {
	for ; ; ends++ {
		select {
		case <-ctx.Done():
			return ends
		case <-time.After(time.Second / 2):
		}
		if _, err := conn.Exec(context.Background(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'torture'"); err != nil {
			t.Error(err)
		}
		if ends%3 == 0 {
			h.kill()
			h.begin()
		}
	}
}

// counted gives how many calls each address has in the database.
func counted(t *testing.T, conn *pgx.Conn) map[netip.Addr]int64 {
	t.Helper()
	rows, err := conn.Query(t.Context(), "SELECT address, sum(billed + rejected)::bigint FROM traffic GROUP BY address")
	if err != nil {
		t.Fatal(err)
	}
	by := map[netip.Addr]int64{}
	var address netip.Addr
	var n int64
	if _, err := pgx.ForEachRow(rows, []any{&address, &n}, func() error {
		by[address] = n
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return by
}
