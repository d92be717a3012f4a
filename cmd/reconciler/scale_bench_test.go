package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// BenchmarkPassTenThousand is a whole pass over 10,000 healthy workspaces,
// against an SSM whose every call takes a second and that allows 5 calls a
// second of each operation. dictated is what that limit alone takes for the
// operation that is called most; the goal is a ratio of 1.25, and 250 MB.
func BenchmarkPassTenThousand(b *testing.B) {
	const workspaces = 10_000
	if testing.Short() {
		b.Skip("takes minutes")
	}
	_, fleet := stage(b, staging{Workspaces: workspaces, Paced: true})
	a := &app{env: simulated(fleet.Config), stdout: io.Discard, stderr: io.Discard}
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
		b.ReportMetric(peak(), "peak-MB")
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

// peak gives the most memory that this process has had resident, in MB; 0 where
// that is not told.
func peak() float64 {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		var kilobytes float64
		if n, _ := fmt.Sscanf(line, "VmHWM: %f kB", &kilobytes); n == 1 {
			return kilobytes * 1024 / 1e6
		}
	}
	return 0
}
