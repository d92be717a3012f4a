package evidence

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// Of makes the document of a drift, at a time.
func Of(e *store.Evidence, at time.Time) (*Document, error) {
	b := &builder{}
	payer := payerOf(e)
	b.add(KindEpisode, episodeOf(e, payer))
	for _, f := range e.Findings {
		b.add(KindFinding, finding{f.Kind, f.Severity, f.Summary, f.Remediable, append([]string{}, f.Evidence...)})
	}
	for i, c := range e.Causes {
		b.add(KindCause, cause{c.Code, c.Summary, i == 0})
	}
	for _, s := range []snapshot{{"opening", e.Opened}, {"last_change", e.Latest}} {
		if len(s.Workspace) > 0 {
			b.add(KindSnapshot, s)
		}
	}
	for i := range e.Calls {
		b.add(KindCalls, callsOf(&e.Calls[i]))
	}
	b.add(KindTotal, totalOf(e.Calls))
	for i := range e.Actions {
		b.add(KindAction, actionOf(&e.Actions[i]))
	}
	for _, v := range e.Events {
		b.add(KindEvent, event{v.ID, v.At, v.Kind, v.Severity, v.Summary, v.By})
	}
	for i := range e.Suppressions {
		b.add(KindSuppression, suppressionOf(&e.Suppressions[i]))
	}
	if len(e.Suppressions) > 0 {
		b.add(KindSuppressed, sum(e.Quiet))
	}
	if b.err != nil {
		return nil, fmt.Errorf("evidence of drift %d: %w", e.ID, b.err)
	}
	return chain(at, b.entries)
}

// builder collects entries that are not chained yet.
type builder struct {
	entries []Entry
	err     error
}

func (b *builder) add(kind string, body any) {
	text, err := json.Marshal(body)
	if err != nil && b.err == nil {
		b.err = err
	}
	b.entries = append(b.entries, Entry{Number: len(b.entries) + 1, Kind: kind, Body: text})
}

func episodeOf(e *store.Evidence, payer Payer) episode {
	out := episode{Drift: e.ID, Source: e.Source, Workspace: e.Workspace, Name: e.Name, Severity: e.Severity, Payer: payer,
		FirstEvidence: e.FirstEvidence, OpenedAt: e.OpenedAt, ClosedAt: moment(e.ClosedAt), Result: e.Result}
	if !e.Open() {
		out.LastSeenAt = moment(e.LastSeenAt)
	}
	return out
}

// stood is what a snapshot tells of who pays.
type stood struct {
	Desired struct {
		Mode drift.Mode `json:"mode"`
	} `json:"desired"`
	Observed *struct {
		Mode drift.Mode `json:"mode"`
	} `json:"observed"`
}

const unknown = "unknown"

// payerOf says who paid. Billed calls through the proxy are the platform's bill,
// whatever the container says of itself.
func payerOf(e *store.Evidence) Payer {
	p := Payer{unknown, unknown, []string{}}
	var s stood
	for _, doc := range []json.RawMessage{e.Opened, e.Latest} {
		if json.Unmarshal(doc, &s) == nil && s.Desired.Mode != "" {
			break
		}
	}
	p.Should = pays(s.Desired.Mode)
	if p.Should != "platform" && sum(e.Calls).Billed > 0 {
		p.Paid, p.By = "platform", append(p.By, "calls")
	}
	if s.Observed != nil && s.Observed.Mode != "" {
		switch by := pays(s.Observed.Mode); p.Paid {
		case unknown:
			p.Paid, p.By = by, append(p.By, "container")
		case by:
			p.By = append(p.By, "container")
		}
	}
	return p
}

// pays is who pays in a mode.
func pays(m drift.Mode) string {
	switch m {
	case drift.ModeBYOK:
		return "customer"
	case drift.ModePlatformManaged:
		return "platform"
	case drift.ModeDisabled:
		return "nobody"
	}
	return unknown
}

func callsOf(c *store.HourCalls) calls {
	return calls{c.Hour, Operation(c.Operation), status(c.Class), Attribution(int16(c.Attribution)), sum([]store.HourCalls{*c}), c.First, c.Last}
}

func sum(list []store.HourCalls) (s Sums) {
	for i := range list {
		c := &list[i]
		s.Billed += c.Billed
		s.Rejected += c.Rejected
		s.Edge += c.Edge
		s.InputTokens += c.Input
		s.OutputTokens += c.Output
		s.WithoutTokens += c.Untold
		s.KnownCostUSD += c.CostUSD
		s.Unpriced += c.Unpriced
	}
	s.KnownCostUSD = math.Round(s.KnownCostUSD*1e9) / 1e9 // what adding in binary leaves behind
	if s.Unpriced == 0 && s.Billed > 0 {
		known := s.KnownCostUSD
		s.CostUSD = &known
	}
	return s
}

func totalOf(list []store.HourCalls) total {
	t := total{Sums: sum(list), Operations: map[string]Sums{}}
	by := map[string][]store.HourCalls{}
	for _, c := range list {
		by[Operation(c.Operation)] = append(by[Operation(c.Operation)], c)
		if t.First == nil || c.First.Before(*t.First) {
			t.First = &c.First
		}
		if t.Last == nil || c.Last.After(*t.Last) {
			t.Last = &c.Last
		}
	}
	for operation, calls := range by {
		t.Operations[operation] = sum(calls)
	}
	return t
}

func actionOf(a *store.Action) action {
	out := action{ID: a.ID, Cause: a.Cause, State: string(a.State), Mode: a.Mode, By: a.By, Reason: a.Reason, Forced: a.Forced, CreatedAt: a.CreatedAt,
		OpenedAt: moment(a.OpenedAt), CalledAt: moment(a.CalledAt), EndedAt: moment(a.EndedAt), Calls: a.Calls, Outcome: a.Outcome, Words: a.Words, Before: a.Before, After: a.After}
	if call := &a.Attempt.Call; call.Result != "" {
		out.Answer = &answer{call.Result, call.Words}
	}
	return out
}

func suppressionOf(p *store.PastSuppression) suppression {
	out := suppression{ID: p.ID, Kind: p.Kind, Reason: p.Reason, By: p.By, At: p.At, ExpiresAt: p.ExpiresAt, EndedAt: moment(p.EndedAt), Price: sum(p.Calls)}
	if p.Workspace != "" {
		out.Workspace = &p.Workspace
	}
	return out
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
