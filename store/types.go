package store

import (
	"encoding/json"
	"net/netip"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Replica is one running daemon.
type Replica struct {
	ID        string    `json:"id"`   // uuid, drawn at its start
	Name      string    `json:"name"` // host and process, for people
	Version   string    `json:"version"`
	StartedAt time.Time `json:"started_at"`
	SeenAt    time.Time `json:"seen_at"`
}

// Lease is the right to write about a source. Its token grows with every
// holder, so that one who has lost it can write nothing.
type Lease struct {
	Source string // or Fleet
	Token  int64
}

// Fleet is the name of the lease of what concerns no single source: retention,
// what expires, and other chores that one replica does for all. A source
// cannot be called so.
const Fleet = "*"

// State is what is known of one workspace. It is written when it changes, and
// only then.
type State struct {
	ID          string // uuid
	Name        string
	Status      string
	Verdict     drift.Verdict
	Kinds       []string        // of the findings that stand, sorted; to be filtered by
	DesiredMode drift.Mode      // the last one that was believed: what flips are counted against
	Overrides   []string        // earlier recognised overrides, the newest last; bounded
	Observed    bool            // the last pass saw the container
	ObservedAt  time.Time       // while not Observed: when it was last seen; zero: never
	Document    json.RawMessage // the API's workspace, without what every look changes (observed.at)
	Digest      Digest          // of all the above; equal digests are equal states
}

// Digest is a hash of a State.
type Digest [16]byte

// Snapshot keeps, beside an episode, how its workspace stood at the opening and
// at the last change of its findings, as documents of the API.
type Snapshot struct {
	Opened json.RawMessage
	Latest json.RawMessage
}

// Holding is an address that a workspace holds from a time on.
type Holding struct {
	Workspace string // id
	Address   netip.Addr
	Since     time.Time // start of the container that was seen with it
}

// Outcome is what one look at a source, or at some of its workspaces, changes:
// all of it is written in one transaction, or none.
type Outcome struct {
	Lease    Lease
	At       time.Time // when the look began
	Took     time.Duration
	Full     bool   // every workspace of the source was looked at
	Err      string // why the source could not be read; nothing but this is written then
	Resolver string // digest of registry and policy that the desired side was derived with

	Census   drift.Census
	Surge    string                // why the inputs are suspect; "": they are not
	Counts   map[drift.Verdict]int // of a full look
	States   []State               // those that changed or are new
	Gone     []string              // ids of workspaces whose state is to be forgotten
	Episodes []EpisodeChange       // new ones (ID 0) and changed ones
	Events   []drift.Event         // of no new episode (their Episode is set, or 0)
	// Holdings are by workspace: all that it holds now. A workspace that is not
	// in it keeps what it had. One that was seen with what is known of it may be
	// left out, which spares reading what a big source holds.
	Holdings map[string][]Holding
	Looks    []int64 // requests that this look answers
}

// EpisodeChange is an episode to be written, with the events that go with it;
// where it is new, its number is put into them.
type EpisodeChange struct {
	drift.Episode
	Snapshot // Opened of a new one; Latest where it changed, else nil
	Events   []drift.Event
}

// Applied is what Apply gave numbers to.
type Applied struct {
	Episodes []int64       // in the order of Outcome.Episodes
	Events   []drift.Event // all that were written, with their numbers
	// Taken are workspaces of the source of which an address has ended, since
	// the last Apply, because a workspace of another source was seen with it.
	// Who gives only holdings that changed gives all of these the next time.
	Taken []string
}

// Known is what the database holds of a source, for whoever has just got its
// lease: from then on nobody else changes it.
type Known struct {
	States   map[string]KnownState
	Episodes map[string]drift.Episode // the open ones, by workspace
	Holdings map[string][]Holding     // those not ended, by workspace
	Source   SourceState
}

// KnownState is the part of a State that a pass compares with.
type KnownState struct {
	Digest      Digest
	DesiredMode drift.Mode
	Observed    bool
	ObservedAt  time.Time
	Overrides   []string
}

// SourceState is how a source stands, by its last pass.
type SourceState struct {
	Name       string                `json:"name"`
	Holder     *Replica              `json:"-"`            // who has its lease; nil: nobody
	LastPassAt time.Time             `json:"last_pass_at"` // begin of the last pass that succeeded; zero: none yet
	Took       time.Duration         `json:"-"`
	Err        string                `json:"error"` // of the last attempt; "": it succeeded
	TriedAt    time.Time             `json:"tried_at"`
	Resolver   string                `json:"-"`
	Census     drift.Census          `json:"-"`
	Counts     map[drift.Verdict]int `json:"counts"`
	SurgeSince time.Time             `json:"surge_since"` // zero: none
	Surge      string                `json:"surge"`
	SurgeTold  time.Time             `json:"-"` // the last event about it
	Accepted   time.Time             `json:"-"` // an operator has accepted what changed, then; zero: nothing to accept
}

// Agreement is how much of the fleet has been read under one resolver, and how
// many modes it flipped: a changed registry is believed once most have.
type Agreement struct {
	Workspaces int // known, of all sources that have been read lately
	Read       int // of those, read under this resolver
	Flipped    int // of those, flipped
}

// ScopeKind says what a pause is for.
type ScopeKind string

// The kinds of scope; they are metric labels too.
const (
	ScopeAll       ScopeKind = "all"
	ScopeSource    ScopeKind = "source"
	ScopeWorkspace ScopeKind = "workspace"
)

// Scope is what a pause is for. Source and Workspace are set as Kind demands; of
// a workspace both.
type Scope struct {
	Kind      ScopeKind `json:"kind"`
	Source    string    `json:"source,omitempty"`
	Workspace string    `json:"workspace,omitempty"`
}

// Pause is a pause in force.
type Pause struct {
	Scope
	Observing bool       `json:"observing"` // passes are stopped too, not only acting
	Reason    string     `json:"reason"`
	By        string     `json:"by"`
	At        time.Time  `json:"at"`
	ExpiresAt *time.Time `json:"expires_at"` // nil: until resumed
}

// Suppression keeps quiet about findings that somebody has accepted for a time.
type Suppression struct {
	ID        int64      `json:"id"`
	Source    string     `json:"source"`
	Workspace string     `json:"workspace,omitempty"` // "": every workspace of the source
	Kind      drift.Kind `json:"kind,omitempty"`      // "": every kind
	Reason    string     `json:"reason"`
	By        string     `json:"by"`
	At        time.Time  `json:"at"`
	ExpiresAt time.Time  `json:"expires_at"`
}

// Look is a request to look at a workspace now.
type Look struct {
	ID        int64     `json:"id"`
	Source    string    `json:"source"`
	Workspace string    `json:"workspace"`
	Reason    string    `json:"reason"`
	By        string    `json:"by"`
	At        time.Time `json:"at"`
	HitAt     time.Time `json:"-"` // of the first billed call that asks for it; zero: none does
}
