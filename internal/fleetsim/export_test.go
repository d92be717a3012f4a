package fleetsim

import (
	"math/rand/v2"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Workspace is the member as the resolver sees it.
func (m *Member) Workspace() *drift.Workspace { return m.workspace() }

// CallNow has the member call now, as it does in a live fleet.
func (s *Sim) CallNow(m *Member, random *rand.Rand) error { return s.call(m, time.Now(), random) }
