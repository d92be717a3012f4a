package drift

// News is an event for somebody who is to be told: with what is known of its
// drift besides.
type News struct {
	Event
	Announced Severity // the worst that was told of the drift; "": it concerns none
	Causes    []Cause  // of the drift, the likeliest first
}

// beginnings says which kind of event each one that ends something ends, and how
// severe that was where no drift says it.
var beginnings = map[EventKind]struct {
	kind     EventKind
	severity Severity
}{
	EventDriftClosed:      {EventDriftOpened, ""},
	EventSurgeEnded:       {EventSurge, High},
	EventSurgeAccepted:    {EventSurge, High},
	EventInputResumed:     {EventInputBlind, High},
	EventUnattributedOver: {EventUnattributed, Medium},
}

// Ends gives the kind of event that began what this one ends; "": it ends
// nothing. With it comes how severe that always is; "": a drift says it.
func (n *News) Ends() (begun EventKind, severity Severity) {
	b := beginnings[n.Kind]
	return b.kind, b.severity
}

// Reaches tells whether somebody who wants to hear of nothing below least is
// told. Who heard that something began hears of its end, however mild it was by
// then. What has no severity, a pause or the like, is told to those who want to
// hear all.
func (n *News) Reaches(least Severity) bool {
	if least == "" || least == Low || reaches(n.Severity, least) {
		return true
	}
	begun, severity := n.Ends()
	return begun != "" && (reaches(n.Announced, least) || reaches(severity, least))
}

// reaches: no severity is below all of them.
func reaches(s, least Severity) bool {
	return s != "" && s.rank() <= least.rank()
}

// News gives an open drift as the news that it began, as it is now: to whoever
// is told again and again what stands.
func (e *Episode) News() News {
	return News{Announced: e.Announced, Causes: e.Causes, Event: Event{At: e.AnnouncedAt, Kind: EventDriftOpened, Severity: e.Severity,
		Source: e.Source, Workspace: e.Workspace, Name: e.Name, Episode: e.ID, Summary: e.words(EventDriftOpened)}}
}
