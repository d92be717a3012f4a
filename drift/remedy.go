package drift

import "time"

// RemediateMode says what is done about a drift that may be mended. The zero
// value is off.
type RemediateMode string

// The modes.
const (
	RemediateOff     RemediateMode = ""
	RemediateDryRun  RemediateMode = "dry_run" // decided and recorded; nothing is called
	RemediateEnforce RemediateMode = "enforce"
)

// Remedy is what the operator allows to be done about the drifts of a source.
type Remedy struct {
	Mode          RemediateMode
	Confirmations int           // looks in a row that must agree before acting; 0 counts as 1
	Attempts      int           // at one workspace with the same inputs, before it is left to people
	Backoff       time.Duration // from the end of a failed attempt to the next; doubled with each
	Approval      bool          // a person must approve each workspace
	Window        Hours         // when acting is allowed; nil: always
	Quiet         time.Duration // how long a drift waits for a moment in which the agent is idle; 0: it does not
	StaleAfter    time.Duration // an observation older than this is no reason to act; 0: no bound
	Budget
	Proof
}

// Hours tells whether acting is allowed at a time, and when that changes next;
// a zero time: never.
type Hours interface {
	Open(at time.Time) (open bool, changes time.Time)
}

// Budget bounds how much is done at once. Each bound is at least 1, whatever
// is given, so that a small fleet is never frozen; and a percentage is at most
// 100.
type Budget struct {
	InFlight int // reprovisions under way at once, over all sources
	PerHour  int // reprovisions begun within an hour, over all sources
	Percent  int // share of a source's workspaces under way at once
}

// Share is how many workspaces of a source of this size may be under way at
// once: the percentage, rounded down, and one at least.
func (b Budget) Share(workspaces int) int {
	return max(1, workspaces*min(max(1, b.Percent), 100)/100)
}

// Room is how much of the budgets is spent, at one moment.
type Room struct {
	InFlight   int       // over all sources
	LastHour   int       // begun within the last hour, over all sources
	HourFreeAt time.Time // when the oldest of those is an hour old
	OfSource   int       // under way at the source
	Workspaces int       // that the source has
}

// spent says which budget is used up; "" where there is room.
func (b Budget) spent(r *Room) (words string, next time.Time) {
	switch share := b.Share(r.Workspaces); {
	case r.InFlight >= max(1, b.InFlight):
		return counted(r.InFlight, "under way (remediate.max_in_flight)"), time.Time{}
	case r.OfSource >= share:
		return counted(r.OfSource, "of this source under way (remediate.max_fleet_percent)"), time.Time{}
	case r.LastHour >= max(1, b.PerHour):
		return counted(r.LastHour, "begun within an hour (remediate.max_per_hour)"), r.HourFreeAt
	}
	return "", time.Time{}
}

// History is what earlier looks and actions tell of a workspace, beyond the
// facts of this one.
type History struct {
	Paused      string // why acting is paused, in words; "": it is not
	PausedUntil time.Time
	Suppressed  bool   // all that accuses is suppressed
	Surge       string // why what is desired is not believed yet; "": it is

	OpenedAt        time.Time // of the drift
	Agreeing        int       // looks in a row, this one included, that found the same
	ResolverChanged bool      // registry or policy have changed since the drift opened, and it has not been confirmed since

	InFlight  int64     // number of the action that is under way; 0: none
	Attempts  int       // with the present inputs, since the last that cured
	EndedAt   time.Time // of the last of them
	Pulse     Pulse     // of the workspace's calls
	Ramp      *Ramp     // of the cause; nil: not asked
	First     string    // which workspace, of those that the platform calls canaries, is to be the cause's first; "": none, or it has been
	Room      *Room     // nil: not asked
	Approved  bool      // a person has approved this workspace, and that has not run out
	Forced    bool      // a person wants it now: windows and cool-downs do not hold
	AtRequest bool      // a person asked for it: their asking is the approval
}

// Pulse is how the billed calls of a workspace have come lately.
type Pulse struct {
	Last    time.Time     // of the last call; zero: none
	Gap     time.Duration // between calls, as usual; 0: not known
	PerHour float64       // calls
	USD     float64       // dollars an hour, as far as they are known
}
