package fleetsim

import (
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"reflect"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim/machine"
)

// cycle is one full stop and start of a workspace, as the platform does it: the
// old instance first, whatever comes after. Two of the same workspace follow
// each other.
func (r *restarts) cycle(m *Member, number int, fate Nasty) {
	m.turn.Lock()
	defer m.turn.Unlock()
	switch why, err := r.provision(m, fate); {
	case r.ctx.Err() != nil: // the fleet has ended, and this with it
	case err != nil:
		r.end(m, number, "failed", err.Error())
	case why != "":
		r.end(m, number, "failed", why)
	default:
		r.end(m, number, "online", "")
	}
}

// provision stops the old instance and starts another, or tells why not.
func (r *restarts) provision(m *Member, fate Nasty) (refusal string, err error) {
	ledger := r.sim.ledger(m.Tenant)
	if !r.wait(r.opts.Stop) {
		return "", r.ctx.Err()
	}
	// Once more: the restart before may have written its end after this one was
	// called for.
	if err := ledger.set(r.ctx, m, `status = 'provisioning'`); err != nil {
		return "", err
	}
	if err := r.sim.terminate(m); err != nil {
		return "", err
	}
	facts, err := ledger.facts(r.ctx, m.Row.ID)
	if err != nil {
		return "", err
	}
	refusal = r.refusal(m, facts)
	switch {
	case !r.wait(r.opts.Launch):
		return "", r.ctx.Err()
	case refusal != "":
		return refusal, nil
	case fate == NastyLost:
		return "instance launch: insufficient capacity", nil
	}
	if err := r.launch(m, fate); err != nil {
		return "", err
	}
	r.wait(r.opts.Register)
	return "", nil
}

// wait is false at the end of the fleet.
func (r *restarts) wait(d time.Duration) bool {
	if d <= 0 {
		return r.ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.ctx.Done():
		return false
	}
}

// end writes what became of a restart. Another one of the same workspace that
// waits for its turn keeps the status as it is.
func (r *restarts) end(m *Member, number int, status, why string) {
	r.sim.mu.Lock()
	last := m.flying == 1
	r.sim.mu.Unlock()
	ledger, err := r.sim.ledger(m.Tenant), error(nil)
	switch {
	case !last:
	case status == "online":
		err = ledger.set(r.ctx, m, `status = 'online', last_heartbeat_at = now(), last_sample_error = NULL`)
	default:
		err = ledger.set(r.ctx, m, `status = 'failed', last_sample_error = $2`, why)
	}
	if err != nil && r.ctx.Err() != nil {
		return
	}
	r.sim.mu.Lock()
	defer r.sim.mu.Unlock()
	m.flying--
	r.log.end(number, status)
}

// refusal takes in what is stored by now, and tells why the platform would not
// provision from it; "": it does. What cannot be decrypted is not taken in.
func (r *restarts) refusal(m *Member, f *facts) string {
	s := r.sim
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(f.unreadable) > 0 {
		return "decrypt " + f.unreadable[0] + ": message authentication failed"
	}
	m.adopt(f, s)
	e := m.emission(s.Policy, s.proxy, s.Resolver)
	if r.forgets(m) {
		e.Mode, e.AuthEnv, e.VendorURL = drift.ModePlatformManaged, nil, ""
	}
	if r.opts.NoProxy {
		e.Proxy.Base = ""
	}
	return e.refused()
}

// forgets tells whether this platform derives another mode than the stored
// model would give: without a model nothing is derived, and its default is its
// own proxy. An override needs no model.
func (r *restarts) forgets(m *Member) bool {
	return !r.fixed.Load() && m.Desired.Source == drift.FromProvider && m.Desired.Mode == drift.ModeBYOK
}

// adopt makes the member what is stored. It writes only what changed, for those
// who read it without being told of a restart.
func (m *Member) adopt(f *facts, s *Sim) {
	same := maps.Equal(m.Secrets, f.own) && maps.Equal(m.Tenant.Globals, f.globals) && *m.Row.Runtime == f.runtime && reflect.DeepEqual(m.Row.Override, f.override)
	if !same {
		m.Secrets, m.Tenant.Globals, m.Row.Runtime, m.Row.Override = f.own, f.globals, &f.runtime, f.override
	}
	if desired := s.Resolver.Desired(m.workspace()); !reflect.DeepEqual(m.Desired, desired) {
		m.Desired = desired
	}
}

// terminate takes the member's instance away, from the inventory too.
func (s *Sim) terminate(m *Member) error {
	s.mu.Lock()
	instance, there := m.Row.InstanceID, !m.gone
	m.gone = true
	s.mu.Unlock()
	if !there {
		return nil
	}
	s.SSM.Remove(instance)
	if s.recorder != nil {
		s.recorder.drop(instance)
		return nil
	}
	s.boxes.Lock()
	box := s.machines[instance]
	delete(s.machines, instance)
	s.boxes.Unlock()
	if box == nil {
		return nil
	}
	return box.Remove()
}

// launch starts another instance with what the platform derives.
func (r *restarts) launch(m *Member, fate Nasty) error {
	s := r.sim
	s.mu.Lock()
	s.renew(m, r.opts.Recycle)
	m.Started = time.Now().UTC().Truncate(time.Millisecond)
	m.Box, m.Drains, m.Lost, m.Terminated, m.also = BoxRunning, false, 0, false, ""
	had := m.Fault
	if sample, ok := SampleOf(m.Fault); !ok || sample.Store == nil {
		m.Fault = "" // what is stored wrongly stays wrong
	}
	if r.forgets(m) {
		m.Fault = ReprovisionedEmpty
	}
	if fate == NastyWorse {
		m.worsen(r.opts.Worse, had)
	}
	instance, host := m.Row.InstanceID, s.host(m)
	s.mu.Unlock()
	if err := s.ledger(m.Tenant).set(r.ctx, m, `instance_id = $2`, instance); err != nil {
		return err
	}
	if err := s.power(instance, &host); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m.gone = false
	s.register(m)
	return nil
}

// power makes the machine of a new instance.
func (s *Sim) power(instance string, host *machine.Host) error {
	if s.recorder != nil {
		s.recorder.set(instance, *host)
		return nil
	}
	box, err := machine.New(filepath.Join(s.Dir, "machines"), instance, *host)
	if err != nil {
		return err
	}
	s.boxes.Lock()
	defer s.boxes.Unlock()
	s.machines[instance] = box
	return nil
}

// worsen adds a fault; "" is the first that suits the member, that a look finds,
// and that it did not have.
func (m *Member) worsen(f, had Fault) {
	for _, sample := range Samples {
		if f == "" && sample.Do != nil && sample.State == drift.NotAsked && sample.For(m) && sample.Fault != had && sample.Fault != ReprovisionedEmpty {
			f = sample.Fault
		}
	}
	if m.Fault == "" {
		m.Fault = f
	} else {
		m.also = f
	}
}

// place is where an instance can be reached.
type place struct{ private, public netip.Addr }

// renew gives the member another instance's id and addresses that nobody has.
// The caller holds the lock.
func (s *Sim) renew(m *Member, recycle bool) {
	old := place{m.Private, m.Public}
	m.past = append(m.past, m.Row.InstanceID)
	m.Row.InstanceID = fmt.Sprintf("i-%017x", s.random.Uint64N(1<<60))
	var next place
	if recycle && len(s.free) > 0 {
		next, s.free = s.free[0], s.free[1:]
	} else {
		next = s.unheld()
	}
	m.Private, m.Public = next.private, next.public
	s.held[next.public] = true
	delete(s.held, old.public)
	if recycle {
		s.free = append(s.free, old)
	}
}

// unheld finds addresses besides those that the fleet began with. There are more
// of them than a fleet may have members.
func (s *Sim) unheld() place {
	for {
		n := s.places
		s.places++
		p := place{netip.AddrFrom4([4]byte{10, 21, byte(n >> 8), byte(n)}), netip.AddrFrom4([4]byte{198, 19, byte(n >> 8), byte(n)})}
		if !s.held[p.public] {
			return p
		}
	}
}
