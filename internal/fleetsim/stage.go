package fleetsim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim/machine"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim/ssmsim"
)

// SampleOf gives the sample of a fault.
func SampleOf(f Fault) (Sample, bool) {
	i := slices.IndexFunc(Samples, func(s Sample) bool { return s.Fault == f })
	if i < 0 {
		return Sample{}, false
	}
	return Samples[i], true
}

// afflict chooses who is broken, and how.
func (s *Sim) afflict(opts Options) {
	random := rand.New(rand.NewPCG(opts.Seed, 3)) // #nosec G404 -- a fleet that can be made again
	if opts.Faults || opts.Each {
		s.Members[0].Fault = ReprovisionedEmpty
	}
	for _, sample := range Samples {
		if opts.Each {
			if i := slices.IndexFunc(s.Members, func(m *Member) bool { return m.Fault == "" && sample.For(m) }); i >= 0 {
				s.Members[i].Fault = sample.Fault
			}
		}
	}
	for _, m := range s.Members[1:] {
		sample := Samples[random.IntN(len(Samples))]
		if opts.Faults && random.IntN(11) == 0 && sample.For(m) && sample.Fault != "hung" { // which keeps a look waiting
			m.Fault = sample.Fault
		}
	}
	for _, m := range s.Members {
		if sample, ok := SampleOf(m.Fault); ok && sample.Store != nil {
			sample.Store(m)
			m.Desired = s.Resolver.Desired(m.workspace())
		}
	}
}

// host gives the machine that the member's instance is, its fault included.
func (s *Sim) host(m *Member) machine.Host {
	e := m.emission(s.Policy, s.proxy, s.Resolver)
	e.InFiles = m.Row.ID[0] < '4' // a quarter of the fleet
	stage := &scene{m: m, emission: e}
	stage.env, stage.files = e.Environment()
	for _, fault := range []Fault{m.Fault, m.also} {
		if sample, ok := SampleOf(fault); ok && sample.Do != nil {
			sample.Do(stage)
		}
	}
	return machine.Host{State: boxes[m.Box], Env: stage.env, Secrets: stage.files, StartedAt: m.Started,
		Image: "registry.example/molecule-workspace:1.42", PrivateIP: m.Private, PublicIP: m.Public}
}

var boxes = map[Box]machine.State{BoxStopped: machine.Exited, BoxAbsent: machine.Absent, BoxRestarting: machine.Restarting,
	BoxHung: machine.Hung, BoxNoDocker: machine.NoDocker, BoxDockerDown: machine.DaemonDown}

// Break provisions a member's container again, with a fault.
func (s *Sim) Break(m *Member, f Fault) error { return s.provision(m, f, time.Now()) }

// Mend provisions a member's container again, with nothing wrong.
func (s *Sim) Mend(m *Member) error { return s.provision(m, "", time.Now()) }

// BreakAgo is Break as if it had been an hour ago, with what the member has
// called since.
func (s *Sim) BreakAgo(m *Member, f Fault) error {
	begin := time.Now().Add(-time.Hour)
	if err := s.provision(m, f, begin); err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(1, 6)) // #nosec G404 -- traffic, not secrets
	for minute := 5; minute < 60; minute += 5 {
		if err := s.call(m, begin.Add(time.Duration(minute)*time.Minute), random); err != nil {
			return err
		}
	}
	return nil
}

// Member gives the member of an id; nil: none.
func (s *Sim) Member(id string) *Member {
	return s.byID[id]
}

// Planted lists every secret value of the fleet: none may ever be printed.
func (s *Sim) Planted() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []string{adminToken.Reveal()}
	add := func(secrets map[string]string) {
		for key, value := range secrets {
			if key != drift.KeyModel && key != drift.KeyMoleculeModel && len(value) > 6 {
				list = append(list, value)
			}
		}
	}
	for _, t := range s.Tenants {
		add(t.Globals)
		if t.Key != "" {
			list = append(list, t.Key.Reveal())
		}
	}
	for _, m := range s.Members {
		add(m.Secrets)
		for _, instance := range append(m.past, m.Row.InstanceID) {
			list = append(list, tokenOf(instance))
		}
	}
	return list
}

func (s *Sim) provision(m *Member, f Fault, at time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.gone {
		return fmt.Errorf("provision %s: it has no instance at present", m.Row.ID)
	}
	m.Fault, m.also, m.Box, m.Drains, m.Lost, m.Terminated = f, "", BoxRunning, false, 0, false
	m.Started = at.UTC().Truncate(time.Millisecond)
	if err := s.settle(m); err != nil {
		return fmt.Errorf("provision %s: %w", m.Row.InstanceID, err)
	}
	s.register(m)
	return nil
}

// history writes the proxy's log of the last hour and a half.
func (s *Sim) history() error {
	random := rand.New(rand.NewPCG(1, 4)) // #nosec G404 -- traffic, not secrets
	now := time.Now()
	for minute := 90; minute > 0; minute-- {
		at := now.Add(-time.Duration(minute) * time.Minute)
		for _, m := range s.Members {
			if random.IntN(4) == 0 {
				if err := s.call(m, at, random); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// call writes what a member would make the proxy log at a time.
func (s *Sim) call(m *Member, at time.Time, random *rand.Rand) error {
	s.mu.Lock()
	through := m.Desired.Mode == drift.ModePlatformManaged && m.Fault == "" || m.Drains
	from, gone := m.Public, m.gone
	silent, anthropic := m.Box != BoxRunning || at.Before(m.Started), *m.Row.Runtime == drift.DefaultRuntime
	s.mu.Unlock()
	switch {
	case gone:
		return nil
	case !through || silent:
		return s.Log.Noise(at, from)
	}
	status := 200
	if random.IntN(40) == 0 {
		status = 529
	}
	return s.Log.Call(at, from, anthropic, status)
}

// register says in the inventory what the member's instance is.
func (s *Sim) register(m *Member) {
	if m.Terminated {
		s.SSM.Remove(m.Row.InstanceID)
		return
	}
	i := ssmsim.Instance{ID: m.Row.InstanceID, IP: m.Private, Tags: map[string]string{"Role": "workspace"}, Status: m.Status, Details: m.Details}
	if m.Lost > 0 {
		i.Ping, i.LastPing = "ConnectionLost", time.Now().Add(-m.Lost)
	}
	s.SSM.Set(i)
}

// Run implements ssmsim.Runner: the script in a real shell, on the instance's
// machine, or what a recorded one would print.
func (s *Sim) Run(ctx context.Context, instance, script string) (stdout string, exit int) {
	if s.recorder != nil {
		return s.recorder.run(ctx, instance, script)
	}
	s.boxes.RLock()
	box := s.machines[instance]
	s.boxes.RUnlock()
	if box == nil {
		return "", 1
	}
	stdout, _, exit, err := box.Run(ctx, "", script)
	if err != nil {
		return "", 1
	}
	return stdout, exit
}
