package config

import (
	"testing"
	"time"
)

func TestWindows(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	nightly := Window{Cron: "30 2 * * *", Duration: Duration{time.Hour}, Zone: Zone{berlin}}
	office := Window{Cron: "0 9 * * mon-fri", Duration: Duration{8 * time.Hour}, Zone: Zone{berlin}}
	often := Window{Cron: "*/10 * * * *", Duration: Duration{15 * time.Minute}, Zone: Zone{time.UTC}}
	never := Window{Cron: "0 0 31 2 *", Duration: Duration{time.Hour}, Zone: Zone{time.UTC}}
	for _, row := range []struct {
		name    string
		windows windows
		at      string
		open    bool
		changes string
	}{
		{"open", windows{nightly}, "2026-01-10T01:45:00Z", true, "2026-01-10T02:30:00Z"},
		{"its end is outside", windows{nightly}, "2026-01-10T02:30:00Z", false, "2026-01-11T01:30:00Z"},
		{"its beginning is inside", windows{nightly}, "2026-01-10T01:30:00Z", true, "2026-01-10T02:30:00Z"},
		{"in summer by the wall", windows{nightly}, "2026-07-10T00:45:00Z", true, "2026-07-10T01:30:00Z"},
		{"an hour that is skipped opens as the clock is set", windows{nightly}, "2026-03-29T01:10:00Z", true, "2026-03-29T02:00:00Z"},
		{"and not before", windows{nightly}, "2026-03-29T00:59:00Z", false, "2026-03-29T01:00:00Z"},
		{"an hour that comes twice opens once", windows{nightly}, "2026-10-25T00:45:00Z", true, "2026-10-25T01:30:00Z"},
		{"and not again", windows{nightly}, "2026-10-25T01:45:00Z", false, "2026-10-26T01:30:00Z"},
		{"on days of the week", windows{office}, "2026-11-28T12:00:00Z", false, "2026-11-30T08:00:00Z"},
		{"two: the later end", windows{nightly, office}, "2026-11-30T10:00:00Z", true, "2026-11-30T16:00:00Z"},
		{"two: the earlier beginning", windows{office, nightly}, "2026-11-30T17:00:00Z", false, "2026-12-01T01:30:00Z"},
		{"longer than the distance of its openings", windows{often}, "2026-11-30T17:09:00Z", true, "2026-11-30T17:15:00Z"},
		{"never", windows{never}, "2026-11-30T17:09:00Z", false, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			at, err := time.Parse(time.RFC3339, row.at)
			if err != nil {
				t.Fatal(err)
			}
			open, changes := row.windows.Open(at)
			got := ""
			if !changes.IsZero() {
				got = changes.UTC().Format(time.RFC3339)
			}
			if open != row.open || got != row.changes {
				t.Errorf("open %v until %s, want %v until %s", open, got, row.open, row.changes)
			}
		})
	}
}
