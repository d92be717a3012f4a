package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/store"
)

// An input that says nothing for too long is told of once, and once when it
// speaks again.
func TestASilentInputIsTold(t *testing.T) {
	t.Parallel()
	r := newReplica(t, migrated(t), "a")
	fleet := r.leaseOf(store.Fleet)
	in := store.Input{Name: "file", Host: "proxy1", SilentAfter: time.Hour}
	tells := func(what string, want ...string) {
		t.Helper()
		for i := range 2 { // the second time, nothing
			events, err := r.WatchInputs(t.Context(), fleet)
			r.must(err)
			var got []string
			for _, e := range events {
				got = append(got, string(e.Kind))
			}
			if diff := cmp.Diff(want, got, same); diff != "" {
				t.Errorf("%s, time %d (-want +got):\n%s", what, i+1, diff)
			}
			want = nil
		}
	}
	blind := func() bool {
		t.Helper()
		b, err := r.Blind(t.Context())
		r.must(err)
		return !b.Since.IsZero()
	}
	r.must(r.ReportInput(t.Context(), in, ""))
	tells("just begun")
	r.strings("UPDATE inputs SET started_at = clock_timestamp() - interval '2 hours' RETURNING input")
	if tells("silent for too long", "input_blind"); !blind() {
		t.Error("nobody says that traffic is not seen")
	}
	c := from(call(recent(), "203.0.113.1"))
	c.Input = in
	r.counts(c)
	if tells("a line has come", "input_resumed"); blind() {
		t.Error("traffic is said not to be seen, though it is")
	}
	r.must(r.ReportInput(t.Context(), in, "permission denied"))
	tells("cannot be read", "input_blind")
	r.must(r.ReportInput(t.Context(), in, ""))
	tells("can be read again", "input_resumed")
	r.strings("UPDATE inputs SET seen_at = clock_timestamp() - interval '5 minutes' RETURNING input")
	tells("nobody reads it", "input_blind")
	r.strings("UPDATE inputs SET line_at = clock_timestamp() - interval '3 hours', started_at = clock_timestamp() - interval '4 hours' RETURNING input")
	r.must(r.ReportInput(t.Context(), in, ""))
	tells("its reader is back, and has just begun to listen", "input_resumed")
	r.strings("UPDATE inputs SET seen_at = clock_timestamp() - interval '5 minutes' RETURNING input")
	r.must(r.RetireInputs(t.Context(), []string{"", "proxy2"}, nil))
	if !blind() {
		t.Error("another host's input was forgotten")
	}
	r.must(r.RetireInputs(t.Context(), []string{"", "proxy1"}, []string{"file"}))
	if !blind() {
		t.Error("an input that is configured was forgotten")
	}
	r.must(r.RetireInputs(t.Context(), []string{"", "proxy1"}, []string{"push"}))
	if blind() {
		t.Error("an input that is configured no more is missed")
	}
}

// What was not seen for a while is remembered when it is seen again, and a reader
// that is behind has not seen what came since.
func TestWhatWasNotSeenIsRemembered(t *testing.T) {
	t.Parallel()
	r := newReplica(t, migrated(t), "a")
	fleet := r.leaseOf(store.Fleet)
	in := store.Input{Name: "events"}
	blind := func() store.Blindness {
		t.Helper()
		b, err := r.Blind(t.Context())
		r.must(err)
		return b
	}
	watch := func(problem string) {
		t.Helper()
		r.must(r.ReportInput(t.Context(), in, problem))
		_, err := r.WatchInputs(t.Context(), fleet)
		r.must(err)
	}
	watch("")
	if b := blind(); b != (store.Blindness{}) {
		t.Errorf("all is seen, and was: %+v", b)
	}
	watch("connection refused")
	if b := blind(); b.Since.IsZero() || !b.BackAt.IsZero() || !strings.Contains(b.Problem, "connection refused") {
		t.Errorf("not seen: %+v", b)
	}
	r.must(r.ReportInput(t.Context(), in, ""))
	if b := blind(); !b.Since.IsZero() || time.Since(b.BackAt) > time.Minute {
		t.Errorf("seen again, and nobody has told of it yet: %+v", b)
	}
	watch("")
	watch("")
	if b := blind(); !b.Since.IsZero() || b.Problem != "" || time.Since(b.BackAt) > time.Minute {
		t.Errorf("seen again: %+v", b)
	}
	one, two := ws(1), ws(2)
	r.must(r.ReportLag(t.Context(), in, one, time.Hour))
	r.must(r.ReportLag(t.Context(), in, two, time.Minute))
	r.must(r.ReportLag(t.Context(), in, two, 0))
	if since := time.Since(blind().Since); since < 59*time.Minute || since > 61*time.Minute {
		t.Errorf("behind for %s, though one of two readers is for an hour", since)
	}
	r.strings("UPDATE input_lags SET seen_at = clock_timestamp() - interval '5 minutes' RETURNING input")
	if b := blind(); !b.Since.IsZero() {
		t.Errorf("a reader that is gone holds up everybody: %+v", b)
	}
	r.must(r.ReportLag(t.Context(), in, two, time.Minute))
	r.must(r.RetireInputs(t.Context(), []string{""}, nil))
	if b := blind(); b != (store.Blindness{}) || len(r.strings("SELECT input FROM input_lags")) > 0 {
		t.Errorf("what is not configured is missed: %+v", b)
	}
}
