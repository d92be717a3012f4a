package config

import (
	"errors"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Remedy gives what is allowed to be done about the drifts of a source, as the
// pure decisions need it.
func (c *Config) Remedy(s *Source) drift.Remedy {
	r := &c.Remediate
	mode, approval := r.Mode, r.Approval
	if s.Remediate != nil && s.Remediate.Mode != nil {
		mode = *s.Remediate.Mode
	}
	if s.Remediate != nil && s.Remediate.Approval != nil {
		approval = *s.Remediate.Approval
	}
	remedy := drift.Remedy{
		Confirmations: r.Confirmations, Attempts: r.Attempts, Backoff: r.Backoff.Duration, Approval: approval, Quiet: r.Quiet.Duration, StaleAfter: c.Observe.StaleAfter.Duration,
		Budget: drift.Budget{InFlight: r.MaxInFlight, PerHour: r.MaxPerHour, Percent: r.MaxFleetPercent},
		Proof: drift.Proof{Settle: r.Proof.Settle.Duration, Unapplied: r.Proof.Unapplied.Duration, LostAfter: r.Proof.LostAfter.Duration,
			Gaps: r.Proof.Gaps, AtLeast: r.Proof.SilenceAtLeast.Duration, AtMost: r.Proof.SilenceAtMost.Duration},
	}
	switch mode {
	case RemediateDryRun:
		remedy.Mode = drift.RemediateDryRun
	case RemediateEnforce:
		remedy.Mode = drift.RemediateEnforce
	case RemediateOff:
	}
	if len(r.Windows) > 0 {
		remedy.Window = windows(r.Windows)
	}
	return remedy
}

// windows implements drift.Hours.
type windows []Window

// Open tells whether any window is open, and when that changes next.
func (all windows) Open(at time.Time) (open bool, changes time.Time) {
	for _, w := range all {
		until, next := w.around(at)
		if !until.IsZero() && (!open || until.After(changes)) {
			open, changes = true, until
		}
		if !open && !next.IsZero() && (changes.IsZero() || next.Before(changes)) {
			changes = next
		}
	}
	return open, changes
}

// openings bounds how many openings of a window are looked at around a time,
// where it opens more often than it is long.
const openings = 2000

// around gives until when the window is open at a time, zero where it is not,
// and when it opens next.
func (w *Window) around(at time.Time) (until, next time.Time) {
	schedule, err := w.schedule()
	if err != nil {
		return time.Time{}, time.Time{}
	}
	// A day more: what a clock that is set forward or back moves.
	wall := naive(at.In(w.Zone.Location)).Add(-w.Duration.Duration - 24*time.Hour)
	for range openings {
		if wall = schedule.Next(wall); wall.IsZero() {
			return until, time.Time{}
		}
		begin := instant(wall, w.Zone.Location)
		if begin.After(at) {
			return until, begin
		}
		if end := begin.Add(w.Duration.Duration); end.After(at) {
			until = end
		}
	}
	return until, time.Time{}
}

// schedule is the cron line read as a clock on the wall would: in a zone in
// which no hour is missing or comes twice.
func (w *Window) schedule() (cron.Schedule, error) {
	schedule, err := cron.ParseStandard("CRON_TZ=UTC " + string(w.Cron))
	if err != nil {
		return nil, errors.New("not a schedule: " + err.Error())
	}
	return schedule, nil
}

// naive is what a clock on the wall shows, as if it were UTC.
func naive(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// instant is when a clock on the wall shows a time: the first time where it does
// so twice, and where it never does, because it is set forward over it, the
// moment in which it is.
func instant(wall time.Time, zone *time.Location) time.Time {
	t := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), 0, zone)
	begin, end := t.ZoneBounds()
	if !naive(t).Equal(wall) { // it never shows this
		if naive(t).After(wall) && !begin.IsZero() {
			return begin
		}
		return end
	}
	if begin.IsZero() {
		return t
	}
	_, before := begin.Add(-time.Second).Zone()
	_, after := t.Zone()
	if earlier := t.Add(time.Duration(after-before) * time.Second); earlier.Before(begin) && naive(earlier.In(zone)).Equal(wall) {
		return earlier
	}
	return t
}
