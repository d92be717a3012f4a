package main

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/admin"
	"github.com/molecule-ai/billing-reconciler/store"
)

// pair is two daemons on one database.
type pair struct {
	b      *testing.B
	fleet  *staged
	db     *pgx.Conn
	daemon [2]*child
	listen [2]string
}

func startPair(b *testing.B) *pair {
	_, fleet := stage(b, staging{Workspaces: 200, Tenants: 4, Listen: freeAddress(b), Interval: time.Second})
	r := &pair{b: b, fleet: fleet, db: look(b, fleet.StateURL)}
	for i := range r.daemon {
		r.start(i)
	}
	r.share()
	return r
}

func (r *pair) start(i int) {
	r.listen[i] = freeAddress(r.b)
	r.daemon[i] = launch(r.b, daemonConfig(r.b, r.fleet, r.listen[i], unhurried...))
}

// share waits until each replica has its part of the four sources and the
// fleet's chores.
func (r *pair) share() {
	await(r.b, "the schema", time.Minute, func() bool {
		return value[bool](r.b, r.db, "SELECT to_regclass('leases') IS NOT NULL AND to_regclass('replicas') IS NOT NULL")
	})
	await(r.b, "a fair share", time.Minute, func() bool { return r.held(0) >= 2 && r.held(1) >= 2 })
}

// held counts the leases that the database says a replica has.
func (r *pair) held(i int) int {
	r.b.Helper()
	return value[int](r.b, r.db, "SELECT count(*) FROM leases l JOIN replicas p ON p.id = l.holder WHERE p.name LIKE '%/' || $1::text",
		fmt.Sprint(r.daemon[i].cmd.Process.Pid))
}

// times are how often each is measured.
const times = 10

// BenchmarkTakeover is from the moment at which a replica dies or freezes until
// the database names the other as the holder of all that it held.
func BenchmarkTakeover(b *testing.B) {
	if testing.Short() {
		b.Skip("takes minutes")
	}
	for _, way := range []struct {
		name string
		sig  syscall.Signal
		mend func(r *pair)
	}{
		{"killed", syscall.SIGKILL, func(r *pair) { r.start(0) }},
		{"frozen", syscall.SIGSTOP, func(r *pair) { _ = r.daemon[0].cmd.Process.Signal(syscall.SIGCONT) }},
	} {
		b.Run(way.name, func(b *testing.B) {
			for b.Loop() {
				r := startPair(b)
				var took []float64
				for range times {
					if err := r.daemon[0].cmd.Process.Signal(way.sig); err != nil {
						b.Fatal(err)
					}
					took = append(took, await(b, "takeover", time.Minute, func() bool { return r.held(1) == 5 }).Seconds())
					way.mend(r)
					r.share()
				}
				tell(b, took, "s")
			}
		})
	}
}

// BenchmarkPauseElsewhere is from the moment at which somebody pauses observing
// at one replica until another, by its own metrics, goes by it. Nothing begins
// there afterwards.
func BenchmarkPauseElsewhere(b *testing.B) {
	if testing.Short() {
		b.Skip("takes half a minute")
	}
	everywhere := admin.ScopeRequest{Scope: store.ScopeAll}
	for b.Loop() {
		r := startPair(b)
		client, err := admin.NewClient(admin.ClientOptions{Server: r.listen[0]})
		if err != nil {
			b.Fatal(err)
		}
		var took []float64
		for range 2 * times {
			began := time.Now()
			if _, err := client.Pause(b.Context(), admin.PauseRequest{ScopeRequest: everywhere, Reason: "benchmark", Observing: true}); err != nil {
				b.Fatal(err)
			}
			await(b, "pause", time.Minute, func() bool { return scrape(b, r.listen[1]).sum("reconciler_paused", "scope=all") == 1 })
			effective := time.Now()
			took = append(took, float64(effective.Sub(began).Milliseconds()))
			time.Sleep(1200 * time.Millisecond) // more than an interval
			if n := value[int](b, r.db, "SELECT count(*) FROM sources WHERE last_pass_at > $1", effective); n > 0 {
				b.Errorf("%d sources were walked after the pause", n)
			}
			if _, err := client.Resume(b.Context(), admin.ResumeRequest{ScopeRequest: everywhere}); err != nil {
				b.Fatal(err)
			}
			await(b, "resume", time.Minute, func() bool { return scrape(b, r.listen[1]).sum("reconciler_paused", "scope=all") == 0 })
		}
		client.Close()
		tell(b, took, "ms")
	}
}

func tell(b *testing.B, took []float64, unit string) {
	own := func(v float64) float64 { return v }
	b.ReportMetric(median(took, own), "median-"+unit)
	b.ReportMetric(most(took, own), "worst-"+unit)
}
