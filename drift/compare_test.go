package drift_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/drift"
)

type comparison struct {
	name    string
	facts   *drift.Facts
	globals drift.Owner // default: the tenant's
	want    []drift.Kind
}

// with changes a good workspace.
func with(f *drift.Facts, changes ...func(*drift.Facts)) *drift.Facts {
	for _, change := range changes {
		change(f)
	}
	return f
}

func setVar(name, value string) func(*drift.Facts) {
	return func(f *drift.Facts) { f.Observation.Variables[name] = drift.Variable{Value: value} }
}

func holds(creds ...drift.Credential) func(*drift.Facts) {
	return func(f *drift.Facts) { f.Observation.Credentials = append(f.Observation.Credentials, creds...) }
}

func onlyHolds(creds ...drift.Credential) func(*drift.Facts) {
	return func(f *drift.Facts) { f.Observation.Credentials = creds }
}

func TestCompare(t *testing.T) {
	good := []comparison{
		{name: "byok as it should be", facts: byok()},
		{name: "platform_managed as it should be", facts: managed()},
		{name: "disabled as it should be", facts: disabled()},
		{name: "the customer's key copied into a second name", facts: with(byok(), holds(credential("ANTHROPIC_AUTH_TOKEN", "env", "customer-token")))},
		{name: "a vendor's URL is direct", facts: with(byok(), setVar(drift.VarAnthropicURL, "https://api.kimi.com/coding"))},
		{name: "an older value of a stored name is the customer's", facts: with(byok(), onlyHolds(credential("CLAUDE_CODE_OAUTH_TOKEN", "env", "rotated")))},
		{name: "a credential in secrets.d is delivered", facts: with(byok(), onlyHolds(credential("CLAUDE_CODE_OAUTH_TOKEN", "secrets_dir", "customer-token")))},
		{name: "an empty usage token is none", facts: with(byok(), holds(credential(drift.KeyUsageToken, "env", "")))},
		{name: "an image too old to say its mode", facts: with(byok(), func(f *drift.Facts) { delete(f.Observation.Variables, drift.VarModeResolved) })},
		{name: "the older name of the mode", facts: with(byok(), func(f *drift.Facts) {
			f.Observation.Variables = variables(drift.VarMode, "byok", drift.VarModel, "opus")
		})},
		{name: "models are compared trimmed", facts: with(byok(), setVar(drift.VarModel, " opus\n"))},
		{name: "MOLECULE_MODEL goes before MODEL", facts: with(byok(), func(f *drift.Facts) {
			f.Observation.Variables[drift.VarModel] = drift.Variable{Value: "sonnet"}
			f.Observation.Variables[drift.VarMoleculeModel] = drift.Variable{Value: "opus"}
		})},
		{name: "calls in flight within the grace", facts: with(byok(), func(f *drift.Facts) { f.Traffic.Billed = 3 })},
		{name: "calls of who knows which life", facts: with(byok(), func(f *drift.Facts) { f.Traffic = &drift.Traffic{Billed: 3, PastGrace: 3} })},
		{name: "other vendors' keys stay in a managed container", facts: with(managed(), holds(credential("GROQ_API_KEY", "env", "x")))},
		{name: "a stripped URL is a route, no credential", facts: with(managed(), holds(credential("HERMES_CUSTOM_BASE_URL", "env", "x")))},
		{name: "the usage token under a strip-list name", facts: with(managed(), holds(credential("OPENAI_API_KEY", "env", "usage-token")))},
		{name: "disabled and no model in the container", facts: disabled()},
		{name: "read endpoint agrees", facts: with(byok(), func(f *drift.Facts) {
			f.ReadEndpoint = &drift.ReadEndpoint{Mode: "byok", Source: drift.FromProvider, Provider: "anthropic-oauth"}
		})},
		{name: "read endpoint did not answer", facts: with(byok(), func(f *drift.Facts) { f.ReadEndpoint = &drift.ReadEndpoint{Err: "503"} })},
		{name: "out of scope: removed", facts: with(incident(), func(f *drift.Facts) { f.Workspace.Status = "removed" })},
		{name: "out of scope: the platform's own", facts: with(incident(), func(f *drift.Facts) { f.Workspace.Kind = "platform" })},
		{name: "out of scope: external", facts: with(incident(), func(f *drift.Facts) { f.Workspace.Runtime = ptr("external") })},
	}
	run(t, good)
	run(t, bad())
}

func run(t *testing.T, rows []comparison) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			globals := row.globals
			if globals == "" {
				globals = drift.OwnerCustomer
			}
			got := kinds(drift.Compare(policy(t, globals), row.facts))
			want := append([]drift.Kind{}, row.want...)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

func bad() []comparison {
	global := func(f *drift.Facts) {
		f.Workspace.Secrets = f.Workspace.Secrets[1:]
		f.Workspace.Globals = []drift.StoredSecret{secret("CLAUDE_CODE_OAUTH_TOKEN", "global-token", started)}
		f.Desired.Supply = drift.SupplyGlobal
		f.Observation.Credentials = []drift.Credential{credential("CLAUDE_CODE_OAUTH_TOKEN", "env", "global-token")}
	}
	return []comparison{
		{name: "the incident", facts: incident(), want: []drift.Kind{drift.ModeMismatch, drift.RoutedToProxy,
			drift.CredentialNotDelivered, drift.PlatformCredentialExposed, drift.ProxyTraffic}},
		{name: "mode alone", facts: with(byok(), setVar(drift.VarModeResolved, "disabled")), want: []drift.Kind{drift.ModeMismatch}},
		{name: "an unheard-of mode", facts: with(byok(), setVar(drift.VarModeResolved, "free_for_all")), want: []drift.Kind{drift.ModeMismatch}},
		{name: "an empty resolved mode falls to the older name", facts: with(byok(), func(f *drift.Facts) {
			f.Observation.Variables = variables(drift.VarModeResolved, "", drift.VarMode, "platform_managed", drift.VarModel, "opus")
		}), want: []drift.Kind{drift.ModeMismatch}},
		{name: "anthropic route", facts: with(byok(), setVar(drift.VarAnthropicURL, proxyURL)), want: []drift.Kind{drift.RoutedToProxy}},
		{name: "openai route", facts: with(byok(), setVar(drift.VarOpenAIURL, proxyURL+"/openai/v1")), want: []drift.Kind{drift.RoutedToProxy}},
		{name: "disabled at the proxy", facts: with(disabled(), setVar(drift.VarOpenAIURL, proxyURL)), want: []drift.Kind{drift.RoutedToProxy}},
		{name: "managed, but direct", facts: with(managed(), setVar(drift.VarAnthropicURL, "https://api.anthropic.com")), want: []drift.Kind{drift.RoutedDirect}},
		{name: "managed, and no route at all", facts: with(managed(), func(f *drift.Facts) { delete(f.Observation.Variables, drift.VarAnthropicURL) }), want: []drift.Kind{drift.RoutedDirect}},
		{name: "managed codex uses the other variable", facts: with(managed(), func(f *drift.Facts) { f.Workspace.Runtime = ptr("codex") }), want: []drift.Kind{drift.RoutedDirect}},
		{name: "NULL runtime is claude-code", facts: with(managed(), func(f *drift.Facts) {
			f.Workspace.Runtime = nil
			f.Observation.Variables[drift.VarAnthropicURL] = drift.Variable{}
		}), want: []drift.Kind{drift.RoutedDirect}},
		{name: "not supplied", facts: with(byok(), func(f *drift.Facts) { f.Desired.Supply = drift.SupplyNone }), want: []drift.Kind{drift.CredentialNotSupplied}},
		{name: "not delivered: nothing there", facts: with(byok(), onlyHolds()), want: []drift.Kind{drift.CredentialNotDelivered}},
		{name: "not delivered: empty", facts: with(byok(), onlyHolds(credential("CLAUDE_CODE_OAUTH_TOKEN", "env", ""))), want: []drift.Kind{drift.CredentialNotDelivered}},
		{name: "not delivered: only under a name the provider does not take", facts: with(byok(), onlyHolds(credential("ANTHROPIC_AUTH_TOKEN", "env", "customer-token"))), want: []drift.Kind{drift.CredentialNotDelivered}},
		{name: "a global one counts where the tenant owns them", facts: with(byok(), global)},
		{name: "a global one is a leak where the platform owns them", globals: drift.OwnerPlatform, facts: with(byok(), global),
			want: []drift.Kind{drift.CredentialNotDelivered, drift.PlatformCredentialExposed}},
		{name: "the usage token under its own name", facts: with(byok(), holds(credential(drift.KeyUsageToken, "env", "t"))), want: []drift.Kind{drift.PlatformCredentialExposed}},
		{name: "the usage token under another name", facts: with(disabled(), holds(credential(drift.KeyUsageToken, "secrets_dir", "t"), credential("XAI_API_KEY", "env", "t"))),
			want: []drift.Kind{drift.PlatformCredentialExposed}},
		{name: "foreign credential", facts: with(managed(), holds(credential("OPENAI_API_KEY", "env", "x"))), want: []drift.Kind{drift.ForeignCredential}},
		{name: "foreign credential in a file", facts: with(managed(), holds(credential("GLM_API_KEY", "secrets_dir", "x"))), want: []drift.Kind{drift.ForeignCredential}},
		{name: "another model", facts: with(byok(), setVar(drift.VarModel, "sonnet")), want: []drift.Kind{drift.ModelMismatch}},
		{name: "no model", facts: with(byok(), func(f *drift.Facts) { delete(f.Observation.Variables, drift.VarModel) }), want: []drift.Kind{drift.ModelMismatch}},
		{name: "billed past the grace", facts: with(byok(), func(f *drift.Facts) { f.Traffic.Billed, f.Traffic.PastGrace = 1, 1 }), want: []drift.Kind{drift.ProxyTraffic}},
		{name: "traffic speaks though the container was not seen", facts: with(incident(), func(f *drift.Facts) { f.Observation.State = drift.Unreachable }), want: []drift.Kind{drift.ProxyTraffic}},
		{name: "paths differ in mode", facts: with(byok(), func(f *drift.Facts) { f.Desired.ReadPath.Mode = "platform_managed" }), want: []drift.Kind{drift.PathsDiverge}},
		{name: "paths differ in provider", facts: with(byok(), func(f *drift.Facts) { f.Desired.ReadPath.Provider = "anthropic-api" }), want: []drift.Kind{drift.PathsDiverge}},
		{name: "the read endpoint says another mode", facts: with(byok(), func(f *drift.Facts) {
			f.ReadEndpoint = &drift.ReadEndpoint{Mode: "platform_managed", Source: drift.FromDefault}
		}), want: []drift.Kind{drift.PathsDiverge}},
		{name: "the read endpoint says another provider", facts: with(byok(), func(f *drift.Facts) {
			f.ReadEndpoint = &drift.ReadEndpoint{Mode: "byok", Source: drift.FromProvider, Provider: "minimax"}
		}), want: []drift.Kind{drift.PathsDiverge}},
		{name: "underivable", facts: with(managed(), func(f *drift.Facts) {
			f.Desired.Source, f.Desired.Provider = drift.FromDefault, ""
			f.Desired.ReadPath = f.Desired.Path
		}), want: []drift.Kind{drift.Underivable}},
		{name: "unreadable inputs accuse no container", facts: with(incident(), func(f *drift.Facts) {
			f.Desired.Path = drift.Path{Mode: "platform_managed", Source: drift.FromFallback, Err: "workspace_secrets.MODEL: wrong key"}
			f.Traffic.PastGrace = 9
		}), want: []drift.Kind{drift.Underivable}},
		{name: "unobserved too long", facts: with(byok(), func(f *drift.Facts) {
			f.Observation, f.Unseen = drift.Observation{State: drift.Unreachable, Reason: "connection lost"}, time.Hour
		}), want: []drift.Kind{drift.UnobservedTooLong}},
		{name: "unobserved for a moment", facts: with(byok(), func(f *drift.Facts) {
			f.Observation, f.Unseen = drift.Observation{State: drift.Unreachable, Reason: "connection lost"}, time.Minute
		})},
	}
}

func TestSeverity(t *testing.T) {
	if got := drift.Compare(policy(t, drift.OwnerCustomer), incident())[0].Severity; got != drift.Critical {
		t.Errorf("the platform pays for byok: severity %s, want critical", got)
	}
	f := with(managed(), setVar(drift.VarModeResolved, "byok"))
	if got := drift.Compare(policy(t, drift.OwnerCustomer), f)[0].Severity; got != drift.High {
		t.Errorf("any other mode mismatch: severity %s, want high", got)
	}
}

func TestUnsafeEnvironmentIsNoReasonToAct(t *testing.T) {
	f := incident()
	f.Observation.EnvUnsafe = true
	for _, found := range drift.Compare(policy(t, drift.OwnerCustomer), f) {
		if found.Remediable {
			t.Errorf("%s: remediable on an environment in which a value may imitate a variable", found.Kind)
		}
	}
}

func TestConclude(t *testing.T) {
	p := policy(t, drift.OwnerCustomer)
	for _, row := range []struct {
		name  string
		facts *drift.Facts
		want  drift.Verdict
	}{
		{"in sync", byok(), drift.InSync},
		{"drifted", incident(), drift.Drifted},
		{"skipped", with(incident(), func(f *drift.Facts) { f.Workspace.Status = "removed" }), drift.Skipped},
		{"nobody looked", with(byok(), func(f *drift.Facts) { f.Observation = drift.Observation{} }), drift.Unknown},
		{"not running", with(byok(), func(f *drift.Facts) { f.Observation = drift.Observation{State: drift.NotRunning} }), drift.Unknown},
		{"drift of the desired side though unseen", with(byok(), func(f *drift.Facts) {
			f.Observation = drift.Observation{State: drift.Unreachable}
			f.Desired.Supply = drift.SupplyNone
		}), drift.Drifted},
		{"underivable alone is no drift", with(managed(), func(f *drift.Facts) {
			f.Desired.Source, f.Desired.Provider = drift.FromDefault, ""
			f.Desired.ReadPath = f.Desired.Path
		}), drift.InSync},
		{"inputs that could not be read", with(byok(), func(f *drift.Facts) { f.Desired.Source = drift.FromFallback }), drift.Unknown},
		{"a route cut before it could be told", with(byok(), func(f *drift.Facts) {
			f.Observation.Variables[drift.VarAnthropicURL] = drift.Variable{Value: "https://api.moleculesai", Cut: true}
		}), drift.Unknown},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got, _ := drift.Conclude(p, row.facts, drift.Compare(p, row.facts)); got != row.want {
				t.Errorf("verdict %s, want %s", got, row.want)
			}
		})
	}
}
