package drift

import (
	"fmt"
	"strings"
	"time"
)

func counted(n int, what string) string { return fmt.Sprintf("%d %s", n, what) }

func paused(c *Case) (string, time.Time) {
	if c.History == nil {
		return "", time.Time{}
	}
	return c.History.Paused, c.History.PausedUntil
}

func inFlight(c *Case) string {
	if c.Workspace.Status == "provisioning" {
		return "the platform is provisioning it (status provisioning)"
	}
	if c.History == nil || c.History.InFlight == 0 {
		return ""
	}
	return fmt.Sprintf("action %d is under way", c.History.InFlight)
}

func noDrift(c *Case) string {
	if c.Verdict == InSync || c.Verdict == Unknown && len(c.Findings) == 0 && c.Observation.State == NotRunning {
		return "nothing differs"
	}
	return ""
}

func unseen(c *Case) string {
	if c.Observation.State != Observed {
		return "the container was not seen (" + c.Observation.Reason + "), and what was not seen is never a reason to act"
	}
	return ""
}

func stale(c *Case) string {
	age := c.Now.Sub(c.Observation.At)
	if c.Remedy.StaleAfter <= 0 || age <= c.Remedy.StaleAfter {
		return ""
	}
	return "the container was last seen " + age.Round(time.Second).String() + " ago (observe.stale_after)"
}

// resolverChanged stands before settling, which it is a case of: its words say
// why what agreed before does not count any more.
func resolverChanged(c *Case) string {
	if c.History == nil || !c.History.ResolverChanged || c.History.Agreeing >= max(1, c.Remedy.Confirmations) {
		return ""
	}
	return "registry or policy changed since the drift opened, and it has not been confirmed with them yet"
}

func settling(c *Case) string {
	if c.History == nil || c.History.Agreeing >= max(1, c.Remedy.Confirmations) {
		return ""
	}
	return fmt.Sprintf("%d of %d looks agree (remediate.confirmations)", c.History.Agreeing, max(1, c.Remedy.Confirmations))
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

func suppressed(c *Case) string {
	if c.History == nil || !c.History.Suppressed {
		return ""
	}
	return "all that was found is suppressed"
}

func surging(c *Case) string {
	if c.History == nil || c.History.Surge == "" {
		return ""
	}
	return "the inputs are the suspect: " + c.History.Surge
}

func ineffective(c *Case) string {
	if c.History == nil || c.History.Ramp == nil || c.History.Ramp.Stopped == "" {
		return ""
	}
	r := c.History.Ramp
	return fmt.Sprintf("nothing more is tried for cause %s: %s; `reconciler approve` lets it begin again", r.Cause, r.Stopped)
}

func attemptsSpent(c *Case) string {
	if c.History == nil || c.Remedy.Attempts <= 0 || c.History.Attempts < c.Remedy.Attempts {
		return ""
	}
	return fmt.Sprintf("%d attempts changed nothing (remediate.attempts); it is left to people", c.History.Attempts)
}

// longestBackoff bounds the doubling.
const longestBackoff = 24 * time.Hour

func coolingDown(c *Case) (string, time.Time) {
	if c.History == nil || c.History.Forced || c.History.Attempts == 0 {
		return "", time.Time{}
	}
	wait := c.Remedy.Backoff
	for range c.History.Attempts - 1 {
		if wait *= 2; wait >= longestBackoff {
			wait = max(longestBackoff, c.Remedy.Backoff)
			break
		}
	}
	if until := c.History.EndedAt.Add(wait); c.Now.Before(until) {
		return counted(c.History.Attempts, "attempts have failed; the next waits (remediate.backoff)"), until
	}
	return "", time.Time{}
}

func outsideWindow(c *Case) (string, time.Time) {
	if c.Remedy.Window == nil || c.History != nil && c.History.Forced {
		return "", time.Time{}
	}
	open, changes := c.Remedy.Window.Open(c.Now)
	switch {
	case open:
		return "", time.Time{}
	case changes.IsZero():
		return "no window opens ever (remediate.windows)", time.Time{}
	}
	return "outside the windows in which acting is allowed (remediate.windows)", changes
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

func noPlatform(c *Case) string {
	if !c.Platform {
		return "the source has no platform API configured (sources[].platform)"
	}
	return ""
}

func off(c *Case) string {
	if c.Remedy.Mode == RemediateOff {
		return "remediation is off (remediate.mode)"
	}
	return ""
}

// asleep leaves those alone that a reprovision would wake: somebody has put them
// to sleep. A person may want it all the same.
func asleep(c *Case) string {
	switch c.Workspace.Status {
	case "paused", "hibernating", "hibernated":
		if c.History == nil || !c.History.AtRequest {
			return "the workspace is " + c.Workspace.Status + ", and a reprovision would wake it"
		}
	}
	return ""
}

// busy waits for a moment in which the agent does nothing, since a reprovision
// interrupts it: for as long as the operator wants to wait at most, and the
// shorter the more is being paid meanwhile.
func busy(c *Case) (string, time.Time) {
	if c.History == nil || c.Remedy.Quiet <= 0 || c.History.OpenedAt.IsZero() || c.History.AtRequest {
		return "", time.Time{}
	}
	deadline := c.History.OpenedAt.Add(c.Remedy.patience(c.History.Pulse))
	if !c.Now.Before(deadline) {
		return "", time.Time{}
	}
	p := &c.History.Pulse
	switch {
	case c.Workspace.ActiveTasks > 0:
		return "the agent is at work: " + counted(c.Workspace.ActiveTasks, "active tasks (remediate.quiet)"), deadline
	case p.Gap > 0 && c.Now.Sub(p.Last) < p.Gap:
		return "it called " + c.Now.Sub(p.Last).Round(time.Second).String() + " ago, and usually calls again after " + p.Gap.Round(time.Second).String() + " (remediate.quiet)", deadline
	}
	return "", time.Time{}
}

// The rates at which patience is half of what it is without calls.
const (
	halfPatienceCalls = 60 // an hour
	halfPatienceUSD   = 1  // an hour
)

// patience is how long a quiet moment is waited for.
func (r *Remedy) patience(p Pulse) time.Duration {
	burn := max(p.PerHour/halfPatienceCalls, p.USD/halfPatienceUSD, 0)
	return time.Duration(float64(r.Quiet) / (1 + burn))
}

func canaryPending(c *Case) string {
	if c.History == nil || c.History.Ramp == nil {
		return ""
	}
	if c.History.First != "" && !c.History.AtRequest {
		return "the canary of cause " + c.History.Ramp.Cause + " is to be " + c.History.First + ", which is of the tier that goes first (update_tier)"
	}
	return c.History.Ramp.Waits()
}

func overBudget(c *Case) (string, time.Time) {
	if c.History == nil || c.History.Room == nil {
		return "", time.Time{}
	}
	return c.Remedy.spent(c.History.Room)
}

func needsApproval(c *Case) string {
	if c.History == nil || !c.Remedy.Approval || c.History.Approved || c.History.AtRequest {
		return ""
	}
	return "a person must approve it (remediate.approval): `reconciler approve`"
}
