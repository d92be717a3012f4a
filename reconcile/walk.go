package reconcile

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Pass is one walk over the sources. Its fields are its configuration.
type Pass struct {
	Sources  []Source
	Resolver Resolver
	Previous drift.Derivation // for the cause registry_differs; nil: none
	Observer Observer         // nil: containers are not looked at
	Witness  Witness          // nil: no log is configured
	Policy   *drift.Policy
	Enforce  bool

	Credentials []string            // names that a container may hold
	Only        map[string][]string // ids by source; nil: all of every source
	Progress    func(stage string, done, total int)
	Now         func() time.Time
}

// readers bounds how many sources are read at once.
const readers = 8

// Run walks once. Sources that could not be read are in the result with their
// error and hold up no other; an error is returned only where ctx ended.
func (p *Pass) Run(ctx context.Context, key drift.Key) (*Result, error) {
	result := &Result{At: p.Now()}
	p.read(ctx, key, result)
	p.observe(ctx, key, result.Workspaces)
	result.Traffic = p.traffic(ctx, result.Workspaces)
	for i := range result.Workspaces {
		p.judge(&result.Workspaces[i])
	}
	p.askPlatforms(ctx, result)
	result.Fleet = fleetFindings(result.Traffic)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("pass: %w", context.Cause(ctx))
	}
	return result, nil
}

// Desired reads and resolves alone: no container, log or platform is asked.
func (p *Pass) Desired(ctx context.Context) (*Result, error) {
	result := &Result{At: p.Now()}
	p.read(ctx, "", result)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("pass: %w", context.Cause(ctx))
	}
	return result, nil
}

func (p *Pass) read(ctx context.Context, key drift.Key, result *Result) {
	found := make([][]Judged, len(p.Sources))
	result.Sources = make([]SourceResult, len(p.Sources))
	var group errgroup.Group
	group.SetLimit(readers)
	for i, source := range p.Sources {
		if p.Only != nil && len(p.Only[source.Name]) == 0 {
			result.Sources[i] = SourceResult{Name: source.Name}
			continue
		}
		group.Go(func() error {
			begun := time.Now()
			var err error
			found[i], err = p.readSource(ctx, source, key)
			result.Sources[i] = SourceResult{source.Name, len(found[i]), err, time.Since(begun)}
			return nil
		})
	}
	_ = group.Wait()
	for i := range found {
		result.Workspaces = append(result.Workspaces, found[i]...)
	}
}

func (p *Pass) readSource(ctx context.Context, source Source, key drift.Key) ([]Judged, error) {
	var found []Judged
	sel := Selection{IDs: p.Only[source.Name], Key: key, Credentials: p.Credentials}
	err := source.Reader.Workspaces(ctx, sel, func(w *drift.Workspace) error {
		found = append(found, Judged{Facts: drift.Facts{Workspace: w, Desired: p.Resolver.Desired(w)}})
		if len(found)%1000 == 0 {
			p.progress("read "+source.Name, len(found), 0)
		}
		return nil
	})
	if err != nil {
		return nil, err // half a list would make the rest look removed
	}
	return found, nil
}

func (p *Pass) progress(stage string, done, total int) {
	if p.Progress != nil {
		p.Progress(stage, done, total)
	}
}

// observe looks at every workspace that has something to look at, and gives
// the others the reason why nobody looked.
func (p *Pass) observe(ctx context.Context, key drift.Key, workspaces []Judged) {
	if p.Observer == nil {
		return
	}
	var targets []Target
	var asked []int
	for i := range workspaces {
		w, o := workspaces[i].Workspace, &workspaces[i].Observation
		*o = unasked(w)
		if o.State == drift.NotAsked && w.Scope() == drift.InScope {
			targets = append(targets, Target{w.Source, w.InstanceID})
			asked = append(asked, i)
		}
		o.At = p.Now()
	}
	p.progress("observe", 0, len(targets))
	for j, o := range p.Observer.Observe(ctx, key, targets) {
		workspaces[asked[j]].Observation = o
		if o.State == drift.Unreachable && !o.LastPing.IsZero() {
			workspaces[asked[j]].Unseen = p.Now().Sub(o.LastPing)
		}
	}
}

func unasked(w *drift.Workspace) drift.Observation {
	switch {
	case w.Scope() != drift.InScope:
		return drift.Observation{Reason: string(w.Scope())}
	case !w.OnAWS():
		return drift.Observation{State: drift.Unsupported, Reason: "compute provider " + w.ComputeProvider}
	case w.InstanceID == "":
		return drift.Observation{State: drift.NotRunning, Reason: "no instance"}
	}
	return drift.Observation{}
}

func (p *Pass) traffic(ctx context.Context, workspaces []Judged) *Calls {
	if p.Witness == nil {
		return nil
	}
	var lives []Life
	var owners []int
	for i := range workspaces {
		w, o := workspaces[i].Workspace, &workspaces[i].Observation
		if w.Scope() != drift.InScope {
			continue
		}
		lives = append(lives, Life{w.Source, w.ID, o.Addresses, o.StartedAt})
		owners = append(owners, i)
	}
	p.progress("read the proxy log", 0, 0)
	calls := p.Witness.Traffic(ctx, lives)
	for j := range calls.ByLife {
		workspaces[owners[j]].Traffic = &calls.ByLife[j]
	}
	return &calls
}

func (p *Pass) judge(j *Judged) {
	j.Findings = drift.Compare(p.Policy, &j.Facts)
	j.Verdict, j.Reason = drift.Conclude(p.Policy, &j.Facts, j.Findings)
	j.Causes = drift.Diagnose(p.Resolver, drift.Past{Previous: p.Previous}, &j.Facts, j.Findings)
}

// decide comes last: what may be done rests on everything that was asked.
func (p *Pass) decide(j *Judged, hasPlatform bool) {
	j.Judgement = drift.Judge(&drift.Case{Facts: &j.Facts, Policy: p.Policy, Verdict: j.Verdict,
		Findings: j.Findings, Platform: hasPlatform, Enforce: p.Enforce})
}

// Calls that nobody could have made are reported once they are more than a few
// and more than a share of all billed ones: a health check is not an alarm.
const (
	unattributedFew   = 10
	unattributedShare = 100 // one in
)

func fleetFindings(calls *Calls) []drift.Finding {
	if calls == nil {
		return nil
	}
	u, all := calls.Unattributed.Billed, calls.Unattributed.Billed
	for i := range calls.ByLife {
		all += calls.ByLife[i].Billed
	}
	if u <= unattributedFew || u*unattributedShare <= all {
		return nil
	}
	return []drift.Finding{{Kind: drift.UnattributedTraffic, Severity: drift.Medium, Evidence: addressLines(calls.Unattributed.Addresses),
		Summary: fmt.Sprintf("%d billed calls came from addresses that no workspace held", u)}}
}

func addressLines(counts []AddressCount) []string {
	lines := []string{}
	for _, c := range counts {
		lines = append(lines, fmt.Sprintf("%s: %d billed, %d rejected", c.Addr, c.Billed, c.Rejected))
	}
	return lines
}
