package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// InputState is how an input is, on one host or of all replicas.
type InputState struct {
	Name       string    `json:"input"`
	Host       string    `json:"host"`
	StartedAt  time.Time `json:"started_at"`
	SeenAt     time.Time `json:"seen_at"`   // its reader's last sign of life
	LineAt     time.Time `json:"line_at"`   // when the last line came; zero: none has
	NewestAt   time.Time `json:"newest_at"` // the latest time that a line tells; zero: none
	Lines      int64     `json:"lines"`     // read since it is known
	Unread     int64     `json:"not_understood"`
	Err        string    `json:"error"`       // why it is not read; "": it is
	BlindSince time.Time `json:"blind_since"` // since when it says nothing, though it should; zero: it sees
}

// ReportInput notes how an input is: an error is why it is not read. It is the
// sign of life of whoever reads it.
func (s *Store) ReportInput(ctx context.Context, in Input, problem string) error {
	return s.write(ctx, "note how input "+in.Name+" is", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO inputs AS i (input, host, silent_after, err, err_since) VALUES ($1, $2, make_interval(secs => $3), $4, CASE WHEN $4 <> '' THEN clock_timestamp() END)
			ON CONFLICT (input, host) DO UPDATE SET started_at = CASE WHEN `+unheard+` THEN clock_timestamp() ELSE i.started_at END, seen_at = clock_timestamp(), silent_after = excluded.silent_after, err = excluded.err,
				err_since = CASE WHEN excluded.err <> '' THEN coalesce(i.err_since, clock_timestamp()) END`,
			in.Name, in.Host, seconds(in.SilentAfter), clean(problem))
		return err
	})
}

// unseenFor is how long a reader may show no sign of life until what it reads
// counts as unread; forgottenFor, until its host counts as gone for good.
const (
	unseenFor    = 2 * time.Minute
	forgottenFor = 7 * 24 * time.Hour
)

// RetireInputs forgets what was read on hosts (and, of "", by all replicas) and
// is configured no more: that nobody reads it is as it should be. Another
// replica that still has such an input tells of it again.
func (s *Store) RetireInputs(ctx context.Context, hosts, configured []string) error {
	return s.write(ctx, "forget inputs that are not configured", func(ctx context.Context, tx pgx.Tx) error {
		configured := append([]string{}, configured...) // nil would be NULL, and equal to nothing
		for _, table := range []string{"inputs", "input_lags"} {
			if _, err := tx.Exec(ctx, "DELETE FROM "+table+" WHERE host = ANY($1::text[]) AND input <> ALL($2::text[])", hosts, configured); err != nil {
				return err
			}
		}
		return nil
	})
}

// ReportLag notes how long the oldest of what a replica has not counted of an
// input has waited; 0: it is not behind. It is to be told again while it lasts,
// within the time after which a reader counts as gone.
func (s *Store) ReportLag(ctx context.Context, in Input, replica string, oldest time.Duration) error {
	return s.write(ctx, "note how far input "+in.Name+" is behind", func(ctx context.Context, tx pgx.Tx) error {
		if oldest <= 0 {
			_, err := tx.Exec(ctx, "DELETE FROM input_lags AS i WHERE input = $1 AND host = $2 AND (replica = $3::uuid OR "+unheard+")", in.Name, in.Host, replica)
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO input_lags AS i (input, host, replica, behind_since) VALUES ($1, $2, $3::uuid, clock_timestamp() - make_interval(secs => $4))
			ON CONFLICT (input, host, replica) DO UPDATE SET behind_since = excluded.behind_since, seen_at = clock_timestamp()`, in.Name, in.Host, replica, seconds(oldest))
		return err
	})
}

// unheard tells that the reader of the input i has shown no sign of life for as
// long as makes it count as gone. One that comes back begins to listen then, and
// is not silent for what came while it was away.
const unheard = "i.seen_at < clock_timestamp() - interval '2 minutes'"

// blindness is since when an input says nothing, or NULL: it cannot be read,
// nobody reads it, or no line has come for longer than may be.
const blindness = `least(err_since,
	CASE WHEN seen_at < clock_timestamp() - interval '2 minutes' THEN seen_at END,
	CASE WHEN silent_after > interval '0' AND greatest(line_at, started_at) < clock_timestamp() - silent_after THEN greatest(line_at, started_at) END)`

// Inputs gives all that is known of where lines come from.
func (s *Store) Inputs(ctx context.Context) (inputs []InputState, err error) {
	err = s.read(ctx, "read how the inputs are", func(ctx context.Context, tx pgx.Tx) error {
		inputs, err = collect(ctx, tx, scanInput, inputSelect+" ORDER BY input, host")
		return err
	})
	return inputs, err
}

const inputSelect = "SELECT input, host, started_at, seen_at, line_at, newest_at, lines, unread, err, " + blindness + " FROM inputs"

func scanInput(row pgx.CollectableRow) (in InputState, err error) {
	var line, newest, blind *time.Time
	err = row.Scan(&in.Name, &in.Host, &in.StartedAt, &in.SeenAt, &line, &newest, &in.Lines, &in.Unread, &in.Err, &blind)
	in.StartedAt, in.SeenAt, in.LineAt, in.NewestAt, in.BlindSince = in.StartedAt.UTC(), in.SeenAt.UTC(), orZero(line), orZero(newest), orZero(blind)
	return in, err
}

// Blindness is what of the proxy's traffic is not seen, whatever input it would
// come from.
type Blindness struct {
	Since   time.Time // zero: all is seen
	BackAt  time.Time // when something that had gone blind was last found to see again; zero: nothing had
	Problem string    // why an input cannot be read; "": none is known to be unreadable, lines only do not come, or are not counted yet
}

// Blind tells what of the proxy's traffic is not seen.
func (s *Store) Blind(ctx context.Context) (b Blindness, err error) {
	err = s.read(ctx, "ask whether the inputs see", func(ctx context.Context, tx pgx.Tx) error {
		var since, back *time.Time
		err := tx.QueryRow(ctx, `SELECT least(min(`+blindness+`), (SELECT min(behind_since) FROM input_lags i WHERE NOT `+unheard+`)),
			max(CASE WHEN blind_since IS NOT NULL AND `+blindness+` IS NULL THEN clock_timestamp() ELSE resumed_at END), -- not watched yet
			coalesce(min('input ' || input || ' cannot be read: ' || err) FILTER (WHERE err <> ''), '') FROM inputs`).Scan(&since, &back, &b.Problem)
		b.Since, b.BackAt = orZero(since), orZero(back)
		return err
	})
	return b, err
}

// WatchInputs tells once of every input that has gone blind, and once when it
// sees again; it forgets those whose reader has been gone for a week. It is done
// under the lease of the fleet.
func (s *Store) WatchInputs(ctx context.Context, fleet Lease) (events []drift.Event, err error) {
	err = s.write(ctx, "watch the inputs", func(ctx context.Context, tx pgx.Tx) error {
		events = nil
		if err := fence(ctx, tx, fleet); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "DELETE FROM inputs WHERE seen_at < clock_timestamp() - make_interval(secs => $1)", seconds(forgottenFor)); err != nil {
			return err
		}
		changed, err := collect(ctx, tx, scanInput, `UPDATE inputs SET blind_since = `+blindness+`, resumed_at = CASE WHEN `+blindness+` IS NULL THEN clock_timestamp() ELSE resumed_at END
			WHERE (blind_since IS NULL) <> (`+blindness+` IS NULL) RETURNING input, host, started_at, seen_at, line_at, newest_at, lines, unread, err, blind_since`)
		if err != nil || len(changed) == 0 {
			return err
		}
		now, err := clock(ctx, tx)
		if err != nil {
			return err
		}
		for i := range changed {
			events = append(events, changed[i].event(now))
		}
		events, err = appendEvents(ctx, tx, events)
		return err
	})
	return events, err
}

// event tells that an input has gone blind, or sees again.
func (in *InputState) event(now time.Time) drift.Event {
	name := in.Name
	if in.Host != "" {
		name += " on " + in.Host
	}
	e := drift.Event{At: now, Name: name}
	switch {
	case in.BlindSince.IsZero():
		e.Kind, e.Severity = drift.EventInputResumed, drift.Low
		e.Summary = "lines come again from input " + name
	case in.Err != "":
		e.Kind, e.Severity = drift.EventInputBlind, drift.High
		e.Summary = "input " + name + " cannot be read, so that no traffic acquits anybody: " + in.Err
	case now.Sub(in.SeenAt) > unseenFor:
		e.Kind, e.Severity = drift.EventInputBlind, drift.High
		e.Summary = "nobody reads input " + name + " any more: the reconciler that did has not been heard of since " + stamp(in.SeenAt)
	default:
		e.Kind, e.Severity = drift.EventInputBlind, drift.High
		e.Summary = "no line has come from input " + name + " since " + stamp(in.BlindSince) + ": silence is not innocence"
	}
	return e
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func clock(ctx context.Context, tx pgx.Tx) (now time.Time, err error) {
	err = tx.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&now)
	return now.UTC(), err
}
