package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim/ssmsim"
	"github.com/molecule-ai/billing-reconciler/internal/localpg"
	"github.com/molecule-ai/billing-reconciler/observe/probe"
)

// The calls that AWS limits, and to how many a second.
var limited = []string{"DescribeInstanceInformation", "SendCommand", "ListCommands", "ListCommandInvocations"}

const limit = 5

// staging says what fleet a benchmark wants.
type staging struct {
	Workspaces, Tenants int
	Paced               bool   // SSM as slow and as limited as AWS: else it answers at once
	Listen              string // "" for none: where a daemon serves; it gets a database then
	Interval            time.Duration
	Noise               int // lines a second that others write to the proxy's log
}

// staged is the fleet that runs.
type staged struct {
	Config, StateURL string
	TenantURL        string   // of the first tenant's database
	Breakable        []string // ids of those who can break as in the incident
	Guarded          []string // ids of those that the platform must not pay for
}

// churn is what is to happen in a fleet: who breaks, who is mended, and how
// many calls others make at the proxy.
type churn struct {
	Break, Mend []string
	Calls       int
	Hit         string // who makes one billed call
}

// churned says when all of it had happened.
type churned struct {
	At  time.Time
	Err string
}

// TestSimulatedFleet is no test: it is the world of a benchmark.
func TestSimulatedFleet(t *testing.T) {
	var want staging
	if json.Unmarshal([]byte(os.Getenv(simulate)), &want) != nil {
		t.Skip("run by benchmarks")
	}
	sim := want.start(t)
	rehearse(t, sim)
	all := staged{Config: sim.ConfigPath, StateURL: sim.StateURL, TenantURL: sim.Tenants[0].URL}
	sample, _ := fleetsim.SampleOf(fleetsim.ReprovisionedEmpty)
	for _, m := range sim.Members {
		if sample.For(m) {
			all.Breakable = append(all.Breakable, m.Row.ID)
		}
		if m.Desired.Mode == drift.ModeBYOK {
			all.Guarded = append(all.Guarded, m.Row.ID)
		}
	}
	go want.noise(sim)
	answerWith(all)
	members := map[string]*fleetsim.Member{}
	for _, m := range sim.Members {
		members[m.Row.ID] = m
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); { // until the benchmark lets go
		var c churn
		err := json.Unmarshal(lines.Bytes(), &c)
		if err == nil {
			err = c.happen(sim, members)
		}
		done := churned{At: time.Now().UTC()}
		if err != nil {
			done.Err = err.Error()
		}
		answerWith(done)
	}
}

// start makes the fleet, on a PostgreSQL whose log is as long as that of one
// that must survive a crash. Nothing but what is measured writes to it.
func (want *staging) start(t *testing.T) *fleetsim.Sim {
	server, err := localpg.Start(t.Context(), localpg.Options{MaxConnections: 1300,
		Settings: map[string]string{"full_page_writes": "on", "synchronous_commit": "on", "autovacuum": "off"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	nasty := ssmsim.Options{Parallel: 50}
	if want.Paced {
		nasty.Latency, nasty.Rate = time.Second, map[string]float64{}
		for _, operation := range limited {
			nasty.Rate[operation] = limit
		}
	}
	sim, err := fleetsim.Start(t.Context(), fleetsim.Options{Workspaces: want.Workspaces, Tenants: want.Tenants, Recorded: true, Server: server,
		Listen: want.Listen, Interval: want.Interval, SSM: nasty})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	return sim
}

// noise writes to the log what others do, evenly.
func (want *staging) noise(sim *fleetsim.Sim) {
	if want.Noise == 0 {
		return
	}
	var others []*fleetsim.Member
	for _, m := range sim.Members {
		if m.Desired.Mode == drift.ModePlatformManaged {
			others = append(others, m)
		}
	}
	const often = 100 // times a second
	for range time.Tick(time.Second / often) {
		for i := range want.Noise / often {
			m := others[rand.IntN(len(others))]
			if i%2 == 0 {
				_ = sim.Log.Call(time.Now(), m.Public, *m.Row.Runtime == drift.DefaultRuntime, 200)
			} else {
				_ = sim.Log.Noise(time.Now(), m.Public)
			}
		}
	}
}

// rehearse records every shape of machine, so that no shell is measured.
func rehearse(t *testing.T, sim *fleetsim.Sim) {
	a := &app{env: simulated(sim.ConfigPath), stdout: io.Discard, stderr: io.Discard}
	if err := a.setUp(); err != nil {
		t.Fatal(err)
	}
	w, err := a.open(t.Context(), forCheck)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	p, err := probe.New(probe.Spec{Credentials: w.credentials})
	if err != nil {
		t.Fatal(err)
	}
	script, err := p.Command(drift.Key(strings.Repeat("0a", 16)), w.cfg.Observe.SSM.Container)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range sim.Members {
		sim.Run(t.Context(), m.Row.InstanceID, script)
	}
}

func simulated(configPath string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		switch name {
		case "RECONCILER_CONFIG":
			return configPath, true
		case "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY":
			return "test", true
		}
		return os.LookupEnv(name)
	}
}

func (c *churn) happen(sim *fleetsim.Sim, members map[string]*fleetsim.Member) error {
	var errs []error
	for _, id := range c.Break {
		errs = append(errs, sim.Break(members[id], fleetsim.ReprovisionedEmpty))
	}
	for _, id := range c.Mend {
		errs = append(errs, sim.Mend(members[id]))
	}
	if m := members[c.Hit]; m != nil {
		errs = append(errs, sim.Log.Call(time.Now(), m.Public, *m.Row.Runtime == drift.DefaultRuntime, 200))
	}
	for range c.Calls {
		m := sim.Members[rand.IntN(len(sim.Members))]
		if m.Desired.Mode == drift.ModePlatformManaged {
			errs = append(errs, sim.Log.Call(time.Now(), m.Public, *m.Row.Runtime == drift.DefaultRuntime, 200))
		} else {
			errs = append(errs, sim.Log.Noise(time.Now(), m.Public))
		}
	}
	return errors.Join(errs...)
}

// stage starts a simulated fleet in a process of its own.
func stage(b *testing.B, want staging) (*child, *staged) {
	b.Helper()
	text, err := json.Marshal(want)
	if err != nil {
		b.Fatal(err)
	}
	var got staged
	return apart(b, "TestSimulatedFleet", simulate, string(text), &got), &got
}

// happens has churn happen, and gives the time by which it had.
func happens(b *testing.B, fleet *child, c churn) time.Time {
	b.Helper()
	var done churned
	if fleet.ask(b, c, &done); done.Err != "" {
		b.Fatal(done.Err)
	}
	return done.At
}
