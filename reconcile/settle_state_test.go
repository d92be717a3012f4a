package reconcile_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/reconcile"
	"github.com/molecule-ai/billing-reconciler/store"
)

// A witness that was asked and did not answer lets no drift end.
func TestSilentWitnesses(t *testing.T) {
	silent := func(j *reconcile.Judged) { j.Traffic = &drift.Traffic{Err: "the log is gone"} }
	for _, row := range []struct {
		kind  drift.Kind
		asks  bool
		quiet func(*reconcile.Judged)
		ends  bool
	}{
		{drift.ProxyTraffic, false, silent, false},
		{drift.ProxyTraffic, false, func(j *reconcile.Judged) { j.Traffic = &drift.Traffic{BlindSince: now} }, false},
		{drift.ProxyTraffic, false, func(j *reconcile.Judged) { j.Traffic = &drift.Traffic{} }, true},
		{drift.PathsDiverge, true, func(*reconcile.Judged) {}, false},
		{drift.PathsDiverge, true, func(j *reconcile.Judged) { j.ReadEndpoint = &drift.ReadEndpoint{Err: "503"} }, false},
		{drift.PathsDiverge, true, func(j *reconcile.Judged) { j.ReadEndpoint = &drift.ReadEndpoint{Mode: drift.ModeBYOK} }, true},
		{drift.PathsDiverge, false, func(*reconcile.Judged) {}, true},
		{drift.ModeMismatch, true, silent, true},
	} {
		l := newLedger(t)
		l.pass(seen("w00", drift.ModeBYOK, wrong, func(j *reconcile.Judged) { j.Findings[0].Kind = row.kind }))
		s := l.settling(seen("w00", drift.ModeBYOK, row.quiet))
		s.Asks = row.asks
		l.apply(s)
		if ended := len(l.known.Episodes) == 0; ended != row.ends {
			t.Errorf("%+v: ended %v", row, ended)
		}
	}
}

func TestFirstEvidence(t *testing.T) {
	before := now.Add(-time.Hour)
	for _, row := range []struct {
		rule           string
		start, call    time.Time
		before, wanted time.Time
	}{
		{"since the container's start", now.Add(-10 * time.Minute), time.Time{}, before, now.Add(-10 * time.Minute)},
		{"or the first call, if that was earlier", now.Add(-10 * time.Minute), now.Add(-20 * time.Minute), before, now.Add(-20 * time.Minute)},
		{"not before the look that did not find it", now.Add(-3 * time.Hour), time.Time{}, before, before},
		{"not known where there was no look before", now.Add(-3 * time.Hour), time.Time{}, time.Time{}, time.Time{}},
		{"not known where nothing has a date", time.Time{}, time.Time{}, before, time.Time{}},
	} {
		j := seen("w00", drift.ModeBYOK, wrong)
		j.Observation.StartedAt = row.start
		if !row.call.IsZero() {
			j.Findings = append(j.Findings, drift.Finding{Kind: drift.ProxyTraffic})
			j.Traffic = &drift.Traffic{First: row.call}
		}
		if got := reconcile.FirstEvidence(&j, row.before); !got.Equal(row.wanted) {
			t.Errorf("%s: got %s, want %s", row.rule, got, row.wanted)
		}
	}
}

// A field that the digest does not cover is never written again.
func TestDigestCoversEveryField(t *testing.T) {
	full := store.State{ID: "i", Name: "n", Status: "s", Verdict: drift.InSync, Kinds: []string{"k"}, DesiredMode: drift.ModeBYOK, Overrides: []string{"o"},
		Observed: true, ObservedAt: now, Document: []byte("{}")}
	digests := map[store.Digest]string{reconcile.DigestOf(&full): "the whole"}
	for i := range reflect.TypeFor[store.State]().NumField() {
		name := reflect.TypeFor[store.State]().Field(i).Name
		if name == "Digest" {
			continue
		}
		changed := full
		field := reflect.ValueOf(&changed).Elem().Field(i)
		if field.IsZero() {
			t.Fatalf("%s: the test does not set it", name)
		}
		field.SetZero()
		if same, ok := digests[reconcile.DigestOf(&changed)]; ok {
			t.Errorf("without %s the digest is that of %s", name, same)
		}
		digests[reconcile.DigestOf(&changed)] = "that without " + name
	}
	moved := full
	moved.Name, moved.Status = "ns", ""
	if _, ok := digests[reconcile.DigestOf(&moved)]; ok {
		t.Error("a letter may move from one field to another")
	}
}
