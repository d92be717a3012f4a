package drift

import "time"

// EventKind names a fact that somebody may want to be told. An event is written
// once, when it happens, and never read back to decide anything.
type EventKind string

// The kinds of event.
const (
	EventDriftOpened      EventKind = "drift_opened"
	EventDriftWorsened    EventKind = "drift_worsened" // more severe than anything told of it before
	EventDriftReminder    EventKind = "drift_reminder"
	EventDriftClosed      EventKind = "drift_closed"
	EventSurge            EventKind = "desired_surge"
	EventSurgeReminder    EventKind = "desired_surge_reminder"
	EventSurgeEnded       EventKind = "desired_surge_ended"
	EventSurgeAccepted    EventKind = "desired_surge_accepted"
	EventPaused           EventKind = "paused"
	EventResumed          EventKind = "resumed"
	EventPauseExpired     EventKind = "pause_expired"
	EventSuppressed       EventKind = "suppressed"
	EventUnsuppressed     EventKind = "unsuppressed"
	EventSuppressionEnded EventKind = "suppression_expired"
	EventInputBlind       EventKind = "input_blind" // lines of the proxy's log do not come
	EventInputResumed     EventKind = "input_resumed"
	EventUnattributed     EventKind = "unattributed_traffic"
	EventUnattributedOver EventKind = "unattributed_traffic_ended"

	EventRequested        EventKind = "reprovision_requested" // by a person
	EventBlocked          EventKind = "reprovision_blocked"   // what a person wanted, and what keeps from it
	EventWouldReprovision EventKind = "would_reprovision"     // a dry run
	EventReprovisioned    EventKind = "reprovision_started"   // the platform was called
	EventNotReprovisioned EventKind = "reprovision_refused"   // it was called, and has done nothing
	EventCured            EventKind = "reprovision_cured"
	EventIneffective      EventKind = "reprovision_ineffective" // the same drift after it: its cause is stopped
	EventWorse            EventKind = "reprovision_worse"
	EventLost             EventKind = "workspace_lost" // it did not come back
	EventApproved         EventKind = "approved"
)

// EventKinds lists them all.
var EventKinds = []EventKind{
	EventDriftOpened, EventDriftWorsened, EventDriftReminder, EventDriftClosed, EventSurge, EventSurgeReminder, EventSurgeEnded, EventSurgeAccepted,
	EventPaused, EventResumed, EventPauseExpired, EventSuppressed, EventUnsuppressed, EventSuppressionEnded,
	EventInputBlind, EventInputResumed, EventUnattributed, EventUnattributedOver,
	EventRequested, EventBlocked, EventWouldReprovision, EventReprovisioned, EventNotReprovisioned, EventCured, EventIneffective, EventWorse, EventLost, EventApproved,
}

// Event is one fact, in the past tense.
type Event struct {
	ID        int64     // 0 until it is stored; grows in the order of the commits
	At        time.Time //
	Kind      EventKind
	Severity  Severity // "": concerns no drift
	Source    string   // "": the whole fleet
	Workspace string   // id; "": the whole source
	Name      string   // of the workspace
	Episode   int64    // the drift's; 0: none
	Summary   string   // one sentence, for people; never a secret's value
	By        string   // who did it, by the name of a token; "": nobody but ourselves
}
