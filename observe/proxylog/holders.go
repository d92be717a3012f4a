package proxylog

import (
	"net/netip"
	"slices"
	"sort"
	"time"
)

// Holding says that an address was a workspace's for some time. Several
// workspaces behind one NAT address each have a holding of it.
type Holding struct {
	Addr      netip.Addr
	Workspace string    // the caller's own key of a workspace, such as source/id; opaque here
	From      time.Time // the first moment; zero: since ever
	Until     time.Time // the first moment no longer; zero: still
	// Uncertain: the address is the workspace's now, and nobody knows since
	// when. It may have held it at any time (From and Until are not looked at),
	// so its hits are ambiguous and accuse no one.
	Uncertain bool
}

// Named ties the id that a line may name to a workspace's key.
type Named struct {
	ID        string // uuid; what is none is left out
	Workspace string
}

// Attribution tells how sure it is whose a hit is. The zero value accuses no
// one.
type Attribution uint8

// The attributions.
const (
	Unattributed Attribution = iota // no workspace of ours
	Ambiguous                       // one of several, or perhaps one: nobody is accused
	Attributed                      // one workspace
)

var attributionNames = [...]string{"unattributed", "ambiguous", "attributed"}

// String is the attribution as a metric's label.
func (a Attribution) String() string {
	if int(a) < len(attributionNames) {
		return attributionNames[a]
	}
	return ""
}

// Holders knows who held which address when. It does not change once made, and
// may be used by several goroutines.
type Holders struct {
	spans map[netip.Addr][]span
	named map[ID]answer
}

// span is a stretch of time over which the answer for an address is the same;
// it ends where the next one begins.
type span struct {
	from   time.Time // zero: since ever
	answer answer
}

type answer struct {
	kind Attribution
	keys []string // sorted; one where attributed
}

// NewHolders makes an index of holdings, and of the ids that lines may name.
// Order does not matter, doubles do no harm, addresses are unmapped.
func NewHolders(holdings []Holding, named []Named) *Holders {
	byAddr := map[netip.Addr][]Holding{}
	for _, h := range holdings {
		if a := h.Addr.WithZone("").Unmap(); a.IsValid() && !h.never() {
			byAddr[a] = append(byAddr[a], h)
		}
	}
	out := &Holders{spans: make(map[netip.Addr][]span, len(byAddr)), named: make(map[ID]answer, len(named))}
	for a, held := range byAddr {
		out.spans[a] = spansOf(held)
	}
	for _, n := range named {
		if id, ok := ParseID(n.ID); ok {
			out.named[id] = among(append(slices.Clone(out.named[id].keys), n.Workspace), false)
		}
	}
	return out
}

func (h Holding) never() bool {
	return !h.Uncertain && !h.Until.IsZero() && !h.From.Before(h.Until)
}

// at tells whether the holding covers t. A zero t is the time before all.
func (h Holding) at(t time.Time) bool {
	if h.Uncertain {
		return true
	}
	started := h.From.IsZero() || (!t.IsZero() && !t.Before(h.From))
	return started && (h.Until.IsZero() || t.IsZero() || t.Before(h.Until))
}

// spansOf cuts time at every beginning and end of an address's holdings.
func spansOf(held []Holding) []span {
	cuts := []time.Time{{}}
	for _, h := range held {
		if !h.Uncertain {
			cuts = append(cuts, h.From.UTC(), h.Until.UTC())
		}
	}
	slices.SortFunc(cuts, time.Time.Compare)
	cuts = slices.CompactFunc(cuts, time.Time.Equal)
	out := make([]span, len(cuts))
	for i, t := range cuts {
		out[i] = span{t, holdersAt(held, t)}
	}
	return out
}

// holdersAt answers for the stretch that begins at t: a workspace that held
// the address for certain is not made uncertain by another holding of its own.
func holdersAt(held []Holding, t time.Time) answer {
	var keys []string
	var certain bool
	for _, h := range held {
		if h.at(t) {
			keys = append(keys, h.Workspace)
			certain = certain || !h.Uncertain
		}
	}
	return among(keys, !certain)
}

// among is the answer where one of keys it must be.
func among(keys []string, uncertain bool) answer {
	slices.Sort(keys)
	keys = slices.Compact(keys)
	switch {
	case len(keys) == 0:
		return answer{}
	case len(keys) == 1 && !uncertain:
		return answer{Attributed, keys}
	}
	return answer{Ambiguous, keys}
}

// Attribute tells whose h is: its workspace, those that it may be of, or none.
// A line that names a workspace is that one's, whatever its address (the proxy
// has checked the caller's token, an address may be shared); one that names a
// workspace which nobody knows is not ours, and its address accuses no one.
//
// The slice is shared: read only.
func (x *Holders) Attribute(h *Hit) (Attribution, []string) {
	if h.Workspace != (ID{}) {
		a := x.named[h.Workspace]
		return a.kind, a.keys
	}
	spans := x.spans[h.Client]
	i := sort.Search(len(spans), func(i int) bool { return spans[i].from.After(h.Time) })
	if i == 0 {
		return Unattributed, nil
	}
	a := spans[i-1].answer
	return a.kind, a.keys
}
