package store_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// held is a candidate that a rule keeps from going.
func held(n int, rule drift.Rule) store.Candidate {
	c := candidates(remedy, n)[0]
	c.Judge = func(*store.Standing) drift.Judgement { return drift.Judgement{Rule: rule, Words: "for now"} }
	return c
}

func tiered(c store.Candidate) store.Candidate {
	c.Canary = true
	return c
}

// The first reprovision of a cause waits for a workspace of the tier that goes
// first, whatever source it is of, as long as that may go soon.
func TestACanaryOfAnotherSourceGoesFirst(t *testing.T) {
	for _, row := range []struct {
		name  string
		other store.Candidate
		age   time.Duration // of what was judged of it
		waits bool
	}{
		{"settling", tiered(held(9, drift.RuleSettling)), 0, true},
		{"at work", tiered(held(9, drift.RuleBusy)), canaryWait - time.Minute, true},
		{"for too long", tiered(held(9, drift.RuleBusy)), canaryWait + time.Minute, false},
		{"for good", tiered(held(9, drift.RuleKnownRefusal)), 0, false},
		{"outside its window", tiered(held(9, drift.RuleOutsideWindow)), 0, false},
		{"not of the tier", held(9, drift.RuleSettling), 0, false},
		{"of another cause", func() store.Candidate { c := tiered(held(9, drift.RuleSettling)); c.Cause = "secret_unset"; return c }(), 0, false},
		{"in a dry run", func() store.Candidate {
			c := tiered(held(9, drift.RuleSettling))
			c.Mode = drift.RemediateDryRun
			return c
		}(), 0, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := newReplica(t, migrated(t), "one")
			leases := r.keep(source, "other").Leases
			r.plan(leases[1], []store.Candidate{row.other})
			r.strings(fmt.Sprintf("UPDATE judgements SET since = since - make_interval(secs => %f) RETURNING rule", row.age.Seconds()))
			p := r.plan(leases[0], candidates(remedy, 1, 2))
			if opened := len(p.Opened); (opened == 0) != row.waits {
				t.Fatalf("%d opened, judged %v", opened, p.Judgements)
			}
			if !row.waits {
				return
			}
			if j := p.Judgements[0]; j.Rule != drift.RuleCanaryPending || !strings.Contains(j.Words, ws(9)+" of source other") {
				t.Errorf("%+v", j)
			}
			if p := r.plan(leases[1], []store.Candidate{tiered(candidates(remedy, 9)[0])}); len(p.Opened) != 1 {
				t.Fatalf("the canary does not go: %v", p.Judgements)
			}
			if p := r.plan(leases[0], candidates(remedy, 1, 2)); len(p.Opened) != 0 {
				t.Errorf("opened beside the canary: %v", p.Judgements)
			}
			r.sound()
		})
	}
}

// The same holds within a source, where what is judged in the same plan counts,
// and where something else keeps it by now.
func TestACanaryOfTheSourceGoesFirst(t *testing.T) {
	r, l := one(t)
	with := func(rule drift.Rule) []store.Candidate {
		return append([]store.Candidate{tiered(held(9, rule))}, candidates(remedy, 1)...)
	}
	if p := r.plan(l, with(drift.RuleBusy)); len(p.Opened) != 0 {
		t.Fatalf("not waited for: %v", p.Judgements)
	}
	r.strings("UPDATE judgements SET since = since - interval '1 hour' RETURNING rule")
	if p := r.plan(l, with(drift.RuleOverBudget)); len(p.Opened) != 0 {
		t.Fatalf("not waited for, though it has not been kept for long by what keeps it now: %v", p.Judgements)
	}
	r.strings("UPDATE judgements SET since = since - interval '1 hour' RETURNING rule")
	if p := r.plan(l, with(drift.RuleOverBudget)); len(p.Opened) != 1 {
		t.Fatalf("waited for too long: %v", p.Judgements)
	}
}

const canaryWait = 15 * time.Minute
