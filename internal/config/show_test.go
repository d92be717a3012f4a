package config_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/internal/config"
)

func TestShowTellsEachOriginAndNoSecret(t *testing.T) {
	c := mustLoad(t, contract, nil)
	got := map[string]config.Entry{}
	for _, e := range c.Show() {
		e.Origin = regexp.MustCompile(`[^ (]*/`).ReplaceAllString(e.Origin, "")
		got[e.Path] = e
		if strings.Contains(e.Value, "planted") {
			t.Errorf("%s shows %q", e.Path, e.Value)
		}
	}
	for _, want := range []config.Entry{
		{Path: "sources[0].database", Value: "***", Origin: "environment RENO_DATABASE_URL (reconciler.yaml:6)"},
		{Path: "sources[0].region", Value: "us-east-1", Origin: "reconciler.yaml:8"},
		{Path: "sources[0].role_arn", Value: "", Origin: "not set"},
		{Path: "sources[0].platform.requests_per_minute", Value: "300", Origin: "reconciler.yaml:9"},
		{Path: "policy.strip_list[1]", Value: "ANTHROPIC_API_KEY", Origin: "default"},
		{Path: "observe.ssm.targets", Value: "instance_ids", Origin: "reconciler.yaml:22"},
		{Path: "observe.logs[0].push", Value: "", Origin: "not set"},
		{Path: "observe.logs[1].push.path", Value: "/ingest", Origin: "reconciler.yaml:26"},
		{Path: "notify[0].webhook.min_severity", Value: "low", Origin: "default"},
		{Path: "notify[1].slack.url", Value: "***", Origin: "environment SLACK_URL (reconciler.yaml:39)"},
		{Path: "admin.tokens[0].token", Value: "***", Origin: "environment OPS_TOKEN (reconciler.yaml:43)"},
		{Path: "metrics.per_workspace", Value: "false", Origin: "reconciler.yaml:44"},
	} {
		if diff := cmp.Diff(want, got[want.Path]); diff != "" {
			t.Errorf("%s (-want +got)\n%s", want.Path, diff)
		}
	}
}

func TestWhatIsRenderedMeansTheSame(t *testing.T) {
	for name, text := range map[string]string{"the contract": contract, "the least": least, "by tag": strings.Replace(contract, "targets: instance_ids", `targets: {tag: "a=$${RPM}"}`, 1)} {
		t.Run(name, func(t *testing.T) {
			c := mustLoad(t, text, nil)
			rendered, err := c.Render()
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(rendered), "planted") {
				t.Errorf("a secret in\n%s", rendered)
			}
			again := mustLoad(t, string(rendered), nil)
			var got, want []string
			for _, e := range c.Show() {
				want = append(want, e.Path+"="+e.Value)
			}
			for _, e := range again.Show() {
				got = append(got, e.Path+"="+e.Value)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s\nrendered:\n%s", diff, rendered)
			}
		})
	}
}

func TestNoVerbPrintsASecret(t *testing.T) {
	c := mustLoad(t, contract, nil)
	c.Notify[0].Webhook.URL = urlOf(t, "https://user:planted-0@h/x?key=planted-0")
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{fmt.Sprintf("%v", c), fmt.Sprintf("%+v", c.Sources), fmt.Sprint(c.Notify[0].Webhook.URL), string(text)} {
		if strings.Contains(out, "planted") {
			t.Errorf("a secret in %s", out)
		}
	}
}

func urlOf(t *testing.T, text string) (u config.URL) {
	t.Helper()
	if err := u.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return u
}

func TestTheStartParsesAndLacksNothingForCheck(t *testing.T) {
	c := mustLoad(t, config.Init(), nil)
	if err := c.Validate(config.NeedAWS); err != nil {
		t.Error(err)
	}
}
