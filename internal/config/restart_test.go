package config_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/internal/config"
)

func TestWhichChangesNeedARestart(t *testing.T) {
	const state, admin = "state: { database: x }\n", "admin: { tls: { cert: a, key: b } }\n"
	for rule, tc := range map[string]struct {
		old, renewed string
		want         []string
	}{
		"nothing changed":               {state, state, nil},
		"another database":              {state, "state: { database: y }\n", []string{"state.database"}},
		"a directory in its place":      {state, "state: { embedded: y }\n", []string{"state.database", "state.embedded"}},
		"what is kept is asked anew":    {state, "state: { database: x, retention: { events: 1d } }\n", nil},
		"the listener is bound once":    {"", "admin: { listen: \"127.0.0.1:1\" }\n", []string{"admin.listen"}},
		"http becomes https":            {"", admin, []string{"admin.tls"}},
		"certificates are read again":   {admin, "admin: { tls: { cert: c, key: b, client_ca: d } }\n", nil},
		"tokens are asked anew":         {"", "admin: { tokens: [{ name: a, role: viewer, token: x }] }\n", nil},
		"series are registered once":    {"", "metrics: { per_source: false, per_workspace: true }\n", []string{"metrics.per_source", "metrics.per_workspace"}},
		"the log's level may change":    {"", "log: { level: debug }\n", nil},
		"its format is chosen once":     {"", "log: { format: json }\n", []string{"log.format"}},
		"the loop's numbers may change": {"", "observe: { interval: 1m, ssm: { rate: 1 } }\nshutdown_grace: 1s\nalerting: { settle: 0s }\n", nil},
	} {
		t.Run(rule, func(t *testing.T) {
			got := config.Restart(mustLoad(t, least+tc.old, nil), mustLoad(t, least+tc.renewed, nil))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
