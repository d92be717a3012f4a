package admin_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/admin"
	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// plan judges workspaces of reno-stars, as a planner would that comes to this
// judgement.
func (h *holder) plan(mode drift.RemediateMode, j drift.Judgement, request int64, n ...int) store.Planned {
	h.t.Helper()
	p := &store.Planning{Lease: h.leases["reno-stars"], Workspaces: 100}
	for _, i := range n {
		p.Candidates = append(p.Candidates, store.Candidate{Workspace: idOf(i), Name: fmt.Sprintf("Agent %d", i), Cause: "model_empty", Inputs: "i", Severity: drift.Critical,
			Mode: mode, Request: request, Attempt: drift.Attempt{Instance: "i-1", Kinds: []drift.Kind{drift.ModeMismatch}}, Before: workspace("reno-stars", i).Document,
			Judge: func(*store.Standing) drift.Judgement { return j }})
	}
	planned, err := h.store.Plan(h.t.Context(), p)
	if err != nil {
		h.t.Fatal(err)
	}
	return planned
}

var goOn = drift.Judgement{Rule: drift.RuleGo, Words: "reprovision"}

// through brings an action that is queued to its end.
func (h *holder) through(id int64, o drift.Outcome, words string) {
	h.t.Helper()
	_, err := h.store.Calling(h.t.Context(), id, drift.Attempt{Instance: "i-1", Kinds: []drift.Kind{drift.ModeMismatch}}, nil)
	if err == nil {
		_, err = h.store.Called(h.t.Context(), id, drift.Call{Result: drift.CallAccepted, Words: "provisioning"})
	}
	if err == nil {
		_, err = h.store.End(h.t.Context(), id, store.ActionProving, o, words, workspace("reno-stars", 1).Document)
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

func TestAReprovisionIsAskedForOnce(t *testing.T) {
	w, h, _ := fleet(t)
	ask := "POST /workspaces/" + idOf(1) + "/reprovision "
	for body, status := range map[string]int{`{}`: 422, `{"reason":" "}`: 422, `{"reason":"\u0000"}`: 422, `{"reason":"r","mode":"enforce"}`: 422} {
		w.ask(ask+body).want(t, status)
	}
	w.as(viewerToken).ask(ask+`{"reason":"r"}`).want(t, 403).says(t, "role operator")
	w.ask("POST /workspaces/"+idOf(9)+`/reprovision {"reason":"r"}`).want(t, 404)

	const key = "Idempotency-Key: k"
	first := w.ask(ask+`{"reason":"the customer waits","dry_run":true}`, key).want(t, 202)
	a := decode[admin.Reprovision](t, first)
	if a.State != store.ActionRequested || a.Mode != drift.RemediateDryRun || *a.By != "ops" || *a.Reason != "the customer waits" || a.Forced || a.InFlight || a.Source != "reno-stars" {
		t.Errorf("got %+v", a)
	}
	again := w.ask(ask+`{"reason":"the customer waits","dry_run":true}`, key).want(t, 202)
	if again.body != first.body || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("sent again: %s %v", again.body, again.header)
	}
	w.ask(ask+`{"reason":"me too","force":true}`).want(t, 409).says(t, fmt.Sprintf("action %d", a.ID), "requested")
	looks, err := w.store.Looks(t.Context(), []string{"reno-stars"})
	if err != nil || len(looks) != 1 || looks[0].By != "ops" {
		t.Errorf("got looks %+v, %v: want one that is asked for", looks, err)
	}
	h.plan(drift.RemediateDryRun, goOn, a.ID, 1)
	d := decode[admin.ReprovisionDetail](t, w.ask(fmt.Sprintf("GET /actions/%d", a.ID)).want(t, 200))
	if d.State != store.ActionEnded || *d.Outcome != drift.WouldHave || d.Answer != nil || d.EndedAt == nil || d.Before == nil {
		t.Errorf("got %+v", d)
	}
	w.ask(ask+`{"reason":"now really"}`).want(t, 202)
}

func TestNoReprovisionIsAskedForBesideOneUnderWay(t *testing.T) {
	w, h, _ := fleet(t)
	id := h.plan(drift.RemediateEnforce, goOn, 0, 1).Opened[0]
	w.ask("POST /workspaces/"+idOf(1)+`/reprovision {"reason":"r"}`).want(t, 409).says(t, fmt.Sprintf("action %d", id), "queued")
	h.through(id, drift.Cured, "silence")
	w.ask("POST /workspaces/"+idOf(1)+`/reprovision {"reason":"r"}`).want(t, 202)
}

func TestActionsAreFiltered(t *testing.T) {
	w, h, _ := fleet(t)
	cured := h.plan(drift.RemediateEnforce, goOn, 0, 1).Opened[0]
	h.through(cured, drift.Cured, "it is as it should be")
	flying := h.plan(drift.RemediateEnforce, goOn, 0, 2).Opened[0]
	for filter, want := range map[string][]int64{
		"":                     {flying, cured},
		"source=acme":          {},
		"workspace=" + idOf(1): {cured},
		"in_flight=true":       {flying},
		"state=queued":         {flying},
		"outcome=cured":        {cured},
		"outcome=lost":         {},
		"drift=99":             {},
		"limit=1":              {flying},
	} {
		ids := []int64{}
		for _, a := range decode[admin.Actions](t, w.ask("GET /actions?"+filter).want(t, 200)).Actions {
			ids = append(ids, a.ID)
		}
		if !slices.Equal(ids, want) {
			t.Errorf("%q: got %v, want %v", filter, ids, want)
		}
	}
	page := decode[admin.Actions](t, w.ask("GET /actions?limit=1"))
	rest := decode[admin.Actions](t, w.ask("GET /actions?limit=1&cursor="+*page.Next))
	if len(rest.Actions) != 1 || rest.Actions[0].ID != cured || rest.Next != nil {
		t.Errorf("the next page: %+v", rest)
	}
	one := decode[admin.ReprovisionDetail](t, w.ask(fmt.Sprintf("GET /actions/%d", cured)).want(t, 200))
	if one.Answer == nil || one.Answer.Result != drift.CallAccepted || *one.Outcome != drift.Cured || one.Calls != 1 || one.After == nil || *one.Instance != "i-1" || len(one.Kinds) != 1 {
		t.Errorf("got %+v", one)
	}
	w.ask("GET /actions?outcome=good").want(t, 422).says(t, "cured")
	w.ask("GET /actions?state=odd").want(t, 422)
	w.ask("GET /actions?cursor=odd").want(t, 422).says(t, "query.cursor")
	w.ask("GET /actions/99").want(t, 404).says(t, "state.retention")
	w.as(viewerToken).ask("GET /actions").want(t, 200)
}

func TestAWorkspaceShowsWhatTheDaemonJudged(t *testing.T) {
	w, h, _ := fleet(t)
	next := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	h.plan(drift.RemediateEnforce, drift.Judgement{Rule: drift.RuleOutsideWindow, Words: "not now", Next: next}, 0, 1)
	type shown struct {
		Action struct {
			Rule           drift.Rule
			Summary        string
			Next, Since    time.Time
			SomethingOlder bool
		}
		InFlight *int64 `json:"in_flight"`
		Later    int    `json:"new_in_a_later_version"`
	}
	got := decode[shown](t, w.ask("GET /workspaces/"+idOf(1)).want(t, 200))
	if got.Action.Rule != drift.RuleOutsideWindow || got.Action.Summary != "not now" || !got.Action.Next.Equal(next) || got.Action.Since.IsZero() || got.InFlight != nil || got.Later != 1 {
		t.Errorf("got %+v", got)
	}
	id := h.plan(drift.RemediateEnforce, goOn, 0, 1).Opened[0]
	for _, doc := range decode[admin.Workspaces](t, w.ask("GET /workspaces?source=reno-stars").want(t, 200)).Workspaces {
		under := strings.Contains(string(doc), fmt.Sprintf(`"in_flight":%d`, id))
		if strings.Contains(string(doc), idOf(1)) != under {
			t.Errorf("got %s", doc)
		}
	}
}

func TestApproveAWorkspace(t *testing.T) {
	w, h, _ := fleet(t)
	h.through(h.plan(drift.RemediateEnforce, goOn, 0, 2).Opened[0], drift.Ineffective, "it came back with the same")
	causes := decode[admin.Causes](t, w.ask("GET /causes").want(t, 200)).Causes
	if len(causes) != 1 || causes[0].Cause != "model_empty" || causes[0].Mode != drift.RemediateEnforce || causes[0].Stopped == nil || causes[0].StoppedBy.Workspace != idOf(2) || causes[0].ApprovedAt != nil {
		t.Fatalf("got %+v", causes)
	}
	got := decode[admin.Approved](t, w.ask("POST /workspaces/"+idOf(1)+`/approve {"reason":"mended at the platform"}`).want(t, 200))
	if got.Cause == nil || *got.Cause != "model_empty" || got.By != "ops" || got.ExpiresAt == nil || time.Until(*got.ExpiresAt) < 23*time.Hour {
		t.Errorf("got %+v", got)
	}
	if causes := decode[admin.Causes](t, w.ask("GET /causes")).Causes; causes[0].Stopped != nil || causes[0].ApprovedAt == nil || causes[0].Wave != 1 {
		t.Errorf("approved: got %+v", causes[0])
	}
	w.ask("POST /workspaces/"+idOf(1)+`/approve {"reason":"r","for":"soon"}`).want(t, 422).says(t, "body.for")
	w.ask("POST /workspaces/"+idOf(1)+`/approve {}`).want(t, 422)
	w.ask("POST /workspaces/"+idOf(9)+`/approve {"reason":"r"}`).want(t, 404)
	w.as(viewerToken).ask("POST /workspaces/"+idOf(1)+`/approve {"reason":"r"}`).want(t, 403)
}

func TestApproveACause(t *testing.T) {
	w, h, _ := fleet(t)
	w.ask(`POST /causes/model_empty/approve {"reason":"r"}`).want(t, 404).says(t, "/causes")
	h.through(h.plan(drift.RemediateEnforce, goOn, 0, 1).Opened[0], drift.Lost, "it did not come back")
	h.plan(drift.RemediateDryRun, goOn, 0, 2)
	causes := decode[admin.Causes](t, w.ask("GET /causes").want(t, 200)).Causes
	if len(causes) != 2 || causes[0].Mode == causes[1].Mode || causes[0].Cause != causes[1].Cause {
		t.Errorf("a dry run's is not told apart: %+v", causes)
	}
	const key = "Idempotency-Key: k"
	for _, replayed := range []string{"", "true"} {
		got := w.ask(`POST /causes/model_empty/approve {"reason":"the platform is mended"}`, key).want(t, 200).says(t, `"cause":"model_empty"`)
		if got.header.Get("Idempotency-Replayed") != replayed {
			t.Errorf("replayed %q, want %q", got.header.Get("Idempotency-Replayed"), replayed)
		}
	}
	for _, c := range decode[admin.Causes](t, w.ask("GET /causes")).Causes {
		if c.Mode == drift.RemediateEnforce && (c.Stopped != nil || c.ApprovedAt == nil) {
			t.Errorf("got %+v", c)
		}
	}
	w.ask(`POST /causes/dry_run%2Fmodel_empty/approve {"reason":"r"}`).want(t, 422)
	w.ask(`POST /causes/model_empty/approve {"reason":""}`).want(t, 422)
	w.as(viewerToken).ask(`POST /causes/model_empty/approve {"reason":"r"}`).want(t, 403)
}

func TestClientMends(t *testing.T) {
	w, h, _ := fleet(t)
	c, ctx := w.api(t), t.Context()
	a := must[*admin.Reprovision](t)(c.Reprovision(ctx, idOf(1), "", admin.ReprovisionRequest{Reason: "r", Force: true}))
	if !a.Forced || a.Mode != drift.RemediateEnforce {
		t.Errorf("got %+v", a)
	}
	h.plan(drift.RemediateEnforce, goOn, a.ID, 1)
	if all := must[*admin.Actions](t)(c.Actions(ctx, admin.ActionQuery{InFlight: true})); len(all.Actions) != 1 || all.Actions[0].ID != a.ID {
		t.Errorf("got %+v", all)
	}
	if one := must[*admin.ReprovisionDetail](t)(c.Action(ctx, a.ID)); one.State != store.ActionQueued {
		t.Errorf("got %+v", one)
	}
	if got := must[*admin.Approved](t)(c.Approve(ctx, idOf(1), "reno-stars", admin.ApproveRequest{Reason: "r", For: "2h"})); got.Workspace != idOf(1) {
		t.Errorf("got %+v", got)
	}
	if all := must[*admin.Causes](t)(c.Causes(ctx)); len(all.Causes) != 1 {
		t.Errorf("got %+v", all)
	}
	must[*admin.Approved](t)(c.ApproveCause(ctx, "model_empty", "r"))
}

func TestStatusTellsOfRemediation(t *testing.T) {
	w, h, _ := fleet(t, func(o *admin.Options) {
		o.Remediation = func() map[string]drift.RemediateMode {
			return map[string]drift.RemediateMode{"reno-stars": drift.RemediateEnforce, "acme": drift.RemediateOff}
		}
	})
	h.plan(drift.RemediateEnforce, goOn, 0, 1)
	want := admin.Remediation{Modes: map[string]string{"reno-stars": "enforce", "acme": "off"}, InFlight: 1, Stopped: []string{}, Waiting: []string{"model_empty"}}
	if diff := cmp.Diff(want, decode[admin.Status](t, w.ask("GET /status")).Remediation); diff != "" {
		t.Error(diff)
	}
}

// Operators find every rule and every outcome that they may read, in order.
func TestRulesAndOutcomesAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/remediation.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	words := []string{}
	for _, r := range drift.Rules {
		words = append(words, string(r))
	}
	for _, o := range drift.Outcomes {
		words = append(words, string(o))
	}
	for _, word := range words {
		_, rest, found := strings.Cut(page, "\n| `"+word+"` | ")
		if !found {
			t.Fatalf("docs/remediation.md lacks %s, or has it out of order", word)
		}
		page = "\n" + rest
	}
}
