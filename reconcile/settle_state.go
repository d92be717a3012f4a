package reconcile

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"slices"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// overridesKept bounds how many earlier overrides of a workspace are remembered.
const overridesKept = 8

// state writes down how the workspace stands, where that differs from what is
// written already.
func (s *settling) state(j *Judged) {
	id := j.Workspace.ID
	known, had := s.Known.States[id]
	st := store.State{ID: id, Name: j.Workspace.Name, Status: j.Workspace.Status, Verdict: j.Verdict, Kinds: kindsOf(j.Findings),
		DesiredMode: known.DesiredMode, Overrides: known.Overrides, Observed: j.Observation.State == drift.Observed, Document: s.Document(j)}
	switch {
	case s.held(j):
	case j.Verdict == drift.Skipped:
		st.DesiredMode = drift.ModeUnknown // out of scope: nothing to flip from
	case believable(j):
		st.DesiredMode = j.Desired.Mode
	}
	if o := string(j.Desired.Override); o != "" && (len(st.Overrides) == 0 || st.Overrides[len(st.Overrides)-1] != o) {
		st.Overrides = append(slices.Clone(st.Overrides), o)
		st.Overrides = st.Overrides[max(0, len(st.Overrides)-overridesKept):]
	}
	if !st.Observed {
		st.ObservedAt = known.ObservedAt
		if known.Observed {
			st.ObservedAt = s.before(id)
		}
	}
	st.Digest = digest(&st)
	if !had || st.Digest != known.Digest {
		s.out.States = append(s.out.States, st)
	}
}

func kindsOf(findings []drift.Finding) []string {
	kinds := make([]string, 0, len(findings))
	for _, f := range findings {
		kinds = append(kinds, string(f.Kind))
	}
	slices.Sort(kinds)
	return kinds
}

// digest hashes all of a state, each part behind its length.
func digest(st *store.State) (d store.Digest) {
	h := sha256.New()
	part := func(text []byte) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(text)))
		h.Write(n[:])
		h.Write(text)
	}
	for _, text := range []string{st.ID, st.Name, st.Status, string(st.Verdict), string(st.DesiredMode)} {
		part([]byte(text))
	}
	lists, _ := json.Marshal([][]string{st.Kinds, st.Overrides}) // strings always have a form
	part(lists)
	seen := byte(0)
	if st.Observed {
		seen = 1
	}
	part([]byte{seen})
	if !st.ObservedAt.IsZero() {
		part([]byte(st.ObservedAt.UTC().Format(time.RFC3339Nano)))
	}
	part(st.Document)
	copy(d[:], h.Sum(nil))
	return d
}

// holdings notes the addresses that the workspace was seen with. Where nobody
// saw it, it keeps what it had.
func (s *settling) holdings(j *Judged) {
	switch {
	case s.Hearsay:
	case j.Observation.State == drift.Observed && !j.Observation.StartedAt.IsZero():
		if held, news := heldBy(j, s.Known); news {
			s.out.Holdings[j.Workspace.ID] = held
		}
	case len(s.Known.Holdings[j.Workspace.ID]) == 0:
	case j.Workspace.InstanceID == "" || j.Verdict == drift.Skipped:
		s.out.Holdings[j.Workspace.ID] = nil // no machine of ours, no address
	}
}

// absorb makes what was written part of what is known.
func absorb(known *store.Known, out *store.Outcome, applied *store.Applied) {
	for i := range out.States {
		st := &out.States[i]
		known.States[st.ID] = store.KnownState{Digest: st.Digest, DesiredMode: st.DesiredMode, Observed: st.Observed, ObservedAt: st.ObservedAt, Overrides: st.Overrides}
	}
	for i := range out.Episodes {
		e := out.Episodes[i].Episode
		if i < len(applied.Episodes) {
			e.ID = applied.Episodes[i]
		}
		if e.Open() {
			known.Episodes[e.Workspace] = e
		} else {
			delete(known.Episodes, e.Workspace)
		}
	}
	for id, held := range out.Holdings {
		known.Holdings[id] = held
		if held == nil {
			delete(known.Holdings, id)
		}
	}
	for _, id := range out.Gone {
		delete(known.States, id)
	}
	for _, id := range applied.Taken {
		delete(known.Holdings, id) // given anew the next time
	}
	if out.Err != "" {
		known.Source.TriedAt = out.At
	}
	if out.Full && out.Err == "" {
		absorbPass(&known.Source, out)
	}
}

func absorbPass(s *store.SourceState, out *store.Outcome) {
	s.LastPassAt, s.Took, s.Err, s.Resolver, s.Census, s.Counts = out.At, out.Took, "", out.Resolver, out.Census, out.Counts
	s.Surge, s.Accepted = out.Surge, time.Time{}
	switch {
	case out.Surge == "":
		s.SurgeSince = time.Time{}
	case s.SurgeSince.IsZero():
		s.SurgeSince = out.At
	}
	for _, e := range out.Events {
		if e.Kind == drift.EventSurge || e.Kind == drift.EventSurgeReminder {
			s.SurgeTold = e.At
		}
	}
}
