package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

const sink = "slack-ops"

// told writes n events that concern no drift.
func (r *replica) events(n int) {
	r.Helper()
	for range n {
		_, err := r.Suppress(r.Context(), store.Suppression{Source: source, Reason: "r", By: "b", ExpiresAt: min0(1 << 22)})
		r.must(err)
	}
}

func (r *replica) claim(change ...func(*store.SinkClaim)) (*store.Claimed, time.Duration) {
	r.Helper()
	c := store.SinkClaim{Sink: sink, Holder: r.me.Name, For: time.Minute}
	for _, f := range change {
		f(&c)
	}
	k, wait, err := r.ClaimSink(r.Context(), c)
	r.must(err)
	return k, wait
}

func (r *replica) mustClaim() *store.Claimed {
	r.Helper()
	k, _ := r.claim()
	if k == nil {
		r.Fatal("the sink cannot be claimed")
	}
	return k
}

func (r *replica) useSink() {
	r.Helper()
	r.must(r.UseSinks(r.Context(), map[string]string{sink: "slack"}))
}

func (r *replica) tells(k *store.Claimed, ids ...int64) {
	r.Helper()
	r.must(r.TellSink(r.Context(), k, store.Telling{Events: ids, Delivered: true}))
}

func (r *replica) leaves(k *store.Claimed) {
	r.Helper()
	r.must(r.LeaveSink(r.Context(), k, false))
}

func (r *replica) exec(sql string) {
	r.Helper()
	_, err := conn(r, r.url).Exec(r.Context(), sql)
	r.must(err)
}

func ids(news []drift.News) (list []int64) {
	for _, n := range news {
		list = append(list, n.ID)
	}
	return list
}

func withSink(t *testing.T) *replica {
	t.Helper()
	r := newReplica(t, migrated(t), "a")
	r.useSink()
	return r
}

func TestANewSinkBeginsWithTheNextEventAndAnOldOneWhereItStood(t *testing.T) {
	r := newReplica(t, migrated(t), "a")
	r.events(3)
	r.useSink()
	if k, _ := r.claim(); k != nil {
		t.Fatalf("told of history: %v", ids(k.News))
	}
	r.events(2)
	r.useSink() // configured again, at the next start
	diff(t, []int64{4, 5}, ids(r.mustClaim().News))
}

func TestASinkIsToldByOneReplicaAtATime(t *testing.T) {
	r := withSink(t)
	other := newReplica(t, r.url, "b")
	r.events(2)
	k := r.mustClaim()
	if second, wait := other.claim(); second != nil || wait <= 0 {
		t.Fatalf("claimed twice (wait %s)", wait)
	}
	r.tells(k, ids(k.News)...)
	r.leaves(k)
	if second, _ := other.claim(); second != nil {
		t.Fatalf("told again: %v", ids(second.News))
	}
}

// A replica is frozen between its message and its note of it. Another has told
// the same and more meanwhile.
func TestAFrozenReplicaDoesNotMoveTheCursorBack(t *testing.T) {
	r := withSink(t)
	other := newReplica(t, r.url, "b")
	r.events(2)
	frozen := r.mustClaim()
	r.exec("UPDATE sinks SET held_until = clock_timestamp() - interval '1 second'")
	r.events(1)
	k := other.mustClaim()
	diff(t, []int64{1, 2, 3}, ids(k.News))
	other.tells(k, 1, 2, 3)
	for what, err := range map[string]error{
		"told":   r.TellSink(t.Context(), frozen, store.Telling{Events: []int64{1}, Delivered: true}),
		"failed": r.SinkFailed(t.Context(), frozen, store.SinkFailure{Err: "late", Retry: time.Hour}),
		"left":   r.LeaveSink(t.Context(), frozen, true),
	} {
		if !errors.Is(err, store.ErrFenced) {
			t.Errorf("%s: %v", what, err)
		}
	}
	other.leaves(k)
	if k, _ := r.claim(); k != nil {
		t.Errorf("told again: %v", ids(k.News))
	}
}

// The claim has run out, but nobody else has taken the sink.
func TestAClaimThatNobodyTookIsGoodStill(t *testing.T) {
	r := withSink(t)
	r.events(1)
	k := r.mustClaim()
	r.exec("UPDATE sinks SET held_until = clock_timestamp() - interval '1 second'")
	r.tells(k, 1)
}

func TestWhatWasToldOutOfTurnIsNotToldAgain(t *testing.T) {
	r := withSink(t)
	r.events(5)
	k := r.mustClaim()
	for _, step := range []struct {
		rule string
		told []int64
		left []int64
	}{
		{"a later one leaves a gap", []int64{3, 5}, []int64{1, 2, 4}},
		{"the gap shrinks from its beginning", []int64{1}, []int64{2, 4}},
		{"the gap is closed", []int64{2}, []int64{4}},
	} {
		r.tells(k, step.told...)
		r.leaves(k)
		k = r.mustClaim()
		diff(t, step.left, ids(k.News))
		if t.Failed() {
			t.Fatal(step.rule)
		}
	}
	r.tells(k, 4)
	r.leaves(k)
	r.events(1)
	diff(t, []int64{6}, ids(r.mustClaim().News))
}

func TestBackOffOutlivesARestart(t *testing.T) {
	r := withSink(t)
	r.events(1)
	for range 3 {
		r.must(r.SinkFailed(t.Context(), r.mustClaim(), store.SinkFailure{Err: "post: 503", Retry: time.Hour}))
		if k, wait := newReplica(t, r.url, "again").claim(); k != nil || wait < 59*time.Minute {
			t.Fatalf("tried at once (wait %s)", wait)
		}
		r.exec("UPDATE sinks SET next_at = clock_timestamp()")
	}
	sinks, err := r.Sinks(t.Context())
	r.must(err)
	if k := sinks[0]; k.Tries != 3 || k.Err != "post: 503" || k.FailingSince.IsZero() || k.Waiting != 1 || k.Behind(time.Now()) <= 0 {
		t.Errorf("%+v", k)
	}
	k := r.mustClaim()
	if k.Tries != 3 || k.Refusals != 0 {
		t.Errorf("%+v", k)
	}
	r.tells(k, 1)
	sinks, err = r.Sinks(t.Context())
	r.must(err)
	if k := sinks[0]; k.Tries != 0 || k.Err != "" || !k.FailingSince.IsZero() || k.DeliveredAt.IsZero() || k.Behind(time.Now()) != 0 {
		t.Errorf("%+v", k)
	}
}

func TestEventsAreCollectedFromWhenTheFirstIsNoticed(t *testing.T) {
	r := withSink(t)
	settle := func(c *store.SinkClaim) { c.Settle = time.Hour }
	r.events(1)
	for range 2 {
		if k, wait := r.claim(settle); k != nil || wait <= 59*time.Minute || wait > time.Hour {
			t.Fatalf("claimed at once, or wait %s", wait)
		}
	}
	r.events(1)
	r.exec("UPDATE sinks SET noticed_at = noticed_at - interval '1 hour'")
	k, _ := r.claim(settle)
	if k == nil {
		t.Fatal("it never comes to be told")
	}
	diff(t, []int64{1, 2}, ids(k.News))
	r.tells(k, 1, 2)
	r.leaves(k)
	r.events(1)
	if k, wait := r.claim(settle); k != nil || wait <= 59*time.Minute {
		t.Errorf("the next ones are not collected (wait %s)", wait)
	}
}

func TestWhatIsKeptIsDueWithoutNews(t *testing.T) {
	r := withSink(t)
	keep := func(c *store.SinkClaim) { c.Keep = time.Minute }
	k, _ := r.claim(keep)
	if k == nil || !k.Keeping {
		t.Fatal("nothing is kept")
	}
	r.must(r.LeaveSink(t.Context(), k, true))
	if k, _ := r.claim(keep); k != nil {
		t.Error("kept again at once")
	}
	r.exec("UPDATE sinks SET kept_at = kept_at - interval '1 minute'")
	if k, _ := r.claim(keep); k == nil {
		t.Error("not kept again")
	}
}

func TestASinkThatNobodyConfiguresIsForgottenAfterAWeek(t *testing.T) {
	r := withSink(t)
	for _, step := range []struct {
		rule string
		age  string
		want int
	}{
		{"within the week its cursor is kept", "6 days", 2},
		{"after it, it is not", "8 days", 1},
	} {
		r.exec("UPDATE sinks SET seen_at = clock_timestamp() - interval '" + step.age + "'")
		r.must(r.UseSinks(t.Context(), map[string]string{"other": "webhook"}))
		sinks, err := r.Sinks(t.Context())
		r.must(err)
		if len(sinks) != step.want {
			t.Errorf("%s: %+v", step.rule, sinks)
		}
	}
}

func TestNewsKnowsTheCauseAndWhatStandsIsWhatWasToldOf(t *testing.T) {
	r, l := one(t)
	r.useSink()
	untold := opened(2, 1)
	untold.AnnouncedAt, untold.Announced, untold.Events = time.Time{}, "", nil
	r.apply(pass(l, 1, func(o *store.Outcome) {
		o.States = []store.State{state(1, drifted), state(2, drifted), state(3, drifted)}
		o.Episodes = []store.EpisodeChange{opened(1, 1), untold, opened(3, 1)}
		o.Surge, o.Events = "9 of 10 flipped", []drift.Event{{At: min0(1), Kind: drift.EventSurge, Severity: drift.High, Source: source, Summary: "9 of 10 flipped"}}
	}))
	_, err := r.Suppress(t.Context(), store.Suppression{Source: source, Workspace: ws(3), Reason: "known", By: "b", ExpiresAt: min0(1 << 22)})
	r.must(err)
	news := r.mustClaim().News
	if len(news) != 4 || news[0].Announced != drift.Critical || len(news[0].Causes) != 1 || news[0].Causes[0].Code != drift.ModelEmpty || news[2].Announced != "" {
		t.Fatalf("%+v", news)
	}
	standing, err := r.Standing(t.Context())
	r.must(err)
	var got []string
	for _, n := range standing {
		got = append(got, string(n.Kind)+" "+n.Workspace+" "+string(n.Severity))
	}
	diff(t, []string{"drift_opened " + ws(1) + " critical", "desired_surge  high"}, got)
}

// flood writes n events at once.
func (r *replica) flood(n int) {
	r.Helper()
	r.exec(fmt.Sprintf("INSERT INTO events (at, kind, severity, source, name, summary, by) SELECT clock_timestamp(), 'k', '', '', '', '', '' FROM generate_series(1, %d)", n))
}

// More than a claim brings is collected already: the rest need not wait again.
func TestWhatIsBehindAClaimIsNotCollectedAnew(t *testing.T) {
	r := withSink(t)
	settle := func(c *store.SinkClaim) { c.Settle = time.Hour }
	r.flood(2000)
	r.claim(settle)
	r.exec("UPDATE sinks SET noticed_at = noticed_at - interval '1 hour'")
	for _, more := range []bool{true, false} {
		k, wait := r.claim(settle)
		if k == nil || len(k.News) != 1000 || k.More != more {
			t.Fatalf("claimed %+v, wait %s", k, wait)
		}
		r.tells(k, ids(k.News)...)
		r.leaves(k)
	}
	r.events(1)
	if k, _ := r.claim(settle); k != nil {
		t.Error("what comes next is not collected")
	}
}

// One message of a claim is never taken, the others are: what is noted beyond
// the cursor is of a thousand events, however many are behind them.
func TestAClaimReadsNoFurtherThanItsFirstThousand(t *testing.T) {
	r := withSink(t)
	r.flood(5000)
	for turn, want := range []int{1000, 1, 1} {
		k := r.mustClaim()
		if len(k.News) != want || k.News[0].ID != 1 || !k.More {
			t.Fatalf("turn %d: %d from %d on", turn, len(k.News), k.News[0].ID)
		}
		r.tells(k, ids(k.News[1:])...)
		r.leaves(k)
	}
	k := r.mustClaim()
	r.tells(k, 1)
	r.leaves(k)
	if k := r.mustClaim(); len(k.News) != 1000 || k.News[0].ID != 1001 {
		t.Errorf("%d from %d on", len(k.News), k.News[0].ID)
	}
}
