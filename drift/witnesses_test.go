package drift_test

import (
	"strings"
	"testing"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// What container and traffic tell together is told in words of its own for each
// combination, and the worst that the traffic tells goes first.
func TestWitnesses(t *testing.T) {
	t.Parallel()
	calls := func(billed, named, elsewhere, ambiguous int) func(*drift.Facts) {
		return func(f *drift.Facts) {
			f.Traffic = &drift.Traffic{Since: started, Billed: billed, PastGrace: billed, Named: named, Elsewhere: elsewhere, Ambiguous: ambiguous}
		}
	}
	billed, silent := calls(2, 0, 0, 0), calls(0, 0, 0, 0)
	hidden := func(f *drift.Facts) { f.Observation = drift.Observation{State: drift.Unreachable} }
	unclear := func(f *drift.Facts) {
		f.Observation.Variables[drift.VarAnthropicURL] = drift.Variable{Value: "https://api.moleculesai", Cut: true}
	}
	direct := func(f *drift.Facts) { f.Observation.Variables = variables(drift.VarModeResolved, "platform_managed") }
	blind := func(f *drift.Facts) { f.Traffic.BlindSince = started }
	const notSeen = "silence is not innocence"
	for name, row := range map[string]struct {
		facts *drift.Facts
		words string // "": nothing is said
		not   string
	}{
		"for the proxy, and calls":          {with(incident(), billed), "what it says is what it does", ""},
		"for the proxy, and none":           {with(incident(), silent), "the first one will be the platform's bill", ""},
		"direct, and calls":                 {with(byok(), billed), "and yet calls come from its address", ""},
		"direct, and none":                  {with(byok(), silent), "no call of its has come there", notSeen},
		"without an LLM, and calls":         {with(disabled(), billed), "and yet calls come from its address", ""},
		"not seen, and calls":               {with(byok(), billed, hidden), "calls come from its address, and the container could not be looked at", ""},
		"not seen, and none":                {with(byok(), silent, hidden), "no call has come, and the container could not be looked at", ""},
		"unclear, and calls":                {with(byok(), billed, unclear), "calls come from its address, and where the container is set up to send them could not be read", ""},
		"unclear, and none":                 {with(byok(), silent, unclear), "no call has come, and where the container is set up to send them could not be read", ""},
		"paid for, and calls":               {with(managed(), billed), "as they should", ""},
		"paid for, and none":                {with(managed(), silent), "it is idle", ""},
		"paid for, direct, and calls":       {with(managed(), billed, direct), "a process that began before is still at work", ""},
		"paid for, direct, and none":        {with(managed(), silent, direct), "somebody else is being billed", ""},
		"its token is used elsewhere":       {with(incident(), calls(3, 2, 1, 0)), "1 billed call bore its name and came from an address that is not its own", "what it says"},
		"used elsewhere, and set up direct": {with(byok(), calls(3, 2, 2, 0)), "2 billed calls bore its name", "second one on the machine"},
		"paid for, and elsewhere":           {with(managed(), calls(3, 2, 1, 0)), "as they should", "revoke"},
		"direct, and calls bear its name":   {with(byok(), calls(2, 1, 0, 0)), "a second one on the machine, still has its usage token", ""},
		"for the proxy, with its name":      {with(incident(), calls(2, 1, 0, 0)), "what it says is what it does", ""},
		"only doubtful calls":               {with(byok(), calls(0, 0, 0, 1)), "1 call came from an address that it shares", ""},
		"doubtful ones besides":             {with(byok(), calls(1, 0, 0, 4)), "and yet calls come from its address", "shares"},
		"none, in a log that is blind":      {with(byok(), silent, blind), notSeen, ""},
		"calls, in a log that is blind":     {with(byok(), billed, blind), "and yet calls come from its address", notSeen},
		"no log":                            {with(byok(), func(f *drift.Facts) { f.Traffic = nil }), "", ""},
		"a log that was not read":           {with(byok(), func(f *drift.Facts) { f.Traffic.Err = "denied" }), "", ""},
		"removed":                           {with(byok(), billed, func(f *drift.Facts) { f.Workspace.Status = "removed" }), "", ""},
		"a mode that is not known":          {with(byok(), billed, func(f *drift.Facts) { f.Desired.Mode = "other" }), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := drift.Witnesses(policy(t, drift.OwnerCustomer), row.facts)
			if (row.words == "") != (got == "") || !strings.Contains(got, row.words) || row.not != "" && strings.Contains(got, row.not) {
				t.Errorf("%q, want %q and not %q", got, row.words, row.not)
			}
		})
	}
}
