package evidence

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Schema names the shape of a document; it begins the chain.
const Schema = "billing-reconciler.evidence/1"

// Document is the evidence of one drift.
type Document struct {
	Schema      string    `json:"schema"`
	GeneratedAt time.Time `json:"generated_at"` // not of the chain
	Digest      string    `json:"digest"`       // hash of the last entry
	Entries     []Entry   `json:"entries"`
}

// Entry is one fact. Its hash is over all of it but itself.
type Entry struct {
	Number   int             `json:"number"` // from 1
	Kind     string          `json:"kind"`
	Body     json.RawMessage `json:"body"`
	Previous string          `json:"previous"` // hash of the entry before; of the first: of the schema's name
	Hash     string          `json:"hash"`     // hex SHA-256
}

// The kinds of entry, in their order.
const (
	KindEpisode     = "episode"     // one
	KindFinding     = "finding"     // each
	KindCause       = "cause"       // each that fits, the deciding one first
	KindSnapshot    = "snapshot"    // the workspace at the opening, and at the last change of the findings
	KindCalls       = "calls"       // an hour, operation, status class and attribution each
	KindTotal       = "total"       // one
	KindAction      = "action"      // each
	KindEvent       = "event"       // each
	KindSuppression = "suppression" // each
	KindSuppressed  = "suppressed"  // one, where there are suppressions
)

// Payer says who paid and who should have: platform, customer, nobody, unknown.
type Payer struct {
	Should string   `json:"should"`
	Paid   string   `json:"paid"`
	By     []string `json:"by"` // what tells who paid: calls, container
}

type episode struct {
	Drift         int64             `json:"drift"`
	Source        string            `json:"source"`
	Workspace     string            `json:"workspace"`
	Name          string            `json:"name"`
	Severity      drift.Severity    `json:"severity"`
	Payer         Payer             `json:"payer"`
	FirstEvidence time.Time         `json:"first_evidence_at"`
	OpenedAt      time.Time         `json:"opened_at"`
	LastSeenAt    *time.Time        `json:"last_seen_at"` // null while it is open: it would change with every look
	ClosedAt      *time.Time        `json:"closed_at"`
	Result        drift.CloseResult `json:"result"` // "" while it is open
}

type finding struct {
	Kind       drift.Kind     `json:"kind"`
	Severity   drift.Severity `json:"severity"`
	Summary    string         `json:"summary"`
	Remediable bool           `json:"remediable"`
	Evidence   []string       `json:"evidence"`
}

type cause struct {
	Code    drift.CauseCode `json:"code"`
	Summary string          `json:"summary"`
	Decides bool            `json:"decides"`
}

type snapshot struct {
	At        string          `json:"at"` // opening, last_change
	Workspace json.RawMessage `json:"workspace"`
}

// Sums are calls added up.
type Sums struct {
	Billed   int64 `json:"billed"`
	Rejected int64 `json:"rejected"`
	// Edge is how many of both, at most, lie outside of the time: they were
	// counted together with some that lie within.
	Edge          int64    `json:"edge"`
	InputTokens   int64    `json:"input_tokens"`
	OutputTokens  int64    `json:"output_tokens"`
	WithoutTokens int64    `json:"without_tokens"` // billed calls whose tokens no line tells
	CostUSD       *float64 `json:"cost_usd"`       // null: not known of all
	KnownCostUSD  float64  `json:"known_cost_usd"` // of those of which it is known
	Unpriced      int64    `json:"unpriced"`       // billed calls of which it is not
}

type calls struct {
	Hour        time.Time `json:"hour"`
	Operation   string    `json:"operation"`
	Status      string    `json:"status"`
	Attribution string    `json:"attribution"`
	Sums
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
}

type total struct {
	Sums
	Operations map[string]Sums `json:"operations"`
	First      *time.Time      `json:"first"`
	Last       *time.Time      `json:"last"`
}

type action struct {
	ID        int64               `json:"id"`
	Cause     string              `json:"cause"`
	State     string              `json:"state"`
	Mode      drift.RemediateMode `json:"mode"`
	By        string              `json:"by"`
	Reason    string              `json:"reason"`
	Forced    bool                `json:"forced"`
	CreatedAt time.Time           `json:"created_at"`
	OpenedAt  *time.Time          `json:"opened_at"`
	CalledAt  *time.Time          `json:"called_at"`
	EndedAt   *time.Time          `json:"ended_at"`
	Calls     int                 `json:"calls"`
	Answer    *answer             `json:"answer"`
	Outcome   drift.Outcome       `json:"outcome"`
	Words     string              `json:"words"`
	Before    json.RawMessage     `json:"before"`
	After     json.RawMessage     `json:"after"`
}

type answer struct {
	Result drift.CallResult `json:"result"`
	Words  string           `json:"words"`
}

type event struct {
	ID       int64           `json:"id"`
	At       time.Time       `json:"at"`
	Kind     drift.EventKind `json:"kind"`
	Severity drift.Severity  `json:"severity"`
	Summary  string          `json:"summary"`
	By       string          `json:"by"`
}

type suppression struct {
	ID        int64      `json:"id"`
	Workspace *string    `json:"workspace"` // null: every one of the source
	Kind      drift.Kind `json:"kind"`      // "": every kind
	Reason    string     `json:"reason"`
	By        string     `json:"by"`
	At        time.Time  `json:"at"`
	ExpiresAt time.Time  `json:"expires_at"`
	EndedAt   *time.Time `json:"ended_at"` // null: it is in force
	Price     Sums       `json:"price"`    // the workspace's calls meanwhile
}

// Operation is the word of an operation's number in our database.
func Operation(number int16) string {
	return word([]string{"", "messages", "batches", "chat_completions", "responses"}, int(number))
}

// Attribution is the word of how it is known whose a call is.
func Attribution(number int16) string { return word([]string{"", "", "address", "name"}, int(number)) }

func word(list []string, number int) string {
	if number < 0 || number >= len(list) {
		return ""
	}
	return list[number]
}

func status(class int16) string {
	if class == 0 {
		return "none"
	}
	return fmt.Sprintf("%dxx", class)
}
