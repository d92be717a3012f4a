package probe_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim/machine"
)

// full is a host that has everything there is to report, at its longest.
func full(names []string, value string) machine.Host {
	host := usual()
	host.Env, host.Secrets = map[string]string{}, map[string]string{}
	for _, name := range drift.Variables {
		host.Env[name] = "https://" + value
	}
	for _, name := range names {
		host.Env[name], host.Secrets[name] = "environment's "+name, "directory's "+name
	}
	host.Image = strings.Repeat("registry.example.com/", 20)
	host.RestartCount = 1 << 30
	host.PrivateIP, host.PublicIP = netip.MustParseAddr("100.100.100.100"), netip.MustParseAddr("2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff")
	return host
}

// The biggest answer for the real registry arrives whole.
func TestTheBiggestAnswerFits(t *testing.T) {
	names := registryNames(t)
	p := newProbe(t, names...)
	for _, row := range []struct{ name, shell, value string }{
		{"plain", "busybox sh", strings.Repeat("x", 200)},
		{"all escaped", "dash", strings.Repeat("\x01", 200)},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			host := full(names, row.value)
			got := answer(t, p, row.shell, host)
			t.Logf("%d names: %d characters", len(names), len(got))
			if len(got) >= 2500 {
				t.Errorf("%d characters: SSM cuts at 2,500", len(got))
			}
			o, err := p.Decode(got)
			if err != nil || o.State != drift.Observed {
				t.Fatalf("%s (%s), %v", o.State, o.Reason, err)
			}
			if diff := cmp.Diff(credentials(names, host), o.Credentials); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if len(o.Image) > 130 || !strings.HasSuffix(o.Image, "…") {
				t.Errorf("image = %q", o.Image)
			}
		})
	}
}

// A registry too big for one answer is said to be, not cut.
func TestATooBigAnswerIsSaid(t *testing.T) {
	var names []string
	for i := range 90 {
		names = append(names, "KEY_"+strings.Repeat("A", i))
	}
	p := newProbe(t, names...)
	host := full(names, strings.Repeat("x", 200))
	for _, name := range names {
		host.Env[name], host.Secrets[name] = "one value", "another"
	}
	want := "the probe's answer would be too long to arrive whole"
	if o := look(t, p, "dash", host); o.State != drift.Unreachable || o.Reason != want {
		t.Errorf("two values each: %s (%s)", o.State, o.Reason)
	}
	host.Secrets = nil
	if o := look(t, p, "dash", host); o.State != drift.Observed || len(o.Credentials) != len(names) {
		t.Errorf("one value each: %s (%s)", o.State, o.Reason)
	}
}
