package drift_test

import (
	"strings"
	"testing"

	"github.com/molecule-ai/billing-reconciler/drift"
)

func TestSurge(t *testing.T) {
	surge := drift.Surge{Percent: 20, AtLeast: 5}
	for _, row := range []struct {
		rule   string
		surge  drift.Surge
		census drift.Census
		want   string // of the words; "": nothing is suspect
	}{
		{"more than the share flipped", surge, drift.Census{Known: 100, Flipped: 21}, "21 of 100 desired modes flipped"},
		{"the share itself is not too much", surge, drift.Census{Known: 100, Flipped: 20}, ""},
		{"fewer than the least are never a surge", surge, drift.Census{Known: 4, Flipped: 4}, ""},
		{"the least is enough", surge, drift.Census{Known: 5, Flipped: 5}, "flipped"},
		{"half a list is missing", surge, drift.Census{Known: 100, Missing: 50}, "50 of 100 workspaces are missing"},
		{"an empty list", surge, drift.Census{Known: 100, Missing: 100}, "missing"},
		{"missing is said before flipped", surge, drift.Census{Known: 100, Flipped: 30, Missing: 30}, "missing"},
		{"the two are not added", surge, drift.Census{Known: 100, Flipped: 15, Missing: 15}, ""},
		{"nothing known, nothing to flip", surge, drift.Census{}, ""},
		{"switched off", drift.Surge{AtLeast: 5}, drift.Census{Known: 100, Flipped: 100}, ""},
		{"without a least, one of one", drift.Surge{Percent: 20}, drift.Census{Known: 1, Flipped: 1}, "flipped"},
		{"without a least, none is none", drift.Surge{Percent: 20}, drift.Census{Known: 1}, ""},
	} {
		got := row.surge.Words(row.census)
		if (got == "") != (row.want == "") || !strings.Contains(got, row.want) {
			t.Errorf("%s: got %q, want %q", row.rule, got, row.want)
		}
	}
}
