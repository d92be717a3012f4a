package proxylog

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// LedgerOptions says how a Ledger counts.
type LedgerOptions struct {
	Billed Statuses
	Prices Prices // nil: a call costs what its line says, or is not known to cost anything
	// Grace is for calls that were in flight while a container was replaced:
	// until this long after its start they are no evidence.
	Grace time.Duration
	// Addresses is how many unattributed addresses are told apart; calls of
	// further ones are counted together. 0: 10,000.
	Addresses int
}

const defaultAddresses = 10_000

// Ledger counts hits by the workspace that they are attributed to. The order of
// hits does not matter, except for which unattributed addresses are told apart
// once there are too many. Not for concurrent use.
type Ledger struct {
	holders *Holders
	lives   map[string]time.Time
	options LedgerOptions

	traffic map[string]*drift.Traffic
	unknown map[string]bool // workspaces with a billed call whose cost is not known
	totals  Totals
	strays  map[netip.Addr]*Stray
	beyond  Stray
}

// Totals counts hits by attribution, whatever life of a workspace they belong to.
type Totals [Attributed + 1]struct{ Billed, Rejected int }

// Stray is what came from one address that no workspace of ours held.
type Stray struct {
	Addr     netip.Addr // not valid: lines without an address that can be read
	Billed   int
	Rejected int
	First    time.Time
	Last     time.Time
}

// NewLedger returns an empty Ledger. Lives gives the start of the present life
// of each workspace's container by the workspace's key: hits before it belong
// to the life before and are not counted. A start that is zero or not there is
// unknown, and the whole log counts. Lives is not copied.
func NewLedger(holders *Holders, lives map[string]time.Time, o LedgerOptions) *Ledger {
	if o.Addresses == 0 {
		o.Addresses = defaultAddresses
	}
	return &Ledger{
		holders: holders, lives: lives, options: o,
		traffic: map[string]*drift.Traffic{}, unknown: map[string]bool{}, strays: map[netip.Addr]*Stray{},
	}
}

// Add counts a hit and tells whose it was found to be. The slice is read only.
func (l *Ledger) Add(h *Hit) (Attribution, []string) {
	kind, keys := l.holders.Attribute(h)
	billed := l.options.Billed.Has(h.Status)
	count(&l.totals[kind].Billed, &l.totals[kind].Rejected, billed)
	switch kind {
	case Attributed:
		l.attributed(keys[0], h, billed)
	case Ambiguous:
		for _, key := range keys {
			if t := l.of(key); !h.Time.Before(t.Since) {
				t.Ambiguous++
			}
		}
	case Unattributed:
		l.stray(h, billed)
	}
	return kind, keys
}

func (l *Ledger) attributed(key string, h *Hit, billed bool) {
	t := l.of(key)
	if h.Time.Before(t.Since) {
		return // of its previous life
	}
	count(&t.Billed, &t.Rejected, billed)
	widen(&t.First, &t.Last, h.Time)
	if !billed {
		return
	}
	if h.Time.After(t.Since.Add(l.options.Grace)) {
		t.PastGrace++
	}
	if h.Workspace != (ID{}) {
		t.Named++
	}
	t.InputTokens += h.InputTokens
	t.OutputTokens += h.OutputTokens
	l.charge(key, t, h)
}

// charge adds what a billed call cost; one whose cost is not known makes the
// whole unknown.
func (l *Ledger) charge(key string, t *drift.Traffic, h *Hit) {
	cost, known := l.options.Prices.Cost(h)
	if !known || l.unknown[key] {
		l.unknown[key], t.CostUSD = true, nil
		return
	}
	if t.CostUSD == nil {
		t.CostUSD = new(float64)
	}
	*t.CostUSD += cost
}

func (l *Ledger) of(key string) *drift.Traffic {
	t := l.traffic[key]
	if t == nil {
		t = &drift.Traffic{Since: l.lives[key]}
		l.traffic[key] = t
	}
	return t
}

func (l *Ledger) stray(h *Hit, billed bool) {
	s := l.strays[h.Client]
	switch {
	case s != nil:
	case len(l.strays) < l.options.Addresses:
		s = &Stray{Addr: h.Client}
		l.strays[h.Client] = s
	default:
		s = &l.beyond
	}
	count(&s.Billed, &s.Rejected, billed)
	widen(&s.First, &s.Last, h.Time)
}

func count(billed, rejected *int, isBilled bool) {
	if isBilled {
		*billed++
	} else {
		*rejected++
	}
}

func widen(first, last *time.Time, at time.Time) {
	if first.IsZero() || at.Before(*first) {
		*first = at
	}
	if at.After(*last) {
		*last = at
	}
}

// Traffic is what was counted of a workspace; without a hit, zero counts since
// its start.
func (l *Ledger) Traffic(key string) drift.Traffic {
	if t := l.traffic[key]; t != nil {
		return *t
	}
	return drift.Traffic{Since: l.lives[key]}
}

// Totals counts all hits added.
func (l *Ledger) Totals() Totals { return l.totals }

// Strays lists the unattributed addresses, those with most billed calls first,
// then most rejected, then by address. What came from addresses beyond
// LedgerOptions.Addresses is in beyond.
func (l *Ledger) Strays() (strays []Stray, beyond Stray) {
	strays = make([]Stray, 0, len(l.strays))
	for _, s := range l.strays {
		strays = append(strays, *s)
	}
	slices.SortFunc(strays, func(a, b Stray) int {
		return cmp.Or(cmp.Compare(b.Billed, a.Billed), cmp.Compare(b.Rejected, a.Rejected), a.Addr.Compare(b.Addr))
	})
	return strays, l.beyond
}
