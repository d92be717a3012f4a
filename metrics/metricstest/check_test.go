package metricstest_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/metrics/metricstest"
)

const exposition = `# TYPE reconciler_open gauge
reconciler_open{source="reno",kind="drain"} 0
reconciler_open{source="reno",kind="other"} 0
# TYPE reconciler_leader gauge
reconciler_leader 1
# TYPE reconciler_took_seconds histogram
reconciler_took_seconds_bucket{source="reno",le="+Inf"} 0
reconciler_took_seconds_sum{source="reno"} 0
reconciler_took_seconds_count{source="reno"} 0
`

func TestCheck(t *testing.T) {
	for _, row := range []struct {
		rule, expr, summary string
		want                []string
	}{
		{"all is there", `max by (job, source) (last_over_time(reconciler_open{kind=~"drain|new", job="x"}[5m])) > 0`, "{{ $labels.source }}", nil},
		{"no labels at all", `sum(reconciler_leader) == 0`, "", nil},
		{"a part of a histogram", `rate(reconciler_took_seconds_count{source!=""}[5m]) > 0`, "{{ $labels.source }}", nil},
		{"of others nothing is known", `up{thing="x"} == 0`, "{{ $labels.thing }}", nil},
		{"no such family", `reconciler_opened > 0`, "", []string{"reconciler_opened is not exposed"}},
		{"no such label", `reconciler_open{sort!="x"} > 0`, "", []string{"reconciler_open has no label sort"}},
		{"no such value", `reconciler_open{kind="drian"} > 0`, "", []string{`reconciler_open{kind="drian"} matches no series`}},
		{"no value like that", `reconciler_open{kind=~"drian|dr"} > 0`, "", []string{`reconciler_open{kind=~"drian|dr"} matches no series`}},
		{"every value excluded", `reconciler_open{kind!~"drain|other"} > 0`, "", []string{`reconciler_open{kind!~"drain|other"} matches no series`}},
		{"grouped by a label that is not there", `sum by (kind) (reconciler_open) / sum by (kind) (reconciler_leader) > 0`, "", []string{"reconciler_leader has no label kind"}},
		{"matched on a label that is nowhere", `reconciler_open > on (sort) reconciler_leader`, "", []string{"nothing has the label sort"}},
		{"a label that is lost", `sum by (source) (reconciler_open) > 0`, "{{ $labels.kind }}", []string{"the summary shows $labels.kind, which the expression does not keep"}},
	} {
		t.Run(row.rule, func(t *testing.T) {
			rules := fmt.Sprintf("groups: [{name: g, rules: [{alert: A, expr: %q, annotations: {summary: %q}}]}]", row.expr, row.summary)
			got, err := metricstest.Check([]byte(rules), []byte(exposition))
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, w := range row.want {
				want = append(want, "A: "+w)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

// What cannot be read is an error, not a rule without problems.
func TestCheckRefuses(t *testing.T) {
	const rule = "groups: [{name: g, rules: [{alert: A, expr: %q}]}]"
	for _, row := range []struct{ rule, rules, exposition string }{
		{"no rules", "groups: []", exposition},
		{"not YAML", "groups: [", exposition},
		{"not an exposition", fmt.Sprintf(rule, "reconciler_leader"), "<html>"},
		{"by after what it aggregates", fmt.Sprintf(rule, "sum(reconciler_open) by (source)"), exposition},
	} {
		t.Run(row.rule, func(t *testing.T) {
			if problems, err := metricstest.Check([]byte(row.rules), []byte(row.exposition)); err == nil {
				t.Errorf("no error; problems: %v", problems)
			}
		})
	}
}
