package drift

import "fmt"

// Witnesses says in words what container and traffic tell together: whether
// what the one says is what the other saw, and what it may mean where not. It is
// "" where the log was not asked, or had nothing to ask about.
func Witnesses(p *Policy, f *Facts) string {
	t := f.Traffic
	if t == nil || t.Err != "" || f.Workspace.Scope() != InScope || !f.Desired.Mode.Recognised() {
		return ""
	}
	words := f.together(f.setUp(p))
	if t.Billed == 0 && !t.BlindSince.IsZero() {
		words += fmt.Sprintf("; but some of the log has not been seen since %s, and silence is not innocence", stamp(t.BlindSince))
	}
	return words
}

// setUp is where a container's environment sends its calls.
type setUp int

const (
	notSeen setUp = iota
	unclear
	forProxy
	direct
)

func (f *Facts) setUp(p *Policy) setUp {
	if f.Observation.State != Observed {
		return notSeen
	}
	switch f.AtProxy(p) {
	case Yes:
		return forProxy
	case No:
		return direct
	}
	return unclear
}

// reading is what one combination of the witnesses means.
type reading struct {
	set    setUp
	billed bool
	words  string
}

// readings of a workspace that the platform must not pay for.
var guardedReadings = []reading{
	{forProxy, true, "the container is set up for the proxy, and its calls come there: what it says is what it does"},
	{forProxy, false, "the container is set up for the proxy, and no call has come yet: the first one will be the platform's bill"},
	{direct, true, "the container is set up to go past the proxy, and yet calls come from its address: " +
		"a process that began before the container's environment was mended, a second process or container on the machine, or another machine behind the same address"},
	{direct, false, "the container is set up to go past the proxy, and no call of its has come there"},
	{notSeen, true, "calls come from its address, and the container could not be looked at"},
	{notSeen, false, "no call has come, and the container could not be looked at"},
	{unclear, true, "calls come from its address, and where the container is set up to send them could not be read"},
	{unclear, false, "no call has come, and where the container is set up to send them could not be read"},
}

// and of one that it pays for.
var paidReadings = []reading{
	{forProxy, true, "the container is set up for the proxy, and its calls come there, as they should"},
	{forProxy, false, "the container is set up for the proxy, and no call has come: it is idle, or its calls go another way"},
	{direct, true, "the container is set up to go past the proxy, and yet its calls come there: a process that began before is still at work"},
	{direct, false, "the container is set up to go past the proxy, and none of its calls has come there: somebody else is being billed"},
	{notSeen, true, "its calls come to the proxy, as they should, and the container could not be looked at"},
	{notSeen, false, "no call has come, and the container could not be looked at"},
	{unclear, true, "its calls come to the proxy, as they should, and where the container is set up to send them could not be read"},
	{unclear, false, "no call has come, and where the container is set up to send them could not be read"},
}

func (f *Facts) together(set setUp) string {
	t := f.Traffic
	guarded := f.Desired.Mode == ModeBYOK || f.Desired.Mode == ModeDisabled
	switch {
	case guarded && t.Elsewhere > 0:
		return fmt.Sprintf("%d billed %s bore its name and came from an address that is not its own: its usage token is in use elsewhere, so revoke it, for a restart of this container ends nothing",
			t.Elsewhere, plural(t.Elsewhere, "call"))
	case guarded && t.Named > 0 && set == direct:
		return "the container is set up to go past the proxy, and yet calls bear its name: a process that began before the container's environment was mended, or a second one on the machine, still has its usage token"
	case t.Billed == 0 && t.Ambiguous > 0:
		return fmt.Sprintf("%d %s came from an address that it shares with others: whose they are cannot be told", t.Ambiguous, plural(t.Ambiguous, "call"))
	}
	list := paidReadings
	if guarded {
		list = guardedReadings
	}
	for _, r := range list {
		if r.set == set && r.billed == (t.Billed > 0) {
			return r.words
		}
	}
	return ""
}
