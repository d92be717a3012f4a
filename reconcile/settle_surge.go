package reconcile

import (
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// suspect counts what flipped and what is missing, and decides whether so much
// of it did at once that the inputs, and not the workspaces, are the suspect.
func (s *settling) suspect() {
	s.byID = make(map[string]*Judged, len(s.Result.Workspaces))
	s.flipped = map[string]bool{}
	for i := range s.Result.Workspaces {
		j := &s.Result.Workspaces[i]
		s.byID[j.Workspace.ID] = j
		if s.flips(j) {
			s.flipped[j.Workspace.ID] = true
		}
	}
	if !s.Full {
		s.inputs = s.Known.Source.Surge // what is held, a single look does not believe either
		return
	}
	for id := range s.Known.States {
		if !s.wasJudged(id) {
			continue
		}
		s.census.Known++
		switch j := s.byID[id]; {
		case j == nil, j.Verdict == drift.Skipped:
			s.census.Missing++
		case s.flipped[id]:
			s.census.Flipped++
		}
	}
	if s.Known.Source.Accepted.IsZero() {
		s.inputs = s.Surge.Words(s.census)
		s.shrunk = s.Surge.Exceeded(s.census.Missing, s.census.Known)
	} else {
		s.Doubt = "" // a person has looked at what changed
	}
}

// flips tells whether a workspace's desired mode is another than the one that
// was believed. A mode that is only a fallback is no mode.
func (s *settling) flips(j *Judged) bool {
	was := s.Known.States[j.Workspace.ID].DesiredMode
	return was.Recognised() && believable(j) && j.Desired.Mode != was
}

func believable(j *Judged) bool {
	return j.Verdict != drift.Skipped && j.Desired.Mode.Recognised() && j.Desired.Source != drift.FromFallback
}

// wasJudged tells whether the workspace was known, and in scope.
func (s *settling) wasJudged(id string) bool {
	return s.Known.States[id].DesiredMode.Recognised()
}

// surge tells of suspect inputs: once when they become so, at a growing
// distance while they are, and once when they no longer are.
func (s *settling) surge() {
	was, now := &s.Known.Source, s.Result.At
	event := drift.Event{At: now, Severity: drift.High, Source: s.Source}
	switch {
	case s.inputs != "" && was.SurgeSince.IsZero():
		event.Kind, event.Summary = drift.EventSurge, s.inputs+": the inputs are the suspect; what flipped is neither alerted on nor acted on until `reconciler accept`"
	case s.inputs == "" && !was.SurgeSince.IsZero():
		event.Kind, event.Summary = drift.EventSurgeEnded, "desired modes are believed again"
		if !was.Accepted.IsZero() {
			event.Summary += ": an operator has accepted what changed"
		}
	case s.inputs != "" && s.Alerting.RemindAfter > 0 && now.Sub(was.SurgeTold) >= s.remindSurge():
		event.Kind, event.Summary = drift.EventSurgeReminder, "still: "+s.inputs
	default:
		return
	}
	s.out.Events = append(s.out.Events, event)
}

// remindSurge is the distance to the next reminder: as long again as the surge
// had lasted at the last one.
func (s *settling) remindSurge() (wait time.Duration) {
	wait = max(s.Alerting.RemindAfter, s.Known.Source.SurgeTold.Sub(s.Known.Source.SurgeSince))
	if most := s.Alerting.RemindAtMost; most > 0 {
		wait = min(wait, max(most, s.Alerting.RemindAfter))
	}
	return wait
}
