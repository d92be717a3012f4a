package drift_test

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// history is what was told of a workspace's episodes, by their numbers.
type history struct {
	t      *rapid.T
	opened map[int64]int
	closed map[int64]int
	last   drift.EventKind // of opened and closed
	lastID int64
}

func (h *history) take(id int64, events []drift.Event) {
	if len(events) > 1 {
		h.t.Fatalf("one look told %d things: %+v", len(events), events)
	}
	for _, e := range events {
		switch e.Kind {
		case drift.EventDriftOpened:
			h.opened[id]++
			if h.last == e.Kind {
				h.t.Fatal("told of an opening while one was open")
			}
			h.last = e.Kind
		case drift.EventDriftClosed:
			h.closed[id]++
			if h.last != drift.EventDriftOpened || h.lastID != id {
				h.t.Fatal("told of the end of what nobody knew of")
			}
			h.last = e.Kind
		default:
			if h.last != drift.EventDriftOpened {
				h.t.Fatalf("%s of what nobody knew of", e.Kind)
			}
		}
		h.lastID = id
	}
}

// anySight draws a look, whatever came before.
func anySight(t *rapid.T, at, before time.Time) drift.Sight {
	s := drift.Sight{Source: "reno", Workspace: "w", Name: "Agent", At: at, Before: before, Seen: rapid.Bool().Draw(t, "seen"),
		Held: rapid.IntRange(0, 5).Draw(t, "held") == 0, Quiet: rapid.IntRange(0, 5).Draw(t, "quiet") == 0}
	s.Verdict = oneOf(t, "verdict", []drift.Verdict{drift.Drifted, drift.Drifted, drift.InSync, drift.InSync, drift.InSync, drift.Unknown, drift.Skipped})
	if s.Verdict == drift.InSync {
		s.Seen = true
	}
	if s.Verdict == drift.Drifted {
		s.Findings = []drift.Finding{oneOf(t, "finding", []drift.Finding{mismatch, overpaid, diverging, modest})}
	}
	if rapid.IntRange(0, 9).Draw(t, "deaf") == 0 {
		s.Unheard = []drift.Kind{drift.ProxyTraffic, drift.PathsDiverge}
	}
	if rapid.IntRange(0, 15).Draw(t, "gone") == 0 {
		s.Gone = oneOf(t, "why", []drift.CloseResult{drift.WorkspaceRemoved, drift.SourceRemoved})
	}
	return s
}

// Whatever is seen, and however often the daemon is restarted in between: every
// episode that was told of was told of once, and so was its end; nothing is told
// by a look that saw nothing.
func TestNobodyIsToldTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &history{t: t, opened: map[int64]int{}, closed: map[int64]int{}}
		var open *drift.Episode
		var all []*drift.Episode
		at, before := started, time.Time{}
		for range rapid.IntRange(1, 60).Draw(t, "looks") {
			s := anySight(t, at, before)
			next, events := alerting.Advance(open, &s)
			if len(events) > 0 && s.Gone == "" && (s.Held || s.Verdict == drift.Unknown) {
				t.Fatalf("a look that saw nothing told %+v", events)
			}
			if next != nil && open != nil && next.ID != open.ID || next == nil && open != nil {
				t.Fatal("an open episode was lost")
			}
			if next != nil && next.ID == 0 { // stored for the first time
				next.ID = int64(len(all) + 1)
				all = append(all, next)
			} else if next != nil {
				all[next.ID-1] = next
			}
			if next != nil {
				h.take(next.ID, events)
			}
			if open = next; !open.Open() {
				open = nil
			}
			if rapid.Bool().Draw(t, "restart") {
				open = reread(t, open)
			}
			before, at = at, at.Add(time.Duration(rapid.IntRange(1, 90).Draw(t, "minutes"))*time.Minute)
		}
		h.balance(all)
	})
}

// reread is an episode as it comes back from where it was kept.
func reread(t *rapid.T, e *drift.Episode) (again *drift.Episode) {
	kept, err := json.Marshal(e)
	if err == nil {
		err = json.Unmarshal(kept, &again)
	}
	if err != nil {
		t.Fatal(err)
	}
	if e != nil && !e.Same(again) {
		t.Fatalf("%+v came back as %+v", e, again)
	}
	return again
}

func (h *history) balance(all []*drift.Episode) {
	open := 0
	for _, e := range all {
		want := 0
		if !e.AnnouncedAt.IsZero() {
			want = 1
		}
		if h.opened[e.ID] != want {
			h.t.Fatalf("episode %d, announced %v: told of %d times", e.ID, want == 1, h.opened[e.ID])
		}
		if e.Open() {
			open++
			want = 0
		}
		if h.closed[e.ID] != want {
			h.t.Fatalf("episode %d, open %v: its end was told %d times", e.ID, e.Open(), h.closed[e.ID])
		}
	}
	if open > 1 {
		h.t.Fatalf("%d are open at once", open)
	}
}
