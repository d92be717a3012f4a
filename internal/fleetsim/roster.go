package fleetsim

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/molecule-ai/billing-reconciler/desired"
	"github.com/molecule-ai/billing-reconciler/desired/tenantschema"
	"github.com/molecule-ai/billing-reconciler/drift"
)

// Tenant is one simulated customer organisation.
type Tenant struct {
	Name    string
	Key     drift.Secret      // "": secrets are stored plain
	Old     bool              // an older platform, without the optional columns
	Globals map[string]string // plain values
	URL     string            // of its database
}

// Member is one workspace of the simulated fleet.
type Member struct {
	Tenant  *Tenant
	Row     tenantschema.Workspace
	Secrets map[string]string // plain values
	Private netip.Addr
	Public  netip.Addr
	Started time.Time // of its container
	Desired drift.Desired
	Fault   Fault // what is wrong with it; "": nothing

	Spoilt     string        // the key of a secret that nobody can decrypt
	Box        Box           // the state of its container
	Drains     bool          // it calls the proxy, though it must not
	Lost       time.Duration // its agent has been silent that long
	Terminated bool          // its instance is gone from the inventory
	Status     string        // what SSM says became of a command there, in place of running it
	Details    string

	turn   sync.Mutex // restarts follow each other
	flying int        // restarts that have not ended
	cycles int        // that have begun
	gone   bool       // it has no instance at present
	also   Fault      // besides Fault
	past   []string   // instances that it had
}

// The incident's workspace, as it was on 2026-05-28.
const (
	IncidentID       = "6b66de8d-9337-4fb4-be8d-6d49dca0d809"
	incidentInstance = "i-0ad447e8433902973"
)

// samples are models of providers that are matched by prefix alone; of others
// the name itself is the prefix.
var samples = map[string]string{
	"minimax": "MiniMax-M2", "groq": "groq:llama-3.3-70b", "openai-api": "openai/gpt-5.4", "deepseek": "deepseek-chat", "zai": "glm-4.6",
	"xiaomi-mimo": "mimo-v2", "alibaba": "qwen3-coder", "byok-anthropic": "anthropic/claude-x", "byok-gemini": "gemini/gemini-x",
	"byok-openai": "openai/gpt-x", "byok-minimax": "codex-minimax-m2",
}

func sampleOf(p *desired.Provider) string {
	if model := samples[p.Name]; model != "" {
		return model
	}
	return p.Name + "/x"
}

type offer struct {
	runtime  string
	provider *desired.Provider
	model    string
}

// offers lists what customers of a registry may choose.
func offers(reg *desired.Registry) []offer {
	var list []offer
	for _, runtime := range reg.Runtimes {
		for _, entry := range runtime.Entries {
			for _, model := range entry.Models {
				list = append(list, offer{runtime.Name, entry.Provider, model})
			}
			if len(entry.Models) == 0 {
				list = append(list, offer{runtime.Name, entry.Provider, sampleOf(entry.Provider)})
			}
		}
	}
	return list
}

var (
	trades = []string{"Marketing", "Support", "Sales", "Research", "Billing", "Release", "Data", "Legal", "Onboarding", "Translation"}
	jobs   = []string{"Agent", "Bot", "Assistant", "Analyst", "Writer", "Scout"}
)

// roster makes the members, the incident's workspace first.
func roster(reg *desired.Registry, tenants []*Tenant, opts Options) []*Member {
	random := rand.New(rand.NewPCG(opts.Seed, 2)) // #nosec G404 -- a fleet that can be made again, not secrets
	choices := offers(reg)
	members := make([]*Member, opts.Workspaces)
	for i := range members {
		o := choices[random.IntN(len(choices))]
		if opts.EveryOffer {
			o = choices[i%len(choices)]
		}
		m := &Member{Tenant: tenants[i%len(tenants)], Secrets: map[string]string{drift.KeyModel: o.model}}
		m.Row = tenantschema.Workspace{ID: randomID(random), Name: fmt.Sprintf("%s %s %d", trades[random.IntN(len(trades))], jobs[random.IntN(len(jobs))], i),
			Runtime: &o.runtime, InstanceID: fmt.Sprintf("i-%017x", random.Uint64N(1<<60)), ActiveTasks: random.IntN(3)}
		m.Private = netip.AddrFrom4([4]byte{10, 20, byte(i >> 8), byte(i)})
		m.Public = netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})
		m.Started = time.Now().Add(-time.Duration(10+random.IntN(600)) * time.Minute).UTC().Truncate(time.Millisecond)
		if i == 0 {
			m.incident()
		}
		if o.provider.Name != drift.PlatformProvider || i == 0 {
			m.supply(reg, o.provider, random)
		}
		if opts.EveryOffer && i > 0 {
			m.vary(i, random)
		}
		members[i] = m
	}
	return members
}

func (m *Member) incident() {
	runtime := "claude-code"
	m.Row = tenantschema.Workspace{ID: IncidentID, Name: "Marketing Agent", Runtime: &runtime, InstanceID: incidentInstance}
	m.Secrets[drift.KeyModel] = "opus"
	m.Started = time.Now().Add(-2 * time.Hour).UTC().Truncate(time.Millisecond)
}

// supply stores the customer's own credential for the provider.
func (m *Member) supply(reg *desired.Registry, p *desired.Provider, random *rand.Rand) {
	if m.Row.ID == IncidentID {
		p = reg.Provider("anthropic-oauth")
	}
	m.Secrets[p.AuthEnv[0]] = fmt.Sprintf("customer-%016x", random.Uint64())
}

// vary adds what customers have besides: other vendors' keys, blanks around the
// model, overrides.
func (m *Member) vary(i int, random *rand.Rand) {
	other := fmt.Sprintf("other-%016x", random.Uint64())
	switch i % 5 {
	case 1:
		m.Secrets["GROQ_API_KEY"] = other
	case 2:
		m.Secrets["XAI_API_KEY"] = other
	case 3:
		m.Secrets[drift.KeyModel] = " " + m.Secrets[drift.KeyModel] + "\n"
	}
	for step, mode := range map[int]string{7: "disabled", 11: "platform_managed", 13: "byok", 17: "nonsense"} {
		if i%step == 0 && !m.Tenant.Old {
			m.Row.Override = &mode
		}
	}
}

func randomID(random *rand.Rand) string {
	var b [16]byte
	for i := range b {
		b[i] = byte(random.UintN(256))
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return uuid.UUID(b).String()
}

// workspace is the member as the resolver sees it.
func (m *Member) workspace() *drift.Workspace {
	w := &drift.Workspace{Source: m.Tenant.Name, ID: m.Row.ID, Name: m.Row.Name, Runtime: m.Row.Runtime, Override: m.Row.Override}
	w.Secrets, w.Globals = rows(m.Secrets), rows(m.Tenant.Globals)
	return w
}

func rows(plain map[string]string) []drift.StoredSecret {
	var list []drift.StoredSecret
	for key, value := range plain {
		s := drift.StoredSecret{Key: key, Empty: value == ""}
		if key == drift.KeyModel || key == drift.KeyMoleculeModel {
			s.Value = value
		}
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b drift.StoredSecret) int {
		if a.Key < b.Key {
			return -1
		}
		return 1
	})
	return list
}
