package reconcile_test

import (
	"testing"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/reconcile"
	"github.com/molecule-ai/billing-reconciler/store"
)

func TestOvertaken(t *testing.T) {
	for _, row := range []struct {
		name string
		ramp drift.Ramp
		want bool
	}{
		{"the lap goes on", drift.Ramp{Lap: 3, Wave: 1, Opened: 2}, false},
		{"its cause is stopped", drift.Ramp{Lap: 3, Stopped: "it came back"}, true},
		{"its cause has begun with a canary again", drift.Ramp{Lap: 4, Opened: 1}, true},
		{"its wave was vouched for", drift.Ramp{Lap: 4, Wave: 2}, true},
	} {
		if got := reconcile.Overtaken(&store.Action{Lap: 3}, &row.ramp); (got != "") != row.want {
			t.Errorf("%s: %q", row.name, got)
		}
	}
}
