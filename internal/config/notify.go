package config

import "github.com/molecule-ai/billing-reconciler/drift"

// Sink is somebody who is told: exactly one of its parts is set.
type Sink struct {
	// An HTTP endpoint that takes JSON.
	Webhook *Webhook `yaml:"webhook" either:"yes"`
	// A Slack channel.
	Slack *Slack `yaml:"slack" either:"yes"`
	// A Prometheus Alertmanager.
	Alertmanager *Alertmanager `yaml:"alertmanager" either:"yes"`
}

// Webhook is an HTTP endpoint that takes JSON.
type Webhook struct {
	// Where to post.
	URL URL `yaml:"url" required:"true"`
	// Key of the signature that each request carries.
	Secret drift.Secret `yaml:"secret"`
	// Nothing below it is told.
	MinSeverity Severity `yaml:"min_severity" default:"low"`
}

// Slack is a Slack channel.
type Slack struct {
	// Incoming-webhook URL, which is a secret by itself.
	URL drift.Secret `yaml:"url" required:"true"`
	// Nothing below it is told.
	MinSeverity Severity `yaml:"min_severity" default:"low"`
}

// Alertmanager is a Prometheus Alertmanager.
type Alertmanager struct {
	// Base URL.
	URL URL `yaml:"url" required:"true"`
	// Nothing below it is told.
	MinSeverity Severity `yaml:"min_severity" default:"low"`
}

func (s *Sink) validate(fail failer) {
	if count(s.Webhook != nil, s.Slack != nil, s.Alertmanager != nil) != 1 {
		fail("", "must be exactly one of webhook, slack, alertmanager")
	}
}
