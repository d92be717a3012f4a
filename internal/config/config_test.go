package config_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/config"
)

// contract is the configuration of the contract, word for word.
const contract = `
state: { database: "${STATE_DATABASE_URL}" }
registry: providers.yaml
sources:
  - name: reno-stars
    database: "${RENO_DATABASE_URL}"
    encryption_key: "${RENO_SECRETS_ENCRYPTION_KEY}"
    region: us-east-1
    platform: { url: "https://reno.example.com", admin_token: "${RENO_ADMIN_TOKEN}", org_id: "", requests_per_minute: 300 }
policy:
  deployment: saas
  global_secrets: tenant
  strip_list: []
proxy:
  endpoints: ["https://api.moleculesai.app/api/v1/internal/llm"]
  billed_statuses: ["2xx", "499"]
  trusted_proxies: ["10.0.0.0/8"]
  prices: prices.yaml
observe:
  interval: 5m
  stale_after: 15m
  ssm: { endpoint: "", document: AWS-RunShellScript, container: molecule-workspace, secrets_dir: /configs/secrets.d, targets: instance_ids }
  traffic_grace: 2m
  logs:
    - file: { path: "/var/log/cp/access*.log", format: auto }
    - push: { path: /ingest }
    - kafka: { brokers: ["b1:9092"], topic: cp-access, group: reconciler }
remediate:
  mode: off
  max_in_flight: 4
  max_per_hour: 20
  max_fleet_percent: 5
  confirmations: 2
  attempts: 3
  backoff: 15m
  windows: []
notify:
  - webhook: { url: "https://example.com/hook", secret: "${HOOK_SECRET}" }
  - slack: { url: "${SLACK_URL}", min_severity: high }
  - alertmanager: { url: "http://alerts:9093" }
admin:
  listen: 127.0.0.1:8080
  tokens: [{ name: ops, role: operator, token: "${OPS_TOKEN}" }]
metrics: { per_source: true, per_workspace: false }
`

// least is what can't be left out.
const least = `
registry: providers.yaml
sources: [{ name: a, database: "postgres://a" }]
policy: { global_secrets: platform }
proxy: { endpoints: ["https://proxy.example/llm"] }
`

// planted are values that no output may show.
var planted = map[string]string{
	"STATE_DATABASE_URL": "planted-1", "RENO_DATABASE_URL": "planted-2", "RENO_SECRETS_ENCRYPTION_KEY": "planted-3",
	"RENO_ADMIN_TOKEN": "planted-4", "HOOK_SECRET": "planted-5", "SLACK_URL": "planted-6", "OPS_TOKEN": "planted-7",
	"TENANT_DATABASE_URL": "planted-8", "TENANT_SECRETS_ENCRYPTION_KEY": "planted-9", "EMPTY": "", "RPM": "42", "DOLLARS": "a$$b${RPM}",
}

func environment(name string) (string, bool) {
	v, ok := planted[name]
	return v, ok
}

// load reads a configuration from files: the text as reconciler.yaml, and more
// by their names. Errors name files without the directory.
func load(t testing.TB, text string, more map[string]string) (*config.Config, []string) {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{"reconciler.yaml": text}
	maps.Copy(files, more)
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := config.Load(filepath.Join(dir, "reconciler.yaml"), environment)
	if err == nil {
		return c, nil
	}
	var all config.Errors
	if !errors.As(err, &all) {
		t.Fatalf("got %T, want config.Errors: %v", err, err)
	}
	return c, strings.Split(strings.ReplaceAll(err.Error(), dir+"/", ""), "\n")
}

func mustLoad(t testing.TB, text string, more map[string]string) *config.Config {
	t.Helper()
	c, wrong := load(t, text, more)
	if wrong != nil {
		t.Fatal(strings.Join(wrong, "\n"))
	}
	return c
}

func TestTheContractIsAcceptedWhole(t *testing.T) {
	c := mustLoad(t, contract, nil)
	if got, want := c.Sources[0].Database.Reveal(), "planted-2"; got != want {
		t.Errorf("database = %q, want %q", got, want)
	}
	if got, want := len(c.Observe.Logs), 3; got != want {
		t.Errorf("%d logs, want %d", got, want)
	}
	if err := c.Validate(config.NeedAWS | config.NeedState); err != nil {
		t.Error(err)
	}
}

func TestEverythingElseHasTheContractsDefault(t *testing.T) {
	short := mustLoad(t, least, nil)
	long := mustLoad(t, contract, nil)
	for name, pair := range map[string][2]any{
		"deployment":      {short.Policy.Deployment, long.Policy.Deployment},
		"strip_list":      {short.Policy.StripList, long.Policy.StripList},
		"billed_statuses": {short.Proxy.BilledStatuses, long.Proxy.BilledStatuses},
		"interval":        {short.Observe.Interval, long.Observe.Interval},
		"stale_after":     {short.Observe.StaleAfter, long.Observe.StaleAfter},
		"traffic_grace":   {short.Observe.TrafficGrace, long.Observe.TrafficGrace},
		"document":        {short.Observe.SSM.Document, long.Observe.SSM.Document},
		"container":       {short.Observe.SSM.Container, long.Observe.SSM.Container},
		"secrets_dir":     {short.Observe.SSM.SecretsDir, long.Observe.SSM.SecretsDir},
		"targets":         {short.Observe.SSM.Targets, long.Observe.SSM.Targets},
		"mode":            {short.Remediate.Mode, long.Remediate.Mode},
		"max_in_flight":   {short.Remediate.MaxInFlight, long.Remediate.MaxInFlight},
		"max_per_hour":    {short.Remediate.MaxPerHour, long.Remediate.MaxPerHour},
		"fleet_percent":   {short.Remediate.MaxFleetPercent, long.Remediate.MaxFleetPercent},
		"confirmations":   {short.Remediate.Confirmations, long.Remediate.Confirmations},
		"attempts":        {short.Remediate.Attempts, long.Remediate.Attempts},
		"backoff":         {short.Remediate.Backoff, long.Remediate.Backoff},
		"listen":          {short.Admin.Listen, long.Admin.Listen},
		"metrics":         {short.Metrics, long.Metrics},
	} {
		if diff := cmp.Diff(pair[1], pair[0]); diff != "" {
			t.Errorf("%s (-contract +default):\n%s", name, diff)
		}
	}
	if short.Sources[0].Platform != nil {
		t.Error("a platform that nobody configured")
	}
}

func TestThePartsOfAListHaveTheirDefaults(t *testing.T) {
	c := mustLoad(t, least+`
observe: { logs: [ { file: { path: x.log } }, { push: {} }, { kafka: { brokers: [b:1], topic: t } } ] }
remediate: { windows: [ { cron: "0 2 * * mon-fri", duration: 1d2h } ] }
notify: [ { slack: { url: x } } ]
`, nil)
	logs, window := c.Observe.Logs, c.Remediate.Windows[0]
	got := fmt.Sprint(logs[0].File.Format, " ", logs[1].Push.Path, " ", logs[2].Kafka.Group, " ", window.Duration, " ", window.Zone, " ", c.Notify[0].Slack.MinSeverity)
	if want := "auto /ingest reconciler 26h UTC low"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAValueMayBeWrittenInSeveralWays(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		got  func(*config.Config) string
		want string
	}{
		"a boolean is off too":        {"remediate: { mode: false }", func(c *config.Config) string { return string(c.Remediate.Mode) }, "off"},
		"an older parser's off":       {"remediate: { mode: Off }", func(c *config.Config) string { return string(c.Remediate.Mode) }, "off"},
		"a variable in a number":      {"remediate: { attempts: \"${RPM}\" }", func(c *config.Config) string { return fmt.Sprint(c.Remediate.Attempts) }, "42"},
		"two dollars are one":         {"observe: { ssm: { document: a$$b$c$ } }", func(c *config.Config) string { return c.Observe.SSM.Document }, "a$b$c$"},
		"a variable is expanded once": {"observe: { ssm: { document: \"x${DOLLARS}y${EMPTY}\" } }", func(c *config.Config) string { return c.Observe.SSM.Document }, "xa$$b${RPM}y"},
		"a null is the default":       {"observe: { interval: ~ }", func(c *config.Config) string { return c.Observe.Interval.String() }, "5m"},
		"targets by tag":              {"observe: { ssm: { targets: { tag: Role=workspace } } }", func(c *config.Config) string { return c.Observe.SSM.Targets.Tag }, "Role=workspace"},
		"an address is a network":     {"proxy: { endpoints: [\"https://p\"], trusted_proxies: [\"::ffff:10.1.2.3\", 10.9.9.9/8] }", func(c *config.Config) string { return fmt.Sprint(c.Proxy.TrustedProxies) }, "[10.1.2.3/32 10.0.0.0/8]"},
		"an anchor":                   {"observe: { interval: &x 7m, stale_after: *x }", func(c *config.Config) string { return c.Observe.StaleAfter.String() }, "7m"},
		"a status class in capitals":  {"proxy: { endpoints: [\"https://p\"], billed_statuses: [2XX] }", func(c *config.Config) string { return fmt.Sprint(c.Proxy.BilledStatuses) }, "[2xx]"},
		"relative paths start at the file": {"proxy: { endpoints: [\"https://p\"], prices: sub/p.yaml }", func(c *config.Config) string {
			return filepath.Base(filepath.Dir(filepath.Dir(string(c.Proxy.Prices))))
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.ReplaceAll(least, "\n"+strings.SplitN(tc.text, ":", 2)[0]+":", "\n#")
			c := mustLoad(t, text+tc.text+"\n", nil)
			got, want := tc.got(c), tc.want
			if want == "" {
				want = filepath.Base(filepath.Dir(string(c.Registry)))
			}
			if got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestASecretComesFromItsFile(t *testing.T) {
	c := mustLoad(t, `
registry: /etc/providers.yaml
sources:
  - { name: a, database_file: "keys/${RPM}", encryption_key_file: keys/b }
policy: { global_secrets: platform }
proxy: { endpoints: ["https://proxy.example/llm"] }
`, map[string]string{"keys/42": "postgres://secret\n", "keys/b": "two\nlines\r\n"})
	if got, want := c.Sources[0].Database.Reveal(), "postgres://secret"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := c.Sources[0].EncryptionKey.Reveal(), "two\nlines"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSourcesOfOtherFiles(t *testing.T) {
	c := mustLoad(t, `
registry: providers.yaml
sources: [{ name: first, database: x }]
sources_from: "tenants.d/*.yaml"
policy: { global_secrets: platform }
proxy: { endpoints: ["https://proxy.example/llm"] }
`, map[string]string{
		"tenants.d/b.yaml":  "sources: [{ name: third, database: x, region: r }]",
		"tenants.d/a.yaml":  "- { name: second, database_file: key }\n",
		"tenants.d/c.yaml":  "# nobody yet\n",
		"tenants.d/d.other": "not read",
		"key":               "from the main file's directory",
	})
	var got []string
	for _, s := range c.Sources {
		got = append(got, s.Name)
	}
	if diff := cmp.Diff([]string{"first", "second", "third"}, got); diff != "" {
		t.Error(diff)
	}
	if got := c.Origin("sources[2].region"); !strings.HasSuffix(got, "tenants.d/b.yaml:1") {
		t.Errorf("origin %q", got)
	}
}

func TestDecisionsHoldWhatComparingNeeds(t *testing.T) {
	c := mustLoad(t, least, nil)
	p := c.Decisions()
	if p.GlobalSecrets != drift.OwnerPlatform || p.StaleAfter != 15*time.Minute || len(p.StripList) != len(drift.DefaultStripList) {
		t.Errorf("got %+v", p)
	}
	if got := p.AtProxy(drift.Variable{Value: "https://proxy.example/llm/v1"}); got != drift.Yes {
		t.Errorf("AtProxy = %v", got)
	}
	if got := mustLoad(t, contract, nil).Decisions().GlobalSecrets; got != drift.OwnerCustomer {
		t.Errorf("tenant means %q", got)
	}
}

func TestWhatACommandNeedsBesides(t *testing.T) {
	c := mustLoad(t, least, nil)
	err := c.Validate(config.NeedAWS | config.NeedState)
	if err == nil {
		t.Fatal("nothing is missing?")
	}
	for _, want := range []string{":3:11: sources[0].region: required", ": state: required"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
	if err := c.Validate(0); err != nil {
		t.Error(err)
	}
}
