package config

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Sink is somebody who is told: exactly one of its parts is set.
type Sink struct {
	// Name of the sink, in metrics, `notify test` and where it is kept how far it was told; under another one it begins anew. Default: the kind and the host.
	Name string `yaml:"name"`
	// An HTTP endpoint that takes JSON.
	Webhook *Webhook `yaml:"webhook" either:"yes"`
	// A Slack channel.
	Slack *Slack `yaml:"slack" either:"yes"`
	// A Prometheus Alertmanager.
	Alertmanager *Alertmanager `yaml:"alertmanager" either:"yes"`
	// Whether messages may go to link-local addresses, where clouds keep credentials.
	AllowLinkLocal bool `yaml:"allow_link_local" default:"false"`
}

// Webhook is an HTTP endpoint that takes JSON.
type Webhook struct {
	// Where to post.
	URL URL `yaml:"url" required:"true"`
	// Key of the signature that each request carries: base64 after `whsec_`, any other text as it is.
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

// The kinds of sinks.
const (
	SinkWebhook      = "webhook"
	SinkSlack        = "slack"
	SinkAlertmanager = "alertmanager"
)

// Kind says which of its parts is set.
func (s *Sink) Kind() string {
	switch {
	case s.Webhook != nil:
		return SinkWebhook
	case s.Slack != nil:
		return SinkSlack
	}
	return SinkAlertmanager
}

// Address gives where it posts to.
func (s *Sink) Address() drift.Secret {
	switch {
	case s.Webhook != nil:
		return drift.Secret(s.Webhook.URL.Reveal())
	case s.Slack != nil:
		return s.Slack.URL
	case s.Alertmanager != nil:
		return drift.Secret(s.Alertmanager.URL.Reveal())
	}
	return ""
}

// MinSeverity gives what it is told nothing below of.
func (s *Sink) MinSeverity() drift.Severity {
	switch {
	case s.Webhook != nil:
		return drift.Severity(s.Webhook.MinSeverity)
	case s.Slack != nil:
		return drift.Severity(s.Slack.MinSeverity)
	case s.Alertmanager != nil:
		return drift.Severity(s.Alertmanager.MinSeverity)
	}
	return drift.Low
}

func (s *Sink) validate(fail failer) {
	if count(s.Webhook != nil, s.Slack != nil, s.Alertmanager != nil) != 1 {
		fail("", "must be exactly one of webhook, slack, alertmanager")
	}
	if s.Name != "" && !namePattern.MatchString(s.Name) {
		fail("name", "must be letters, digits, '.', '_', '-', and begin with a letter or digit")
	}
}

func (w *Webhook) validate(fail failer) {
	const prefix = "whsec_"
	if key, ok := strings.CutPrefix(w.Secret.Reveal(), prefix); ok {
		if _, err := base64.StdEncoding.DecodeString(key); err != nil || key == "" {
			fail("secret", "what follows "+prefix+" must be base64")
		}
	}
}

var notOfNames = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// nameSinks gives every sink a name of its own.
func (l *loader) nameSinks(c *Config) {
	taken := map[string]int{}
	for i := range c.Notify {
		name := c.Notify[i].Name
		if j, ok := taken[name]; ok && name != "" {
			l.failAt(fmt.Sprintf("notify[%d].name", i), "%q is the name of notify[%d] too", name, j)
		}
		taken[name] = i
	}
	for i := range c.Notify {
		s := &c.Notify[i]
		if s.Name != "" {
			continue
		}
		s.Name = s.Kind()
		if u, err := url.Parse(s.Address().Reveal()); err == nil && u.Host != "" {
			s.Name += "-" + strings.Trim(notOfNames.ReplaceAllString(u.Host, "-"), "-")
		}
		if _, ok := taken[s.Name]; ok {
			s.Name = fmt.Sprintf("%s-%d", s.Name, i+1)
		}
		taken[s.Name] = i
	}
}
