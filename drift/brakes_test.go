package drift_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// hours is a window that is open or shut, and changes at a time.
type hours struct {
	open    bool
	changes time.Time
}

func (h hours) Open(time.Time) (bool, time.Time) { return h.open, h.changes }

// free is a case in which no rule holds: each row of the test breaks one thing.
func free(t *testing.T) *drift.Case {
	f := incident()
	now := f.Observation.At.Add(time.Minute)
	return &drift.Case{Facts: f, Policy: policy(t, drift.OwnerCustomer), Platform: true, Now: now,
		Remedy: &drift.Remedy{Mode: drift.RemediateEnforce, Confirmations: 2, Attempts: 3, Backoff: time.Hour, Approval: true, Quiet: time.Hour, StaleAfter: 5 * time.Minute,
			Window: hours{open: true}, Budget: drift.Budget{InFlight: 4, PerHour: 10, Percent: 50}},
		History: &drift.History{OpenedAt: now.Add(-10 * time.Minute), Agreeing: 2, ResolverChanged: true, Approved: true, Attempts: 1, EndedAt: now.Add(-2 * time.Hour),
			Pulse: drift.Pulse{Last: now.Add(-10 * time.Minute), Gap: time.Minute}, Ramp: &drift.Ramp{Cause: "model_empty"}, Room: &drift.Room{Workspaces: 10}}}
}

var later = started.Add(100 * time.Hour)

// Every rule has a row in which it is the one that holds: the first of those
// that do.
var brakeRows = []struct {
	name  string
	rule  drift.Rule
	words string // that are among those said
	next  time.Time
	with  func(c *drift.Case)
}{
	{name: "nothing keeps from it", rule: drift.RuleGo, words: "reprovision", with: func(*drift.Case) {}},
	{name: "paused for ever", rule: drift.RulePaused, words: "night", with: func(c *drift.Case) { c.History.Paused = "paused by night" }},
	{name: "paused until then", rule: drift.RulePaused, words: "night", next: later, with: func(c *drift.Case) {
		c.History.Paused, c.History.PausedUntil, c.Workspace.Status = "paused by night", later, "removed"
	}},
	{name: "removed", rule: drift.RuleOutOfScope, words: "removed", with: func(c *drift.Case) { c.Workspace.Status = "removed" }},
	{name: "somebody else has it provisioned", rule: drift.RuleInFlight, words: "status provisioning", with: func(c *drift.Case) { c.Workspace.Status = "provisioning" }},
	{name: "an action is under way", rule: drift.RuleInFlight, words: "action 7", with: func(c *drift.Case) { c.History.InFlight = 7 }},
	{name: "in sync", rule: drift.RuleNoDrift, words: "nothing differs", with: func(c *drift.Case) { c.Facts = byok() }},
	{name: "not running, and nothing found", rule: drift.RuleNoDrift, words: "nothing differs", with: func(c *drift.Case) {
		c.Observation, c.Traffic = drift.Observation{State: drift.NotRunning, Reason: "stopped"}, nil
	}},
	{name: "nobody looked", rule: drift.RuleUnknown, words: "never a reason", with: func(c *drift.Case) { c.Observation = drift.Observation{} }},
	{name: "unreachable", rule: drift.RuleUnknown, words: "lost", with: func(c *drift.Case) {
		c.Observation = drift.Observation{State: drift.Unreachable, Reason: "lost"}
	}},
	{name: "not running, though traffic accuses", rule: drift.RuleUnknown, words: "stopped", with: func(c *drift.Case) {
		c.Observation = drift.Observation{State: drift.NotRunning, Reason: "stopped"}
	}},
	{name: "unsupported", rule: drift.RuleUnknown, words: "gcp", with: func(c *drift.Case) {
		c.Observation = drift.Observation{State: drift.Unsupported, Reason: "gcp"}
	}},
	{name: "seen too long ago", rule: drift.RuleStale, words: "6m0s", with: func(c *drift.Case) { c.Now = c.Observation.At.Add(6 * time.Minute) }},
	{name: "as old as it may be", rule: drift.RuleGo, words: "", with: func(c *drift.Case) { c.Now = c.Observation.At.Add(5 * time.Minute) }},
	{name: "with another registry", rule: drift.RuleResolverChanged, words: "registry", with: func(c *drift.Case) { c.History.Agreeing = 1 }},
	{name: "one look", rule: drift.RuleSettling, words: "1 of 2", with: func(c *drift.Case) { c.History.Agreeing, c.History.ResolverChanged = 1, false }},
	{name: "no look agrees, and none is asked for", rule: drift.RuleSettling, words: "0 of 1", with: func(c *drift.Case) {
		c.History.Agreeing, c.History.ResolverChanged, c.Remedy.Confirmations = 0, false, 0
	}},
	{name: "inputs unreadable", rule: drift.RuleDoubtful, words: "bad key", with: func(c *drift.Case) {
		c.Desired.Source, c.Desired.Err = drift.FromFallback, "bad key"
	}},
	{name: "nothing derived", rule: drift.RuleDoubtful, words: "default", with: func(c *drift.Case) { c.Desired.Source = drift.FromDefault }},
	{name: "only the customer can help", rule: drift.RuleNotRemediable, words: "no reprovision", with: func(c *drift.Case) {
		c.Facts = byok()
		c.Desired.Supply = drift.SupplyNone
	}},
	{name: "an environment that may imitate", rule: drift.RuleNotRemediable, words: "no reprovision", with: func(c *drift.Case) { c.Observation.EnvUnsafe = true }},
	{name: "suppressed", rule: drift.RuleSuppressed, words: "suppressed", with: func(c *drift.Case) { c.History.Suppressed = true }},
	{name: "a surge", rule: drift.RuleSurge, words: "5 flipped", with: func(c *drift.Case) { c.History.Surge = "5 flipped" }},
	{name: "the cause is stopped", rule: drift.RuleIneffective, words: "approve", with: func(c *drift.Case) { c.History.Ramp.Stopped = "it came back" }},
	{name: "attempts are spent", rule: drift.RuleAttemptsSpent, words: "3 attempts", with: func(c *drift.Case) { c.History.Attempts = 3 }},
	{name: "spent, though a person wants it now", rule: drift.RuleAttemptsSpent, words: "3 attempts", with: func(c *drift.Case) {
		c.History.Attempts, c.History.Forced = 3, true
	}},
	{name: "cools down", rule: drift.RuleCoolingDown, words: "backoff", next: started.Add(2*time.Hour - time.Minute), with: func(c *drift.Case) {
		c.History.EndedAt = started.Add(time.Hour - time.Minute)
	}},
	{name: "cools down twice as long after two", rule: drift.RuleCoolingDown, words: "2 attempts", next: started.Add(3*time.Hour - time.Minute), with: func(c *drift.Case) {
		c.History.EndedAt, c.History.Attempts = started.Add(time.Hour-time.Minute), 2
	}},
	{name: "never longer than a day", rule: drift.RuleCoolingDown, words: "40 attempts", next: started.Add(24 * time.Hour), with: func(c *drift.Case) {
		c.History.EndedAt, c.History.Attempts, c.Remedy.Attempts = started, 40, 0
	}},
	{name: "a person does not wait for it", rule: drift.RuleGo, words: "", with: func(c *drift.Case) {
		c.History.EndedAt, c.History.Forced = c.Now, true
	}},
	{name: "the window is shut", rule: drift.RuleOutsideWindow, words: "outside", next: later, with: func(c *drift.Case) { c.Remedy.Window = hours{changes: later} }},
	{name: "no window opens", rule: drift.RuleOutsideWindow, words: "ever", with: func(c *drift.Case) { c.Remedy.Window = hours{} }},
	{name: "a person does not wait for the window", rule: drift.RuleGo, words: "", with: func(c *drift.Case) {
		c.Remedy.Window, c.History.Forced = hours{changes: later}, true
	}},
	{name: "a known refusal", rule: drift.RuleKnownRefusal, words: "OPERATOR_SECRET", with: func(c *drift.Case) {
		c.Workspace.Globals = []drift.StoredSecret{secret("GITHUB_TOKEN", "x", started)}
	}},
	{name: "a known refusal, though a person wants it now", rule: drift.RuleKnownRefusal, words: "MISSING_BYOK_CREDENTIAL", with: func(c *drift.Case) {
		c.Workspace.Secrets, c.History.Forced, c.History.AtRequest = c.Workspace.Secrets[1:], true, true
	}},
	{name: "no platform", rule: drift.RuleNoPlatform, words: "platform", with: func(c *drift.Case) { c.Platform = false }},
	{name: "off", rule: drift.RuleOff, words: "remediate.mode", with: func(c *drift.Case) { c.Remedy.Mode = drift.RemediateOff }},
	{name: "a dry run judges alike", rule: drift.RuleGo, words: "", with: func(c *drift.Case) { c.Remedy.Mode = drift.RemediateDryRun }},
	{name: "put to sleep", rule: drift.RuleAsleep, words: "hibernated, and a reprovision would wake it", with: func(c *drift.Case) { c.Workspace.Status = "hibernated" }},
	{name: "put to sleep, and a person asks", rule: drift.RuleGo, words: "", with: func(c *drift.Case) { c.Workspace.Status, c.History.AtRequest = "paused", true }},
	{name: "at work", rule: drift.RuleBusy, words: "2 active tasks", next: started.Add(51*time.Minute + time.Hour), with: func(c *drift.Case) { c.Workspace.ActiveTasks = 2 }},
	{name: "at work, and it costs", rule: drift.RuleBusy, words: "active", next: started.Add(51*time.Minute + 30*time.Minute), with: func(c *drift.Case) {
		c.Workspace.ActiveTasks, c.History.Pulse.PerHour = 2, 60
	}},
	{name: "at work for too long", rule: drift.RuleGo, words: "", with: func(c *drift.Case) {
		c.Workspace.ActiveTasks, c.History.Pulse.USD = 2, 9
	}},
	{name: "it has just called", rule: drift.RuleBusy, words: "usually calls again", next: started.Add(51*time.Minute + time.Hour), with: func(c *drift.Case) {
		c.History.Pulse.Last = c.Now.Add(-30 * time.Second)
	}},
	{name: "at work, and a person asks", rule: drift.RuleGo, words: "", with: func(c *drift.Case) { c.Workspace.ActiveTasks, c.History.AtRequest = 2, true }},
	{name: "the canary is out", rule: drift.RuleCanaryPending, words: "canary", with: func(c *drift.Case) { c.History.Ramp.Opened = 1 }},
	{name: "another is to be the canary", rule: drift.RuleCanaryPending, words: "tier that goes first", with: func(c *drift.Case) { c.History.First = "x of source y" }},
	{name: "another is to be the canary, and a person wants this one", rule: drift.RuleGo, words: "reprovision", with: func(c *drift.Case) { c.History.First, c.History.AtRequest = "x of source y", true }},
	{name: "the wave is full", rule: drift.RuleCanaryPending, words: "wave 2 of cause model_empty: 1 of 2", with: func(c *drift.Case) {
		*c.History.Ramp = drift.Ramp{Cause: "model_empty", Wave: 1, Opened: 2, Proven: 1}
	}},
	{name: "as many as may be under way", rule: drift.RuleOverBudget, words: "max_in_flight", with: func(c *drift.Case) { c.History.Room.InFlight = 4 }},
	{name: "as many of the source", rule: drift.RuleOverBudget, words: "max_fleet_percent", with: func(c *drift.Case) { c.History.Room.InFlight, c.History.Room.OfSource = 2, 5 }},
	{name: "as many within the hour", rule: drift.RuleOverBudget, words: "max_per_hour", next: later, with: func(c *drift.Case) {
		c.History.Room.LastHour, c.History.Room.HourFreeAt = 10, later
	}},
	{name: "over budget, though a person wants it now", rule: drift.RuleOverBudget, words: "max_in_flight", with: func(c *drift.Case) {
		c.History.Room.InFlight, c.History.Forced, c.History.AtRequest = 4, true, true
	}},
	{name: "not approved", rule: drift.RuleNeedsApproval, words: "reconciler approve", with: func(c *drift.Case) { c.History.Approved = false }},
	{name: "asking is approving", rule: drift.RuleGo, words: "", with: func(c *drift.Case) { c.History.Approved, c.History.AtRequest = false, true }},
}

func TestEveryRuleHoldsOnceAlone(t *testing.T) {
	var seen []drift.Rule
	for _, row := range brakeRows {
		t.Run(row.name, func(t *testing.T) {
			c := free(t)
			row.with(c)
			c.Findings = drift.Compare(c.Policy, c.Facts)
			c.Verdict, _ = drift.Conclude(c.Policy, c.Facts, c.Findings)
			got := drift.Judge(c)
			if got.Rule != row.rule || got.Words == "" || !strings.Contains(got.Words, row.words) || !got.Next.Equal(row.next) {
				t.Errorf("got %s (%q, next %s), want %s (...%s..., next %s)", got.Rule, got.Words, got.Next, row.rule, row.words, row.next)
			}
		})
		seen = append(seen, row.rule)
	}
	for _, r := range drift.Rules {
		if !slices.Contains(seen, r) {
			t.Errorf("no row is of rule %s", r)
		}
	}
}

// Pause wins over everything, also over what a person wants now.
func TestPauseWins(t *testing.T) {
	for _, row := range brakeRows {
		c := free(t)
		row.with(c)
		c.History.Paused, c.History.Forced, c.History.AtRequest = "paused by night", true, true
		c.Findings = drift.Compare(c.Policy, c.Facts)
		c.Verdict, _ = drift.Conclude(c.Policy, c.Facts, c.Findings)
		if got := drift.Judge(c); got.Rule != drift.RulePaused {
			t.Errorf("%s: %s", row.name, got.Rule)
		}
	}
}

// A person who wants it now is kept from it by everything but cool-downs,
// windows, a workspace put to sleep, an agent at work, a missing approval and
// another workspace that would rather be the canary.
func TestForceSkipsOnlyWhatItSays(t *testing.T) {
	eased := []drift.Rule{drift.RuleCoolingDown, drift.RuleOutsideWindow, drift.RuleAsleep, drift.RuleBusy, drift.RuleNeedsApproval, drift.RuleGo}
	for _, row := range brakeRows {
		c := free(t)
		row.with(c)
		c.History.Forced, c.History.AtRequest = true, true
		c.Findings = drift.Compare(c.Policy, c.Facts)
		c.Verdict, _ = drift.Conclude(c.Policy, c.Facts, c.Findings)
		want := row.rule
		if slices.Contains(eased, want) || c.History.First != "" {
			want = drift.RuleGo
		}
		if got := drift.Judge(c); got.Rule != want {
			t.Errorf("%s: %s, want %s", row.name, got.Rule, want)
		}
	}
}

func TestShare(t *testing.T) {
	for _, row := range []struct{ percent, workspaces, want int }{
		{0, 0, 1}, {-1, 0, 1}, {101, 0, 1}, {50, 0, 1}, {50, -3, 1},
		{0, 1, 1}, {100, 1, 1}, {1000, 1, 1},
		{0, 1000, 10}, {-1, 1000, 10}, {1, 99, 1}, {1, 199, 1}, {1, 200, 2}, {5, 100, 5}, {33, 10, 3},
		{100, 7, 7}, {101, 7, 7}, {1000, 7, 7},
	} {
		if got := (drift.Budget{Percent: row.percent}).Share(row.workspaces); got != row.want {
			t.Errorf("%d %% of %d: %d, want %d", row.percent, row.workspaces, got, row.want)
		}
	}
}
