package proxylog

import (
	"bytes"
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// Bucket is the length of time over which calls are counted together.
const Bucket = 5 * time.Minute

// TallyOptions says how lines become counts. It is shared by many tallies and
// not changed.
type TallyOptions struct {
	Billed  Statuses
	Proxies Proxies // whose X-Forwarded-For is believed
	Prices  Prices  // nil: a call costs what its line says, or is not known to cost anything
}

// Tally counts the calls of lines by address, the workspace that a line names,
// minute, operation and status class: as much as fits into memory, to be counted
// for good by whoever knows who held the addresses. Not for concurrent use.
type Tally struct {
	options *TallyOptions
	groups  map[tallyKey]*Counts
	now     Hit

	Lines         int64 // blank ones left out
	NotUnderstood int64
	Newest        time.Time // the latest time that a line tells; zero: none
}

// tallyKey has no pointers and no gaps, so that it hashes fast.
type tallyKey struct {
	address   [16]byte // IPv4 as mapped; zero: none
	workspace ID
	minute    int64 // Unix minutes
	operation uint8
	class     uint8 // status / 100; 0: none was sent
	_         [6]byte
}

// Counts are calls that were counted together.
type Counts struct {
	Billed   int64
	Rejected int64
	Input    int64 // tokens of billed calls, as far as lines tell
	Output   int64
	Untold   int64   // billed calls whose tokens no line tells
	CostUSD  float64 // of billed calls, as far as it is known
	Unpriced int64   // billed calls whose cost is not known
	First    time.Time
	Last     time.Time
	// LastBilled is zero where nothing was billed.
	LastBilled time.Time
}

// Group is one row of a tally.
type Group struct {
	Bucket    time.Time  // UTC, the beginning
	Address   netip.Addr // not valid: the lines had none that could be read
	Workspace ID         // that the lines named; zero: none
	Operation Operation
	Class     int // status / 100; 0: none was sent
	Counts
}

// NewTally returns an empty Tally.
func NewTally(o *TallyOptions) *Tally {
	return &Tally{options: o, groups: map[tallyKey]*Counts{}}
}

// Feed counts the whole lines at the beginning of text and tells how many bytes
// they are, the last newline included. What is behind it is to be given again,
// with more.
func (t *Tally) Feed(p *Parser, text []byte) (consumed int) {
	for {
		i := bytes.IndexByte(text[consumed:], '\n')
		if i < 0 {
			return consumed
		}
		t.Line(p, text[consumed:consumed+i])
		consumed += i + 1
	}
}

// Line counts one line, with or without a carriage return at its end.
func (t *Tally) Line(p *Parser, line []byte) {
	give(line, func(line []byte) {
		t.Lines++
		switch p.Parse(line, &t.now) {
		case NotUnderstood:
			t.NotUnderstood++
		case Call:
			t.Add(&t.now)
		}
	})
}

// Skip counts a line that is too long to be read.
func (t *Tally) Skip() {
	t.Lines++
	t.NotUnderstood++
}

// Add counts a call as Parse left it.
func (t *Tally) Add(h *Hit) {
	if len(h.Forwarded) > 0 && len(t.options.Proxies) > 0 {
		h.Client = t.options.Proxies.Client(h.Peer, h.Forwarded)
	}
	k := tallyKey{workspace: h.Workspace, minute: floorMinute(h.Time.Unix()), operation: uint8(h.Operation), class: uint8(h.Status / 100)} // #nosec G115 -- at most 9
	if h.Client.IsValid() {
		k.address = h.Client.As16()
	}
	c := t.groups[k]
	if c == nil {
		c = &Counts{First: h.Time, Last: h.Time}
		t.groups[k] = c
	}
	c.add(h, t.options)
	if h.Time.After(t.Newest) {
		t.Newest = h.Time
	}
}

func (c *Counts) add(h *Hit, o *TallyOptions) {
	widen(&c.First, &c.Last, h.Time)
	if !o.Billed.Has(h.Status) {
		c.Rejected++
		return
	}
	c.Billed++
	if h.Time.After(c.LastBilled) {
		c.LastBilled = h.Time
	}
	c.Input += h.InputTokens
	c.Output += h.OutputTokens
	if h.InputTokens == 0 && h.OutputTokens == 0 {
		c.Untold++
	}
	if cost, known := o.Prices.Cost(h); known {
		c.CostUSD += cost
	} else {
		c.Unpriced++
	}
}

// Merge adds other's counts.
func (c *Counts) Merge(other *Counts) {
	c.Billed += other.Billed
	c.Rejected += other.Rejected
	c.Input += other.Input
	c.Output += other.Output
	c.Untold += other.Untold
	c.CostUSD += other.CostUSD
	c.Unpriced += other.Unpriced
	widen(&c.First, &c.Last, other.First)
	widen(&c.First, &c.Last, other.Last)
	if other.LastBilled.After(c.LastBilled) {
		c.LastBilled = other.LastBilled
	}
}

// Merge takes over what other has counted; other is not to be used any more.
func (t *Tally) Merge(other *Tally) {
	for k, c := range other.groups {
		if own := t.groups[k]; own != nil {
			own.Merge(c)
		} else {
			t.groups[k] = c
		}
	}
	t.Lines += other.Lines
	t.NotUnderstood += other.NotUnderstood
	if other.Newest.After(t.Newest) {
		t.Newest = other.Newest
	}
}

// Len is the number of groups: a measure of the memory that is taken, about 200
// bytes each.
func (t *Tally) Len() int { return len(t.groups) }

// Groups lists what was counted by minute, address, workspace, operation and
// class: in the order in which it is written.
func (t *Tally) Groups() []Group {
	list := make([]Group, 0, len(t.groups))
	for k, c := range t.groups {
		g := Group{Bucket: time.Unix(k.minute*60, 0).UTC().Truncate(Bucket), Workspace: k.workspace, Operation: Operation(k.operation), Class: int(k.class), Counts: *c}
		if k.address != [16]byte{} {
			g.Address = netip.AddrFrom16(k.address).Unmap()
		}
		list = append(list, g)
	}
	slices.SortFunc(list, func(a, b Group) int {
		return cmp.Or(a.Bucket.Compare(b.Bucket), a.Address.Compare(b.Address), bytes.Compare(a.Workspace[:], b.Workspace[:]),
			cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Class, b.Class), a.First.Compare(b.First))
	})
	return list
}
