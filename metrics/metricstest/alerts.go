package metricstest

import (
	"errors"
	"fmt"

	"go.yaml.in/yaml/v4"
)

// Alert is one alerting rule.
type Alert struct {
	Name        string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

// Alerts reads the alerting rules of a rule file.
func Alerts(rules []byte) ([]Alert, error) {
	var file struct {
		Groups []struct {
			Rules []Alert `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.Unmarshal(rules, &file); err != nil {
		return nil, fmt.Errorf("read the alert rules: %w", err)
	}
	var alerts []Alert
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if r.Name != "" {
				alerts = append(alerts, r)
			}
		}
	}
	if len(alerts) == 0 {
		return nil, errors.New("read the alert rules: there are none")
	}
	return alerts, nil
}
