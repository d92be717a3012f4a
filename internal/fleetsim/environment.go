package fleetsim

import (
	"maps"
	"slices"
	"strings"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Proxy is where the simulated platform's LLM proxy is.
type Proxy struct {
	Base string // e.g. https://api.example.com/api/v1/internal/llm
}

func (p Proxy) anthropic() string { return p.Base + "/anthropic" }
func (p Proxy) openai() string    { return p.Base + "/openai/v1" }

// Emission is what the platform's provision path puts an environment together
// from.
type Emission struct {
	Runtime    string
	Mode       drift.Mode
	AuthEnv    []string          // of the derived provider; nil without one
	VendorURL  string            // the derived provider's own anthropic surface; "" the vendor's default
	Model      string            // as stored, untrimmed
	Secrets    map[string]string // the workspace's own, plain
	Globals    map[string]string // the tenant's, plain
	GlobalsOf  drift.Owner
	StripList  []string
	Proxy      Proxy
	UsageToken string
	InFiles    bool // deliver credentials by secrets.d instead of the environment
}

// Environment is what a container gets when the platform does everything
// right, written from the rules of who must hold what and not from the code
// that checks them.
func (e *Emission) Environment() (env, secretsDir map[string]string) {
	env = map[string]string{
		"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/home/agent", "WORKSPACE_RUNTIME": e.Runtime,
		"MOLECULE_LLM_BILLING_MODE_RESOLVED": string(e.Mode),
	}
	secretsDir = map[string]string{}
	if e.Model != "" {
		env["MODEL"], env["MOLECULE_MODEL"] = e.Model, e.Model
	}
	for name, value := range e.left() {
		if e.InFiles && !strings.HasSuffix(name, "_URL") {
			secretsDir[name] = value
			continue
		}
		env[name] = value
	}
	switch e.Mode {
	case drift.ModePlatformManaged:
		e.throughProxy(env)
	case drift.ModeBYOK:
		e.direct(env, secretsDir)
	}
	return env, secretsDir
}

// left are the stored secrets that the strip leaves for the container.
func (e *Emission) left() map[string]string {
	merged := map[string]string{}
	for name, value := range e.Globals {
		if e.keepsGlobal(name) {
			merged[name] = value
		}
	}
	maps.Copy(merged, e.Secrets)
	delete(merged, "MODEL")
	delete(merged, "MOLECULE_MODEL")
	if e.Mode == drift.ModePlatformManaged {
		for _, name := range e.StripList {
			delete(merged, name)
		}
	}
	return merged
}

func (e *Emission) keepsGlobal(name string) bool {
	if e.Mode == drift.ModePlatformManaged {
		return true
	}
	if e.GlobalsOf == drift.OwnerPlatform {
		return false // the platform's own token is no customer's to live on
	}
	return slices.Contains(e.AuthEnv, name) || !slices.Contains(e.StripList, name)
}

func (e *Emission) throughProxy(env map[string]string) {
	env["MOLECULE_LLM_USAGE_TOKEN"] = e.UsageToken
	env["MOLECULE_LLM_BASE_URL"] = e.Proxy.Base
	if e.Runtime == "claude-code" {
		env["ANTHROPIC_BASE_URL"], env["ANTHROPIC_API_KEY"] = e.Proxy.anthropic(), e.UsageToken
		return
	}
	env["OPENAI_BASE_URL"], env["OPENAI_API_KEY"] = e.Proxy.openai(), e.UsageToken
}

// direct sets the vendor's own URL and copies the customer's key into the name
// that anthropic clients look for.
func (e *Emission) direct(env, secretsDir map[string]string) {
	if e.VendorURL == "" {
		return
	}
	env["ANTHROPIC_BASE_URL"] = e.VendorURL
	for _, name := range e.AuthEnv {
		for _, store := range []map[string]string{env, secretsDir} {
			if value := store[name]; value != "" {
				env["ANTHROPIC_AUTH_TOKEN"] = value
				return
			}
		}
	}
}
