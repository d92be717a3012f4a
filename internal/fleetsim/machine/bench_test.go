package machine_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim/machine"
	"github.com/molecule-ai/billing-reconciler/observe/probe"
)

// BenchmarkProbe times one look at a usual workspace, shell and all: the demo
// takes 200 of them in a pass.
func BenchmarkProbe(b *testing.B) {
	p, err := probe.New(probe.Spec{Credentials: append(drift.DefaultStripList[:11:11], drift.KeyUsageToken)})
	if err != nil {
		b.Fatal(err)
	}
	script, err := p.Command("0123456789abcdef0123456789abcdef", "")
	if err != nil {
		b.Fatal(err)
	}
	m, err := machine.New(b.TempDir(), "i-0ad447e8433902973", machine.Host{
		Env: map[string]string{
			drift.VarModeResolved: "platform_managed", drift.VarAnthropicURL: "https://api.example.com/llm", "MODEL": "opus",
			drift.KeyUsageToken: "usage", "ANTHROPIC_API_KEY": "usage", "OPENAI_API_KEY": "customer",
		},
		StartedAt: time.Unix(1780000000, 0), Image: "workspace:1",
	})
	if err != nil {
		b.Fatal(err)
	}
	for _, shell := range []string{"dash", "busybox sh", "bash"} {
		b.Run(shell, func(b *testing.B) {
			before := spent()
			for b.Loop() {
				out, _, _, err := m.Run(b.Context(), shell, script)
				if err != nil {
					b.Fatal(err)
				}
				if o, err := p.Decode(out); err != nil || o.State != drift.Observed {
					b.Fatal(o.Reason, err)
				}
			}
			b.ReportMetric(float64((spent()-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
		})
	}
}

// spent is the processor time of all children so far: what other programs on
// this computer do does not count.
func spent() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
