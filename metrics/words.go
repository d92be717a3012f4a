package metrics

import "github.com/molecule-ai/billing-reconciler/drift"

// The witnesses: who tells of a workspace.
const (
	Container    = "container"
	Traffic      = "traffic"
	ReadEndpoint = "read_endpoint"
)

// all is the source where sources have no series of their own.
const all = "all"

// other is the label of what has no word here.
const other = "other"

// severities are those that findings of a kind can have.
var severities = map[drift.Kind][]drift.Severity{
	drift.ModeMismatch:              {drift.Critical, drift.High},
	drift.RoutedToProxy:             {drift.Critical},
	drift.RoutedDirect:              {drift.High},
	drift.CredentialNotSupplied:     {drift.High},
	drift.CredentialNotDelivered:    {drift.High},
	drift.PlatformCredentialExposed: {drift.Critical},
	drift.ForeignCredential:         {drift.Medium},
	drift.ModelMismatch:             {drift.Medium},
	drift.ProxyTraffic:              {drift.Critical},
	drift.PathsDiverge:              {drift.High},
	drift.Underivable:               {drift.Low},
	drift.UnobservedTooLong:         {drift.Medium},
}

// reasons keep a drifted workspace from being reprovisioned.
var reasons = func() (rules []drift.Rule) {
	for _, r := range drift.Rules {
		if r != drift.RuleGo && r != drift.RuleOutOfScope && r != drift.RuleNoDrift {
			rules = append(rules, r)
		}
	}
	return rules
}()

// scopes are those of pauses, as the store words them.
var scopes = []string{"all", "source", "workspace"}

// StoreOperations are the words for StoreError.
var StoreOperations = []string{"act", "apply", "count", "events", "inputs", "lease", "looks", "maintain", "notify", "pauses", "read", other}

// vocabulary is what the labels of a counter can say, a column a label.
type vocabulary [][]string

// zero makes the series that can be known at the start.
func (m *Metrics) zero() {
	counted := []struct {
		touch func(...string)
		words vocabulary
	}{
		{touch(m.ProxyHits), vocabulary{{"attributed", "ambiguous", "unattributed"}, {"billed", "rejected"}}},
		{touch(m.Observations), vocabulary{{Container}, {"observed", "not_running", "unreachable", "unsupported", "not_asked"}}},
		{touch(m.AWSRequests), vocabulary{{"SendCommand", "ListCommands", "ListCommandInvocations", "DescribeInstanceInformation"}, {"ok", "throttled", "error"}}},
		{touch(m.reprovisions), vocabulary{plain(drift.Outcomes)}},
		{touch(m.driftClosed), vocabulary{plain(drift.CloseResults)}},
		{touch(m.storeErrors), vocabulary{StoreOperations}},
	}
	for _, c := range counted {
		c.words.each(nil, c.touch)
	}
	m.Paused(nil)
	m.reloadOK.Set(1)
	if !m.standing.perSource {
		m.zeroSource(all)
	}
}

// zeroSource makes the counters of a source.
func (m *Metrics) zeroSource(label string) {
	m.passSeconds.WithLabelValues(label)
	m.sourceErrors.WithLabelValues(label)
	m.drained.WithLabelValues(label)
	for _, s := range drift.Severities {
		m.driftOpened.WithLabelValues(label, string(s))
	}
}

// each calls f with every combination of the words that begins with given.
func (v vocabulary) each(given []string, f func(...string)) {
	if len(given) == len(v) {
		f(given...)
		return
	}
	for _, word := range v[len(given)] {
		v.each(append(given[:len(given):len(given)], word), f)
	}
}

func plain[S ~string](words []S) []string {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = string(w)
	}
	return list
}
