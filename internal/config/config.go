// Package config reads the configuration, strictly: what is not understood is
// an error with its line, column and the nearest thing that would have been,
// and all errors are told at once. Every value knows where it came from, and no
// secret is ever shown.
//
// The contract is docs/config.md. The structs' comments are its descriptions,
// their tags its keys and defaults: `yaml` names the key, `default` is what
// holds where it is not given, `required` says that nothing does, `min` and
// `max` bound it, `either` marks those of which one must be given, `restart` says that the daemon takes a change up only when it
// starts again.
package config

import (
	"fmt"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Config is everything that is configured, with defaults filled in.
type Config struct {
	// The reconciler's own database. Needed by `run` only.
	State State `yaml:"state"`
	// Path of the provider registry.
	Registry Path `yaml:"registry" required:"true"`
	// The tenants.
	Sources []Source `yaml:"sources"`
	// Glob of files with more tenants, each a list as in `sources`, or a mapping with that key.
	SourcesFrom Path `yaml:"sources_from"`
	// What the operator decides about billing.
	Policy Policy `yaml:"policy"`
	// The platform's LLM proxy.
	Proxy Proxy `yaml:"proxy"`
	// How containers and traffic are looked at.
	Observe Observe `yaml:"observe"`
	// Whether and how fast drift is mended.
	Remediate Remediate `yaml:"remediate"`
	// When one drift is told, and how often.
	Alerting Alerting `yaml:"alerting"`
	// Who is told. Each entry is one of webhook, slack and alertmanager.
	Notify []Sink `yaml:"notify"`
	// The HTTP listener of the page, the API, the metrics and the log receivers.
	Admin Admin `yaml:"admin"`
	// Which labels the metrics carry.
	Metrics Metrics `yaml:"metrics"`
	// The daemon's own log, on stderr.
	Log Logging `yaml:"log"`
	// How long work in flight may take to end once the daemon is told to stop; what is left then is cut off.
	ShutdownGrace Duration `yaml:"shutdown_grace" default:"20s" min:"1s"`

	origins     map[string]Origin // by dotted path; a default has none
	file        string
	secretFiles []string // that were asked for, there or not
}

// Source is one tenant: its database and where its workspaces run.
type Source struct {
	// Name in output, metrics and on the command line: letters, digits, `.`, `_`, `-`.
	Name string `yaml:"name" required:"true"`
	// URL of the tenant's database, for a role that only reads.
	Database drift.Secret `yaml:"database" required:"true"`
	// The tenant's SECRETS_ENCRYPTION_KEY: 32 bytes, raw or in base64.
	EncryptionKey drift.Secret `yaml:"encryption_key"`
	// AWS region of its instances. Required where AWS is asked.
	Region string `yaml:"region"`
	// IAM role to assume; without it the process's own credentials are used.
	RoleARN string `yaml:"role_arn"`
	// The tenant's admin API; without it the read endpoint is not asked and nothing can be reprovisioned.
	Platform *Platform `yaml:"platform"`
	// What differs from `remediate` for this tenant.
	Remediate *SourceRemediate `yaml:"remediate"`
}

// Platform is a tenant's admin API.
type Platform struct {
	// Base URL.
	URL URL `yaml:"url" required:"true"`
	// Bearer token.
	AdminToken drift.Secret `yaml:"admin_token" required:"true"`
	// Organisation for X-Molecule-Org-Id, which a SaaS tenant demands.
	OrgID string `yaml:"org_id"`
	// Budget of requests; the platform allows 600, shared with the customer's own page.
	RequestsPerMinute int `yaml:"requests_per_minute" default:"300" min:"1"`
}

// Policy is what the operator decides about billing.
type Policy struct {
	// What holds where nothing can be derived: saas (platform_managed) or self_hosted (byok).
	Deployment Deployment `yaml:"deployment" default:"saas"`
	// Whose the credentials in global_secrets are: platform or tenant. No default: it must be decided.
	GlobalSecrets GlobalSecrets `yaml:"global_secrets" required:"true"`
	// Names that the platform strips for platform_managed. Empty: the platform's own list.
	StripList []string `yaml:"strip_list"`
	// When so many desired modes change at once that the inputs are the suspect: `desired_surge` is told, and mending holds.
	Surge Surge `yaml:"surge"`
}

// Proxy is the platform's LLM proxy.
type Proxy struct {
	// Its base URLs, as containers are given them; a path is a prefix.
	Endpoints []Endpoint `yaml:"endpoints" required:"true"`
	// Answers that cost money: a status, or a class such as 2xx.
	BilledStatuses []StatusPattern `yaml:"billed_statuses" default:"2xx,499"`
	// Networks whose X-Forwarded-For is believed.
	TrustedProxies []CIDR `yaml:"trusted_proxies"`
	// Path of a price list by model; without it cost is not guessed.
	Prices Path `yaml:"prices"`
}

// Metrics says which labels the metrics carry.
type Metrics struct {
	// A series per tenant.
	PerSource bool `yaml:"per_source" default:"true" restart:"yes"`
	// A series per workspace, however many there are.
	PerWorkspace bool `yaml:"per_workspace" default:"false" restart:"yes"`
}

// Need is what a command needs beyond what every command does.
type Need uint

// The needs; they may be or-ed.
const (
	NeedAWS   Need = 1 << iota // asks AWS: every source needs a region
	NeedState                  // keeps state: needs a place for it
)

// Validate tells, as Errors, what is missing for a command with these needs.
func (c *Config) Validate(need Need) error {
	l := &loader{origins: c.origins, file: c.file}
	if need&NeedAWS != 0 {
		for i := range c.Sources {
			if c.Sources[i].Region == "" {
				l.failAt(fmt.Sprintf("sources[%d].region", i), "required, to know where to ask for its instances")
			}
		}
	}
	if need&NeedState != 0 && c.State.Database == "" && c.State.Embedded == "" {
		l.failAt("state", "required: database, or embedded for a private one")
	}
	return l.result()
}

// Decisions gives the policy as the pure decisions need it.
func (c *Config) Decisions() *drift.Policy {
	p := &drift.Policy{
		GlobalSecrets: drift.OwnerCustomer,
		StripList:     c.Policy.StripList,
		StaleAfter:    c.Observe.StaleAfter.Duration,
	}
	if c.Policy.GlobalSecrets == GlobalsPlatform {
		p.GlobalSecrets = drift.OwnerPlatform
	}
	for _, e := range c.Proxy.Endpoints {
		p.Proxy = append(p.Proxy, e.Endpoint)
	}
	return p
}
