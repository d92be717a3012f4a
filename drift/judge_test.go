package drift_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/drift"
)

func TestJudge(t *testing.T) {
	p := policy(t, drift.OwnerCustomer)
	for _, row := range []struct {
		name              string
		facts             *drift.Facts
		platform, enforce bool
		want              drift.Rule
	}{
		{"go", incident(), true, true, drift.RuleGo},
		{"out of scope", with(incident(), func(f *drift.Facts) { f.Workspace.Status = "removed" }), true, true, drift.RuleOutOfScope},
		{"nothing differs", byok(), true, true, drift.RuleNoDrift},
		{"not seen, though traffic accuses", with(incident(), func(f *drift.Facts) {
			f.Observation = drift.Observation{State: drift.Unreachable, Reason: "connection lost"}
		}), true, true, drift.RuleUnknown},
		{"underivable", with(managed(), func(f *drift.Facts) {
			f.Desired.Source, f.Desired.Provider = drift.FromDefault, ""
			f.Observation.Variables[drift.VarModeResolved] = drift.Variable{Value: "byok"}
		}), true, true, drift.RuleDoubtful},
		{"only the customer can help", with(byok(), func(f *drift.Facts) { f.Desired.Supply = drift.SupplyNone }), true, true, drift.RuleNotRemediable},
		{"a known refusal", with(incident(), func(f *drift.Facts) {
			f.Workspace.Globals = []drift.StoredSecret{secret("GITHUB_TOKEN", "x", started)}
		}), true, true, drift.RuleKnownRefusal},
		{"no platform", incident(), false, true, drift.RuleNoPlatform},
		{"off", incident(), true, false, drift.RuleOff},
	} {
		t.Run(row.name, func(t *testing.T) {
			findings := drift.Compare(p, row.facts)
			verdict, _ := drift.Conclude(p, row.facts, findings)
			got := drift.Judge(&drift.Case{Facts: row.facts, Policy: p, Verdict: verdict, Findings: findings, Platform: row.platform, Remedy: remedy(row.enforce), Now: row.facts.Observation.At})
			if got.Rule != row.want || got.Words == "" {
				t.Errorf("rule %s (%q), want %s", got.Rule, got.Words, row.want)
			}
		})
	}
}

func remedy(enforce bool) *drift.Remedy {
	if enforce {
		return &drift.Remedy{Mode: drift.RemediateEnforce}
	}
	return nil
}

func TestRefusals(t *testing.T) {
	for _, row := range []struct {
		name    string
		change  func(*drift.Facts)
		globals drift.Owner
		want    []string
	}{
		{name: "none", change: func(*drift.Facts) {}},
		{name: "a credential outside the strip list does not save", change: func(f *drift.Facts) {
			f.Workspace.Secrets[0].Key, f.Desired.AuthEnv = "GROQ_API_KEY", []string{"GROQ_API_KEY"}
		}, want: []string{"MISSING_BYOK_CREDENTIAL"}},
		{name: "an empty one neither", change: func(f *drift.Facts) { f.Workspace.Secrets[0].Empty = true }, want: []string{"MISSING_BYOK_CREDENTIAL"}},
		{name: "a global one that the provider takes", change: func(f *drift.Facts) {
			f.Workspace.Globals, f.Workspace.Secrets = f.Workspace.Secrets[:1], f.Workspace.Secrets[1:]
		}},
		{name: "a global one where they are the platform's", globals: drift.OwnerPlatform, change: func(f *drift.Facts) {
			f.Workspace.Globals, f.Workspace.Secrets = f.Workspace.Secrets[:1], f.Workspace.Secrets[1:]
		}, want: []string{"MISSING_BYOK_CREDENTIAL"}},
		{name: "a global one that the provider does not take is stripped", change: func(f *drift.Facts) {
			f.Workspace.Globals, f.Workspace.Secrets = f.Workspace.Secrets[:1], f.Workspace.Secrets[1:]
			f.Workspace.Globals[0].Key = "XAI_API_KEY"
		}, want: []string{"MISSING_BYOK_CREDENTIAL"}},
		{name: "no model", change: func(f *drift.Facts) { f.Desired.Model = "" }, want: []string{"MISSING_MODEL"}},
		{name: "disabled needs no model", change: func(f *drift.Facts) { f.Desired.Model, f.Desired.Mode = "", drift.ModeDisabled }},
		{name: "undecryptable", change: func(f *drift.Facts) { f.Workspace.Secrets[0].Err = "wrong key" }, want: []string{"UNDECRYPTABLE_SECRET"}},
		{name: "an operator's token for all", change: func(f *drift.Facts) {
			f.Workspace.Globals = []drift.StoredSecret{secret("MOLECULE_OPERATOR_X", "", started)}
		}, want: []string{"OPERATOR_SECRET"}},
		{name: "an operator's token that the workspace has of its own", change: func(f *drift.Facts) {
			f.Workspace.Globals = []drift.StoredSecret{secret("GH_TOKEN", "a", started)}
			f.Workspace.Secrets = append(f.Workspace.Secrets, secret("GH_TOKEN", "b", started))
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			globals := row.globals
			if globals == "" {
				globals = drift.OwnerCustomer
			}
			f := with(byok(), row.change)
			var got []string
			for _, r := range drift.Refusals(policy(t, globals), f.Workspace, &f.Desired) {
				got = append(got, r.Code)
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("refusals (-want +got):\n%s", diff)
			}
		})
	}
	f := with(managed(), func(*drift.Facts) {})
	p := policy(t, drift.OwnerCustomer)
	p.Proxy = nil
	if got := drift.Refusals(p, f.Workspace, &f.Desired); len(got) != 1 || got[0].Code != "MISSING_PLATFORM_PROXY" {
		t.Errorf("no proxy configured: %v", got)
	}
}
