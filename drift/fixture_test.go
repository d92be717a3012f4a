package drift_test

import (
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
)

const proxyURL = "https://api.moleculesai.app/api/v1/internal/llm"

var (
	key     = drift.Key("00112233445566778899aabbccddeeff")
	started = time.Date(2026, 5, 28, 18, 0, 0, 0, time.UTC)
)

func policy(t testing.TB, globals drift.Owner) *drift.Policy {
	t.Helper()
	e, err := drift.ParseEndpoint(proxyURL)
	if err != nil {
		t.Fatal(err)
	}
	return &drift.Policy{GlobalSecrets: globals, StripList: drift.DefaultStripList, Proxy: []drift.Endpoint{e}, StaleAfter: 15 * time.Minute}
}

func ptr[T any](v T) *T { return &v }

func secret(name, value string, updated time.Time) drift.StoredSecret {
	s := drift.StoredSecret{Key: name, Empty: value == "", UpdatedAt: updated, CreatedAt: updated}
	if name == drift.KeyModel || name == drift.KeyMoleculeModel {
		s.Value = value
	} else {
		s.Fingerprint = key.Fingerprint([]byte(value))
	}
	return s
}

func credential(name, where, value string) drift.Credential {
	return drift.Credential{Name: name, Where: where, Empty: value == "", Fingerprint: key.Fingerprint([]byte(value))}
}

func variables(pairs ...string) map[string]drift.Variable {
	vars := map[string]drift.Variable{}
	for i := 0; i < len(pairs); i += 2 {
		vars[pairs[i]] = drift.Variable{Value: pairs[i+1]}
	}
	return vars
}

// byok is a claude-code workspace on the customer's subscription, and all is
// well with it.
func byok() *drift.Facts {
	desired := drift.Path{Mode: drift.ModeBYOK, Source: drift.FromProvider, Provider: "anthropic-oauth", Model: "opus"}
	return &drift.Facts{
		Workspace: &drift.Workspace{Source: "reno-stars", ID: "6b66de8d-9337-4fb4-be8d-6d49dca0d809", Name: "Marketing Agent",
			Runtime: ptr("claude-code"), Status: "online", InstanceID: "i-0ad447e8433902973",
			Secrets: []drift.StoredSecret{
				secret("CLAUDE_CODE_OAUTH_TOKEN", "customer-token", started.Add(-time.Hour)),
				secret(drift.KeyModel, "opus", started.Add(-time.Hour)),
			}},
		Desired: drift.Desired{Path: desired, ModelFrom: "workspace_secrets.MODEL", AuthEnv: []string{"CLAUDE_CODE_OAUTH_TOKEN"},
			Supply: drift.SupplyWorkspace, ReadPath: desired},
		Observation: drift.Observation{State: drift.Observed, At: started.Add(time.Hour), StartedAt: started,
			Variables:   variables(drift.VarModeResolved, "byok", drift.VarModel, "opus"),
			Credentials: []drift.Credential{credential("CLAUDE_CODE_OAUTH_TOKEN", drift.WhereEnv, "customer-token")}},
		Traffic: &drift.Traffic{Since: started},
	}
}

// managed is a claude-code workspace that the platform pays for, and all is
// well with it.
func managed() *drift.Facts {
	desired := drift.Path{Mode: drift.ModePlatformManaged, Source: drift.FromProvider, Provider: "platform", Model: "anthropic/claude-opus-4-7"}
	f := byok()
	f.Workspace.Secrets = []drift.StoredSecret{secret(drift.KeyModel, desired.Model, started.Add(-time.Hour))}
	f.Desired = drift.Desired{Path: desired, ModelFrom: "workspace_secrets.MODEL", AuthEnv: []string{drift.KeyUsageToken}, Supply: drift.SupplyNotNeeded, ReadPath: desired}
	f.Observation.Variables = variables(drift.VarModeResolved, "platform_managed", drift.VarModel, desired.Model,
		drift.VarAnthropicURL, proxyURL+"/anthropic", drift.VarProxyURL, proxyURL)
	f.Observation.Credentials = []drift.Credential{
		credential("ANTHROPIC_API_KEY", drift.WhereEnv, "usage-token"), credential(drift.KeyUsageToken, drift.WhereEnv, "usage-token")}
	f.Traffic = &drift.Traffic{Since: started, Billed: 40, PastGrace: 39}
	return f
}

// incident is the workspace of 2026-05-28: it should be byok, and came up
// platform_managed with nothing of the customer's.
func incident() *drift.Facts {
	f := byok()
	f.Observation.Variables = variables(drift.VarModeResolved, "platform_managed", drift.VarModel, "opus",
		drift.VarAnthropicURL, proxyURL+"/anthropic", drift.VarProxyURL, proxyURL)
	f.Observation.Credentials = managed().Observation.Credentials
	f.Traffic = &drift.Traffic{Since: started, Billed: 12, PastGrace: 12, First: started.Add(5 * time.Minute), Last: started.Add(20 * time.Minute)}
	return f
}

// disabled is a workspace without an LLM, and all is well with it.
func disabled() *drift.Facts {
	f := byok()
	f.Workspace.Override = ptr("disabled")
	f.Desired.Path = drift.Path{Mode: drift.ModeDisabled, Source: drift.FromOverride, Model: "opus"}
	f.Desired.ReadPath, f.Desired.Override, f.Desired.AuthEnv, f.Desired.Supply = f.Desired.Path, drift.ModeDisabled, nil, drift.SupplyNotNeeded
	f.Observation.Variables = variables(drift.VarModeResolved, "disabled")
	return f
}

func kinds(findings []drift.Finding) []drift.Kind {
	list := []drift.Kind{}
	for _, f := range findings {
		list = append(list, f.Kind)
	}
	return list
}
