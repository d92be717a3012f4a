package store_test

import (
	"errors"
	"net/netip"
	"time"

	"github.com/google/uuid"

	"github.com/molecule-ai/billing-reconciler/store"
)

// byTenure attributes as simply as can be: one holder at the first call is the
// owner, several are none.
func byTenure(tenures []store.Tenure, named []store.Named) func(*store.Calls) store.Owner {
	return func(c *store.Calls) store.Owner {
		if c.Named != (store.UUID{}) {
			for _, n := range named {
				if n.Workspace == c.Named {
					return store.Owner{Kind: store.ByName, Source: n.Source, Workspace: n.Workspace}
				}
			}
			return store.Owner{Workspace: c.Named}
		}
		var found []store.Tenure
		for _, t := range tenures {
			if t.Address == c.Address && !c.First.Before(t.From) && (t.Until.IsZero() || c.First.Before(t.Until)) {
				found = append(found, t)
			}
		}
		switch len(found) {
		case 0:
			return store.Owner{}
		case 1:
			return store.Owner{Kind: store.ByAddress, Source: found[0].Source, Workspace: found[0].Workspace}
		}
		return store.Owner{Kind: store.Doubtful}
	}
}

func uuidOf(n int) store.UUID { return store.UUID(uuid.MustParse(ws(n))) }

// call is one billed call.
func call(at time.Time, address string) store.Calls {
	c := store.Calls{Bucket: at.Truncate(5 * time.Minute), Operation: 1, Class: 2, Billed: 1, Untold: 1, Unpriced: 1, First: at, Last: at, LastBilled: at}
	if address != "" {
		c.Address = netip.MustParseAddr(address)
	}
	return c
}

func from(calls ...store.Calls) *store.Counting {
	return &store.Counting{Input: store.Input{Name: "file"}, Calls: calls, Lines: int64(len(calls))}
}

// recent is a time that no window leaves out, and not the end of five minutes:
// what follows within seconds is counted together with it.
func recent() time.Time {
	at := time.Now().UTC().Truncate(time.Second).Add(-time.Minute)
	if left := at.Truncate(5 * time.Minute).Add(5 * time.Minute).Sub(at); left < 10*time.Second {
		at = at.Add(-10 * time.Second)
	}
	return at
}

func isErr(got, want error) bool { return errors.Is(got, want) }

// strings runs a statement and gives its one column.
func (r *replica) strings(sql string) []string {
	r.Helper()
	rows, err := conn(r, r.url).Query(r.Context(), sql)
	r.must(err)
	list, err := collectText(rows)
	r.must(err)
	return list
}

func (r *replica) leaseOf(name string) store.Lease {
	r.Helper()
	for _, l := range r.keep(source, store.Fleet).Leases {
		if l.Source == name {
			return l
		}
	}
	r.Fatalf("no lease of %q", name)
	return store.Lease{}
}

func (r *replica) counts(c *store.Counting) store.Counted {
	r.Helper()
	counted, err := r.Count(r.Context(), c, byTenure)
	r.must(err)
	return counted
}

// rows gives what is in traffic: whose, how, and how many were billed.
func (r *replica) trafficRows() []string {
	r.Helper()
	return r.strings(`SELECT format('%s %s %s %s', host(address), CASE source WHEN '' THEN '-' ELSE source || '/' || right(workspace::text, 2) END, attribution, billed) FROM traffic ORDER BY bucket, address, source, workspace, attribution`)
}
