// Package drift holds the words of the billing reconciler and its pure
// decisions: what a workspace should be (Desired), what it was seen to be
// (Observation, Traffic, ReadEndpoint), where the two disagree (Compare), why
// (Diagnose) and what may be done about it (Judge).
//
// It imports the standard library only, and knows no context, clock, network
// or database: the same facts always give the same decisions. The zero value
// of every state is the safe one, so that what was forgotten is "not known"
// and never "in sync".
package drift
