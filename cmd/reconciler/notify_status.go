package main

import (
	"context"
	"fmt"

	"github.com/molecule-ai/billing-reconciler/admin"
	"github.com/molecule-ai/billing-reconciler/internal/config"
)

func (a *app) showSinks(s *admin.Status) {
	var rows [][]cell
	for i := range s.Sinks {
		k := &s.Sinks[i]
		state, color := "", ""
		switch {
		case k.Error != nil:
			state, color = fmt.Sprintf("failed %d times: %s", k.Tries, *k.Error), red
		case k.Dropped > 0:
			state, color = fmt.Sprintf("refused %d events for good", k.Dropped), yellow
		}
		row := plain(k.Sink, k.Kind, ago(k.DeliveredAt, s.GeneratedAt), fmt.Sprint(k.Waiting))
		rows = append(rows, append(row, cell{clip(state, 160), color}))
	}
	if len(rows) > 0 {
		a.term.table([]string{"SINK", "KIND", "LAST TOLD", "WAITING", ""}, rows)
		_, _ = fmt.Fprintln(a.stdout)
	}
}

// examineSinks connects to every sink and says nothing to it.
func examineSinks(ctx context.Context, x *examination, cfg *config.Config) {
	for i := range cfg.Notify {
		c := &cfg.Notify[i]
		_, end, reach, err := openSink(c)
		if err != nil {
			x.fail("sink", c.Name, err, "see notify")
			continue
		}
		bounded, stop := context.WithTimeout(ctx, testWithin)
		err = reach(bounded)
		stop()
		end()
		if err != nil {
			x.fail("sink", c.Name, err, "check its url, and that this host may connect there")
			continue
		}
		x.ok("sink", c.Name, "a connection is made; reconciler notify test %s sends a message", c.Name)
	}
}
