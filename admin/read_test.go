package admin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/admin"
	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// fleet is a server over two sources: reno-stars with a drift, acme without.
func fleet(t *testing.T, change ...func(*admin.Options)) (*served, *holder, time.Time) {
	t.Helper()
	w := serve(t, change...)
	h := newHolder(t, w.store, "reno-stars", "acme")
	at := time.Now().Add(-time.Minute).UTC().Truncate(time.Second)
	drifted := workspace("reno-stars", 1, drift.ModeMismatch, drift.RoutedToProxy)
	h.pass(at, "reno-stars", []store.State{drifted, workspace("reno-stars", 2)}, func(o *store.Outcome) {
		o.Episodes = []store.EpisodeChange{opening(at, "reno-stars", &drifted)}
	})
	h.pass(at, "acme", []store.State{workspace("acme", 3)})
	return w, h, at
}

func TestStatus(t *testing.T) {
	begun := time.Date(2026, 5, 28, 18, 0, 0, 0, time.UTC)
	w, _, at := fleet(t, func(o *admin.Options) {
		o.SourceNames = func() []string { return []string{"acme", "new", "reno-stars"} }
		o.Status = func() admin.Process { return admin.Process{Version: "v1.2.3", Replica: "r-1", StartedAt: begun} }
		o.Health = func(context.Context) admin.Health { return admin.Health{Problems: []string{"reno-stars: too old"}} }
	})
	w.ask(`POST /pause {"scope":"source","source":"acme","reason":"moving","for":"2h"}`).want(t, 200)
	got := decode[admin.Status](t, w.ask("GET /status").want(t, 200))
	if got.Process.Replica != "r-1" || !got.Process.StartedAt.Equal(begun) || len(got.Replicas) != 1 || got.Replicas[0].Name != "host-1" {
		t.Errorf("got process %+v, replicas %+v", got.Process, got.Replicas)
	}
	sources := map[string]admin.SourceStatus{}
	for _, s := range got.Sources {
		sources[s.Name] = s
	}
	reno := sources["reno-stars"]
	if len(got.Sources) != 3 || reno.Holder == nil || *reno.Holder != "host-1" || !reno.LastPassAt.Equal(at) || reno.Took != 1.5 || reno.Error != nil {
		t.Errorf("got sources %+v", got.Sources)
	}
	if fresh := sources["new"]; fresh.LastPassAt != nil || fresh.Holder != nil {
		t.Errorf("a source that nobody has looked at: got %+v", fresh)
	}
	if diff := cmp.Diff(map[drift.Verdict]int{drift.Drifted: 1, drift.InSync: 2}, got.Workspaces); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[drift.Severity]int{drift.Critical: 1}, got.Drifts); diff != "" || !got.OldestDrift.Equal(at) {
		t.Error(diff, got.OldestDrift)
	}
	if len(got.Pauses) != 1 || got.Pauses[0].Source != "acme" || got.LastEvent == 0 || !slices.Equal(got.Problems, []string{"reno-stars: too old"}) {
		t.Errorf("got %+v", got)
	}
}

func TestStatusTellsOfASurge(t *testing.T) {
	w, h, at := fleet(t)
	w.ask(`POST /sources/reno-stars/accept {"reason":"meant"}`).want(t, 409).says(t, "nothing to accept")
	h.pass(at.Add(time.Second), "reno-stars", nil, func(o *store.Outcome) { o.Surge = "7 of 9 desired modes flipped at once" })
	source := func() *admin.Surge {
		for _, s := range decode[admin.Status](t, w.ask("GET /status")).Sources {
			if s.Name == "reno-stars" {
				return s.Surge
			}
		}
		return nil
	}
	if got := source(); got == nil || got.Summary != "7 of 9 desired modes flipped at once" || got.Accepted {
		t.Errorf("got %+v", got)
	}
	w.ask(`POST /sources/reno-stars/accept {"reason":"meant"}`).want(t, 200)
	if got := source(); got == nil || !got.Accepted {
		t.Errorf("accepted: got %+v", got)
	}
	w.ask(`POST /sources/unheard-of/accept {"reason":"meant"}`).want(t, 404).says(t, "acme, reno-stars")
	w.ask(`POST /sources/reno-stars/accept {}`).want(t, 422).says(t, "reason")
}

func TestHealthIsSaid(t *testing.T) {
	var health atomic.Pointer[admin.Health]
	health.Store(&admin.Health{})
	w := serve(t, func(o *admin.Options) { o.Health = func(context.Context) admin.Health { return *health.Load() } })
	w.ask("GET /readyz").want(t, 200)
	health.Store(&admin.Health{Problems: []string{"state database: gone"}})
	got := w.ask("GET /readyz")
	if got.status != 503 || got.body != `{"ready":false,"problems":["state database: gone"]}`+"\n" {
		t.Errorf("got %d %s", got.status, got.body)
	}
	w.ask("GET /healthz").want(t, 200)
}

func TestWorkspaceIsTheStoredDocument(t *testing.T) {
	w, _, at := fleet(t)
	got := w.ask("GET /workspaces/"+idOf(1)).want(t, 200).body
	want := fmt.Sprintf(`{"source":"reno-stars","id":%q,"name":"Agent 1","observed":{"state":"observed","at":%q,"mode":"byok"},"new_in_a_later_version":1}`+"\n",
		idOf(1), at.Format(time.RFC3339))
	if diff := cmp.Diff(want, strings.ReplaceAll(got, `": `, `":`)); diff != "" && !sameJSON(t, got, want) {
		t.Error(diff)
	}
	w.ask("GET /workspaces/"+strings.ToUpper(idOf(1))).want(t, 200)
	w.ask("GET /workspaces/"+idOf(1)+"?source=acme").want(t, 404)
	w.ask("GET /workspaces/"+idOf(9)).want(t, 404).says(t, idOf(9))
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		t.Fatalf("not JSON: %s or %s", a, b)
	}
	return cmp.Equal(x, y)
}

func TestAnIDInTwoSourcesMustSayWhich(t *testing.T) {
	w, h, at := fleet(t)
	h.pass(at.Add(time.Second), "acme", []store.State{workspace("acme", 1)})
	w.ask("GET /workspaces/"+idOf(1)).want(t, 409).says(t, "source")
	w.ask("GET /workspaces/"+idOf(1)+"?source=acme").want(t, 200).says(t, `"acme"`)
	w.ask(`POST /pause {"scope":"workspace","workspace":"`+idOf(1)+`","reason":"x"}`).want(t, 409)
}

func TestWorkspacesAreFiltered(t *testing.T) {
	w, _, _ := fleet(t)
	for filter, want := range map[string][]string{
		"":                      {"Agent 1", "Agent 2", "Agent 3"},
		"source=acme":           {"Agent 3"},
		"verdict=drifted":       {"Agent 1"},
		"verdict=unknown":       {},
		"kind=routed_to_proxy":  {"Agent 1"},
		"kind=no_such_kind":     {},
		"q=Agent%202":           {"Agent 2"},
		"q=" + idOf(3):          {"Agent 3"},
		"q=nobody":              {},
		"source=reno-stars&q=0": {"Agent 1", "Agent 2"},
	} {
		var got []string
		for _, doc := range decode[admin.Workspaces](t, w.ask("GET /workspaces?"+filter).want(t, 200)).Workspaces {
			var named admin.WorkspaceName
			if err := json.Unmarshal(doc, &named); err != nil {
				t.Fatal(err)
			}
			got = append(got, named.Name)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", filter, got, want)
		}
	}
}

// Every workspace that is there all the while comes exactly once, though rows
// change, come and go between the pages.
func TestPagingWalksEverythingOnce(t *testing.T) {
	w := serve(t)
	h := newHolder(t, w.store, "acme")
	at := time.Now().Add(-time.Hour)
	var states []store.State
	for n := range 53 {
		states = append(states, workspace("acme", 2*n))
	}
	h.pass(at, "acme", states)
	seen := map[string]int{}
	cursor := ""
	for page := 0; ; page++ {
		got := decode[admin.Workspaces](t, w.ask("GET /workspaces?limit=7&cursor="+url.QueryEscape(cursor)).want(t, 200))
		for _, doc := range got.Workspaces {
			var named admin.WorkspaceName
			if err := json.Unmarshal(doc, &named); err != nil {
				t.Fatal(err)
			}
			seen[named.ID]++
		}
		if got.Next == nil {
			break
		}
		cursor = *got.Next
		changed := workspace("acme", 2*page, drift.ModeMismatch)
		h.pass(at.Add(time.Duration(page+1)*time.Second), "acme", []store.State{changed, workspace("acme", 2*page+1)})
	}
	for n := range 53 {
		if got := seen[idOf(2*n)]; got != 1 {
			t.Errorf("%s came %d times", idOf(2*n), got)
		}
	}
}

func TestDrifts(t *testing.T) {
	w, _, at := fleet(t)
	list := decode[admin.Drifts](t, w.ask("GET /drifts").want(t, 200))
	if len(list.Drifts) != 1 {
		t.Fatalf("got %+v", list)
	}
	d := list.Drifts[0]
	if !d.Open || d.Workspace != idOf(1) || d.Name != "Agent 1" || d.Severity != drift.Critical || !d.OpenedAt.Equal(at) || d.Suppressed || len(d.Findings) != 2 ||
		d.Findings[0].Evidence[0] != "a fact" || len(d.Causes) != 1 || d.Causes[0].Code != "model_empty" || d.LastSeenAt == nil || d.AnnouncedAt == nil {
		t.Errorf("got %+v", d)
	}
	detail := decode[admin.DriftDetail](t, w.ask(fmt.Sprintf("GET /drifts/%d", d.ID)).want(t, 200))
	if detail.Opened == nil || detail.Latest == nil || detail.ID != d.ID {
		t.Errorf("got %+v", detail)
	}
	w.ask("GET /drifts/999").want(t, 404).says(t, "999")
	for filter, want := range map[string]int{
		"open=true": 1, "open=false": 0, "source=acme": 0, "source=reno-stars&severity=critical": 1, "severity=low": 0, "kind=mode_mismatch": 1,
		"kind=model_mismatch": 0, "workspace=" + idOf(1): 1, "workspace=" + idOf(2): 0, "since=" + url.QueryEscape(time.Now().Add(-time.Hour).Format(time.RFC3339)): 1,
	} {
		if got := decode[admin.Drifts](t, w.ask("GET /drifts?"+filter).want(t, 200)); len(got.Drifts) != want {
			t.Errorf("%s: got %d, want %d", filter, len(got.Drifts), want)
		}
	}
}

func TestEventsArePaged(t *testing.T) {
	w := serve(t)
	for n := range 12 {
		w.ask(fmt.Sprintf(`POST /pause {"scope":"all","reason":"n%d"}`, n)).want(t, 200)
	}
	w.ask(`POST /resume {"scope":"all"}`).want(t, 200)
	walk := func(order, bound string) (ids []int64) {
		next := ""
		for {
			got := decode[admin.Events](t, w.ask("GET /events?limit=5&order="+order+next).want(t, 200))
			for _, e := range got.Events {
				ids = append(ids, e.ID)
			}
			if got.Next == nil {
				return ids
			}
			next = fmt.Sprintf("&%s=%d", bound, *got.Next)
		}
	}
	up, down := walk("asc", "after"), walk("desc", "before")
	slices.Reverse(down)
	if len(up) != 13 || !slices.IsSorted(up) || !slices.Equal(up, down) {
		t.Errorf("got %v up and %v down", up, down)
	}
	got := decode[admin.Events](t, w.ask("GET /events?kinds=resumed,drift_opened").want(t, 200))
	if len(got.Events) != 1 || got.Events[0].Kind != drift.EventResumed || got.Events[0].By == nil || *got.Events[0].By != "ops" || got.Events[0].Drift != nil {
		t.Errorf("got %+v", got)
	}
}
