package ssm_test

import (
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
				calls := 0
				for _, n := range r.sim.Calls() {
					calls += n
				}
				b.ReportMetric(float64(calls)/1000, "calls/workspace")
			}
		})
	}
}
