package drift_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/molecule-ai/billing-reconciler/drift"
)

var (
	modes    = []string{"", "byok", "platform_managed", "disabled", "nonsense"}
	urls     = []string{"", proxyURL, proxyURL + "/openai/v1", "https://api.anthropic.com", "https://api.anthropic.com@api.moleculesai.app/api/v1/internal/llm"}
	values   = []string{"", "usage-token", "customer-token", "global-token", "older"}
	names    = []string{drift.KeyUsageToken, "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GROQ_API_KEY", "OPENAI_BASE_URL"}
	statuses = []string{"online", "offline", "paused", "failed", "removed"}
	states   = []drift.State{drift.NotAsked, drift.Observed, drift.NotRunning, drift.Unreachable, drift.Unsupported}
	sources  = []drift.ResolveSource{drift.FromOverride, drift.FromProvider, drift.FromDefault, drift.FromFallback}
	supplies = []drift.Supply{drift.SupplyNotNeeded, drift.SupplyNone, drift.SupplyWorkspace, drift.SupplyGlobal}
)

func oneOf[T any](t *rapid.T, label string, list []T) T {
	return rapid.SampledFrom(list).Draw(t, label)
}

// anything draws facts of every kind, likely and unlikely.
func anything(t *rapid.T) *drift.Facts {
	path := func(label string) drift.Path {
		return drift.Path{Mode: drift.Mode(oneOf(t, label+" mode", modes)), Source: oneOf(t, label+" source", sources),
			Provider: oneOf(t, label+" provider", []string{"", "platform", "anthropic-oauth"}), Model: oneOf(t, label+" model", []string{"", "opus"})}
	}
	f := &drift.Facts{
		Workspace: &drift.Workspace{ID: "w", Status: oneOf(t, "status", statuses), Runtime: oneOf(t, "runtime", []*string{nil, ptr(""), ptr("claude-code"), ptr("codex"), ptr("mock")})},
		Desired: drift.Desired{Path: path("desired"), ReadPath: path("read"), ModelFrom: oneOf(t, "from", []string{"", "workspace_secrets.MODEL"}),
			AuthEnv: []string{"CLAUDE_CODE_OAUTH_TOKEN"}, Supply: oneOf(t, "supply", supplies)},
		Observation: drift.Observation{State: oneOf(t, "state", states), Reason: "a reason", StartedAt: started,
			Variables: map[string]drift.Variable{}, EnvUnsafe: rapid.Bool().Draw(t, "unsafe")},
		Traffic: &drift.Traffic{Since: started, Billed: 2, PastGrace: rapid.IntRange(0, 2).Draw(t, "hits")},
		Unseen:  time.Duration(rapid.IntRange(0, 60).Draw(t, "unseen")) * time.Minute,
	}
	for _, name := range drift.Variables {
		list := urls
		if name == drift.VarMode || name == drift.VarModeResolved {
			list = modes
		}
		f.Observation.Variables[name] = drift.Variable{Value: oneOf(t, name, list), Cut: rapid.Bool().Draw(t, "cut")}
	}
	for range rapid.IntRange(0, 6).Draw(t, "credentials") {
		f.Observation.Credentials = append(f.Observation.Credentials, credential(oneOf(t, "name", names), oneOf(t, "where", []string{"env", "secrets_dir"}), oneOf(t, "value", values)))
	}
	for range rapid.IntRange(0, 3).Draw(t, "secrets") {
		f.Workspace.Secrets = append(f.Workspace.Secrets, secret(oneOf(t, "key", names), oneOf(t, "stored", values), started))
		f.Workspace.Globals = append(f.Workspace.Globals, secret(oneOf(t, "gkey", names), oneOf(t, "gstored", values), started))
	}
	return f
}

func anyPolicy(t *rapid.T, tb testing.TB) *drift.Policy {
	return policy(tb, oneOf(t, "globals", []drift.Owner{drift.OwnerCustomer, drift.OwnerPlatform}))
}

// Law 1: could not look is never in sync.
func TestUnseenIsNeverInSync(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f, p := anything(rt), anyPolicy(rt, t)
		verdict, _ := drift.Conclude(p, f, drift.Compare(p, f))
		if verdict == drift.InSync && f.Observation.State != drift.Observed {
			rt.Errorf("in sync, state %s", f.Observation.State)
		}
		if verdict == drift.InSync && f.Desired.Source == drift.FromFallback {
			rt.Errorf("in sync with inputs that could not be read")
		}
	})
}

// Law 1: what was not seen is never a reason to act.
func TestUnseenIsNeverActedOn(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f, p := anything(rt), anyPolicy(rt, t)
		findings := drift.Compare(p, f)
		verdict, _ := drift.Conclude(p, f, findings)
		got := drift.Judge(&drift.Case{Facts: f, Policy: p, Verdict: verdict, Findings: findings, Platform: true, Remedy: remedy(true)})
		if got.Rule == drift.RuleGo && (f.Observation.State != drift.Observed || f.Observation.EnvUnsafe || f.Desired.Source == drift.FromFallback) {
			rt.Errorf("go, state %s, unsafe %v, source %s", f.Observation.State, f.Observation.EnvUnsafe, f.Desired.Source)
		}
	})
}

func TestOrderOfInputNeverMatters(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f, p := anything(rt), anyPolicy(rt, t)
		want := drift.Compare(p, f)
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		shuffle(random, f.Observation.Credentials)
		shuffle(random, f.Workspace.Secrets)
		shuffle(random, f.Workspace.Globals)
		got := drift.Compare(p, f)
		for _, list := range [][]drift.Finding{want, got} {
			for _, found := range list {
				slices.Sort(found.Evidence)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Errorf("the same facts in another order (-first +second):\n%s", diff)
		}
	})
}

func shuffle[T any](random *rand.Rand, list []T) {
	random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
}

func TestFindingsAreDistinctAndInOrder(t *testing.T) {
	order := []drift.Kind{drift.ModeMismatch, drift.RoutedToProxy, drift.RoutedDirect, drift.CredentialNotSupplied, drift.CredentialNotDelivered,
		drift.PlatformCredentialExposed, drift.ForeignCredential, drift.ModelMismatch, drift.ProxyTraffic, drift.PathsDiverge, drift.Underivable, drift.UnobservedTooLong}
	rapid.Check(t, func(rt *rapid.T) {
		last := -1
		for _, k := range kinds(drift.Compare(anyPolicy(rt, t), anything(rt))) {
			at := slices.Index(order, k)
			if at <= last {
				rt.Errorf("%s out of order or doubled", k)
			}
			last = at
		}
	})
}
