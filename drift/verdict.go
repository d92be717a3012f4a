package drift

// Verdict says how a workspace stands. The zero value is unknown.
type Verdict string

// The verdicts. Not seen is never in sync.
const (
	Unknown Verdict = "unknown"
	InSync  Verdict = "in_sync"
	Drifted Verdict = "drifted"
	Skipped Verdict = "skipped"
)

// Verdicts lists them in the order in which people want to read them.
var Verdicts = []Verdict{Drifted, Unknown, InSync, Skipped}

// Conclude gives the verdict that the facts and the findings of Compare
// support, and the reason where it is unknown.
func Conclude(p *Policy, f *Facts, findings []Finding) (Verdict, string) {
	if scope := f.Workspace.Scope(); scope != InScope {
		return Skipped, string(scope)
	}
	for _, found := range findings {
		if found.Kind.Accuses() {
			return Drifted, ""
		}
	}
	switch o := &f.Observation; {
	case o.State != Observed:
		return Unknown, o.Reason
	case f.Desired.Source == FromFallback || !f.Desired.Mode.Recognised():
		return Unknown, "the desired mode is not known: " + f.Desired.Err
	case unclearRoute(p, o):
		return Unknown, "a base URL was cut before it could be told whether it leads to the proxy"
	}
	return InSync, ""
}

func unclearRoute(p *Policy, o *Observation) bool {
	for _, name := range routes {
		if p.AtProxy(o.Variables[name]) == Unclear {
			return true
		}
	}
	return false
}

// AtProxy tells whether any base URL of the container leads to the proxy.
func (f *Facts) AtProxy(p *Policy) Answer {
	if f.Observation.State != Observed {
		return Unclear
	}
	answer := No
	for _, name := range routes {
		switch p.AtProxy(f.Observation.Variables[name]) {
		case Yes:
			return Yes
		case Unclear:
			answer = Unclear
		}
	}
	return answer
}

// ShouldRun tells whether the platform means the workspace to be running now,
// so that not seeing its container is a gap in our sight and not its sleep.
func (w *Workspace) ShouldRun() bool {
	if w.Scope() != InScope || w.InstanceID == "" {
		return false
	}
	switch w.Status {
	case "paused", "hibernating", "hibernated", "failed", "removed", "awaiting_agent", "provisioning":
		return false
	}
	return true
}
