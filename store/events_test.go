package store_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// A transaction's commit is made to last, so that numbers which were drawn
// early become visible late: unless they can't be drawn.
const slowCommits = `CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(random() * 0.02); RETURN NULL; END $$;
	CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()`

func TestAReaderOfEventsMissesNone(t *testing.T) {
	r := newReplica(t, migrated(t), "a")
	_, err := conn(t, r.url).Exec(t.Context(), slowCommits)
	r.must(err)
	const writers, each = 6, 8
	done := make(chan struct{})
	var running sync.WaitGroup
	for w := range writers {
		running.Go(func() {
			for n := range each {
				_, err := r.Pause(t.Context(), store.Pause{Scope: store.Scope{Kind: store.ScopeSource, Source: fmt.Sprint(w, n)}, Reason: "r", By: "b"})
				if err != nil {
					t.Error(err)
				}
				l := store.Suppression{Source: fmt.Sprint(w), Reason: "r", By: "b", ExpiresAt: min0(1 << 22)}
				if _, err := r.Suppress(t.Context(), l); err != nil {
					t.Error(err)
				}
			}
		})
	}
	go func() { running.Wait(); close(done) }()
	var seen []int64
	follow := func() {
		last := int64(0)
		if len(seen) > 0 {
			last = seen[len(seen)-1]
		}
		events, err := r.Events(t.Context(), store.EventFilter{After: last})
		r.must(err)
		for _, e := range events {
			seen = append(seen, e.ID)
		}
	}
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		follow()
	}
	events, err := r.Events(t.Context(), store.EventFilter{Limit: 1000})
	r.must(err)
	if len(events) != 2*writers*each || len(seen) != len(events) {
		t.Errorf("followed %d events of %d, want %d", len(seen), len(events), 2*writers*each)
	}
}

func TestEventsAreOnlyAppended(t *testing.T) {
	r := newReplica(t, migrated(t), "a")
	_, err := r.Pause(t.Context(), store.Pause{Scope: store.Scope{Kind: store.ScopeAll}, Reason: "r", By: "b"})
	r.must(err)
	c := conn(t, r.url)
	for _, sql := range []string{"UPDATE events SET summary = ''", "DELETE FROM events", "TRUNCATE events"} {
		if _, err := c.Exec(t.Context(), sql); err == nil || !strings.Contains(err.Error(), "only appended") {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if last, err := r.LastEvent(t.Context()); err != nil || last == 0 {
		t.Errorf("last event %d %v", last, err)
	}
}

func TestEventsAreFiltered(t *testing.T) {
	r, l := one(t)
	e := opened(1, 0)
	low := drift.Event{At: min0(1), Kind: drift.EventDriftReminder, Severity: drift.Low, Source: source, Workspace: ws(1)}
	e.Events = append(e.Events, low)
	r.apply(pass(l, 0, func(o *store.Outcome) {
		o.States, o.Episodes = []store.State{state(1, drifted)}, []store.EpisodeChange{e}
		o.Events = []drift.Event{{At: min0(0), Kind: drift.EventSurge, Source: source}}
	}))
	_, err := r.Pause(t.Context(), store.Pause{Scope: store.Scope{Kind: store.ScopeAll}, Reason: "r", By: "b"})
	r.must(err)
	for rule, row := range map[string]struct {
		filter store.EventFilter
		want   []int64
	}{
		"all, the oldest first":   {store.EventFilter{}, []int64{1, 2, 3, 4}},
		"the newest first":        {store.EventFilter{Descending: true, Limit: 2}, []int64{4, 3}},
		"between two numbers":     {store.EventFilter{After: 1, Before: 4}, []int64{2, 3}},
		"of a kind":               {store.EventFilter{Kinds: []drift.EventKind{drift.EventSurge, drift.EventPaused}}, []int64{3, 4}},
		"of a source":             {store.EventFilter{Source: source}, []int64{1, 2, 3}},
		"of a workspace":          {store.EventFilter{Workspace: strings.ToUpper(ws(1))}, []int64{1, 2}},
		"of what is no workspace": {store.EventFilter{Workspace: "x"}, nil},
		"at least so severe":      {store.EventFilter{Severity: drift.Medium}, []int64{1}},
		"the least severe":        {store.EventFilter{Severity: drift.Low}, []int64{1, 2}},
	} {
		events, err := r.Events(t.Context(), row.filter)
		r.must(err)
		var got []int64
		for _, e := range events {
			got = append(got, e.ID)
		}
		if !slices.Equal(got, row.want) {
			t.Errorf("%s: %v, want %v", rule, got, row.want)
		}
	}
}
