package traffic_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/molecule-ai/billing-reconciler/store"
	"github.com/molecule-ai/billing-reconciler/traffic"
)

var t0 = time.Date(2026, 5, 28, 18, 0, 0, 0, time.UTC)

func id(n int) store.UUID {
	return store.UUID(uuid.MustParse(fmt.Sprintf("00000000-0000-4000-8000-%012d", n)))
}

func at(minute int) time.Time { return t0.Add(time.Duration(minute) * time.Minute) }

// tenure is a holding of the address a, from one minute to another; 0: still.
func tenure(source string, n, from, until int) store.Tenure {
	t := store.Tenure{Address: netip.MustParseAddr(a), Source: source, Workspace: id(n), From: at(from)}
	if until != 0 {
		t.Until = at(until)
	}
	return t
}

const a = "203.0.113.7"

func TestAttribution(t *testing.T) {
	t.Parallel()
	recycled := []store.Tenure{tenure("acme", 1, 10, 20), tenure("reno/x", 2, 30, 0)}
	nat := []store.Tenure{tenure("acme", 1, 10, 0), tenure("acme", 2, 15, 0)}
	known := []store.Named{{Source: "acme", Workspace: id(1)}}
	twice := append(known, store.Named{Source: "reno/x", Workspace: id(1)})
	for name, row := range map[string]struct {
		tenures     []store.Tenure
		named       []store.Named
		first, last int // minutes
		names       store.UUID
		want        store.Owner
	}{
		"nobody ever":                     {nil, nil, 15, 15, store.UUID{}, store.Owner{}},
		"the holder then":                 {recycled, nil, 15, 15, store.UUID{}, store.Owner{Kind: store.ByAddress, Source: "acme", Workspace: id(1)}},
		"the holder then, not now":        {recycled, nil, 35, 36, store.UUID{}, store.Owner{Kind: store.ByAddress, Source: "reno/x", Workspace: id(2)}},
		"between two holders":             {recycled, nil, 25, 25, store.UUID{}, store.Owner{}},
		"before the first":                {recycled, nil, 5, 5, store.UUID{}, store.Owner{}},
		"at the moment that it ended":     {recycled, nil, 20, 20, store.UUID{}, store.Owner{}},
		"across the end of one":           {recycled, nil, 19, 21, store.UUID{}, store.Owner{Kind: store.Doubtful}},
		"from one holder to the next":     {recycled, nil, 19, 31, store.UUID{}, store.Owner{Kind: store.Doubtful}},
		"one of several behind a NAT":     {nat, nil, 16, 16, store.UUID{}, store.Owner{Kind: store.Doubtful}},
		"before the second came":          {nat, nil, 12, 13, store.UUID{}, store.Owner{Kind: store.ByAddress, Source: "acme", Workspace: id(1)}},
		"the line names it, NAT or not":   {nat, known, 16, 16, id(1), store.Owner{Kind: store.ByName, Source: "acme", Workspace: id(1)}},
		"the line names it, elsewhere":    {recycled, known, 35, 36, id(1), store.Owner{Kind: store.ByName, Source: "acme", Workspace: id(1)}},
		"the line names who is not known": {recycled, nil, 15, 15, id(9), store.Owner{Workspace: id(9)}},
		"a name that two tenants have":    {recycled, twice, 15, 15, id(1), store.Owner{Kind: store.Doubtful, Workspace: id(1)}},
	} {
		t.Run(name, func(t *testing.T) {
			c := &store.Calls{Address: netip.MustParseAddr(a), Named: row.names, First: at(row.first), Last: at(row.last)}
			if got := traffic.Attribute(row.tenures, row.named)(c); got != row.want {
				t.Errorf("got %+v, want %+v", got, row.want)
			}
		})
	}
}
