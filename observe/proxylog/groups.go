package proxylog

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"
)

// tallied is one group of a Tally.
type tallied struct {
	key groupKey
	sums
}

// sums are Counts, whose times are nanoseconds since the group's minute began,
// plus one: 0 is none.
type sums struct {
	billed, rejected, input, output, untold int64
	costUSD                                 float64
	unpriced                                int64
	first, last, lastBilled                 int64
}

// add counts a call that was made within nanoseconds of the group's minute.
func (s *sums) add(h *Hit, within int64, o *TallyOptions) {
	within++
	if s.first == 0 || within < s.first {
		s.first = within
	}
	s.last = max(s.last, within)
	if !o.Billed.Has(h.Status) {
		s.rejected++
		return
	}
	s.billed++
	s.lastBilled = max(s.lastBilled, within)
	s.input += h.InputTokens
	s.output += h.OutputTokens
	if h.InputTokens == 0 && h.OutputTokens == 0 {
		s.untold++
	}
	if cost, known := o.Prices.Cost(h); known {
		s.costUSD += cost
	} else {
		s.unpriced++
	}
}

// merge adds what another tally has counted of the same group.
func (s *sums) merge(other *sums) {
	s.billed += other.billed
	s.rejected += other.rejected
	s.input += other.input
	s.output += other.output
	s.untold += other.untold
	s.costUSD += other.costUSD
	s.unpriced += other.unpriced
	if s.first == 0 || other.first < s.first {
		s.first = other.first
	}
	s.last = max(s.last, other.last)
	s.lastBilled = max(s.lastBilled, other.lastBilled)
}

// render writes the group as others know it.
func (g *tallied) render(to *Group) {
	k := &g.key
	to.Bucket = time.Unix(k.bucket()*int64(Bucket/time.Second), 0).UTC()
	if k.address != [16]byte{} {
		to.Address = netip.AddrFrom16(k.address).Unmap()
	}
	to.Workspace, to.Operation, to.Class = k.workspace, Operation(k.operation), int(k.class)
	to.Counts = Counts{
		Billed: g.billed, Rejected: g.rejected, Input: g.input, Output: g.output, Untold: g.untold, CostUSD: g.costUSD, Unpriced: g.unpriced,
		First: k.moment(g.first), Last: k.moment(g.last), LastBilled: k.moment(g.lastBilled),
	}
}

func (k *groupKey) moment(within int64) time.Time {
	if within == 0 {
		return time.Time{}
	}
	return time.Unix(k.minute*60, within-1).UTC()
}

// standing is what decides about most groups' places in the order: so much is
// sorted, not the groups, which are ten times as big.
type standing struct {
	bucket int64
	kind   uint32 // of address: none, IPv4, IPv6
	number uint32
	high   uint64
	low    uint64
	tie    uint64 // operation, class and minute
}

// sorted gives the groups' numbers in the order of Groups.
func (t *groupTable) sorted() []uint32 {
	list := make([]standing, t.count)
	for n := range t.count {
		k := &t.group(n).key
		list[n] = standing{
			bucket: k.bucket(), kind: k.kind(), number: n,
			high: binary.BigEndian.Uint64(k.address[:]), low: binary.BigEndian.Uint64(k.address[8:]),
			tie: uint64(k.operation)<<16 | uint64(k.class)<<8 | uint64(k.minute-k.bucket()*bucketMinutes), // #nosec G115 -- below 5
		}
	}
	slices.SortFunc(list, func(a, b standing) int {
		switch {
		case a.bucket != b.bucket:
			return cmp.Compare(a.bucket, b.bucket)
		case a.kind != b.kind:
			return cmp.Compare(a.kind, b.kind)
		case a.high != b.high:
			return cmp.Compare(a.high, b.high)
		case a.low != b.low:
			return cmp.Compare(a.low, b.low)
		case t.named:
			one, other := &t.group(a.number).key, &t.group(b.number).key
			return cmp.Or(bytes.Compare(one.workspace[:], other.workspace[:]), cmp.Compare(a.tie, b.tie))
		}
		return cmp.Compare(a.tie, b.tie)
	})
	numbers := make([]uint32, len(list))
	for i := range list {
		numbers[i] = list[i].number
	}
	return numbers
}

const bucketMinutes = int64(Bucket / time.Minute)

// bucket is the number of the bucket that the minute is in.
func (k *groupKey) bucket() int64 {
	b := k.minute / bucketMinutes
	if k.minute%bucketMinutes < 0 {
		b--
	}
	return b
}

func (k *groupKey) kind() uint32 {
	mapped := [12]byte{10: 0xff, 11: 0xff}
	switch {
	case k.address == [16]byte{}:
		return 0
	case [12]byte(k.address[:12]) == mapped:
		return 1
	}
	return 2
}
