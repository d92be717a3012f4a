package reconcile_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/reconcile"
)

// platform answers as the read path would, but for those it is told of.
type platform struct {
	answers map[string]drift.ReadEndpoint
	before  func()

	mu    sync.Mutex
	asked []string
}

func (p *platform) ReadMode(_ context.Context, id string) drift.ReadEndpoint {
	if p.before != nil {
		p.before()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, id)
	if answer, ok := p.answers[id]; ok {
		return answer
	}
	return drift.ReadEndpoint{Mode: drift.ModeBYOK, Source: drift.FromProvider, Provider: "anthropic-oauth"}
}

func (p *platform) ids() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	slices.Sort(p.asked)
	return p.asked
}

// fleet is n workspaces, w000 on; the first so many are drained.
func fleet(t *testing.T, n, drainedOnes, budget int) (*reconcile.Pass, *platform) {
	s := source("reno")
	look := &observer{answers: map[string]drift.Observation{}}
	for i := range n {
		id := fmt.Sprintf("w%03d", i)
		rows(s).workspaces = append(rows(s).workspaces, workspace("reno", id))
		if i < drainedOnes {
			look.answers["i-"+id] = drained()
		}
	}
	asked := &platform{}
	s.Platform, s.Asks = asked, budget
	p := pass(t, s)
	p.Observer = look
	return p, asked
}

func TestAsksWhereSomethingWasFoundFirst(t *testing.T) {
	for _, row := range []struct{ found, budget, wantFound, wantQuiet int }{
		{3, 300, 3, 20}, {3, 10, 3, 7}, {3, 3, 3, 0}, {30, 10, 10, 0}, {0, 300, 0, 20}, {0, 5, 0, 5}, {100, 300, 100, 0}, {3, 0, 0, 0},
	} {
		p, asked := fleet(t, 100, row.found, row.budget)
		run(t, p)
		found := 0
		for _, id := range asked.ids() {
			if n, _ := strconv.Atoi(id[1:]); n < row.found {
				found++
			}
		}
		if quiet := len(asked.ids()) - found; found != row.wantFound || quiet != row.wantQuiet {
			t.Errorf("%+v: %d with findings and %d without were asked about", row, found, quiet)
		}
		if all := slices.Compact(slices.Clone(asked.ids())); len(all) != len(asked.ids()) {
			t.Errorf("%+v: somebody was asked about twice", row)
		}
	}
}

// Whatever the interval and the size of the fleet, everybody has their turn;
// those with findings too, where there are more than the budget.
func TestSampleRotates(t *testing.T) {
	for _, interval := range []time.Duration{time.Second, time.Minute, 5 * time.Minute, time.Hour} {
		for _, row := range []struct{ found, budget int }{{0, 300}, {50, 20}} {
			p, asked := fleet(t, 50, row.found, row.budget)
			for i := range 30 {
				p.Now = func() time.Time { return now.Add(time.Duration(i) * interval) }
				run(t, p)
			}
			if got := len(slices.Compact(asked.ids())); got != 50 {
				t.Errorf("every %s, %+v: %d of 50 were asked about in 30 passes", interval, row, got)
			}
		}
	}
}

func TestSkippedAreNotAskedAbout(t *testing.T) {
	p, asked := fleet(t, 2, 0, 10)
	rows(p.Sources[0]).workspaces[0].Status = "removed"
	run(t, p)
	if diff := cmp.Diff([]string{"w001"}, asked.ids()); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

// Whoever the operator names is asked about, whatever the sample.
func TestNamedAreAskedAbout(t *testing.T) {
	p, asked := fleet(t, 40, 0, 300)
	var named []string
	for i := range 30 {
		named = append(named, fmt.Sprintf("w%03d", i))
	}
	p.Only = map[string][]string{"reno": named}
	run(t, p)
	if diff := cmp.Diff(named, asked.ids()); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

// An answer that differs is a finding, and the workspace is judged again; one
// that failed accuses no one.
func TestAnswersAreJudged(t *testing.T) {
	p, asked := fleet(t, 3, 0, 10)
	asked.answers = map[string]drift.ReadEndpoint{
		"w001": {Mode: drift.ModePlatformManaged, Source: drift.FromDefault},
		"w002": {Err: "read endpoint: 503: the platform's database is down"},
	}
	result := run(t, p)
	agrees, differs, failed := judged(t, result, "w000"), judged(t, result, "w001"), judged(t, result, "w002")
	if agrees.Verdict != drift.InSync || agrees.ReadEndpoint == nil {
		t.Errorf("agrees: %s, %+v", agrees.Verdict, agrees.ReadEndpoint)
	}
	if diff := cmp.Diff([]drift.Kind{drift.PathsDiverge}, kinds(differs)); diff != "" {
		t.Errorf("differs: findings (-want +got):\n%s", diff)
	}
	if differs.Verdict != drift.Drifted || differs.Judgement.Rule != drift.RuleNotRemediable {
		t.Errorf("differs: %s, %+v", differs.Verdict, differs.Judgement)
	}
	if failed.Verdict != drift.InSync || failed.ReadEndpoint.Err == "" || len(failed.Findings) != 0 {
		t.Errorf("failed: %s, %+v, %v", failed.Verdict, failed.ReadEndpoint, kinds(failed))
	}
}

// A platform that hangs keeps no other from being asked.
func TestHangingPlatform(t *testing.T) {
	var others sync.WaitGroup
	p := pass(t)
	add := func(name string, before func()) {
		s := source(name, name+"1", name+"2", name+"3", name+"4", name+"5", name+"6", name+"7", name+"8")
		s.Platform, s.Asks = &platform{before: before}, 8
		p.Sources = append(p.Sources, s)
	}
	add("hangs", others.Wait)
	add("a", others.Done)
	add("b", others.Done)
	others.Add(16)
	run(t, p) // ends only if all 16 were asked while the first hung
}

// What may be done is said of every workspace, asked about or not.
func TestEveryWorkspaceIsDecided(t *testing.T) {
	p, _ := fleet(t, 30, 10, 5)
	for i := range p.Sources {
		p.Sources[i].Remedy.Mode = drift.RemediateEnforce
	}
	result := run(t, p)
	for i := range result.Workspaces {
		want := drift.RuleNoDrift
		if i < 10 {
			want = drift.RuleGo
		}
		if got := result.Workspaces[i].Judgement.Rule; got != want {
			t.Errorf("%d: got %s, want %s", i, got, want)
		}
	}
}
