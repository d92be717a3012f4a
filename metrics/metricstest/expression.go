package metricstest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// expression is what an expression names. It is found by reading words, not by
// understanding PromQL: rules write `by (...)` before what they aggregate, as
// Prometheus' own style has it.
type expression struct {
	selectors []selector
	grouped   []grouping // by (...)
	matched   []string   // labels of on (...) and ignoring (...)
}

// selector is reconciler_name{label="value"}.
type selector struct {
	at       int
	name     string
	matchers []matcher
}

type matcher struct{ label, operator, value string }

// grouping is the labels of a by (...), and the selectors that it keeps them of.
type grouping struct {
	labels    []string
	selectors []selector
}

var (
	selectors = regexp.MustCompile(`\b(reconciler_\w+)\s*(?:\{([^}]*)\})?`)
	matchers  = regexp.MustCompile(`(\w+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"`)
	groupings = regexp.MustCompile(`\b(by|on|ignoring|without|group_left|group_right)\s*\(([^)]*)\)\s*`)
	words     = regexp.MustCompile(`\w+`)
	shown     = regexp.MustCompile(`\$labels\.(\w+)`)
)

// targets are labels that a scrape puts there, and no exposition has.
var targets = []string{"job", "instance"}

func read(expr string) (*expression, error) {
	e := &expression{}
	for _, m := range selectors.FindAllStringSubmatchIndex(expr, -1) {
		s := selector{at: m[0], name: expr[m[2]:m[3]]}
		if m[4] >= 0 {
			for _, part := range matchers.FindAllStringSubmatch(expr[m[4]:m[5]], -1) {
				s.matchers = append(s.matchers, matcher{part[1], part[2], part[3]})
			}
		}
		e.selectors = append(e.selectors, s)
	}
	for _, m := range groupings.FindAllStringSubmatchIndex(expr, -1) {
		labels := words.FindAllString(expr[m[4]:m[5]], -1)
		if expr[m[2]:m[3]] != "by" {
			e.matched = append(e.matched, labels...)
			continue
		}
		end := closing(expr, m[1])
		if end < 0 {
			return nil, fmt.Errorf("read %q: write by (...) before what it aggregates", expr)
		}
		g := grouping{labels: labels}
		for _, s := range e.selectors {
			if s.at > m[1] && s.at < end {
				g.selectors = append(g.selectors, s)
			}
		}
		e.grouped = append(e.grouped, g)
	}
	return e, nil
}

// closing gives where the parenthesis that opens at begin is closed; -1: none
// opens there.
func closing(expr string, begin int) int {
	depth := 0
	for i := begin; i < len(expr); i++ {
		switch expr[i] {
		case '(':
			depth++
		case ')':
			depth--
		}
		if depth == 0 {
			if i == begin {
				return -1
			}
			return i
		}
	}
	return -1
}

// lost gives the labels that annotations show and the expression has no more.
func (e *expression) lost(annotations map[string]string) (problems []string) {
	if len(e.grouped) == 0 {
		return nil // every label is kept
	}
	for name, text := range annotations {
		for _, m := range shown.FindAllStringSubmatch(text, -1) {
			if !slices.ContainsFunc(e.grouped, func(g grouping) bool { return slices.Contains(g.labels, m[1]) }) {
				problems = append(problems, fmt.Sprintf("the %s shows $labels.%s, which the expression does not keep", name, m[1]))
			}
		}
	}
	slices.Sort(problems)
	return problems
}

// matches tells whether a series has what a selector asks for. A label that it
// does not have is "", as in PromQL.
func (s selector) matches(series map[string]string) bool {
	return !slices.ContainsFunc(s.matchers, func(m matcher) bool { return !m.matches(series[m.label]) })
}

func (m matcher) matches(value string) bool {
	if slices.Contains(targets, m.label) {
		return true
	}
	switch m.operator {
	case "=":
		return value == m.value
	case "!=":
		return value != m.value
	}
	pattern, err := regexp.Compile("^(?:" + m.value + ")$")
	return err == nil && pattern.MatchString(value) == (m.operator == "=~")
}

// String gives the selector as it is written.
func (s selector) String() string {
	var parts []string
	for _, m := range s.matchers {
		parts = append(parts, fmt.Sprintf("%s%s%q", m.label, m.operator, m.value))
	}
	return s.name + "{" + strings.Join(parts, ", ") + "}"
}
