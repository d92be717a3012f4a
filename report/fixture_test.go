package report_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/reconcile"
)

const (
	key      = drift.Key("00112233445566778899aabbccddeeff")
	proxyURL = "https://api.moleculesai.app/api/v1/internal/llm"
)

var (
	now     = time.Date(2026, 5, 28, 18, 31, 54, 0, time.UTC)
	started = now.Add(-20 * time.Minute)
)

func ptr[T any](v T) *T { return &v }

func policy(t testing.TB) *drift.Policy {
	t.Helper()
	proxy, err := drift.ParseEndpoint(proxyURL)
	if err != nil {
		t.Fatal(err)
	}
	return &drift.Policy{GlobalSecrets: drift.OwnerCustomer, StripList: drift.DefaultStripList, Proxy: []drift.Endpoint{proxy}}
}

func credential(name, where, value string) drift.Credential {
	return drift.Credential{Name: name, Where: where, Empty: value == "", Fingerprint: key.Fingerprint([]byte(value))}
}

// incident is the workspace of 2026-05-28 as a pass judged it.
func incident(t testing.TB) reconcile.Judged {
	path := drift.Path{Mode: drift.ModeBYOK, Source: drift.FromProvider, Provider: "anthropic-oauth", Model: "opus"}
	j := reconcile.Judged{Facts: drift.Facts{
		Workspace: &drift.Workspace{Source: "reno-stars", ID: "6b66de8d-9337-4fb4-be8d-6d49dca0d809", Name: "Marketing Agent",
			Runtime: ptr("claude-code"), Status: "online", InstanceID: "i-0ad447e8433902973",
			Secrets: []drift.StoredSecret{{Key: "CLAUDE_CODE_OAUTH_TOKEN", Fingerprint: key.Fingerprint([]byte("customer"))}, {Key: "MODEL", Value: "opus"}}},
		Desired: drift.Desired{Path: path, ReadPath: path, ModelFrom: "workspace_secrets.MODEL", AuthEnv: []string{"CLAUDE_CODE_OAUTH_TOKEN"}, Supply: drift.SupplyWorkspace},
		Observation: drift.Observation{State: drift.Observed, At: now, StartedAt: started, Image: "molecule/workspace:1.42", RestartCount: 2,
			Variables: map[string]drift.Variable{drift.VarModeResolved: {Value: "platform_managed"}, drift.VarModel: {Value: "opus\n"},
				drift.VarAnthropicURL: {Value: proxyURL + "/anthropic"}, drift.VarProxyURL: {Value: proxyURL}},
			Credentials: []drift.Credential{credential("ANTHROPIC_API_KEY", drift.WhereEnv, "usage"),
				credential("CLAUDE_CODE_OAUTH_TOKEN", drift.WhereEnv, ""), credential(drift.KeyUsageToken, drift.WhereEnv, "usage")},
			Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("203.0.113.7")}},
		ReadEndpoint: &drift.ReadEndpoint{Mode: drift.ModeBYOK, Source: drift.FromProvider, Provider: "anthropic-oauth"},
		Traffic:      &drift.Traffic{Since: started, Billed: 12, PastGrace: 11, First: started.Add(time.Minute), Last: now.Add(-time.Minute), CostUSD: ptr(0.42)},
	}}
	j.Findings = drift.Compare(policy(t), &j.Facts)
	j.Verdict, j.Reason = drift.Conclude(policy(t), &j.Facts, j.Findings)
	j.Causes = []drift.Cause{{Code: drift.ModelEmpty, Summary: "the observed mode is what derivation gives when the model is empty"},
		{Code: drift.RegistryDiffers, Summary: "the observed mode is what derivation gives with the previous registry"}}
	return j
}

// bare is a workspace of which next to nothing is known.
func bare() reconcile.Judged {
	return reconcile.Judged{Facts: drift.Facts{Workspace: &drift.Workspace{Source: "acme", ID: "0", Status: "provisioning"},
		Desired: drift.Desired{
			Path:     drift.Path{Mode: drift.ModePlatformManaged, Source: drift.FromFallback, Err: "MODEL cannot be decrypted"},
			ReadPath: drift.Path{Mode: drift.ModePlatformManaged, Source: drift.FromFallback, Err: "MODEL cannot be decrypted"}}}}
}

func result(workspaces ...reconcile.Judged) *reconcile.Result {
	return &reconcile.Result{At: now.In(time.FixedZone("elsewhere", 7200)), Workspaces: workspaces, Sources: []reconcile.SourceResult{{Name: "reno-stars", Workspaces: len(workspaces)}}}
}
