// Package report turns what a pass found into the documents that programs
// read: the JSON of `check` and `desired`, and later the API's. Names and
// shapes are a contract; lists are [] and never null, and a part that was not
// asked for, or does not apply, is null.
package report

import (
	"net/netip"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/reconcile"
)

// Document is the answer of `check` and `desired`.
type Document struct {
	GeneratedAt time.Time   `json:"generated_at"`
	Workspaces  []Workspace `json:"workspaces"`
	Summary     Summary     `json:"summary"`
	Sources     []Source    `json:"sources"`
	Fleet       *Fleet      `json:"fleet"`
}

// Workspace is one workspace of the document.
type Workspace struct {
	Source     string  `json:"source"`
	ID         string  `json:"id"`
	Name       string  `json:"name"`
	Runtime    *string `json:"runtime"`
	Status     string  `json:"status"`
	InstanceID *string `json:"instance_id"`

	Desired      Desired            `json:"desired"`
	Observed     *Observed          `json:"observed"`
	ReadEndpoint Part[ReadEndpoint] `json:"read_endpoint"`
	Traffic      Part[Traffic]      `json:"traffic"`
	Verdict      *drift.Verdict     `json:"verdict"`
	Findings     []Finding          `json:"findings"`
	Cause        *Cause             `json:"cause"`
	Action       *Action            `json:"action"`
	InFlight     *int64             `json:"in_flight,omitempty"` // number of the action under way; the daemon's
}

// Desired is what the workspace should be.
type Desired struct {
	Mode       drift.Mode          `json:"mode"`
	Source     drift.ResolveSource `json:"source"`
	Provider   *string             `json:"provider"`
	Model      *string             `json:"model"`
	ModelFrom  *string             `json:"model_from"`
	Override   *string             `json:"override"`
	Credential drift.Supply        `json:"credential"`
	Error      *string             `json:"error,omitempty"`
	ReadPath   ReadPath            `json:"read_path"`
}

// ReadPath is what the platform's read endpoint should answer.
type ReadPath struct {
	Mode     drift.Mode          `json:"mode"`
	Source   drift.ResolveSource `json:"source"`
	Provider *string             `json:"provider"`
	Model    *string             `json:"model"`
	Error    *string             `json:"error,omitempty"`
}

// Observed is what was seen of the container.
type Observed struct {
	State              string            `json:"state"`
	Reason             string            `json:"reason"`
	At                 *time.Time        `json:"at"`
	Mode               *string           `json:"mode"`
	Model              *string           `json:"model"`
	BaseURLs           map[string]string `json:"base_urls"`
	AtProxy            *bool             `json:"at_proxy"`
	Credentials        []Credential      `json:"credentials"`
	ContainerStartedAt *time.Time        `json:"container_started_at"`
	Image              *string           `json:"image"`
	RestartCount       *int              `json:"restart_count"`
	Addresses          []netip.Addr      `json:"addresses"`
	EnvUnsafe          bool              `json:"env_unsafe"`
}

// Credential is a credential in the container, without any of its value.
type Credential struct {
	Name  string      `json:"name"`
	Where string      `json:"where"`
	Owner drift.Owner `json:"owner"`
}

// ReadEndpoint is the platform's own answer.
type ReadEndpoint struct {
	Mode     drift.Mode          `json:"mode"`
	Source   drift.ResolveSource `json:"source"`
	Provider *string             `json:"provider"`
}

// Traffic is what the proxy log says of the workspace.
type Traffic struct {
	Billed    int        `json:"billed"`
	PastGrace int        `json:"past_grace"`
	Rejected  int        `json:"rejected"`
	Since     *time.Time `json:"since"`
	First     *time.Time `json:"first"`
	Last      *time.Time `json:"last"`
	Ambiguous int        `json:"ambiguous"`
	CostUSD   *float64   `json:"cost_usd"`
	// Named are those of Billed whose lines name the workspace; Elsewhere those
	// of Named that came from an address which is not its own.
	Named     int `json:"named"`
	Elsewhere int `json:"elsewhere"`
	// Tokens of the billed calls, as far as the lines tell.
	InputTokens  int64      `json:"input_tokens"`
	OutputTokens int64      `json:"output_tokens"`
	BlindSince   *time.Time `json:"blind_since"` // since when some of the log is not seen; null: all of it is
	Words        string     `json:"words"`       // what container and traffic tell together
}

// Finding is one disagreement.
type Finding struct {
	Kind       drift.Kind     `json:"kind"`
	Severity   drift.Severity `json:"severity"`
	Summary    string         `json:"summary"`
	Remediable bool           `json:"remediable"`
	Evidence   []string       `json:"evidence"`
}

// Cause is why the mode differs; Fits lists every cause that does, the deciding
// one first.
type Cause struct {
	Code    drift.CauseCode `json:"code"`
	Summary string          `json:"summary"`
	Fits    []Fit           `json:"fits"`
}

// Fit is one cause that fits.
type Fit struct {
	Code    drift.CauseCode `json:"code"`
	Summary string          `json:"summary"`
}

// Action is what may be done about the workspace, or the rule that keeps from
// it. Since and Next are the daemon's: one look alone does not know them.
type Action struct {
	Rule    drift.Rule `json:"rule"`
	Summary string     `json:"summary"`
	Since   *time.Time `json:"since,omitempty"` // that the rule holds
	Next    *time.Time `json:"next,omitempty"`  // when it is next worth asking, where that is known
}

// Summary counts.
type Summary struct {
	Workspaces int                `json:"workspaces"`
	InSync     int                `json:"in_sync"`
	Drifted    int                `json:"drifted"`
	Unknown    int                `json:"unknown"`
	Skipped    int                `json:"skipped"`
	Findings   map[drift.Kind]int `json:"findings"`
}

// Source says how a tenant's database was read.
type Source struct {
	Name       string  `json:"name"`
	Workspaces int     `json:"workspaces"`
	Error      *string `json:"error"`
}

// Fleet is what concerns no single workspace.
type Fleet struct {
	Findings     []Finding     `json:"findings"`
	Unattributed *Unattributed `json:"unattributed"` // null where not every workspace was looked at
	LogLines     int64         `json:"log_lines"`
	LogSkipped   int64         `json:"log_lines_not_understood"`
	LogError     *string       `json:"log_error"`
}

// Unattributed are billable calls from addresses that no workspace held.
type Unattributed struct {
	Billed    int            `json:"billed"`
	Rejected  int            `json:"rejected"`
	Addresses []AddressCount `json:"addresses"`
}

// AddressCount counts the calls of one address.
type AddressCount struct {
	Address  netip.Addr `json:"address"`
	Billed   int        `json:"billed"`
	Rejected int        `json:"rejected"`
}

// Options say what of a result goes into the document.
type Options struct {
	Policy      *drift.Policy
	DesiredOnly bool
}

// New makes the document of a pass.
func New(result *reconcile.Result, opts Options) *Document {
	doc := &Document{GeneratedAt: result.At.UTC(), Workspaces: make([]Workspace, 0, len(result.Workspaces)), Sources: []Source{}}
	for i := range result.Workspaces {
		doc.Workspaces = append(doc.Workspaces, workspace(&result.Workspaces[i], opts))
	}
	doc.Summary = Summarise(result.Workspaces)
	if opts.DesiredOnly {
		doc.Summary = Summary{Workspaces: len(result.Workspaces), Findings: map[drift.Kind]int{}}
	}
	for _, s := range result.Sources {
		doc.Sources = append(doc.Sources, Source{s.Name, s.Workspaces, errorText(s.Err)})
	}
	if result.Traffic != nil {
		doc.Fleet = fleet(result)
	}
	return doc
}

// Summarise counts verdicts and findings.
func Summarise(workspaces []reconcile.Judged) Summary {
	s := Summary{Workspaces: len(workspaces), Findings: map[drift.Kind]int{}}
	for i := range workspaces {
		switch workspaces[i].Verdict {
		case drift.InSync:
			s.InSync++
		case drift.Drifted:
			s.Drifted++
		case drift.Skipped:
			s.Skipped++
		default:
			s.Unknown++
		}
		for _, f := range workspaces[i].Findings {
			s.Findings[f.Kind]++
		}
	}
	return s
}

func fleet(result *reconcile.Result) *Fleet {
	calls := result.Traffic
	f := &Fleet{Findings: []Finding{}, LogLines: calls.Lines, LogSkipped: calls.Skipped, LogError: errorText(calls.Err)}
	if !result.Partial {
		f.Unattributed = unattributed(&calls.Unattributed)
	}
	for _, found := range result.Fleet {
		f.Findings = append(f.Findings, toFinding(found))
	}
	return f
}

func unattributed(u *reconcile.Unattributed) *Unattributed {
	out := &Unattributed{u.Billed, u.Rejected, make([]AddressCount, 0, len(u.Addresses))}
	for _, a := range u.Addresses {
		out.Addresses = append(out.Addresses, AddressCount{a.Addr, a.Billed, a.Rejected})
	}
	return out
}
