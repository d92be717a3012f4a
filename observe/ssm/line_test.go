package ssm_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/molecule-ai/billing-reconciler/observe/ssm"
)

// A place that is given at the moment in which its caller leaves is not lost.
func TestALineKeepsItsPlaces(t *testing.T) {
	for range 50 { // the caller sees that it is over before or after it is given the place, by chance
		synctest.Test(t, func(t *testing.T) {
			line := ssm.NewLine(1, 0)
			if !ssm.Take(line, t.Context(), false) {
				t.Fatal("no place in an empty line")
			}
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				if ssm.Take(line, ctx, false) {
					ssm.Leave(line)
				}
			}()
			synctest.Wait()
			cancel()
			ssm.Leave(line)
			synctest.Wait()
			ssm.Take(line, t.Context(), false) // where the place is gone, synctest ends the test
		})
	}
}

func TestALineGivesNoPlaceToWhoHasGone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if ssm.Take(ssm.NewLine(1, 1), ctx, true) {
		t.Error("a place was given")
	}
}
