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

	Credentials []string                            // names that a container may hold
	Only        map[string][]string                 // ids by source; nil: all of every source
	Others      []Source                            // not walked, but known to have workspaces: any of them may hold an address that ours hold
	Progress    func(stage string, done, total int) // called from several goroutines; nil: nobody looks. A total of 0 is not known
	Now         func() time.Time                    // nil: the clock

	// What a daemon knows beyond one walk; nil: nothing.
	Memory    func(source, id string) Memory           // of a workspace
	Strangers func(walked []Judged) []Life             // who may hold addresses and was never seen, in place of asking for it
	Gate      func(context.Context) (leave func())     // entered to read a source; leave is called when that is done
	Learn     func(ctx context.Context, seen []Judged) // given what containers told, before the log is asked whose calls are
	LookFor   time.Duration                            // that containers are looked at; what has not answered by then was not seen. 0: no bound
	Urgent    bool                                     // somebody waits for it: it goes before others where there is a queue
}

// Memory is what earlier looks leave to the next.
type Memory struct {
	SeenAt    time.Time    // when its container was last seen; zero: never
	Overrides []drift.Mode // earlier recognised overrides
	Drifted   bool         // a drift of it is open
}

// readers bounds how many sources are read at once.
const readers = 16

// Run walks once. Sources that could not be read are in the result with their
// error and hold up no other; an error is returned only where ctx ended.
func (p *Pass) Run(ctx context.Context, key drift.Key) (*Result, error) {
	begun := time.Now()
	result := &Result{At: p.now(), Partial: p.partial()}
	p.read(ctx, key, result)
	p.observe(ctx, key, result.Workspaces)
	if p.Learn != nil {
		p.Learn(ctx, result.Workspaces)
	}
	result.Traffic = p.traffic(ctx, result.Workspaces)
	for i := range result.Workspaces {
		p.judge(&result.Workspaces[i])
	}
	p.askPlatforms(ctx, result)
	if !result.Partial {
		result.Fleet = fleetFindings(result.Traffic)
	}
	result.Took = time.Since(begun)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("pass: %w", context.Cause(ctx))
	}
	return result, nil
}

// Desired reads and resolves alone: no container, log or platform is asked.
func (p *Pass) Desired(ctx context.Context) (*Result, error) {
	result := &Result{At: p.now(), Partial: p.partial()}
	p.read(ctx, "", result)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("pass: %w", context.Cause(ctx))
	}
	return result, nil
}

// partial tells whether there are workspaces that the pass does not walk.
func (p *Pass) partial() bool { return p.Only != nil || len(p.Others) > 0 }

func (p *Pass) now() time.Time {
	if p.Now == nil {
		return time.Now()
	}
	return p.Now()
}

func (p *Pass) memory(w *drift.Workspace) Memory {
	if p.Memory == nil {
		return Memory{}
	}
	return p.Memory(w.Source, w.ID)
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
	if p.Gate != nil {
		defer p.Gate(ctx)()
	}
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

func (p *Pass) judge(j *Judged) {
	j.Findings = drift.Compare(p.Policy, &j.Facts)
	j.Verdict, j.Reason = drift.Conclude(p.Policy, &j.Facts, j.Findings)
	past := drift.Past{Previous: p.Previous, Overrides: p.memory(j.Workspace).Overrides}
	j.Causes = drift.Diagnose(p.Resolver, past, &j.Facts, j.Findings)
}

// decide comes last: what may be done rests on everything that was asked. What
// was before is not known to a pass; the daemon judges by that, too.
func (p *Pass) decide(j *Judged, source *Source) {
	j.Judgement = drift.Judge(&drift.Case{Facts: &j.Facts, Policy: p.Policy, Verdict: j.Verdict, Findings: j.Findings,
		Platform: source.Platform != nil, Remedy: &source.Remedy, Now: p.now()})
}
