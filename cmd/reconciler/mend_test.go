package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/molecule-ai/billing-reconciler/admin"
	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// plans judges marketing as a planner would that comes to this judgement, with
// the lease of another source: that of its own is held already.
func (a *answering) plans(mode drift.RemediateMode, j drift.Judgement, request int64) []int64 {
	a.t.Helper()
	kept, err := a.store.Keep(a.t.Context(), store.Replica{ID: uuid.NewString(), Name: "host-2", StartedAt: time.Now()}, []string{"acme"}, time.Hour)
	if err != nil {
		a.t.Fatal(err)
	}
	planned, err := a.store.Plan(a.t.Context(), &store.Planning{Lease: kept.Leases[0], Workspaces: 2, Candidates: []store.Candidate{{Workspace: marketing, Name: "Marketing Agent",
		Cause: "model_empty", Inputs: "i", Mode: mode, Request: request, Judge: func(*store.Standing) drift.Judgement { return j }}}})
	if err != nil {
		a.t.Fatal(err)
	}
	return planned.Opened
}

var goOn = drift.Judgement{Rule: drift.RuleGo}

// ends brings an action that is queued to its end.
func (a *answering) ends(id int64, o drift.Outcome, words string) {
	a.t.Helper()
	ctx := a.t.Context()
	_, err := a.store.Calling(ctx, id, drift.Attempt{}, nil)
	if err == nil {
		_, err = a.store.Called(ctx, id, drift.Call{Result: drift.CallAccepted, Words: "provisioning"})
	}
	if err == nil {
		_, err = a.store.End(ctx, id, store.ActionProving, o, words, nil)
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

func TestReprovisionIsAskedFor(t *testing.T) {
	a := answer(t)
	a.says("reprovision 6b66 --reason broken", "action 1", "workspace "+marketing+" of reno-stars", "reconciler actions 1")
	a.fails("reprovision 6b66 --reason again", "409", "action 1")
	a.fails("reprovision 6b66", "reason")
	a.fails("reprovision 6b66 --reason r --timeout 1m", "--wait")
	a.fails("reprovision nobody --reason r", "no workspace has this name")
	var one admin.Reprovision
	if err := json.Unmarshal([]byte(a.says("reprovision 6b77 --reason r --dry-run --force -o json")), &one); err != nil || one.Mode != drift.RemediateDryRun || !one.Forced {
		t.Errorf("got %+v, %v", one, err)
	}
	a.says("actions", "requested", "Marketing Agent", "ops", "waits to be looked at")
	a.says("actions 1", "action 1, requested", "wanted by ops: broken", "created ")
	a.says("__complete reprovision 6b", marketing+"\tMarketing Agent, reno-stars", support)
}

// What is waited for ends while it is waited for.
func TestReprovisionIsWaitedFor(t *testing.T) {
	blocked := drift.Judgement{Rule: drift.RulePaused, Words: "paused by ops"}
	for name, c := range map[string]struct {
		dry   string
		j     drift.Judgement
		ends  drift.Outcome
		code  int
		words string
	}{
		"cured":       {"", goOn, drift.Cured, exitOK, "cured: by container"},
		"unproven":    {"", goOn, drift.CuredUnproven, exitOK, "cured_unproven: by container"},
		"ineffective": {"", goOn, drift.Ineffective, exitFailed, "ineffective: by container"},
		"blocked":     {"", blocked, "", exitFailed, "blocked: paused: paused by ops"},
		"a dry run":   {"--dry-run", goOn, "", exitOK, "would_have: dry run"},
	} {
		t.Run(name, func(t *testing.T) {
			a := answer(t)
			var out, talk bytes.Buffer
			code := make(chan int, 1)
			args := strings.Fields("reprovision 6b66 --reason r --wait " + c.dry)
			go func() { code <- run(t.Context(), args, a.lookup, &out, &talk) }()
			id := a.wanted()
			mode := drift.RemediateEnforce
			if c.dry != "" {
				mode = drift.RemediateDryRun
			}
			if a.plans(mode, c.j, id); c.ends != "" {
				a.ends(id, c.ends, "by container")
			}
			if got := <-code; got != c.code || !strings.Contains(out.String(), c.words) {
				t.Errorf("exit %d: %s%s; want %d, %q", got, out.String(), talk.String(), c.code, c.words)
			}
		})
	}
}

// wanted waits for a reprovision to be asked for.
func (a *answering) wanted() int64 {
	a.t.Helper()
	for {
		list, err := a.store.Requested(a.t.Context(), "reno-stars")
		if err != nil {
			a.t.Fatal(err)
		}
		if len(list) > 0 {
			return list[0].ID
		}
	}
}

func TestWaitingMayEndFirst(t *testing.T) {
	a := answer(t)
	code, out, talk := a.types("reprovision", "6b66", "--reason", "r", "--wait", "--timeout", "1ms")
	if code != exitFailed || !strings.Contains(out, "is requested yet, and goes on") {
		t.Errorf("exit %d: %s%s", code, out, talk)
	}
}

func TestActionsAndCausesOfADaemon(t *testing.T) {
	a := answer(t)
	a.says("actions", "no action")
	a.says("causes", "nothing was done")
	a.says("status", "remediation: not known")
	id := a.plans(drift.RemediateEnforce, goOn, 0)[0]
	a.says("status", "1 under way", "cause model_empty waits")
	a.says("actions --in-flight", "queued", "model_empty", "daemon")
	a.ends(id, drift.Ineffective, "it came back with the same")
	a.says("actions --state ended --outcome ineffective --workspace 6b66", "ineffective", "it came back with the same")
	a.says("actions --source reno-stars --in-flight", "no action")
	a.says("actions 1", "action 1, ineffective", "the platform answered accepted: provisioning (call 1)", "called ", "ended ")
	a.fails("actions one", "the number of an action")
	a.fails("actions 99", "404")
	a.fails("actions --state odd", "query.state")
	a.fails("actions --limit 0", "--limit")
	a.says("status", "stopped: nothing more is tried for cause model_empty")
	a.says("causes", "model_empty", "enforce", "stopped: action 1", "never")
	a.says("causes -o yaml", "stopped_by:")
	a.says("__complete actions 1", "1\tMarketing Agent, ineffective")
	a.says("__complete approve --cause mod", "model_empty\tstopped")
	a.says("approve --cause model_empty --reason mended", "approved: cause model_empty may go on")
	a.says("causes", "goes on")
	var all struct{ Actions []admin.Reprovision }
	if err := json.Unmarshal([]byte(a.says("actions -o json")), &all); err != nil || len(all.Actions) != 1 {
		t.Errorf("got %+v, %v", all, err)
	}
}

func TestApproveByName(t *testing.T) {
	a := answer(t)
	a.says("approve 6b66 --reason agreed --for 8h", "approved: workspace "+marketing+" of reno-stars until ", "cause model_empty may go on")
	a.says("approve 6b77 --reason agreed -o json", `"cause": null`)
	a.fails("approve 6b66 --cause model_empty --reason r", "name a workspace, or a cause")
	a.fails("approve --reason r", "name a workspace, or a cause")
	a.fails("approve --cause other --reason r", "404")
	a.fails("approve 6b66 --reason r --for soon", "422")
	a.fails("approve 6b66", "reason")
	if _, err := a.store.Action(t.Context(), 1); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an approval acts: %v", err)
	}
}

// What the daemon judged stands beside what one look gives, and that none
// answers is no failure.
func TestExplainAsksADaemon(t *testing.T) {
	a := answer(t)
	said := func(env map[string]string) string {
		var out bytes.Buffer
		app := &app{env: func(name string) (string, bool) { v, ok := env[name]; return v, ok }, stdout: &out, stderr: &out}
		view := <-app.remote(&cobra.Command{}).askDaemon(t.Context(), "6b66")
		(&explainer{terminal: newTerminal(&out, &out, true, app.env)}).daemon(view.of(marketing))
		return out.String()
	}
	if got := said(a.env); !strings.Contains(got, "it has judged nothing") || !strings.Contains(got, "this look knows none of them") {
		t.Errorf("nothing was judged: %s", got)
	}
	a.judged(drift.Judgement{Rule: drift.RuleOutsideWindow, Words: "not at night", Next: time.Now().Add(time.Hour)})
	if got := said(a.env); !strings.Contains(got, "none: outside_window, since ") || !strings.Contains(got, "not at night") || !strings.Contains(got, "asked again") {
		t.Errorf("judged: %s", got)
	}
	nobody := map[string]string{"RECONCILER_SERVER": "http://127.0.0.1:1", "RECONCILER_CONFIG": a.env["RECONCILER_CONFIG"]}
	if got := said(nobody); !strings.Contains(got, "none answered at http://127.0.0.1:1") {
		t.Errorf("nobody is there: %s", got)
	}
}

// judged writes what a planner of reno-stars would have.
func (a *answering) judged(j drift.Judgement) {
	a.t.Helper()
	pool, err := pgx.Connect(a.t.Context(), a.database)
	if err != nil {
		a.t.Fatal(err)
	}
	defer pool.Close(context.Background())
	if _, err := pool.Exec(a.t.Context(), "INSERT INTO judgements (source, workspace, rule, words, next_at, since) VALUES ('reno-stars', $1, $2, $3, $4, now())", marketing, string(j.Rule), j.Words, j.Next); err != nil {
		a.t.Fatal(err)
	}
}
