package ssm_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim/ssmsim"
	"github.com/molecule-ai/billing-reconciler/observe/ssm"
)

func BenchmarkCalls(b *testing.B) {
	for name, opts := range map[string]ssm.Options{"by_id": {}, "by_tag": {Tag: "Role=workspace"}} {
		b.Run(name, func(b *testing.B) {
			opts.Poll = time.Second
			r := connect(b, ssmsim.Options{}, opts)
			ids := r.fleet(1000)
			for b.Loop() {
				r.sim.Forget()
				if n := count(r.observe(b.Context(), b, ids), drift.Observed); n != 1000 {
					b.Fatalf("%d observed of 1000", n)
				}
				b.ReportMetric(float64(total(r.sim.Calls()))/1000, "calls/workspace")
			}
		})
	}
}

func total(calls map[string]int) (n int) {
	for _, made := range calls {
		n += made
	}
	return n
}

// most gives the largest number of calls of one operation.
func most(calls map[string]int) (n int) {
	for _, made := range calls {
		n = max(n, made)
	}
	return n
}

// sized answers as a probe does in size.
type sized struct{ text string }

func (s sized) Run(context.Context, string, string) (string, int) { return s.text, 0 }

// slowAWS is the endpoint as AWS is: slow to answer, and with a limit.
func slowAWS() ssmsim.Options {
	opts := ssmsim.Options{Latency: time.Second, Rate: map[string]float64{}, Runner: sized{strings.Repeat("x", 1200)}, Parallel: 50, Keep: 400}
	for _, operation := range operations {
		opts.Rate[operation] = 5
	}
	return opts
}

// BenchmarkThousandSources has a thousand callers ask about ten instances each,
// and one about all of them, by HTTP. dictated is the time that the limit of 5
// calls a second alone takes for the operation that is called most.
func BenchmarkThousandSources(b *testing.B) {
	for _, row := range []struct {
		name string
		each int
	}{{"one_of_10000", 10_000}, {"1000_of_10", 10}} {
		b.Run(row.name, func(b *testing.B) {
			r := connect(b, slowAWS(), ssm.Options{Gather: 2 * time.Second, Rate: 5, Poll: time.Second})
			r.decode = func(string) drift.Observation { return drift.Observation{State: drift.Observed} }
			ids := r.fleet(10_000)
			for b.Loop() {
				r.sim.Forget()
				began := time.Now()
				if n := r.crowd(b.Context(), b, ids, row.each, 0); n != 10_000 {
					b.Fatalf("%d observed of 10,000", n)
				}
				calls := r.sim.Calls()
				dictated := time.Duration(most(calls)) * time.Second / 5
				b.ReportMetric(float64(time.Since(began))/float64(dictated), "wall/dictated")
				b.ReportMetric(float64(total(calls))/10_000, "calls/workspace")
				b.ReportMetric(float64(most(calls)), "calls-of-one-operation")
				b.ReportMetric(float64(r.throttled(b)), "throttled")
			}
		})
	}
}

func (r *rig) throttled(t testing.TB) (n int) {
	for _, operation := range operations {
		n += r.counted(t, operation, "throttled")
	}
	return n
}
