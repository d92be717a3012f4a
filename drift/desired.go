package drift

// Mode is a billing mode. The zero value is "not known".
type Mode string

// The billing modes of the platform.
const (
	ModeUnknown         Mode = ""
	ModeBYOK            Mode = "byok"             // bring your own key: straight to the vendor, the customer pays
	ModePlatformManaged Mode = "platform_managed" // through the proxy on the platform's key
	ModeDisabled        Mode = "disabled"         // no LLM at all
)

// Recognised tells whether m is one of the platform's three modes, compared exactly.
func (m Mode) Recognised() bool {
	return m == ModeBYOK || m == ModePlatformManaged || m == ModeDisabled
}

// ResolveSource says where a mode comes from; the words are the platform's.
type ResolveSource string

// Where a mode may come from.
const (
	FromOverride ResolveSource = "workspace_override"
	FromProvider ResolveSource = "derived_provider"
	FromDefault  ResolveSource = "derived_default"   // nothing derived: the deployment's default
	FromFallback ResolveSource = "constant_fallback" // inputs unreadable: the default too, and doubtful
)

// PlatformProvider is the one provider name that means: the platform pays.
const PlatformProvider = "platform"

// Inputs are all that one path derives from, after the path's own rules for
// choosing them.
type Inputs struct {
	Runtime  string   // "" is an unknown runtime
	Override Mode     // recognised overrides only; "" none
	Model    string   // untrimmed; "" none
	AuthEnv  []string // names present that are in some provider's auth_env; sorted, no doubles
	Err      string   // a needed input that could not be read
}

// Path is what one of the platform's two paths resolves to.
type Path struct {
	Mode     Mode
	Source   ResolveSource
	Provider string // "": none derived, or an override decides
	Model    string // trimmed; "": none
	Err      string // why the source is constant_fallback
}

// Supply says what the customer has stored for the derived provider.
type Supply string

// The supplies. The zero value says that nothing is needed.
const (
	SupplyNotNeeded Supply = "not_needed" // not byok, or no derived provider to say which
	SupplyNone      Supply = "none"
	SupplyWorkspace Supply = "workspace"
	SupplyGlobal    Supply = "global" // in the tenant's global_secrets, where policy counts those
)

// Desired is what a workspace should be: the provision path done right, with
// the read path beside it.
type Desired struct {
	Path               // the provision path with the effective model
	ModelFrom string   // e.g. "workspace_secrets.MODEL"; "": no model
	Override  Mode     // the recognised override; "": none
	AuthEnv   []string // the derived provider's auth_env, as declared; nil without one
	Supply    Supply
	ReadPath  Path
	Trace     []Step // nil unless asked for
}

// Step is one line of a derivation's trace, for people.
type Step struct {
	What string // "runtime", "model", "override", "auth env", "exact model id", "prefix", "narrowed", "mode", ...
	Got  string // the value
	From string // where it came from: a column, a store and key, a rule
}

// Derivation is a registry and a policy as the decisions here need them. Its
// methods are pure.
type Derivation interface {
	// Inputs chooses the provision path's inputs of w.
	Inputs(w *Workspace) Inputs
	// Resolve gives the path that in leads to.
	Resolve(in Inputs) Path
}
