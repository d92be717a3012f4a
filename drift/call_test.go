package drift_test

import (
	"testing"

	"github.com/molecule-ai/billing-reconciler/drift"
)

func TestACallThatIsNotKnownToHaveDoneNothingMayHaveActed(t *testing.T) {
	may := map[drift.CallResult]bool{
		drift.CallAccepted: true, drift.CallUncertain: true,
		"": true, "a word of a later version": true,
	}
	for _, result := range append([]drift.CallResult{"", "a word of a later version"}, drift.CallResults...) {
		if got := (drift.Call{Result: result}).MayHaveActed(); got != may[result] {
			t.Errorf("%q may have acted: %v, want %v", result, got, may[result])
		}
	}
	if got := len(drift.CallResults); got != 8 {
		t.Errorf("%d results are listed, want all 8", got)
	}
}
