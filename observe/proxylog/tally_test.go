package proxylog_test

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

var (
	tallyOptions = &proxylog.TallyOptions{Proxies: proxylog.Proxies{netip.MustParsePrefix("10.0.0.0/8")}}
	byValue      = cmpopts.EquateComparable(netip.Addr{})
)

// drawTallied draws from few values, so that many hits fall into one group. Costs
// are sums of halves: adding them in another order changes nothing.
func drawTallied(r *rand.Rand) proxylog.Hit {
	h := proxylog.Hit{
		Time:      time.Unix(r.Int64N(4000)-2000, r.Int64N(3)*333).UTC(),
		Operation: proxylog.Operation(1 + r.IntN(4)),
		Status:    []int{0, 200, 204, 404, 429, 499, 503}[r.IntN(7)],
		CostUSD:   float64(r.IntN(8)) / 2, CostKnown: r.IntN(3) > 0,
		InputTokens: r.Int64N(3), OutputTokens: r.Int64N(2),
	}
	if r.IntN(5) > 0 {
		h.Client = netip.MustParseAddr(pick(r, "192.0.2.1", "192.0.2.2", "2001:db8::1", "::1", "1.2.3.4"))
	}
	if r.IntN(3) == 0 {
		h.Workspace = proxylog.ID{byte(1 + r.IntN(3))}
	}
	return h
}

func tallyOf(hits []proxylog.Hit) *proxylog.Tally {
	t := proxylog.NewTally(tallyOptions)
	for i := range hits {
		t.Lines++
		t.Add(&hits[i])
	}
	return t
}

// naiveGroups counts hits by the text of what they are grouped by.
func naiveGroups(hits []proxylog.Hit) []proxylog.Group {
	groups := map[string]*proxylog.Group{}
	for _, h := range hits {
		minute := h.Time.Truncate(time.Minute)
		key := fmt.Sprint(minute, h.Client, h.Workspace, h.Operation, h.Status/100)
		g := groups[key]
		if g == nil {
			g = &proxylog.Group{Bucket: h.Time.Truncate(proxylog.Bucket), Address: h.Client, Workspace: h.Workspace, Operation: h.Operation, Class: h.Status / 100}
			g.First, g.Last = h.Time, h.Time
			groups[key] = g
		}
		one := proxylog.Counts{Rejected: 1, First: h.Time, Last: h.Time}
		if h.Status/100 == 2 || h.Status == 499 {
			one = proxylog.Counts{Billed: 1, Input: h.InputTokens, Output: h.OutputTokens, First: h.Time, Last: h.Time, LastBilled: h.Time}
			if h.InputTokens+h.OutputTokens == 0 {
				one.Untold = 1
			}
			if one.CostUSD = h.CostUSD; !h.CostKnown {
				one.CostUSD, one.Unpriced = 0, 1
			}
		}
		g.Merge(&one)
	}
	var list []proxylog.Group
	for _, g := range groups {
		list = append(list, *g)
	}
	slices.SortFunc(list, func(a, b proxylog.Group) int {
		return cmp.Or(a.Bucket.Compare(b.Bucket), a.Address.Compare(b.Address), bytes.Compare(a.Workspace[:], b.Workspace[:]),
			cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Class, b.Class), a.First.Compare(b.First))
	})
	return list
}

func TestTallyAgainstMap(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for _, n := range []int{0, 1, 15, 16, 17, 33, 1000, 30_000} {
		hits := make([]proxylog.Hit, n)
		for i := range hits {
			hits[i] = drawTallied(r)
		}
		tally := tallyOf(hits)
		want := naiveGroups(hits)
		if got := tally.Groups(); !slices.Equal(want, got) {
			t.Fatalf("%d hits (-want +got):\n%s", n, gocmp.Diff(want, got, byValue, cmpopts.EquateEmpty()))
		}
		if tally.Len() != len(want) {
			t.Errorf("length: got %d, want %d", tally.Len(), len(want))
		}
		latest := time.Time{}
		for _, h := range hits {
			if h.Time.After(latest) {
				latest = h.Time
			}
		}
		if !tally.Newest.Equal(latest) {
			t.Errorf("newest: got %v, want %v", tally.Newest, latest)
		}
	}
}

// result is all that a tally tells.
type result struct {
	Groups               []proxylog.Group
	Lines, NotUnderstood int64
	Newest               time.Time
}

func resultOf(t *proxylog.Tally) result {
	return result{t.Groups(), t.Lines, t.NotUnderstood, t.Newest}
}

func checkResult(t *testing.T, rule string, want, got result) {
	t.Helper()
	// All are UTC, and equal where they are the same: the difference is slow.
	if a, b := want, got; slices.Equal(a.Groups, b.Groups) && a.Lines == b.Lines && a.NotUnderstood == b.NotUnderstood && a.Newest.Equal(b.Newest) {
		return
	}
	if diff := gocmp.Diff(want, got, byValue, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", rule, diff)
	}
}

// TestTallyMerge: however hits are dealt out to tallies and those joined, the
// sum is that of one tally of all.
func TestTallyMerge(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for range 50 {
		hits := make([]proxylog.Hit, r.IntN(400))
		for i := range hits {
			hits[i] = drawTallied(r)
		}
		one, two := 0, 0
		if len(hits) > 0 {
			one = r.IntN(len(hits))
			two = one + r.IntN(len(hits)-one)
		}
		parts := func() (a, b, c *proxylog.Tally) {
			return tallyOf(hits[:one]), tallyOf(hits[one:two]), tallyOf(hits[two:])
		}
		want := resultOf(tallyOf(hits))
		a, b, c := parts()
		a.Merge(b)
		a.Merge(c)
		checkResult(t, "(a+b)+c", want, resultOf(a))
		a, b, c = parts()
		b.Merge(c)
		a.Merge(b)
		checkResult(t, "a+(b+c)", want, resultOf(a))
		a, b, c = parts()
		c.Merge(a)
		c.Merge(b)
		checkResult(t, "(c+a)+b", want, resultOf(c))
	}
}

func goldenText(t testing.TB) []byte {
	var text []byte
	for _, name := range []string{"combined", "json", "alb"} {
		part, err := os.ReadFile("testdata/golden/" + name + ".log")
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, part...)
	}
	return text
}

// fed is what comes of text that arrives in pieces of random length, each
// joined to what was left of the one before.
func fed(text []byte, r *rand.Rand) result {
	tally, p := proxylog.NewTally(tallyOptions), proxylog.NewParser(proxylog.Auto)
	var rest []byte
	for len(text) > 0 {
		n := min(1+r.IntN(1+r.IntN(400)), len(text))
		rest = append(rest, text[:n]...)
		text = text[n:]
		rest = rest[tally.Feed(p, rest):]
	}
	tally.Line(p, rest)
	return resultOf(tally)
}

func byLine(text []byte) result {
	tally, p := proxylog.NewTally(tallyOptions), proxylog.NewParser(proxylog.Auto)
	for _, line := range bytes.Split(text, []byte("\n")) {
		tally.Line(p, line)
	}
	return resultOf(tally)
}

func TestFeedInPieces(t *testing.T) {
	text := goldenText(t)
	want := byLine(text)
	if want.Lines < 50 || len(want.Groups) < 10 || want.NotUnderstood == 0 {
		t.Fatalf("the logs show too little: %d lines, %d groups", want.Lines, len(want.Groups))
	}
	r := rand.New(rand.NewPCG(13, 14))
	for range 200 {
		checkResult(t, "pieces", want, fed(text, r))
	}
}

// FuzzFeed: any cutting of any text gives what its lines give.
func FuzzFeed(f *testing.F) {
	r := rand.New(rand.NewPCG(15, 16))
	for seed := range uint64(10) {
		f.Add([]byte(drawCombined(r)+"\r\n"+drawJSON(r)+"\n\n"+drawCombined(r)), seed)
	}
	f.Fuzz(func(t *testing.T, text []byte, seed uint64) {
		checkResult(t, fmt.Sprintf("%q", text), byLine(text), fed(text, rand.New(rand.NewPCG(seed, 1))))
	})
}

func TestTallyAllocatesNothing(t *testing.T) {
	line := combinedLine("28/May/2026:18:31:54 +0000")
	text := []byte(strings.Repeat(line+"\r\n", 20) + strings.Repeat(jsonTimed("2026-05-28T18:31:54.25Z")+"\n", 20))
	tally, p := proxylog.NewTally(&proxylog.TallyOptions{Prices: proxylog.Prices{"opus": {Input: 1}}}), proxylog.NewParser(proxylog.Auto)
	tally.Feed(p, text)
	if got := testing.AllocsPerRun(100, func() { tally.Feed(p, text) }); got != 0 {
		t.Errorf("got %v allocations for lines of groups that are there, want 0", got)
	}
	if tally.NotUnderstood != 0 || tally.Len() != 2 {
		t.Errorf("got %d not understood and %d groups, want 0 and 2", tally.NotUnderstood, tally.Len())
	}
}
