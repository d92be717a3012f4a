package admin_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/molecule-ai/billing-reconciler/admin"
	"github.com/molecule-ai/billing-reconciler/store"
)

func TestTraffic(t *testing.T) {
	w, _, _ := fleet(t)
	id := workspace("reno-stars", 1).ID
	at := time.Now().UTC().Truncate(5 * time.Minute).Add(-time.Hour)
	call := func(at time.Time, priced bool) store.Calls {
		c := store.Calls{Bucket: at.Truncate(5 * time.Minute), Address: netip.MustParseAddr("203.0.113.7"), Operation: 1, Class: 2, Billed: 2, Input: 10, Output: 5,
			CostUSD: 0.25, First: at, Last: at, LastBilled: at}
		if !priced {
			c.Unpriced = 1
		}
		return c
	}
	owner := store.Owner{Kind: store.ByAddress, Source: "reno-stars", Workspace: uuid.MustParse(id)}
	_, err := w.store.Count(t.Context(), &store.Counting{Input: store.Input{Name: "file", Host: "proxy1"}, Lines: 7, Unread: 1, Newest: at,
		Calls: []store.Calls{call(at, true), call(at.Add(5*time.Minute), false), call(at.Add(-48*time.Hour), true)}},
		func([]store.Tenure, []store.Named) func(*store.Calls) store.Owner {
			return func(*store.Calls) store.Owner { return owner }
		})
	if err != nil {
		t.Fatal(err)
	}
	got := decode[admin.CallList](t, w.ask("GET /workspaces/"+id+"/traffic").want(t, 200))
	address, cost := netip.MustParseAddr("203.0.113.7"), 0.25
	row := func(at time.Time, cost *float64) admin.Call {
		return admin.Call{Operation: "messages", Attribution: "address", CallRow: store.CallRow{Bucket: at, Address: &address, Class: 2, Billed: 2, Input: 10, Output: 5, CostUSD: cost, First: at, Last: at}}
	}
	same := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	if diff := cmp.Diff(admin.CallList{Calls: []admin.Call{row(at, &cost), row(at.Add(5*time.Minute), nil)}}, got, same); diff != "" {
		t.Errorf("of the last day (-want +got):\n%s", diff)
	}
	between := fmt.Sprintf("?since=%s&until=%s", at.Add(-72*time.Hour).Format(time.RFC3339), at.Format(time.RFC3339))
	if got = decode[admin.CallList](t, w.ask("GET /workspaces/"+id+"/traffic"+between)); len(got.Calls) != 1 || !got.Calls[0].Bucket.Equal(at.Add(-48*time.Hour)) {
		t.Errorf("of three days: %+v", got.Calls)
	}
	w.ask("GET /workspaces/"+uuid.NewString()+"/traffic").want(t, 404)
	inputs := decode[admin.Status](t, w.ask("GET /status")).Inputs
	if len(inputs) != 1 || inputs[0].Input != "file" || inputs[0].Host != "proxy1" || inputs[0].Lines != 7 || inputs[0].NotUnderstood != 1 || inputs[0].BlindSince != nil {
		t.Errorf("inputs %+v", inputs)
	}
}
