package reconcile_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/reconcile"
)

// The incident, from a row to its cause, among one that is fine.
func TestRunFindsTheIncident(t *testing.T) {
	p := pass(t, source("reno", "good", "bad"))
	p.Observer = &observer{answers: map[string]drift.Observation{"i-bad": drained("203.0.113.7"), "i-good": fine("203.0.113.8")}}
	p.Witness = &log{calls: map[string]int{"203.0.113.7": 12}}
	p.Credentials = []string{"CLAUDE_CODE_OAUTH_TOKEN"}
	result := run(t, p)

	bad := judged(t, result, "bad")
	want := []drift.Kind{drift.ModeMismatch, drift.RoutedToProxy, drift.CredentialNotDelivered, drift.PlatformCredentialExposed, drift.ProxyTraffic}
	if diff := cmp.Diff(want, kinds(bad)); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	if bad.Verdict != drift.Drifted || len(bad.Causes) != 1 || bad.Causes[0].Code != drift.ModelEmpty || bad.Judgement.Rule != drift.RuleNoPlatform {
		t.Errorf("got %s, %+v, %+v", bad.Verdict, bad.Causes, bad.Judgement)
	}
	good := judged(t, result, "good")
	if good.Verdict != drift.InSync || len(good.Findings) != 0 || good.Causes != nil || good.Judgement.Rule != drift.RuleNoDrift {
		t.Errorf("the good one: %s, %v, %v, %+v", good.Verdict, kinds(good), good.Causes, good.Judgement)
	}
	if result.At != now || result.Partial || result.Fleet != nil {
		t.Errorf("result: %+v", result)
	}
	sel := rows(p.Sources[0]).asked
	if diff := cmp.Diff([]reconcile.Selection{{Key: key, Credentials: p.Credentials}}, sel); diff != "" {
		t.Errorf("selection (-want +got):\n%s", diff)
	}
}

// One source that fails holds up no other, is in the result with its error, and
// shows none of the half that was read of it.
func TestFailingSource(t *testing.T) {
	lost := source("lost", "a", "b")
	rows(lost).err = errors.New("connection reset")
	p := pass(t, source("first", "c"), lost, source("last", "d"))
	asked := &platform{}
	p.Sources[2].Platform, p.Sources[2].Asks = asked, 10
	result := run(t, p)
	if diff := cmp.Diff([]string{"c", "d"}, ids(result)); diff != "" {
		t.Errorf("workspaces (-want +got):\n%s", diff)
	}
	want := []reconcile.SourceResult{{Name: "first", Workspaces: 1}, {Name: "lost", Err: rows(lost).err}, {Name: "last", Workspaces: 1}}
	if diff := cmp.Diff(want, result.Sources, cmpopts.EquateErrors(), cmpopts.IgnoreFields(reconcile.SourceResult{}, "Took")); diff != "" {
		t.Errorf("sources (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"d"}, asked.ids()); diff != "" {
		t.Errorf("asked of the last source's platform (-want +got):\n%s", diff)
	}
}

// While one source is slow, the others are read, and its place in the result
// stays its own.
func TestSlowSource(t *testing.T) {
	var others sync.WaitGroup
	others.Add(2)
	slow, quick, quicker := source("slow", "a"), source("quick", "b"), source("quicker", "c")
	rows(slow).before = func(context.Context) error { others.Wait(); return nil }
	for _, s := range []reconcile.Source{quick, quicker} {
		rows(s).before = func(context.Context) error { others.Done(); return nil }
	}
	result := run(t, pass(t, slow, quick, quicker))
	if diff := cmp.Diff([]string{"a", "b", "c"}, ids(result)); diff != "" {
		t.Errorf("workspaces (-want +got):\n%s", diff)
	}
}

// Law 1: a pass that was ended has no result that could be taken for one.
func TestCancellation(t *testing.T) {
	why := errors.New("shutting down")
	for name, end := range map[string]func(*reconcile.Pass, context.CancelCauseFunc){
		"while reading": func(p *reconcile.Pass, cancel context.CancelCauseFunc) {
			rows(p.Sources[0]).before = func(ctx context.Context) error { cancel(why); return ctx.Err() }
		},
		"while asking": func(p *reconcile.Pass, cancel context.CancelCauseFunc) {
			p.Sources[0].Platform, p.Sources[0].Asks = &platform{before: func() { cancel(why) }}, 1
		},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		p := pass(t, source("reno", "a"))
		end(p, cancel)
		result, err := p.Run(ctx, key)
		if result != nil || !errors.Is(err, why) {
			t.Errorf("%s: got %v, %v", name, result, err)
		}
		if result, err := p.Desired(ctx); result != nil || !errors.Is(err, why) {
			t.Errorf("%s, desired: got %v, %v", name, result, err)
		}
	}
}

// The desired side reads and resolves alone: no key, no look, no question.
func TestDesired(t *testing.T) {
	p := pass(t, source("reno", "a", "b"), source("acme", "c"))
	looked, asked, witness := &observer{}, &platform{}, &log{}
	p.Observer, p.Witness = looked, witness
	p.Sources[0].Platform, p.Sources[0].Asks = asked, 10
	p.Only = map[string][]string{"reno": {"b"}}
	result, err := p.Desired(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"b"}, ids(result)); diff != "" {
		t.Errorf("workspaces (-want +got):\n%s", diff)
	}
	if j := judged(t, result, "b"); j.Desired.Provider != "anthropic-oauth" || j.Verdict != "" || j.Findings != nil {
		t.Errorf("got %+v", j)
	}
	if len(looked.targets)+len(asked.ids())+len(witness.lives) != 0 || result.Traffic != nil {
		t.Error("something was looked at")
	}
	if diff := cmp.Diff([]reconcile.Selection{{IDs: []string{"b"}}}, rows(p.Sources[0]).asked); diff != "" {
		t.Errorf("selection (-want +got):\n%s", diff)
	}
	if rows(p.Sources[1]).asked != nil {
		t.Error("a source of which nothing was asked for was read")
	}
}

// Without a clock, a witness, an observer and a listener a pass is still one.
func TestBarePass(t *testing.T) {
	p := pass(t, source("reno", "a"))
	p.Observer, p.Now = nil, nil
	result := run(t, p)
	j := judged(t, result, "a")
	if j.Verdict != drift.Unknown || j.Observation.State != drift.NotAsked || j.Observation.Reason == "" || j.Reason == "" || !j.Observation.At.IsZero() {
		t.Errorf("got %s (%s), %+v", j.Verdict, j.Reason, j.Observation)
	}
	if result.Traffic != nil || j.Traffic != nil || j.ReadEndpoint != nil {
		t.Error("what was not asked for is there")
	}
	if since := time.Since(result.At); since < 0 || since > time.Minute {
		t.Errorf("at %s", result.At)
	}
}

// Readers report from several goroutines.
func TestProgress(t *testing.T) {
	var sources []reconcile.Source
	for _, name := range []string{"a", "b", "c", "d"} {
		s := source(name)
		rows(s).workspaces = make([]drift.Workspace, 2500)
		sources = append(sources, s)
	}
	p := pass(t, sources...)
	var mu sync.Mutex
	got := map[string]int{}
	p.Progress = func(stage string, done, _ int) {
		mu.Lock()
		defer mu.Unlock()
		got[stage] = max(got[stage], done)
	}
	run(t, p)
	if diff := cmp.Diff(map[string]int{"read a": 2000, "read b": 2000, "read c": 2000, "read d": 2000}, got); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
}
