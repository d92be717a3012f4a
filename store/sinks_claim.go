package store

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// SinkClaim asks to tell a sink.
type SinkClaim struct {
	Sink   string
	Holder string        // who asks, for people
	For    time.Duration // how long the claim holds; every TellSink renews it
	Settle time.Duration // how long events are collected from when the first is noticed
	Keep   time.Duration // how often it is told what stands, news or none; 0: never
}

// Claimed is a sink that is ours to tell, for a while.
type Claimed struct {
	SinkClaim
	Until    time.Time    // by our own clock: nothing is begun later
	Origin   string       // the identity of the database, a uuid
	News     []drift.News // what it was not told yet, the oldest first; of 1,000 events at most
	More     bool         // there are events behind these
	Keeping  bool         // it is to be told what stands
	Tries    int          // failures in a row before this
	Refusals int          // of them, refusals of the message itself

	token, cursor int64
	told, read    []int64 // done with beyond the cursor; all numbers that were read beyond it
}

// ClaimSink takes a sink, where there is something to tell and nobody else is
// telling it. Else claimed is nil, and wait says when to ask again; 0: when
// there is something new.
func (s *Store) ClaimSink(ctx context.Context, c SinkClaim) (claimed *Claimed, wait time.Duration, err error) {
	err = s.write(ctx, "claim sink "+c.Sink, func(ctx context.Context, tx pgx.Tx) error {
		claimed, wait = nil, 0
		k := &Claimed{SinkClaim: c}
		var ready bool
		if ready, wait, err = k.ready(ctx, tx); err != nil || !ready {
			return err
		}
		k.Until = time.Now().Add(c.For)
		err := tx.QueryRow(ctx, `UPDATE sinks SET token = nextval('lease_tokens'), holder = $2, held_until = clock_timestamp() + make_interval(secs => $3)
			WHERE name = $1 RETURNING token, cursor, told, tries, refusals, (SELECT id::text FROM identity)`, c.Sink, clean(c.Holder), seconds(c.For)).
			Scan(&k.token, &k.cursor, &k.told, &k.Tries, &k.Refusals, &k.Origin)
		if err != nil {
			return err
		}
		if err := k.readNews(ctx, tx); err != nil {
			return err
		}
		claimed = k
		return nil
	})
	return claimed, wait, err
}

// ready tells whether the sink is to be told something now; it locks the row.
func (k *Claimed) ready(ctx context.Context, tx pgx.Tx) (yes bool, wait time.Duration, err error) {
	var news bool
	var rest, settled float64 // seconds until it may be told, and until enough is collected
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM events e WHERE e.id > k.cursor AND e.id <> ALL(k.told)),
			$2::float8 > 0 AND (k.kept_at IS NULL OR k.kept_at < clock_timestamp() - make_interval(secs => $2::float8)),
			extract(epoch FROM greatest(k.next_at, CASE WHEN k.holder <> '' THEN k.held_until END) - clock_timestamp())::float8,
			$3::float8 + extract(epoch FROM coalesce(k.noticed_at, clock_timestamp()) - clock_timestamp())::float8
		FROM sinks k WHERE k.name = $1 FOR NO KEY UPDATE SKIP LOCKED`, k.Sink, seconds(k.Keep), seconds(k.Settle)).Scan(&news, &k.Keeping, &rest, &settled)
	switch {
	case errors.Is(err, pgx.ErrNoRows): // another is just claiming it, or it is not noted yet
		return false, time.Second, nil
	case err != nil, !news && !k.Keeping:
		return false, 0, err
	case rest > 0:
		return false, duration(rest), nil
	case !news || settled <= 0:
		return true, 0, nil
	}
	_, err = tx.Exec(ctx, "UPDATE sinks SET noticed_at = coalesce(noticed_at, clock_timestamp()) WHERE name = $1", k.Sink)
	return k.Keeping, duration(settled), err
}

func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

// readNews reads on from the cursor, as much as a claim may bring, the told among
// them: so no more of them are in the row than that, however often a sink fails
// at the first one and takes what comes later.
func (k *Claimed) readNews(ctx context.Context, tx pgx.Tx) error {
	news, err := collect(ctx, tx, scanNews, `SELECT e.id, e.at, e.kind, e.severity, e.source, e.workspace::text, e.name, e.episode, e.summary, e.by,
			coalesce(d.announced, ''), coalesce(d.causes, '[]') FROM events e LEFT JOIN drifts d ON d.id = e.episode
		WHERE e.id > $1::bigint ORDER BY e.id LIMIT $2::bigint`, k.cursor, maxLimit+1)
	if k.More = len(news) > maxLimit; k.More {
		news = news[:maxLimit]
	}
	for i := range news {
		k.read = append(k.read, news[i].ID)
		if _, told := slices.BinarySearch(k.told, news[i].ID); !told {
			k.News = append(k.News, news[i])
		}
	}
	return err
}

func scanNews(row pgx.CollectableRow) (n drift.News, err error) {
	var workspace *string
	var episode *int64
	var causes []byte
	if err := row.Scan(&n.ID, &n.At, &n.Kind, &n.Severity, &n.Source, &workspace, &n.Name, &episode, &n.Summary, &n.By, &n.Announced, &causes); err != nil {
		return n, err
	}
	n.At, n.Workspace = n.At.UTC(), orEmpty(workspace)
	if episode != nil {
		n.Episode = *episode
	}
	var stored []cause
	if err := json.Unmarshal(causes, &stored); err != nil {
		return n, err
	}
	for _, c := range stored {
		n.Causes = append(n.Causes, drift.Cause(c))
	}
	return n, nil
}

// Telling is how a message went that tells of some events. Of none, it renews
// the claim.
type Telling struct {
	Events    []int64 // their numbers: done with, and never told again
	Delivered bool    // somebody was told; else they were only passed over
	Dropped   bool    // passed over because the sink refused them for good
}

// TellSink moves the cursor over what is done with, and renews the claim. It is
// ErrFenced where the claim has run out and another took the sink: then nothing
// is written, and whoever holds it now tells it the same once more.
func (s *Store) TellSink(ctx context.Context, k *Claimed, t Telling) error {
	cursor, told := k.after(t.Events)
	until := time.Now().Add(k.For)
	dropped := 0
	if t.Dropped {
		dropped = len(t.Events)
	}
	err := s.settleSink(ctx, k, "move the cursor of sink "+k.Sink, `cursor = $4::bigint, told = $5::bigint[], held_until = clock_timestamp() + make_interval(secs => $6),
		noticed_at = CASE WHEN cardinality($5::bigint[]) = 0 AND NOT $10::boolean THEN NULL ELSE noticed_at END, dropped = dropped + $7::bigint,
		tries = CASE WHEN $8::boolean THEN 0 ELSE tries END, refusals = CASE WHEN $8::boolean THEN 0 ELSE refusals END,
		err = CASE WHEN $8::boolean THEN '' ELSE err END, failing_since = CASE WHEN $8::boolean THEN NULL ELSE failing_since END,
		delivered_at = CASE WHEN $9::boolean THEN clock_timestamp() ELSE delivered_at END`,
		cursor, told, seconds(k.For), dropped, t.Delivered || t.Dropped, t.Delivered, k.More)
	if err == nil {
		k.cursor, k.told, k.Until = cursor, told, until
	}
	return err
}

// after gives where the cursor stands when some more events are done with, and
// which beyond it are.
func (k *Claimed) after(done []int64) (cursor int64, told []int64) {
	known := map[int64]bool{}
	for _, id := range slices.Concat(k.told, done) {
		known[id] = true
	}
	cursor, told = k.cursor, []int64{}
	gap := false
	for _, id := range k.read {
		switch {
		case id <= k.cursor:
		case !known[id]:
			gap = true
		case gap:
			told = append(told, id)
		default:
			cursor = id
		}
	}
	return cursor, told
}

// SinkFailure is why a message was not taken.
type SinkFailure struct {
	Err     string        // without secrets
	Refused bool          // the message was refused, and not only not taken
	Retry   time.Duration // not tried again before
}

// SinkFailed notes a failure and gives the sink up until it is tried again.
func (s *Store) SinkFailed(ctx context.Context, k *Claimed, f SinkFailure) error {
	return s.settleSink(ctx, k, "note the failure of sink "+k.Sink, `holder = '', held_until = clock_timestamp(), tries = tries + 1, refusals = refusals + $4::int,
		err = $5, failing_since = coalesce(failing_since, clock_timestamp()), next_at = clock_timestamp() + make_interval(secs => $6)`,
		map[bool]int{true: 1}[f.Refused], clean(f.Err), seconds(f.Retry))
}

// LeaveSink gives a sink up. Kept: it was told what stands.
func (s *Store) LeaveSink(ctx context.Context, k *Claimed, kept bool) error {
	return s.settleSink(ctx, k, "give up sink "+k.Sink, `holder = '', held_until = clock_timestamp(),
		kept_at = CASE WHEN $4::boolean THEN clock_timestamp() ELSE kept_at END, tries = CASE WHEN $4::boolean THEN 0 ELSE tries END,
		err = CASE WHEN $4::boolean THEN '' ELSE err END, failing_since = CASE WHEN $4::boolean THEN NULL ELSE failing_since END`, kept)
}

// settleSink writes about a sink, if it is ours still and stands where we left
// it.
func (s *Store) settleSink(ctx context.Context, k *Claimed, what, set string, args ...any) error {
	return s.write(ctx, what, func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, "UPDATE sinks SET "+set+" WHERE name = $1 AND token = $2::bigint AND cursor = $3::bigint AND holder <> ''",
			append([]any{k.Sink, k.token, k.cursor}, args...)...)
		if err == nil && tag.RowsAffected() == 0 {
			return ErrFenced
		}
		return err
	})
}
