package fleetsim_test

import (
	"fmt"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/desired"
	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim/machine"
	"github.com/molecule-ai/billing-reconciler/internal/localpg/pgtest"
	"github.com/molecule-ai/billing-reconciler/observe/probe"
)

func TestMain(m *testing.M) { pgtest.MainNoLeaks(m) }

// fleet starts a recorded fleet, and gives the probe that is sent to it.
func fleet(t testing.TB, opts fleetsim.Options) (*fleetsim.Sim, func(key string) string) {
	t.Helper()
	opts.Server, opts.Recorded = pgtest.Server(t), true
	sim, err := fleetsim.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	p, err := probe.New(probe.Spec{Credentials: desired.CredentialNames(sim.Resolver.Registry, sim.Policy.StripList)})
	if err != nil {
		t.Fatal(err)
	}
	return sim, func(key string) string {
		script, err := p.Command(drift.Key(key), "")
		if err != nil {
			t.Fatal(err)
		}
		return script
	}
}

// in runs a script in a real shell on a machine like the member's.
func in(t testing.TB, sim *fleetsim.Sim, m *fleetsim.Member, script string) string {
	t.Helper()
	box, err := machine.New(t.TempDir(), m.Row.InstanceID, sim.Host(m))
	if err != nil {
		t.Fatal(err)
	}
	out, _, exit, err := box.Run(t.Context(), "", script)
	if err != nil || exit != 0 {
		t.Fatalf("exit %d, %v", exit, err)
	}
	return out
}

const (
	firstKey  = "00112233445566778899aabbccddeeff"
	secondKey = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
)

// A recorded answer is, byte for byte, what the real probe prints in a real
// shell under that key: for every fault, for machines that share a recording,
// and for a container that was changed since.
func TestARecordedAnswerIsWhatTheShellPrints(t *testing.T) {
	sim, probe := fleet(t, fleetsim.Options{Workspaces: 70, Tenants: 3, Each: true, EveryOffer: true})
	faults := map[fleetsim.Fault]bool{}
	for _, m := range sim.Members {
		sim.Run(t.Context(), m.Row.InstanceID, probe(firstKey))
	}
	shells := sim.Shells()
	if shells >= len(sim.Members) {
		t.Errorf("%d shells for %d machines: no recording is shared", shells, len(sim.Members))
	}
	hold := func(t *testing.T, m *fleetsim.Member) {
		t.Helper()
		got, exit := sim.Run(t.Context(), m.Row.InstanceID, probe(secondKey))
		if diff := cmp.Diff(in(t, sim, m, probe(secondKey)), got); diff != "" || exit != 0 {
			t.Errorf("%s: exit %d (-shell +recorded):\n%s", m.Row.InstanceID, exit, diff)
		}
	}
	for i, m := range sim.Members {
		if m.Fault == "" && i%3 != 0 || faults[m.Fault] && m.Fault != "" {
			continue
		}
		faults[m.Fault] = true
		t.Run(fmt.Sprintf("%s %d", m.Fault, i), func(t *testing.T) {
			t.Parallel()
			hold(t, m)
		})
	}
	for _, sample := range fleetsim.Samples {
		if !faults[sample.Fault] {
			t.Errorf("%s: no member has it", sample.Fault)
		}
	}
	t.Cleanup(func() {
		if n := sim.Shells(); n != shells {
			t.Errorf("%d shells more under another key, want none", n-shells)
		}
		if dirs, err := filepath.Glob(filepath.Join(sim.Dir, "machines", "[^.]*")); err != nil || len(dirs) > 0 {
			t.Errorf("directories were left: %v, %v", dirs, err)
		}
	})
}

func TestARecordedMemberBreaksAndIsMended(t *testing.T) {
	sim, probe := fleet(t, fleetsim.Options{Workspaces: 8, Tenants: 1})
	m := sim.Members[0]
	healthy, _ := sim.Run(t.Context(), m.Row.InstanceID, probe(firstKey))
	for _, step := range []struct {
		name string
		do   func() error
		same bool // as when it was healthy, but for the start
	}{
		{"broken", func() error { return sim.Break(m, fleetsim.ReprovisionedEmpty) }, false},
		{"mended", func() error { return sim.Mend(m) }, true},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		got, _ := sim.Run(t.Context(), m.Row.InstanceID, probe(secondKey))
		if diff := cmp.Diff(in(t, sim, m, probe(secondKey)), got); diff != "" {
			t.Errorf("%s (-shell +recorded):\n%s", step.name, diff)
		}
		again, _ := sim.Run(t.Context(), m.Row.InstanceID, probe(firstKey))
		if same := len(startless(again)) == len(startless(healthy)); same != step.same {
			t.Errorf("%s:\n%s\nwhen healthy:\n%s", step.name, again, healthy)
		}
	}
}

// startless leaves the container's start out, which is shorter where its
// milliseconds end with a zero.
func startless(answer string) string {
	return regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:.]+Z`).ReplaceAllString(answer, "")
}

// A script in which no key is found is run, and never taken for another.
func TestAnUnknownScriptIsRun(t *testing.T) {
	sim, probe := fleet(t, fleetsim.Options{Workspaces: 2, Tenants: 1})
	id := sim.Members[1].Row.InstanceID
	sim.Run(t.Context(), id, probe(firstKey))
	if out, exit := sim.Run(t.Context(), id, "echo something else; exit 3"); out != "something else\n" || exit != 3 {
		t.Errorf("%q, exit %d", out, exit)
	}
	if out, _ := sim.Run(t.Context(), "i-00000000000000000", probe(firstKey)); out != "" {
		t.Errorf("a stranger answered %q", out)
	}
}

// BenchmarkRecorded has every member of a big fleet answer under a new key.
func BenchmarkRecorded(b *testing.B) {
	sim, probe := fleet(b, fleetsim.Options{Workspaces: 10_000, Tenants: 4, Faults: true})
	scripts := []string{probe(firstKey), probe(secondKey)}
	began := time.Now()
	for _, m := range sim.Members {
		sim.Run(b.Context(), m.Row.InstanceID, scripts[0])
	}
	b.Logf("%d shells in %s", sim.Shells(), time.Since(began))
	n, before := 0, spent(b)
	for b.Loop() {
		n++
		for _, m := range sim.Members {
			sim.Run(b.Context(), m.Row.InstanceID, scripts[n%2])
		}
	}
	b.ReportMetric((spent(b)-before).Seconds()/float64(n), "cpu-s/pass")
	b.ReportMetric(float64(sim.Shells()), "shells")
}

// spent is the processor time of this process and its children so far.
func spent(t testing.TB) (d time.Duration) {
	t.Helper()
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			t.Fatal(err)
		}
		d += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return d
}
