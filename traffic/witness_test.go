package traffic_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
	"github.com/molecule-ai/billing-reconciler/reconcile"
	"github.com/molecule-ai/billing-reconciler/store"
	"github.com/molecule-ai/billing-reconciler/traffic"
)

// learns lets workspaces of a source be seen with addresses since a time.
func learns(t *testing.T, s *store.Store, source string, since time.Time, held map[int]string) {
	t.Helper()
	k, err := s.Keep(t.Context(), store.Replica{ID: uuid.NewString(), Name: "test", StartedAt: t0}, []string{source}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	o := &store.Outcome{Lease: k.Leases[0], At: time.Now().UTC().Truncate(time.Microsecond), Holdings: map[string][]store.Holding{}}
	for n, address := range held {
		name := proxylog.ID(id(n)).String()
		o.States = append(o.States, store.State{ID: name, Name: name, Verdict: drift.InSync, DesiredMode: drift.ModeBYOK, Observed: true, Document: []byte(`{}`)})
		o.Holdings[name] = []store.Holding{{Workspace: name, Address: netip.MustParseAddr(address), Since: since}}
	}
	if _, err := s.Apply(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

// tallied reads log lines.
func tallied(lines ...string) *proxylog.Tally {
	tally := proxylog.NewTally(&proxylog.TallyOptions{Prices: proxylog.Prices{"opus": {Input: 15, Output: 75}}})
	p := proxylog.NewParser(proxylog.Auto)
	for _, l := range lines {
		tally.Line(p, []byte(l))
	}
	return tally
}

// called is a log line of a billed call, of now.
func called(address, more string) string {
	return `{"time":"` + time.Now().UTC().Format(time.RFC3339) + `","remote_addr":"` + address + `","method":"POST","path":"/api/v1/internal/llm/anthropic/v1/messages","status":200` + more + `}`
}

func TestWitness(t *testing.T) {
	t.Parallel()
	s := open(t, database(t))
	since := time.Now().UTC().Truncate(time.Second).Add(-time.Hour)
	learns(t, s, "acme", since, map[int]string{1: "203.0.113.1", 2: "203.0.113.2", 3: "198.51.100.1"})
	learns(t, s, "reno", since, map[int]string{4: "198.51.100.1", 5: "10.0.0.5"})
	priced := `,"model":"anthropic/opus","input_tokens":1000,"output_tokens":100`
	c := counter(s)
	batch := &proxylog.Batch{Input: "file", Tally: tallied(called("203.0.113.1", priced), called("203.0.113.1", priced), called("203.0.113.2", ""), called("198.51.100.1", ""),
		called("192.0.2.9", `,"workspace_id":"`+proxylog.ID(id(2)).String()+`"`), called("10.0.0.5", ""), called("203.0.113.2", ""),
		called("10.0.0.5", `,"workspace_id":"`+proxylog.ID(id(5)).String()+`"`))}
	if err := c.Count(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	life := func(source string, n int, addresses ...string) reconcile.Life {
		l := reconcile.Life{Source: source, Since: since}
		if n > 0 {
			l.ID = proxylog.ID(id(n)).String()
		}
		for _, a := range addresses {
			l.Addresses = append(l.Addresses, netip.MustParseAddr(a))
		}
		return l
	}
	w := &traffic.Witness{Store: s, Grace: 2 * time.Minute}
	got := w.Traffic(t.Context(), []reconcile.Life{life("acme", 1, "203.0.113.1"), life("acme", 2, "203.0.113.2", "10.0.0.5"), life("acme", 3, "198.51.100.1"),
		life("reno", 4, "198.51.100.1"), life("reno", 5, "10.0.0.5"), life("", 0, "10.0.0.5")})
	if got.Err != nil {
		t.Fatal(got.Err)
	}
	type told struct {
		Billed, PastGrace, Named, Elsewhere, Ambiguous int
		Cost                                           float64 // -1: not known
	}
	want := []told{{2, 2, 0, 0, 0, 0.045}, {3, 3, 1, 1, 0, -1}, {0, 0, 0, 0, 1, -1}, {0, 0, 0, 0, 1, -1}, {1, 1, 1, 0, 1, -1}, {0, 0, 0, 0, 0, -1}} // one of the fifth's names it, the other may be of somebody unseen
	for i, tr := range got.ByLife {
		cost := -1.0
		if tr.CostUSD != nil {
			cost = *tr.CostUSD
		}
		if diff := cmp.Diff(want[i], told{tr.Billed, tr.PastGrace, tr.Named, tr.Elsewhere, tr.Ambiguous, cost}); diff != "" {
			t.Errorf("life %d (-want +got):\n%s", i, diff)
		}
	}
}

// A database that does not answer acquits no one.
func TestWitnessWithoutDatabase(t *testing.T) {
	t.Parallel()
	s := open(t, database(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := &traffic.Witness{Store: s}
	got := w.Traffic(ctx, []reconcile.Life{{Source: "acme", ID: proxylog.ID(id(1)).String()}})
	if got.Err == nil {
		t.Error("no error, so that nothing seen passes for nothing done")
	}
}

// An input that is blind is told of with every verdict.
func TestWitnessTellsOfBlindness(t *testing.T) {
	t.Parallel()
	s := open(t, database(t))
	c := counter(s)
	k, err := s.Keep(t.Context(), store.Replica{ID: uuid.NewString(), Name: "test", StartedAt: t0}, []string{store.Fleet}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	tells := func(problem error) drift.Traffic {
		t.Helper()
		if err := c.State(t.Context(), "file", problem); err != nil {
			t.Fatal(err)
		}
		if _, err := s.WatchInputs(t.Context(), k.Leases[0]); err != nil {
			t.Fatal(err)
		}
		return (&traffic.Witness{Store: s}).Traffic(t.Context(), []reconcile.Life{{Source: "acme", ID: proxylog.ID(id(1)).String()}}).ByLife[0]
	}
	if got := tells(errors.New("permission denied")); time.Since(got.BlindSince) > time.Minute || !strings.Contains(got.Err, "permission denied") {
		t.Errorf("it is blind: %+v", got)
	}
	if got := tells(nil); !got.BlindSince.IsZero() || got.Err != "" || time.Since(got.BackAt) > time.Minute {
		t.Errorf("it sees again: %+v", got)
	}
}
