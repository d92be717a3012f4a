package drift

import (
	"fmt"
	"slices"
	"time"
)

// Facts are all that is known of one workspace at one time. A nil part was
// not asked for.
type Facts struct {
	Workspace    *Workspace
	Desired      Desired
	Observation  Observation
	ReadEndpoint *ReadEndpoint
	Traffic      *Traffic
	Unseen       time.Duration // how long nothing has been learned of its container; zero: recently, or not known
}

// rule is one way for a workspace to be wrong: what it is called, how bad it
// is, whether a reprovision could mend it, and the check. A check gives nil
// where nothing is wrong or where the facts do not suffice to say so.
type rule struct {
	kind       Kind
	severity   Severity
	remediable bool
	needs      evidence
	check      func(*comparison) *Finding
}

// evidence is what a rule must have before its check is called at all.
type evidence uint8

const (
	container evidence = 1 << iota // the container's environment was read
	certainty                      // the desired mode rests on inputs that could be read
)

// rules is the whole policy of what counts as drift.
var rules = []rule{
	{ModeMismatch, High, true, container | certainty, modeMismatch},
	{RoutedToProxy, Critical, true, container | certainty, routedToProxy},
	{RoutedDirect, High, true, container | certainty, routedDirect},
	{CredentialNotSupplied, High, false, certainty, credentialNotSupplied},
	{CredentialNotDelivered, High, true, container | certainty, credentialNotDelivered},
	{PlatformCredentialExposed, Critical, true, container | certainty, platformCredentialExposed},
	{ForeignCredential, Medium, true, container | certainty, foreignCredential},
	{ModelMismatch, Medium, true, container | certainty, modelMismatch},
	{ProxyTraffic, Critical, true, certainty, proxyTraffic},
	{PathsDiverge, High, false, 0, pathsDiverge},
	{Underivable, Low, false, 0, underivable},
	{UnobservedTooLong, Medium, false, 0, unobservedTooLong},
}

// Compare lists what is wrong with a workspace, in the order of the kinds. It
// accuses only on what was seen: a look that failed adds nothing, and inputs
// that could not be read make no desired mode to compare with.
func Compare(p *Policy, f *Facts) []Finding {
	findings := []Finding{}
	if f.Workspace.Scope() != InScope {
		return findings
	}
	c := &comparison{policy: p, Facts: f, have: evidenceOf(f)}
	for _, r := range rules {
		if r.needs&^c.have != 0 {
			continue
		}
		if found := r.check(c); found != nil {
			found.Kind, found.Remediable = r.kind, r.remediable && c.trusted()
			if found.Severity == "" {
				found.Severity = r.severity
			}
			findings = append(findings, *found)
		}
	}
	return findings
}

func evidenceOf(f *Facts) (have evidence) {
	if f.Observation.State == Observed {
		have |= container
	}
	if f.Desired.Mode.Recognised() && f.Desired.Source != FromFallback {
		have |= certainty
	}
	return have
}

// comparison is one workspace being compared.
type comparison struct {
	policy *Policy
	*Facts
	have evidence
}

// trusted tells whether acting could rest on what was read: an environment in
// which a value may imitate a variable is good enough to alert on, not to
// interrupt an agent for.
func (c *comparison) trusted() bool { return !c.Observation.EnvUnsafe }

func (c *comparison) variable(name string) Variable { return c.Observation.Variables[name] }

// platformMustNotPay: nothing of the platform's may reach the container.
func (c *comparison) platformMustNotPay() bool {
	return c.Desired.Mode == ModeBYOK || c.Desired.Mode == ModeDisabled
}

// Owner tells whose a credential found in the container is. It goes by the
// value's fingerprint, not by the name: the platform copies a customer's key
// into a second name.
func (p *Policy) Owner(f *Facts, cred Credential) Owner {
	if cred.Name == KeyUsageToken || isUsageToken(&f.Observation, cred.Fingerprint) {
		return OwnerPlatform
	}
	if stored(f.Workspace.Secrets, func(s *StoredSecret) bool { return sameValue(s, cred) }) {
		return OwnerCustomer
	}
	if stored(f.Workspace.Globals, func(s *StoredSecret) bool { return sameValue(s, cred) }) {
		return p.GlobalSecrets
	}
	named := func(s *StoredSecret) bool { return s.Key == cred.Name && !s.Empty }
	if stored(f.Workspace.Secrets, named) || p.GlobalSecrets == OwnerCustomer && stored(f.Workspace.Globals, named) {
		return OwnerCustomer // stored by the customer and since rotated
	}
	return OwnerUnknown
}

func stored(rows []StoredSecret, match func(*StoredSecret) bool) bool {
	for i := range rows {
		if match(&rows[i]) {
			return true
		}
	}
	return false
}

func sameValue(s *StoredSecret, cred Credential) bool {
	return s.Fingerprint != "" && !s.Empty && s.Fingerprint == cred.Fingerprint
}

// isUsageToken tells whether fp is the fingerprint of the container's own
// usage token.
func isUsageToken(o *Observation, fp Fingerprint) bool {
	return fp != "" && slices.ContainsFunc(o.Credentials, func(c Credential) bool {
		return c.Name == KeyUsageToken && !c.Empty && c.Fingerprint == fp
	})
}

func describe(c Credential) string {
	where := "environment"
	if c.Where == WhereSecretsDir {
		where = "secrets.d"
	}
	return fmt.Sprintf("%s in %s", c.Name, where)
}
