package drift_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// alerting settles after 5 minutes, and reminds after 1, 2, 4 and then every 5 hours.
var alerting = drift.Alerting{Settle: 5 * time.Minute, RemindAfter: time.Hour, RemindAtMost: 5 * time.Hour}

var (
	mismatch  = drift.Finding{Kind: drift.ModeMismatch, Severity: drift.High, Summary: "mode"}
	overpaid  = drift.Finding{Kind: drift.ProxyTraffic, Severity: drift.Critical, Summary: "calls"}
	diverging = drift.Finding{Kind: drift.PathsDiverge, Severity: drift.High, Summary: "paths"}
	modest    = drift.Finding{Kind: drift.ModelMismatch, Severity: drift.Medium, Summary: "model"}
)

// minute gives the n-th minute after the beginning.
func minute(n int) time.Time { return started.Add(time.Duration(n) * time.Minute) }

// sight is one at a minute, the last one having been five minutes before.
func sight(n int, verdict drift.Verdict, found ...drift.Finding) drift.Sight {
	return drift.Sight{Source: "reno", Workspace: "w", Name: "Agent", At: minute(n), Before: minute(n - 5), Verdict: verdict, Seen: true, Findings: found}
}

func drifts(n int, found ...drift.Finding) drift.Sight { return sight(n, drift.Drifted, found...) }
func insync(n int) drift.Sight                         { return sight(n, drift.InSync) }
func unseen(n int) drift.Sight {
	s := sight(n, drift.Unknown)
	s.Seen = false
	return s
}

func amend(s drift.Sight, change func(*drift.Sight)) drift.Sight {
	change(&s)
	return s
}

func held(s drift.Sight) drift.Sight  { return amend(s, func(s *drift.Sight) { s.Held = true }) }
func quiet(s drift.Sight) drift.Sight { return amend(s, func(s *drift.Sight) { s.Quiet = true }) }
func gone(s drift.Sight, why drift.CloseResult) drift.Sight {
	return amend(s, func(s *drift.Sight) { s.Gone, s.Findings, s.Verdict = why, nil, "" })
}
func unheard(s drift.Sight, kinds ...drift.Kind) drift.Sight {
	return amend(s, func(s *drift.Sight) { s.Unheard = kinds })
}

// follow advances an episode over sights and gives what was told of each.
func follow(a drift.Alerting, sights ...drift.Sight) (open *drift.Episode, last *drift.Episode, told [][]drift.EventKind) {
	for i := range sights {
		next, events := a.Advance(open, &sights[i])
		kinds := []drift.EventKind{}
		for _, e := range events {
			kinds = append(kinds, e.Kind)
		}
		told = append(told, kinds)
		if open, last = next, next; !next.Open() {
			open = nil
		}
	}
	return open, last, told
}

func TestAdvance(t *testing.T) {
	const o, c, w, r = drift.EventDriftOpened, drift.EventDriftClosed, drift.EventDriftWorsened, drift.EventDriftReminder
	type tell = []drift.EventKind
	for _, row := range []struct {
		rule   string
		sights []drift.Sight
		told   []tell
		open   bool
	}{
		{"opens at once, and says so once", []drift.Sight{drifts(0, mismatch), drifts(5, mismatch)}, []tell{{o}, {}}, true},
		{"in sync from the start is nothing", []drift.Sight{insync(0), unseen(5)}, []tell{{}, {}}, false},
		{"closes after the settling time in sync", []drift.Sight{drifts(0, mismatch), insync(5), insync(9), insync(10)}, []tell{{o}, {}, {}, {c}}, false},
		{"what comes back within the settling time was never gone", []drift.Sight{drifts(0, mismatch), insync(5), drifts(9, mismatch), insync(11), insync(15), insync(16)}, []tell{{o}, {}, {}, {}, {}, {c}}, false},
		{"what comes back after it is another", []drift.Sight{drifts(0, mismatch), insync(5), insync(10), drifts(15, mismatch)}, []tell{{o}, {}, {c}, {o}}, true},
		{"not seen opens nothing", []drift.Sight{unseen(0)}, []tell{{}}, false},
		{"not seen closes nothing", []drift.Sight{drifts(0, mismatch), unseen(5), unseen(500)}, []tell{{o}, {}, {}}, true},
		{"not seen begins the settling anew", []drift.Sight{drifts(0, mismatch), insync(5), unseen(9), insync(11), insync(15), insync(16)}, []tell{{o}, {}, {}, {}, {}, {c}}, false},
		{"held opens nothing", []drift.Sight{held(drifts(0, mismatch))}, []tell{{}}, false},
		{"held closes nothing, and begins the settling anew", []drift.Sight{drifts(0, mismatch), insync(5), held(insync(10)), insync(12), insync(17)}, []tell{{o}, {}, {}, {}, {c}}, false},
		{"held does not worsen", []drift.Sight{drifts(0, mismatch), held(drifts(5, overpaid))}, []tell{{o}, {}}, true},
		{"gone ends it, held or not", []drift.Sight{drifts(0, mismatch), held(gone(insync(5), drift.WorkspaceRemoved))}, []tell{{o}, {c}}, false},
		{"gone opens nothing", []drift.Sight{gone(insync(0), drift.WorkspaceRemoved)}, []tell{{}}, false},
		{"out of scope ends it", []drift.Sight{drifts(0, mismatch), sight(5, drift.Skipped)}, []tell{{o}, {c}}, false},
		{"quiet is told to nobody, opening and closing", []drift.Sight{quiet(drifts(0, mismatch)), insync(5), insync(10)}, []tell{{}, {}, {}}, false},
		{"no longer quiet is told then", []drift.Sight{quiet(drifts(0, mismatch)), drifts(5, mismatch), drifts(10, mismatch)}, []tell{{}, {o}, {}}, true},
		{"quiet after it was told: the end is told", []drift.Sight{drifts(0, mismatch), quiet(drifts(5, mismatch)), insync(10), insync(15)}, []tell{{o}, {}, {}, {c}}, false},
		{"quiet neither worsens nor reminds", []drift.Sight{drifts(0, mismatch), quiet(drifts(5, overpaid)), quiet(drifts(65, overpaid)), drifts(70, overpaid)}, []tell{{o}, {}, {}, {w}}, true},
		{"worse is told once", []drift.Sight{drifts(0, mismatch), drifts(5, mismatch, overpaid), drifts(10, mismatch), drifts(15, overpaid)}, []tell{{o}, {w}, {}, {}}, true},
		{"less bad is not told", []drift.Sight{drifts(0, mismatch), drifts(5, modest)}, []tell{{o}, {}}, true},
		{"reminders at doubling distance, to a bound", []drift.Sight{drifts(0, mismatch), drifts(59, mismatch), drifts(60, mismatch), drifts(179, mismatch), drifts(180, mismatch),
			drifts(419, mismatch), drifts(420, mismatch), drifts(719, mismatch), drifts(720, mismatch), drifts(1019, mismatch), drifts(1020, mismatch)},
			[]tell{{o}, {}, {r}, {}, {r}, {}, {r}, {}, {r}, {}, {r}}, true},
		{"no reminder of what is not seen", []drift.Sight{drifts(0, mismatch), unseen(300), insync(305)}, []tell{{o}, {}, {}}, true},
		{"a log that was not read acquits no one", []drift.Sight{drifts(0, overpaid), unheard(insync(5), drift.ProxyTraffic), unheard(insync(15), drift.ProxyTraffic), insync(20), insync(25)},
			[]tell{{o}, {}, {}, {}, {c}}, false},
		{"a read endpoint that did not answer acquits no one", []drift.Sight{drifts(0, diverging), unheard(insync(5), drift.PathsDiverge), unheard(insync(15), drift.PathsDiverge)}, []tell{{o}, {}, {}}, true},
		{"a witness that nothing rests on holds up no end", []drift.Sight{drifts(0, mismatch), unheard(insync(5), drift.PathsDiverge), unheard(insync(10), drift.ProxyTraffic)}, []tell{{o}, {}, {c}}, false},
	} {
		open, _, told := follow(alerting, row.sights...)
		if diff := cmp.Diff(row.told, told); diff != "" || open.Open() != row.open {
			t.Errorf("%s: open %v, told (-want +got):\n%s", row.rule, open.Open(), diff)
		}
	}
}

func TestRemindersWithoutABound(t *testing.T) {
	a := drift.Alerting{RemindAfter: time.Hour}
	_, last, _ := follow(a, drifts(0, mismatch), drifts(60, mismatch), drifts(179, mismatch), drifts(180, mismatch), drifts(419, mismatch), drifts(420, mismatch), drifts(899, mismatch))
	if last.Reminders != 3 {
		t.Errorf("%d reminders in 15 hours, want those after 1, 3 and 7", last.Reminders)
	}
	a.RemindAfter = 0
	if _, last, _ = follow(a, drifts(0, mismatch), drifts(60000, mismatch)); last.Reminders != 0 {
		t.Error("a reminder though none was asked for")
	}
}

// What an episode says of itself after a row of looks.
func TestEpisodeTells(t *testing.T) {
	for _, row := range []struct {
		rule   string
		sights []drift.Sight
		want   func(*drift.Episode)
	}{
		{"seen by the last pass", []drift.Sight{drifts(0, mismatch), drifts(5, mismatch)}, func(*drift.Episode) {}},
		{"last seen by the pass before the first that did not see it", []drift.Sight{drifts(0, mismatch), drifts(5, mismatch), unseen(10), unseen(15)}, func(e *drift.Episode) { e.LastSeenAt = minute(5) }},
		{"held is not seen", []drift.Sight{drifts(0, mismatch), held(drifts(5, mismatch))}, func(e *drift.Episode) { e.LastSeenAt = minute(0) }},
		{"never last seen before it opened", []drift.Sight{drifts(0, mismatch), amend(unseen(5), func(s *drift.Sight) { s.Before = minute(-60) })}, func(e *drift.Episode) { e.LastSeenAt = minute(0) }},
		{"clear since the first look in sync", []drift.Sight{drifts(0, mismatch), insync(5), insync(7)}, func(e *drift.Episode) { e.LastSeenAt, e.ClearSince = minute(0), minute(5) }},
		{"what the container showed stands while it is not seen", []drift.Sight{drifts(0, mismatch), amend(drifts(5, overpaid), func(s *drift.Sight) { s.Seen = false })}, func(e *drift.Episode) {
			e.Findings, e.Severity, e.Announced = []drift.Finding{mismatch, overpaid}, drift.Critical, drift.Critical
		}},
		{"what the container no longer shows goes when it is seen", []drift.Sight{drifts(0, mismatch, diverging), drifts(5, diverging)}, func(e *drift.Episode) { e.Findings = []drift.Finding{diverging} }},
		{"what a silent witness said stands", []drift.Sight{drifts(0, mismatch, diverging), unheard(drifts(5, mismatch), drift.PathsDiverge)}, func(e *drift.Episode) { e.Findings = []drift.Finding{diverging, mismatch} }},
		{"what is found again is not listed twice", []drift.Sight{drifts(0, mismatch, diverging), unheard(drifts(5, mismatch, diverging), drift.PathsDiverge)}, func(e *drift.Episode) { e.Findings = []drift.Finding{mismatch, diverging} }},
		{"a cause stands while the container is not seen", []drift.Sight{amend(drifts(0, mismatch), func(s *drift.Sight) { s.Causes = []drift.Cause{{Code: drift.ModelEmpty}} }),
			amend(drifts(5, mismatch), func(s *drift.Sight) { s.Seen = false })}, func(e *drift.Episode) { e.Causes = []drift.Cause{{Code: drift.ModelEmpty}} }},
	} {
		_, last, _ := follow(alerting, row.sights...)
		want := &drift.Episode{Source: "reno", Workspace: "w", Name: "Agent", OpenedAt: minute(0), FirstEvidence: minute(0), Findings: []drift.Finding{mismatch},
			Severity: drift.High, AnnouncedAt: minute(0), Announced: drift.High}
		row.want(want)
		if diff := cmp.Diff(want, last); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.rule, diff)
		}
	}
}

func TestFirstEvidenceIsNeverAfterTheOpening(t *testing.T) {
	for at, want := range map[int]int{-3: -3, 0: 0, 7: 0} {
		s := amend(drifts(0, mismatch), func(s *drift.Sight) { s.FirstEvidence = minute(at) })
		if next, _ := alerting.Advance(nil, &s); !next.FirstEvidence.Equal(minute(want)) {
			t.Errorf("evidence of minute %d: got %s, want minute %d", at, next.FirstEvidence, want)
		}
	}
}

func TestHowItEnds(t *testing.T) {
	for why, end := range map[drift.CloseResult][]drift.Sight{
		drift.Resolved:         {insync(5), insync(10)},
		drift.OutOfScope:       {sight(10, drift.Skipped)},
		drift.WorkspaceRemoved: {gone(insync(10), drift.WorkspaceRemoved)},
		drift.SourceRemoved:    {gone(insync(10), drift.SourceRemoved)},
	} {
		_, last, _ := follow(alerting, append([]drift.Sight{drifts(0, mismatch)}, end...)...)
		if last.Open() || last.Result != why || !last.ClosedAt.Equal(minute(10)) {
			t.Errorf("got %+v, want the end %s", last, why)
		}
	}
}

// Same must see every field: what it does not see is never written.
func TestSameSeesEveryField(t *testing.T) {
	full := func() drift.Episode {
		return drift.Episode{ID: 1, Source: "s", Workspace: "w", Name: "n", OpenedAt: minute(1), FirstEvidence: minute(2), LastSeenAt: minute(3), ClearSince: minute(4), ClosedAt: minute(5),
			Result: drift.Resolved, Findings: []drift.Finding{{Kind: drift.ModeMismatch, Severity: drift.High, Summary: "s", Evidence: []string{"e"}, Remediable: true}},
			Causes: []drift.Cause{{Code: drift.ModelEmpty, Summary: "s"}}, Severity: drift.High, AnnouncedAt: minute(6), Announced: drift.High, RemindedAt: minute(7), Reminders: 8}
	}
	a, b := full(), full()
	if b.OpenedAt = b.OpenedAt.In(time.FixedZone("elsewhere", 3600)); !a.Same(&b) {
		t.Error("another time zone is another episode")
	}
	for i := range reflect.TypeFor[drift.Episode]().NumField() {
		changed := full()
		field := reflect.ValueOf(&changed).Elem().Field(i)
		if field.IsZero() {
			t.Fatalf("%s: the test does not set it", reflect.TypeFor[drift.Episode]().Field(i).Name)
		}
		field.SetZero()
		if a.Same(&changed) {
			t.Errorf("%s: a change is not seen", reflect.TypeFor[drift.Episode]().Field(i).Name)
		}
	}
	for i := range reflect.TypeFor[drift.Finding]().NumField() {
		changed := full()
		reflect.ValueOf(&changed.Findings[0]).Elem().Field(i).SetZero()
		if a.Same(&changed) {
			t.Errorf("Finding.%s: a change is not seen", reflect.TypeFor[drift.Finding]().Field(i).Name)
		}
	}
	for i := range reflect.TypeFor[drift.Cause]().NumField() {
		changed := full()
		reflect.ValueOf(&changed.Causes[0]).Elem().Field(i).SetZero()
		if a.Same(&changed) {
			t.Errorf("Cause.%s: a change is not seen", reflect.TypeFor[drift.Cause]().Field(i).Name)
		}
	}
}

func TestSameKinds(t *testing.T) {
	words, worse := mismatch, mismatch
	words.Summary, words.Evidence, words.Remediable = "other words", []string{"12 calls"}, true
	worse.Severity = drift.Critical
	for _, row := range []struct {
		rule string
		b    []drift.Finding
		want bool
	}{
		{"other words and counts", []drift.Finding{words}, true}, {"another severity", []drift.Finding{worse}, false},
		{"another kind", []drift.Finding{modest}, false}, {"one more", []drift.Finding{mismatch, modest}, false}, {"none", nil, false},
	} {
		if got := drift.SameKinds([]drift.Finding{mismatch}, row.b); got != row.want {
			t.Errorf("%s: got %v", row.rule, got)
		}
	}
}
