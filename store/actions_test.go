package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// remedy is what the tests allow.
var remedy = drift.Remedy{Mode: drift.RemediateEnforce, Attempts: 3, Backoff: time.Minute, Budget: drift.Budget{InFlight: 4, PerHour: 10, Percent: 100}}

// judge holds a candidate to what is written of it alone.
func judge(r drift.Remedy) func(*store.Standing) drift.Judgement {
	return func(st *store.Standing) drift.Judgement {
		w := &drift.Workspace{ID: ws(1), Secrets: []drift.StoredSecret{{Key: "CLAUDE_CODE_OAUTH_TOKEN"}}}
		f := &drift.Facts{Workspace: w, Desired: drift.Desired{Path: drift.Path{Mode: drift.ModeBYOK, Source: drift.FromProvider, Provider: "anthropic-oauth", Model: "opus"}}, Observation: drift.Observation{State: drift.Observed}}
		return drift.Judge(&drift.Case{Facts: f, Policy: &drift.Policy{StripList: drift.DefaultStripList}, Verdict: drift.Drifted,
			Findings: []drift.Finding{{Kind: drift.ModeMismatch, Remediable: true}}, Platform: true, Remedy: &r, Now: time.Now(),
			History: &drift.History{Agreeing: 1, InFlight: st.InFlight, Attempts: st.Attempts, EndedAt: st.EndedAt, Ramp: &st.Ramp, Room: &st.Room, Approved: st.Approved, First: st.First}})
	}
}

func candidates(r drift.Remedy, n ...int) (list []store.Candidate) {
	for _, i := range n {
		list = append(list, store.Candidate{Workspace: ws(i), Name: fmt.Sprintf("Agent %d", i), Cause: "model_empty", Inputs: "i1", Severity: drift.Critical, Mode: r.Mode, Judge: judge(r)})
	}
	return list
}

func (r *replica) plan(l store.Lease, c []store.Candidate) store.Planned {
	r.Helper()
	p, err := r.Plan(r.Context(), &store.Planning{Lease: l, Full: true, Workspaces: 100, Candidates: c})
	r.must(err)
	return p
}

// rulesOf gives the rules that a plan judged by.
func rulesOf(p store.Planned) (rules []drift.Rule) {
	for _, j := range p.Judgements {
		rules = append(rules, j.Rule)
	}
	return rules
}

// through brings an action to its end.
func (r *replica) through(id int64, o drift.Outcome) {
	r.Helper()
	_, err := r.Calling(r.Context(), id, drift.Attempt{StartedAt: t0}, nil)
	r.must(err)
	_, err = r.Called(r.Context(), id, drift.Call{Result: drift.CallAccepted, Words: "provisioning"})
	r.must(err)
	_, err = r.End(r.Context(), id, store.ActionProving, o, "words", nil)
	r.must(err)
}

func numbers(from, to int) (n []int) {
	for i := from; i <= to; i++ {
		n = append(n, i)
	}
	return n
}

func TestTheFirstIsAloneThenTwoThenFour(t *testing.T) {
	r, l := one(t)
	next := 1
	for _, wave := range []int{1, 2, 4} {
		p := r.plan(l, candidates(remedy, numbers(next, 20)...))
		if len(p.Opened) != wave {
			t.Fatalf("%d were opened, want %d: %v", len(p.Opened), wave, rulesOf(p))
		}
		if again := r.plan(l, candidates(remedy, numbers(next, 20)...)); len(again.Opened) != 0 || again.Judgements[0].Rule != drift.RuleInFlight {
			t.Fatalf("planned again: %v opened, %v", again.Opened, rulesOf(again))
		}
		for i, id := range p.Opened {
			if i > 0 {
				if early := r.plan(l, candidates(remedy, numbers(next+wave, 20)...)); len(early.Opened) != 0 {
					t.Fatal("the next wave did not wait for the whole of the one before")
				}
			}
			r.through(id, drift.Cured)
		}
		next += wave
	}
	r.sound()
}

func TestIneffectiveStopsTheCauseUntilItIsApproved(t *testing.T) {
	for _, outcome := range []drift.Outcome{drift.Ineffective, drift.Worse, drift.Lost} {
		t.Run(string(outcome), func(t *testing.T) {
			r, l := one(t)
			r.apply(pass(l, 1, func(o *store.Outcome) {
				o.States, o.Episodes = []store.State{state(2, drifted)}, []store.EpisodeChange{opened(2, 1)}
			}))
			r.through(r.plan(l, candidates(remedy, 1)).Opened[0], outcome)
			for range 2 {
				if p := r.plan(l, candidates(remedy, 1, 2, 3)); len(p.Opened) != 0 || p.Judgements[1].Rule != drift.RuleIneffective {
					t.Fatalf("opened %v, judged %v", p.Opened, rulesOf(p))
				}
			}
			_, err := r.Approve(t.Context(), store.Approval{Source: source, Workspace: ws(2), Reason: "it is fixed", By: "ops", ExpiresAt: time.Now().Add(time.Hour)})
			r.must(err)
			if p := r.plan(l, candidates(remedy, 1, 2, 3)); len(p.Opened) != 1 {
				t.Errorf("approved, and %d were opened, want a canary: %v", len(p.Opened), rulesOf(p))
			}
			r.sound()
		})
	}
}

func TestChangedInputsOfTheOneThatStoppedItLetTheCauseGoOn(t *testing.T) {
	r, l := one(t)
	r.through(r.plan(l, candidates(remedy, 1)).Opened[0], drift.Ineffective)
	others := candidates(remedy, 2)
	others[0].Inputs = "i2"
	if p := r.plan(l, others); len(p.Opened) != 0 {
		t.Fatal("the inputs of another let it go on")
	}
	changed := candidates(remedy, 1)
	changed[0].Inputs = "i2"
	if p := r.plan(l, changed); len(p.Opened) != 1 {
		t.Errorf("%v", rulesOf(p))
	}
}

func TestBudgetsHoldOverReplicas(t *testing.T) {
	url := migrated(t)
	const replicas = 4
	r := remedy
	r.InFlight, r.PerHour = 5, 7
	var names []string
	for i := range replicas {
		names = append(names, fmt.Sprintf("s%d", i))
	}
	holder := newReplica(t, url, "holder")
	leases := holder.keep(names...).Leases
	// A cause that has proven itself, so that the budgets alone hold.
	_, err := conn(t, url).Exec(t.Context(), "INSERT INTO ramps VALUES ('model_empty', 10, 10, 0, 0, '', NULL, '', '', '', NULL, now())")
	holder.must(err)
	var opened atomic.Int64
	ids := make(chan int64, 1000)
	spend := func() {
		var all sync.WaitGroup
		for i, l := range leases {
			s := open(t, url)
			all.Go(func() {
				for n := range 5 {
					p, err := s.Plan(context.Background(), &store.Planning{Lease: l, Workspaces: 100, Candidates: candidates(r, 100*i+n, 100*i+n+50)})
					if err != nil {
						t.Error(err)
					}
					opened.Add(int64(len(p.Opened)))
					for _, id := range p.Opened {
						ids <- id
					}
				}
			})
		}
		all.Wait()
	}
	spend()
	if opened.Load() != 5 {
		t.Fatalf("%d are under way, want max_in_flight", opened.Load())
	}
	for range 5 {
		holder.through(<-ids, drift.Cured)
	}
	spend()
	if opened.Load() != 7 {
		t.Errorf("%d within the hour, want max_per_hour", opened.Load())
	}
	holder.sound()
}

func TestAnActionThatWasNotCalledGivesItsBudgetBack(t *testing.T) {
	r, l := one(t)
	tight := remedy
	tight.PerHour = 1
	id := r.plan(l, candidates(tight, 1)).Opened[0]
	if p := r.plan(l, candidates(tight, 2)); p.Judgements[0].Rule != drift.RuleCanaryPending {
		t.Fatalf("%v", rulesOf(p))
	}
	_, err := r.End(t.Context(), id, store.ActionQueued, drift.Superseded, "in sync by now", nil)
	r.must(err)
	if p := r.plan(l, candidates(tight, 2)); len(p.Opened) != 1 {
		t.Errorf("%v", rulesOf(p))
	}
}

func TestAnActionMovesOnlyForward(t *testing.T) {
	r, l := one(t)
	id := r.plan(l, candidates(remedy, 1)).Opened[0]
	if _, err := r.Called(t.Context(), id, drift.Call{}); !errors.Is(err, store.ErrMovedOn) {
		t.Errorf("answered before it was called: %v", err)
	}
	_, err := r.Calling(t.Context(), id, drift.Attempt{}, nil)
	r.must(err)
	if _, err := r.Calling(t.Context(), id, drift.Attempt{}, nil); !errors.Is(err, store.ErrMovedOn) {
		t.Errorf("called twice: %v", err)
	}
	if _, err := r.End(t.Context(), id, store.ActionQueued, drift.Superseded, "", nil); !errors.Is(err, store.ErrMovedOn) {
		t.Errorf("ended as if it had not been called: %v", err)
	}
	a, err := r.Called(t.Context(), id, drift.Call{Result: drift.CallThrottled, RetryAfter: time.Minute})
	r.must(err)
	if a.State != store.ActionQueued || time.Until(a.NextAt) < 50*time.Second {
		t.Errorf("throttled: %s, next at %s", a.State, a.NextAt)
	}
	r.must(r.Waits(t.Context(), id, "the minute is over", time.Now().Add(-time.Second)))
	_, err = r.Calling(t.Context(), id, drift.Attempt{}, nil)
	r.must(err)
	a, err = r.Called(t.Context(), id, drift.Call{})
	r.must(err)
	if a.State != store.ActionProving {
		t.Errorf("nobody knows what was answered: %s, want it to be proven", a.State)
	}
	r.sound()
}

func TestADryRunCallsNothingAndTellsOnce(t *testing.T) {
	r, l := one(t)
	dry := remedy
	dry.Mode = drift.RemediateDryRun
	p := r.plan(l, candidates(dry, 1, 2))
	if len(p.Opened) != 2 || len(p.Events) != 2 || p.Events[0].Kind != drift.EventWouldReprovision {
		t.Fatalf("%+v", p)
	}
	if p := r.plan(l, candidates(dry, 1, 2)); len(p.Opened) != 0 || len(p.Events) != 0 {
		t.Errorf("told again: %+v", p)
	}
	if p := r.plan(l, candidates(remedy, 1, 2)); len(p.Opened) != 1 {
		t.Errorf("a dry run has proven something: %v", rulesOf(p))
	}
	r.sound()
}

func TestTheQueueBringsEachActionToAWorkerOnce(t *testing.T) {
	r, l := one(t)
	wide := remedy
	wide.InFlight = 50
	_, err := conn(t, r.url).Exec(t.Context(), "INSERT INTO ramps VALUES ('model_empty', 10, 10, 0, 0, '', NULL, '', '', '', NULL, now())")
	r.must(err)
	wide.PerHour = 50
	opened := r.plan(l, candidates(wide, numbers(1, 30)...)).Opened
	var mu sync.Mutex
	turns := map[int64]int{}
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for i := range 2 {
		s := open(t, r.url)
		all.Go(func() {
			err := s.Work(ctx, store.Working{Name: fmt.Sprint("worker", i), Poll: 20 * time.Millisecond, Do: func(_ context.Context, id int64) (time.Duration, error) {
				mu.Lock()
				defer mu.Unlock()
				if turns[id]++; turns[id] == 1 {
					return time.Millisecond, nil // a second turn
				}
				return 0, nil
			}})
			if err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "every action has its two turns", func() bool {
		mu.Lock()
		defer mu.Unlock()
		for _, id := range opened {
			if turns[id] < 2 {
				return false
			}
		}
		return len(opened) == 30
	})
	stop()
	all.Wait()
	for id, n := range turns {
		if n != 2 {
			t.Errorf("action %d had %d turns", id, n)
		}
	}
}

func TestAPlanIsFenced(t *testing.T) {
	r, l := one(t)
	l.Token++
	if _, err := r.Plan(t.Context(), &store.Planning{Lease: l, Candidates: candidates(remedy, 1)}); !errors.Is(err, store.ErrFenced) {
		t.Errorf("got %v", err)
	}
}
