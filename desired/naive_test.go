package desired_test

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"github.com/molecule-ai/billing-reconciler/desired"
	"github.com/molecule-ai/billing-reconciler/drift"
)

// A second implementation of the desired side, written from the description of
// the platform and not from the first one: slow, plain and without sharing. It
// starts from the rows as they are stored and from the registry's text.

type naiveRow struct {
	key     string
	stored  []byte
	version int
}

type naiveWorkspace struct {
	id       string
	runtime  *string
	override *string // not stored on an old platform
	rows     []naiveRow
}

type naiveTenant struct {
	old     bool
	key     drift.Secret
	policy  desired.Policy
	globals []naiveRow
}

type naiveRegistry struct {
	Providers []struct {
		Name   string   `yaml:"name"`
		Env    []string `yaml:"auth_env"`
		Prefix string   `yaml:"model_prefix_match"`
	} `yaml:"providers"`
	Runtimes map[string]struct {
		Providers []struct {
			Name   string   `yaml:"name"`
			Models []string `yaml:"models"`
		} `yaml:"providers"`
	} `yaml:"runtimes"`
}

func naiveLoad(t *testing.T, path string) *naiveRegistry {
	t.Helper()
	src, err := os.ReadFile(path) // #nosec G304 -- a test's own
	if err != nil {
		t.Fatal(err)
	}
	var reg naiveRegistry
	if err := yaml.Unmarshal(src, &reg); err != nil {
		t.Fatal(err)
	}
	return &reg
}

// env gives a provider's names.
func (reg *naiveRegistry) env(provider string) []string {
	for _, p := range reg.Providers {
		if p.Name == provider {
			return p.Env
		}
	}
	return nil
}

func (reg *naiveRegistry) isCredential(name string) bool {
	for _, p := range reg.Providers {
		for _, n := range p.Env {
			if n == name {
				return true
			}
		}
	}
	return false
}

// derive follows the description's four steps; "" is no derivation.
func (reg *naiveRegistry) derive(runtime, model string, present map[string]bool) string {
	model = strings.TrimSpace(model)
	rt, known := reg.Runtimes[runtime]
	if model == "" || !known {
		return ""
	}
	meets := func(names []string) (some []string) {
		for _, name := range names {
			for _, env := range reg.env(name) {
				if present[env] {
					some = append(some, name)
					break
				}
			}
		}
		return some
	}
	var listing, matching []string
	for _, entry := range rt.Providers {
		for _, m := range entry.Models {
			if m == model {
				listing = append(listing, entry.Name)
			}
		}
		for _, p := range reg.Providers {
			if p.Name == entry.Name && regexp.MustCompile(p.Prefix).MatchString(model) {
				matching = append(matching, p.Name)
			}
		}
	}
	switch {
	case len(listing) == 1:
		return listing[0]
	case len(listing) > 1 && len(meets(listing)) == 1:
		return meets(listing)[0]
	case len(listing) > 1:
		return listing[0]
	case len(matching) == 1:
		return matching[0]
	case len(matching) > 1 && len(meets(matching)) == 1:
		return meets(matching)[0]
	}
	return ""
}

// empty goes by length; a row that is neither plain nor sealed is not known to
// be empty.
func (r naiveRow) empty() bool {
	return r.version == 0 && len(r.stored) == 0 || r.version == 1 && len(r.stored) == 28
}

// value decrypts; ok is false where that is impossible or gives no text.
func (r naiveRow) value(key drift.Secret) (value string, ok bool) {
	plain := r.stored
	switch {
	case r.version == 1 && len(r.stored) >= 28:
		raw, _ := base64.StdEncoding.DecodeString(key.Reveal())
		block, err := aes.NewCipher(raw)
		if err != nil {
			panic(err)
		}
		gcm, err := cipher.NewGCM(block)
		if err != nil {
			panic(err)
		}
		if plain, err = gcm.Open(nil, r.stored[:12], r.stored[12:], nil); err != nil {
			return "", false
		}
	case r.version != 0:
		return "", false
	}
	return string(plain), utf8.Valid(plain) && !strings.Contains(string(plain), "\x00")
}

// naiveDesired is the whole answer; errors are compared by where they stand.
type naiveDesired struct {
	Provision, Read drift.Path
	ModelFrom       string
	Supply          drift.Supply
}

func (reg *naiveRegistry) desired(tenant *naiveTenant, w *naiveWorkspace) naiveDesired {
	merged, from := map[string]naiveRow{}, map[string]string{}
	for _, g := range tenant.globals {
		merged[g.key], from[g.key] = g, "global_secrets."
	}
	own := map[string]naiveRow{}
	for _, row := range w.rows {
		merged[row.key], from[row.key] = row, "workspace_secrets."
		own[row.key] = row
	}

	var answer naiveDesired
	present := map[string]bool{}
	for key, row := range merged {
		present[key] = !row.empty() && reg.isCredential(key)
	}
	runtime := "claude-code"
	if w.runtime != nil {
		runtime = *w.runtime
	}
	var model *naiveRow
	for _, key := range []string{"MODEL", "MOLECULE_MODEL"} { // the later one wins
		if row, is := merged[key]; is && !row.empty() {
			model, answer.ModelFrom = &row, from[key]+key
		}
	}
	answer.Provision = reg.resolve(tenant, w, runtime, model, present)

	if runtime == "" {
		runtime = "claude-code"
	}
	model, present = nil, map[string]bool{}
	for key, row := range own {
		present[key] = reg.isCredential(key)
		if key == "MODEL" && !row.empty() {
			model = &row
		}
	}
	answer.Read = reg.resolve(tenant, w, runtime, model, present)

	answer.Supply = "not_needed"
	if p := answer.Provision; p.Mode == "byok" && p.Provider != "" {
		answer.Supply = "none"
		for _, name := range reg.env(p.Provider) {
			row, is := merged[name]
			switch {
			case !is || row.empty():
			case from[name] == "workspace_secrets.":
				answer.Supply = "workspace"
			case answer.Supply == "none" && tenant.policy.GlobalSecrets == drift.OwnerCustomer:
				answer.Supply = "global"
			}
		}
	}
	return answer
}

func (reg *naiveRegistry) resolve(tenant *naiveTenant, w *naiveWorkspace, runtime string, model *naiveRow, present map[string]bool) drift.Path {
	value, readable := "", true
	if model != nil {
		value, readable = model.value(tenant.key)
	}
	if !readable {
		value = ""
	}
	path := drift.Path{Model: strings.TrimSpace(value), Mode: "platform_managed"}
	if tenant.policy.Deployment == "self_hosted" {
		path.Mode = "byok"
	}
	if o := w.override; !tenant.old && o != nil && (*o == "byok" || *o == "platform_managed" || *o == "disabled") {
		path.Mode, path.Source = drift.Mode(*o), "workspace_override"
		return path
	}
	if !readable {
		path.Source, path.Err = "constant_fallback", "some"
		return path
	}
	path.Provider = reg.derive(runtime, value, present)
	switch path.Provider {
	case "":
		path.Source = "derived_default"
	case "platform":
		path.Source, path.Mode = "derived_provider", "platform_managed"
	default:
		path.Source, path.Mode = "derived_provider", "byok"
	}
	return path
}
