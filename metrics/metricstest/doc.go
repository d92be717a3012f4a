// Package metricstest holds alert rules against the metrics that are really
// exposed: a rule about a series that nobody has is silent for ever, and nobody
// notices. It reads text; it starts and asks nothing.
package metricstest

import (
	"fmt"
	"slices"
)

// Check gives what is wrong with the rules of a Prometheus rule file, for one
// who exposes what exposition (text format) says: families, labels and label
// values that the expressions name and the exposition does not have, and
// labels that the annotations show and the expressions lose.
func Check(rules, exposition []byte) (problems []string, err error) {
	alerts, err := Alerts(rules)
	if err != nil {
		return nil, err
	}
	families, err := parse(exposition)
	if err != nil {
		return nil, err
	}
	for _, a := range alerts {
		e, err := read(a.Expr)
		if err != nil {
			return nil, fmt.Errorf("alert %s: %w", a.Name, err)
		}
		for _, p := range slices.Concat(families.missing(e), e.lost(a.Annotations)) {
			problems = append(problems, a.Name+": "+p)
		}
	}
	return problems, nil
}
