package drift

import (
	"slices"
	"time"
)

// CloseResult says why an episode ended; the words become metric labels.
type CloseResult string

// The ways for an episode to end.
const (
	Resolved         CloseResult = "resolved"          // seen in sync for the settling time
	WorkspaceRemoved CloseResult = "workspace_removed" // no longer in the tenant's list
	OutOfScope       CloseResult = "out_of_scope"      // no longer ours to judge
	SourceRemoved    CloseResult = "source_removed"    // no longer configured
)

// CloseResults lists them all.
var CloseResults = []CloseResult{Resolved, WorkspaceRemoved, OutOfScope, SourceRemoved}

// Episode is one drift of one workspace, from the pass that found it to the one
// that found it gone. A workspace has at most one that is open.
type Episode struct {
	ID        int64 // 0 until it is stored
	Source    string
	Workspace string // id
	Name      string // of the workspace

	OpenedAt      time.Time
	FirstEvidence time.Time   // when the first wrong evidence came about, where that is known; else OpenedAt
	LastSeenAt    time.Time   // zero: seen by the last pass over its source
	ClearSince    time.Time   // in sync since; zero: it stands
	ClosedAt      time.Time   // zero: open
	Result        CloseResult // "" while it is open

	Findings []Finding
	Causes   []Cause
	Severity Severity // the worst of Findings

	AnnouncedAt time.Time // zero: nobody has been told
	Announced   Severity  // the worst that has been told
	RemindedAt  time.Time
	Reminders   int
}

// Open tells whether the episode has not ended.
func (e *Episode) Open() bool { return e != nil && e.ClosedAt.IsZero() }

// Sight is what one look says of a workspace, as far as an episode cares.
type Sight struct {
	Source, Workspace, Name string

	At            time.Time
	Before        time.Time // the last look before this one; zero: none
	Verdict       Verdict
	Seen          bool // the container was observed
	Findings      []Finding
	Causes        []Cause
	FirstEvidence time.Time   // zero: not known
	Gone          CloseResult // not "": there is nothing left to look at, and why
	Held          bool        // the inputs are suspect: it opens nothing and closes nothing
	Unheard       []Kind      // kinds whose witness was asked and gave no answer: what was found of them is neither seen again nor gone
	Quiet         bool        // every accusing finding is suppressed: nobody is told
}

// Alerting says how much is told of a drift.
type Alerting struct {
	Settle       time.Duration // how long a workspace must be seen in sync before its drift is over; what comes back within it was never gone
	RemindAfter  time.Duration // from telling of a drift to the first reminder; 0: none. The distance doubles
	RemindAtMost time.Duration // longest distance between reminders; 0: a year
}

// Advance gives the episode after a look, and what is to be told. open is nil
// where the workspace has no open episode; next is nil where it has none now.
// A look that did not succeed neither opens, changes nor closes one; and where
// next equals *open, nothing has changed.
func (a *Alerting) Advance(open *Episode, s *Sight) (next *Episode, events []Event) {
	if open == nil {
		if s.Gone != "" || s.Held || s.Verdict != Drifted {
			return nil, nil
		}
		open = &Episode{Source: s.Source, Workspace: s.Workspace, OpenedAt: s.At, FirstEvidence: s.FirstEvidence}
		if open.FirstEvidence.IsZero() || open.FirstEvidence.After(s.At) {
			open.FirstEvidence = s.At
		}
	}
	e := *open
	if s.Name != "" {
		e.Name = s.Name
	}
	switch {
	case s.Gone != "":
		return e.close(s, s.Gone)
	case s.Held: // what is not believed is not seen: below
	case s.Verdict == Drifted:
		return a.stand(e, s)
	case s.Verdict == Skipped:
		return e.close(s, OutOfScope)
	case s.Verdict == InSync && !s.missed(e.Findings):
		return a.clear(e, s)
	}
	e.unseen(s) // could not look: neither standing nor clear
	e.ClearSince = time.Time{}
	return &e, nil
}

// stand: the drift was seen again.
func (a *Alerting) stand(e Episode, s *Sight) (*Episode, []Event) {
	e.ClearSince, e.LastSeenAt = time.Time{}, time.Time{}
	e.Findings = merge(e.Findings, s)
	if len(s.Causes) > 0 || s.Seen {
		e.Causes = s.Causes
	}
	e.Severity = Worst(e.Findings)
	if s.Quiet {
		return &e, nil
	}
	switch {
	case e.AnnouncedAt.IsZero():
		e.AnnouncedAt, e.Announced = s.At, e.Severity
		return &e, []Event{e.event(s, EventDriftOpened)}
	case e.Severity.rank() < e.Announced.rank():
		e.Announced = e.Severity
		return &e, []Event{e.event(s, EventDriftWorsened)}
	case a.due(&e, s.At):
		e.RemindedAt = s.At
		e.Reminders++
		return &e, []Event{e.event(s, EventDriftReminder)}
	}
	return &e, nil
}

// clear: the workspace is in sync, perhaps for a moment only.
func (a *Alerting) clear(e Episode, s *Sight) (*Episode, []Event) {
	e.unseen(s)
	if e.ClearSince.IsZero() {
		e.ClearSince = s.At
	}
	if s.At.Sub(e.ClearSince) < a.Settle {
		return &e, nil
	}
	return e.close(s, Resolved)
}

func (e Episode) close(s *Sight, why CloseResult) (*Episode, []Event) {
	e.unseen(s)
	e.ClosedAt, e.Result = s.At, why
	if e.AnnouncedAt.IsZero() {
		return &e, nil // nobody was told that it began
	}
	return &e, []Event{e.event(s, EventDriftClosed)}
}

// unseen notes when the drift was last seen, the first time that it is not.
func (e *Episode) unseen(s *Sight) {
	if !e.LastSeenAt.IsZero() {
		return
	}
	e.LastSeenAt = s.Before
	if e.LastSeenAt.Before(e.OpenedAt) {
		e.LastSeenAt = e.OpenedAt
	}
}

// seldom bounds the distance between reminders where nobody has set a bound.
const seldom = 365 * 24 * time.Hour

// due tells whether a reminder is: the distance doubles from one to the next.
func (a *Alerting) due(e *Episode, now time.Time) bool {
	if a.RemindAfter <= 0 {
		return false
	}
	last, wait := e.AnnouncedAt, a.RemindAfter
	if e.RemindedAt.After(last) {
		last = e.RemindedAt
	}
	most := a.RemindAtMost
	if most <= 0 {
		most = seldom
	}
	for range e.Reminders {
		if wait *= 2; wait >= most {
			break
		}
	}
	return now.Sub(last) >= min(wait, max(a.RemindAfter, most))
}

// missed tells whether something that was found before could not be looked for
// by this look.
func (s *Sight) missed(before []Finding) bool {
	return slices.ContainsFunc(before, func(f Finding) bool { return s.blindTo(f.Kind) })
}

// blindTo tells whether the look could not have found a kind.
func (s *Sight) blindTo(k Kind) bool {
	return !s.Seen && k.OfContainer() || slices.Contains(s.Unheard, k)
}

// merge gives the findings that stand after a look: what it found, and what was
// found before and could not be looked for this time.
func merge(before []Finding, s *Sight) []Finding {
	var kept []Finding
	for _, f := range before {
		if s.blindTo(f.Kind) && !slices.ContainsFunc(s.Findings, func(g Finding) bool { return g.Kind == f.Kind }) {
			kept = append(kept, f)
		}
	}
	if kept == nil {
		return s.Findings
	}
	return append(kept, s.Findings...)
}

func (e *Episode) event(s *Sight, kind EventKind) Event {
	return Event{At: s.At, Kind: kind, Severity: e.Severity, Source: e.Source, Workspace: e.Workspace, Name: e.Name, Episode: e.ID, Summary: e.words(kind)}
}
