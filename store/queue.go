package store

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"
)

// riverVersion is the number of the migration that makes River's own tables.
const riverVersion = 4

// riverMigration makes them: in steps of its own, which cannot be one
// transaction, on connections of its own.
func (s *Store) riverMigration() *goose.Migration {
	return goose.NewGoMigration(riverVersion, &goose.GoFunc{RunDB: func(ctx context.Context, _ *sql.DB) error {
		config := s.pool.Config()
		config.MaxConns = 2
		pool, err := pgxpool.NewWithConfig(ctx, config)
		if err != nil {
			return err
		}
		defer pool.Close()
		migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: slog.New(troubles{s.log.Handler()})})
		if err != nil {
			return err
		}
		_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
		return err
	}}, nil)
}

// work is what the queue carries: the number of an action, and nothing that
// could grow old.
type work struct {
	Action int64 `json:"action"`
}

// Kind implements river.JobArgs.
func (work) Kind() string { return "act" }

// triesAtMost is as many as River can count: an action ends by what is observed
// and never because it was tried too often.
const triesAtMost = 32767

// enqueue queues an action within the transaction that decides it.
func (s *Store) enqueue(ctx context.Context, tx pgx.Tx, id int64) error {
	client, err := river.NewClient(riverpgxv5.New(nil), &river.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	_, err = client.InsertTx(ctx, tx, work{id}, &river.InsertOpts{MaxAttempts: triesAtMost})
	return err
}

// Working says how the queue is worked.
type Working struct {
	Workers int           // actions at once, by this replica; 0: 4
	Timeout time.Duration // of one turn at an action; 0: 3 minutes
	Rescue  time.Duration // after which the turn of a worker that is gone is somebody else's; longer than Timeout. 0: a minute longer
	Poll    time.Duration // how often it is looked whether there is work; 0: a second
	Name    string        // of the replica
	// Do takes one turn at an action, and says after how long the next is to be;
	// 0: none.
	Do func(ctx context.Context, id int64) (again time.Duration, err error)
}

// Work works the queue until ctx ends. It waits for the turns under way.
func (s *Store) Work(ctx context.Context, w Working) error {
	w = w.withDefaults()
	workers := river.NewWorkers()
	river.AddWorker(workers, &worker{do: w.Do})
	client, err := river.NewClient(riverpgxv5.New(s.pool), &river.Config{
		ID: w.Name, Logger: slog.New(troubles{s.log.Handler()}), Workers: workers, Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: w.Workers}},
		PollOnly: true, FetchPollInterval: w.Poll, FetchCooldown: min(w.Poll, 100*time.Millisecond), JobTimeout: w.Timeout, RescueStuckJobsAfter: w.Rescue,
		CompletedJobRetentionPeriod: time.Hour, RetryPolicy: retrySoon{}, MaxAttempts: triesAtMost,
	})
	if err != nil {
		return err
	}
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		return s.wrap("work the queue", err)
	}
	<-ctx.Done()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
	defer cancel()
	return client.StopAndCancel(stop)
}

// troubles is a log of what goes wrong alone: how the queue fares is nobody's
// concern.
type troubles struct{ slog.Handler }

// Enabled implements slog.Handler.
func (t troubles) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && t.Handler.Enabled(ctx, level)
}

// stopWithin is how long the end of the queue is waited for.
const stopWithin = 15 * time.Second

func (w Working) withDefaults() Working {
	if w.Workers <= 0 {
		w.Workers = 4
	}
	if w.Timeout <= 0 {
		w.Timeout = 3 * time.Minute
	}
	if w.Rescue <= w.Timeout {
		w.Rescue = w.Timeout + time.Minute
	}
	if w.Poll <= 0 {
		w.Poll = time.Second
	}
	return w
}

// retrySoon tries an action again after what went wrong, soon at first: an
// error here is one of ours or of a database, never the platform's answer.
type retrySoon struct{}

// longestRetry bounds the doubling.
const longestRetry = time.Minute

// NextRetry implements river.ClientRetryPolicy.
func (retrySoon) NextRetry(job *rivertype.JobRow) time.Time {
	return time.Now().Add(min(time.Second<<min(len(job.Errors), 6), longestRetry))
}

// movedOnAgain is when a turn that came too late is taken again.
const movedOnAgain = 2 * time.Second

type worker struct {
	river.WorkerDefaults[work]
	do func(context.Context, int64) (time.Duration, error)
}

// Work implements river.Worker.
func (w *worker) Work(ctx context.Context, job *river.Job[work]) error {
	again, err := w.do(ctx, job.Args.Action)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case errors.Is(err, ErrMovedOn):
		// Somebody else has taken a turn, who may be gone by now: an action that
		// is not over must not lose its place in the queue to a turn that came
		// too late.
		return river.JobSnooze(movedOnAgain)
	case err != nil:
		return err
	case again > 0:
		return river.JobSnooze(again)
	}
	return nil
}
