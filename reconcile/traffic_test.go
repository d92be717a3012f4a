package reconcile_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/reconcile"
)

// log attributes so many billed calls of each address as Life says it: to the
// one that holds it, and to nobody where there are several or the time of
// holding is not known.
type log struct {
	calls map[string]int
	named map[string]int // of lines that name a workspace
	err   error
	blind bool // it gives no answers at all

	lives [][]reconcile.Life // by call
}

func (l *log) Traffic(_ context.Context, lives []reconcile.Life) reconcile.Calls {
	l.lives = append(l.lives, lives)
	calls := reconcile.Calls{ByLife: make([]drift.Traffic, len(lives)), Lines: 1000, Err: l.err}
	byID := map[string]int{}
	for i, life := range lives {
		calls.ByLife[i].Since = life.Since
		byID[life.ID] = i
	}
	for id, n := range l.named {
		if i, ok := byID[id]; ok {
			bill(&calls.ByLife[i], n)
		} else {
			calls.Unattributed.Billed += n
		}
	}
	for a, n := range l.calls {
		var holders []int
		certain := true
		for i, life := range lives {
			for _, held := range life.Addresses {
				if held == netip.MustParseAddr(a) {
					holders, certain = append(holders, i), certain && !life.Since.IsZero()
				}
			}
		}
		switch {
		case len(holders) == 0:
			calls.Unattributed.Billed += n
			calls.Unattributed.Addresses = append(calls.Unattributed.Addresses, reconcile.AddressCount{Addr: netip.MustParseAddr(a), Billed: n})
		case len(holders) == 1 && certain:
			bill(&calls.ByLife[holders[0]], n)
		default:
			for _, i := range holders {
				calls.ByLife[i].Ambiguous += n
			}
		}
	}
	if l.blind {
		calls.ByLife = nil
	}
	return calls
}

func bill(t *drift.Traffic, n int) {
	t.Billed, t.PastGrace, t.First, t.Last = t.Billed+n, t.PastGrace+n, started.Add(time.Minute), now
}

var equalAddr = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

// The witness is given what a workspace's calls can be told by, in the order of
// the result; what is out of scope only by its id, and what was removed not.
func TestLives(t *testing.T) {
	p := pass(t, source("reno", "asleep", "removed", "seen", "external"), source("acme", "unreachable"))
	p.Observer = &observer{answers: map[string]drift.Observation{
		"i-seen":        fine("10.0.0.7", "203.0.113.7"),
		"i-unreachable": {State: drift.Unreachable, Reason: "ConnectionLost", Addresses: parse([]string{"10.0.0.9"})},
	}}
	w := rows(p.Sources[0]).workspaces
	w[0].InstanceID, w[1].Status, w[3].Runtime = "", "removed", ptr("external")
	witness := &log{calls: map[string]int{"203.0.113.7": 3}, named: map[string]int{"external": 50}}
	p.Witness = witness
	result := run(t, p)
	want := [][]reconcile.Life{{
		{Source: "reno", ID: "asleep"},
		{Source: "reno", ID: "seen", Addresses: parse([]string{"10.0.0.7", "203.0.113.7"}), Since: started},
		{Source: "reno", ID: "external"},
		{Source: "acme", ID: "unreachable", Addresses: parse([]string{"10.0.0.9"})},
	}}
	if diff := cmp.Diff(want, witness.lives, equalAddr, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("lives (-want +got):\n%s", diff)
	}
	for id, want := range map[string]*drift.Traffic{"asleep": {}, "removed": nil, "external": nil, "unreachable": {},
		"seen": {Since: started, Billed: 3, PastGrace: 3, First: started.Add(time.Minute), Last: now}} {
		if diff := cmp.Diff(want, judged(t, result, id).Traffic); diff != "" {
			t.Errorf("%s: traffic (-want +got):\n%s", id, diff)
		}
	}
	if result.Fleet != nil {
		t.Errorf("an external workspace's calls were nobody's: %+v", result.Fleet)
	}
}

func ptr[T any](v T) *T { return &v }

// Calls that were seen in half a log stand; that none were seen in it says
// nothing, of anybody.
func TestUnreadableLog(t *testing.T) {
	p := pass(t, source("reno", "quiet", "caught"))
	p.Observer = &observer{answers: map[string]drift.Observation{"i-caught": fine("203.0.113.7"), "i-quiet": fine("203.0.113.8")}}
	p.Witness = &log{calls: map[string]int{"203.0.113.7": 3}, err: errors.New("access.log: permission denied")}
	result := run(t, p)
	if got := judged(t, result, "quiet").Traffic; got.Err != "access.log: permission denied" {
		t.Errorf("quiet: %+v", got)
	}
	caught := judged(t, result, "caught")
	if diff := cmp.Diff([]drift.Kind{drift.ProxyTraffic}, kinds(caught)); diff != "" || caught.Traffic.Err != "" {
		t.Errorf("caught: %+v, findings (-want +got):\n%s", caught.Traffic, diff)
	}
	p.Witness = &log{blind: true}
	if got := judged(t, run(t, p), "caught").Traffic; got == nil || got.Err == "" {
		t.Errorf("a witness without answers acquits: %+v", got)
	}
}

func TestUnattributedTraffic(t *testing.T) {
	rows := []struct {
		name       string
		ours, lost int
		want       bool
	}{
		{"a few", 0, 10, false}, {"more than a few", 0, 11, true},
		{"one in a hundred", 990, 10, false}, {"just one in a hundred", 1089, 11, false}, {"more", 1088, 11, true}, {"none", 50, 0, false},
	}
	for _, row := range rows {
		p := pass(t, source("reno", "a"))
		p.Observer = &observer{answers: map[string]drift.Observation{"i-a": fine("203.0.113.7")}}
		p.Witness = &log{calls: map[string]int{"203.0.113.7": row.ours, "198.51.100.1": row.lost}}
		got := run(t, p).Fleet
		if (len(got) == 1) != row.want {
			t.Errorf("%s: got %+v", row.name, got)
		}
		if row.want && (got[0].Kind != drift.UnattributedTraffic || len(got[0].Evidence) != 1 || got[0].Remediable) {
			t.Errorf("%s: got %+v", row.name, got[0])
		}
	}
}
