package metricstest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// families are the series of an exposition by family name: the labels of each.
type families map[string][]map[string]string

func parse(exposition []byte) (families, error) {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	parsed, err := parser.TextToMetricFamilies(bytes.NewReader(exposition))
	if err != nil {
		return nil, fmt.Errorf("read the exposition: %w", err)
	}
	all := families{}
	for name, f := range parsed {
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			all[name] = append(all[name], labels)
		}
	}
	return all, nil
}

// find gives a family; of a histogram by any of its series' names.
func (f families) find(name string) []map[string]string {
	if series, ok := f[name]; ok {
		return series
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(name, suffix); ok {
			return f[base]
		}
	}
	return nil
}

// missing gives what an expression names and the exposition does not have.
func (f families) missing(e *expression) (problems []string) {
	for _, s := range e.selectors {
		switch series := f.find(s.name); {
		case series == nil:
			problems = append(problems, s.name+" is not exposed")
		case !slices.ContainsFunc(series, s.matches):
			problems = append(problems, s.String()+" matches no series")
		default:
			for _, m := range s.matchers {
				problems = append(problems, f.without(s, m.label)...)
			}
		}
	}
	for _, g := range e.grouped {
		for _, s := range g.selectors {
			for _, label := range g.labels {
				problems = append(problems, f.without(s, label)...)
			}
		}
	}
	for _, label := range e.matched {
		if !slices.ContainsFunc(e.selectors, func(s selector) bool { return f.without(s, label) == nil }) {
			problems = append(problems, "nothing has the label "+label)
		}
	}
	return problems
}

// without complains where a family's series do not have a label.
func (f families) without(s selector, label string) []string {
	if slices.Contains(targets, label) || slices.ContainsFunc(f.find(s.name), func(series map[string]string) bool { _, ok := series[label]; return ok }) {
		return nil
	}
	return []string{s.name + " has no label " + label}
}
