package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// fleet gives a database with workspaces 1 to 5 of source, of which 1 and 2 have
// drifted, and workspace 1 of other; the drift of 2 has ended.
func fleet(t *testing.T) (*replica, []int64) {
	t.Helper()
	r := newReplica(t, migrated(t), "one")
	leases := r.keep(source, "other").Leases
	two := opened(2, 1)
	two.Severity, two.Findings = drift.Medium, []drift.Finding{{Kind: drift.ModelMismatch, Severity: drift.Medium}}
	ids := r.apply(pass(leases[0], 1, func(o *store.Outcome) {
		for n := range 5 {
			o.States = append(o.States, state(n+1, func(s *store.State) {
				if n < 2 {
					drifted(s)
				}
				if n == 4 {
					s.Name = "100%_sure"
				}
			}))
		}
		o.Episodes = []store.EpisodeChange{opened(1, 1), two}
	})).Episodes
	two.ID = ids[1]
	r.apply(pass(leases[0], 3, func(o *store.Outcome) {
		o.States = []store.State{state(2, nil)}
		o.Episodes = []store.EpisodeChange{closed(two.Episode, 3)}
	}))
	r.apply(pass(leases[1], 2, func(o *store.Outcome) { o.States = []store.State{state(1, nil)} }))
	return r, ids
}

func TestWorkspacesAreFiltered(t *testing.T) {
	r, ids := fleet(t)
	for rule, row := range map[string]struct {
		filter store.WorkspaceFilter
		want   []string
	}{
		"all":                           {store.WorkspaceFilter{}, []string{"acme 1", "acme 2", "acme 3", "acme 4", "acme 5", "other 1"}},
		"of a source":                   {store.WorkspaceFilter{Source: "other"}, []string{"other 1"}},
		"that drifted":                  {store.WorkspaceFilter{Verdict: drift.Drifted}, []string{"acme 1"}},
		"in sync":                       {store.WorkspaceFilter{Verdict: drift.InSync, Source: source}, []string{"acme 2", "acme 3", "acme 4", "acme 5"}},
		"with a finding":                {store.WorkspaceFilter{Kind: drift.ModeMismatch}, []string{"acme 1"}},
		"whose name begins so":          {store.WorkspaceFilter{Query: "aGENT 2"}, []string{"acme 2"}},
		"whose id begins so":            {store.WorkspaceFilter{Query: "00000000-0000-4000-8000-000000000003"}, []string{"acme 3"}},
		"a wildcard is a letter":        {store.WorkspaceFilter{Query: "100%_"}, []string{"acme 5"}},
		"a wildcard is a letter only":   {store.WorkspaceFilter{Query: "%"}, nil},
		"by ids":                        {store.WorkspaceFilter{IDs: []string{ws(1), "x"}}, []string{"acme 1", "other 1"}},
		"by no ids":                     {store.WorkspaceFilter{IDs: []string{}}, nil},
		"a page is no longer than this": {store.WorkspaceFilter{Limit: 1, Source: "other"}, []string{"other 1"}},
	} {
		rows, next, err := r.Workspaces(t.Context(), row.filter)
		r.must(err)
		if next != "" {
			t.Errorf("%s: there is no next page", rule)
		}
		if d := diffOf(row.want, shown(rows)); d != "" {
			t.Errorf("%s: %s", rule, d)
		}
	}
	got, err := r.Workspace(t.Context(), source, ws(1))
	r.must(err)
	diff(t, &store.WorkspaceRow{Source: source, State: state(1, drifted), Episode: &ids[0], LastPassAt: min0(3)}, got)
	if _, err := r.Workspace(t.Context(), source, "nothing"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func shown(rows []store.WorkspaceRow) (list []string) {
	for _, w := range rows {
		list = append(list, w.Source+" "+w.ID[35:])
	}
	return list
}

func TestPagesHoldEverythingOnce(t *testing.T) {
	r, ids := fleet(t)
	var seen []string
	for after, pages := "", 0; ; pages++ {
		rows, next, err := r.Workspaces(t.Context(), store.WorkspaceFilter{Limit: 2, After: after})
		r.must(err)
		if seen = append(seen, shown(rows)...); next == "" {
			break
		}
		after = next
	}
	diff(t, []string{"acme 1", "acme 2", "acme 3", "acme 4", "acme 5", "other 1"}, seen)
	first, next, err := r.Drifts(t.Context(), store.DriftFilter{Limit: 1})
	r.must(err)
	second, end, err := r.Drifts(t.Context(), store.DriftFilter{Limit: 1, After: next})
	r.must(err)
	if first[0].ID != ids[1] || second[0].ID != ids[0] || end != "" {
		t.Errorf("%d, %d, %q", first[0].ID, second[0].ID, end)
	}
	for _, bad := range []string{"x", next} {
		if _, _, err := r.Workspaces(t.Context(), store.WorkspaceFilter{After: bad}); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("cursor %q: %v", bad, err)
		}
	}
}

func TestDriftsAreFiltered(t *testing.T) {
	r, ids := fleet(t)
	yes, no := true, false
	for rule, row := range map[string]struct {
		filter store.DriftFilter
		want   []int64
	}{
		"all, the newest first": {store.DriftFilter{}, []int64{ids[1], ids[0]}},
		"open":                  {store.DriftFilter{Open: &yes}, ids[:1]},
		"over":                  {store.DriftFilter{Open: &no}, ids[1:]},
		"of a source":           {store.DriftFilter{Source: "other"}, nil},
		"of a workspace":        {store.DriftFilter{Workspace: ws(2)}, ids[1:]},
		"of no workspace":       {store.DriftFilter{Workspace: "x"}, nil},
		"so severe":             {store.DriftFilter{Severity: drift.Critical}, ids[:1]},
		"with a finding":        {store.DriftFilter{Kind: drift.ModelMismatch}, ids[1:]},
		"open then or later":    {store.DriftFilter{Since: min0(4)}, ids[:1]},
		"closed just then":      {store.DriftFilter{Since: min0(3)}, []int64{ids[1], ids[0]}},
	} {
		drifts, _, err := r.Drifts(t.Context(), row.filter)
		r.must(err)
		var got []int64
		for _, d := range drifts {
			got = append(got, d.ID)
		}
		if d := diffOf(row.want, got); d != "" {
			t.Errorf("%s: %s", rule, d)
		}
	}
	seen := map[int64]time.Time{ids[0]: min0(3), ids[1]: min0(2)} // by the last pass; before the end
	for id, want := range seen {
		if d, err := r.Drift(t.Context(), id); err != nil || !d.LastSeenAt.Equal(want) {
			t.Errorf("drift %d: last seen %v, want %v: %v", id, d.LastSeenAt, want, err)
		}
	}
	if _, err := r.Drift(t.Context(), 1e9); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestOpenFindingsAreCounted(t *testing.T) {
	r, _ := fleet(t)
	counts, oldest, err := r.OpenFindings(t.Context(), []string{source, "other"})
	r.must(err)
	diff(t, []store.OpenFinding{{Source: source, Kind: drift.ModeMismatch, Severity: drift.Critical, Count: 1}}, counts)
	diff(t, map[drift.Severity]time.Time{drift.Critical: min0(1)}, oldest)
	bySeverity, first, err := r.OpenDrifts(t.Context())
	r.must(err)
	diff(t, map[drift.Severity]int{drift.Critical: 1}, bySeverity)
	if !first.Equal(min0(1)) {
		t.Errorf("oldest %v", first)
	}
}

func TestAWorkspaceIsFound(t *testing.T) {
	r, _ := fleet(t)
	for term, want := range map[string]int{"Agent 1": 2, "agent 1": 0, "Agent": 0, ws(3): 1, "00000000-0000-4": 6, "0": 6, "1": 0, "": 0, "x": 0} {
		refs, err := r.Find(t.Context(), term)
		if r.must(err); len(refs) != want {
			t.Errorf("%q: %v, want %d", term, refs, want)
		}
	}
}

func TestHowTheFleetAgrees(t *testing.T) {
	r := newReplica(t, migrated(t), "one")
	leases := r.keep("a", "b", "c", store.Fleet).Leases
	for n, l := range leases {
		o := pass(l, 0, func(o *store.Outcome) {
			o.At, o.Resolver = time.Now(), []string{"new", "new", "old", "new"}[n]
			o.Census = drift.Census{Known: []int{1000, 10, 20, 40}[n], Flipped: n}
			if n == 3 {
				o.At = o.At.Add(-time.Hour)
			}
		})
		r.apply(o)
	}
	for except, want := range map[string]store.Agreement{"": {Workspaces: 30, Read: 10, Flipped: 1}, "a": {Workspaces: 20}} {
		got, err := r.Agreement(t.Context(), "new", except, time.Minute)
		r.must(err)
		diff(t, want, got)
	}
	sources, err := r.Sources(t.Context())
	if r.must(err); len(sources) != 3 || sources[0].Holder == nil || sources[0].Holder.Name != "one" {
		t.Errorf("sources %+v", sources)
	}
	if _, err := r.Source(t.Context(), "none"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	replicas, err := r.Replicas(t.Context(), ttl)
	if r.must(err); len(replicas) != 1 || replicas[0].ID != r.me.ID {
		t.Errorf("replicas %+v", replicas)
	}
}

func TestWhatIsOldIsDeletedInParts(t *testing.T) {
	r, ids := fleet(t)
	l := r.keep(source, "other", store.Fleet).Leases
	fleet := l[0]
	for range 3 {
		r.pause(everything)
	}
	_, err := conn(t, r.url).Exec(t.Context(), "INSERT INTO holdings (source, workspace, address, during, exclusive) SELECT 'acme', gen_random_uuid(), '203.0.113.9', '[2001-01-01,2001-01-02)', false FROM generate_series(1, 3)")
	r.must(err)
	year := time.Now().UTC().AddDate(-1, 0, 0)
	r.counts(from(call(year, "203.0.113.1"), call(year, "203.0.113.2"), call(year, "203.0.113.3"), call(recent(), "203.0.113.1")))
	r.counts(&store.Counting{Input: store.Input{Name: "push"}, ID: "old"})
	r.strings("UPDATE batches SET at = at - interval '16 days' RETURNING id")
	r.counts(&store.Counting{Input: store.Input{Name: "push"}, Moves: []store.Move{{Key: "stream/old", From: store.NoPosition, To: 1}, {Key: "file", From: store.NoPosition, To: 1}}})
	r.strings("UPDATE positions SET moved_at = moved_at - interval '16 days' RETURNING key")
	r.counts(&store.Counting{Input: store.Input{Name: "push"}, Moves: []store.Move{{Key: "stream/new", From: store.NoPosition, To: 1}}})
	_, err = conn(t, r.url).Exec(t.Context(), `INSERT INTO actions (source, workspace, name, cause, inputs, lap, state, mode, by, reason, forced, created_at, ended_at, outcome)
		SELECT 'acme', gen_random_uuid(), '', '', '', 0, CASE WHEN over THEN 'ended' ELSE 'requested' END, 'enforce', '', '', false, now(), CASE WHEN over THEN now() END, CASE WHEN over THEN 'cured' ELSE '' END FROM unnest('{true,false}'::boolean[]) AS over`)
	r.must(err)
	_, err = conn(t, r.url).Exec(t.Context(), "INSERT INTO approvals SELECT 'acme', gen_random_uuid(), '', '', now(), now() - make_interval(days => d) FROM unnest('{1,31}'::int[]) AS d")
	r.must(err)
	keep := store.Retention{Events: time.Nanosecond, Drifts: time.Nanosecond, Holdings: time.Nanosecond, Traffic: 24 * time.Hour, Batch: 2}
	total := map[string]int64{}
	for calls := 1; ; calls++ {
		deleted, more, err := r.Retain(t.Context(), fleet, keep)
		r.must(err)
		for what, n := range deleted {
			if total[what] += n; n > 2 {
				t.Errorf("%d %s at once", n, what)
			}
		}
		if !more {
			break
		}
	}
	diff(t, map[string]int64{"drifts": 1, "events": 3, "holdings": 3, "traffic": 3, "batches": 1, "streams": 1, "answers": 0, "looks": 0, "actions": 1, "approvals": 1, "suppressions": 0}, total)
	if _, err := r.Drift(t.Context(), ids[0]); err != nil {
		t.Errorf("the open drift: %v", err)
	}
	diff(t, []drift.EventKind{drift.EventDriftOpened}, r.kinds())
	r.sound()
	fleet.Token--
	if _, _, err := r.Retain(t.Context(), fleet, keep); !errors.Is(err, store.ErrFenced) {
		t.Errorf("without the lease: %v", err)
	}
	if deleted, _, err := r.Retain(t.Context(), l[0], store.Retention{}); err != nil || deleted["drifts"] != 0 {
		t.Errorf("kept for ever: %v %v", deleted, err)
	}
}

func TestInvariantsSeeWhatIsBroken(t *testing.T) {
	const retention = "SET reconciler.retention = 'on';"
	for rule, sql := range map[string]string{
		"an event without its drift":          retention + "DELETE FROM drifts WHERE closed_at IS NOT NULL",
		"an event of another workspace":       "INSERT INTO events (at, kind, severity, source, workspace, name, episode, summary, by) SELECT at, 'drift_reminder', severity, source, gen_random_uuid(), name, episode, summary, by FROM events LIMIT 1",
		"an event of a drift that names none": "INSERT INTO events (at, kind, severity, source, workspace, name, summary, by) SELECT at, kind, severity, source, workspace, name, summary, by FROM events LIMIT 1",
		"an opening told of twice":            "INSERT INTO events (at, kind, severity, source, workspace, name, episode, summary, by) SELECT at, kind, severity, source, workspace, name, episode, summary, by FROM events WHERE kind = 'drift_opened' LIMIT 1",
		"an opening not told of":              retention + "DELETE FROM events WHERE kind = 'drift_opened' AND id = 1",
		"an end not told of":                  retention + "DELETE FROM events WHERE kind = 'drift_closed'",
		"a drift without a state":             "DELETE FROM states WHERE verdict = 'drifted'",
		"two open drifts":                     "DROP INDEX drifts_one_open; UPDATE drifts SET closed_at = NULL, result = '', workspace = (SELECT workspace FROM drifts ORDER BY id LIMIT 1)",
		"an address with two only holders":    "ALTER TABLE holdings DROP CONSTRAINT holdings_one_holder; INSERT INTO holdings (source, workspace, address, during, exclusive) SELECT 'x', gen_random_uuid(), '203.0.113.9', '[2001-01-01,)', true FROM generate_series(1, 2)",
	} {
		r, _ := fleet(t)
		r.sound()
		_, err := conn(t, r.url).Exec(t.Context(), sql)
		r.must(err)
		broken, err := r.Invariants(t.Context())
		if r.must(err); len(broken) == 0 {
			t.Errorf("%s is not seen", rule)
		}
	}
}

func diffOf(want, got any) string {
	if fmt.Sprint(want) == fmt.Sprint(got) {
		return ""
	}
	return fmt.Sprintf("%v, want %v", got, want)
}
