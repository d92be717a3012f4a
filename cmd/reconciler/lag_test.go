package main

import (
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/molecule-ai/billing-reconciler/store"
	"github.com/molecule-ai/billing-reconciler/store/storetest"
)

// That a reader is behind is written where all replicas see it, when it is for
// more than a moment, and taken back when it is not any more.
func TestBeingBehindIsTold(t *testing.T) {
	db := storetest.Open(t, storetest.Database(t), t.Name())
	in := newInputs(&service{app: &app{log: slog.New(slog.DiscardHandler)}, store: state{Store: db}, replica: store.Replica{ID: uuid.NewString()}})
	told := teller{in: in, name: "events"}
	for _, step := range []struct {
		oldest, from, to time.Duration // from and to: what the database says then; 0: that all is seen
	}{
		{lagMatters - time.Second, 0, 0},
		{time.Hour, time.Hour, time.Hour + time.Minute},
		{2 * time.Hour, time.Hour, time.Hour + time.Minute}, // told a moment ago
		{0, 0, 0},
		{2 * time.Hour, 2 * time.Hour, 2*time.Hour + time.Minute},
	} {
		told.tell(t.Context(), step.oldest)
		b, err := db.Blind(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var behind time.Duration
		if !b.Since.IsZero() {
			behind = time.Since(b.Since)
		}
		if behind < step.from || behind > step.to {
			t.Errorf("after %s: the database says %s", step.oldest, behind)
		}
	}
}
