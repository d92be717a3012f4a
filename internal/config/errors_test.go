package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/internal/config"
)

// TestAllErrorsAtOnce holds every kind of error, each with where it stands.
func TestAllErrorsAtOnce(t *testing.T) {
	_, got := load(t, `# line 1
registri: providers.yaml
registry: [providers.yaml]
sources:
  - name: reno
    database: "${UNSET}"
    regoin: us-east-1
    database_file: nowhere
  - name: "a b"
    encryption_key: x
    encryption_key_file: y
    platform: { url: ftp://x, requests_per_minute: 0 }
  - name: reno
    database: x
    name: twice
  - just text
policy:
  deployment: sass
  strip_list: X
proxy:
  endpoints: [api.example.com, "https:///path"]
  billed_statuses: [200, 6xx]
  trusted_proxies: [10.0.0.0/33]
observe:
  interval: 5 minutes
  traffic_grace: -1s
  ssm: { targets: all, endpoint: {} }
  logs:
    - file: { path: x }
      push: {}
    - {}
    - file: { format: xml }
    - push: { path: ingest }
    - kafka: { brokers: [b1] }
remediate:
  mode: on
  attempts: "${RENO_ADMIN_TOKEN}"
  max_fleet_percent: 101
  windows: [{ cron: "* * *", duration: 1s, zone: Mars/Base }]
notify: [{ slack: { min_severity: hihg } }]
admin:
  tokens: [{ role: root }]
  listen: "8080"
metrics: { per_source: maybe, ? [x] : y }
log: { format: xml, level: warning }
shutdown_grace: 0s
alerting: { remind_after: 2h, remind_at_most: 90m, settle: -1s }
`, nil)
	want := []string{
		`reconciler.yaml:2:1: registri: unknown key; did you mean "registry"?`,
		`reconciler.yaml:3:11: registry: must be a single value`,
		`reconciler.yaml:6:15: sources[0].database: environment variable UNSET is not set`,
		`reconciler.yaml:7:5: sources[0].regoin: unknown key; did you mean "region"?`,
		`reconciler.yaml:8:20: sources[0].database: open nowhere: no such file or directory`,
		`reconciler.yaml:9:5: sources[1].database: required`,
		`reconciler.yaml:9:11: sources[1].name: must be letters, digits, '.', '_', '-', and begin with a letter or digit`,
		`reconciler.yaml:11:26: sources[1].encryption_key: both encryption_key and encryption_key_file are given; the other is in line 10`,
		`reconciler.yaml:12:15: sources[1].platform.admin_token: required`,
		`reconciler.yaml:12:22: sources[1].platform.url: must be an http or https URL, such as https://api.example.com`,
		`reconciler.yaml:12:52: sources[1].platform.requests_per_minute: must be at least 1`,
		`reconciler.yaml:13:11: sources[2].name: "reno" is the name of sources[0] too (reconciler.yaml:5)`,
		`reconciler.yaml:15:5: sources[2].name: doubled: the first is in line 13`,
		`reconciler.yaml:16:5: sources[3]: must be a mapping with keys among name, database, encryption_key, region, role_arn, platform, remediate`,
		`reconciler.yaml:18:3: policy.global_secrets: required`,
		`reconciler.yaml:18:15: policy.deployment: must be one of saas, self_hosted; did you mean "saas"?`,
		`reconciler.yaml:19:15: policy.strip_list: must be a list`,
		`reconciler.yaml:21:15: proxy.endpoints[0]: must be an http or https URL, such as https://api.example.com`,
		`reconciler.yaml:21:32: proxy.endpoints[1]: must be an http or https URL, such as https://api.example.com`,
		`reconciler.yaml:22:26: proxy.billed_statuses[1]: must be an HTTP status, such as 499, or a class of them, such as 2xx`,
		`reconciler.yaml:23:21: proxy.trusted_proxies[0]: must be a network, such as 10.0.0.0/8, or an address`,
		`reconciler.yaml:25:13: observe.interval: must be a duration, such as 90s, 5m, 2h or 1d`,
		`reconciler.yaml:26:18: observe.traffic_grace: must be at least 0s`,
		`reconciler.yaml:27:19: observe.ssm.targets: must be instance_ids, or {tag: "Name=value"}`,
		`reconciler.yaml:27:34: observe.ssm.endpoint: must be a single value`,
		`reconciler.yaml:29:7: observe.logs[0]: must be exactly one of file, push, kafka, sqs`,
		`reconciler.yaml:31:7: observe.logs[1]: must be exactly one of file, push, kafka, sqs`,
		`reconciler.yaml:32:13: observe.logs[2].file.path: required`,
		`reconciler.yaml:32:23: observe.logs[2].file.format: must be one of auto, combined, json, alb`,
		`reconciler.yaml:33:13: observe.logs[3].push: a second one: there is one listener, which tells no two apart`,
		`reconciler.yaml:33:21: observe.logs[3].push.path: must begin with a slash, such as /ingest`,
		`reconciler.yaml:34:14: observe.logs[4].kafka.topic: required`,
		`reconciler.yaml:34:26: observe.logs[4].kafka.brokers[0]: must be host:port, such as 127.0.0.1:8080`,
		`reconciler.yaml:36:9: remediate.mode: must be one of off, dry_run, enforce`,
		`reconciler.yaml:37:13: remediate.attempts: must be a whole number`,
		`reconciler.yaml:38:22: remediate.max_fleet_percent: must be at most 100`,
		`reconciler.yaml:39:21: remediate.windows[0].cron: must be the five fields of cron, such as "0 2 * * mon-fri"`,
		`reconciler.yaml:39:40: remediate.windows[0].duration: must be at least 1m`,
		`reconciler.yaml:39:50: remediate.windows[0].zone: must be a time zone, such as UTC or Europe/Berlin`,
		`reconciler.yaml:40:19: notify[0].slack.url: required`,
		`reconciler.yaml:40:35: notify[0].slack.min_severity: must be one of critical, high, medium, low; did you mean "high"?`,
		`reconciler.yaml:42:12: admin.tokens[0].name: required`,
		`reconciler.yaml:42:12: admin.tokens[0].token: must be exactly one of token, token_sha256`,
		`reconciler.yaml:42:20: admin.tokens[0].role: must be one of viewer, operator, ingest`,
		`reconciler.yaml:43:11: admin.listen: must be host:port, such as 127.0.0.1:8080`,
		`reconciler.yaml:44:24: metrics.per_source: must be true or false`,
		`reconciler.yaml:44:33: metrics: a key must be a single value`,
		`reconciler.yaml:45:16: log.format: must be one of text, json`,
		`reconciler.yaml:45:28: log.level: must be one of debug, info, warn, error; did you mean "warn"?`,
		`reconciler.yaml:46:17: shutdown_grace: must be at least 1s`,
		`reconciler.yaml:47:47: alerting.remind_at_most: shorter than remind_after, 2h: the first reminder's distance is the least`,
		`reconciler.yaml:47:60: alerting.settle: must be at least 0s`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestEachOfTheseIsRefused(t *testing.T) {
	for rule, tc := range map[string]struct{ text, want string }{
		"an empty file lacks what is required":        {"", "reconciler.yaml: registry: required"},
		"so does one of comments":                     {"# nothing\n", "reconciler.yaml: proxy.endpoints: required"},
		"syntax is said with its line":                {"a: [1,\nb: 2", "reconciler.yaml:3:1: while parsing a flow sequence"},
		"a second document":                           {"a: 1\n---\nb: 1\n", "a second document"},
		"a list in the mapping's place":               {"- a\n", "reconciler.yaml:1:1: must be a mapping with keys among state, registry"},
		"an anchor that holds itself":                 {"sources: &a [*a]\n", "sources[0]: must be a mapping"},
		"a variable without its brace":                {"registry: \"${REN\"\n", "reconciler.yaml:1:11: registry: after ${ must stand"},
		"a variable with more than a name":            {"registry: \"${A:-b}\"\n", "registry: after ${ must stand"},
		"both a database and a directory":             {"state: { database: x, embedded: y }\n", "reconciler.yaml:1:33: state.embedded: database is given too"},
		"staleness below the interval":                {"observe: { interval: 20m }\n", "observe.stale_after: shorter than interval"},
		"no billed status at all":                     {"proxy: { billed_statuses: [] }\n", "proxy.billed_statuses: empty"},
		"a glob that names no file":                   {"sources_from: \"t/*.yaml\"\n", "sources_from: no such file: "},
		"a mistake in a file of sources, in its line": {"sources_from: \"bad.yaml\"\n", "bad.yaml:2:3: sources[0].nmae: unknown key; did you mean \"name\"?"},
		"another key in a file of sources":            {"sources_from: \"keys.yaml\"\n", "keys.yaml:2:1: policy: unknown key; a file of sources"},
		"a name in two files":                         {"sources: [{ name: x, database: y }]\nsources_from: same.yaml\n", "same.yaml:1:11: sources[1].name: \"x\" is the name of sources[0] too (reconciler.yaml:1)"},
		"broken syntax in a file of sources":          {"sources_from: broken.yaml\n", "broken.yaml:2:1: "},
		"a secret and, before it, its file":           {"state:\n  database_file: same.yaml\n  database: x\n", "reconciler.yaml:3:13: state.database: both database and database_file are given; the other is in line 2"},
		"a rate of nothing":                           {"observe: { ssm: { rate: 0 } }\n", "observe.ssm.rate: must be a number a second above 0"},
		"a rate that is no number":                    {"observe: { ssm: { rate: NaN } }\n", "observe.ssm.rate: must be a number a second above 0"},
		"more than all":                               {"policy: { surge: { percent: 101 } }\n", "policy.surge.percent: must be at most 100"},
		"commands that wait for ever":                 {"observe: { ssm: { gather: 2m } }\n", "observe.ssm.gather: must be at most 1m"},
		"one connection, where listening takes one":   {"state: { max_connections: 1 }\n", "state.max_connections: must be at least 2"},
		"a tag without a value":                       {"observe: { ssm: { targets: { tag: Role } } }\n", `observe.ssm.targets.tag: must be "Name=value"`},
	} {
		t.Run(rule, func(t *testing.T) {
			_, got := load(t, tc.text, map[string]string{
				"bad.yaml":    "# a mistake\n- nmae: x\n  database: y\n",
				"keys.yaml":   "sources: []\npolicy: {}\n",
				"same.yaml":   "- { name: x, database: y }\n",
				"broken.yaml": "[\n",
			})
			if all := strings.Join(got, "\n"); !strings.Contains(all, tc.want) {
				t.Errorf("got\n%s\nwant %s", all, tc.want)
			}
		})
	}
}

func TestAFileThatIsNotThere(t *testing.T) {
	_, err := config.Load(filepath.Join(t.TempDir(), "none.yaml"), os.LookupEnv)
	if err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("got %v", err)
	}
}

// A secret in a wrong place must not come back in the error about it.
func TestNoErrorRepeatsAValue(t *testing.T) {
	var b strings.Builder
	for _, line := range []string{
		"registry: { a: planted-0 }", "policy: { deployment: planted-0, global_secrets: \"${OPS_TOKEN}\" }",
		"observe: { interval: planted-0, ssm: { targets: planted-0, endpoint: \"http://planted-0:x:y/\" }, logs: planted-0 }",
		"proxy: { endpoints: [planted-0, \"http://u:planted-0%zz@h\"], billed_statuses: [planted-0], trusted_proxies: [planted-0] }",
		"admin: { listen: planted-0, tokens: [planted-0] }", "metrics: { per_source: planted-0 }",
		"remediate: { attempts: planted-0, windows: [{ cron: planted-0, zone: planted-0, duration: planted-0 }] }",
		"state: { database: \"${planted-0\" }",
	} {
		b.WriteString(line + "\n")
	}
	_, got := load(t, b.String(), nil)
	if len(got) < 16 {
		t.Errorf("only %d errors: %v", len(got), got)
	}
	if all := strings.Join(got, "\n"); strings.Contains(all, "planted-") {
		t.Errorf("an error repeats a value:\n%s", all)
	}
}
