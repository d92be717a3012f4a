package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/internal/fleetsim"
)

// rests checks that no pass begins after a moment, by the database's clock,
// however long one waits.
func (w *watched) rests(after time.Time) {
	w.t.Helper()
	time.Sleep(3500 * time.Millisecond) // three intervals and more
	if begun := w.strings("SELECT name || ' ' || last_pass_at FROM sources WHERE name <> '*' AND last_pass_at > $1", after); len(begun) > 0 {
		w.t.Errorf("paused by %s, and walked all the same: %v", after, begun)
	}
}

// A pause that is asked of one replica stops the passes of all within two
// seconds, outlives them, shows while it lasts, and says when it has run out.
func TestDaemonPausedOnEveryReplica(t *testing.T) {
	t.Parallel()
	w := watch(t, fleetsim.Options{Workspaces: 8, Tenants: 3})
	one, two := w.start(), w.start()
	w.spread(one, two)
	w.passes(1)
	one.types("pause", "--observing", "--reason", "lunch")
	begun := w.now()
	w.rests(begun.Add(2 * time.Second))
	for _, p := range []*replica{one, two} {
		p.shows(`reconciler_paused{scope="all"}`, 1)
		p.stop()
	}
	one, two = w.start().ready(), w.start().ready() // paused is no illness
	w.spread(one, two)
	w.rests(begun.Add(2 * time.Second))
	two.shows(`reconciler_paused{scope="all"}`, 1)
	if s := two.status(); len(s.Pauses) != 1 || s.Pauses[0].Reason != "lunch" {
		t.Errorf("the status shows the pauses %+v", s.Pauses)
	}
	two.types("resume", "--reason", "eaten")
	w.passes(1)
	one.types("pause", "--observing", "--reason", "a moment", "--for", "4s")
	one.shows(`reconciler_paused{scope="all"}`, 1)
	one.shows(`reconciler_paused{scope="all"}`, 0)
	w.passes(1)
	want := []string{"paused", "resumed", "paused", "pause_expired"}
	if !awaits(patience, func() bool {
		return slices.Equal(w.strings("SELECT kind FROM events WHERE kind NOT LIKE 'drift%' ORDER BY id"), want)
	}) {
		t.Errorf("told was %v, want %v", w.strings("SELECT kind FROM events ORDER BY id"), want)
	}
}

// A workspace that breaks, mends and breaks within the settling time is told of
// once, over kills and other replicas.
func TestDaemonTellsOnceOfAFlap(t *testing.T) {
	t.Parallel()
	w := watch(t, fleetsim.Options{Workspaces: 4, Tenants: 1}, swap("settle: 1s", "settle: 8s"))
	m := w.breakable()[0]
	p := w.start()
	w.breaks(m)
	w.opens(m)
	for range 3 {
		w.mends(m)
		if !awaits(patience, func() bool {
			return len(w.strings("SELECT id::text FROM drifts WHERE clear_since IS NOT NULL AND closed_at IS NULL")) == 1
		}) {
			t.Fatal("that it is in sync was not seen")
		}
		p.kill()
		w.bury(p)
		w.breaks(m)
		p = w.start()
		if !awaits(patience, func() bool {
			return len(w.strings("SELECT id::text FROM drifts WHERE clear_since IS NULL AND closed_at IS NULL")) == 1
		}) {
			t.Fatal("that it broke again was not seen")
		}
	}
	w.opens(m)
	if told := w.events(""); len(told) != 1 {
		t.Errorf("of a drift that flapped was told %v", told)
	}
	w.mends(m)
	w.opens()
	w.holds()
	if told := w.events(""); len(told) != 2 {
		t.Errorf("in the end was told %v, want its opening and its end", told)
	}
}

// tenant runs statements in a tenant's database.
func (w *watched) tenant(of *fleetsim.Tenant, statements ...string) {
	w.t.Helper()
	conn, err := pgx.Connect(context.Background(), of.URL)
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, sql := range statements {
		if _, err := conn.Exec(context.Background(), sql); err != nil {
			w.t.Fatal(err)
		}
	}
}

// told waits until there are so many events of exactly a kind.
func (w *watched) told(kind string, want int) {
	w.t.Helper()
	var got []string
	if !awaits(patience, func() bool {
		got = w.strings("SELECT source FROM events WHERE kind = $1 ORDER BY id", kind)
		return len(got) == want
	}) {
		w.t.Fatalf("%s was told %d times (%v), want %d; all: %v", kind, len(got), got, want, w.events(""))
	}
}

// A tenant whose list is suddenly empty, or half as long, is a surge: told
// once, and nothing is closed, removed or opened for it.
func TestDaemonDoesNotBelieveAListThatShrinks(t *testing.T) {
	t.Parallel()
	w := watch(t, fleetsim.Options{Workspaces: 16, Tenants: 2})
	of := w.sim.Tenants[0]
	mine := w.of(of.Name)
	broken := mine[:2]
	p := w.start()
	w.breaks(broken...)
	w.opens(broken...)
	states := len(w.sim.Members)
	if !awaits(patience, func() bool { return len(w.strings("SELECT id::text FROM states")) == states }) {
		t.Fatal("not every workspace was walked")
	}
	half := make([]string, 0, 4)
	for _, m := range mine[:4] {
		half = append(half, "'"+m.Row.ID+"'")
	}
	for i, row := range []struct{ rule, do, undo string }{
		{"empty", "ALTER TABLE workspaces RENAME TO hidden; CREATE TABLE workspaces (LIKE hidden INCLUDING ALL)", "DROP TABLE workspaces; ALTER TABLE hidden RENAME TO workspaces"},
		{"half", "UPDATE workspaces SET status = 'removed' WHERE id IN (" + strings.Join(half, ", ") + ")", "UPDATE workspaces SET status = 'online' WHERE status = 'removed'"},
	} {
		w.tenant(of, row.do)
		w.told("desired_surge", i+1)
		w.passes(3)
		w.told("desired_surge", i+1)
		p.shows(`reconciler_surge{source="`+of.Name+`"}`, 1)
		w.opens(broken...)
		w.quiet(len(broken))
		if got := len(w.strings("SELECT id::text FROM states")); got != states {
			t.Errorf("%s: %d states are left of %d", row.rule, got, states)
		}
		w.tenant(of, row.undo)
		w.told("desired_surge_ended", i+1)
	}
	w.opens(broken...)
	w.quiet(len(broken))
	w.tenant(of, "UPDATE workspaces SET status = 'removed' WHERE id IN ("+strings.Join(half, ", ")+")")
	w.told("desired_surge", 3)
	p.types("accept", "--source", of.Name, "--reason", "they left")
	w.opens()
	w.holds()
}

// wrongRegistry is a registry in which what the platform pays for belongs to
// somebody else.
func wrongRegistry(right string) string {
	catalogue, runtimes, _ := strings.Cut(right, "\nruntimes:")
	return catalogue + "\n  - name: wrong\n    protocol: anthropic\n    auth_mode: api_key\n    base_url_template: null\n    base_url_anthropic: null\n" +
		"    auth_env: [WRONG_KEY]\n    model_prefix_match: \"^wrong-\"\n\nruntimes:" + strings.ReplaceAll(runtimes, "- name: platform", "- name: wrong")
}

// A registry that flips half the fleet is taken, told of once, and believed by
// nobody until a person accepts it.
func TestDaemonDoesNotBelieveARegistryThatFlipsTheFleet(t *testing.T) {
	t.Parallel()
	w := watch(t, fleetsim.Options{Workspaces: 24, Tenants: 2})
	registry := filepath.Join(w.sim.Dir, "providers.yaml")
	right, err := os.ReadFile(registry)
	if err != nil {
		t.Fatal(err)
	}
	flips := 0
	for _, m := range w.sim.Members {
		if m.Desired.Mode == "platform_managed" {
			flips++
		}
	}
	one, two := w.start(), w.start()
	w.spread(one, two)
	w.passes(1)
	replaceFile(t, registry, wrongRegistry(string(right)))
	surging := func() int { return len(w.strings("SELECT name FROM sources WHERE surge <> ''")) }
	if !awaits(patience, func() bool { return surging() > 0 }) {
		t.Fatalf("%d of %d modes flip, and there is no surge", flips, len(w.sim.Members))
	}
	w.passes(12) // the fleet's own is looked at every ten seconds
	surges := surging()
	w.told("desired_surge", surges)
	w.quiet(0)
	replaceFile(t, registry, string(right))
	w.told("desired_surge_ended", surges)
	w.quiet(0)

	replaceFile(t, registry, wrongRegistry(string(right)))
	w.told("desired_surge", 2*surges)
	w.quiet(0)
	for _, source := range w.strings("SELECT name FROM sources WHERE surge <> '' ORDER BY name") {
		var talk bytes.Buffer
		// The fleet's acceptance may have ended a source's surge meanwhile.
		if code := run(t.Context(), []string{"accept", "--source", source, "--reason", "it is meant", "--server", one.url()}, os.LookupEnv, io.Discard, &talk); code != exitOK && !strings.Contains(talk.String(), "no surge stands") {
			t.Fatalf("accept %s: exit %d: %s", source, code, talk.String())
		}
	}
	if !awaits(patience, func() bool { return len(w.open()) == flips }) {
		t.Errorf("accepted, and %d drifts are open, want those that flipped: %d", len(w.open()), flips)
	}
	w.holds()
}

// What does not hold is refused as a whole, and shows; what does is taken, at
// SIGHUP and by itself.
func TestDaemonReloads(t *testing.T) {
	t.Parallel()
	w := watch(t, fleetsim.Options{Workspaces: 9, Tenants: 3})
	third := w.sim.Tenants[2]
	less := w.text[:strings.Index(w.text, "  - name: "+third.Name)]
	registry := filepath.Join(w.sim.Dir, "providers.yaml")
	right, err := os.ReadFile(registry)
	if err != nil {
		t.Fatal(err)
	}
	p := w.start().ready()
	w.passes(1)
	for rule, row := range map[string]struct{ spoil, mend func() }{
		"an unknown key":         {func() { p.rewrite(w.text + "\nnonsense: 1\n") }, func() { p.rewrite(w.text) }},
		"a registry of tomorrow": {func() { replaceFile(t, registry, "schema_version: 9\n") }, func() { replaceFile(t, registry, string(right)) }},
	} {
		row.spoil()
		p.shows("reconciler_config_reload_success", 0)
		if s := p.status(); s.Process.Config.Error == "" {
			t.Errorf("%s was refused, and the status does not say so", rule)
		}
		w.passes(1) // the old one stays in force
		row.mend()
		p.shows("reconciler_config_reload_success", 1)
		if s := p.status(); s.Process.Config.Error != "" {
			t.Errorf("%s is gone, and the status says %q", rule, s.Process.Config.Error)
		}
	}
	p.rewrite(less)
	p.signal(syscall.SIGHUP)
	p.shows("reconciler_sources", 2)
	if !awaits(patience, func() bool { return !slices.Contains(p.leases(), third.Name) }) {
		t.Errorf("%s is configured no more, and its lease is held: %v", third.Name, p.leases())
	}
	last := w.strings("SELECT coalesce(max(last_pass_at)::text, '') FROM sources WHERE name = $1", third.Name)
	w.passes(2, w.sim.Tenants[0].Name)
	if now := w.strings("SELECT coalesce(max(last_pass_at)::text, '') FROM sources WHERE name = $1", third.Name); now[0] > last[0] {
		t.Errorf("%s is configured no more, and was walked at %v", third.Name, now)
	}
	p.rewrite(w.text)
	w.passes(1, third.Name)
	m := w.of(third.Name)[0]
	w.breaks(m)
	w.opens(m)
	p.ready()
	if text := fmt.Sprint(p.status().Process.Config.Restart); text != "[]" {
		t.Errorf("nothing of what changed takes a restart, and %s does", text)
	}
}
