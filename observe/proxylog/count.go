package proxylog

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"
)

// CountOptions says what is counted. The zero value counts every operation by
// address.
type CountOptions struct {
	ReadOptions
	By         []Column    // grouping, in the order of the rows' sorting; nil: by address. An empty, non-nil list gives one row
	Operations []Operation // nil: all
	Since      time.Time   // calls before are left out; zero: from the beginning
	Until      time.Time   // calls at or after are left out; zero: to the end
	Billed     Statuses
}

// Report is a count's result.
type Report struct {
	By    []Column
	Rows  []Row // sorted by the columns of By
	Stats Stats
}

// Row is one group. The fields that are not grouped by are zero.
type Row struct {
	IP        netip.Addr // not valid: the lines had none that could be read
	Minute    time.Time  // UTC
	Workspace ID
	Operation Operation
	Status    int
	Billed    int64
	Rejected  int64 // every status that is not billed
}

// Count reads inputs as Read does and counts their calls. Rows come with an
// error too: they count what could be read.
func Count(ctx context.Context, inputs []string, o CountOptions) (Report, error) {
	c := newCounter(&o)
	stats, err := Read(ctx, inputs, o.ReadOptions, c.add)
	return Report{By: c.by, Rows: c.sorted(), Stats: stats}, err
}

// group is a row's key: small, without pointers and without gaps, so that it
// hashes fast.
type group struct {
	ip        [16]byte // IPv4 as mapped; zero: none
	workspace ID
	minute    int64 // Unix minutes
	operation int32
	status    int32
}

type tally struct{ billed, rejected int64 }

type counter struct {
	by     []Column
	billed *Statuses

	ip, minute, workspace, operation, status bool
	wanted                                   [Responses + 1]bool
	since, until                             time.Time
	limited                                  bool // by one of them

	tallies map[group]*tally
	// Groups without minute and workspace, of IPv4 or no address, fit into a
	// word: a table a quarter as big stays in the processor's cache.
	small wordTable
}

func newCounter(o *CountOptions) *counter {
	c := &counter{by: o.By, billed: &o.Billed, since: o.Since, until: o.Until, tallies: map[group]*tally{}}
	if c.by == nil {
		c.by = []Column{ByIP}
	}
	c.limited = !c.since.IsZero() || !c.until.IsZero()
	c.ip = slices.Contains(c.by, ByIP)
	c.minute = slices.Contains(c.by, ByMinute)
	c.workspace = slices.Contains(c.by, ByWorkspace)
	c.operation = slices.Contains(c.by, ByOperation)
	c.status = slices.Contains(c.by, ByStatus)
	for op := Messages; op <= Responses; op++ {
		c.wanted[op] = o.Operations == nil || slices.Contains(o.Operations, op)
	}
	return c
}

func (c *counter) add(h *Hit) {
	if !c.wanted[h.Operation] || c.limited && (h.Time.Before(c.since) || (!c.until.IsZero() && !h.Time.Before(c.until))) {
		return
	}
	t := c.tallyOf(h)
	if c.billed.Has(h.Status) {
		t.billed++
	} else {
		t.rejected++
	}
}

func (c *counter) tallyOf(h *Hit) *tally {
	if !c.minute && !c.workspace && (!c.ip || h.Client.Is4()) {
		return c.small.at(c.word(h))
	}
	key := c.groupOf(h)
	t := c.tallies[key]
	if t == nil {
		t = &tally{}
		c.tallies[key] = t
	}
	return t
}

// word packs a small group: address, operation, status.
func (c *counter) word(h *Hit) uint64 {
	var w uint64
	if c.ip {
		ip := h.Client.As4()
		w = uint64(binary.BigEndian.Uint32(ip[:])) << 32
	}
	if c.operation {
		w |= uint64(h.Operation) << 16
	}
	if c.status {
		w |= uint64(h.Status) // #nosec G115 -- at most 999
	}
	return w
}

// unpack is the group of a word.
func (c *counter) unpack(w uint64) group {
	g := group{operation: int32(w >> 16 & 0xff), status: int32(w & 0xffff)} // #nosec G115 -- a byte, two bytes
	if c.ip {
		var ip [4]byte
		binary.BigEndian.PutUint32(ip[:], uint32(w>>32)) // #nosec G115 -- the upper half
		g.ip = netip.AddrFrom4(ip).As16()
	}
	return g
}

func (c *counter) groupOf(h *Hit) group {
	var g group
	if c.ip && h.Client.IsValid() {
		g.ip = h.Client.As16()
	}
	if c.minute {
		g.minute = floorMinute(h.Time.Unix())
	}
	if c.workspace {
		g.workspace = h.Workspace
	}
	if c.operation {
		g.operation = int32(h.Operation)
	}
	if c.status {
		g.status = int32(h.Status) // #nosec G115 -- at most 999
	}
	return g
}

// floorMinute is the minute that a second is in, before 1970 too.
func floorMinute(sec int64) int64 {
	m := sec / 60
	if sec%60 < 0 {
		m--
	}
	return m
}

// sorted gives the rows in the order of By: addresses by number (IPv4 as its
// mapped form, none first), operations in the order of their constants.
func (c *counter) sorted() []Row {
	for w, t := range c.small.all {
		c.tallies[c.unpack(w)] = t
	}
	groups := make([]group, 0, len(c.tallies))
	for g := range c.tallies {
		groups = append(groups, g)
	}
	slices.SortFunc(groups, c.compare)
	rows := make([]Row, len(groups))
	for i, g := range groups {
		t := c.tallies[g]
		rows[i] = Row{Workspace: g.workspace, Operation: Operation(g.operation), Status: int(g.status), Billed: t.billed, Rejected: t.rejected} // #nosec G115 -- it was an Operation
		if g.ip != [16]byte{} {
			rows[i].IP = netip.AddrFrom16(g.ip).Unmap()
		}
		if c.minute {
			rows[i].Minute = time.Unix(g.minute*60, 0).UTC()
		}
	}
	return rows
}

func (c *counter) compare(a, b group) int {
	for _, by := range c.by {
		order := 0
		switch by {
		case ByIP:
			order = bytes.Compare(a.ip[:], b.ip[:])
		case ByMinute:
			order = cmp.Compare(a.minute, b.minute)
		case ByWorkspace:
			order = bytes.Compare(a.workspace[:], b.workspace[:])
		case ByOperation:
			order = cmp.Compare(a.operation, b.operation)
		case ByStatus:
			order = cmp.Compare(a.status, b.status)
		}
		if order != 0 {
			return order
		}
	}
	return 0
}
