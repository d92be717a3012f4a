package fleetsim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// The pace of a live fleet.
const (
	beat   = 250 * time.Millisecond // between calls
	change = 20 * time.Second       // between workspaces that break or are mended
)

// Live lets the fleet live until ctx ends or stop is called: calls are logged
// as they are made, and now and then a workspace breaks as in the incident, or
// one that did is mended. Stop waits for the end.
func (s *Sim) Live(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.live(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

func (s *Sim) live(ctx context.Context) {
	random := rand.New(rand.NewPCG(uint64(os.Getpid()), 5)) // #nosec G404 G115 -- a show, not secrets
	calls, changes := time.NewTicker(beat), time.NewTicker(change)
	defer calls.Stop()
	defer changes.Stop()
	var broken []*Member
	for {
		select {
		case <-ctx.Done():
			return
		case <-calls.C:
			for range 1 + len(s.Members)/50 {
				_ = s.call(s.Members[random.IntN(len(s.Members))], time.Now(), random) // a full disk ends the show, not the fleet
			}
		case <-changes.C:
			broken = s.turn(broken, random)
		}
	}
}

// turn breaks a healthy member, or mends the one that has been broken longest.
func (s *Sim) turn(broken []*Member, random *rand.Rand) []*Member {
	if len(broken) > 1 {
		_ = s.Mend(broken[0])
		return broken[1:]
	}
	sample, _ := SampleOf(ReprovisionedEmpty)
	for range 100 {
		m := s.Members[random.IntN(len(s.Members))]
		if s.mayGet(m, sample) {
			if s.Break(m, ReprovisionedEmpty) == nil {
				broken = append(broken, m)
			}
			break
		}
	}
	return broken
}

// mayGet tells whether nothing is wrong with a member that the sample would suit.
func (s *Sim) mayGet(m *Member, sample Sample) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return m.Fault == "" && !m.gone && sample.For(m)
}

// writeConfig writes the configuration that an operator of this fleet would
// have.
func (s *Sim) writeConfig(registry string) error {
	var b strings.Builder
	owner := "tenant"
	if s.Policy.GlobalSecrets == drift.OwnerPlatform {
		owner = "platform"
	}
	fmt.Fprintf(&b, "registry: %s\npolicy: {global_secrets: %s}\nproxy: {endpoints: [%q]}\n%sobserve:\n  interval: %s\n  ssm: {endpoint: %q}\n  logs:\n    - file: {path: %q}\nsources:\n",
		registry, owner, s.proxy.Base, s.daemonKeys(), s.interval, s.servers[0].url, s.LogPath)
	for _, t := range s.Tenants {
		fmt.Fprintf(&b, "  - name: %s\n    database: %q\n    region: us-east-1\n", t.Name, t.URL)
		if t.Key != "" {
			fmt.Fprintf(&b, "    encryption_key: %q\n", t.Key.Reveal())
		}
		fmt.Fprintf(&b, "    platform: {url: %q, admin_token: %q, org_id: %s, requests_per_minute: 3000}\n",
			s.servers[1].url+"/"+t.Name, adminToken.Reveal(), OrgOf(t.Name))
	}
	s.ConfigPath = filepath.Join(s.Dir, "reconciler.yaml")
	if err := os.WriteFile(s.ConfigPath, []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	return nil
}

// daemonKeys is what a daemon needs besides.
func (s *Sim) daemonKeys() string {
	if s.StateURL == "" {
		return ""
	}
	keys := fmt.Sprintf("state: {database: %q}\nadmin: {listen: %q}\nalerting: {settle: 5s}\n", s.StateURL, s.listen)
	if s.remediate {
		keys += acting
	}
	return keys
}

// acting lets a daemon act within seconds: on a real fleet, all of it takes
// longer.
const acting = `remediate:
  mode: enforce
  max_in_flight: 8
  max_per_hour: 200
  max_fleet_percent: 20
  backoff: 30s
  quiet: 5s
  proof: {settle: 1s, unapplied: 20s, lost_after: 2m, silence_at_least: 3s, silence_at_most: 10s}
`
