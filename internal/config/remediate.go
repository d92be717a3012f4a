package config

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
