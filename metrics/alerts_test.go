package metrics_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/molecule-ai/billing-reconciler/metrics"
	"github.com/molecule-ai/billing-reconciler/metrics/metricstest"
)

const (
	rulesFile = "../deploy/prometheus/alerts.yaml"
	runbooks  = "../docs/runbooks"
)

func rules(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Every series that an alert reads is there, with the labels that it asks for,
// before anything has gone wrong.
func TestAlertsReadWhatIsExposed(t *testing.T) {
	for name, perSource := range map[string]bool{"per source": true, "all sources together": false} {
		t.Run(name, func(t *testing.T) {
			m, _ := ticking(metrics.WithPerSource(perSource))
			asTheDaemon(m, "reno", "mill")
			problems, err := metricstest.Check(rules(t), []byte(scrape(t, m)))
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range problems {
				t.Error(p)
			}
		})
	}
}

// Whoever is woken by an alert finds a page about it, and no page is left of
// an alert that is gone.
func TestAlertsHaveRunbooks(t *testing.T) {
	alerts, err := metricstest.Alerts(rules(t))
	if err != nil {
		t.Fatal(err)
	}
	about := map[string]string{}
	for _, a := range alerts {
		_, page, ok := strings.Cut(a.Annotations["runbook_url"], "/docs/runbooks/")
		text, err := os.ReadFile(filepath.Join(runbooks, page)) // #nosec G304 -- a page of ours
		if !ok || err != nil {
			t.Errorf("%s: no runbook: %v", a.Name, err)
			continue
		}
		about[page] += a.Name
		if !strings.Contains(string(text), "`"+a.Name+"`") {
			t.Errorf("%s does not name %s", page, a.Name)
		}
		if a.For == "" || a.Labels["severity"] == "" || a.Annotations["summary"] == "" || a.Annotations["description"] == "" {
			t.Errorf("%s lacks one of for, severity, summary, description", a.Name)
		}
	}
	pages, err := filepath.Glob(filepath.Join(runbooks, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pages {
		if page := filepath.Base(p); page != "README.md" && about[page] == "" {
			t.Errorf("%s is of no alert", page)
		}
	}
}
