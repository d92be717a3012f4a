package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const daemonWorkspaces = 10_000

// BenchmarkDaemonTenThousand is the daemon itself, with its database, its API
// and all that it writes, over 10,000 healthy workspaces and an SSM as slow and
// as limited as AWS: as one source, as a hundred and as a thousand. The first
// pass writes everything, the second finds that nothing has changed.
func BenchmarkDaemonTenThousand(b *testing.B) {
	if testing.Short() {
		b.Skip("takes minutes")
	}
	for _, sources := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("sources=%d", sources), func(b *testing.B) {
			for b.Loop() {
				s := startScale(b, sources)
				s.measure("first")
				s.rest()
				s.measure("second")
			}
		})
	}
}

// scaleInterval is longer than any pass takes here, whatever the machine does
// besides, so that none is measured together with the next.
const scaleInterval = 4 * time.Minute

type scale struct {
	b       *testing.B
	sources int
	listen  string
	daemon  *child
	db      *pgx.Conn
	ended   time.Time          // the pass before
	asked   map[string]float64 // calls of AWS until then, by operation
	cpu     float64
	quiet   float64 // bytes a second that are written to the log between passes
}

func startScale(b *testing.B, sources int) *scale {
	listen := freeAddress(b)
	_, fleet := stage(b, staging{Workspaces: daemonWorkspaces, Tenants: 1, Paced: true, Listen: listen, Interval: scaleInterval})
	config := fleet.Config
	if sources > 1 {
		config = divided(b, fleet, sources)
	}
	s := &scale{b: b, sources: sources, listen: listen, db: look(b, fleet.StateURL), asked: map[string]float64{}}
	s.daemon = launch(b, config)
	return s
}

// divided makes many tenants of one: each is a schema of views in its database,
// which takes the place of a thousand databases.
func divided(b *testing.B, fleet *staged, sources int) string {
	b.Helper()
	conn := look(b, fleet.TenantURL)
	sql := []string{fmt.Sprintf(`CREATE TABLE divided AS SELECT id, (row_number() OVER (ORDER BY id) %% %d)::int AS part FROM workspaces`, sources),
		"CREATE INDEX ON divided (part)", "ANALYZE"}
	for part := range sources {
		sql = append(sql, fmt.Sprintf("CREATE SCHEMA s%d", part),
			fmt.Sprintf("CREATE VIEW s%d.workspaces AS SELECT w.* FROM public.divided d JOIN public.workspaces w USING (id) WHERE d.part = %d", part, part),
			fmt.Sprintf("CREATE VIEW s%d.workspace_secrets AS SELECT w.* FROM public.divided d JOIN public.workspace_secrets w ON w.workspace_id = d.id WHERE d.part = %d", part, part),
			fmt.Sprintf("CREATE VIEW s%d.global_secrets AS SELECT * FROM public.global_secrets", part))
	}
	for _, one := range sql {
		if _, err := conn.Exec(b.Context(), one); err != nil {
			b.Fatal(err)
		}
	}
	before, source, _ := strings.Cut(read(b, fleet.Config), "sources:\n")
	_, rest, _ := strings.Cut(source, "region: ")
	text := strings.Builder{}
	text.WriteString(before + "metrics: {per_source: false}\nsources:\n")
	rest = strings.Replace(rest, "requests_per_minute: 3000", "requests_per_minute: 3", 1)
	url := fleet.TenantURL + pick(strings.Contains(fleet.TenantURL, "?"), "&", "?")
	for part := range sources {
		fmt.Fprintf(&text, "  - name: s%d\n    database: %q\n    region: %s", part, fmt.Sprintf("%ssearch_path=s%d", url, part), rest)
	}
	config := filepath.Join(b.TempDir(), "reconciler.yaml")
	if err := os.WriteFile(config, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	return config
}

// rows are what has been written to each table of the state database.
func (s *scale) rows() map[string]float64 {
	s.b.Helper()
	rows, err := s.db.Query(s.b.Context(), "SELECT relname, (n_tup_ins + n_tup_upd + n_tup_del)::float8 FROM pg_stat_user_tables")
	if err != nil {
		s.b.Fatal(err)
	}
	written := map[string]float64{}
	var name string
	var n float64
	if _, err := pgx.ForEachRow(rows, []any{&name, &n}, func() error {
		written[name] = n
		return nil
	}); err != nil {
		s.b.Fatal(err)
	}
	return written
}

func (s *scale) wal() float64 {
	return value[float64](s.b, s.db, "SELECT (pg_current_wal_insert_lsn() - '0/0')::float8")
}

// rest learns how much is written while no pass is: heartbeats.
func (s *scale) rest() {
	const window = 8 * time.Second
	time.Sleep(2 * time.Second) // what the pass ended with
	before := s.wal()
	time.Sleep(window)
	s.quiet = (s.wal() - before) / window.Seconds()
}

// measure waits for the end of a pass over every source, and tells of it.
func (s *scale) measure(name string) {
	b := s.b
	var table map[string]float64
	log, began := 0.0, time.Now()
	if !s.ended.IsZero() {
		table, log = s.rows(), s.wal()
	}
	await(b, "the "+name+" pass", 2*scaleInterval, func() bool {
		return value[bool](b, s.db, "SELECT to_regclass('sources') IS NOT NULL") &&
			value[int](b, s.db, "SELECT count(*) FROM sources WHERE last_pass_at > $1 AND name <> '*'", s.ended) == s.sources
	})
	s.ended = time.Now()
	first := value[time.Time](b, s.db, "SELECT min(last_pass_at) FROM sources WHERE name <> '*'")
	took := s.ended.Sub(first).Seconds()
	total, most, throttled := s.calls()
	stands := measure(b, s.daemon, gauge{Reset: true})
	report := func(v float64, unit string) {
		b.Logf("%s pass: %.4g %s", name, v, unit)
		b.ReportMetric(v, name+"-"+unit)
	}
	report(took, "s")
	report(value[float64](b, s.db, "SELECT max(took)::float8 / 1e6 FROM sources WHERE name <> '*'"), "walk-s") // without what is written afterwards
	report(took/(most/limit), "wall/dictated")
	report(most, "most-called")
	report(total/daemonWorkspaces, "calls/workspace")
	report(throttled, "throttled")
	report(stands.PeakMB, "peak-MB")
	report(stands.CPU-s.cpu, "cpu-s")
	s.cpu = stands.CPU
	if table != nil {
		report((s.wal()-log-s.quiet*time.Since(began).Seconds())/1e3, "WAL-kB")
		report(s.quiet/1e3, "heartbeat-WAL-kB/s")
		s.unchanged(table)
	}
	s.sound()
}

// calls counts what this pass has called of AWS.
func (s *scale) calls() (total, most, throttled float64) {
	all := scrape(s.b, s.listen)
	was := maps.Clone(s.asked)
	for _, operation := range limited {
		s.asked[operation] = all.sum("reconciler_aws_requests_total", "operation="+operation)
		n := s.asked[operation] - was[operation]
		total, most = total+n, max(most, n)
		s.b.Logf("calls of %s: %.0f", operation, n)
	}
	s.asked["throttled"] = all.sum("reconciler_aws_requests_total", "result=throttled")
	return total, most, s.asked["throttled"] - was["throttled"]
}

// unchanged holds what a pass wrote that found nothing new: each source's own
// row.
func (s *scale) unchanged(before map[string]float64) {
	want := map[string]float64{"sources": float64(s.sources)}
	heartbeats := []string{"replicas", "leases"}
	await(s.b, "the counts of rows", 20*time.Second, func() bool { // backends tell of theirs later
		return s.rows()["sources"] > before["sources"]
	})
	time.Sleep(2 * time.Second)
	for table, n := range s.rows() {
		if wrote := n - before[table]; !slices.Contains(heartbeats, table) {
			s.b.ReportMetric(wrote, "second-"+table+"-rows")
			if wrote != want[table] {
				s.b.Errorf("a pass that found nothing new wrote %.0f rows of %s, want %.0f", wrote, table, want[table])
			}
		}
	}
}

// sound holds that every workspace was seen, and is in sync.
func (s *scale) sound() {
	n := value[int](s.b, s.db, "SELECT count(*) FROM states WHERE verdict = 'in_sync' AND observed")
	if n != daemonWorkspaces {
		s.b.Errorf("%d of %d in sync", n, daemonWorkspaces)
	}
	if n := value[int](s.b, s.db, "SELECT count(*) FROM drifts"); n > 0 {
		s.b.Errorf("%d drifts in a healthy fleet", n)
	}
}
