package drift

import (
	"slices"
	"strings"
)

// Refusal is a reason for which the platform would stop the old instance and
// then refuse to start a new one: the agent would be gone until a person helps.
type Refusal struct {
	Code  string `json:"code"`
	Words string `json:"words"`
}

// operatorSecrets are global rows that make the platform refuse every restart
// of the tenant.
var operatorSecrets = []string{
	"GITEA_TOKEN", "GITEA_PAT", "GITHUB_TOKEN", "GITHUB_PAT", "GH_TOKEN", "GITLAB_TOKEN", "GL_TOKEN", "BITBUCKET_TOKEN",
	"CP_ADMIN_API_TOKEN", "CP_ADMIN_TOKEN", "INFISICAL_OPERATOR_TOKEN", "INFISICAL_BOOTSTRAP_TOKEN", "RAILWAY_TOKEN",
	"RAILWAY_PERSONAL_API_TOKEN", "HETZNER_TOKEN", "HETZNER_API_TOKEN",
}

const operatorPrefix = "MOLECULE_OPERATOR_"

// Refusals lists every known reason for which the platform would refuse to
// provision w again. One is enough to forbid the attempt. Where it is not
// known what the platform does, the stricter reading is taken.
func Refusals(p *Policy, w *Workspace, d *Desired) []Refusal {
	var refusals []Refusal
	add := func(code, words string) { refusals = append(refusals, Refusal{code, words}) }
	if d.Mode == ModeBYOK && !suppliesStripped(p, w, d) {
		add("MISSING_BYOK_CREDENTIAL", "no credential of the strip list would be left for the container; the customer must store one")
	}
	if d.Mode != ModeDisabled && strings.TrimSpace(d.Model) == "" {
		add("MISSING_MODEL", "there is no effective model; store MODEL for the workspace")
	}
	if d.Mode == ModePlatformManaged && len(p.Proxy) == 0 {
		add("MISSING_PLATFORM_PROXY", "platform_managed, and no proxy is configured")
	}
	for _, rows := range [][]StoredSecret{w.Secrets, w.Globals} {
		for i := range rows {
			if rows[i].Err != "" {
				add("UNDECRYPTABLE_SECRET", rows[i].Key+" cannot be decrypted: "+rows[i].Err)
			}
		}
	}
	for i := range w.Globals {
		key := w.Globals[i].Key
		if (slices.Contains(operatorSecrets, key) || strings.HasPrefix(key, operatorPrefix)) && !hasKey(w.Secrets, key) {
			add("OPERATOR_SECRET", "global_secrets holds "+key+": the platform refuses every restart of this tenant")
		}
	}
	return refusals
}

// suppliesStripped tells whether a non-empty name of the strip list is left in
// the workspace's secrets plus the globals that the platform leaves a byok
// workspace: none where the globals are its own, those that the derived
// provider takes where they are the tenant's.
func suppliesStripped(p *Policy, w *Workspace, d *Desired) bool {
	if stored(w.Secrets, func(s *StoredSecret) bool { return !s.Empty && p.strips(s.Key) }) {
		return true
	}
	return p.GlobalSecrets == OwnerCustomer && stored(w.Globals, func(s *StoredSecret) bool {
		return !s.Empty && p.strips(s.Key) && slices.Contains(d.AuthEnv, s.Key) && !hasKey(w.Secrets, s.Key)
	})
}
