package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/config"
	"github.com/molecule-ai/billing-reconciler/notify"
	"github.com/molecule-ai/billing-reconciler/reconcile"
)

// settleFor is how long events for people are collected: long enough for the
// passes of some tenants, short enough to be told at once.
const settleFor = 5 * time.Second

// sinks are the configured ones, opened.
type sinks struct {
	list    []reconcile.Sink
	closers []func()
}

func (s *sinks) close() {
	for _, f := range s.closers {
		f()
	}
}

// openSinks prepares to tell all that are configured. Nothing is connected to.
func openSinks(cfg *config.Config) (*sinks, error) {
	all := &sinks{}
	for i := range cfg.Notify {
		sink, end, _, err := openSink(&cfg.Notify[i])
		if err != nil {
			all.close()
			return nil, fmt.Errorf("notify: sink %s: %w", cfg.Notify[i].Name, err)
		}
		all.list, all.closers = append(all.list, sink), append(all.closers, end)
	}
	return all, nil
}

// openSink prepares one; reach connects to it and says nothing.
func openSink(c *config.Sink) (sink reconcile.Sink, end func(), reach func(context.Context) error, err error) {
	sink = reconcile.Sink{Name: c.Name, Kind: c.Kind(), Least: c.MinSeverity()}
	options := notify.Options{URL: c.Address(), AllowLinkLocal: c.AllowLinkLocal}
	switch sink.Kind {
	case config.SinkWebhook:
		w, err := notify.NewWebhook(options, c.Webhook.Secret)
		if err != nil {
			return sink, nil, nil, err
		}
		sink.Notifier, end, reach = w, w.Close, w.Reach
	case config.SinkSlack:
		s, err := notify.NewSlack(options)
		if err != nil {
			return sink, nil, nil, err
		}
		sink.Notifier, sink.Settle, end, reach = s, settleFor, s.Close, s.Reach
	default:
		a, err := notify.NewAlertmanager(options)
		if err != nil {
			return sink, nil, nil, err
		}
		sink.Notifier, sink.Keep, end, reach = a, notify.KeepEvery, a.Close, a.Reach
	}
	return sink, end, reach, nil
}

func (a *app) notifyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "notify", Short: "try those who are told"}
	cmd.AddCommand(&cobra.Command{
		Use:   "test SINK",
		Short: "send a sink a message that says it is a test",
		Long: `Sends a message to a sink of the configuration (notify[]), once and from here, and
says how that went. The daemon need not run; what it has to tell is not touched.
An Alertmanager is sent an alert ReconcilerTest of severity low, over in minutes.

Exit status: 0 the message was taken; 1 it was not.`,
		Args: cobra.ExactArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			cfg, _ := a.load()
			return sinkNames(cfg), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.notifyTest(cmd.Context(), args[0]) },
	})
	return cmd
}

func sinkNames(cfg *config.Config) (names []string) {
	if cfg == nil {
		return nil
	}
	for i := range cfg.Notify {
		names = append(names, cfg.Notify[i].Name)
	}
	return names
}

// testWithin bounds a message of a test.
const testWithin = 15 * time.Second

func (a *app) notifyTest(ctx context.Context, name string) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	for i := range cfg.Notify {
		if c := &cfg.Notify[i]; c.Name == name {
			return a.testSink(ctx, c)
		}
	}
	if len(cfg.Notify) == 0 {
		return fmt.Errorf("sink %q: none is configured (notify)", name)
	}
	return fmt.Errorf("sink %q: there is none of that name; there are: %s", name, strings.Join(sinkNames(cfg), ", "))
}

func (a *app) testSink(ctx context.Context, c *config.Sink) error {
	sink, end, _, err := openSink(c)
	if err != nil {
		return fmt.Errorf("sink %s: %w", c.Name, err)
	}
	defer end()
	ctx, stop := context.WithTimeout(ctx, testWithin)
	defer stop()
	begun := time.Now()
	message := []drift.News{{Event: drift.Event{ID: begun.UnixMicro(), At: begun, Kind: "test", Severity: drift.Low, Summary: "a test of sink " + c.Name + ": nothing has happened"}}}
	if err := sink.Notifier.Post(ctx, uuid.Nil.String(), message); err != nil {
		return fmt.Errorf("sink %s: %w", c.Name, err)
	}
	_, err = fmt.Fprintf(a.stdout, "%s: taken in %s\n", c.Name, time.Since(begun).Round(time.Millisecond))
	return err
}
