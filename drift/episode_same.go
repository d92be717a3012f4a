package drift

import "slices"

// Same tells whether two readings of an episode say the same, however their
// times are represented.
func (e *Episode) Same(o *Episode) bool {
	return e.ID == o.ID && e.Source == o.Source && e.Workspace == o.Workspace && e.Name == o.Name && e.Result == o.Result &&
		e.Severity == o.Severity && e.Announced == o.Announced && e.Reminders == o.Reminders && e.sameTimes(o) &&
		slices.EqualFunc(e.Findings, o.Findings, Finding.same) && slices.Equal(e.Causes, o.Causes)
}

func (e *Episode) sameTimes(o *Episode) bool {
	return e.OpenedAt.Equal(o.OpenedAt) && e.FirstEvidence.Equal(o.FirstEvidence) && e.LastSeenAt.Equal(o.LastSeenAt) &&
		e.ClearSince.Equal(o.ClearSince) && e.ClosedAt.Equal(o.ClosedAt) && e.AnnouncedAt.Equal(o.AnnouncedAt) && e.RemindedAt.Equal(o.RemindedAt)
}

func (f Finding) same(o Finding) bool {
	return f.Kind == o.Kind && f.Severity == o.Severity && f.Summary == o.Summary && f.Remediable == o.Remediable && slices.Equal(f.Evidence, o.Evidence)
}

// SameKinds tells whether two lists find the same things, whatever their words
// and counts.
func SameKinds(a, b []Finding) bool {
	return slices.EqualFunc(a, b, func(x, y Finding) bool { return x.Kind == y.Kind && x.Severity == y.Severity })
}
