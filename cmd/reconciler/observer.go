package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/observe/probe"
	"github.com/molecule-ai/billing-reconciler/observe/ssm"
	"github.com/molecule-ai/billing-reconciler/reconcile"
)

// runShellScript is AWS's own document, for a start: it takes the script itself.
const runShellScript = "AWS-RunShellScript"

// account is what AWS limits: sources that share one share a pool.
type account struct{ region, role string }

// observer looks at containers through SSM. It implements reconcile.Observer,
// and is safe for concurrent use: those who ask at one time, under one key,
// share calls.
type observer struct {
	probe     *probe.Probe
	document  string
	container string
	pools     map[account]*ssm.Pool
	clients   map[account]*ssm.Client
	of        map[string]account // by source
	progress  func(stage string, done, total int)
	urgent    bool
	last      *atomic.Pointer[keyed]
}

// keyed is the command of a pass: with the script in it it is big, and all
// sources of a round send the same.
type keyed struct {
	key drift.Key
	ssm.Command
}

// urgently gives an observer for a few targets that a person waits for: it
// overtakes what passes have under way.
func (o *observer) urgently() *observer {
	hurry := *o
	hurry.urgent = true
	return &hurry
}

// Urgently implements reconcile.Hurried.
func (o *observer) Urgently() reconcile.Observer { return o.urgently() }

// openWitnesses opens what looks at containers and at traffic, once: nobody
// else asks, so nobody is waited for.
func (w *world) openWitnesses(ctx context.Context) error {
	witness, err := newLogWitness(w.cfg)
	if witness != nil {
		w.witness = witness
	}
	return errors.Join(err, w.openGathering(ctx, 0))
}

// openGathering is openWitnesses for many who ask: their instances wait so long
// for others, to fill a command.
func (w *world) openGathering(ctx context.Context, gather time.Duration) error {
	cfg := &w.cfg.Observe.SSM
	p, err := probe.New(probe.Spec{Credentials: w.credentials, SecretsDir: cfg.SecretsDir})
	if err != nil {
		return err
	}
	o := &observer{probe: p, document: cfg.Document, container: cfg.Container, pools: map[account]*ssm.Pool{},
		clients: map[account]*ssm.Client{}, of: map[string]account{}, progress: w.app.term.progress, last: &atomic.Pointer[keyed]{}}
	for i := range w.cfg.Sources {
		s := &w.cfg.Sources[i]
		key := account{s.Region, s.RoleARN}
		o.of[s.Name] = key
		if o.pools[key] != nil {
			continue
		}
		client, err := ssm.Connect(ctx, ssm.Account{Region: s.Region, RoleARN: s.RoleARN, Endpoint: cfg.Endpoint.Reveal()}, w.metrics)
		if err != nil {
			return fmt.Errorf("source %s: %w", s.Name, err)
		}
		o.clients[key] = client
		pool := ssm.NewPool(client, ssm.Options{Tag: cfg.Targets.Tag, Rate: float64(cfg.Rate), InFlight: cfg.InFlight, Gather: gather}, w.metrics)
		o.pools[key] = pool
		w.closers = append(w.closers, pool.Close)
	}
	w.observer = o
	return nil
}

// command gives what is sent, under the pass's key.
func (o *observer) command(key drift.Key) (ssm.Command, error) {
	last := o.last.Load()
	if last == nil || last.key != key {
		cmd, err := o.render(key)
		if err != nil {
			return cmd, err
		}
		last = &keyed{key, cmd}
		o.last.Store(last)
	}
	cmd := last.Command
	cmd.Urgent = o.urgent
	return cmd, nil
}

func (o *observer) render(key drift.Key) (ssm.Command, error) {
	cmd := ssm.Command{Document: o.document, Decode: func(stdout string) drift.Observation {
		seen, _ := o.probe.Decode(stdout) // the reason says the same
		return seen
	}}
	if o.document != runShellScript {
		cmd.Parameters = map[string][]string{probe.ParameterKey: {string(key)}, probe.ParameterContainer: {o.container}}
		return cmd, nil
	}
	script, err := o.probe.Command(key, o.container)
	cmd.Parameters = map[string][]string{"commands": {script}}
	return cmd, err
}

// Observe implements reconcile.Observer: targets are pooled over the sources of
// an account, and the pools asked side by side.
func (o *observer) Observe(ctx context.Context, key drift.Key, targets []reconcile.Target) []drift.Observation {
	cmd, err := o.command(key)
	if err != nil {
		return same(len(targets), drift.Observation{State: drift.Unreachable, Reason: err.Error()})
	}
	return o.each(targets, func(pool *ssm.Pool, ids []string, each func(string, drift.Observation)) {
		pool.Observe(ctx, cmd, ids, each)
	})
}

// Neighbours gives what the inventory alone knows of targets: their addresses.
func (o *observer) Neighbours(ctx context.Context, targets []reconcile.Target) []drift.Observation {
	return o.each(targets, func(pool *ssm.Pool, ids []string, each func(string, drift.Observation)) {
		if o.urgent && len(ids) <= hurriedNeighbours {
			pool.UrgentAddresses(ctx, ids, each)
		} else {
			pool.Addresses(ctx, ids, each)
		}
	})
}

// hurriedNeighbours are at most four calls of the inventory: more would hold up
// passes for the sake of one look.
const hurriedNeighbours = 200

func (o *observer) each(targets []reconcile.Target, ask func(*ssm.Pool, []string, func(string, drift.Observation))) []drift.Observation {
	seen := make([]drift.Observation, len(targets))
	places := map[account]map[string][]int{}
	for i, t := range targets {
		key := o.of[t.Source]
		if places[key] == nil {
			places[key] = map[string][]int{}
		}
		places[key][t.InstanceID] = append(places[key][t.InstanceID], i)
	}
	counted := o.counter(len(targets))
	var group errgroup.Group
	for key, of := range places {
		group.Go(func() error {
			ids := make([]string, 0, len(of))
			for id := range of {
				ids = append(ids, id)
			}
			ask(o.pools[key], ids, func(id string, seenOne drift.Observation) {
				for _, i := range of[id] {
					seen[i] = seenOne
				}
				counted()
			})
			return nil
		})
	}
	_ = group.Wait()
	return seen
}

func same(n int, o drift.Observation) []drift.Observation {
	list := make([]drift.Observation, n)
	for i := range list {
		list[i] = o
	}
	return list
}

// counter shows how many have answered.
func (o *observer) counter(total int) func() {
	var done atomic.Int64
	return func() { o.progress("look at containers", int(done.Add(1)), total) }
}

func (w *world) examineAWS(ctx context.Context, x *examination) {
	o := w.observer.(*observer)
	for key, client := range o.clients {
		of := key.region
		if key.role != "" {
			of += " " + key.role
		}
		arn, err := client.Identity(ctx)
		if err != nil {
			x.fail("aws", of, err, "give credentials by the SDK's default chain: environment, profile, or the instance's role")
			continue
		}
		x.ok("aws", of, "%s", arn)
		if err := client.Document(ctx, o.document); err != nil {
			x.warn("document", of, err.Error(), "")
		} else {
			x.ok("document", of, "%s", o.document)
		}
		w.examineInventory(ctx, x, key, of)
	}
}

// examineInventory asks for the instances of the account's first source.
func (w *world) examineInventory(ctx context.Context, x *examination, key account, of string) {
	o := w.observer.(*observer)
	for _, s := range w.sources {
		if o.of[s.Name] != key {
			continue
		}
		var targets []reconcile.Target
		err := s.Reader.Workspaces(ctx, reconcile.Selection{}, func(ws *drift.Workspace) error {
			if ws.ShouldRun() && ws.OnAWS() && len(targets) < 50 {
				targets = append(targets, reconcile.Target{Source: s.Name, InstanceID: ws.InstanceID})
			}
			return nil
		})
		if err != nil || len(targets) == 0 {
			continue
		}
		online, reason := 0, ""
		for _, seen := range o.Neighbours(ctx, targets) {
			if seen.State == drift.NotAsked {
				online++
			} else {
				reason = seen.Reason
			}
		}
		if online == 0 {
			x.fail("inventory", of, fmt.Errorf("none of %d instances of %s is online: %s", len(targets), s.Name, reason), "check region and role_arn, and the instances' SSM agent")
			return
		}
		x.ok("inventory", of, "%d of %d instances of %s are online", online, len(targets), s.Name)
		return
	}
}
