package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim/ssmsim"
	"github.com/molecule-ai/billing-reconciler/observe/probe"
)

// simulate is the variable by which a test process is told to be the simulated
// fleet of a benchmark: its value is the number of workspaces.
const simulate = "RECONCILER_SIMULATE"

// The calls that AWS limits, and to how many a second.
var limited = []string{"DescribeInstanceInformation", "SendCommand", "ListCommands", "ListCommandInvocations"}

const limit = 5

// TestSimulatedFleet is no test: it is the process that a benchmark measures
// the reconciler against, apart from it so that its memory is not counted.
func TestSimulatedFleet(t *testing.T) {
	size, err := strconv.Atoi(os.Getenv(simulate))
	if err != nil {
		t.Skip("run by benchmarks")
	}
	rates := map[string]float64{}
	for _, operation := range limited {
		rates[operation] = limit
	}
	sim, err := fleetsim.Start(t.Context(), fleetsim.Options{Workspaces: size, Recorded: true,
		SSM: ssmsim.Options{Latency: time.Second, Rate: rates, Parallel: 50}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	}()
	rehearse(t, sim)
	fmt.Println(ready + sim.ConfigPath)
	_, _ = io.Copy(io.Discard, os.Stdin) // until the benchmark lets go
}

const ready = "simulated fleet: "

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

// apart starts a simulated fleet in a process of its own, and gives its
// configuration.
func apart(b *testing.B, workspaces int) string {
	b.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.Context()))
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestSimulatedFleet$", "-test.v")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", simulate, workspaces))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			b.Error(err)
		}
		cancel()
	})
	lines, said := bufio.NewScanner(out), ""
	for lines.Scan() {
		if path, found := strings.CutPrefix(lines.Text(), ready); found {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return path
		}
		said += lines.Text() + "\n"
	}
	b.Fatalf("the simulated fleet did not start:\n%s", said)
	return ""
}

// BenchmarkPassTenThousand is a whole pass over 10,000 healthy workspaces,
// against an SSM whose every call takes a second and that allows 5 calls a
// second of each operation. dictated is what that limit alone takes for the
// operation that is called most; the goal is a ratio of 1.25, and 250 MB.
func BenchmarkPassTenThousand(b *testing.B) {
	const workspaces = 10_000
	if testing.Short() {
		b.Skip("takes minutes")
	}
	a := &app{env: simulated(apart(b, workspaces)), stdout: io.Discard, stderr: io.Discard}
	if err := a.setUp(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0o600) // the peak is counted anew where Linux lets us
		w, err := a.open(b.Context(), forCheck)
		if err != nil {
			b.Fatal(err)
		}
		before, began := processorTime(b), time.Now()
		result, err := w.pass(b.Context(), nil)
		if err != nil {
			b.Fatal(err)
		}
		took := time.Since(began)
		inSync := 0
		for i := range result.Workspaces {
			if result.Workspaces[i].Verdict == drift.InSync {
				inSync++
			}
		}
		if inSync != workspaces {
			b.Errorf("%d of %d in sync", inSync, workspaces)
		}
		total, most, throttled := requests(b, w)
		b.ReportMetric(took.Seconds()/(float64(most)/limit), "wall/dictated")
		b.ReportMetric(float64(total)/workspaces, "calls/workspace")
		b.ReportMetric(float64(throttled), "throttled")
		b.ReportMetric((processorTime(b) - before).Seconds(), "cpu-s")
		b.ReportMetric(peak(b), "peak-MB")
		w.close()
	}
}

// requests counts what was called of AWS: all, of the operation that was called
// most, and how often AWS throttled.
func requests(b *testing.B, w *world) (total, most, throttled int) {
	b.Helper()
	families, err := w.metrics.Registry.Gather()
	if err != nil {
		b.Fatal(err)
	}
	of := map[string]int{}
	for _, family := range families {
		if family.GetName() != "reconciler_aws_requests_total" {
			continue
		}
		for _, series := range family.GetMetric() {
			n := int(series.GetCounter().GetValue())
			for _, label := range series.GetLabel() {
				switch {
				case label.GetValue() == "throttled":
					throttled += n
				case label.GetName() == "operation":
					of[label.GetValue()] += n
				}
			}
		}
	}
	for _, n := range of {
		total, most = total+n, max(most, n)
	}
	return total, most, throttled
}

// peak gives the most memory that this process has had resident, in MB.
func peak(b *testing.B) float64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Log("peak memory is not known:", err)
		return 0
	}
	for line := range strings.Lines(string(status)) {
		var kilobytes float64
		if n, _ := fmt.Sscanf(line, "VmHWM: %f kB", &kilobytes); n == 1 {
			return kilobytes * 1024 / 1e6
		}
	}
	return 0
}
