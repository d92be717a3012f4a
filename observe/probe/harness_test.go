package probe_test

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/molecule-ai/billing-reconciler/desired"
	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim/machine"
	"github.com/molecule-ai/billing-reconciler/observe/probe"
)

const key = drift.Key("0f1e2d3c4b5a69788796a5b4c3d2e1f0")

// shells are those of the hosts in the fleet: Debian's and Ubuntu's, Alpine's
// with all its programs, Amazon Linux's.
var shells = []string{"dash", "busybox sh", "bash"}

var started = time.Date(2026, 5, 28, 18, 3, 11, 123456789, time.UTC)

// registryNames are all that a probe for the real registry knows.
func registryNames(t testing.TB) []string {
	t.Helper()
	r, err := desired.LoadRegistry(cmp.Or(os.Getenv("REAL_REGISTRY"), "../../deploy/providers.example.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return desired.CredentialNames(r, drift.DefaultStripList)
}

func newProbe(t testing.TB, names ...string) *probe.Probe {
	t.Helper()
	p, err := probe.New(probe.Spec{Credentials: names})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// small is a probe that knows three names.
func small(t testing.TB) *probe.Probe {
	return newProbe(t, "ANTHROPIC_API_KEY", drift.KeyUsageToken, "OPENAI_API_KEY")
}

// usual is a host with nothing wrong.
func usual() machine.Host {
	return machine.Host{
		Env: map[string]string{
			drift.VarModeResolved: "platform_managed", drift.VarModel: "opus",
			drift.VarAnthropicURL: "https://api.example.com/llm/anthropic",
			drift.KeyUsageToken:   "usage-token", "ANTHROPIC_API_KEY": "usage-token",
		},
		StartedAt: started, Image: "registry.example.com/workspace:7", RestartCount: 2,
		PrivateIP: netip.MustParseAddr("10.0.0.7"), PublicIP: netip.MustParseAddr("203.0.113.7"),
	}
}

// answer runs the real script on a host.
func answer(t testing.TB, p *probe.Probe, shell string, host machine.Host) string {
	t.Helper()
	m, err := machine.New(t.TempDir(), "i-0ad447e8433902973", host)
	if err != nil {
		t.Fatal(err)
	}
	script, err := p.Command(key, host.Container)
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr, exit, err := m.Run(t.Context(), shell, script)
	if err != nil || exit != 0 || stderr != "" {
		t.Fatalf("the probe left with exit status %d, error %v, and on stderr %q", exit, err, stderr)
	}
	return stdout
}

func look(t testing.TB, p *probe.Probe, shell string, host machine.Host) drift.Observation {
	t.Helper()
	text := answer(t, p, shell, host)
	o, err := p.Decode(text)
	if err != nil {
		t.Fatalf("decode: %v\n%s", err, text)
	}
	return o
}

// everywhere runs a test in each shell, side by side.
func everywhere(t *testing.T, test func(t *testing.T, shell string)) {
	t.Helper()
	for _, shell := range shells {
		t.Run(strings.ReplaceAll(shell, " ", "_"), func(t *testing.T) {
			t.Parallel()
			test(t, shell)
		})
	}
}

// looks looks at many hosts in each shell, several at a time, for some of them
// only wait: the observations by shell, in the order of hosts.
func looks(t *testing.T, p *probe.Probe, hosts []machine.Host) map[string][]drift.Observation {
	t.Helper()
	var g errgroup.Group
	g.SetLimit(8)
	found := map[string][]drift.Observation{}
	for _, shell := range shells {
		observations := make([]drift.Observation, len(hosts))
		found[shell] = observations
		for i, host := range hosts {
			dir := t.TempDir()
			g.Go(func() (err error) {
				observations[i], err = lookAt(t.Context(), p, dir, shell, host)
				return err
			})
		}
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	return found
}

func lookAt(ctx context.Context, p *probe.Probe, dir, shell string, host machine.Host) (drift.Observation, error) {
	m, err := machine.New(dir, "i-0ad447e8433902973", host)
	if err != nil {
		return drift.Observation{}, err
	}
	script, err := p.Command(key, host.Container)
	if err != nil {
		return drift.Observation{}, err
	}
	stdout, stderr, exit, err := m.Run(ctx, shell, script)
	if err != nil || exit != 0 || stderr != "" {
		return drift.Observation{}, fmt.Errorf("%s: exit status %d, %w, stderr %q", shell, exit, err, stderr)
	}
	return p.Decode(stdout)
}

// credentials gives what a host's secrets must come out as.
func credentials(names []string, host machine.Host) []drift.Credential {
	found := []drift.Credential{}
	names = slices.Sorted(slices.Values(names))
	for _, name := range names {
		for _, place := range []struct {
			where  string
			values map[string]string
		}{{drift.WhereEnv, host.Env}, {drift.WhereSecretsDir, host.Secrets}} {
			value, ok := place.values[name]
			if !ok {
				continue
			}
			c := drift.Credential{Name: name, Where: place.where}
			if strings.TrimRight(strings.ReplaceAll(value, "\x00", ""), "\n") == "" {
				c.Empty = true
			} else {
				c.Fingerprint = key.Fingerprint([]byte(value))
			}
			found = append(found, c)
		}
	}
	return found
}
