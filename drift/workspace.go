package drift

import "time"

// Workspace is one AI agent as its tenant's database describes it: the row, and
// what may be known of its secrets. Nothing in it is derived.
type Workspace struct {
	Source          string  // name of the configured source (tenant)
	ID              string  // uuid, lower case
	Name            string  //
	Runtime         *string // nil: NULL. The two paths read NULL and '' differently
	Status          string  // the platform's enum, read as text
	InstanceID      string  // "": none
	Kind            string  // "workspace", "platform"; "" where the column is missing
	ComputeProvider string  // compute->>'provider'; "" or "aws" is AWS
	UpdateTier      string  // "production", "canary"; "" where the column is missing
	ActiveTasks     int
	LastSampleError string
	Override        *string // llm_billing_mode as stored; nil: NULL, or no such column

	Secrets []StoredSecret // the workspace's own rows, sorted by key
	Globals []StoredSecret // the tenant's rows, sorted by key; one slice shared by every workspace of a source: read only
}

// StoredSecret is what may be known of a row of workspace_secrets or
// global_secrets. The value itself is kept of the two model keys alone.
type StoredSecret struct {
	Key         string
	Empty       bool        // of length zero: a blank value is not empty
	Value       string      // of MODEL and MOLECULE_MODEL only, untrimmed
	Fingerprint Fingerprint // of credentials, when the source was read with a key; "" otherwise
	CreatedAt   time.Time
	UpdatedAt   time.Time
	Err         string // why it could not be decrypted; "" where it could, or where nobody tried
}

// The keys under which a model is stored.
const (
	KeyModel         = "MODEL"
	KeyMoleculeModel = "MOLECULE_MODEL"
	KeyUsageToken    = "MOLECULE_LLM_USAGE_TOKEN" // #nosec G101 -- a variable's name
)

// DefaultRuntime is what a NULL runtime means to both paths.
const DefaultRuntime = "claude-code"

// Scope says whether a workspace is ours to judge.
type Scope string

// The scopes. The zero value is in scope: leaving something out must be said.
const (
	InScope         Scope = ""
	SkippedKind     Scope = "platform workspace"
	SkippedRemoved  Scope = "removed"
	SkippedExternal Scope = "runtime without a container of ours"
)

// Scope tells whether w is judged at all, and why not.
func (w *Workspace) Scope() Scope {
	switch {
	case w.Kind == "platform":
		return SkippedKind
	case w.Status == "removed":
		return SkippedRemoved
	}
	if w.Runtime != nil {
		switch *w.Runtime {
		case "external", "kimi", "kimi-cli", "mock":
			return SkippedExternal
		}
	}
	return InScope
}

// OnAWS tells whether its instance can be looked at through AWS.
func (w *Workspace) OnAWS() bool {
	return w.ComputeProvider == "" || w.ComputeProvider == "aws"
}

// RuntimeOrDefault is the runtime with NULL read as both paths read it.
func (w *Workspace) RuntimeOrDefault() string {
	if w.Runtime == nil {
		return DefaultRuntime
	}
	return *w.Runtime
}
