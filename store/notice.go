package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// The channels that something is told through.
const (
	ChannelSwitch = "switch" // pauses, suppressions and accepted surges; the payload is a source, or Fleet
	ChannelEvent  = "event"  // the payload is the number of the newest event
	ChannelLook   = "look"   // the payload is a source
	ChannelLease  = "lease"  // leases have changed hands, or can
)

const channelPrefix = "reconciler_" // a database has one name space of channels

var channels = []string{ChannelSwitch, ChannelEvent, ChannelLook, ChannelLease}

// Notice is a hint that something has changed. It may be lost, so whoever gets
// it polls too.
type Notice struct {
	Channel     string
	Payload     string
	Reconnected bool // the ear was deaf until now: look at everything. Channel is ""
}

func notify(ctx context.Context, tx pgx.Tx, channel, payload string) error {
	_, err := tx.Exec(ctx, "SELECT pg_notify($1::text, $2::text)", channelPrefix+channel, payload)
	return err
}

const (
	listenPing    = 20 * time.Second // silence after which the connection is tried
	listenBackoff = 10 * time.Second // longest pause between attempts to connect
)

// Listen calls heard, one call at a time, for each notice, until ctx ends; then
// it gives nil. It connects anew where the connection is lost. Behind a pooler
// in transaction mode nothing is heard.
func (s *Store) Listen(ctx context.Context, heard func(Notice)) error {
	const first = 100 * time.Millisecond
	wait := first
	for {
		err := s.listen(ctx, heard, func() { wait = first })
		if ctx.Err() != nil {
			return nil
		}
		s.log.Warn("notifications of the state database are lost for now", "error", s.wrap("listen", err), "retry_in", wait)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = min(2*wait, listenBackoff)
	}
}

// listen listens on one connection until it fails.
func (s *Store) listen(ctx context.Context, heard func(Notice), connected func()) error {
	conn, err := pgx.ConnectConfig(ctx, s.config.Copy())
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx) // it is of no more use
	}()
	for _, c := range channels {
		if _, err := conn.Exec(ctx, "LISTEN "+channelPrefix+c); err != nil {
			return err
		}
	}
	connected()
	heard(Notice{Reconnected: true})
	for {
		n, err := await(ctx, conn)
		switch {
		case err != nil:
			return err
		case n != nil:
			heard(*n)
		}
	}
}

// await gives the next notice; nil after a silence, with the connection tried.
func await(ctx context.Context, conn *pgx.Conn) (*Notice, error) {
	waiting, cancel := context.WithTimeout(ctx, listenPing)
	defer cancel()
	n, err := conn.WaitForNotification(waiting)
	switch {
	case err == nil:
		return &Notice{Channel: n.Channel[min(len(channelPrefix), len(n.Channel)):], Payload: n.Payload}, nil
	case ctx.Err() != nil || waiting.Err() == nil:
		return nil, err
	}
	trying, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	return nil, conn.Ping(trying)
}
