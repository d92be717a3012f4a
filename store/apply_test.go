package store_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

func TestWhatIsAppliedIsLoaded(t *testing.T) {
	r, l := one(t)
	unseen := state(2, func(s *store.State) {
		s.Observed, s.ObservedAt, s.Overrides = false, min0(-5), []string{"byok", "disabled"}
	})
	first := opened(1, 0)
	got := r.apply(pass(l, 0, func(o *store.Outcome) {
		o.States = []store.State{unseen, state(1, drifted)}
		o.Episodes = []store.EpisodeChange{first}
		o.Census = drift.Census{Known: 2, Flipped: 1}
		o.Events = []drift.Event{{At: min0(0), Kind: drift.EventSurge, Source: source, Summary: "1 of 2"}}
		o.Surge = "1 of 2"
	}))
	first.ID = got.Episodes[0]
	if kinds := []drift.EventKind{got.Events[0].Kind, got.Events[1].Kind}; kinds[0] != drift.EventDriftOpened || kinds[1] != drift.EventSurge || got.Events[0].Episode != first.ID || got.Events[1].ID != got.Events[0].ID+1 {
		t.Errorf("events %+v", got.Events)
	}
	known := r.load(l)
	known.Source.Holder = nil
	diff(t, &store.Known{
		States: map[string]store.KnownState{
			ws(1): {Digest: state(1, drifted).Digest, DesiredMode: drift.ModeBYOK, Observed: true},
			ws(2): {Digest: unseen.Digest, DesiredMode: drift.ModeBYOK, ObservedAt: min0(-5), Overrides: []string{"byok", "disabled"}},
		},
		Episodes: map[string]drift.Episode{ws(1): first.Episode},
		Source: store.SourceState{Name: source, LastPassAt: min0(0), Took: 1e9, TriedAt: min0(0), Resolver: "r1", Census: drift.Census{Known: 2, Flipped: 1},
			Counts: map[drift.Verdict]int{drift.InSync: 1}, Surge: "1 of 2", SurgeSince: min0(0), SurgeTold: min0(0)},
	}, known)
	r.sound()

	r.apply(pass(l, 1, func(o *store.Outcome) {
		o.Episodes = []store.EpisodeChange{closed(first.Episode, 1)}
		o.Gone = []string{ws(2)}
	}))
	known = r.load(l)
	if len(known.Episodes) != 0 || len(known.States) != 1 || !known.Source.SurgeSince.IsZero() {
		t.Errorf("known %+v", known)
	}
	r.sound()
}

func TestTheSnapshotsOfADriftAreKeptAsWritten(t *testing.T) {
	r, l := one(t)
	e := opened(1, 0)
	e.Opened = json.RawMessage(`{"b": 1,  "a": "\u0000"}`)
	id := r.apply(pass(l, 0, func(o *store.Outcome) {
		o.States, o.Episodes = []store.State{state(1, drifted)}, []store.EpisodeChange{e}
	})).Episodes[0]
	change := store.EpisodeChange{Episode: e.Episode, Snapshot: store.Snapshot{Latest: json.RawMessage(`{"z": 2, "y": []}`)}}
	change.ID = id
	r.apply(pass(l, 1, func(o *store.Outcome) { o.Episodes = []store.EpisodeChange{change} }))
	change.Latest = nil
	r.apply(pass(l, 2, func(o *store.Outcome) { o.Episodes = []store.EpisodeChange{change} }))
	got, err := r.Drift(t.Context(), id)
	r.must(err)
	diff(t, store.Snapshot{Opened: e.Opened, Latest: json.RawMessage(`{"z": 2, "y": []}`)}, got.Snapshot)
}

func TestAnOutcomeThatIsRefusedWritesNothing(t *testing.T) {
	r, l := one(t)
	r.apply(pass(l, 0, func(o *store.Outcome) {
		o.States, o.Episodes = []store.State{state(1, drifted)}, []store.EpisodeChange{opened(1, 0)}
	}))
	before := r.load(l)
	for rule, row := range map[string]struct {
		want   error
		change func(*store.Outcome)
	}{
		"a second open drift of a workspace":    {nil, func(o *store.Outcome) { o.Episodes = []store.EpisodeChange{opened(1, 1)} }},
		"two new drifts of a workspace at once": {store.ErrInvalid, func(o *store.Outcome) { o.Episodes = []store.EpisodeChange{opened(2, 1), opened(2, 1)} }},
		"a drift that is not there": {store.ErrStale, func(o *store.Outcome) {
			e := opened(3, 1)
			e.ID = 99
			o.Episodes = []store.EpisodeChange{e}
		}},
		"a drift of another source": {store.ErrInvalid, func(o *store.Outcome) {
			e := opened(3, 1)
			e.Source = "other"
			o.Episodes = []store.EpisodeChange{e}
		}},
		"an older token":                      {store.ErrFenced, func(o *store.Outcome) { o.Lease.Token-- }},
		"a lease of a source that nobody has": {store.ErrFenced, func(o *store.Outcome) { o.Lease.Source = "other" }},
	} {
		o := pass(l, 1, func(o *store.Outcome) { o.States = []store.State{state(1, nil), state(2, nil)} })
		row.change(o)
		_, err := r.Apply(t.Context(), o)
		if err == nil || row.want != nil && !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", rule, err, row.want)
		}
		diff(t, before, r.load(l))
	}
	r.sound()
}

func TestASourceThatCannotBeReadKeepsWhatWasKnown(t *testing.T) {
	r, l := one(t)
	r.apply(pass(l, 0, func(o *store.Outcome) { o.States = []store.State{state(1, nil)} }))
	before := r.load(l)
	r.apply(pass(l, 1, func(o *store.Outcome) { o.Err, o.Gone = "no route to \x00host\xff", []string{ws(1)} }))
	before.Source.Err, before.Source.TriedAt = "no route to host\uFFFD", min0(1)
	diff(t, before, r.load(l))
}

func TestALookAtOneWorkspaceIsNoPass(t *testing.T) {
	r, l := one(t)
	r.apply(pass(l, 0, func(o *store.Outcome) { o.States = []store.State{state(1, nil)} }))
	before := r.load(l)
	asked, err := r.RequestLook(t.Context(), store.Look{Source: source, Workspace: ws(1), Reason: "why", By: "ops"})
	r.must(err)
	r.apply(pass(l, 1, func(o *store.Outcome) {
		o.Full, o.States, o.Looks = false, []store.State{state(1, drifted)}, []int64{asked.ID}
	}))
	diff(t, before.Source, r.load(l).Source)
	if waiting, err := r.Looks(t.Context(), []string{source}); err != nil || len(waiting) != 0 {
		t.Errorf("still waiting: %v %v", waiting, err)
	}
}

func TestAnAcceptanceIsUsedUpByTheFirstPassWithoutASurge(t *testing.T) {
	r, l := one(t)
	surge := func(o *store.Outcome) { o.Surge = "half flipped" }
	r.apply(pass(l, 0, nil))
	if err := r.Accept(t.Context(), source, "ops", "meant"); !errors.Is(err, store.ErrNoSurge) {
		t.Errorf("accepted nothing: %v", err)
	}
	r.apply(pass(l, 1, surge))
	r.must(r.Accept(t.Context(), source, "ops", "meant"))
	r.apply(pass(l, 2, surge)) // it had begun before
	at, err := r.Accepted(t.Context(), source)
	if r.must(err); at.IsZero() {
		t.Error("a pass that did not see the acceptance used it up")
	}
	if got := r.load(l).Source; !got.SurgeSince.Equal(min0(1)) || !got.Accepted.Equal(at) {
		t.Errorf("%+v", got)
	}
	r.apply(pass(l, 3, nil))
	if at, err := r.Accepted(t.Context(), source); err != nil || !at.IsZero() {
		t.Errorf("not used up: %v %v", at, err)
	}
}

func TestASourceIsForgottenOnceItsDriftsHaveEnded(t *testing.T) {
	r, l := one(t)
	e := opened(1, 0)
	id := r.apply(pass(l, 0, func(o *store.Outcome) {
		o.States, o.Episodes = []store.State{state(1, drifted)}, []store.EpisodeChange{e}
		o.Holdings = holds(at(1, "203.0.113.1", -5))
	})).Episodes[0]
	if err := r.Forget(t.Context(), l); !errors.Is(err, store.ErrStale) {
		t.Errorf("forgotten with an open drift: %v", err)
	}
	e.ID = id
	r.apply(pass(l, 1, func(o *store.Outcome) { o.Episodes = []store.EpisodeChange{closed(e.Episode, 1)} }))
	r.must(r.Forget(t.Context(), l))
	sources, err := r.Sources(t.Context())
	r.must(err)
	if lives := r.strings("SELECT address::text FROM holdings WHERE upper_inf(during)"); len(sources) != 0 || len(lives) != 0 {
		t.Errorf("left: %v %v", sources, lives)
	}
	if _, err := r.Drift(t.Context(), id); err != nil {
		t.Error(err)
	}
	r.sound()
}

// The system columns of a row tell whether it was written or even locked.
func TestNothingChangedNothingWritten(t *testing.T) {
	r, l := one(t)
	all := []store.State{state(1, drifted), state(2, nil), state(3, nil)}
	look := func() string {
		t.Helper()
		rows, err := conn(t, r.url).Query(t.Context(), "SELECT concat_ws(' ', right(id::text, 1), ctid, xmin, xmax) FROM states ORDER BY id")
		r.must(err)
		list, err := collectText(rows)
		r.must(err)
		held, err := conn(t, r.url).Query(t.Context(), "SELECT concat_ws(' ', ctid, xmin, xmax) FROM holdings ORDER BY id")
		r.must(err)
		more, err := collectText(held)
		r.must(err)
		return strings.Join(append(list, more...), "\n")
	}
	write := func(at int) {
		t.Helper()
		r.apply(pass(l, at, func(o *store.Outcome) { o.States, o.Holdings = all, holds(sameAddress...) }))
	}
	write(0)
	before := look()
	write(1)
	diff(t, before, look())
	all[1] = state(2, drifted)
	write(2)
	if after := look(); after == before || strings.Count(after, "\n") != 4 {
		t.Errorf("after a change: %s", after)
	}
}

var sameAddress = []store.Holding{at(1, public, -9), at(2, "10.0.0.1", -9)}
