package report_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/reconcile"
	"github.com/molecule-ai/billing-reconciler/report"
)

// A state is written when its document differs, so what differs from one look
// to the next though nothing has changed must not be in it.
func TestAStateIsTheSameUntilSomethingChanges(t *testing.T) {
	later := func(j *reconcile.Judged) { j.Observation.At = now.Add(time.Minute) }
	unasked := func(j *reconcile.Judged) { j.ReadEndpoint = nil }
	managed := func(j *reconcile.Judged) { j.Desired.Mode = drift.ModePlatformManaged }
	called := func(j *reconcile.Judged) { j.Traffic = &drift.Traffic{Since: started, Billed: 13, Last: now} }
	healthy := func(j *reconcile.Judged) { j.Findings, j.Verdict = nil, drift.InSync }
	for rule, row := range map[string]struct {
		of, change func(*reconcile.Judged)
		same       bool
	}{
		"looked at again": {func(*reconcile.Judged) {}, later, true},
		"healthy, and not in the sample that the endpoint is asked": {healthy, unasked, true},
		"drifted, and the endpoint no longer agrees":                {func(*reconcile.Judged) {}, unasked, false},
		"the platform pays, and it has called":                      {managed, called, true},
		"the customer pays, and it has called":                      {func(*reconcile.Judged) {}, called, false},
	} {
		before := incident(t)
		row.of(&before)
		after := incident(t)
		row.of(&after)
		row.change(&after)
		old, young := report.State(&before, policy(t)), report.State(&after, policy(t))
		if same := cmp.Equal(old, young); same != row.same {
			t.Errorf("%s: the same: %v, want %v\n%s\n%s", rule, same, row.same, old, young)
		}
		if !json.Valid(old) {
			t.Errorf("%s: no JSON: %s", rule, old)
		}
	}
}
