package drift

import "fmt"

// Kind names a disagreement; the words are the contract's and become metric
// labels.
type Kind string

// The kinds of finding, in the order in which Compare lists them.
const (
	ModeMismatch              Kind = "mode_mismatch"
	RoutedToProxy             Kind = "routed_to_proxy"
	RoutedDirect              Kind = "routed_direct"
	CredentialNotSupplied     Kind = "credential_not_supplied"
	CredentialNotDelivered    Kind = "credential_not_delivered"
	PlatformCredentialExposed Kind = "platform_credential_exposed"
	ForeignCredential         Kind = "foreign_credential"
	ModelMismatch             Kind = "model_mismatch"
	ProxyTraffic              Kind = "proxy_traffic"
	PathsDiverge              Kind = "paths_diverge"
	Underivable               Kind = "underivable"
	UnobservedTooLong         Kind = "unobserved_too_long"
)

// UnattributedTraffic is a finding of the fleet, of no workspace.
const UnattributedTraffic Kind = "unattributed_traffic"

// Severity orders findings for people and alerts.
type Severity string

// The severities, worst first.
const (
	Critical Severity = "critical"
	High     Severity = "high"
	Medium   Severity = "medium"
	Low      Severity = "low"
)

// Severities lists them worst first.
var Severities = []Severity{Critical, High, Medium, Low}

// Finding is one disagreement about one workspace.
type Finding struct {
	Kind       Kind
	Severity   Severity
	Summary    string   // one sentence, for people; never a secret's value
	Evidence   []string // the facts it rests on, one a line
	Remediable bool     // a reprovision could mend it
}

// Accuses tells whether a finding of this kind makes a workspace drifted. The
// two others say that something is not known well enough.
func (k Kind) Accuses() bool {
	return k != Underivable && k != UnobservedTooLong
}

// finding builds a Finding; the severity and what a reprovision can mend come
// from the rule.
func finding(evidence []string, format string, args ...any) *Finding {
	return &Finding{Summary: fmt.Sprintf(format, args...), Evidence: evidence}
}
