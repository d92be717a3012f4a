package fleetsim

import (
	"time"

	"github.com/molecule-ai/billing-reconciler/desired"
	"github.com/molecule-ai/billing-reconciler/drift"
)

// Fault is one thing that is wrong with a member.
type Fault string

// Box is the state of a member's container, or of what stands between it and us.
type Box string

// The states of a box.
const (
	BoxRunning    Box = ""
	BoxStopped    Box = "stopped"
	BoxAbsent     Box = "absent"
	BoxRestarting Box = "restarting"
	BoxHung       Box = "hung"        // docker does not answer
	BoxNoDocker   Box = "no_docker"   // nothing of the kind on the machine
	BoxDockerDown Box = "docker_down" // the daemon is not running
)

// scene is what a fault may change: the container's environment, the box, the
// stored rows, the traffic.
type scene struct {
	m        *Member
	env      map[string]string
	files    map[string]string
	emission Emission
}

// Sample is one fault: for whom it makes sense, what it does, and what a look
// at it must find.
type Sample struct {
	Fault   Fault
	For     func(m *Member) bool
	Store   func(m *Member) // changes the stored rows, before anything is derived from them
	Do      func(s *scene)  // changes the container, after the platform did everything right
	Want    []drift.Kind    // exactly these findings
	State   drift.State     // observed, where it says nothing else
	Cause   drift.CauseCode
	Verdict drift.Verdict // drifted, where it says nothing else
}

// ExpectedState is the state that a look at the fault must end in.
func (s Sample) ExpectedState() drift.State {
	if s.State == drift.NotAsked {
		return drift.Observed
	}
	return s.State
}

// ExpectedVerdict is the verdict that the fault must get.
func (s Sample) ExpectedVerdict() drift.Verdict {
	if s.Verdict == "" {
		return drift.Drifted
	}
	return s.Verdict
}

func isBYOK(m *Member) bool {
	return m.Desired.Mode == drift.ModeBYOK && m.Desired.Source == drift.FromProvider && m.Desired.Supply == drift.SupplyWorkspace
}

func isManaged(m *Member) bool { return m.Desired.Mode == drift.ModePlatformManaged }
func anyone(*Member) bool      { return true }
func claude(m *Member) bool    { return isBYOK(m) && *m.Row.Runtime == drift.DefaultRuntime }

// ReprovisionedEmpty is the incident's fault: the platform provisioned the
// workspace again, derived from a request without a model, and fell back.
const ReprovisionedEmpty Fault = "reprovisioned_empty"

// Samples are the faults of the contract, one for each finding kind and each
// way of not being seen.
var Samples = []Sample{
	{Fault: ReprovisionedEmpty, For: claude, Do: reprovisionedEmpty, Cause: drift.ModelEmpty,
		Want: []drift.Kind{drift.ModeMismatch, drift.RoutedToProxy, drift.CredentialNotDelivered, drift.PlatformCredentialExposed, drift.ProxyTraffic}},
	{Fault: "mode_says_disabled", For: isBYOK, Do: func(s *scene) { s.env[drift.VarModeResolved] = "disabled" },
		Want: []drift.Kind{drift.ModeMismatch}, Cause: drift.CauseUnknown},
	{Fault: "managed_says_byok", For: isManaged, Do: func(s *scene) { s.env[drift.VarModeResolved] = "byok" },
		Want: []drift.Kind{drift.ModeMismatch}, Cause: drift.CauseUnknown},
	{Fault: "routed_to_proxy", For: isBYOK, Do: func(s *scene) { s.env[drift.VarAnthropicURL] = s.emission.Proxy.anthropic() },
		Want: []drift.Kind{drift.RoutedToProxy}},
	{Fault: "hidden_in_userinfo", For: isBYOK, Do: func(s *scene) {
		s.env[drift.VarOpenAIURL] = "https://api.openai.com@" + s.emission.Proxy.openai()[len("https://"):]
	}, Want: []drift.Kind{drift.RoutedToProxy}},
	{Fault: "routed_direct", For: isManaged, Do: func(s *scene) {
		s.env[drift.VarAnthropicURL], s.env[drift.VarOpenAIURL] = "https://api.anthropic.com", "https://api.openai.com/v1"
	}, Want: []drift.Kind{drift.RoutedDirect}},
	{Fault: "not_delivered", For: isBYOK, Do: func(s *scene) {
		for _, name := range s.m.Desired.AuthEnv {
			delete(s.env, name)
			delete(s.files, name)
		}
	}, Want: []drift.Kind{drift.CredentialNotDelivered}},
	{Fault: "usage_token_left", For: isBYOK, Do: func(s *scene) { s.files[drift.KeyUsageToken] = s.emission.UsageToken },
		Want: []drift.Kind{drift.PlatformCredentialExposed}},
	{Fault: "foreign_credential", For: isManaged, Do: func(s *scene) { s.env["GEMINI_API_KEY"] = "somebody-else" },
		Want: []drift.Kind{drift.ForeignCredential}},
	{Fault: "other_model", For: isBYOK, Do: func(s *scene) { s.env["MODEL"], s.env["MOLECULE_MODEL"] = "another", "another" },
		Want: []drift.Kind{drift.ModelMismatch}},
	{Fault: "traffic_alone", For: isBYOK, Do: func(s *scene) { s.m.Drains = true }, Want: []drift.Kind{drift.ProxyTraffic}},
	{Fault: "not_supplied", For: isBYOK, Store: func(m *Member) {
		for _, name := range m.Desired.AuthEnv {
			delete(m.Secrets, name)
		}
	}, Want: []drift.Kind{drift.CredentialNotSupplied}},
	{Fault: "paths_diverge", For: claude, Store: func(m *Member) { m.Secrets[drift.KeyMoleculeModel] = "no-such-model" },
		Want: []drift.Kind{drift.PathsDiverge, drift.Underivable}},
	{Fault: "underivable", For: anyone, Store: func(m *Member) { m.Secrets[drift.KeyModel] = "no-such-model" },
		Want: []drift.Kind{drift.Underivable}, Verdict: drift.InSync},
	{Fault: "undecryptable", For: anyone, Store: func(m *Member) { m.Spoilt = drift.KeyModel }, Want: []drift.Kind{drift.Underivable}, Verdict: drift.Unknown},
	{Fault: "stopped", For: anyone, Do: func(s *scene) { s.m.Box = BoxStopped }, State: drift.NotRunning, Verdict: drift.Unknown},
	{Fault: "absent", For: anyone, Do: func(s *scene) { s.m.Box = BoxAbsent }, State: drift.NotRunning, Verdict: drift.Unknown},
	{Fault: "restarting", For: anyone, Do: func(s *scene) { s.m.Box = BoxRestarting }, State: drift.NotRunning, Verdict: drift.Unknown},
	{Fault: "hung", For: anyone, Do: func(s *scene) { s.m.Box = BoxHung }, State: drift.Unreachable, Verdict: drift.Unknown},
	{Fault: "docker_down", For: anyone, Do: func(s *scene) { s.m.Box = BoxDockerDown }, State: drift.Unreachable, Verdict: drift.Unknown},
	{Fault: "no_docker", For: anyone, Do: func(s *scene) { s.m.Box = BoxNoDocker }, State: drift.Unsupported, Verdict: drift.Unknown},
	{Fault: "connection_lost", For: anyone, Do: func(s *scene) { s.m.Lost = time.Hour }, State: drift.Unreachable, Verdict: drift.Unknown,
		Want: []drift.Kind{drift.UnobservedTooLong}},
	{Fault: "not_in_inventory", For: anyone, Do: func(s *scene) { s.m.Terminated = true }, State: drift.Unreachable, Verdict: drift.Unknown},
}

// reprovisionedEmpty emits the environment of a platform that knew no model:
// the default mode, with everything of the strip list gone; the model arrives
// all the same.
func reprovisionedEmpty(s *scene) {
	e := s.emission
	e.Mode, e.AuthEnv, e.VendorURL = drift.ModePlatformManaged, nil, ""
	s.env, s.files = e.Environment()
	for _, name := range s.m.Desired.AuthEnv {
		delete(s.env, name)
	}
	if *s.m.Row.Runtime == drift.DefaultRuntime {
		s.env["ANTHROPIC_API_KEY"] = e.UsageToken
	}
	s.m.Drains = true
}

// emission gathers what the platform would provision the member from.
func (m *Member) emission(p *drift.Policy, proxy Proxy, resolver *desired.Resolver) Emission {
	e := Emission{Runtime: *m.Row.Runtime, Mode: m.Desired.Mode, AuthEnv: m.Desired.AuthEnv, Model: m.model(),
		Secrets: m.Secrets, Globals: m.Tenant.Globals, GlobalsOf: p.GlobalSecrets, StripList: p.StripList, Proxy: proxy,
		UsageToken: usageToken(m)}
	if provider := resolver.Registry.Provider(m.Desired.Provider); provider != nil && m.Desired.Mode == drift.ModeBYOK {
		e.VendorURL = provider.BaseURLAnthropic
	}
	return e
}

// model is the effective model as it is stored, which is how the platform
// exports it: a row of the workspace's own hides the tenant's of that name.
func (m *Member) model() string {
	for _, key := range []string{drift.KeyMoleculeModel, drift.KeyModel} {
		model, own := m.Secrets[key]
		if !own {
			model = m.Tenant.Globals[key]
		}
		if model != "" {
			return model
		}
	}
	return ""
}

// usageToken is the member's at the platform's proxy.
func usageToken(m *Member) string { return tokenOf(m.Row.InstanceID) }

func tokenOf(instance string) string { return "usage-" + instance }
