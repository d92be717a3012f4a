package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/molecule-ai/billing-reconciler/desired"
	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/config"
	"github.com/molecule-ai/billing-reconciler/metrics"
	"github.com/molecule-ai/billing-reconciler/platform"
	"github.com/molecule-ai/billing-reconciler/reconcile"
)

// need says how much of the world a command opens.
type need int

const (
	forDesired need = iota // tenants' databases and registry
	forCheck               // and AWS, logs, platforms
	forDaemon              // the same, for many passes at a time
)

// world is everything that is configured, opened and joined: the packages know
// nothing of each other, this does.
type world struct {
	app         *app
	cfg         *config.Config
	policy      *drift.Policy
	resolver    *desired.Resolver
	credentials []string
	readers     map[string]*desired.Reader
	sources     []reconcile.Source
	others      []reconcile.Source // not asked for, but their workspaces may share addresses with those that are
	observer    reconcile.Observer
	witness     reconcile.Witness
	metrics     *metrics.Metrics
	closers     []func()
}

// opening says what of the world is opened, and who counts what it does.
type opening struct {
	need    need
	metrics *metrics.Metrics
}

// open reads the configuration and opens what it names.
func (a *app) open(ctx context.Context, n need) (*world, error) {
	cfg, err := a.load()
	if err != nil {
		return nil, err
	}
	if n == forCheck {
		if err := cfg.Validate(config.NeedAWS); err != nil {
			return nil, err
		}
	}
	return a.openConfig(ctx, cfg, opening{n, metrics.New(version)})
}

// openConfig opens what a configuration names. Nothing is connected to yet, so
// that what is unreachable is found where it is read, and alone.
func (a *app) openConfig(ctx context.Context, cfg *config.Config, o opening) (*world, error) {
	registry, err := desired.LoadRegistry(string(cfg.Registry))
	if err != nil {
		return nil, err
	}
	w := &world{app: a, cfg: cfg, policy: cfg.Decisions(), readers: map[string]*desired.Reader{}, metrics: o.metrics}
	w.resolver = desired.NewResolver(registry, desired.Policy{Deployment: string(cfg.Policy.Deployment), GlobalSecrets: w.policy.GlobalSecrets})
	w.credentials = desired.CredentialNames(registry, w.policy.StripList)
	err = w.openSources(ctx, o.need)
	switch {
	case err != nil:
	case o.need == forCheck:
		err = w.openWitnesses(ctx)
	case o.need == forDaemon:
		err = w.openGathering(ctx, cfg.Observe.SSM.Gather.Duration)
	}
	if err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// load reads the configuration file that the flags or the environment name.
func (a *app) load() (*config.Config, error) {
	return config.Load(a.configFile(), a.env)
}

func (w *world) openSources(ctx context.Context, n need) error {
	var names []string
	for i := range w.cfg.Sources {
		s := &w.cfg.Sources[i]
		names = append(names, s.Name)
		chosen := w.app.source == "" || s.Name == w.app.source || n == forDaemon
		if !chosen && n == forDesired {
			continue
		}
		reader, err := desired.Open(ctx, desired.Source{Name: s.Name, Database: s.Database, EncryptionKey: s.EncryptionKey})
		if err != nil {
			return err
		}
		w.closers = append(w.closers, reader.Close)
		w.readers[s.Name] = reader
		if !chosen {
			w.others = append(w.others, reconcile.Source{Name: s.Name, Reader: tenant{reader}})
			continue
		}
		source := reconcile.Source{Name: s.Name, Reader: tenant{reader}, Remedy: w.cfg.Remedy(s)}
		if n != forDesired && s.Platform != nil {
			client, err := platform.New(platform.Options{Source: s.Name, URL: s.Platform.URL.Reveal(), AdminToken: s.Platform.AdminToken,
				OrgID: s.Platform.OrgID, RequestsPerMinute: s.Platform.RequestsPerMinute})
			if err != nil {
				return err
			}
			w.closers = append(w.closers, client.Close)
			source.Platform, source.Asks = client, s.Platform.RequestsPerMinute
			if n == forDaemon && source.Remedy.Mode == drift.RemediateEnforce {
				source.Actor = platform.NewActor(client) // the only place where there comes to be one
			}
		}
		w.sources = append(w.sources, source)
	}
	if w.app.source != "" && len(w.sources) == 0 && n != forDaemon {
		return fmt.Errorf("--source %q: not configured; there are: %s", w.app.source, strings.Join(names, ", "))
	}
	return nil
}

func (w *world) close() {
	for _, c := range slices.Backward(w.closers) {
		c()
	}
}

// tenant makes a reader of desired's what the pass asks for.
type tenant struct{ reader *desired.Reader }

func (t tenant) Workspaces(ctx context.Context, sel reconcile.Selection, yield func(*drift.Workspace) error) error {
	return t.reader.Workspaces(ctx, desired.Query{IDs: sel.IDs, Fingerprint: sel.Key, Credentials: sel.Credentials}, yield)
}

// newPass prepares a walk over the workspaces that terms name, or all.
func (w *world) newPass(ctx context.Context, terms []string) (*reconcile.Pass, error) {
	only, err := w.find(ctx, terms)
	if err != nil {
		return nil, err
	}
	return &reconcile.Pass{Sources: w.sources, Others: w.others, Resolver: w.resolver, Observer: w.observer, Witness: w.witness, Policy: w.policy,
		Credentials: w.credentials, Only: only,
		Progress: w.app.term.progress, Now: time.Now}, nil
}

// pass walks once, under a fresh fingerprint key that nobody keeps.
func (w *world) pass(ctx context.Context, terms []string) (*reconcile.Result, error) {
	p, err := w.newPass(ctx, terms)
	if err != nil {
		return nil, err
	}
	return p.Run(ctx, reconcile.NewKey())
}

func (w *world) desiredPass(ctx context.Context, terms []string) (*reconcile.Result, error) {
	p, err := w.newPass(ctx, terms)
	if err != nil {
		return nil, err
	}
	return p.Desired(ctx)
}

// find turns what a person typed into ids: the start of an id or a whole name.
// No terms give nil, which is everything.
func (w *world) find(ctx context.Context, terms []string) (map[string][]string, error) {
	if len(terms) == 0 {
		return nil, nil
	}
	only := map[string][]string{}
	for _, term := range terms {
		source, id, err := w.findOne(ctx, term)
		if err != nil {
			return nil, err
		}
		only[source] = append(only[source], id)
	}
	return only, nil
}

func (w *world) findOne(ctx context.Context, term string) (source, id string, err error) {
	var found []string
	var unread []error
	for _, s := range w.sources {
		matches, err := w.readers[s.Name].Find(ctx, term)
		if err != nil {
			unread = append(unread, err)
		}
		for _, m := range matches {
			source, id = s.Name, m.ID
			found = append(found, fmt.Sprintf("%s  %s  %s", m.ID, s.Name, m.Name))
		}
	}
	switch {
	case len(found) == 1:
		return source, id, nil
	case len(found) > 1:
		return "", "", fmt.Errorf("%q may be any of %d workspaces; give more of the id, or --source:\n  %s", term, len(found), strings.Join(found, "\n  "))
	case len(unread) > 0:
		return "", "", fmt.Errorf("%q: not found, and not everywhere could be searched: %w", term, errors.Join(unread...))
	}
	return "", "", fmt.Errorf("%q: no workspace has this name, or an id that begins so", term)
}

// completeIDs offers ids and names to the shell.
func (a *app) completeIDs(cmd *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	if err := a.setUp(); err != nil || toComplete == "" {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	w, err := a.open(cmd.Context(), forDesired)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer w.close()
	var offers []string
	for _, s := range w.sources {
		matches, err := w.readers[s.Name].Find(cmd.Context(), toComplete)
		if err != nil {
			continue
		}
		for _, m := range matches {
			offers = append(offers, m.ID+"\t"+printable(m.Name)+", "+s.Name)
		}
	}
	return offers, cobra.ShellCompDirectiveNoFileComp
}
