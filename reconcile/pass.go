// Package reconcile is the loop: it walks every workspace from what it should
// be, over what it was seen to be, to a verdict. A pass reads, observes,
// compares and diagnoses; it writes nothing, so that the command that looks
// once and the daemon that looks for months share one walk.
//
// It declares what it needs of the world as interfaces and knows none of the
// packages that fulfil them.
package reconcile

import (
	"context"
	"net/netip"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Selection says which workspaces of a source to read.
type Selection struct {
	IDs         []string  // full ids; empty: all
	Key         drift.Key // fingerprint stored credentials under it; "": leave them alone
	Credentials []string  // names to fingerprint
}

// Reader reads one source's workspaces, streamed, within bounds of time of its
// own. A workspace given to yield
// is the callee's to keep.
type Reader interface {
	Workspaces(ctx context.Context, sel Selection, yield func(*drift.Workspace) error) error
}

// Resolver derives what a workspace should be.
type Resolver interface {
	drift.Derivation
	Desired(w *drift.Workspace) drift.Desired
}

// Target is a workspace's instance, to be looked at.
type Target struct {
	Source     string
	InstanceID string
}

// Observer looks at instances. It gives one observation for every target, in
// their order, and a reason for each that it could not look at.
type Observer interface {
	Observe(ctx context.Context, key drift.Key, targets []Target) []drift.Observation
}

// Neighbours is what an Observer may be besides: it tells the addresses of
// instances without looking into them (the inventory's, no command is run). It
// gives one observation for every target, in their order, of which Addresses
// alone counts. A pass over some workspaces asks it, lest calls be taken for
// theirs that another workspace of the same address made.
type Neighbours interface {
	Neighbours(ctx context.Context, targets []Target) []drift.Observation
}

// Hurried is what an Observer may be besides: it has another for a few targets
// that a person waits for.
type Hurried interface {
	Urgently() Observer
}

// Life is what a workspace's calls can be told by: the addresses its instance
// has, and since when.
type Life struct {
	Source, ID string // ID "": somebody unknown, who may hold the addresses
	Addresses  []netip.Addr
	Since      time.Time // start of the container; zero: not known, so that its addresses make calls doubtful and accuse no one
	Paid       bool      // the platform pays for it: its calls accuse no one
}

// Unattributed are billable calls that no workspace could have made.
type Unattributed struct {
	Billed, Rejected int
	Addresses        []AddressCount // the busiest first; bounded
}

// AddressCount counts the calls of one address.
type AddressCount struct {
	Addr             netip.Addr
	Billed, Rejected int
}

// Calls is what the proxy logs say.
type Calls struct {
	ByLife       []drift.Traffic // one for every life, in their order
	Unattributed Unattributed    // means nothing where Result.Partial
	Lines        int64
	Skipped      int64 // lines not understood
	Err          error // a log could not be read whole: what was not read accuses and acquits no one
}

// Witness reads the proxy logs for the lives given.
type Witness interface {
	Traffic(ctx context.Context, lives []Life) Calls
}

// Platform is a tenant's own API, as far as a pass asks it.
type Platform interface {
	ReadMode(ctx context.Context, id string) drift.ReadEndpoint
}

// Source is one tenant.
type Source struct {
	Name     string
	Reader   Reader
	Platform Platform // nil: the read endpoint is not asked
	Asks     int      // how often a pass may ask it; 0: not at all
	Actor    Actor    // nil: nothing can be done about its workspaces
	Remedy   drift.Remedy
}

// Judged is one workspace after a pass.
type Judged struct {
	drift.Facts
	Verdict   drift.Verdict
	Reason    string // where the verdict is unknown or skipped
	Findings  []drift.Finding
	Causes    []drift.Cause // empty without a mode mismatch; the first decides
	Judgement drift.Judgement
}

// SourceResult says how the reading of a source went.
type SourceResult struct {
	Name       string
	Workspaces int
	Err        error
	Took       time.Duration // of the reading
}

// Result is what a pass found.
type Result struct {
	At         time.Time
	Took       time.Duration
	Partial    bool     // not every workspace was walked: what none of these did is not nobody's
	Workspaces []Judged // by source, in the order of the database
	Sources    []SourceResult
	Traffic    *Calls          // nil: no log is configured
	Fleet      []drift.Finding // of no single workspace; none where Partial
}
