package drift

import (
	"fmt"
	"slices"
	"strings"
)

// words says what happened to an episode in one sentence.
func (e *Episode) words(kind EventKind) string {
	switch kind {
	case EventDriftClosed:
		return "drift over: " + closings[e.Result]
	case EventDriftReminder:
		return fmt.Sprintf("still drifted since %s: %s", stamp(e.OpenedAt), e.what())
	case EventDriftWorsened:
		return fmt.Sprintf("drift is now %s: %s", e.Severity, e.what())
	}
	return "drifted: " + e.what()
}

var closings = map[CloseResult]string{
	Resolved:         "seen in sync",
	WorkspaceRemoved: "the workspace is gone from its tenant's database",
	OutOfScope:       "the workspace is no longer judged",
	SourceRemoved:    "its source is no longer configured",
}

// what names the findings, worst first, and the cause that decides.
func (e *Episode) what() string {
	var kinds []string
	for _, severity := range Severities {
		for _, f := range e.Findings {
			if f.Severity == severity {
				kinds = append(kinds, string(f.Kind))
			}
		}
	}
	words := strings.Join(kinds, ", ")
	if len(e.Causes) > 0 {
		words += "; cause " + string(e.Causes[0].Code)
	}
	return words
}

// Worst gives the worst severity of findings; "" of none.
func Worst(findings []Finding) (worst Severity) {
	for _, f := range findings {
		if worst == "" || f.Severity.rank() < worst.rank() {
			worst = f.Severity
		}
	}
	return worst
}

// rank orders severities, 0 the worst; what is none comes last.
func (s Severity) rank() int {
	if i := slices.Index(Severities, s); i >= 0 {
		return i
	}
	return len(Severities)
}

// OfContainer tells whether a finding of this kind rests on what was seen in
// the container, so that not seeing it again takes seeing the container.
func (k Kind) OfContainer() bool {
	i := slices.IndexFunc(rules, func(r rule) bool { return r.kind == k })
	return i >= 0 && rules[i].needs&container != 0
}
