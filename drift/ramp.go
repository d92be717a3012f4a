package drift

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Ramp says how far the reprovisions of one cause have proven themselves: the
// first is alone, then two, four, eight follow, each wave once the one before
// has been proven whole. The zero value is before the first.
type Ramp struct {
	Cause   string
	Wave    int    // 0: the canary; wave n is of 1<<n
	Lap     int    // grows with every wave and every new beginning, so that an attempt of an earlier one is told from one of this
	Opened  int    // of this wave, what was begun and counts
	Proven  int    // of those, cured by container and by traffic
	Stopped string // why nothing more is tried, in words; "": it goes on
	EndedAt time.Time
	// Whose attempt has stopped it, and the inputs that it was made with: where
	// they change, the cause may be tried again.
	Source, Workspace, Inputs string
}

// rampRest is how long a cause rests until it begins with a canary again: the
// platform may have changed meanwhile.
const rampRest = 24 * time.Hour

// biggestWave bounds a wave; the budgets bound it too.
const biggestWave = 20

// Size is how many the present wave has.
func (r *Ramp) Size() int { return 1 << min(r.Wave, biggestWave) }

// Waits says what the next reprovision of the cause waits for; "": for nothing.
func (r *Ramp) Waits() string {
	switch {
	case r.Opened < r.Size():
		return ""
	case r.Wave == 0:
		return "the canary of cause " + r.Cause + " is not proven yet"
	}
	return fmt.Sprintf("wave %d of cause %s: %d of %d are proven", r.Wave+1, r.Cause, r.Proven, r.Opened)
}

// Fresh tells whether the cause's canary is still to be chosen.
func (r *Ramp) Fresh() bool { return r.Wave == 0 && r.Opened == 0 }

// Rest lets a cause begin with a canary again, of which nothing has been tried
// for a day.
func (r *Ramp) Rest(now time.Time) {
	if r.Opened == r.Proven && r.Stopped == "" && !r.EndedAt.IsZero() && now.Sub(r.EndedAt) >= rampRest {
		r.begin(0)
	}
}

// begin begins a wave.
func (r *Ramp) begin(wave int) { r.Wave, r.Lap, r.Opened, r.Proven = wave, r.Lap+1, 0, 0 }

// Finish counts how an attempt ended that was begun in a lap.
func (r *Ramp) Finish(lap int, o Outcome, words string, now time.Time) {
	if o.Attempted() {
		r.EndedAt = now
	}
	if o.Stops() && r.Stopped == "" {
		r.Stopped = words
	}
	if lap != r.Lap {
		return // of a wave that is over: somebody has vouched for it, or begun anew
	}
	switch {
	case o == Cured:
		r.Proven++
	case o.Empty():
		r.Opened = max(0, r.Opened-1)
	}
	r.advance()
}

func (r *Ramp) advance() {
	if r.Opened == r.Size() && r.Proven == r.Opened {
		r.begin(r.Wave + 1)
	}
}

// Approve is a person's word: a cause that was stopped begins with a canary
// again, and what has ended of a wave and could not be proven counts as proven.
// Nobody can vouch for what is still under way, of this wave.
func (r *Ramp) Approve(underWay int) {
	if r.Stopped != "" {
		r.Stopped, r.Source, r.Workspace, r.Inputs = "", "", "", ""
		r.begin(0)
		return
	}
	r.Proven = max(r.Proven, r.Opened-underWay)
	r.advance()
}

// Outcome is how an action ended.
type Outcome string

// The outcomes.
const (
	Cured         Outcome = "cured"          // by container, and by silence in the proxy's log where that is to be
	CuredUnproven Outcome = "cured_unproven" // by container; no log tells
	Ineffective   Outcome = "ineffective"    // it came back the same
	Worse         Outcome = "worse"          // it came back with something new
	Lost          Outcome = "lost"           // it did not come back
	NotApplied    Outcome = "not_applied"    // whether the platform had acted was not known: it had not
	Refused       Outcome = "refused"        // the platform said no
	Noop          Outcome = "noop"           // the platform has nothing to restart
	Superseded    Outcome = "superseded"     // by the time to act there was no reason to, or a reason not to
	WouldHave     Outcome = "would_have"     // a dry run: it would have been reprovisioned
	Blocked       Outcome = "blocked"        // asked for by a person, and kept from
)

// Outcomes lists them all.
var Outcomes = []Outcome{Cured, CuredUnproven, Ineffective, Worse, Lost, NotApplied, Refused, Noop, Superseded, WouldHave, Blocked}

// Stops tells whether after such an outcome nothing more is tried for the
// cause, anywhere.
func (o Outcome) Stops() bool { return o == Ineffective || o == Worse || o == Lost }

// Empty tells whether nothing happened to the workspace, so that the attempt
// proves nothing about the cause.
func (o Outcome) Empty() bool {
	return slices.Contains([]Outcome{NotApplied, Refused, Noop, Superseded, WouldHave, Blocked}, o)
}

// Attempted tells whether the platform was called, so that it counts as an
// attempt at the workspace.
func (o Outcome) Attempted() bool {
	return o != Superseded && o != WouldHave && o != Blocked
}

// CauseKey names what an attempt proves something about: the cause that
// decides, or without one what was found.
func CauseKey(causes []Cause, findings []Finding) string {
	if len(causes) > 0 {
		return string(causes[0].Code)
	}
	var kinds []string
	for _, f := range findings {
		if f.Remediable {
			kinds = append(kinds, string(f.Kind))
		}
	}
	slices.Sort(kinds)
	return strings.Join(kinds, "+")
}
