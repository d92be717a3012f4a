package fleetsim

import (
	"slices"
	"strings"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// operators are names of the platform's own operators, whose values must get
// into no container.
var operators = strings.Fields(`GITEA_TOKEN GITEA_PAT GITHUB_TOKEN GITHUB_PAT GH_TOKEN GITLAB_TOKEN GL_TOKEN BITBUCKET_TOKEN
	CP_ADMIN_API_TOKEN CP_ADMIN_TOKEN INFISICAL_OPERATOR_TOKEN INFISICAL_BOOTSTRAP_TOKEN RAILWAY_TOKEN RAILWAY_PERSONAL_API_TOKEN
	HETZNER_TOKEN HETZNER_API_TOKEN`)

// refused tells why the provision path stops before it starts a container; "":
// it does not. Written from what the platform does, apart from the code that
// foresees it.
func (e *Emission) refused() string {
	for name := range e.Globals {
		_, own := e.Secrets[name]
		if !own && (slices.Contains(operators, name) || strings.HasPrefix(name, "MOLECULE_OPERATOR_")) {
			return "OPERATOR_SECRET: " + name
		}
	}
	switch {
	case e.Mode == drift.ModeDisabled:
		return ""
	case strings.TrimSpace(e.Model) == "":
		return "MISSING_MODEL"
	case e.Mode == drift.ModePlatformManaged && e.Proxy.Base == "":
		return "MISSING_PLATFORM_PROXY"
	case e.Mode == drift.ModeBYOK && !e.hasStripped():
		return "MISSING_BYOK_CREDENTIAL"
	}
	return ""
}

// hasStripped looks for a credential by the strip list's names, and not by those
// that the provider takes: that is how the platform looks for it.
func (e *Emission) hasStripped() bool {
	for name, value := range e.left() {
		if value != "" && slices.Contains(e.StripList, name) {
			return true
		}
	}
	return false
}
