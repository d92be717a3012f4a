package drift

import (
	"net/netip"
	"time"
)

// State says how far a look at a workspace got. The zero value is the safe
// one: nobody looked.
type State string

// The states, in words of the contract.
const (
	NotAsked    State = ""            // "not_asked"
	Observed    State = "observed"    // the container's environment was read whole
	NotRunning  State = "not_running" // no instance; container absent, stopped or restarting
	Unreachable State = "unreachable" // not in the inventory, connection lost, undelivered, timed out, hung, cut, unreadable
	Unsupported State = "unsupported" // no docker, another platform or cloud
)

// String gives the word of the contract.
func (s State) String() string {
	if s == NotAsked {
		return "not_asked"
	}
	return string(s)
}

// Where a credential was found in a container.
const (
	WhereEnv        = "env"
	WhereSecretsDir = "secrets_dir"
)

// Credential is a credential found in a container: its name, and a fingerprint
// in place of its value.
type Credential struct {
	Name        string
	Where       string // WhereEnv or WhereSecretsDir
	Empty       bool   // nothing after the canonical form: see Key.Fingerprint
	Fingerprint Fingerprint
}

// Variable is an allow-listed, non-secret variable of a container. URLs come
// without userinfo and query.
type Variable struct {
	Value string
	Cut   bool // the value went on: what stands here is a prefix
}

// The variables that the probe reports by value.
const (
	VarModeResolved  = "MOLECULE_LLM_BILLING_MODE_RESOLVED"
	VarMode          = "MOLECULE_LLM_BILLING_MODE"
	VarAnthropicURL  = "ANTHROPIC_BASE_URL"
	VarOpenAIURL     = "OPENAI_BASE_URL"
	VarProxyURL      = "MOLECULE_LLM_BASE_URL"
	VarMoleculeModel = KeyMoleculeModel
	VarModel         = KeyModel
)

// Variables lists the allow-listed variables in the order of the probe.
var Variables = []string{VarModeResolved, VarMode, VarAnthropicURL, VarOpenAIURL, VarProxyURL, VarMoleculeModel, VarModel}

// Observation is what one look at a workspace's container learned, or why it
// learned nothing.
type Observation struct {
	State  State
	Reason string    // always, unless observed
	At     time.Time // when the answer was given

	Variables    map[string]Variable // by name; absent: not set
	Credentials  []Credential        // sorted by name, then where
	EnvUnsafe    bool                // read from plain printenv: a value with a newline can imitate a variable
	StartedAt    time.Time           // the container's start; may be known though it is not running
	Image        string
	RestartCount int
	Addresses    []netip.Addr // the instance's own, unmapped: IMDS and inventory, no doubles
	LastPing     time.Time    // the agent's last sign of life, from the inventory; zero: unknown
}

// Mode is the mode the container says it has; "" where its image is too old to
// say.
func (o *Observation) Mode() Mode {
	return Mode(o.first(VarModeResolved, VarMode).Value)
}

// Model is the model the container runs with, untrimmed.
func (o *Observation) Model() Variable {
	return o.first(VarMoleculeModel, VarModel)
}

// first returns the first of the named variables that is set and not empty.
func (o *Observation) first(names ...string) Variable {
	for _, n := range names {
		if v, ok := o.Variables[n]; ok && v.Value != "" {
			return v
		}
	}
	return Variable{}
}

// ReadEndpoint is the answer of the platform's own read endpoint.
type ReadEndpoint struct {
	Mode     Mode
	Source   ResolveSource
	Provider string // only where Source is FromProvider: elsewhere the platform answers the raw model id
	Err      string // why there is no answer; the other fields are zero then
}

// Traffic is what the proxy's log says of one workspace, from Since on.
type Traffic struct {
	Since     time.Time // start of the container's present life; zero: unknown, the whole log counted
	Billed    int       // billed calls since Since
	PastGrace int       // those of Billed later than Since plus the grace period
	Rejected  int
	Named     int       // those of Billed whose lines name the workspace, so that no address is needed
	Elsewhere int       // those of Named that came from an address which is not the workspace's
	Ambiguous int       // calls, billed or rejected, from an address that this workspace shares: they accuse no one
	First     time.Time // of Billed and Rejected
	Last      time.Time
	CostUSD   *float64 // nil: not known
	// Tokens of the billed calls, as far as lines tell.
	InputTokens, OutputTokens int64
	// BlindSince is since when some of the log is not seen (an input is silent, or
	// cannot be read, or its reader is behind), so that no calls acquit nobody;
	// zero: all is seen.
	BlindSince time.Time
	BackAt     time.Time // when some of the log that had not been seen last was again; zero: it always was
	Err        string    // why the log could not be read
}
