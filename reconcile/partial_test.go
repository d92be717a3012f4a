package reconcile_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/reconcile"
)

// inventory is an observer that knows addresses without looking.
type inventory struct {
	observer
	addresses map[string][]string // by instance
	asked     []reconcile.Target
}

func (v *inventory) Neighbours(_ context.Context, targets []reconcile.Target) []drift.Observation {
	v.asked = append(v.asked, targets...)
	answers := make([]drift.Observation, len(targets))
	for i, t := range targets {
		answers[i].Addresses = parse(v.addresses[t.InstanceID])
	}
	return answers
}

// one is a pass over the workspace "asked" alone, whose container is fine and
// whose addresses call the proxy; others are on the instances i-<id>.
func one(t *testing.T, inventoried map[string][]string) (*reconcile.Pass, *inventory, *log) {
	p := pass(t, source("reno", "asked", "sister"), source("acme", "stranger"))
	look := &inventory{addresses: inventoried, observer: observer{answers: map[string]drift.Observation{"i-asked": fine("10.0.0.7", "203.0.113.7")}}}
	witness := &log{calls: map[string]int{"10.0.0.7": 5, "203.0.113.7": 7, "198.51.100.1": 500}}
	p.Observer, p.Witness, p.Only = look, witness, map[string][]string{"reno": {"asked"}}
	return p, look, witness
}

// A look at one workspace must not accuse it of what another with the same
// address did: equal private addresses in different VPCs, a NAT, one instance.
func TestPartialPassKnowsTheNeighbours(t *testing.T) {
	for _, row := range []struct {
		name              string
		inventory         map[string][]string
		arrange           func(*reconcile.Pass)
		billed, ambiguous int
	}{
		{name: "nobody has its addresses", inventory: map[string][]string{"i-sister": {"10.0.0.8"}}, billed: 12},
		{name: "a sister has its private one", inventory: map[string][]string{"i-sister": {"10.0.0.7"}}, billed: 7, ambiguous: 5},
		{name: "another tenant's has its private one", inventory: map[string][]string{"i-stranger": {"10.0.0.7"}}, billed: 7, ambiguous: 5},
		{name: "somebody has both", inventory: map[string][]string{"i-sister": {"10.0.0.7"}, "i-stranger": {"203.0.113.7"}}, ambiguous: 12},
		{name: "a sister on the same instance", ambiguous: 12, arrange: func(p *reconcile.Pass) {
			rows(p.Sources[0]).workspaces[1].InstanceID = "i-asked"
		}},
		{name: "a platform workspace has an address too", inventory: map[string][]string{"i-sister": {"203.0.113.7"}}, billed: 5, ambiguous: 7, arrange: func(p *reconcile.Pass) {
			rows(p.Sources[0]).workspaces[1].Kind = "platform"
		}},
		{name: "a source that is not walked at all", inventory: map[string][]string{"i-stranger": {"203.0.113.7"}}, billed: 5, ambiguous: 7, arrange: func(p *reconcile.Pass) {
			p.Sources, p.Others, p.Only = []reconcile.Source{source("reno", "asked")}, p.Sources[1:], nil
		}},
		{name: "a source that cannot be read holds no one up", inventory: map[string][]string{"i-stranger": {"203.0.113.7"}}, billed: 12, arrange: func(p *reconcile.Pass) {
			rows(p.Sources[1]).before = func(context.Context) error { return errors.New("refused") }
		}},
		{name: "nobody can be asked for addresses: only what is unique accuses", billed: 7, ambiguous: 5, arrange: func(p *reconcile.Pass) {
			p.Observer = &p.Observer.(*inventory).observer
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			p, _, _ := one(t, row.inventory)
			if row.arrange != nil {
				row.arrange(p)
			}
			result := run(t, p)
			if diff := cmp.Diff([]string{"asked"}, ids(result)); diff != "" {
				t.Errorf("workspaces (-want +got):\n%s", diff)
			}
			j := judged(t, result, "asked")
			if j.Traffic.Billed != row.billed || j.Traffic.Ambiguous != row.ambiguous {
				t.Errorf("billed %d, ambiguous %d; want %d, %d", j.Traffic.Billed, j.Traffic.Ambiguous, row.billed, row.ambiguous)
			}
			if accused := len(j.Findings) > 0; accused != (row.billed > 0) {
				t.Errorf("accused: %v (%v)", accused, kinds(j))
			}
			if !result.Partial || result.Fleet != nil {
				t.Errorf("partial %v, fleet %+v: what none of these did is not nobody's", result.Partial, result.Fleet)
			}
			for _, s := range result.Sources {
				if s.Err != nil {
					t.Errorf("a source that was not asked for fails the pass: %v", s.Err)
				}
			}
		})
	}
}

// The others are looked up once there is something to accuse of, without a key
// and without a look into them; those without an instance on AWS are not.
func TestNeighboursAreLookedUpSparingly(t *testing.T) {
	p, look, witness := one(t, nil)
	witness.calls = map[string]int{"198.51.100.1": 500}
	run(t, p)
	if look.asked != nil || len(witness.lives) != 1 || rows(p.Sources[1]).asked != nil {
		t.Errorf("nothing to accuse of, and %v were looked up, the log read %d times", look.asked, len(witness.lives))
	}

	p, look, witness = one(t, nil)
	acme := rows(p.Sources[1])
	acme.workspaces = append(acme.workspaces, workspace("acme", "asleep"), workspace("acme", "elsewhere"))
	acme.workspaces[1].InstanceID, acme.workspaces[2].ComputeProvider = "", "gcp"
	run(t, p)
	want := []reconcile.Target{{Source: "reno", InstanceID: "i-sister"}, {Source: "acme", InstanceID: "i-stranger"}}
	if diff := cmp.Diff(want, look.asked); diff != "" {
		t.Errorf("looked up (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]reconcile.Target{{Source: "reno", InstanceID: "i-asked"}}, look.targets); diff != "" {
		t.Errorf("looked into (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]reconcile.Selection{{}}, acme.asked); diff != "" {
		t.Errorf("selection (-want +got):\n%s", diff)
	}
	for _, life := range witness.lives[1] {
		if life.ID != "asked" && !life.Since.IsZero() {
			t.Errorf("%s could be accused: %+v", life.ID, life)
		}
	}
}

// Which addresses are anybody's where nobody can be asked.
func TestUniqueAddresses(t *testing.T) {
	for address, accuses := range map[string]bool{
		"203.0.113.7": true, "8.8.8.8": true, "2600:1f18::7": true,
		"10.1.2.3": false, "172.16.0.1": false, "192.168.0.1": false, "100.64.0.1": false, "100.127.255.255": false,
		"169.254.1.1": false, "127.0.0.1": false, "fd00::7": false, "fe80::7": false,
	} {
		p := pass(t, source("reno", "asked"))
		p.Observer = &observer{answers: map[string]drift.Observation{"i-asked": fine(address)}}
		p.Witness = &log{calls: map[string]int{address: 3}}
		p.Only = map[string][]string{"reno": {"asked"}}
		if got := len(judged(t, run(t, p), "asked").Findings) > 0; got != accuses {
			t.Errorf("%s accuses: %v, want %v", address, got, accuses)
		}
	}
}
