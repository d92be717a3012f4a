package proxylog_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

func minute(n int) time.Time { return moment.Add(time.Duration(n) * time.Minute) }

func held(addr, workspace string, from, until int) proxylog.Holding {
	h := proxylog.Holding{Addr: netip.MustParseAddr(addr), Workspace: workspace, From: minute(from)}
	if until != still {
		h.Until = minute(until)
	}
	return h
}

const still = -1

func TestAttribute(t *testing.T) {
	forever := proxylog.Holding{Addr: netip.MustParseAddr("192.0.2.5"), Workspace: "e"}
	perhaps := proxylog.Holding{Addr: netip.MustParseAddr("192.0.2.6"), Workspace: "f", From: minute(50), Uncertain: true}
	perhapsToo := proxylog.Holding{Addr: netip.MustParseAddr("192.0.2.1"), Workspace: "g", Uncertain: true}
	hold := func(more ...proxylog.Holding) []proxylog.Holding {
		return append([]proxylog.Holding{
			held("192.0.2.1", "a", 0, 10), held("192.0.2.1", "b", 10, still), // recycled
			held("192.0.2.2", "c", 0, still), held("192.0.2.2", "d", 5, 8), // NAT, for a while
			held("::ffff:192.0.2.3", "c", 0, still), held("192.0.2.4", "never", 5, 5),
			held("192.0.2.7", "h", 0, 5), held("192.0.2.7", "h", 3, still), // twice the same
			forever, perhaps,
		}, more...)
	}
	named := []proxylog.Named{{ID: workspaceID, Workspace: "n"}, {ID: "no uuid", Workspace: "x"},
		{ID: "11111111-1111-1111-1111-111111111111", Workspace: "p"}, {ID: "11111111-1111-1111-1111-111111111111", Workspace: "q"}}
	for _, tc := range []struct {
		rule, addr string
		at         int
		id         string
		more       []proxylog.Holding
		want       proxylog.Attribution
		keys       []string
	}{
		{"the holder then", "192.0.2.1", 9, "", nil, proxylog.Attributed, []string{"a"}},
		{"from its first moment", "192.0.2.1", 0, "", nil, proxylog.Attributed, []string{"a"}},
		{"no longer at its end", "192.0.2.1", 10, "", nil, proxylog.Attributed, []string{"b"}},
		{"still", "192.0.2.1", 1000, "", nil, proxylog.Attributed, []string{"b"}},
		{"nobody before the first", "192.0.2.1", -1, "", nil, proxylog.Unattributed, nil},
		{"NAT accuses no one", "192.0.2.2", 6, "", nil, proxylog.Ambiguous, []string{"c", "d"}},
		{"before the NAT", "192.0.2.2", 4, "", nil, proxylog.Attributed, []string{"c"}},
		{"after the NAT", "192.0.2.2", 8, "", nil, proxylog.Attributed, []string{"c"}},
		{"mapped is IPv4", "192.0.2.3", 1, "", nil, proxylog.Attributed, []string{"c"}},
		{"held for no time", "192.0.2.4", 5, "", nil, proxylog.Unattributed, nil},
		{"since ever", "192.0.2.5", -1e6, "", nil, proxylog.Attributed, []string{"e"}},
		{"uncertain, alone", "192.0.2.6", 60, "", nil, proxylog.Ambiguous, []string{"f"}},
		{"uncertain at any time", "192.0.2.6", -1e6, "", nil, proxylog.Ambiguous, []string{"f"}},
		{"uncertain clouds the certain", "192.0.2.1", 9, "", []proxylog.Holding{perhapsToo}, proxylog.Ambiguous, []string{"a", "g"}},
		{"two holdings of one workspace", "192.0.2.7", 4, "", nil, proxylog.Attributed, []string{"h"}},
		{"unknown address", "198.51.100.1", 1, "", nil, proxylog.Unattributed, nil},
		{"no address", "", 1, "", nil, proxylog.Unattributed, nil},
		{"a named workspace, NAT or not", "192.0.2.2", 6, workspaceID, nil, proxylog.Attributed, []string{"n"}},
		{"a named workspace, whoever held the address", "192.0.2.1", 1, workspaceID, nil, proxylog.Attributed, []string{"n"}},
		{"a named workspace, no address", "", 1, workspaceID, nil, proxylog.Attributed, []string{"n"}},
		{"an unknown name is not ours", "192.0.2.1", 1, "22222222-2222-2222-2222-222222222222", nil, proxylog.Unattributed, nil},
		{"a name of two", "192.0.2.1", 1, "11111111-1111-1111-1111-111111111111", nil, proxylog.Ambiguous, []string{"p", "q"}},
	} {
		h := proxylog.Hit{Time: minute(tc.at)}
		if tc.addr != "" {
			h.Client = netip.MustParseAddr(tc.addr)
		}
		h.Workspace, _ = proxylog.ParseID(tc.id)
		got, keys := proxylog.NewHolders(hold(tc.more...), named).Attribute(&h)
		if got != tc.want || !slices.Equal(keys, tc.keys) {
			t.Errorf("%s: got %v %v, want %v %v", tc.rule, got, keys, tc.want, tc.keys)
		}
	}
}

func TestUncertainBesideCertainOfTheSame(t *testing.T) {
	a := netip.MustParseAddr("192.0.2.1")
	x := proxylog.NewHolders([]proxylog.Holding{{Addr: a, Workspace: "w", Uncertain: true}, {Addr: a, Workspace: "w", From: minute(0)}}, nil)
	for at, want := range map[int]proxylog.Attribution{-1: proxylog.Ambiguous, 0: proxylog.Attributed} {
		if got, _ := x.Attribute(&proxylog.Hit{Time: minute(at), Client: a}); got != want {
			t.Errorf("minute %d: got %v, want %v", at, got, want)
		}
	}
}

func TestLedger(t *testing.T) {
	nat, own, stray := netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.1")
	x := proxylog.NewHolders([]proxylog.Holding{
		{Addr: own, Workspace: "w"}, {Addr: nat, Workspace: "w"}, {Addr: nat, Workspace: "v"},
	}, nil)
	l := proxylog.NewLedger(x, map[string]time.Time{"w": minute(10)}, proxylog.LedgerOptions{Grace: 2 * time.Minute, Addresses: 1})
	for _, h := range []struct {
		addr   netip.Addr
		at     int
		status int
	}{
		{own, 9, 200},  // of the life before
		{own, 10, 200}, // in flight
		{own, 12, 200}, // not later than the grace
		{own, 11, 429}, //
		{own, 13, 200}, // evidence
		{own, 14, 500}, // rejected is not billed, however late
		{nat, 9, 200},  // w's life before, but v's
		{nat, 15, 499}, {nat, 16, 400},
		{stray, 3, 200}, {stray, 1, 500},
		{netip.Addr{}, 5, 200}, // one address too many
	} {
		l.Add(&proxylog.Hit{Time: minute(h.at), Client: h.addr, Status: h.status})
	}
	for key, want := range map[string]drift.Traffic{
		"w":       {Since: minute(10), Billed: 3, PastGrace: 1, Rejected: 2, Ambiguous: 2, First: minute(10), Last: minute(14)},
		"v":       {Ambiguous: 3},
		"nobody":  {},
		"unknown": {},
	} {
		if diff := cmp.Diff(want, l.Traffic(key)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", key, diff)
		}
	}
	strays, beyond := l.Strays()
	opt := cmpopts.EquateComparable(netip.Addr{})
	if diff := cmp.Diff([]proxylog.Stray{{Addr: stray, Billed: 1, Rejected: 1, First: minute(1), Last: minute(3)}}, strays, opt); diff != "" {
		t.Errorf("strays (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(proxylog.Stray{Billed: 1, First: minute(5), Last: minute(5)}, beyond, opt); diff != "" {
		t.Errorf("beyond (-want +got):\n%s", diff)
	}
	var want proxylog.Totals
	want[proxylog.Attributed].Billed, want[proxylog.Attributed].Rejected = 4, 2
	want[proxylog.Ambiguous].Billed, want[proxylog.Ambiguous].Rejected = 2, 1
	want[proxylog.Unattributed].Billed, want[proxylog.Unattributed].Rejected = 2, 1
	if got := l.Totals(); got != want {
		t.Errorf("totals: got %v, want %v", got, want)
	}
}

func TestUnknownStartCountsTheWholeLog(t *testing.T) {
	a := netip.MustParseAddr("192.0.2.1")
	l := proxylog.NewLedger(proxylog.NewHolders([]proxylog.Holding{{Addr: a, Workspace: "w"}}, nil), nil, proxylog.LedgerOptions{Grace: time.Hour})
	l.Add(&proxylog.Hit{Time: minute(0), Client: a, Status: 200})
	want := drift.Traffic{Billed: 1, PastGrace: 1, First: minute(0), Last: minute(0)}
	if diff := cmp.Diff(want, l.Traffic("w")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestAttributionAgainstNaive draws holdings and hits and asks every holding
// whether it covers each hit; neither the holdings' order nor the hits' matters.
func TestAttributionAgainstNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		holdings := rapid.SliceOfN(rapid.Custom(drawHolding), 0, 8).Draw(t, "holdings")
		hits := rapid.SliceOfN(rapid.Custom(drawHit), 1, 20).Draw(t, "hits")
		lives := map[string]time.Time{"a": minute(4), "b": minute(6)}
		o := proxylog.LedgerOptions{Grace: time.Minute}
		holders := proxylog.NewHolders(holdings, nil)
		forth := proxylog.NewLedger(holders, lives, o)
		for i := range hits {
			got, keys := forth.Add(&hits[i])
			want, wantKeys := naive(holdings, &hits[i])
			if got != want || !slices.Equal(keys, wantKeys) {
				t.Fatalf("minute %v of %v: got %v %v, want %v %v", hits[i].Time.Sub(moment), hits[i].Client, got, keys, want, wantKeys)
			}
		}
		seed := rapid.Uint64().Draw(t, "seed")
		r := rand.New(rand.NewPCG(seed, 1))
		r.Shuffle(len(hits), func(i, j int) { hits[i], hits[j] = hits[j], hits[i] })
		r.Shuffle(len(holdings), func(i, j int) { holdings[i], holdings[j] = holdings[j], holdings[i] })
		back := proxylog.NewLedger(proxylog.NewHolders(holdings, nil), lives, o)
		for i := range hits {
			back.Add(&hits[i])
		}
		for _, key := range []string{"a", "b", "c"} {
			if diff := cmp.Diff(forth.Traffic(key), back.Traffic(key)); diff != "" {
				t.Fatalf("%s, in another order:\n%s", key, diff)
			}
		}
		if forth.Totals() != back.Totals() {
			t.Fatalf("totals: %v, in another order %v", forth.Totals(), back.Totals())
		}
	})
}

var drawAddr = rapid.SampledFrom([]netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")})

func drawHolding(t *rapid.T) proxylog.Holding {
	h := proxylog.Holding{Addr: drawAddr.Draw(t, "addr"), Workspace: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key")}
	if from := rapid.IntRange(-1, 10).Draw(t, "from"); from >= 0 {
		h.From = minute(from)
	}
	if until := rapid.IntRange(-1, 10).Draw(t, "until"); until >= 0 {
		h.Until = minute(until)
	}
	h.Uncertain = rapid.IntRange(0, 9).Draw(t, "uncertain") == 0
	return h
}

func drawHit(t *rapid.T) proxylog.Hit {
	return proxylog.Hit{
		Time: minute(rapid.IntRange(-2, 12).Draw(t, "at")), Client: drawAddr.Draw(t, "client"),
		Status: rapid.SampledFrom([]int{200, 429, 499}).Draw(t, "status"),
	}
}

func naive(holdings []proxylog.Holding, h *proxylog.Hit) (proxylog.Attribution, []string) {
	possible, certain := map[string]bool{}, false
	for _, x := range holdings {
		covers := !x.From.After(h.Time) && (x.Until.IsZero() || x.Until.After(h.Time))
		if x.Addr == h.Client && (covers || x.Uncertain) {
			possible[x.Workspace] = true
			certain = certain || !x.Uncertain
		}
	}
	var keys []string
	for k := range possible {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	switch {
	case len(keys) == 0:
		return proxylog.Unattributed, nil
	case len(keys) == 1 && certain:
		return proxylog.Attributed, keys
	}
	return proxylog.Ambiguous, keys
}
