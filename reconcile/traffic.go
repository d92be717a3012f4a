package reconcile

import (
	"context"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// traffic asks the witness for every workspace's calls. A pass that does not
// walk all workspaces looks for those that could have made the calls as well,
// before it believes them.
func (p *Pass) traffic(ctx context.Context, workspaces []Judged) *Calls {
	if p.Witness == nil {
		return nil
	}
	lives, owners := livesOf(workspaces)
	p.progress("read the proxy log", 0, 0)
	if p.Strangers != nil {
		lives = append(lives, p.Strangers(workspaces)...)
	}
	calls := p.Witness.Traffic(ctx, lives)
	if p.partial() && p.Strangers == nil && blamesAny(calls.ByLife) {
		if others := p.others(ctx, workspaces); len(others) > 0 {
			p.progress("read the proxy log again", 0, 0)
			calls = p.Witness.Traffic(ctx, append(lives, others...))
		}
	}
	for j, i := range owners {
		if i != nobody {
			t := calls.of(j)
			workspaces[i].Traffic = &t
		}
	}
	return &calls
}

// nobody owns a life whose calls only must not be taken for another's.
const nobody = -1

// livesOf lists by what each workspace's calls can be told, and whose facts
// they belong to. Those out of scope are listed by their ids alone, for a line
// may name them; a removed one is not, for nobody should be calling under it.
func livesOf(workspaces []Judged) (lives []Life, owners []int) {
	for i := range workspaces {
		w, o := workspaces[i].Workspace, &workspaces[i].Observation
		switch w.Scope() {
		case drift.InScope:
			lives = append(lives, Life{Source: w.Source, ID: w.ID, Addresses: o.Addresses, Since: o.StartedAt, Paid: workspaces[i].Desired.Mode == drift.ModePlatformManaged})
			owners = append(owners, i)
		case drift.SkippedRemoved:
		default:
			lives = append(lives, Life{Source: w.Source, ID: w.ID})
			owners = append(owners, nobody)
		}
	}
	return lives, owners
}

func blamesAny(traffic []drift.Traffic) bool {
	for i := range traffic {
		if traffic[i].Billed+traffic[i].Rejected > 0 {
			return true
		}
	}
	return false
}

// of gives a life's traffic. Calls that were seen stand; that none were seen in
// a log that could not be read whole says nothing.
func (c *Calls) of(life int) (t drift.Traffic) {
	if life < len(c.ByLife) {
		t = c.ByLife[life]
	} else {
		t.Err = "the proxy log was not read"
	}
	if c.Err != nil && t.Billed+t.Rejected == 0 {
		t.Err = c.Err.Error()
	}
	return t
}
