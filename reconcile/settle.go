package reconcile

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// settling compares what a look at one source found with what was known of it,
// and says what changes. It is pure: the same look at the same knowledge gives
// the same outcome, so that it can be settled again where it could not be
// written.
type settling struct {
	Source   string
	Result   *Result // of this source alone
	Full     bool    // every workspace of it was walked
	Known    *store.Known
	Resolver string // digest of what the desired side was derived with
	Alerting drift.Alerting
	Surge    drift.Surge
	Asks     bool                          // the source's platform is asked about what is wrong
	Doubt    string                        // why flipped modes are not believed yet, though this source alone shows no surge; "": they are
	Skip     func(id string) bool          // workspaces that a newer look has settled, or a pause covers
	Quiet    func(*Judged) bool            // somebody has suppressed all that was found
	Hearsay  bool                          // containers were not looked at, but remembered: they tell nothing new of addresses
	Document func(*Judged) json.RawMessage // the API's workspace

	out     *store.Outcome
	census  drift.Census
	flipped map[string]bool
	shrunk  bool
	inputs  string // why the inputs are suspect; "": they are not
	byID    map[string]*Judged
	doubted map[string]string // why a workspace is not believed yet, by id
}

// settle gives the outcome, without its lease. Result is a copy from then on, in
// which what is not believed is unknown; the one that was given stays as it is,
// to be settled again.
func (s *settling) settle() *store.Outcome {
	own := *s.Result
	own.Workspaces = slices.Clone(own.Workspaces)
	s.Result, s.doubted = &own, map[string]string{}
	at := s.Result.At
	s.out = &store.Outcome{At: at, Took: s.Result.Took, Full: s.Full, Resolver: s.Resolver, Holdings: map[string][]store.Holding{}}
	if err := s.Result.Sources[0].Err; err != nil {
		s.out.Err = err.Error()
		return s.out
	}
	s.suspect()
	for i := range s.Result.Workspaces {
		if j := &s.Result.Workspaces[i]; !s.Skip(j.Workspace.ID) {
			s.hold(j)
			s.episode(j)
			s.state(j)
			s.holdings(j)
		}
	}
	if s.Full {
		s.gone()
		s.surge()
		s.out.Counts = s.counts()
		s.out.Census, s.out.Surge = s.census, s.inputs
	}
	return s.out
}

// hold makes what rests on suspect inputs unknown. A workspace that a look has
// found to have flipped while its source's inputs are suspect is held too.
func (s *settling) hold(j *Judged) {
	if words := s.doubts(j); words != "" {
		s.doubted[j.Workspace.ID] = words
		j.Verdict, j.Reason = drift.Unknown, "not believed yet: "+words
	}
}

// held tells whether a workspace is not believed yet.
func (s *settling) held(j *Judged) bool { return s.doubted[j.Workspace.ID] != "" }

func (s *settling) doubts(j *Judged) string {
	id := j.Workspace.ID
	switch {
	case s.shrunk && j.Verdict == drift.Skipped && s.wasJudged(id), s.inputs != "" && s.flipped[id]:
		return s.inputs
	case s.flipped[id]:
		return s.Doubt
	}
	return ""
}

// episode advances the workspace's drift.
func (s *settling) episode(j *Judged) {
	id := j.Workspace.ID
	sight := drift.Sight{Source: s.Source, Workspace: id, Name: j.Workspace.Name, At: s.seenAt(j), Before: s.before(id), Verdict: j.Verdict,
		Seen: j.Observation.State == drift.Observed, Findings: j.Findings, Causes: j.Causes, Held: s.held(j), Unheard: s.unheard(j), Quiet: s.Quiet(j)}
	sight.FirstEvidence = firstEvidence(j, sight.Before)
	s.advance(&sight, func() json.RawMessage { return s.Document(j) })
}

// unheard lists the kinds that rest on a witness who was asked and did not
// answer. The read endpoint counts as asked about every drift: those go first.
func (s *settling) unheard(j *Judged) (kinds []drift.Kind) {
	if t := j.Traffic; t != nil && (t.Err != "" || !t.BlindSince.IsZero()) {
		kinds = append(kinds, drift.ProxyTraffic)
	}
	if s.Asks && (j.ReadEndpoint == nil || j.ReadEndpoint.Err != "") {
		kinds = append(kinds, drift.PathsDiverge)
	}
	return kinds
}

// seenAt is when the container answered, or when the look began. It is as exact
// as the database is.
func (s *settling) seenAt(j *Judged) time.Time {
	if at := j.Observation.At.UTC().Truncate(time.Microsecond); at.After(s.Result.At) {
		return at
	}
	return s.Result.At
}

func (s *settling) advance(sight *drift.Sight, document func() json.RawMessage) {
	var open *drift.Episode
	if e, ok := s.Known.Episodes[sight.Workspace]; ok {
		open = &e
	}
	next, events := s.Alerting.Advance(open, sight)
	if next == nil || open != nil && next.Same(open) {
		return
	}
	change := store.EpisodeChange{Episode: *next, Events: events}
	switch {
	case open == nil:
		change.Opened = document()
	case document != nil && !drift.SameKinds(open.Findings, next.Findings):
		change.Latest = document()
	}
	s.out.Episodes = append(s.out.Episodes, change)
}

// gone ends what is no longer in the tenant's list, unless the list itself is
// suspect.
func (s *settling) gone() {
	if s.shrunk {
		return
	}
	for id := range s.Known.States {
		if s.byID[id] == nil && !s.Skip(id) {
			s.out.Gone = append(s.out.Gone, id)
			s.out.Holdings[id] = nil
		}
	}
	for id, e := range s.Known.Episodes {
		if s.byID[id] == nil && !s.Skip(id) {
			s.advance(&drift.Sight{Source: s.Source, Workspace: id, Name: e.Name, At: s.Result.At, Before: s.before(id), Gone: drift.WorkspaceRemoved}, nil)
		}
	}
}

// before is when the workspace was last looked at: by the last pass, where it
// was there then.
func (s *settling) before(id string) time.Time {
	if _, known := s.Known.States[id]; !known {
		return time.Time{}
	}
	return s.Known.Source.LastPassAt
}

// firstEvidence is when what a look found wrong came about: never before the
// look that did not find it, and unknown where there was none.
func firstEvidence(j *Judged, before time.Time) time.Time {
	var first time.Time
	earlier := func(t time.Time) {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	for _, f := range j.Findings {
		switch {
		case f.Kind == drift.ProxyTraffic && j.Traffic != nil:
			earlier(j.Traffic.First)
		case f.Kind.OfContainer():
			earlier(j.Observation.StartedAt)
		}
	}
	if before.IsZero() || first.IsZero() {
		return time.Time{}
	}
	if first.Before(before) {
		return before
	}
	return first
}

func (s *settling) counts() map[drift.Verdict]int {
	counts := map[drift.Verdict]int{}
	for i := range s.Result.Workspaces {
		counts[s.Result.Workspaces[i].Verdict]++
	}
	return counts
}
