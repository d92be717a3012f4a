package reconcile_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/reconcile"
	"github.com/molecule-ai/billing-reconciler/store"
)

// ledger is a source's knowledge, and looks that are settled against it.
type ledger struct {
	testing.TB
	known *store.Known
	at    time.Time
	next  int64
	last  *reconcile.Result
}

func newLedger(t testing.TB) *ledger {
	return &ledger{TB: t, at: now, known: &store.Known{States: map[string]store.KnownState{}, Episodes: map[string]drift.Episode{}, Holdings: map[string][]store.Holding{}}}
}

var believed = drift.Surge{Percent: 20, AtLeast: 3}

// seen is a workspace as a pass judged it.
func seen(id string, mode drift.Mode, change ...func(*reconcile.Judged)) reconcile.Judged {
	w := workspace("reno", id)
	j := reconcile.Judged{Facts: drift.Facts{Workspace: &w, Desired: drift.Desired{Path: drift.Path{Mode: mode, Source: drift.FromProvider}}, Observation: drift.Observation{State: drift.Observed, StartedAt: started}},
		Verdict: drift.InSync, Findings: []drift.Finding{}}
	for _, c := range change {
		c(&j)
	}
	return j
}

func wrong(j *reconcile.Judged) {
	j.Verdict, j.Findings = drift.Drifted, []drift.Finding{{Kind: drift.ModeMismatch, Severity: drift.High, Summary: "mode"}}
}

func removed(j *reconcile.Judged) {
	j.Workspace.Status, j.Verdict, j.Reason, j.Findings = "removed", drift.Skipped, "removed", nil
	j.Observation = drift.Observation{Reason: "removed"}
}

func hidden(j *reconcile.Judged) {
	j.Observation = drift.Observation{State: drift.Unreachable, Reason: "ConnectionLost"}
	j.Verdict, j.Reason = drift.Unknown, "ConnectionLost"
}

func at(addresses ...string) func(*reconcile.Judged) {
	return func(j *reconcile.Judged) { j.Observation.Addresses = parse(addresses) }
}

func overridden(mode drift.Mode) func(*reconcile.Judged) {
	return func(j *reconcile.Judged) { j.Desired.Override = mode }
}

// many gives n workspaces from one on.
func many(from, n int, mode drift.Mode, change ...func(*reconcile.Judged)) (list []reconcile.Judged) {
	for i := range n {
		list = append(list, seen(fmt.Sprintf("w%02d", from+i), mode, change...))
	}
	return list
}

// settling is a pass, one interval later.
func (l *ledger) settling(workspaces ...reconcile.Judged) reconcile.Settling {
	l.at = l.at.Add(5 * time.Minute)
	l.last = &reconcile.Result{At: l.at, Workspaces: workspaces, Sources: []reconcile.SourceResult{{Name: "reno"}}}
	return reconcile.Settling{Result: l.last, Full: true, Known: l.known, Surge: believed, Alerting: drift.Alerting{RemindAfter: time.Hour}}
}

// apply settles and takes the outcome for written.
func (l *ledger) apply(s reconcile.Settling) *store.Outcome {
	out := s.Settle()
	var applied store.Applied
	for i := range out.Episodes {
		id := out.Episodes[i].ID
		if id == 0 {
			l.next++
			id = l.next
		}
		applied.Episodes = append(applied.Episodes, id)
	}
	reconcile.Absorb(l.known, out, &applied)
	return out
}

func (l *ledger) pass(workspaces ...reconcile.Judged) *store.Outcome {
	return l.apply(l.settling(workspaces...))
}

func eventsOf(out *store.Outcome) []drift.EventKind {
	list := []drift.EventKind{}
	for i := range out.Episodes {
		for _, e := range out.Episodes[i].Events {
			list = append(list, e.Kind)
		}
	}
	for _, e := range out.Events {
		list = append(list, e.Kind)
	}
	return list
}

func (l *ledger) want(what string, want, got any) {
	l.Helper()
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		l.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// empty wants an outcome that changes nothing.
func (l *ledger) empty(what string, out *store.Outcome) {
	l.Helper()
	if len(out.States)+len(out.Gone)+len(out.Episodes)+len(out.Events)+len(out.Holdings) != 0 {
		l.Errorf("%s: %d states, %d gone, %d episodes, %d events, %d holdings are written", what, len(out.States), len(out.Gone), len(out.Episodes), len(out.Events), len(out.Holdings))
	}
}

func verdictOf(out *store.Outcome, id string) drift.Verdict {
	for i := range out.States {
		if out.States[i].ID == id {
			return out.States[i].Verdict
		}
	}
	return "not written"
}

// A pass that finds what is known changes nothing, and neither does the same
// pass once more.
func TestNothingNewIsNotWritten(t *testing.T) {
	l := newLedger(t)
	fleet := slices.Concat(many(0, 8, drift.ModeBYOK, at("10.0.0.7")), []reconcile.Judged{seen("w08", drift.ModeBYOK, wrong), seen("w09", drift.ModeBYOK, hidden), seen("w10", drift.ModeBYOK, removed)})
	s := l.settling(fleet...)
	if out := l.apply(s); len(out.States) != 11 || len(out.Episodes) != 1 || len(out.Holdings) != 8 {
		t.Fatalf("first: %d states, %d episodes, %d holdings", len(out.States), len(out.Episodes), len(out.Holdings))
	}
	l.empty("the same pass again", l.apply(s))
	out := l.pass(fleet...)
	l.empty("another pass", out)
	l.want("counts", map[drift.Verdict]int{drift.InSync: 8, drift.Drifted: 1, drift.Unknown: 1, drift.Skipped: 1}, out.Counts)
	l.want("written of one that moved on", []string{"w03"}, func() (ids []string) {
		fleet[3].Workspace.Name = "renamed"
		for _, st := range l.pass(fleet...).States {
			ids = append(ids, st.ID)
		}
		return ids
	}())
}

// What a second try settles is what the first did, though its look is the same.
func TestSettlingLeavesTheLookAlone(t *testing.T) {
	l := newLedger(t)
	l.pass(many(0, 10, drift.ModeBYOK)...)
	for name, fleet := range map[string][]reconcile.Judged{
		"flipped": many(0, 10, drift.ModeDisabled, wrong), "removed": many(0, 10, drift.ModeBYOK, removed),
	} {
		s := l.settling(fleet...)
		first, second := s.Settle(), s.Settle()
		l.want(name+": the second try", first.Surge, second.Surge)
		l.want(name+": census", first.Census, second.Census)
		l.want(name+": verdict", verdictOf(first, "w03"), verdictOf(second, "w03"))
		if first.Surge == "" || l.last.Workspaces[0].Verdict == drift.Unknown {
			t.Errorf("%s: surge %q; the look's own verdict became %s", name, first.Surge, l.last.Workspaces[0].Verdict)
		}
	}
}

func TestSurges(t *testing.T) {
	for _, row := range []struct {
		rule   string
		next   []reconcile.Judged
		change func(*reconcile.Settling)
		census drift.Census
		surge  bool
		told   []drift.EventKind
		gone   int
	}{
		{rule: "flips beyond the share", next: slices.Concat(many(0, 7, drift.ModeBYOK), many(7, 3, drift.ModeDisabled, wrong)), census: drift.Census{Known: 10, Flipped: 3}, surge: true, told: []drift.EventKind{drift.EventSurge}},
		{rule: "flips within it are believed", next: slices.Concat(many(0, 8, drift.ModeBYOK), many(8, 2, drift.ModeDisabled, wrong)), census: drift.Census{Known: 10, Flipped: 2}, told: []drift.EventKind{drift.EventDriftOpened, drift.EventDriftOpened}},
		{rule: "an empty list", census: drift.Census{Known: 10, Missing: 10}, surge: true, told: []drift.EventKind{drift.EventSurge}},
		{rule: "a halved list", next: many(0, 5, drift.ModeBYOK), census: drift.Census{Known: 10, Missing: 5}, surge: true, told: []drift.EventKind{drift.EventSurge}},
		{rule: "a few gone are gone", next: many(0, 8, drift.ModeBYOK), census: drift.Census{Known: 10, Missing: 2}, told: []drift.EventKind{}, gone: 2},
		{rule: "removed by status counts as missing", next: slices.Concat(many(0, 5, drift.ModeBYOK), many(5, 5, drift.ModeBYOK, removed)), census: drift.Census{Known: 10, Missing: 5}, surge: true, told: []drift.EventKind{drift.EventSurge}},
		{rule: "a mode that could not be read flips nothing", next: many(0, 10, drift.ModeDisabled, func(j *reconcile.Judged) { j.Desired.Source = drift.FromFallback }), census: drift.Census{Known: 10}, told: []drift.EventKind{}},
		{rule: "new ones during a surge are looked at as ever", next: slices.Concat(many(0, 10, drift.ModeDisabled, wrong), many(10, 2, drift.ModeBYOK, wrong)), census: drift.Census{Known: 10, Flipped: 10}, surge: true,
			told: []drift.EventKind{drift.EventDriftOpened, drift.EventDriftOpened, drift.EventSurge}},
		{rule: "accepted flips are believed", next: slices.Concat(many(0, 5, drift.ModeBYOK), many(5, 5, drift.ModeDisabled)), change: func(s *reconcile.Settling) { s.Known.Source.Accepted = now }, census: drift.Census{Known: 10, Flipped: 5}, told: []drift.EventKind{}},
		{rule: "an accepted list is believed", next: many(0, 5, drift.ModeBYOK), change: func(s *reconcile.Settling) { s.Known.Source.Accepted = now }, census: drift.Census{Known: 10, Missing: 5}, told: []drift.EventKind{}, gone: 5},
		{rule: "in doubt, flips are held without a surge", next: slices.Concat(many(0, 9, drift.ModeBYOK), many(9, 1, drift.ModeDisabled, wrong)), change: func(s *reconcile.Settling) { s.Doubt = "the rest was not read" }, census: drift.Census{Known: 10, Flipped: 1}, told: []drift.EventKind{}},
		{rule: "accepted means no doubt", next: slices.Concat(many(0, 9, drift.ModeBYOK), many(9, 1, drift.ModeDisabled, wrong)), change: func(s *reconcile.Settling) { s.Doubt, s.Known.Source.Accepted = "not read", now }, census: drift.Census{Known: 10, Flipped: 1}, told: []drift.EventKind{drift.EventDriftOpened}},
	} {
		l := newLedger(t)
		l.pass(many(0, 10, drift.ModeBYOK)...)
		s := l.settling(row.next...)
		if row.change != nil {
			row.change(&s)
		}
		out := l.apply(s)
		l.want(row.rule+": census", row.census, out.Census)
		l.want(row.rule+": told", row.told, eventsOf(out))
		if (out.Surge != "") != row.surge || len(out.Gone) != row.gone || len(l.known.States) < 10-row.gone {
			t.Errorf("%s: surge %q, %d gone, %d known", row.rule, out.Surge, len(out.Gone), len(l.known.States))
		}
	}
}

// A surge from its beginning to its end: held, reminded of, accepted.
func TestSurgeIsHeldUntilAccepted(t *testing.T) {
	l := newLedger(t)
	l.pass(append(many(0, 9, drift.ModeBYOK), seen("w09", drift.ModeBYOK, wrong))...)
	flipped := func() []reconcile.Judged {
		return append(many(0, 5, drift.ModeDisabled, wrong), many(5, 5, drift.ModeBYOK)...)
	}
	out := l.pass(flipped()...)
	if v := verdictOf(out, "w00"); v != drift.Unknown || !strings.Contains(string(out.States[0].Document), "not believed yet") || out.States[0].DesiredMode != drift.ModeBYOK {
		t.Errorf("held: %s, %s, mode %s", v, out.States[0].Document, out.States[0].DesiredMode)
	}
	s := l.settling(seen("w00", drift.ModeDisabled, wrong), seen("w99", drift.ModeBYOK, wrong))
	s.Full = false
	l.want("a look during the surge opens a drift of what did not flip alone", []drift.EventKind{drift.EventDriftOpened}, eventsOf(l.apply(s)))
	told := map[drift.EventKind]int{}
	for range 36 { // three hours
		for _, kind := range eventsOf(l.pass(append(flipped(), seen("w99", drift.ModeBYOK))...)) {
			told[kind]++
		}
	}
	l.want("told in three hours", map[drift.EventKind]int{drift.EventSurgeReminder: 2, drift.EventDriftClosed: 1}, told)
	l.known.Source.Accepted = l.at
	l.want("accepted", []drift.EventKind{drift.EventDriftOpened, drift.EventDriftOpened, drift.EventDriftOpened, drift.EventDriftOpened, drift.EventDriftOpened, drift.EventSurgeEnded},
		eventsOf(l.pass(append(flipped(), seen("w99", drift.ModeBYOK))...)))
	if !l.known.Source.Accepted.IsZero() || l.known.States["w00"].DesiredMode != drift.ModeDisabled {
		t.Errorf("accepted %s, mode %s", l.known.Source.Accepted, l.known.States["w00"].DesiredMode)
	}
	l.want("afterwards", []drift.EventKind{}, eventsOf(l.pass(append(flipped(), seen("w99", drift.ModeBYOK))...)))
}

// Drifts during a surge: those of workspaces that are missing or held stay.
func TestSurgeClosesNothing(t *testing.T) {
	for name, next := range map[string][]reconcile.Judged{"empty list": nil, "all removed": many(0, 10, drift.ModeBYOK, removed), "all flipped": many(0, 10, drift.ModeDisabled)} {
		l := newLedger(t)
		l.pass(append(many(0, 9, drift.ModeBYOK, at("203.0.113.7")), seen("w09", drift.ModeBYOK, wrong))...)
		out := l.pass(next...)
		l.want(name, []drift.EventKind{drift.EventSurge}, eventsOf(out))
		if len(l.known.Episodes) != 1 || len(l.known.Holdings["w00"]) != 1 && name != "all flipped" || l.known.States["w00"].DesiredMode != drift.ModeBYOK {
			t.Errorf("%s: %d drifts, holdings %v, mode %s", name, len(l.known.Episodes), l.known.Holdings["w00"], l.known.States["w00"].DesiredMode)
		}
	}
}

func TestWhoIsGone(t *testing.T) {
	l := newLedger(t)
	l.pass(append(many(0, 9, drift.ModeBYOK, at("203.0.113.7")), seen("w09", drift.ModeBYOK, wrong))...)
	s := l.settling(many(0, 8, drift.ModeBYOK, at("203.0.113.7"))...)
	s.Skip = map[string]bool{"w09": true}
	out := l.apply(s)
	l.want("a newer look settles w09; w08 is gone", []string{"w08"}, out.Gone)
	held, ended := out.Holdings["w08"]
	l.want("its addresses end", true, ended && held == nil)
	out = l.pass(many(0, 8, drift.ModeBYOK, at("203.0.113.7"))...)
	l.want("its drift ends with it", []drift.EventKind{drift.EventDriftClosed}, eventsOf(out))
	l.want("why", drift.WorkspaceRemoved, out.Episodes[0].Result)
}

func TestSkippedAreLeftAlone(t *testing.T) {
	l := newLedger(t)
	l.pass(many(0, 3, drift.ModeBYOK)...)
	s := l.settling(many(0, 3, drift.ModeBYOK, wrong, at("10.0.0.7"))...)
	s.Skip = map[string]bool{"w00": true, "w01": true, "w02": true}
	l.empty("all skipped", l.apply(s))
}

func TestSourceThatWasNotRead(t *testing.T) {
	l := newLedger(t)
	l.pass(many(0, 10, drift.ModeBYOK)...)
	s := l.settling()
	s.Result.Sources[0].Err = fmt.Errorf("refused")
	out := l.apply(s)
	l.empty("not read", out)
	if out.Err != "refused" || out.Surge != "" || len(l.known.States) != 10 || l.known.Source.LastPassAt.Equal(l.at) {
		t.Errorf("got error %q, surge %q, %d known, last pass %s", out.Err, out.Surge, len(l.known.States), l.known.Source.LastPassAt)
	}
}

// When a container was last seen is written once, when it no longer is.
func TestObservedAt(t *testing.T) {
	l := newLedger(t)
	l.pass(seen("w00", drift.ModeBYOK))
	first := l.at
	for range 3 {
		l.pass(seen("w00", drift.ModeBYOK, hidden))
		l.want("last seen", first, l.known.States["w00"].ObservedAt)
	}
	l.pass(seen("w00", drift.ModeBYOK))
	l.want("seen again", store.KnownState{Observed: true, DesiredMode: drift.ModeBYOK}, func() store.KnownState {
		st := l.known.States["w00"]
		st.Digest = store.Digest{}
		return st
	}())
}

func TestOverridesAreRememberedWithinBounds(t *testing.T) {
	l := newLedger(t)
	modes := []drift.Mode{drift.ModeBYOK, drift.ModeDisabled}
	for i := range 21 {
		for range 2 {
			l.pass(seen("w00", drift.ModeBYOK, overridden(modes[i%2])))
		}
		l.pass(seen("w00", drift.ModeBYOK, overridden("")))
	}
	got := l.known.States["w00"].Overrides
	if len(got) != 8 || got[7] != "byok" || got[6] != "disabled" || got[0] != "disabled" {
		t.Errorf("got %v, want the last eight, the newest last", got)
	}
}

func holding(id, address string) store.Holding {
	return store.Holding{Workspace: id, Address: netip.MustParseAddr(address), Since: started}
}

func TestHoldings(t *testing.T) {
	l := newLedger(t)
	out := l.pass(seen("w00", drift.ModeBYOK, at("203.0.113.7", "::ffff:10.0.0.7")))
	l.want("as one family, in order", []store.Holding{holding("w00", "10.0.0.7"), holding("w00", "203.0.113.7")}, out.Holdings["w00"])
	l.empty("the same", l.pass(seen("w00", drift.ModeBYOK, at("10.0.0.7", "203.0.113.7"))))
	l.want("not seen: kept", 0, len(l.pass(seen("w00", drift.ModeBYOK, hidden)).Holdings))
	out = l.pass(seen("w00", drift.ModeBYOK, at("10.0.0.8")))
	l.want("another address", []store.Holding{holding("w00", "10.0.0.8")}, out.Holdings["w00"])
	held, ended := l.pass(seen("w00", drift.ModeBYOK, hidden, func(j *reconcile.Judged) { j.Workspace.InstanceID = "" })).Holdings["w00"]
	l.want("no instance, no address", true, ended && held == nil)
	l.want("which is said once", 0, len(l.pass(seen("w00", drift.ModeBYOK, hidden, func(j *reconcile.Judged) { j.Workspace.InstanceID = "" })).Holdings))
}
