package admin_test

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/molecule-ai/billing-reconciler/admin"
	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/evidence"
	"github.com/molecule-ai/billing-reconciler/store"
)

// calls counts billed calls of a workspace of reno-stars.
func (h *holder) calls(at time.Time, n int, billed int64) {
	h.t.Helper()
	owner := store.Owner{Kind: store.ByAddress, Source: "reno-stars", Workspace: uuid.MustParse(idOf(n))}
	_, err := h.store.Count(h.t.Context(), &store.Counting{Input: store.Input{Name: "file", Host: "proxy1"}, Lines: 1, Newest: at, Calls: []store.Calls{{Bucket: at.Truncate(5 * time.Minute),
		Address: netip.MustParseAddr("203.0.113.7"), Operation: 1, Class: 2, Billed: billed, CostUSD: 0.25, First: at, Last: at, LastBilled: at}}},
		func([]store.Tenure, []store.Named) func(*store.Calls) store.Owner {
			return func(*store.Calls) store.Owner { return owner }
		})
	if err != nil {
		h.t.Fatal(err)
	}
}

func TestEvidence(t *testing.T) {
	w, h, at := fleet(t)
	h.calls(at.Add(time.Second), 1, 12)
	h.through(h.plan(drift.RemediateEnforce, goOn, 0, 1).Opened[0], drift.Cured, "silence")
	first := w.ask("GET /drifts/1/evidence").want(t, 200)
	v, err := evidence.Verify([]byte(first.body))
	if err != nil || len(v.Wrong) > 0 {
		t.Fatalf("got %+v, %v: %s", v, err, first.body)
	}
	first.says(t, `"billed":12`, `"cost_usd":0.25`, `"new_in_a_later_version"`, `"drift_opened"`, `"outcome":"cured"`)
	var again evidence.Document
	if err := json.Unmarshal([]byte(w.as(viewerToken).ask("GET /workspaces/"+idOf(1)+"/evidence").want(t, 200).body), &again); err != nil || again.Digest != v.Digest {
		t.Errorf("by its workspace: got digest %s, %v; want %s", again.Digest, err, v.Digest)
	}
	c := w.api(t)
	for _, doc := range []admin.Evidence{must[admin.Evidence](t)(c.Evidence(t.Context(), 1)), must[admin.Evidence](t)(c.WorkspaceEvidence(t.Context(), idOf(1), "reno-stars"))} {
		if got, err := evidence.Verify(doc); err != nil || got.Digest != v.Digest || len(got.Wrong) > 0 {
			t.Errorf("by the client: got %+v, %v", got, err)
		}
	}
	w.ask("GET /drifts/99/evidence").want(t, 404).says(t, "state.retention")
	w.ask("GET /workspaces/"+idOf(2)+"/evidence").want(t, 404).says(t, "no drift")
	w.ask("GET /workspaces/"+idOf(9)+"/evidence").want(t, 404)
}

func TestSuppressionsTellTheirPrice(t *testing.T) {
	w, h, _ := fleet(t)
	w.ask(`POST /suppressions {"workspace":"`+idOf(1)+`","reason":"known","for":"7d"}`).want(t, 200)
	w.ask(`POST /suppressions {"source":"acme","reason":"known","for":"7d"}`).want(t, 200)
	h.calls(time.Now().Add(time.Minute).UTC(), 1, 3)
	got := decode[admin.Suppressions](t, w.ask("GET /suppressions")).Suppressions
	if len(got) != 2 || got[0].Billed != 3 || *got[0].CostUSD != 0.25 || got[1].Billed != 0 || *got[1].CostUSD != 0 {
		t.Errorf("got %+v", got)
	}
}
