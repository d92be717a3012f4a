package config

import "fmt"

// Remediate says whether and how fast drift is mended.
type Remediate struct {
	// off: never; dry_run: only say what would be done; enforce: reprovision.
	Mode RemediateMode `yaml:"mode" default:"off"`
	// Reprovisions under way at once, over all tenants.
	MaxInFlight int `yaml:"max_in_flight" default:"4" min:"1"`
	// Reprovisions started within an hour, over all tenants.
	MaxPerHour int `yaml:"max_per_hour" default:"20" min:"1"`
	// Share of a tenant's workspaces under way at once, in percent.
	MaxFleetPercent int `yaml:"max_fleet_percent" default:"5" min:"1" max:"100"`
	// Consecutive agreeing observations before acting.
	Confirmations int `yaml:"confirmations" default:"2" min:"1"`
	// Attempts at one workspace before it is left to people.
	Attempts int `yaml:"attempts" default:"3" min:"1"`
	// Time from a failed attempt to the next.
	Backoff Duration `yaml:"backoff" default:"15m" min:"1s"`
	// When acting is allowed; none: always.
	Windows []Window `yaml:"windows"`
	// Whether a person must approve each workspace.
	Approval bool `yaml:"approval" default:"false"`
	// How long a drift waits at most for a moment in which the agent is idle; the more is being paid meanwhile, the shorter. 0s: it does not wait.
	Quiet Duration `yaml:"quiet" default:"30m" min:"0s"`
	// When a reprovision counts as proven.
	Proof Proof `yaml:"proof"`
}

// Proof says when a reprovision counts as proven.
type Proof struct {
	// From the new container's start to its being judged.
	Settle Duration `yaml:"settle" default:"30s" min:"0s"`
	// Where it is not known whether the platform has acted: how long the old container must go on for it to have done nothing.
	Unapplied Duration `yaml:"unapplied" default:"3m" min:"1s"`
	// From the call to the workspace being given up as lost.
	LostAfter Duration `yaml:"lost_after" default:"30m" min:"1s"`
	// The proxy's log must be silent for so many of the workspace's usual gaps between calls.
	Gaps int `yaml:"gaps" default:"3" min:"1"`
	// Silence that suffices at least.
	SilenceAtLeast Duration `yaml:"silence_at_least" default:"1m" min:"0s"`
	// Silence that suffices at most, and where the usual gap is not known.
	SilenceAtMost Duration `yaml:"silence_at_most" default:"30m" min:"0s"`
}

// SourceRemediate is what differs for one tenant.
type SourceRemediate struct {
	// Takes the place of `remediate.mode`.
	Mode *RemediateMode `yaml:"mode"`
	// Takes the place of `remediate.approval`.
	Approval *bool `yaml:"approval"`
}

// Window is a recurring time in which acting is allowed.
type Window struct {
	// When it opens: minute, hour, day of month, month, day of week.
	Cron Cron `yaml:"cron" required:"true"`
	// How long it stays open.
	Duration Duration `yaml:"duration" required:"true" min:"1m"`
	// Time zone of `cron`.
	Zone Zone `yaml:"zone" default:"UTC"`
}

func (r *Remediate) validate(fail failer) {
	if r.Proof.SilenceAtMost.Duration < r.Proof.SilenceAtLeast.Duration {
		fail("proof.silence_at_most", "shorter than silence_at_least")
	}
	for i, w := range r.Windows {
		if _, err := w.schedule(); err != nil {
			fail(fmt.Sprintf("windows[%d].cron", i), err.Error())
		}
	}
}

func (p *Proxy) validate(fail failer) {
	if len(p.BilledStatuses) == 0 {
		fail("billed_statuses", "empty: nothing would ever count as billed")
	}
}

func (t *Targets) validate(fail failer) {
	if t.Tag != "" && !tagPattern.MatchString(t.Tag) {
		fail("tag", `must be "Name=value"`)
	}
}

func (s *Source) validate(fail failer) {
	if s.Name != "" && !namePattern.MatchString(s.Name) {
		fail("name", "must be letters, digits, '.', '_', '-', and begin with a letter or digit")
	}
}
