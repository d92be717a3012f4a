package drift_test

import (
	"testing"

	"github.com/molecule-ai/billing-reconciler/drift"
)

func TestWhoIsTold(t *testing.T) {
	for _, c := range []struct {
		rule      string
		kind      drift.EventKind
		severity  drift.Severity
		announced drift.Severity
		least     drift.Severity
		want      bool
	}{
		{"as severe as wanted", drift.EventDriftOpened, drift.High, drift.High, drift.High, true},
		{"more severe", drift.EventDriftOpened, drift.Critical, drift.Critical, drift.High, true},
		{"less severe", drift.EventDriftOpened, drift.Medium, drift.Medium, drift.High, false},
		{"a reminder of what has become mild", drift.EventDriftReminder, drift.Medium, drift.Critical, drift.High, false},
		{"the end of what was severe when it was told", drift.EventDriftClosed, drift.Medium, drift.Critical, drift.High, true},
		{"the end of what never was", drift.EventDriftClosed, drift.Medium, drift.Medium, drift.High, false},
		{"the end of an input's blindness, which is mild", drift.EventInputResumed, drift.Low, "", drift.High, true},
		{"the acceptance of a surge, which has no severity", drift.EventSurgeAccepted, "", "", drift.High, true},
		{"the end of what was not told either", drift.EventUnattributedOver, drift.Low, "", drift.High, false},
		{"no severity, and all is wanted", drift.EventPaused, "", "", drift.Low, true},
		{"no severity, and not all is wanted", drift.EventPaused, "", "", drift.Medium, false},
		{"a kind of tomorrow", "reprovisioned", "", "", drift.Low, true},
		{"nothing said of what is wanted", drift.EventPaused, "", "", "", true},
	} {
		n := drift.News{Event: drift.Event{Kind: c.kind, Severity: c.severity}, Announced: c.announced}
		if got := n.Reaches(c.least); got != c.want {
			t.Errorf("%s: %v", c.rule, got)
		}
	}
}
