package drift

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Proof says how a reprovision is proven.
type Proof struct {
	Settle    time.Duration // from a container's start to its environment being judged
	Unapplied time.Duration // after a call whose fate is not known: how long the old container must go on for it to have come to nothing
	LostAfter time.Duration // from the call to the workspace being given up as lost
	Gaps      int           // silence is proven after so many of the workspace's usual gaps between calls
	AtLeast   time.Duration // of silence
	AtMost    time.Duration // of silence; also what is waited for where the usual gap is not known
}

// Attempt is what was done about a workspace, and how it stood before.
type Attempt struct {
	CalledAt  time.Time
	Call      Call
	Desired   Mode      // what the workspace should have been
	StartedAt time.Time // of the container before
	Instance  string    // before
	Kinds     []Kind    // found before, of those that a reprovision mends
	Gap       time.Duration
}

// Progress is how far the proof of an attempt has come: it has ended, with an
// outcome, or waits, until a time at which to look again.
type Progress struct {
	Outcome Outcome // "": it waits
	Words   string
	Next    time.Time
}

// clockSkew is how far an instance's clock may be from ours.
const clockSkew = time.Minute

// lookAgain is the longest distance between two looks at a workspace that is
// being proven.
const lookAgain = 30 * time.Second

// Prove says what a look at a workspace tells of an attempt at it. What was not
// seen proves nothing, until it has not been seen for too long.
func (p *Proof) Prove(a *Attempt, now time.Time, f *Facts, verdict Verdict, findings []Finding) Progress {
	late := now.After(a.CalledAt.Add(p.LostAfter))
	switch {
	case f.Workspace.Scope() != InScope:
		return Progress{Outcome: Superseded, Words: "the workspace is no longer judged: " + string(f.Workspace.Scope())}
	case a.renewed(f):
		return p.compare(a, now, f, verdict, findings)
	case f.Workspace.Status == "failed":
		return Progress{Outcome: Lost, Words: "the platform could not start the agent again" + because(f.Workspace.LastSampleError)}
	case late && f.Observation.State != Observed:
		return Progress{Outcome: Lost, Words: fmt.Sprintf("%s after the call no container was seen (status %s)%s", p.LostAfter, f.Workspace.Status, because(f.Workspace.LastSampleError))}
	case late:
		return Progress{Outcome: NotApplied, Words: fmt.Sprintf("%s after the call the old container goes on", p.LostAfter)}
	case a.goesOn(f) && a.Call.Result != CallAccepted && now.Sub(a.CalledAt) >= p.Unapplied:
		return Progress{Outcome: NotApplied, Words: "the old container goes on: the call whose fate was not known came to nothing"}
	}
	return Progress{Words: "waiting for the new container (status " + f.Workspace.Status + ")", Next: now.Add(p.pace(now.Sub(a.CalledAt)))}
}

func because(words string) string {
	if words == "" {
		return ""
	}
	return ": " + words
}

// pace looks often at first, and seldom at what takes long.
func (p *Proof) pace(since time.Duration) time.Duration {
	return min(max(since/4, time.Second), lookAgain)
}

// renewed tells whether what was seen is a container that the attempt has
// started: it has started later than the one before, and not before the call.
// Clocks may differ, so that the start before, by the same clock, counts more;
// and another instance's container was started since, whatever its clock says.
func (a *Attempt) renewed(f *Facts) bool {
	o := &f.Observation
	return o.State == Observed && o.StartedAt.After(a.StartedAt) &&
		(f.Workspace.InstanceID != a.Instance || !o.StartedAt.Before(a.CalledAt.Add(-clockSkew)))
}

// began is when the new container started; where its clock is ahead of ours, it
// is not waited for, and the call counts.
func (a *Attempt) began(f *Facts, now time.Time) time.Time {
	if at := f.Observation.StartedAt; !at.After(now) {
		return at
	}
	return a.CalledAt
}

// goesOn tells whether the old container was seen, with nothing under way.
func (a *Attempt) goesOn(f *Facts) bool {
	return f.Observation.State == Observed && f.Workspace.Status != "provisioning" && f.Workspace.InstanceID == a.Instance && !f.Observation.StartedAt.After(a.StartedAt)
}

// compare judges the new container, and then its silence.
func (p *Proof) compare(a *Attempt, now time.Time, f *Facts, verdict Verdict, findings []Finding) Progress {
	same, fresh := a.left(findings)
	judged := a.began(f, now).Add(p.Settle)
	unclear := verdict == Unknown || f.Desired.Source == FromFallback
	switch {
	case a.Desired != ModeUnknown && f.Desired.Mode != a.Desired && f.Desired.Source != FromFallback:
		return Progress{Outcome: Superseded, Words: fmt.Sprintf("it should be %s by now, and was to become %s: what came of the call proves nothing", f.Desired.Mode, a.Desired)}
	case (same != nil || fresh != nil) && now.Before(judged):
		return Progress{Words: "the new container has just started", Next: judged}
	case fresh != nil:
		return Progress{Outcome: Worse, Words: "it came back with " + strings.Join(fresh, ", ") + ", which it had not before"}
	case same != nil:
		return Progress{Outcome: Ineffective, Words: "it came back with the same " + strings.Join(same, ", ")}
	case unclear && now.Before(a.CalledAt.Add(p.LostAfter)):
		return Progress{Words: "a new container was seen, and whether it is as it should be is not known", Next: now.Add(p.pace(now.Sub(a.CalledAt)))}
	case unclear:
		return Progress{Outcome: CuredUnproven, Words: "a new container was seen; whether it is as it should be could not be told"}
	}
	return p.silence(a, now, f)
}

// left lists what is still found of what a reprovision was to mend, and what is
// newly found. An environment that is not to be trusted does not make what was
// there before go away.
func (a *Attempt) left(findings []Finding) (same, fresh []string) {
	for _, found := range findings {
		switch {
		case slices.Contains(a.Kinds, found.Kind):
			same = append(same, string(found.Kind))
		case found.Remediable:
			fresh = append(fresh, string(found.Kind))
		}
	}
	return same, fresh
}

// silence waits until the workspace would have called the proxy again, were it
// still to: only where it must not.
func (p *Proof) silence(a *Attempt, now time.Time, f *Facts) Progress {
	if f.Desired.Mode == ModePlatformManaged {
		return Progress{Outcome: Cured, Words: "the new container is as it should be"}
	}
	window := p.window(a.Gap)
	from := a.began(f, now).Add(p.Settle)
	until, last := from.Add(window), from.Add(silences*window)
	t := f.Traffic
	if t != nil && t.BackAt.After(from) {
		until = earlier(t.BackAt.Add(window), last) // what was not seen before proves nothing
	}
	words := "the new container is as it should be"
	switch {
	case now.Before(until):
		return Progress{Words: fmt.Sprintf("%s; %s of silence in the proxy's log are to follow", words, window), Next: until}
	case t == nil:
		return Progress{Outcome: CuredUnproven, Words: words + "; no log tells whether it still calls the proxy"}
	case t.Err == "" && t.BlindSince.IsZero() && !until.Before(t.BackAt.Add(window)):
		return Progress{Outcome: Cured, Words: fmt.Sprintf("%s, and has not called the proxy for %s", words, window)}
	case now.Before(last):
		return Progress{Words: words + "; some of the proxy's log is not seen at present" + since(t.BlindSince), Next: earlier(now.Add(lookAgain), last)}
	}
	return Progress{Outcome: CuredUnproven, Words: words + "; no log that was seen whole tells whether it still calls the proxy"}
}

// silences is how many windows of silence a log is given at most that was not
// seen for a part of them.
const silences = 2

func since(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " (since " + stamp(t) + ")"
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// window is how long silence must last.
func (p *Proof) window(gap time.Duration) time.Duration {
	if gap <= 0 {
		return max(p.AtLeast, p.AtMost)
	}
	return min(max(time.Duration(max(1, p.Gaps))*gap, p.AtLeast), max(p.AtLeast, p.AtMost))
}
