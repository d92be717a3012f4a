package store

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// canaryWait is how long the first reprovision of a cause waits, at most, for a
// workspace that is to go first and cannot at present; it begins again when
// something else keeps that from it.
const canaryWait = 15 * time.Minute

// soon are rules that will let a workspace go by themselves before long.
var soon = []drift.Rule{drift.RuleSettling, drift.RuleResolverChanged, drift.RuleBusy, drift.RuleCanaryPending, drift.RuleOverBudget, drift.RuleGo}

// canaries are the workspaces of every source that the platform calls those to
// go first, by the name of their cause's ramp: as was last judged of them.
type canaries map[string][]canary

type canary struct {
	source, workspace string
	rule              drift.Rule
	since             time.Time // that the rule holds
}

func (c *Change) readCanaries(ctx context.Context, candidates []Candidate) (canaries, error) {
	type row struct {
		cause string
		canary
	}
	rows, err := collect(ctx, c.tx, func(r pgx.CollectableRow) (one row, err error) {
		err = r.Scan(&one.cause, &one.source, &one.workspace, &one.rule, &one.since)
		return one, err
	}, "SELECT cause, source, workspace::text, rule, since FROM judgements WHERE canary AND cause = ANY($1::text[]) ORDER BY source, workspace",
		column(candidates, func(c Candidate) string { return clean(rampKey(&c)) }))
	all := canaries{}
	for _, r := range rows {
		all[r.cause] = append(all[r.cause], r.canary)
	}
	return all, err
}

// note takes down what has just been judged of a candidate.
func (all canaries) note(source string, c *Candidate, j drift.Judgement, now time.Time) {
	one := canary{source, c.Workspace, j.Rule, now}
	for cause, list := range all {
		all[cause] = slices.DeleteFunc(list, func(known canary) bool {
			same := known.source == source && known.workspace == c.Workspace
			if same && known.rule == j.Rule {
				one.since = known.since
			}
			return same
		})
	}
	if cause := clean(rampKey(c)); c.Canary {
		all[cause] = append(all[cause], one)
	}
}

// first says which workspace is waited for with the canary of a candidate's
// cause; "": none, or it is one itself.
func (all canaries) first(c *Candidate, now time.Time) string {
	if c.Canary {
		return ""
	}
	for _, one := range all[clean(rampKey(c))] {
		if now.Sub(one.since) < canaryWait && slices.Contains(soon, one.rule) {
			return one.workspace + " of source " + one.source + " (" + string(one.rule) + ")"
		}
	}
	return ""
}
