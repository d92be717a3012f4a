package store

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// held is a stored holding, or one to be stored.
type held struct {
	id        int64 // 0: not stored yet
	source    string
	workspace string
	address   netip.Addr
	since     time.Time
	until     time.Time // zero: it holds on
	confirmed time.Time // when it was last seen to hold
	exclusive bool
	taken     bool // it ended because another was seen with the address
	changed   bool
}

// learn decides what follows from seeing that a workspace holds an address,
// given all that is stored of the address: it changes what is stored, and gives
// the list with the new holding. The workspace has no present one of it.
//
// Where somebody else was thought to be the only holder and was last seen so
// before the new one began, the address was recycled. Else both hold it, behind
// one NAT address: from then on it does not tell who calls. What is shared
// already stays so, though all were last seen before: better nobody is accused
// than the wrong one.
func learn(fresh held, stored []held) []held {
	fresh.exclusive, fresh.changed = !private(fresh.address), true
	slices.SortStableFunc(stored, func(a, b held) int { return cmp.Or(ended(a, b), a.until.Compare(b.until)) })
	for i := range stored {
		h := &stored[i]
		switch {
		case !h.until.IsZero():
			fresh.follow(h)
		case !h.exclusive:
			fresh.exclusive = false
		case fresh.since.After(h.confirmed):
			h.until, h.taken, h.changed = fresh.since, true, true
		default:
			h.exclusive, h.changed = false, true
			fresh.exclusive = false
		}
	}
	return append(stored, fresh)
}

// ended orders what has ended before what goes on.
func ended(a, b held) int {
	switch over := !a.until.IsZero(); {
	case over == !b.until.IsZero():
		return 0
	case over:
		return -1
	}
	return 1
}

// follow makes h begin after a holding that has ended. Where that was last seen
// before h began, it is better known now when it ended.
func (h *held) follow(past *held) {
	own := past.source == h.source && past.workspace == h.workspace
	switch {
	case !past.exclusive && !own || !past.until.After(h.since):
	case !own && h.since.After(past.confirmed):
		past.until, past.changed = h.since, true
	default:
		h.since = past.until
	}
}

// plain is the address as one family and without a zone: IPv4 mapped into IPv6
// is IPv4.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// carrier are the addresses of carrier-grade NAT (RFC 6598), which IsPrivate
// leaves out.
var carrier = netip.MustParsePrefix("100.64.0.0/10")

// private tells whether an address is one of many networks at once, so that
// holding it says nothing about who else does.
func private(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() || carrier.Contains(a)
}
