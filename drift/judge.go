package drift

import "time"

// Rule names a rule of Judge; the words become metric labels.
type Rule string

// The rules, in the order in which they are asked; the first that holds wins.
const (
	RulePaused          Rule = "paused"
	RuleOutOfScope      Rule = "out_of_scope"
	RuleInFlight        Rule = "in_flight"
	RuleNoDrift         Rule = "no_drift"
	RuleUnknown         Rule = "unknown"
	RuleStale           Rule = "stale"
	RuleSettling        Rule = "settling"
	RuleDoubtful        Rule = "doubtful"
	RuleNotRemediable   Rule = "not_remediable"
	RuleSuppressed      Rule = "suppressed"
	RuleSurge           Rule = "desired_surge"
	RuleResolverChanged Rule = "resolver_changed"
	RuleIneffective     Rule = "ineffective"
	RuleAttemptsSpent   Rule = "attempts_spent"
	RuleCoolingDown     Rule = "cooling_down"
	RuleOutsideWindow   Rule = "outside_window"
	RuleKnownRefusal    Rule = "known_refusal"
	RuleNoPlatform      Rule = "no_platform"
	RuleOff             Rule = "off"
	RuleAsleep          Rule = "asleep"
	RuleBusy            Rule = "busy"
	RuleCanaryPending   Rule = "canary_pending"
	RuleOverBudget      Rule = "over_budget"
	RuleNeedsApproval   Rule = "needs_approval"
	RuleGo              Rule = "go"
)

// Judgement is what may be done about a workspace, or what keeps us from it.
type Judgement struct {
	Rule  Rule      `json:"rule"`
	Words string    `json:"words"`
	Next  time.Time `json:"next,omitzero"` // when it is next worth asking; zero: when something changes
}

// Case is all that Judge looks at.
type Case struct {
	*Facts
	Policy   *Policy
	Verdict  Verdict
	Findings []Finding
	Platform bool // the tenant's admin API is configured
	Remedy   *Remedy
	Now      time.Time
	History  *History // nil: this look alone is known, as to a command; the rules that need more do not hold
}

// brake is a rule that keeps from acting. It gives the words where it holds,
// and "" where it does not; and when it is next worth asking, where that is
// known.
type brake struct {
	rule  Rule
	holds func(*Case) (words string, next time.Time)
}

var brakes = []brake{
	{RulePaused, paused},
	{RuleOutOfScope, always(func(c *Case) string { return string(c.Workspace.Scope()) })},
	{RuleInFlight, always(inFlight)},
	{RuleNoDrift, always(noDrift)},
	{RuleUnknown, always(unseen)},
	{RuleStale, always(stale)},
	{RuleResolverChanged, always(resolverChanged)},
	{RuleSettling, always(settling)},
	{RuleDoubtful, always(doubtful)},
	{RuleNotRemediable, always(notRemediable)},
	{RuleSuppressed, always(suppressed)},
	{RuleSurge, always(surging)},
	{RuleIneffective, always(ineffective)},
	{RuleAttemptsSpent, always(attemptsSpent)},
	{RuleCoolingDown, coolingDown},
	{RuleOutsideWindow, outsideWindow},
	{RuleKnownRefusal, always(knownRefusal)},
	{RuleNoPlatform, always(noPlatform)},
	{RuleOff, always(off)},
	{RuleAsleep, always(asleep)},
	{RuleBusy, busy},
	{RuleCanaryPending, always(canaryPending)},
	{RuleOverBudget, overBudget},
	{RuleNeedsApproval, always(needsApproval)},
}

// always is of a rule that tells no time.
func always(holds func(*Case) string) func(*Case) (string, time.Time) {
	return func(c *Case) (string, time.Time) { return holds(c), time.Time{} }
}

// Rules lists every rule in the order in which they are asked.
var Rules = func() (rules []Rule) {
	for _, b := range brakes {
		rules = append(rules, b.rule)
	}
	return append(rules, RuleGo)
}()

// Judge says what may be done: the first brake that holds, or go.
func Judge(c *Case) Judgement {
	if c.Remedy == nil {
		c.Remedy = &Remedy{}
	}
	for _, b := range brakes {
		if words, next := b.holds(c); words != "" {
			return Judgement{b.rule, words, next}
		}
	}
	return Judgement{Rule: RuleGo, Words: "reprovision"}
}
