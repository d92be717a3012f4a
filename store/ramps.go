package store

import (
	"context"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// dryRamp is the beginning of the name under which a dry run keeps the ramp of
// a cause: it takes for granted that all goes well, which the real one must not.
const dryRamp = "dry_run/"

func rampKey(c *Candidate) string {
	if c.Mode == drift.RemediateDryRun {
		return dryRamp + c.Cause
	}
	return c.Cause
}

// dryKey names a drift with its inputs, of which a dry run tells once.
func dryKey(inputs string, episode *int64) string {
	if episode == nil {
		return inputs
	}
	return inputs + "/" + strconv.FormatInt(*episode, 10)
}

// ramp gives the ramp of a candidate's cause, as the plan has moved it. One that
// was stopped begins again where the inputs have changed of the workspace that
// stopped it, and with that workspace: for the others it stays stopped until
// something has been opened there, lest inputs that are doubted let it go on.
func (l *planner) ramp(ctx context.Context, c *Candidate) (*drift.Ramp, error) {
	key := rampKey(c)
	r := l.ramps[key]
	if r == nil {
		var err error
		if r, err = l.loadRamp(ctx, key); err != nil {
			return nil, err
		}
		l.ramps[key] = r
	}
	if r.Rest(l.now); r.Stopped != "" && r.Source == l.Lease.Source && r.Workspace == c.Workspace && r.Inputs != c.Inputs {
		again := *r
		again.Approve(0)
		return &again, nil
	}
	return r, nil
}

// standing is what a candidate is judged by.
func (l *planner) standing(c *Candidate, ramp *drift.Ramp) *Standing {
	one := l.records.of(c.Workspace)
	st := one.standing(l.Change, rampKey(c), c.Inputs)
	st.Ramp, st.Room = *ramp, l.records.room
	if ramp.Fresh() {
		st.First = l.tier.first(c, l.now)
	}
	if c.Mode == drift.RemediateDryRun {
		st.Room.LastHour += l.records.dry
	}
	st.Told = c.Mode == drift.RemediateDryRun && one.dry[dryKey(c.Inputs, numberOrNull(c.Episode))]
	return st
}

const rampSelect = "SELECT cause, wave, lap, opened, proven, stopped, ended_at, source, workspace, inputs, approved_at FROM ramps"

// Ramp is how far the actions of a cause have proven themselves.
type Ramp struct {
	drift.Ramp
	ApprovedAt time.Time // when a person last let it go on; zero: never
}

func scanRamp(row pgx.CollectableRow) (r Ramp, err error) {
	var ended, approved *time.Time
	err = row.Scan(&r.Cause, &r.Wave, &r.Lap, &r.Opened, &r.Proven, &r.Stopped, &ended, &r.Source, &r.Workspace, &r.Inputs, &approved)
	r.EndedAt, r.ApprovedAt = orZero(ended), orZero(approved)
	return r, err
}

// Ramps gives those of all causes about which something was ever done.
func (s *Store) Ramps(ctx context.Context) (ramps []Ramp, err error) {
	err = s.read(ctx, "read the ramps", func(ctx context.Context, tx pgx.Tx) error {
		ramps, err = collect(ctx, tx, scanRamp, rampSelect+" ORDER BY cause")
		return err
	})
	return ramps, err
}

// loadRamp reads a ramp; one that is not there is before its first wave.
func (c *Change) loadRamp(ctx context.Context, key string) (*drift.Ramp, error) {
	list, err := collect(ctx, c.tx, scanRamp, rampSelect+" WHERE cause = $1", key)
	if err != nil || len(list) == 0 {
		return &drift.Ramp{Cause: key}, err
	}
	if c.rearmed == nil {
		c.rearmed = map[string]time.Time{}
	}
	c.rearmed[key] = list[0].ApprovedAt
	return &list[0].Ramp, nil
}

func (c *Change) saveRamp(ctx context.Context, r *drift.Ramp) error {
	_, err := c.tx.Exec(ctx, `INSERT INTO ramps (cause, wave, lap, opened, proven, stopped, ended_at, source, workspace, inputs, changed_at)
		VALUES ($1, $2::int, $3::int, $4::int, $5::int, $6, $7, $8, $9, $10, $11)
		ON CONFLICT (cause) DO UPDATE SET wave = excluded.wave, lap = excluded.lap, opened = excluded.opened, proven = excluded.proven, stopped = excluded.stopped,
			ended_at = excluded.ended_at, source = excluded.source, workspace = excluded.workspace, inputs = excluded.inputs, changed_at = excluded.changed_at`,
		r.Cause, r.Wave, r.Lap, r.Opened, r.Proven, clean(r.Stopped), orNull(r.EndedAt), r.Source, r.Workspace, r.Inputs, c.now)
	return err
}
