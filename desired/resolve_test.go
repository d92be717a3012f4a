package desired_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/desired"
	"github.com/molecule-ai/billing-reconciler/drift"
)

var _ drift.Derivation = (*desired.Resolver)(nil)

// derivable is a registry with every way to find a provider, and not to.
const derivable = `schema_version: 1
providers:
  - {name: oauth, protocol: anthropic, auth_mode: x, auth_env: [OAUTH], model_prefix_match: "^(opus|sonnet)$"}
  - {name: api, protocol: anthropic, auth_mode: x, auth_env: [API, SHARED], model_prefix_match: "^claude-"}
  - {name: twin, protocol: anthropic, auth_mode: x, auth_env: [TWIN, SHARED], model_prefix_match: "(?i)^claude-x"}
  - {name: platform, protocol: anthropic, auth_mode: x, auth_env: [MOLECULE_LLM_USAGE_TOKEN], model_prefix_match: "^platform/"}
  - {name: elsewhere, protocol: openai, auth_mode: x, auth_env: [ELSE], model_prefix_match: "^else"}
  - {name: greedy, protocol: openai, auth_mode: x, auth_env: [GREEDY], model_prefix_match: ".*"}
runtimes:
  hungry: {providers: [{name: greedy}]}
  claude-code:
    providers:
      - {name: oauth, models: [opus]}
      - {name: api, models: [both, claude-one]}
      - {name: twin, models: [both]}
      - {name: platform, models: [anthropic/opus]}
  codex: {providers: [{name: elsewhere}]}
`

func TestDerive(t *testing.T) {
	resolver := desired.NewResolver(parse(t, derivable), saas)
	for _, row := range []struct {
		rule, runtime, model, names string
		provider                    string // "": none
	}{
		{"an exact id", "claude-code", "opus", "", "oauth"},
		{"an id is trimmed", "claude-code", " opus\n", "", "oauth"},
		{"an id is case-sensitive", "claude-code", "Opus", "", ""},
		{"a prefix", "claude-code", "sonnet", "", "oauth"},
		{"a regular expression that ignores case", "claude-code", "CLAUDE-X", "", "twin"},
		{"an exact id beats the prefixes that it has", "claude-code", "claude-one", "TWIN", "api"},
		{"no model", "claude-code", "", "OAUTH", ""},
		{"a blank model", "claude-code", " \t", "OAUTH", ""},
		{"a prefix that takes everything", "hungry", "x", "", "greedy"},
		{"a prefix that takes everything does not take nothing", "hungry", "", "GREEDY", ""},
		{"nor blanks", "hungry", " ", "GREEDY", ""},
		{"an unknown runtime", "hermes", "opus", "", ""},
		{"an empty runtime is unknown", "", "opus", "", ""},
		{"providers of other runtimes do not count", "claude-code", "else-1", "ELSE", ""},
		{"several list it: the one whose credential is there", "claude-code", "both", "TWIN", "twin"},
		{"several list it, no credential: the first declared", "claude-code", "both", "", "api"},
		{"several list it, credentials of all: the first declared", "claude-code", "both", "API,TWIN", "api"},
		{"several list it, a shared credential: the first declared", "claude-code", "both", "SHARED", "api"},
		{"several prefixes: the one whose credential is there", "claude-code", "claude-x1", "TWIN", "twin"},
		{"several prefixes, no credential: ambiguous", "claude-code", "claude-x1", "", ""},
		{"several prefixes, a shared credential: ambiguous", "claude-code", "claude-x1", "SHARED", ""},
		{"one prefix needs no credential", "claude-code", "claude-9", "TWIN", "api"},
		{"the platform's", "claude-code", "anthropic/opus", "", "platform"},
		{"the platform's by prefix", "claude-code", "platform/x", "", "platform"},
	} {
		t.Run(row.rule, func(t *testing.T) {
			in := drift.Inputs{Runtime: row.runtime, Model: row.model}
			if row.names != "" {
				in.AuthEnv = strings.Split(row.names, ",")
			}
			want := drift.Path{Mode: drift.ModeBYOK, Source: drift.FromProvider, Provider: row.provider, Model: strings.TrimSpace(row.model)}
			switch row.provider {
			case "":
				want.Mode, want.Source = drift.ModePlatformManaged, drift.FromDefault
			case "platform":
				want.Mode = drift.ModePlatformManaged
			}
			for range 2 { // the second answer may be a remembered one
				if diff := cmp.Diff(want, resolver.Resolve(in)); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

func TestResolve(t *testing.T) {
	reg := parse(t, derivable)
	for _, row := range []struct {
		rule   string
		policy desired.Policy
		in     drift.Inputs
		want   drift.Path
	}{
		{"an override wins over a derivation", saas, drift.Inputs{Runtime: "claude-code", Model: "opus", Override: drift.ModeDisabled},
			drift.Path{Mode: drift.ModeDisabled, Source: drift.FromOverride, Model: "opus"}},
		{"an override wins over what could not be read", saas, drift.Inputs{Override: drift.ModeBYOK, Err: "x"},
			drift.Path{Mode: drift.ModeBYOK, Source: drift.FromOverride}},
		{"an unrecognised override counts as none", saas, drift.Inputs{Runtime: "claude-code", Model: "opus", Override: "BYOK"},
			drift.Path{Mode: drift.ModeBYOK, Source: drift.FromProvider, Provider: "oauth", Model: "opus"}},
		{"what could not be read gives the default, doubtful", saas, drift.Inputs{Runtime: "claude-code", Err: "x"},
			drift.Path{Mode: drift.ModePlatformManaged, Source: drift.FromFallback, Err: "x"}},
		{"self-hosted it is byok", selfHosted, drift.Inputs{Err: "x"}, drift.Path{Mode: drift.ModeBYOK, Source: drift.FromFallback, Err: "x"}},
		{"nothing derived, self-hosted", selfHosted, drift.Inputs{Runtime: "claude-code", Model: "what"}, drift.Path{Mode: drift.ModeBYOK, Source: drift.FromDefault, Model: "what"}},
	} {
		if diff := cmp.Diff(row.want, desired.NewResolver(reg, row.policy).Resolve(row.in)); diff != "" {
			t.Errorf("%s: %s", row.rule, diff)
		}
	}
}

// secrets makes rows of KEY=value; KEY= is empty, KEY! cannot be read.
func secrets(rows ...string) (all []drift.StoredSecret) {
	for _, row := range rows {
		if key, unreadable := strings.CutSuffix(row, "!"); unreadable {
			all = append(all, drift.StoredSecret{Key: key, Err: "does not decrypt"})
			continue
		}
		key, value, _ := strings.Cut(row, "=")
		all = append(all, drift.StoredSecret{Key: key, Value: value, Empty: value == ""})
	}
	return all
}

func TestInputsOfBothPaths(t *testing.T) {
	resolver := desired.NewResolver(parse(t, derivable), saas)
	for _, row := range []struct {
		rule      string
		w         drift.Workspace
		provision drift.Inputs
		from      string
		read      drift.Path
	}{
		{"a NULL runtime is claude-code on both", drift.Workspace{Secrets: secrets("MODEL=opus")},
			drift.Inputs{Runtime: "claude-code", Model: "opus"}, "workspace_secrets.MODEL", byok("oauth", "opus")},
		{"an empty one is claude-code on the read path only", drift.Workspace{Runtime: ptr(""), Secrets: secrets("MODEL=opus")},
			drift.Inputs{Model: "opus"}, "workspace_secrets.MODEL", byok("oauth", "opus")},
		{"MOLECULE_MODEL goes before MODEL, and the read path does not know it", drift.Workspace{Secrets: secrets("MODEL=opus", "MOLECULE_MODEL=claude-9")},
			drift.Inputs{Runtime: "claude-code", Model: "claude-9"}, "workspace_secrets.MOLECULE_MODEL", byok("oauth", "opus")},
		{"an empty MOLECULE_MODEL does not", drift.Workspace{Secrets: secrets("MODEL=opus", "MOLECULE_MODEL=")},
			drift.Inputs{Runtime: "claude-code", Model: "opus"}, "workspace_secrets.MODEL", byok("oauth", "opus")},
		{"a global MOLECULE_MODEL goes before the workspace's MODEL", drift.Workspace{Secrets: secrets("MODEL=opus"), Globals: secrets("MOLECULE_MODEL=claude-9")},
			drift.Inputs{Runtime: "claude-code", Model: "claude-9"}, "global_secrets.MOLECULE_MODEL", byok("oauth", "opus")},
		{"an empty row of the workspace hides the global one", drift.Workspace{Secrets: secrets("MODEL=opus", "MOLECULE_MODEL="), Globals: secrets("MOLECULE_MODEL=claude-9")},
			drift.Inputs{Runtime: "claude-code", Model: "opus"}, "workspace_secrets.MODEL", byok("oauth", "opus")},
		{"a global MODEL is unknown to the read path", drift.Workspace{Globals: secrets("MODEL=opus")},
			drift.Inputs{Runtime: "claude-code", Model: "opus"}, "global_secrets.MODEL", underived("")},
		{"a blank model is a value and wins", drift.Workspace{Secrets: secrets("MODEL=opus", "MOLECULE_MODEL= ")},
			drift.Inputs{Runtime: "claude-code", Model: " "}, "workspace_secrets.MOLECULE_MODEL", byok("oauth", "opus")},
		{"LLM_PROVIDER is retired", drift.Workspace{Secrets: secrets("LLM_PROVIDER=platform", "MODEL=opus")},
			drift.Inputs{Runtime: "claude-code", Model: "opus"}, "workspace_secrets.MODEL", byok("oauth", "opus")},
		{"credentials are merged; the read path sees the workspace's, empty ones too", drift.Workspace{Secrets: secrets("API=", "MODEL=claude-x1", "NOT_ONE=x"), Globals: secrets("API=x", "TWIN=x", "ELSE=")},
			drift.Inputs{Runtime: "claude-code", Model: "claude-x1", AuthEnv: []string{"TWIN"}}, "workspace_secrets.MODEL", byok("api", "claude-x1")},
		{"an unreadable model that is needed", drift.Workspace{Secrets: secrets("MODEL!")},
			drift.Inputs{Runtime: "claude-code", Err: "workspace_secrets.MODEL: does not decrypt"}, "workspace_secrets.MODEL", fallback("workspace_secrets.MODEL: does not decrypt")},
		{"an unreadable model that the other key makes needless", drift.Workspace{Secrets: secrets("MODEL!", "MOLECULE_MODEL=opus")},
			drift.Inputs{Runtime: "claude-code", Model: "opus"}, "workspace_secrets.MOLECULE_MODEL", fallback("workspace_secrets.MODEL: does not decrypt")},
		{"an unreadable global that goes first", drift.Workspace{Secrets: secrets("MODEL=opus"), Globals: secrets("MOLECULE_MODEL!")},
			drift.Inputs{Runtime: "claude-code", Err: "global_secrets.MOLECULE_MODEL: does not decrypt"}, "global_secrets.MOLECULE_MODEL", byok("oauth", "opus")},
		{"an unreadable credential is still there", drift.Workspace{Secrets: secrets("MODEL=claude-x1", "TWIN!")},
			drift.Inputs{Runtime: "claude-code", Model: "claude-x1", AuthEnv: []string{"TWIN"}}, "workspace_secrets.MODEL", byok("twin", "claude-x1")},
		{"a recognised override", drift.Workspace{Override: ptr("disabled"), Secrets: secrets("MODEL!")},
			drift.Inputs{Runtime: "claude-code", Override: "disabled", Err: "workspace_secrets.MODEL: does not decrypt"}, "workspace_secrets.MODEL", drift.Path{Mode: "disabled", Source: drift.FromOverride}},
		{"an unrecognised one is none", drift.Workspace{Override: ptr(" byok"), Secrets: secrets("MODEL=opus")},
			drift.Inputs{Runtime: "claude-code", Model: "opus"}, "workspace_secrets.MODEL", byok("oauth", "opus")},
	} {
		t.Run(row.rule, func(t *testing.T) {
			d := resolver.Desired(&row.w)
			if diff := cmp.Diff(row.provision, resolver.Inputs(&row.w)); diff != "" {
				t.Errorf("provision inputs: %s", diff)
			}
			if diff := cmp.Diff(resolver.Resolve(row.provision), d.Path); diff != "" {
				t.Errorf("provision path: %s", diff)
			}
			if diff := cmp.Diff(row.read, d.ReadPath); diff != "" {
				t.Errorf("read path: %s", diff)
			}
			if d.ModelFrom != row.from {
				t.Errorf("model from %s, want %s", d.ModelFrom, row.from)
			}
			if d.Override != row.provision.Override || d.Trace != nil {
				t.Errorf("override %q, trace %v", d.Override, d.Trace)
			}
		})
	}
}

func byok(provider, model string) drift.Path {
	return drift.Path{Mode: drift.ModeBYOK, Source: drift.FromProvider, Provider: provider, Model: model}
}

func underived(model string) drift.Path {
	return drift.Path{Mode: drift.ModePlatformManaged, Source: drift.FromDefault, Model: model}
}

func fallback(err string) drift.Path {
	return drift.Path{Mode: drift.ModePlatformManaged, Source: drift.FromFallback, Err: err}
}

func TestSupply(t *testing.T) {
	ours := desired.Policy{Deployment: drift.SaaS, GlobalSecrets: drift.OwnerPlatform}
	for _, row := range []struct {
		rule   string
		policy desired.Policy
		w      drift.Workspace
		want   drift.Supply
	}{
		{"stored by the workspace", ours, drift.Workspace{Secrets: secrets("MODEL=opus", "OAUTH=x")}, drift.SupplyWorkspace},
		{"another provider's does not help", saas, drift.Workspace{Secrets: secrets("API=x", "MODEL=opus")}, drift.SupplyNone},
		{"an empty one does not", saas, drift.Workspace{Secrets: secrets("MODEL=opus", "OAUTH=")}, drift.SupplyNone},
		{"a global one, the tenant's", saas, drift.Workspace{Secrets: secrets("MODEL=opus"), Globals: secrets("OAUTH=x")}, drift.SupplyGlobal},
		{"a global one, the platform's", ours, drift.Workspace{Secrets: secrets("MODEL=opus"), Globals: secrets("OAUTH=x")}, drift.SupplyNone},
		{"a global one, hidden by an empty row", saas, drift.Workspace{Secrets: secrets("MODEL=opus", "OAUTH="), Globals: secrets("OAUTH=x")}, drift.SupplyNone},
		{"a global one, empty", saas, drift.Workspace{Secrets: secrets("MODEL=opus"), Globals: secrets("OAUTH=")}, drift.SupplyNone},
		{"any of several names", saas, drift.Workspace{Secrets: secrets("MODEL=claude-9", "SHARED=x")}, drift.SupplyWorkspace},
		{"the platform pays", saas, drift.Workspace{Secrets: secrets("MODEL=anthropic/opus", "MOLECULE_LLM_USAGE_TOKEN=x")}, drift.SupplyNotNeeded},
		{"byok by override: nobody knows which", saas, drift.Workspace{Override: ptr("byok"), Secrets: secrets("MODEL=opus", "OAUTH=x")}, drift.SupplyNotNeeded},
		{"byok by default: nobody knows which", selfHosted, drift.Workspace{Secrets: secrets("OAUTH=x")}, drift.SupplyNotNeeded},
	} {
		d := desired.NewResolver(parse(t, derivable), row.policy).Desired(&row.w)
		if d.Supply != row.want {
			t.Errorf("%s: got %s, want %s", row.rule, d.Supply, row.want)
		}
		if (d.AuthEnv != nil) != (d.Provider != "") {
			t.Errorf("%s: provider %q, auth env %v", row.rule, d.Provider, d.AuthEnv)
		}
	}
	d := desired.NewResolver(parse(t, derivable), ours).Desired(&drift.Workspace{Secrets: secrets("MODEL=claude-9")})
	if !slices.Equal(d.AuthEnv, []string{"API", "SHARED"}) {
		t.Errorf("auth env as declared: %v", d.AuthEnv)
	}
}
