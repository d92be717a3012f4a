package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// What the soak is made of. SOAK_PASSES makes it shorter or longer.
const (
	soakPasses     = 500
	soakWorkspaces = 2000
	soakTenants    = 4
	soakSettle     = 6 * time.Second
	brokenAtOnce   = 40 // about, of the fleet
	changesAtOnce  = 6
)

// BenchmarkSoak is 500 passes over 2,000 workspaces of which some break and are
// mended all the time. After each pass what the database holds is compared with
// what the benchmark has done, and the daemon's memory is taken.
func BenchmarkSoak(b *testing.B) {
	if testing.Short() {
		b.Skip("takes a quarter of an hour")
	}
	passes := soakPasses
	if n, err := strconv.Atoi(os.Getenv("SOAK_PASSES")); err == nil {
		passes = n
	}
	for b.Loop() {
		s := startSoak(b)
		for n := range passes {
			s.awaitPass()
			s.compare()
			s.churn()
			s.sample(n)
		}
		s.calm()
		s.account()
		s.report(passes)
	}
}

// soaked is one workspace that breaks now and then, and what must be known of
// it.
type soaked struct {
	id       string
	broken   bool
	from     time.Time // from when it may have been broken or mended last
	since    time.Time // by when it was
	flaps    bool      // it breaks again before its drift is over: that is no new drift
	episodes int
	doubtful int // flaps that came too late to be sure of
}

type soak struct {
	b       *testing.B
	fleet   *child
	daemon  *child
	db      *pgx.Conn
	url     string
	members map[string]*soaked
	order   []*soaked
	walked  map[string]time.Time // by source, when its last whole pass began
	open    map[string]bool      // as the database says
	samples []sampled

	missed, falseOnes, late int
	began                   time.Time
}

// sampled is how the daemon stood after a pass.
type sampled struct {
	gauged
	connections int // to the state database
}

func startSoak(b *testing.B) *soak {
	listen := freeAddress(b)
	fleet, world := stage(b, staging{Workspaces: soakWorkspaces, Tenants: soakTenants, Listen: listen, Interval: time.Second})
	config := daemonConfig(b, world, listen, append([]string{"settle: 5s", fmt.Sprintf("settle: %s", soakSettle)}, unhurried...)...)
	s := &soak{b: b, fleet: fleet, db: look(b, world.StateURL), url: world.StateURL, members: map[string]*soaked{}, walked: map[string]time.Time{}, began: time.Now()}
	for _, id := range world.Breakable {
		s.members[id] = &soaked{id: id}
		s.order = append(s.order, s.members[id])
	}
	s.daemon = launch(b, config)
	await(b, "the schema", time.Minute, func() bool {
		return value[bool](b, s.db, "SELECT to_regclass('sources') IS NOT NULL AND to_regclass('events') IS NOT NULL")
	})
	return s
}

// awaitPass waits until every source has been walked once more since the last
// time.
func (s *soak) awaitPass() {
	var now map[string]time.Time
	await(s.b, "the next pass", time.Minute, func() bool {
		now = s.lastWalks()
		for name, at := range now {
			if !at.After(s.walked[name]) {
				return false
			}
		}
		return len(now) == soakTenants
	})
	s.walked = now
}

func (s *soak) lastWalks() map[string]time.Time {
	walks := map[string]time.Time{}
	s.each("SELECT name, last_pass_at FROM sources WHERE last_pass_at IS NOT NULL AND name <> '*'", func(rows pgx.Rows) error {
		var name string
		var at time.Time
		err := rows.Scan(&name, &at)
		walks[name] = at
		return err
	})
	return walks
}

func (s *soak) each(sql string, scan func(pgx.Rows) error) {
	s.b.Helper()
	rows, err := s.db.Query(s.b.Context(), sql)
	if err != nil {
		s.b.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			s.b.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		s.b.Fatal(err)
	}
}

// compare holds what the passes found against what was done. What was done
// after the last pass over its source had begun may be known or not.
func (s *soak) compare() {
	s.open = map[string]bool{}
	s.each("SELECT d.workspace::text, d.source, d.opened_at, d.clear_since FROM drifts d WHERE d.closed_at IS NULL", func(rows pgx.Rows) error {
		var id, source string
		var opened time.Time
		var clear *time.Time
		if err := rows.Scan(&id, &source, &opened, &clear); err != nil {
			return err
		}
		s.open[id] = true
		m, pass := s.members[id], s.walked[source]
		switch {
		case m == nil || m.episodes == 0:
			s.wrong(&s.falseOnes, "%s is said to have drifted and never did", id)
		case m.broken && pass.After(m.since) && clear != nil:
			s.wrong(&s.missed, "%s has broken again, and its drift is said to be over soon", id)
		case !m.broken && pass.After(m.since) && clear == nil:
			s.wrong(&s.falseOnes, "%s has been mended, and the next pass has not seen it", id)
		case !m.broken && clear != nil && pass.Sub(*clear) >= soakSettle:
			s.wrong(&s.falseOnes, "the drift of %s should be over", id)
		}
		return nil
	})
	oldest := time.Now()
	for _, at := range s.walked {
		if at.Before(oldest) {
			oldest = at
		}
	}
	for _, m := range s.order {
		if m.broken && m.since.Before(oldest) && !s.open[m.id] {
			s.wrong(&s.missed, "%s broke at %s, and is not said to have drifted", m.id, m.since)
		}
	}
}

func (s *soak) wrong(count *int, format string, args ...any) {
	if *count++; *count <= 10 {
		s.b.Errorf("pass %d: "+format, append([]any{len(s.samples)}, args...)...)
	}
}

// churn breaks some, mends some, and has some flap.
func (s *soak) churn() {
	var c churn
	var changed []*soaked
	turn := func(m *soaked, broken bool) {
		if m.broken = broken; broken {
			c.Break = append(c.Break, m.id)
		} else {
			c.Mend = append(c.Mend, m.id)
		}
		changed = append(changed, m)
	}
	broken := 0
	for _, m := range s.order {
		if m.broken {
			broken++
		}
		if m.flaps && !m.broken { // mended a pass ago
			turn(m, true)
		}
	}
	for _, i := range rand.Perm(len(s.order)) {
		m := s.order[i]
		switch {
		case len(changed) >= changesAtOnce || slices.Contains(changed, m):
		case m.broken && s.open[m.id] && broken > brokenAtOnce/2 && rand.IntN(2) == 0:
			m.flaps = rand.IntN(4) == 0
			turn(m, false)
		case !m.broken && !s.open[m.id] && broken < brokenAtOnce && len(s.samples) > 0:
			m.episodes, m.flaps = m.episodes+1, false
			turn(m, true)
			broken++
		}
	}
	c.Calls = 100
	s.happen(c, changed)
}

func (s *soak) happen(c churn, changed []*soaked) {
	from, at := time.Now(), happens(s.b, s.fleet, c)
	for _, m := range changed {
		if m.broken && m.flaps {
			if m.flaps = false; at.Sub(m.from) >= soakSettle {
				m.doubtful++ // the drift may have been over before
			}
		}
		m.from, m.since = from, at
	}
}

func (s *soak) sample(n int) {
	g := measure(s.b, s.daemon, gauge{Collect: true})
	connections := value[int](s.b, s.db, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name <> $1", onlooker)
	s.samples = append(s.samples, sampled{g, connections})
	if n%50 == 0 {
		fmt.Fprintf(os.Stderr, "pass %d: heap %.2f MB, %d goroutines, %d connections, %d open, missed %d, false %d\n", n, g.HeapMB, g.Goroutines, connections, len(s.open), s.missed, s.falseOnes)
	}
}

// calm mends everything, once all that broke has been seen, and waits until
// nothing is open.
func (s *soak) calm() {
	unseen := func(m *soaked) bool { return m.broken && !s.open[m.id] }
	for more := true; more; more = slices.ContainsFunc(s.order, unseen) && !s.b.Failed() {
		s.awaitPass()
		s.compare()
	}
	var c churn
	var changed []*soaked
	for _, m := range s.order {
		m.flaps = false
		if m.broken {
			m.broken = false
			c.Mend, changed = append(c.Mend, m.id), append(changed, m)
		}
	}
	s.happen(c, changed)
	await(s.b, "every drift to be over", 10*soakSettle, func() bool {
		return value[int](s.b, s.db, "SELECT count(*) FROM drifts WHERE closed_at IS NULL") == 0
	})
}

// account holds drifts and events against all that was done.
func (s *soak) account() {
	s.compare()
	found := map[string]int{}
	s.each("SELECT workspace::text, count(*) FROM drifts GROUP BY workspace", func(rows pgx.Rows) error {
		var id string
		var n int
		err := rows.Scan(&id, &n)
		found[id] = n
		return err
	})
	for id, n := range found {
		if s.members[id] == nil {
			s.wrong(&s.falseOnes, "%s has %d drifts and never broke", id, n)
		}
	}
	for _, m := range s.order {
		s.late += m.doubtful
		if n := found[m.id]; n < m.episodes || n > m.episodes+m.doubtful {
			s.b.Errorf("%s has %d drifts, want %d (and up to %d more)", m.id, n, m.episodes, m.doubtful)
		}
	}
	for kind, want := range map[drift.EventKind]int{drift.EventDriftOpened: 1, drift.EventDriftClosed: 1} {
		s.each(fmt.Sprintf("SELECT d.id, count(e.id) FROM drifts d LEFT JOIN events e ON e.episode = d.id AND e.kind = '%s' GROUP BY d.id HAVING count(e.id) <> %d", kind, want), func(rows pgx.Rows) error {
			var id int64
			var n int
			err := rows.Scan(&id, &n)
			s.b.Errorf("drift %d has %d events %s", id, n, kind)
			return err
		})
	}
	if n := value[int](s.b, s.db, "SELECT count(*) FROM events WHERE kind NOT IN ('drift_opened', 'drift_closed')"); n > 0 {
		s.b.Errorf("%d events of other kinds", n)
	}
	s.invariants()
}

func (s *soak) invariants() {
	db, err := store.Open(s.b.Context(), store.Options{URL: drift.Secret(s.url)})
	if err != nil {
		s.b.Fatal(err)
	}
	defer db.Close()
	broken, err := db.Invariants(s.b.Context())
	if err != nil || len(broken) > 0 {
		s.b.Errorf("invariants: %v, %q", err, broken)
	}
}

// report compares the last quarter with the second: the first fills caches.
func (s *soak) report(passes int) {
	second, last := s.samples[passes/4:passes/2], s.samples[passes*3/4:]
	for _, row := range []struct {
		name string
		of   func(sampled) float64
	}{
		{"heap", func(x sampled) float64 { return x.HeapMB }},
		{"goroutines", func(x sampled) float64 { return float64(x.Goroutines) }},
		{"connections", func(x sampled) float64 { return float64(x.connections) }},
	} {
		was, is := median(second, row.of), median(last, row.of)
		s.b.ReportMetric(is, row.name+"-last")
		s.b.ReportMetric(is/was, row.name+"-last/second")
		s.b.ReportMetric(least(last, row.of)/least(second, row.of), row.name+"-least-last/second")
	}
	s.b.ReportMetric(float64(s.missed), "missed")
	s.b.ReportMetric(float64(s.falseOnes), "false")
	s.b.ReportMetric(float64(s.late), "late-flaps")
	s.b.ReportMetric(value[float64](s.b, s.db, "SELECT count(*)::float8 FROM drifts"), "episodes")
	s.b.ReportMetric(value[float64](s.b, s.db, "SELECT count(*)::float8 FROM events"), "events")
	s.b.ReportMetric(time.Since(s.began).Seconds()/float64(passes), "s/pass")
	end := measure(s.b, s.daemon, gauge{})
	s.b.ReportMetric(end.CPU/float64(passes), "cpu-s/pass")
	s.b.ReportMetric(end.PeakMB, "peak-MB")
}

func median[T any](list []T, of func(T) float64) float64 { return quantile(list, of, 0.5) }
func least[T any](list []T, of func(T) float64) float64  { return quantile(list, of, 0) }
func most[T any](list []T, of func(T) float64) float64   { return quantile(list, of, 1) }

// quantile is the value that a part of the list is at most.
func quantile[T any](list []T, of func(T) float64, part float64) float64 {
	if len(list) == 0 {
		return 0
	}
	values := make([]float64, len(list))
	for i, x := range list {
		values[i] = of(x)
	}
	slices.Sort(values)
	return values[int(part*float64(len(values)-1))]
}
