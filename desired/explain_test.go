package desired_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/desired"
	"github.com/molecule-ai/billing-reconciler/drift"
)

// lines shows a trace as a person reads it.
func lines(d drift.Desired) []string {
	var all []string
	for _, s := range d.Trace {
		all = append(all, fmt.Sprintf("%s = %s <- %s", s.What, s.Got, s.From))
	}
	return all
}

func TestExplain(t *testing.T) {
	for _, row := range []struct {
		rule   string
		policy desired.Policy
		w      drift.Workspace
		want   string
	}{
		{"the incident", saas, drift.Workspace{Runtime: ptr("claude-code"), Secrets: secrets("MODEL=opus", "OAUTH=x")}, `
runtime = claude-code <- workspaces.runtime
override = none <- workspaces.llm_billing_mode is NULL, or there is no such column
model = not MOLECULE_MODEL <- neither workspace_secrets nor global_secrets has it
model = opus <- workspace_secrets.MODEL
auth env = OAUTH <- workspace_secrets.OAUTH
exact model id = oauth <- models listed by the providers of runtime claude-code in p.yaml
provider = oauth <- the only provider of the runtime that lists the model
mode = byok <- derived_provider: a provider that is not the platform's: the customer pays
credential = workspace <- oauth takes any of OAUTH; global_secrets count: by policy they are the tenant's
read path: runtime = claude-code <- workspaces.runtime
read path: model = opus <- workspace_secrets.MODEL
read path: auth env = OAUTH <- keys of workspace_secrets, empty ones too; globals are not looked at
read path: exact model id = oauth <- models listed by the providers of runtime claude-code in p.yaml
read path: provider = oauth <- the only provider of the runtime that lists the model
read path: mode = byok <- derived_provider: a provider that is not the platform's: the customer pays`},
		{"every way to be passed over", selfHosted, drift.Workspace{Runtime: ptr(""), Override: ptr("BYOK"),
			Secrets: secrets("MODEL=", "MOLECULE_MODEL="), Globals: secrets("API=x", "MODEL=opus", "MOLECULE_MODEL=opus")}, `
runtime = "" <- workspaces.runtime is '', which this path takes for an unknown runtime
override = none <- workspaces.llm_billing_mode is "BYOK", which is no mode and counts as none
model = not global_secrets.MOLECULE_MODEL <- the workspace has a row of its own of that key
model = not workspace_secrets.MOLECULE_MODEL <- its value is empty
model = not global_secrets.MODEL <- the workspace has a row of its own of that key
model = not workspace_secrets.MODEL <- its value is empty
model = none <- no row has a value
auth env = API <- global_secrets.API
provider = none <- there is no model: nothing is derived
mode = byok <- derived_default: the deployment's default, since nothing was derived
read path: runtime = claude-code <- workspaces.runtime is '', which this path takes for claude-code
read path: model = not workspace_secrets.MODEL <- its value is empty, and this path looks nowhere else
read path: model = none <- no row has a value
read path: auth env = none <- keys of workspace_secrets, empty ones too; globals are not looked at
read path: provider = none <- there is no model: nothing is derived
read path: mode = byok <- derived_default: the deployment's default, since nothing was derived`},
		{"narrowed, and not narrowed enough", selfHosted, drift.Workspace{Secrets: secrets("MODEL=claude-x1"), Globals: secrets("TWIN=x")}, `
runtime = claude-code <- workspaces.runtime is NULL, which means claude-code
override = none <- workspaces.llm_billing_mode is NULL, or there is no such column
model = not MOLECULE_MODEL <- neither workspace_secrets nor global_secrets has it
model = claude-x1 <- workspace_secrets.MODEL
auth env = TWIN <- global_secrets.TWIN
prefix = api, twin <- model_prefix_match of the providers of runtime claude-code in p.yaml
narrowed = twin <- auth_env of the candidates meets TWIN
provider = twin <- of those whose prefix the model has, the only one whose credential is there
mode = byok <- derived_provider: a provider that is not the platform's: the customer pays
credential = none <- twin takes any of TWIN, SHARED; global_secrets do not count: by policy they are the platform's
read path: runtime = claude-code <- workspaces.runtime is NULL, which means claude-code
read path: model = claude-x1 <- workspace_secrets.MODEL
read path: auth env = none <- keys of workspace_secrets, empty ones too; globals are not looked at
read path: prefix = api, twin <- model_prefix_match of the providers of runtime claude-code in p.yaml
read path: narrowed = none <- auth_env of the candidates meets none
read path: provider = none <- several have the model's prefix and the credentials do not single one out: nothing is derived
read path: mode = byok <- derived_default: the deployment's default, since nothing was derived`},
		{"what cannot be read, and what no terminal should be shown raw", saas, drift.Workspace{Secrets: secrets("MODEL=\x1b[2Jopus", "MOLECULE_MODEL!")}, `
runtime = claude-code <- workspaces.runtime is NULL, which means claude-code
override = none <- workspaces.llm_billing_mode is NULL, or there is no such column
model = unreadable <- workspace_secrets.MOLECULE_MODEL: does not decrypt
auth env = none <- no row with a value has a name of any provider's auth_env
mode = platform_managed <- constant_fallback: the deployment's default, since an input could not be read
read path: runtime = claude-code <- workspaces.runtime is NULL, which means claude-code
read path: model = "\x1b[2Jopus" <- workspace_secrets.MODEL
read path: auth env = none <- keys of workspace_secrets, empty ones too; globals are not looked at
read path: provider = none <- no provider of the runtime takes the model: nothing is derived
read path: mode = platform_managed <- derived_default: the deployment's default, since nothing was derived`},
		{"an override", saas, drift.Workspace{Override: ptr("disabled")}, `
runtime = claude-code <- workspaces.runtime is NULL, which means claude-code
override = disabled <- workspaces.llm_billing_mode
model = not MOLECULE_MODEL <- neither workspace_secrets nor global_secrets has it
model = not MODEL <- neither workspace_secrets nor global_secrets has it
model = none <- no row has a value
auth env = none <- no row with a value has a name of any provider's auth_env
mode = disabled <- workspace_override: a recognised override wins over everything
read path: runtime = claude-code <- workspaces.runtime is NULL, which means claude-code
read path: model = not workspace_secrets.MODEL <- there is no such row, and this path looks nowhere else
read path: model = none <- no row has a value
read path: auth env = none <- keys of workspace_secrets, empty ones too; globals are not looked at
read path: mode = disabled <- workspace_override: a recognised override wins over everything`},
	} {
		t.Run(row.rule, func(t *testing.T) {
			got := lines(desired.NewResolver(parse(t, derivable), row.policy).Explain(&row.w))
			if diff := cmp.Diff(strings.Split(strings.TrimSpace(row.want), "\n"), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
