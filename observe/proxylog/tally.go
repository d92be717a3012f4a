package proxylog

import (
	"bytes"
	"net/netip"
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
	groups  groupTable
	now     Hit

	Lines         int64 // blank ones left out
	NotUnderstood int64
	Newest        time.Time // the latest time that a line tells; zero: none
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
	return &Tally{options: o}
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
	line = trimLine(line)
	if blank(line) {
		return
	}
	t.Lines++
	switch p.Parse(line, &t.now) {
	case NotUnderstood:
		t.NotUnderstood++
	case Call:
		t.Add(&t.now)
	}
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
	sec := h.Time.Unix()
	k := groupKey{workspace: h.Workspace, minute: floorMinute(sec), operation: uint8(h.Operation), class: uint8(h.Status / 100)} // #nosec G115 -- at most 9
	if h.Client.IsValid() {
		k.address = h.Client.As16()
	}
	within := (sec-k.minute*60)*int64(time.Second) + int64(h.Time.Nanosecond())
	t.groups.at(&k).add(h, within, t.options)
	if h.Time.After(t.Newest) {
		t.Newest = h.Time
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
	for i := range other.groups.count {
		g := other.groups.group(i)
		t.groups.at(&g.key).merge(&g.sums)
	}
	t.Lines += other.Lines
	t.NotUnderstood += other.NotUnderstood
	if other.Newest.After(t.Newest) {
		t.Newest = other.Newest
	}
}

// Len is the number of groups: a measure of the memory that is taken, about 200
// bytes each.
func (t *Tally) Len() int { return int(t.groups.count) }

// Groups lists what was counted by bucket, address, workspace, operation, class
// and minute: in the order in which it is written.
func (t *Tally) Groups() []Group {
	list := make([]Group, t.groups.count)
	for to, from := range t.groups.sorted() {
		t.groups.group(from).render(&list[to])
	}
	return list
}
