package fleetsim

import (
	"context"
	"net/netip"
	"slices"
	"time"
)

// Standing is what a member is at one moment. While restarts may be under way,
// the fields of a Member that they change are read through it.
type Standing struct {
	InstanceID      string // the old one until another is launched, and for ever where none is
	Private, Public netip.Addr
	Started         time.Time // of its container
	Fault           Fault
	Also            Fault // a second one; see NastyWorse
	Drains          bool  // it calls the proxy, though it must not
	Gone            bool  // it has no instance at present: between two, or dead
	InFlight        int   // restarts that have begun and not ended
	Restarts        int   // that have begun, ever
}

// Standing gives what a member is now.
func (s *Sim) Standing(m *Member) Standing {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Standing{InstanceID: m.Row.InstanceID, Private: m.Private, Public: m.Public, Started: m.Started, Fault: m.Fault, Also: m.also,
		Drains: m.Drains, Gone: m.gone, InFlight: m.flying, Restarts: m.cycles}
}

// Settled waits until none of the members is being restarted; without members
// named, none of the fleet.
func (s *Sim) Settled(ctx context.Context, members ...*Member) error {
	if len(members) == 0 {
		members = s.Members
	}
	for {
		next := s.restarts.log.next() // before looking, or the last end might be missed
		if !slices.ContainsFunc(members, func(m *Member) bool { return s.Standing(m).InFlight > 0 }) {
			return nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// FixPlatform mends the incident's bug: from now on a re-provision derives from
// the stored model.
func (s *Sim) FixPlatform() { s.restarts.fixed.Store(true) }

// BreakPlatform brings it back.
func (s *Sim) BreakPlatform() { s.restarts.fixed.Store(false) }

// NextRestarts decides about the next restarts of a member, before
// PlatformOptions are asked.
func (s *Sim) NextRestarts(m *Member, fates ...Nasty) {
	s.restarts.mu.Lock()
	defer s.restarts.mu.Unlock()
	s.restarts.next[m.Row.ID] = append(s.restarts.next[m.Row.ID], fates...)
}

// PlatformURL is where a tenant's API is.
func (s *Sim) PlatformURL(t *Tenant) string { return s.servers[1].url + "/" + t.Name }

// AdminToken is every tenant's.
func (s *Sim) AdminToken() string { return adminToken.Reveal() }

// SetActiveTasks says how much a member's agent has to do.
func (s *Sim) SetActiveTasks(ctx context.Context, m *Member, n int) error {
	return s.ledger(m.Tenant).set(ctx, m, `active_tasks = $2`, n)
}

// SetStatus changes a member's row alone, as pausing one does on SaaS: its
// instance stays.
func (s *Sim) SetStatus(ctx context.Context, m *Member, status string) error {
	return s.ledger(m.Tenant).set(ctx, m, `status = $2::text::workspace_status`, status)
}

// SetParent puts a member of the same tenant above another.
func (s *Sim) SetParent(ctx context.Context, m, parent *Member) error {
	return s.ledger(m.Tenant).set(ctx, m, `parent_id = $2`, parent.Row.ID)
}

// ledger gives the tenant's database as the platform uses it.
func (s *Sim) ledger(t *Tenant) *ledger { return s.ledgers[t] }
