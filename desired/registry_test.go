package desired_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/desired"
	"github.com/molecule-ai/billing-reconciler/drift"
)

const exampleRegistry = "../deploy/providers.example.yaml"

// registry is the real one where this machine has it, else our own example.
func registry(t testing.TB) *desired.Registry {
	t.Helper()
	path := exampleRegistry
	if real := os.Getenv("REAL_REGISTRY"); real != "" {
		path = real
	}
	reg, err := desired.LoadRegistry(path)
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

func TestRegistryIsReadWhole(t *testing.T) {
	reg, err := desired.LoadRegistry(exampleRegistry)
	if err != nil {
		t.Fatal(err)
	}
	kimi := reg.Provider("kimi-coding")
	if kimi == nil {
		t.Fatal("no provider kimi-coding")
	}
	got := []string{kimi.Protocol, kimi.AuthMode, kimi.BaseURL, kimi.BaseURLAnthropic, strings.Join(kimi.AuthEnv, " ")}
	want := []string{"anthropic", "api_key", "https://api.kimi.com/coding/v1", "https://api.kimi.com/coding", "KIMI_API_KEY ANTHROPIC_API_KEY"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var order []string
	for _, entry := range reg.Runtime("codex").Entries {
		order = append(order, entry.Provider.Name+" "+strings.Join(entry.Models, ","))
	}
	want = []string{"openai-subscription gpt-5.5,gpt-5.4", "openai-api gpt-5.5,gpt-5.4", "platform openai/gpt-5.4"}
	if diff := cmp.Diff(want, order); diff != "" {
		t.Errorf("codex, as declared: %s", diff)
	}
	if reg.Provider("nobody") != nil || reg.Runtime("nobody") != nil {
		t.Error("what is not in the registry was found")
	}
	if len(reg.Digest()) != 64 {
		t.Errorf("digest %q", reg.Digest())
	}
}

func TestRealRegistryIsAccepted(t *testing.T) {
	reg := registry(t)
	if len(reg.Providers) < 8 || len(reg.Runtimes) < 4 {
		t.Errorf("%d providers, %d runtimes", len(reg.Providers), len(reg.Runtimes))
	}
}

func TestDigestTellsFilesApart(t *testing.T) {
	a := parse(t, sound)
	b := parse(t, sound+"# a comment\n")
	if a.Digest() == b.Digest() || a.Digest() != parse(t, sound).Digest() {
		t.Errorf("digests %s %s", a.Digest(), b.Digest())
	}
}

func TestCredentialNames(t *testing.T) {
	reg := parse(t, sound)
	got := desired.CredentialNames(reg, []string{"OPENAI_BASE_URL", "B_KEY", "Z_KEY"})
	want := []string{"A_KEY", "B_KEY", "MOLECULE_LLM_USAGE_TOKEN", "Z_KEY"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := reg.AuthEnv(); !slices.Equal(got, []string{"A_BASE_URL", "A_KEY", "B_KEY"}) {
		t.Errorf("auth env %v", got)
	}
	if got := desired.CredentialNames(reg, drift.DefaultStripList); !slices.Contains(got, "HF_TOKEN") || slices.Contains(got, "HERMES_CUSTOM_BASE_URL") {
		t.Errorf("with the default strip list: %v", got)
	}
}

// sound is the least registry that has everything.
const sound = `schema_version: 1
providers:
  - name: a
    protocol: anthropic
    auth_mode: oauth
    auth_env: [A_KEY, A_BASE_URL]
    model_prefix_match: "^a-"
    vendor_logo: {anything: [goes, here]}
  - name: b
    protocol: openai
    auth_mode: x
    base_url_template: null
    auth_env: [B_KEY]
    model_prefix_match: ^b-
runtimes:
  r:
    note: ignored
    providers:
      - name: a
        models: [m1, m2]
      - {name: b, models: null}
`

func parse(t testing.TB, src string) *desired.Registry {
	t.Helper()
	reg, err := desired.ParseRegistry("p.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

// Each row changes one thing of the sound registry and names every complaint
// that must follow, in full: place, key, what is wrong.
func TestBrokenRegistryIsRefused(t *testing.T) {
	rows := []struct {
		rule, old, new string
		want           string
	}{
		{"another schema version", "schema_version: 1", "schema_version: 2", `p.yaml:1:17: schema_version: is "2", this reconciler reads version 1: upgrade it, or give it the registry that the platform runs with`},
		{"a schema version that is a word", "schema_version: 1", `schema_version: "1"`, `p.yaml:1:17: schema_version: is "1", this`},
		{"no schema version", "schema_version: 1\n", "", `p.yaml:1:1: schema_version: is missing, add it`},
		{"a doubled provider", "name: b\n    protocol", "name: a\n    protocol", `p.yaml:9:11: providers[1].name: "a" stands twice, first in line 3: names must be unique` + "\n" + `p.yaml:21:16: runtimes.r.providers[1].name: "b" is not in the catalogue`},
		{"an unknown protocol", "protocol: openai", "protocol: gopher", `p.yaml:10:15: providers[1] (b).protocol: is "gopher", must be anthropic or openai`},
		{"a blank auth_mode", "auth_mode: x", `auth_mode: " "`, `p.yaml:11:16: providers[1] (b).auth_mode: is blank, must be a word`},
		{"a null auth_mode", "auth_mode: x", `auth_mode: ~`, `p.yaml:9:5: providers[1] (b).auth_mode: is missing, add it`},
		{"an empty auth_env", "[B_KEY]", "[]", `p.yaml:13:15: providers[1] (b).auth_env: is empty, name at least one variable`},
		{"an auth_env that is no list", "[B_KEY]", "B_KEY", `p.yaml:13:15: providers[1] (b).auth_env: is a single value, must be a list`},
		{"an auth_env that a shell would run", "[B_KEY]", `["B_KEY; reboot"]`, `p.yaml:13:16: providers[1] (b).auth_env: "B_KEY; reboot" is not the name of a variable`},
		{"an auth_env named twice", "[B_KEY]", `[B_KEY, B_KEY]`, `p.yaml:13:23: providers[1] (b).auth_env[1]: "B_KEY" stands twice, first in line 13: keep one`},
		{"no prefix", "    model_prefix_match: ^b-\n", "", `p.yaml:9:5: providers[1] (b).model_prefix_match: is missing, add it`},
		{"an empty prefix, which would match everything", "^b-", `""`, `p.yaml:14:25: providers[1] (b).model_prefix_match: is blank, must be a word`},
		{"a prefix that RE2 has not", "^b-", `"^b-(?=x)"`, "p.yaml:14:25: providers[1] (b).model_prefix_match: is not a regular expression of RE2: invalid or unsupported Perl syntax: `(?=`"},
		{"a runtime's unknown provider", "{name: b,", "{name: c,", `p.yaml:21:16: runtimes.r.providers[1].name: "c" is not in the catalogue: add it to providers, or correct the name`},
		{"a runtime's doubled provider", "{name: b,", "{name: a,", `p.yaml:21:16: runtimes.r.providers[1].name: "a" stands twice in this runtime, first in line 19: keep one`},
		{"a model listed twice in one entry", "[m1, m2]", "[m1, m1]", `p.yaml:20:22: runtimes.r.providers[0].models[1]: "m1" stands twice, first in line 20: keep one`},
		{"a model that can never match", "[m1, m2]", `[" m1", m2]`, `p.yaml:20:18: runtimes.r.providers[0].models: " m1" can never be asked for`},
		{"a null model", "[m1, m2]", `[~, m2]`, `p.yaml:20:18: runtimes.r.providers[0].models[0]: is null, must be a word`},
		{"a doubled runtime", "runtimes:\n", "runtimes:\n  r: {providers: [{name: a}]}\n", `p.yaml:17:3: runtimes.r: stands twice, first in line 16: keep one`},
		{"a runtime without a name", "  r:\n", "  '':\n", `p.yaml:16:3: runtimes.: has no name`},
		{"a doubled key at the top", "schema_version: 1\n", "schema_version: 1\nschema_version: 1\n", `p.yaml:2:1: schema_version: stands twice, first in line 1: keep one`},
		{"a merge key", "  - name: b\n", "  - <<: {auth_mode: y}\n    name: b\n", `p.yaml:9:5: providers[1]: has a merge key (<<)`},
		{"a name near to the reserved one", "name: b\n", "name: Platform\n", `p.yaml:9:11: providers[1] (Platform).name: "Platform" is too near to the reserved name "platform"`},
		{"a name with a space", "name: b\n", "name: b c\n", `p.yaml:9:11: providers[1] (b c).name: "b c" must be printable and without spaces`},
		{"a second document", "runtimes:\n", "---\nruntimes:\n", `p.yaml:15:1: has a second document, must have one`},
		{"what is not YAML", "schema_version: 1", "schema_version: [", `p.yaml:3:3: not YAML: did not find`},
	}
	for _, row := range rows {
		t.Run(row.rule, func(t *testing.T) {
			if strings.Count(sound, row.old) != 1 {
				t.Fatalf("%q stands %d times in the sound registry", row.old, strings.Count(sound, row.old))
			}
			_, err := desired.ParseRegistry("p.yaml", []byte(strings.Replace(sound, row.old, row.new, 1)))
			if err == nil {
				t.Fatal("accepted")
			}
			want, got := strings.Split(row.want, "\n"), strings.Split(err.Error(), "\n")
			if len(got) != len(want) && len(want) > 1 {
				t.Fatalf("got %d complaints, want %d:\n%s", len(got), len(want), err)
			}
			for i := range want {
				if !strings.HasPrefix(got[i], want[i]) {
					t.Errorf("got  %s\nwant %s", got[i], want[i])
				}
			}
		})
	}
}

func TestEmptyRegistriesAreRefused(t *testing.T) {
	for _, src := range []string{"", "# nothing\n", "~", "[]", "schema_version: 1", "schema_version: 1\nproviders: []\nruntimes: {}",
		"schema_version: 1\nproviders:\nruntimes:", strings.Replace(sound, "    providers:\n      - name: a", "    was:\n      - name: a", 1),
		strings.Split(sound, "runtimes:")[0] + "runtimes: {r: {providers: []}}"} {
		if _, err := desired.ParseRegistry("p.yaml", []byte(src)); err == nil {
			t.Errorf("accepted: %q", src)
		}
	}
}

func TestAllProblemsAreReportedAtOnceInOrder(t *testing.T) {
	src := strings.NewReplacer("schema_version: 1", "schema_version: 3", "protocol: openai", "protocol: x", "[m1, m2]", "[m1, m1]").Replace(sound)
	_, err := desired.ParseRegistry("p.yaml", []byte(src))
	var lines []int
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		var p *desired.Problem
		if errors.As(e, &p) {
			lines = append(lines, p.Line)
		}
	}
	if want := []int{1, 10, 20}; !slices.Equal(lines, want) {
		t.Errorf("got lines %v, want %v:\n%s", lines, want, err)
	}
}

func TestReportOfAHopelessFileIsBounded(t *testing.T) {
	src := "schema_version: 1\nruntimes: {r: {providers: [{name: a}]}}\nproviders:\n" + strings.Repeat("  - {}\n", 500)
	_, err := desired.ParseRegistry("p.yaml", []byte(src))
	if n := strings.Count(fmt.Sprint(err), "\n"); n != 50 || !strings.HasSuffix(err.Error(), "p.yaml: and 2451 more") {
		t.Errorf("%d lines, the last: %s", n, err.Error()[strings.LastIndex(err.Error(), "\n")+1:])
	}
}

func TestAliasesAreFollowed(t *testing.T) {
	src := strings.NewReplacer("[A_KEY, A_BASE_URL]", "&keys [A_KEY]", "[B_KEY]", "*keys").Replace(sound)
	if got := parse(t, src).Provider("b").AuthEnv; !slices.Equal(got, []string{"A_KEY"}) {
		t.Errorf("got %v", got)
	}
}

func TestMissingRegistryFile(t *testing.T) {
	_, err := desired.LoadRegistry(t.TempDir() + "/none.yaml")
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func FuzzParseRegistry(f *testing.F) {
	f.Add([]byte(sound))
	f.Add([]byte("schema_version: 1\nproviders: &a [*a]\nruntimes: {r: {providers: *a}}"))
	f.Add([]byte("a: &x\n  - *x\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		reg, err := desired.ParseRegistry("p.yaml", src)
		if (reg == nil) == (err == nil) {
			t.Fatalf("registry %v, error %v", reg, err)
		}
		if err != nil {
			if !strings.HasPrefix(err.Error(), "p.yaml:") {
				t.Fatalf("error without its place: %v", err)
			}
			return
		}
		for _, rt := range reg.Runtimes {
			for _, entry := range rt.Entries {
				if reg.Provider(entry.Provider.Name) != entry.Provider || len(entry.Provider.AuthEnv) == 0 {
					t.Fatalf("runtime %s: provider %q is not sound", rt.Name, entry.Provider.Name)
				}
			}
		}
	})
}
