package reconcile

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// Actor reprovisions workspaces of one tenant. There is none unless acting is
// allowed.
type Actor interface {
	// Restart makes one call, and says how it ended as far as is known. It never
	// makes a second one.
	Restart(ctx context.Context, id string) drift.Call
}

// agreement is how often in a row looks have found the same of a workspace.
type agreement struct {
	found    string // what, in short
	resolver string // that the looks went by
	times    int
	changed  bool // the resolver has changed since, and it has not been confirmed yet
}

// agree counts a look, and tells how many agree.
func (a *agreement) agree(found, resolver string, confirmations int) {
	switch {
	case a.resolver != "" && a.resolver != resolver:
		*a = agreement{found, resolver, 1, true}
	case a.found != found:
		*a = agreement{found, resolver, 1, a.changed}
	default:
		a.found, a.resolver = found, resolver
		a.times++
	}
	if a.times >= confirmations {
		a.changed = false
	}
}

// found says in short what a look found that a reprovision might mend.
func found(j *Judged) string {
	kinds := []string{string(j.Desired.Mode), drift.CauseKey(j.Causes, j.Findings)}
	for _, f := range j.Findings {
		if f.Remediable {
			kinds = append(kinds, string(f.Kind))
		}
	}
	return strings.Join(kinds, " ")
}

// plan decides what may be done about what a look has found, and has it queued.
// What cannot be decided now is decided after the next look. The caller holds
// settle.
func (h *holder) plan(ctx context.Context, w *World, l *look) {
	source, ok := w.source(h.lease.Source)
	if !ok || l.settled == nil || l.result.Sources[0].Err != nil {
		return
	}
	requests, err := h.requests(ctx)
	if err != nil {
		h.fail("requested reprovisions not read", err)
		return
	}
	if source.Remedy.Mode == drift.RemediateOff && len(requests) == 0 && !h.planned {
		return
	}
	d := &deciding{holder: h, world: w, source: source, look: l}
	p := &store.Planning{Lease: h.lease, Full: l.full, Workspaces: len(h.known.States)}
	for i := range l.result.Workspaces {
		j := &l.result.Workspaces[i]
		if l.settled.Skip(j.Workspace.ID) && !h.daemon.pauses.observingWorkspace(source.Name, j.Workspace.ID) {
			p.Full = false // a newer look has settled it, and has been judged by: what that found stays
			continue
		}
		if c := d.candidate(j, requests[j.Workspace.ID]); c != nil {
			p.Candidates = append(p.Candidates, *c)
		} else {
			p.Clear = append(p.Clear, j.Workspace.ID)
		}
	}
	slices.SortStableFunc(p.Candidates, first)
	planned, err := h.daemon.store.Plan(ctx, p)
	if err != nil {
		h.fail("not planned", err)
		return
	}
	h.planned = source.Remedy.Mode != drift.RemediateOff || len(p.Candidates) > 0
	judged := map[string]drift.Judgement{}
	for i := range planned.Judgements {
		judged[p.Candidates[i].Workspace] = planned.Judgements[i]
	}
	for i := range l.result.Workspaces {
		if j, ok := judged[l.result.Workspaces[i].Workspace.ID]; ok {
			l.result.Workspaces[i].Judgement = j
		}
	}
	for _, e := range planned.Events {
		h.daemon.tell(e)
	}
}

// requests gives what persons want of the source's workspaces.
func (h *holder) requests(ctx context.Context) (map[string]*store.Action, error) {
	list, err := h.daemon.store.Requested(ctx, h.lease.Source)
	wanted := map[string]*store.Action{}
	for i := range list {
		wanted[list[i].Workspace] = &list[i]
	}
	return wanted, err
}

// first puts the canaries before the others, and of each kind those first of
// which more is being paid.
func first(a, b store.Candidate) int {
	rank := func(c *store.Candidate) int {
		n := slices.Index(drift.Severities, c.Severity)
		if c.Request == 0 {
			n += len(drift.Severities)
		}
		if !c.Canary {
			n += 2 * len(drift.Severities)
		}
		return n
	}
	return rank(&a) - rank(&b)
}

// deciding is what all decisions after one look rest on.
type deciding struct {
	*holder
	world  *World
	source Source
	look   *look
}

// candidate gives what is to be decided about a workspace; nil: nothing.
func (d *deciding) candidate(j *Judged, request *store.Action) *store.Candidate {
	w := j.Workspace
	open, drifted := d.known.Episodes[w.ID]
	if !drifted && request == nil {
		delete(d.agreeing, w.ID)
		return nil
	}
	remedy := remedyFor(d.source.Remedy, request)
	history := &drift.History{OpenedAt: open.OpenedAt, Surge: cmp.Or(d.look.settled.doubted[w.ID], d.look.settled.inputs), Suppressed: j.Verdict == drift.Drifted && d.look.settled.Quiet(j), AtRequest: request != nil}
	history.Paused, history.PausedUntil = d.daemon.pauses.acting(w.Source, w.ID)
	if request != nil {
		history.Forced = request.Forced
	}
	history.Agreeing, history.ResolverChanged = d.agreed(j, remedy.Confirmations)
	c := &store.Candidate{Workspace: w.ID, Name: w.Name, Episode: open.ID, Cause: drift.CauseKey(j.Causes, j.Findings), Inputs: drift.InputsDigest(w, &j.Desired, d.world.ResolverID),
		Severity: open.Severity, Mode: remedy.Mode, Canary: w.UpdateTier == "canary", Attempt: attemptAt(j), Before: d.daemon.opts.Document(d.world.Policy, j)}
	if request != nil {
		c.Request, c.Mode = request.ID, request.Mode
	}
	now := time.Now()
	c.Judge = func(st *store.Standing) drift.Judgement {
		known := *history
		recall(&known, st)
		known.Ramp, known.Room = &st.Ramp, &st.Room
		return drift.Judge(&drift.Case{Facts: &j.Facts, Policy: d.world.Policy, Verdict: j.Verdict, Findings: j.Findings, Platform: d.source.Platform != nil,
			Remedy: &remedy, Now: now, History: &known})
	}
	return c
}

// remedyFor is what holds for a workspace: a person's dry run is one whatever
// else is, and what is not enforced is not done for a person either.
func remedyFor(r drift.Remedy, request *store.Action) drift.Remedy {
	switch {
	case request == nil:
	case request.Mode == drift.RemediateDryRun:
		r.Mode = drift.RemediateDryRun
	case r.Mode != drift.RemediateEnforce:
		r.Mode = drift.RemediateOff
	}
	return r
}

// recall adds what our own records tell.
func recall(h *drift.History, st *store.Standing) {
	h.InFlight, h.Attempts, h.EndedAt, h.Approved, h.Pulse, h.First = st.InFlight, st.Attempts, st.EndedAt, st.Approved, st.Pulse, st.First
}

// attemptAt is how a workspace stands before it is acted on.
func attemptAt(j *Judged) drift.Attempt {
	a := drift.Attempt{Desired: j.Desired.Mode, StartedAt: j.Observation.StartedAt, Instance: j.Workspace.InstanceID}
	for _, f := range j.Findings {
		if f.Remediable {
			a.Kinds = append(a.Kinds, f.Kind)
		}
	}
	return a
}

// agreed counts the look, and tells how many agree. One that has not seen the
// container counts for nothing, and ends no row.
func (d *deciding) agreed(j *Judged, confirmations int) (times int, changed bool) {
	a := d.agreeing[j.Workspace.ID]
	if a == nil {
		a = &agreement{}
		d.agreeing[j.Workspace.ID] = a
	}
	if j.Observation.State == drift.Observed {
		a.agree(found(j), d.world.ResolverID, max(1, confirmations))
	}
	return a.times, a.changed
}
