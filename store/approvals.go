package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Approval is a person's word that something may be done about a workspace.
type Approval struct {
	Source    string
	Workspace string // id
	Reason    string
	By        string
	At        time.Time
	ExpiresAt time.Time
	Cause     string // of its open drift, which may go on again; "": it has none
}

// Approve lets a workspace be reprovisioned where that takes a person's word,
// and lets the cause of its open drift go on: one that was stopped begins with
// a canary again, what no log could prove of a wave counts as proven, and what is
// still under way has to be proven first. Attempts that were made before no longer
// count.
func (s *Store) Approve(ctx context.Context, a Approval) (approved Approval, err error) {
	err = s.change(ctx, "approve", func(ctx context.Context, c *Change) error {
		approved, err = c.Approve(ctx, a)
		return err
	})
	return approved, err
}

// Approve is Store.Approve within the change.
func (c *Change) Approve(ctx context.Context, a Approval) (Approval, error) {
	if err := c.planAlone(ctx); err != nil {
		return a, err
	}
	a.At, a.Reason, a.By, a.Workspace = c.now, clean(a.Reason), clean(a.By), strings.ToLower(a.Workspace)
	switch {
	case a.Source == "" || !isUUID(a.Workspace):
		return a, invalid("an approval needs a source and a workspace's id")
	case a.Reason == "" || a.By == "":
		return a, invalid("an approval needs a reason, and who gives it")
	case !a.ExpiresAt.After(c.now):
		return a, invalid("the approval would end before it begins")
	}
	if _, err := c.tx.Exec(ctx, `INSERT INTO approvals (source, workspace, reason, by, at, expires_at) VALUES ($1, $2::uuid, $3, $4, $5, $6)
		ON CONFLICT (source, workspace) DO UPDATE SET reason = excluded.reason, by = excluded.by, at = excluded.at, expires_at = excluded.expires_at`,
		a.Source, a.Workspace, a.Reason, a.By, a.At, a.ExpiresAt); err != nil {
		return a, err
	}
	episode, err := c.openEpisode(ctx, a.Source, a.Workspace)
	if err != nil {
		return a, err
	}
	words := fmt.Sprintf("reprovisioning it was approved until %s: %s", a.ExpiresAt.UTC().Format(time.RFC3339), a.Reason)
	if episode != nil {
		a.Cause = drift.CauseKey(episode.Causes, episode.Findings)
		again, err := c.letGoOn(ctx, a.Cause)
		if err != nil {
			return a, err
		}
		words += again
	}
	c.note(ChannelSwitch, a.Source)
	return a, c.event(ctx, drift.Event{Kind: drift.EventApproved, Source: a.Source, Workspace: a.Workspace, By: a.By, Summary: words})
}

// ApproveCause lets a cause go on, everywhere; ErrNotFound where nothing was
// ever done about it.
func (c *Change) ApproveCause(ctx context.Context, cause, reason, by string) error {
	if reason == "" || by == "" {
		return invalid("an approval needs a reason, and who gives it")
	}
	if err := c.planAlone(ctx); err != nil {
		return err
	}
	var known bool
	if err := c.tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM ramps WHERE cause = $1)", cause).Scan(&known); err != nil || !known {
		return firstOf(err, fmt.Errorf("cause %q: %w", cause, ErrNotFound))
	}
	again, err := c.letGoOn(ctx, cause)
	if err != nil {
		return err
	}
	c.note(ChannelSwitch, Fleet)
	return c.event(ctx, drift.Event{Kind: drift.EventApproved, By: by, Summary: "reprovisioning for cause " + cause + " was approved: " + reason + again})
}

// letGoOn moves the ramp of a cause on, and says how.
func (c *Change) letGoOn(ctx context.Context, cause string) (words string, err error) {
	r, err := c.loadRamp(ctx, cause)
	if err != nil {
		return "", err
	}
	var underWayNow int
	if err := c.tx.QueryRow(ctx, "SELECT count(*) FROM actions WHERE cause = $1 AND lap = $2::int AND "+underWay, cause, r.Lap).Scan(&underWayNow); err != nil {
		return "", err
	}
	switch unproven := r.Opened - r.Proven - underWayNow; {
	case r.Stopped != "":
		words = "; cause " + cause + ", which was stopped, begins with a canary again"
	case unproven > 0:
		words = fmt.Sprintf("; the %d of cause %s that were not proven count as proven", unproven, cause)
	}
	r.Approve(underWayNow)
	if err := c.saveRamp(ctx, r); err != nil {
		return "", err
	}
	_, err = c.tx.Exec(ctx, "UPDATE ramps SET approved_at = $2 WHERE cause = $1", cause, c.now)
	return words, err
}

// openEpisode gives the open drift of a workspace; nil: it has none.
func (c *Change) openEpisode(ctx context.Context, source, workspace string) (*drift.Episode, error) {
	list, err := collect(ctx, c.tx, func(row pgx.CollectableRow) (drift.Episode, error) {
		var r episodeRow
		if err := row.Scan(r.targets()...); err != nil {
			return r.Episode, err
		}
		return r.episode()
	}, "SELECT "+episodeSelect+" FROM drifts d WHERE source = $1 AND workspace = $2::uuid AND closed_at IS NULL", source, workspace)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return &list[0], nil
}

// Request is a person's wish that a workspace be reprovisioned.
type Request struct {
	Source    string
	Workspace string // id
	Reason    string
	By        string
	DryRun    bool // only say what would be done
	Force     bool // skip cool-downs and windows; never the pause, the budgets or a known refusal
}

// Request takes the wish down, and asks for a look at the workspace, upon which
// it is judged. A wish that waits already is ErrInvalid.
func (c *Change) Request(ctx context.Context, r Request) (*Action, error) {
	r.Workspace, r.Reason, r.By = strings.ToLower(r.Workspace), clean(r.Reason), clean(r.By)
	switch {
	case r.Source == "" || !isUUID(r.Workspace):
		return nil, invalid("a reprovision needs a source and a workspace's id")
	case r.Reason == "" || r.By == "":
		return nil, invalid("a reprovision needs a reason, and who wants it")
	}
	mode := drift.RemediateEnforce
	if r.DryRun {
		mode = drift.RemediateDryRun
	}
	rows, err := c.tx.Query(ctx, `INSERT INTO actions AS a (source, workspace, name, cause, inputs, lap, state, mode, by, reason, forced, created_at, words)
		VALUES ($1, $2::uuid, coalesce((SELECT name FROM states WHERE source = $1 AND id = $2::uuid), ''), '', '', 0, 'requested', $3, $4, $5, $6, $7, 'waits to be looked at')
		RETURNING `+actionColumns, r.Source, r.Workspace, string(mode), r.By, r.Reason, r.Force, c.now)
	if err != nil {
		return nil, err
	}
	a, err := pgx.CollectExactlyOneRow(rows, scanAction)
	if violated := (*pgconn.PgError)(nil); errors.As(err, &violated) && violated.ConstraintName == "actions_one_request" {
		return nil, invalid("a reprovision of %s is wanted already and waits to be judged", r.Workspace)
	}
	if err != nil {
		return nil, err
	}
	words := "reprovisioning was asked for: " + r.Reason
	if r.DryRun {
		words = "a dry run of reprovisioning was asked for: " + r.Reason
	}
	if err := c.event(ctx, a.event(drift.EventRequested, "", words)); err != nil {
		return nil, err
	}
	_, err = c.RequestLook(ctx, Look{Source: r.Source, Workspace: r.Workspace, Reason: "reprovision: " + r.Reason, By: r.By})
	return &a, err
}

// requestKept is how long a wish may wait to be judged.
const requestKept = time.Hour

// ExpireRequests ends wishes that nothing has come of for an hour. It is done
// under the lease of the fleet.
func (s *Store) ExpireRequests(ctx context.Context, fleet Lease) (events []drift.Event, err error) {
	err = s.transact(ctx, "expire requested actions", patient, func(ctx context.Context, tx pgx.Tx) error {
		events = nil
		if err := fence(ctx, tx, fleet); err != nil {
			return err
		}
		old, err := collect(ctx, tx, scanAction, actionSelect+" WHERE a.state = 'requested' AND a.created_at < clock_timestamp() - make_interval(secs => $1)", seconds(requestKept))
		if err != nil || len(old) == 0 {
			return err
		}
		c, err := newChange(ctx, tx)
		if err != nil {
			return err
		}
		if err := c.planAlone(ctx); err != nil {
			return err
		}
		for i := range old {
			e := ending{id: old[i].ID, from: ActionRequested, outcome: drift.Blocked, words: "nothing came of it within an hour: " + old[i].Words}
			if err := c.end(ctx, e); err != nil && !errors.Is(err, ErrMovedOn) {
				return err
			}
		}
		events, err = c.tell(ctx)
		return err
	})
	return events, err
}
