package reconcile

import (
	"fmt"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Calls that nobody could have made are reported once they are more than a few
// and more than a share of all billed ones: a health check is not an alarm.
const (
	unattributedFew   = 10
	unattributedShare = 100 // one in
)

func fleetFindings(calls *Calls) []drift.Finding {
	if calls == nil {
		return nil
	}
	u, all := calls.Unattributed.Billed, calls.Unattributed.Billed
	for i := range calls.ByLife {
		all += calls.ByLife[i].Billed
	}
	if u <= unattributedFew || u*unattributedShare <= all {
		return nil
	}
	return []drift.Finding{{Kind: drift.UnattributedTraffic, Severity: drift.Medium, Evidence: addressLines(calls.Unattributed.Addresses),
		Summary: fmt.Sprintf("%d billed calls came from addresses that no workspace held", u)}}
}

func addressLines(counts []AddressCount) []string {
	lines := []string{}
	for _, c := range counts {
		lines = append(lines, fmt.Sprintf("%s: %d billed, %d rejected", c.Addr, c.Billed, c.Rejected))
	}
	return lines
}
