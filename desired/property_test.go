package desired_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/molecule-ai/billing-reconciler/desired"
	"github.com/molecule-ai/billing-reconciler/drift"
)

var (
	anyName  = rapid.SampledFrom([]string{"A", "B", "C", "D"})
	anyModel = rapid.SampledFrom([]string{"", " ", "a", "ab", "abc", "b", "ba", "B", " ab ", "zz"})
	anyRow   = rapid.Custom(func(t *rapid.T) drift.StoredSecret {
		row := drift.StoredSecret{Key: rapid.SampledFrom([]string{"A", "B", "C", "D", "MODEL", "MOLECULE_MODEL", "LLM_PROVIDER"}).Draw(t, "key")}
		switch rapid.IntRange(0, 5).Draw(t, "kind") {
		case 0:
			row.Empty = true
		case 1:
			row.Err = "does not decrypt"
		default:
			row.Value = rapid.SampledFrom([]string{" ", "a", "ab", "abc", "ba", "zz"}).Draw(t, "value")
		}
		return row
	})
	anyRows      = rapid.SliceOfNDistinct(anyRow, 0, 6, func(s drift.StoredSecret) string { return s.Key })
	anyWorkspace = rapid.Custom(func(t *rapid.T) *drift.Workspace {
		return &drift.Workspace{
			Runtime:  rapid.Ptr(rapid.SampledFrom([]string{"", "claude-code", "codex", "hermes"}), true).Draw(t, "runtime"),
			Override: rapid.Ptr(rapid.SampledFrom([]string{"", "byok", "disabled", "BYOK"}), true).Draw(t, "override"),
			Secrets:  anyRows.Draw(t, "secrets"), Globals: anyRows.Draw(t, "globals"),
		}
	})
	anyPolicy = rapid.SampledFrom([]desired.Policy{saas, selfHosted})
)

// anyRegistry gives the text of a small registry in which everything overlaps.
var anyRegistry = rapid.Custom(func(t *rapid.T) string {
	var b strings.Builder
	names := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"platform", "p", "q", "r", "s"}), 1, 5, rapid.ID).Draw(t, "providers")
	b.WriteString("schema_version: 1\nproviders:\n")
	for _, name := range names {
		env := rapid.SliceOfNDistinct(anyName, 1, 3, rapid.ID).Draw(t, "auth_env")
		prefix := rapid.SampledFrom([]string{"^a", "^ab", "^(a|b)$", "(?i)^b", "^b", "x", ".*"}).Draw(t, "prefix")
		fmt.Fprintf(&b, "  - {name: %s, protocol: openai, auth_mode: x, auth_env: [%s], model_prefix_match: %q}\n", name, strings.Join(env, ", "), prefix)
	}
	b.WriteString("runtimes:\n")
	for _, runtime := range []string{"claude-code", "codex"} {
		fmt.Fprintf(&b, "  %s:\n    providers:\n", runtime)
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom(names), 1, len(names), rapid.ID).Draw(t, "entries") {
			models := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "ab", "b", "m"}), 0, 3, rapid.ID).Draw(t, "models")
			fmt.Fprintf(&b, "      - {name: %s, models: [%s]}\n", name, strings.Join(models, ", "))
		}
	}
	return b.String()
})

func drawResolver(t *rapid.T) *desired.Resolver {
	reg, err := desired.ParseRegistry("drawn.yaml", []byte(anyRegistry.Draw(t, "registry")))
	if err != nil {
		t.Fatal(err)
	}
	return desired.NewResolver(reg, anyPolicy.Draw(t, "policy"))
}

func TestDerivationAgreesOnAnyRegistry(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		src := anyRegistry.Draw(rt, "registry")
		path := filepath.Join(dir, "drawn.yaml")
		if err := os.WriteFile(path, []byte(src), 0o600); err != nil {
			rt.Fatal(err)
		}
		reg, err := desired.LoadRegistry(path)
		if err != nil {
			rt.Fatal(err)
		}
		naive, resolver := naiveLoad(t, path), desired.NewResolver(reg, saas)
		for range 20 {
			in := drift.Inputs{Runtime: rapid.SampledFrom([]string{"", "claude-code", "codex", "hermes"}).Draw(rt, "runtime"), Model: anyModel.Draw(rt, "model"),
				AuthEnv: rapid.SliceOfNDistinct(anyName, 0, 3, rapid.ID).Draw(rt, "names")}
			present := map[string]bool{}
			for _, name := range in.AuthEnv {
				present[name] = true
			}
			if got, want := resolver.Resolve(in).Provider, naive.derive(in.Runtime, in.Model, present); got != want {
				rt.Fatalf("%+v: got %q, want %q, of\n%s", in, got, want, src)
			}
		}
	})
}

func TestOrderOfRowsNeverMatters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		resolver, w := drawResolver(t), anyWorkspace.Draw(t, "workspace")
		other := *w
		other.Secrets, other.Globals = rapid.Permutation(w.Secrets).Draw(t, "secrets"), rapid.Permutation(w.Globals).Draw(t, "globals")
		if diff := cmp.Diff(resolver.Desired(w), resolver.Desired(&other)); diff != "" {
			t.Fatal(diff)
		}
		if diff := cmp.Diff(resolver.Inputs(w), resolver.Inputs(&other)); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestWhatDesiredMayBe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		resolver, w := drawResolver(t), anyWorkspace.Draw(t, "workspace")
		before := fmt.Sprintf("%+v", *w)
		d := resolver.Desired(w)
		for name, p := range map[string]drift.Path{"provision": d.Path, "read": d.ReadPath} {
			switch {
			case !p.Mode.Recognised():
				t.Fatalf("%s: mode %q", name, p.Mode)
			case (p.Err != "") != (p.Source == drift.FromFallback):
				t.Fatalf("%s: source %s with error %q", name, p.Source, p.Err)
			case (p.Provider != "") != (p.Source == drift.FromProvider):
				t.Fatalf("%s: source %s with provider %q", name, p.Source, p.Provider)
			case p.Provider != "" && (p.Provider == drift.PlatformProvider) != (p.Mode == drift.ModePlatformManaged):
				t.Fatalf("%s: provider %s gives %s", name, p.Provider, p.Mode)
			case (p.Source == drift.FromOverride) != (d.Override != ""):
				t.Fatalf("%s: source %s with override %q", name, p.Source, d.Override)
			case strings.TrimSpace(p.Model) != p.Model:
				t.Fatalf("%s: model %q", name, p.Model)
			}
		}
		if (d.Supply == drift.SupplyNotNeeded) != (d.Mode != drift.ModeBYOK || d.Provider == "") {
			t.Fatalf("supply %s of %+v", d.Supply, d.Path)
		}
		if d.Supply == drift.SupplyGlobal && resolver.Policy.GlobalSecrets != drift.OwnerCustomer {
			t.Fatal("the platform's own credential counts as the customer's")
		}
		if after := fmt.Sprintf("%+v", *w); after != before {
			t.Fatalf("resolving changed the workspace from %s to %s", before, after)
		}
	})
}

func TestASecretThatDecidesNothingChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		resolver, w := drawResolver(t), anyWorkspace.Draw(t, "workspace")
		more := *w
		noise := drift.StoredSecret{Key: rapid.SampledFrom([]string{"GITHUB_TOKEN", "model", "ANTHROPIC_BASE_URL"}).Draw(t, "key"), Value: "a", Err: rapid.SampledFrom([]string{"", "damaged"}).Draw(t, "err")}
		more.Secrets, more.Globals = append(slices.Clone(w.Secrets), noise), append(slices.Clone(w.Globals), noise)
		if diff := cmp.Diff(resolver.Desired(w), resolver.Desired(&more)); diff != "" {
			t.Fatal(diff)
		}
	})
}

// A tenant may store any model, and a pass resolves many at once: what is
// remembered stays bounded, and right.
func TestResolverIsSharedByMany(t *testing.T) {
	resolver := desired.NewResolver(parse(t, derivable), saas)
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for n := range 5000 {
				in := drift.Inputs{Runtime: drift.DefaultRuntime, Model: fmt.Sprintf("claude-%d-%d", worker, n)}
				if got := resolver.Resolve(in).Provider; got != "api" {
					t.Errorf("%s: %q", in.Model, got)
				}
			}
		})
	}
	group.Wait()
}
