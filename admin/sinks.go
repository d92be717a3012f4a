package admin

import (
	"context"
	"time"
)

// SinkStatus is how telling somebody goes.
type SinkStatus struct {
	Sink         string     `json:"sink"`
	Kind         string     `json:"kind" doc:"webhook, slack or alertmanager."`
	Waiting      int64      `json:"waiting" doc:"Events that it was not told yet; 10,000: or more."`
	OldestAt     *time.Time `json:"oldest_at" doc:"When the oldest of them happened; null: there is none."`
	DeliveredAt  *time.Time `json:"delivered_at" doc:"When it last took a message; null: it never did."`
	FailingSince *time.Time `json:"failing_since" doc:"Null: it does not fail."`
	Tries        int        `json:"tries" doc:"Failures in a row."`
	NextAt       *time.Time `json:"next_at" doc:"When it is tried again; null: it does not fail."`
	Error        *string    `json:"error" doc:"Of the last failure; null: there is none."`
	Dropped      int64      `json:"dropped" doc:"Events that it refused for good."`
	SeenAt       time.Time  `json:"seen_at" doc:"When a replica last had it configured."`
}

func (s *Server) statusSinks(ctx context.Context, out *Status) error {
	sinks, err := s.opts.Store.Sinks(ctx)
	for i := range sinks {
		k := &sinks[i]
		status := SinkStatus{Sink: k.Name, Kind: k.Kind, Waiting: k.Waiting, OldestAt: moment(k.OldestAt), DeliveredAt: moment(k.DeliveredAt),
			FailingSince: moment(k.FailingSince), Tries: k.Tries, Error: optional(k.Err), Dropped: k.Dropped, SeenAt: k.SeenAt}
		if status.FailingSince != nil {
			status.NextAt = moment(k.NextAt)
		}
		out.Sinks = append(out.Sinks, status)
	}
	return err
}
