package store

import (
	"encoding/json"
	"net/netip"
	"time"
)

// UUID is a workspace's id as the traffic tables have it; the zero value is
// none.
type UUID = [16]byte

// AttributionKind says how it is known whose calls are; the number is stored.
type AttributionKind int16

// The kinds of attribution.
const (
	Nobodys   AttributionKind = iota // no workspace of ours held the address
	Doubtful                         // several may have made them
	ByAddress                        // one held the address then
	ByName                           // the line names the workspace
)

// Calls are calls of one address, and of the workspace that their lines name if
// any, counted together.
type Calls struct {
	Bucket    time.Time  // five minutes, the beginning
	Address   netip.Addr // not valid: none that could be read
	Named     UUID
	Operation int16
	Class     int16 // status / 100; 0: none was sent

	Billed, Rejected int64
	Input, Output    int64 // tokens of billed calls, as far as lines tell
	Untold           int64 // billed calls whose tokens no line tells
	CostUSD          float64
	Unpriced         int64 // billed calls whose cost is not known
	First, Last      time.Time
	LastBilled       time.Time // zero: none was billed
}

// Owner is whose calls are.
type Owner struct {
	Kind      AttributionKind
	Source    string // "": nobody's
	Workspace UUID   // without a source: what the line names, if anything
}

// Tenure is a time for which a workspace held an address.
type Tenure struct {
	Address   netip.Addr
	Source    string
	Workspace UUID
	From      time.Time
	Until     time.Time // zero: still
}

// Named is a workspace that a line may name.
type Named struct {
	Source    string
	Workspace UUID
}

// Attributor decides whose calls are, by all that is known of their addresses
// and of the names in them. It is pure.
type Attributor func(tenures []Tenure, named []Named) func(*Calls) Owner

// Move is an input's position that is moved: only where it stands at From, or
// where From is NoPosition and there is none.
type Move struct {
	Key      string
	From, To int64           // To NoPosition: it is removed
	Detail   json.RawMessage // nil: none
}

// NoPosition stands for a position that is not there.
const NoPosition = -1

// Counting is a batch to be counted.
type Counting struct {
	Input  Input
	ID     string // "": it is not recognised when it comes again
	Calls  []Calls
	Moves  []Move
	Lines  int64
	Unread int64     // of those, not understood
	Newest time.Time // the latest time that a line tells; zero: none
}

// Input is where lines come from.
type Input struct {
	Name        string
	Host        string        // whose files they are; "": of all replicas
	SilentAfter time.Duration // without a line, it is told to be blind; 0: it may be silent
}

// Counted is what became of a batch.
type Counted struct {
	Owners []Owner // of Counting.Calls, in their order
	// Guarded are the workspaces among them that the platform must not pay for.
	Guarded map[Named]bool
	// Asked are those of which a look was asked for: no open drift tells of it.
	Asked int
}

// Heard is what the logs tell of one workspace's present life.
type Heard struct {
	Billed, Rejected int64
	PastGrace        int64
	Doubtful         int64 // from addresses that it shares
	Named            int64 // of Billed: lines name the workspace
	Elsewhere        int64 // of Named: from an address that it does not hold
	Input, Output    int64
	CostUSD          float64
	Unpriced         int64
	First, Last      time.Time
}

// Listener is a workspace to be told about, in its present life.
type Listener struct {
	Workspace string
	Since     time.Time // zero: since ever
	Addresses []netip.Addr
}
