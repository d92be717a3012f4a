package config_test

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/internal/config"
)

// daemon is the part of the contract that the daemon alone needs, each value
// other than its default.
const daemon = least + `
state: { database: x, max_connections: 7, retention: { events: 30d, drifts: 2160h, addresses: 14d12h } }
observe: { sources_at_once: 3, pass_timeout: 1m, ssm: { rate: 0.5, in_flight: 9, gather: 0s } }
alerting: { settle: 1m, remind_after: 0s, remind_at_most: 2h }
admin: { tls: { cert: tls.crt, key: /k, client_ca: ca }, failed_auth_per_minute: 4 }
log: { format: json, level: debug }
shutdown_grace: 5s
`

func shownBy(c *config.Config) map[string]string {
	values := map[string]string{}
	for _, e := range c.Show() {
		values[e.Path] = e.Value
	}
	return values
}

func TestWhatTheDaemonNeeds(t *testing.T) {
	for rule, tc := range map[string]struct {
		text string
		want map[string]string
	}{
		"by default": {least, map[string]string{
			"state.max_connections": "10", "state.retention.events": "90d", "state.retention.drifts": "365d", "state.retention.addresses": "90d",
			"observe.sources_at_once": "16", "observe.pass_timeout": "15m", "observe.ssm.rate": "5", "observe.ssm.in_flight": "100", "observe.ssm.gather": "2s",
			"policy.surge.percent": "20", "policy.surge.at_least": "3",
			"alerting.settle": "5m", "alerting.remind_after": "1h", "alerting.remind_at_most": "1d",
			"admin.tls": "", "admin.failed_auth_per_minute": "30", "log.format": "text", "log.level": "info", "shutdown_grace": "20s",
		}},
		"as given": {daemon, map[string]string{
			"state.max_connections": "7", "state.retention.events": "30d", "state.retention.drifts": "90d", "state.retention.addresses": "348h",
			"observe.sources_at_once": "3", "observe.pass_timeout": "1m", "observe.ssm.rate": "0.5", "observe.ssm.in_flight": "9", "observe.ssm.gather": "0s",
			"alerting.settle": "1m", "alerting.remind_after": "0s", "alerting.remind_at_most": "2h",
			"admin.tls.key": "/k", "admin.failed_auth_per_minute": "4", "log.format": "json", "log.level": "debug", "shutdown_grace": "5s",
		}},
		"a surge may be off": {strings.Replace(least, "global_secrets: platform", "global_secrets: platform, surge: { percent: 0 }", 1), map[string]string{
			"policy.surge.percent": "0", "policy.surge.at_least": "3",
		}},
	} {
		t.Run(rule, func(t *testing.T) {
			all, got := shownBy(mustLoad(t, tc.text, nil)), map[string]string{}
			for path := range tc.want {
				if value, ok := all[path]; ok {
					got[path] = value
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestTheLogsLevelIsSlogs(t *testing.T) {
	for word, want := range map[config.LogLevel]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError, "": slog.LevelInfo,
	} {
		if got := word.Level(); got != want {
			t.Errorf("%q: got %v, want %v", word, got, want)
		}
	}
}

func TestTokensAreHashedHoweverTheyAreGiven(t *testing.T) {
	hash := func(token string) [32]byte { return sha256.Sum256([]byte(token)) }
	inHex := func(token string) string { h := hash(token); return hex.EncodeToString(h[:]) }
	c := mustLoad(t, least+`
admin:
  listen: ":8080"
  tokens:
    - { name: a, role: operator, token: "${OPS_TOKEN}" }
    - { name: b, role: viewer, token_file: t }
    - { name: c, role: ingest, token_sha256: `+strings.ToUpper(inHex("third"))+` }
    - { name: d, role: viewer, token_sha256_file: h }
`, map[string]string{"t": "second\n", "h": inHex("fourth") + "\n"})
	want := []config.HashedToken{
		{Name: "a", Role: config.RoleOperator, Hash: hash("planted-7")},
		{Name: "b", Role: config.RoleViewer, Hash: hash("second")},
		{Name: "c", Role: config.RoleIngest, Hash: hash("third")},
		{Name: "d", Role: config.RoleViewer, Hash: hash("fourth")},
	}
	if diff := cmp.Diff(want, c.Admin.Hashed()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := shownBy(c); got["admin.tokens[0].token"] != "***" || got["admin.tokens[2].token_sha256"] != "***" {
		t.Errorf("shown: %q, %q", got["admin.tokens[0].token"], got["admin.tokens[2].token_sha256"])
	}
}

// What is not understood must never become a hash that somebody could meet.
func TestATokenWithoutAHashLetsNobodyIn(t *testing.T) {
	admin := config.Admin{Tokens: []config.Token{{Name: "none"}, {Name: "short", TokenSHA256: "abcd"}, {Name: "no hex", TokenSHA256: "zz"}}}
	if got := admin.Hashed(); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestWhoMayReachTheListener(t *testing.T) {
	const token = ", tokens: [{ name: a, role: viewer, token: x }]"
	const refused = "other machines can reach it and there are no admin.tokens: add one, or listen on 127.0.0.1:8080"
	for rule, tc := range map[string]struct{ listen, want string }{
		"the machine itself, by IPv4":     {`"127.0.0.1:0"`, ""},
		"any of its loopback's addresses": {`"127.1.2.3:80"`, ""},
		"by IPv6":                         {`"[::1]:80"`, ""},
		"by a mapped address":             {`"[::ffff:127.0.0.1]:80"`, ""},
		"by its usual name":               {`"localhost:80"`, ""},
		"no host is every address":        {`":80"`, refused},
		"zero is every address":           {`"0.0.0.0:80"`, refused},
		"so it is in IPv6":                {`"[::]:80"`, refused},
		"an address of the network":       {`"10.0.0.1:80"`, refused},
		"a name may mean anything":        {`"reconciler.internal:80"`, refused},
		"one that only looks local":       {`"localhost.evil.example:80"`, refused},
		"with a token, every address":     {`"0.0.0.0:80"` + token, ""},
	} {
		t.Run(rule, func(t *testing.T) {
			_, wrong := load(t, least+"admin: { listen: "+tc.listen+" }\n", nil)
			var want []string
			if tc.want != "" {
				want = []string{"reconciler.yaml:6:18: admin.listen: " + tc.want}
			}
			if diff := cmp.Diff(want, wrong); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestTokensThatAreRefused(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	for rule, tc := range map[string]struct{ tokens, want string }{
		"both a token and a hash":    {"{ name: a, role: viewer, token: x, token_sha256: " + sum + " }", "tokens[0].token: must be exactly one of token, token_sha256"},
		"an empty variable":          {`{ name: a, role: viewer, token: "${EMPTY}" }`, "tokens[0].token: must be exactly one of"},
		"a hash that is too short":   {"{ name: a, role: viewer, token_sha256: abcd }", "tokens[0].token_sha256: must be 64 hex digits"},
		"a hash with other letters":  {"{ name: a, role: viewer, token_sha256: " + strings.Repeat("zz", 32) + " }", "tokens[0].token_sha256: must be 64 hex digits"},
		"a hash and its file":        {"{ name: a, role: viewer, token_sha256: x, token_sha256_file: y }", "both token_sha256 and token_sha256_file are given"},
		"a name that is taken":       {"{ name: a, role: viewer, token: x }, { name: a, role: ingest, token: y }", `tokens[1].name: "a" is the name of tokens[0] too`},
		"a token that is taken":      {"{ name: a, role: viewer, token: x }, { name: b, role: operator, token: x }", "tokens[1].token: the same as that of tokens[0]"},
		"an unknown role":            {"{ name: a, role: admin, token: x }", "tokens[0].role: must be one of viewer, operator, ingest"},
		"a certificate and no key":   {"{ name: a, role: viewer, token: x }], tls: { cert: x }, notify: [", "admin.tls.key: required"},
		"a rate of nothing":          {"], failed_auth_per_minute: 0, notify: [", "failed_auth_per_minute: must be at least 1"},
		"a name that nobody gave it": {"{ role: viewer, token: x }", "tokens[0].name: required"},
	} {
		t.Run(rule, func(t *testing.T) {
			_, wrong := load(t, least+"admin: { tokens: ["+tc.tokens+"] }\n", nil)
			if all := strings.Join(wrong, "\n"); !strings.Contains(all, tc.want) || strings.Contains(all, sum) {
				t.Errorf("got\n%s\nwant %s", all, tc.want)
			}
		})
	}
}
