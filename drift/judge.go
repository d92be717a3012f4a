package drift

import "strings"

// Rule names a rule of Judge; the words become metric labels.
type Rule string

// The rules, in the order in which they are asked; the first that holds wins.
const (
	RuleOutOfScope    Rule = "out_of_scope"
	RuleNoDrift       Rule = "no_drift"
	RuleUnknown       Rule = "unknown"
	RuleDoubtful      Rule = "doubtful"
	RuleNotRemediable Rule = "not_remediable"
	RuleKnownRefusal  Rule = "known_refusal"
	RuleNoPlatform    Rule = "no_platform"
	RuleOff           Rule = "off"
	RuleGo            Rule = "go"
)

// Judgement is what may be done about a workspace, or what keeps us from it.
type Judgement struct {
	Rule  Rule   `json:"rule"`
	Words string `json:"words"`
}

// Case is all that Judge looks at.
type Case struct {
	*Facts
	Policy   *Policy
	Verdict  Verdict
	Findings []Finding
	Platform bool // the tenant's admin API is configured
	Enforce  bool // acting is allowed at all
}

// brakes are the rules that keep from acting. Each gives the words where it
// holds, and "" where it does not.
var brakes = []struct {
	rule  Rule
	holds func(*Case) string
}{
	{RuleOutOfScope, func(c *Case) string { return string(c.Workspace.Scope()) }},
	{RuleNoDrift, func(c *Case) string {
		if c.Verdict == InSync || c.Verdict == Unknown && len(c.Findings) == 0 && c.Observation.State == NotRunning {
			return "nothing differs"
		}
		return ""
	}},
	{RuleUnknown, func(c *Case) string {
		if c.Observation.State != Observed {
			return "the container was not seen (" + c.Observation.Reason + "), and what was not seen is never a reason to act"
		}
		return ""
	}},
	{RuleDoubtful, doubtful},
	{RuleNotRemediable, notRemediable},
	{RuleKnownRefusal, knownRefusal},
	{RuleNoPlatform, func(c *Case) string {
		if !c.Platform {
			return "the source has no platform API configured (sources[].platform)"
		}
		return ""
	}},
	{RuleOff, func(c *Case) string {
		if !c.Enforce {
			return "remediation is off (remediate.mode)"
		}
		return ""
	}},
}

// Judge says what may be done: the first brake that holds, or go.
func Judge(c *Case) Judgement {
	for _, b := range brakes {
		if words := b.holds(c); words != "" {
			return Judgement{b.rule, words}
		}
	}
	return Judgement{RuleGo, "reprovision"}
}

func doubtful(c *Case) string {
	switch c.Desired.Source {
	case FromFallback:
		return "the desired mode is not known: " + c.Desired.Err
	case FromDefault:
		return "the desired mode is only the deployment's default: nothing could be derived"
	}
	return ""
}

func notRemediable(c *Case) string {
	for _, f := range c.Findings {
		if f.Remediable {
			return ""
		}
	}
	return "no reprovision mends what was found"
}

func knownRefusal(c *Case) string {
	var words []string
	for _, r := range Refusals(c.Policy, c.Workspace, &c.Desired) {
		words = append(words, r.Code+": "+r.Words)
	}
	if words == nil {
		return ""
	}
	return "the platform would stop the agent and then refuse to start it again: " + strings.Join(words, "; ")
}
