package metrics_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/metrics"
)

// want compares series, by their names without prefix, with their values.
func want(t *testing.T, m *metrics.Metrics, when string, series map[string]string) {
	t.Helper()
	for name, want := range series {
		if got := value(t, m, name); got != want {
			t.Errorf("%s: %s: got %s, want %s", when, name, got, want)
		}
	}
}

const (
	age     = `observation_age_seconds{source="reno",witness="container"}`
	oldest  = `drift_oldest_seconds{severity="critical"}`
	last    = `last_pass_timestamp_seconds{source="reno"}`
	failing = `source_failing{source="reno"}`
	drifted = `workspaces{source="reno",verdict="drifted"}`
	surge   = `surge{source="reno"}`
	errors  = `source_errors_total{source="reno"}`
	passes  = `pass_seconds_count{source="reno"}`
	opened  = `drift_opened_total{severity="critical",source="reno"}`
)

func TestAgesGrowBetweenPasses(t *testing.T) {
	m, clock := ticking()
	asTheDaemon(m, "reno")
	want(t, m, "at the pass", map[string]string{age: "60", oldest: "3600"})
	clock.now = clock.now.Add(90 * time.Second)
	want(t, m, "later", map[string]string{age: "150", oldest: "3690"})

	ahead := found(noon, 1)
	ahead.Observed[metrics.Container] = noon.Add(time.Hour)
	m.Pass("reno", ahead)
	want(t, m, "a clock that is ahead", map[string]string{age: "0"})
}

// What nobody has ever seen must not seem to have been seen just now, nor in
// the year 1.
func TestNeverSeenAgesFromOurBeginning(t *testing.T) {
	m, clock := ticking()
	clock.now = clock.now.Add(time.Hour)
	m.Pass("reno", metrics.Pass{At: clock.now, Observed: map[string]time.Time{metrics.Container: {}}})
	want(t, m, "never seen", map[string]string{age: "3600"})
}

// Law 1: a source that could not be read is not in sync, and not empty.
func TestFailedPassKeepsWhatWasKnown(t *testing.T) {
	m, clock := ticking()
	asTheDaemon(m, "reno")
	before := value(t, m, last)
	clock.now = clock.now.Add(time.Minute)
	m.Pass("reno", metrics.Pass{At: clock.now, Took: time.Second, Failed: true})
	want(t, m, "failed", map[string]string{drifted: "2", surge: "1", failing: "1", errors: "1", last: before, passes: "1", age: "120", oldest: "3660"})
	m.Pass("reno", metrics.Pass{At: clock.now, Took: time.Second})
	want(t, m, "read again", map[string]string{drifted: "0", surge: "0", failing: "0", errors: "1", passes: "2", age: "absent", oldest: "0"})
}

func TestFirstPassFailed(t *testing.T) {
	m, _ := ticking()
	m.Sources([]string{"reno"})
	m.Pass("reno", metrics.Pass{At: noon, Failed: true})
	want(t, m, "never read", map[string]string{failing: "1", last: "0", passes: "0"})
}

// A lease that changes hands: the new holder shows at once what is known, the
// old one nothing more, and what either has counted stays.
func TestHandover(t *testing.T) {
	from, _ := ticking()
	to, _ := ticking()
	asTheDaemon(from, "reno")
	to.Sources([]string{"reno"})
	from.Forget("reno")
	to.Hold("reno", found(noon, 2))
	want(t, from, "the old holder", map[string]string{drifted: "absent", failing: "absent", last: "absent", age: "absent", oldest: "0", passes: "1", opened: "1"})
	want(t, to, "the new holder", map[string]string{drifted: "2", failing: "0", age: "60", oldest: "3600", passes: "0", opened: "0"})
	if got, asTold := value(t, to, last), "1.7799696e+09"; got != asTold {
		t.Errorf("the new holder's last pass: got %s, want %s", got, asTold)
	}
}

func TestRemovedSourceGoes(t *testing.T) {
	m, _ := ticking()
	asTheDaemon(m, "reno", "mill")
	m.Sources([]string{"mill"})
	// Its last pass ends, its last drift opens, its lease comes, after it was removed.
	m.Pass("reno", found(noon, 2))
	m.Pass("reno", metrics.Pass{Failed: true})
	m.Hold("reno", found(noon, 2))
	m.Opened("reno", "high", time.Second)
	if text := ours(t, m); strings.Contains(text, "reno\"") {
		t.Errorf("a removed source is still shown:\n%s", text)
	}
	want(t, m, "the other", map[string]string{`workspaces{source="mill",verdict="drifted"}`: "2", "sources": "1"})
	m.Sources([]string{"mill", "elsewhere"}) // held by another replica
	m.Sources([]string{"mill"})
	if text := ours(t, m); strings.Contains(text, "elsewhere") {
		t.Errorf("a removed source that was held elsewhere is still shown:\n%s", text)
	}
	m.Sources([]string{"mill", "reno"})
	want(t, m, "back", map[string]string{opened: "0", passes: "0", drifted: "absent"})
}

// Without per_source, counts are sums, ages the greatest, and the last pass the
// one furthest back.
func TestAllSourcesTogether(t *testing.T) {
	m, _ := ticking(metrics.WithPerSource(false))
	m.Sources([]string{"reno", "mill"})
	m.Pass("reno", found(noon, 2))
	m.Pass("mill", found(noon.Add(-time.Hour), 5))
	m.Pass("mill", metrics.Pass{Failed: true})
	want(t, m, "both", map[string]string{
		`workspaces{source="all",verdict="drifted"}`:                        "7",
		`drift_open{kind="proxy_traffic",severity="critical",source="all"}`: "7",
		`observation_age_seconds{source="all",witness="container"}`:         "3660",
		`last_pass_timestamp_seconds{source="all"}`:                         "1.779966e+09",
		`surge{source="all"}`:                                               "2", `source_failing{source="all"}`: "1", `source_errors_total{source="all"}`: "1",
		`pass_seconds_count{source="all"}`: "2", oldest: "7200", `reprovision_blocked{reason="off"}`: "7",
	})
	m.Sources([]string{"reno"})
	want(t, m, "one removed", map[string]string{`workspaces{source="all",verdict="drifted"}`: "2", `source_errors_total{source="all"}`: "1"})
}

func TestReplica(t *testing.T) {
	m, _ := ticking()
	m.Paused(map[string]int{"all": 1, "workspace": 3})
	m.Paused(map[string]int{"workspace": 2, "planet": 1})
	m.StoreError("apply")
	m.StoreError("SELECT 1")
	m.Reloaded(true, noon)
	m.Reloaded(false, noon.Add(time.Hour))
	m.Opened("reno", "critical", -time.Second) // found before its evidence: a clock that is ahead
	want(t, m, "a replica", map[string]string{
		`paused{scope="all"}`: "0", `paused{scope="workspace"}`: "2", `paused{scope="source"}`: "0", `paused{scope="planet"}`: "absent",
		`store_errors_total{operation="apply"}`: "1", `store_errors_total{operation="other"}`: "1",
		"config_reload_success": "0", "config_last_reload_success_timestamp_seconds": "1.7799696e+09",
		"detection_seconds_sum": "0", "pass_interval_seconds": "absent",
	})
	m.Reloaded(true, noon.Add(2*time.Hour))
	m.Interval(5 * time.Minute)
	want(t, m, "mended", map[string]string{"config_reload_success": "1", "pass_interval_seconds": "300"})
}

func TestCallersMapsStayTheirs(t *testing.T) {
	m, _ := ticking()
	p := found(noon, 2)
	m.Pass("reno", p)
	p.Counts["drifted"] = 99
	want(t, m, "changed afterwards", map[string]string{drifted: "2"})
}

// For the race detector: passes, leases, reloads and scrapes at once.
func TestConcurrent(t *testing.T) {
	m, _ := ticking(metrics.WithPerWorkspace(true))
	var wg sync.WaitGroup
	for _, do := range []func(){
		func() { m.Pass("reno", found(noon, 1)) },
		func() { m.Pass("reno", metrics.Pass{Failed: true}) },
		func() { m.Forget("reno") },
		func() { m.Sources([]string{"reno", "mill"}) },
		func() { m.Hold("mill", metrics.Pass{}) },
		func() { m.Interval(time.Minute) },
	} {
		wg.Go(func() {
			for range 200 {
				do()
			}
		})
	}
	for range 20 {
		scrape(t, m)
	}
	wg.Wait()
}
