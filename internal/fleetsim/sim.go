package fleetsim

import (
	"cmp"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/molecule-ai/billing-reconciler/deploy"
	"github.com/molecule-ai/billing-reconciler/desired"
	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim/machine"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim/ssmsim"
	"github.com/molecule-ai/billing-reconciler/internal/localpg"
)

// MaxWorkspaces is how many a simulated fleet may have: their addresses are
// made of two bytes.
const MaxWorkspaces = 60_000

// Options say what Start simulates.
type Options struct {
	Workspaces int              // default 200
	Tenants    int              // default 4, or fewer for a small fleet
	Registry   string           // path; "" the project's example
	Globals    drift.Owner      // whose global_secrets are; default the tenant's
	Faults     bool             // the incident, and a fault in one of about ten others
	Each       bool             // the incident, and every sample on a workspace of its own
	EveryOffer bool             // every choice that the registry gives a customer, overrides among them
	Seed       uint64           // of all that is random
	Server     *localpg.Server  // a PostgreSQL to use; nil starts a private one
	Listen     string           // where a daemon on this fleet serves; not "": it gets a database of its own, too
	Interval   time.Duration    // between its passes; default 5 s
	Remediate  bool             // that daemon acts, and is content with short proofs
	Recorded   bool             // a shell for each shape of machine and not for each look: for fleets above 1,000
	SSM        ssmsim.Options   // how nasty AWS is; Runner is set
	Platform   PlatformOptions  // how workspaces are provisioned again
	Adjust     func(*Sim) error // last changes before anything runs
}

// Sim is a simulated fleet that runs.
type Sim struct {
	Dir        string
	ConfigPath string
	StateURL   string // of the daemon's own database; "" without Options.Listen
	LogPath    string
	Members    []*Member
	Tenants    []*Tenant
	SSM        *ssmsim.Sim
	Log        *AccessLog
	Resolver   *desired.Resolver
	Policy     *drift.Policy

	proxy     Proxy
	listen    string
	remediate bool
	interval  time.Duration
	servers   []*server
	pg        *localpg.Server
	ownPG     bool
	databases []string
	byID      map[string]*Member
	ledgers   map[*Tenant]*ledger
	restarts  *restarts

	mu     sync.Mutex // what members are, and the addresses
	random *rand.Rand
	held   map[netip.Addr]bool // public addresses of members
	free   []place             // that were held, where they are given away
	places int                 // tried so far

	boxes    sync.RWMutex
	machines map[string]*machine.Machine // by instance; none where recorder is
	recorder *recorder
}

// Where the simulated platform's proxy is; nobody calls it, its log is written.
const proxyBase = "https://api.moleculesai.app/api/v1/internal/llm"

const adminToken = drift.Secret("demo-admin-token")

// Start makes the fleet and everything around it. Close ends it.
func Start(ctx context.Context, opts Options) (sim *Sim, err error) {
	opts = opts.withDefaults()
	sim = &Sim{proxy: Proxy{proxyBase}, listen: opts.Listen, remediate: opts.Remediate, interval: opts.Interval, machines: map[string]*machine.Machine{},
		byID: map[string]*Member{}, ledgers: map[*Tenant]*ledger{}, held: map[netip.Addr]bool{}, random: rand.New(rand.NewPCG(opts.Seed, 8))}
	defer func() {
		if err != nil {
			err = errors.Join(err, sim.Close())
		}
	}()
	if sim.Dir, err = os.MkdirTemp("", "reconciler-demo-"); err != nil {
		return sim, fmt.Errorf("start the fleet: %w", err)
	}
	if opts.Registry == "" {
		opts.Registry = filepath.Join(sim.Dir, "providers.yaml")
		if err := os.WriteFile(opts.Registry, deploy.ExampleRegistry, 0o600); err != nil {
			return sim, fmt.Errorf("write the registry: %w", err)
		}
	}
	if err := sim.derive(opts); err != nil {
		return sim, err
	}
	if err := sim.startPostgres(ctx, opts); err != nil {
		return sim, err
	}
	if err := sim.stateDatabase(ctx, opts); err != nil {
		return sim, err
	}
	if err := sim.people(ctx, opts); err != nil {
		return sim, err
	}
	sim.LogPath = filepath.Join(sim.Dir, "proxy-access.log")
	if sim.Log, err = OpenAccessLog(sim.LogPath, opts.Seed); err != nil {
		return sim, err
	}
	if err := sim.serve(ctx, opts); err != nil {
		return sim, err
	}
	if err := sim.history(); err != nil {
		return sim, err
	}
	return sim, sim.writeConfig(opts.Registry)
}

func (o Options) withDefaults() Options {
	if o.Workspaces == 0 {
		o.Workspaces = 200
	}
	if o.Tenants == 0 {
		o.Tenants = min(4, o.Workspaces)
	}
	if o.Globals == "" {
		o.Globals = drift.OwnerCustomer
	}
	if o.Interval == 0 {
		o.Interval = 5 * time.Second
	}
	if o.Seed == 0 {
		o.Seed = 20260528
	}
	return o
}

func (s *Sim) derive(opts Options) error {
	registry, err := desired.LoadRegistry(opts.Registry)
	if err != nil {
		return err
	}
	endpoint, err := drift.ParseEndpoint(s.proxy.Base)
	if err != nil {
		return err
	}
	s.Policy = &drift.Policy{GlobalSecrets: opts.Globals, StripList: drift.DefaultStripList, Proxy: []drift.Endpoint{endpoint}, StaleAfter: 15 * time.Minute}
	s.Resolver = desired.NewResolver(registry, desired.Policy{Deployment: drift.SaaS, GlobalSecrets: opts.Globals})
	return nil
}

func (s *Sim) startPostgres(ctx context.Context, opts Options) error {
	if s.pg = opts.Server; s.pg != nil {
		return nil
	}
	pg, err := localpg.Start(ctx, localpg.Options{})
	if err != nil {
		return err
	}
	s.pg, s.ownPG = pg, true
	return nil
}

// stateDatabase makes the database that a daemon on this fleet keeps its state
// in.
func (s *Sim) stateDatabase(ctx context.Context, opts Options) error {
	if opts.Listen == "" {
		return nil
	}
	name := "state_" + strings.ToLower(crand.Text())
	url, err := s.pg.CreateDatabase(ctx, name, "")
	if err != nil {
		return err
	}
	s.StateURL, s.databases = url, append(s.databases, name)
	return nil
}

// people makes tenants and members, breaks some, and writes them down.
func (s *Sim) people(ctx context.Context, opts Options) error {
	s.Tenants = newTenants(opts.Tenants)
	s.Members = roster(s.Resolver.Registry, s.Tenants, opts)
	for _, m := range s.Members {
		m.Desired = s.Resolver.Desired(m.workspace())
	}
	s.afflict(opts)
	for _, m := range s.Members {
		s.byID[m.Row.ID], s.held[m.Public] = m, true
	}
	slots := make(chan struct{}, 8)
	for i, t := range s.Tenants {
		database := fmt.Sprintf("fleet_%s_%d", strings.ToLower(crand.Text()), i) // a server may have several fleets
		if err := t.fill(ctx, s.pg, database, s.Members); err != nil {
			return err
		}
		s.databases = append(s.databases, database)
		s.ledgers[t] = &ledger{url: t.URL, old: t.Old, key: t.Key, slots: slots}
	}
	return nil
}

// serve starts the platform's API and the SSM endpoint, with a machine for
// every member.
func (s *Sim) serve(ctx context.Context, opts Options) error {
	parent := filepath.Join(s.Dir, "machines")
	if err := os.Mkdir(parent, 0o700); err != nil {
		return fmt.Errorf("make the machines: %w", err)
	}
	opts.SSM.Runner = s
	if opts.Recorded && opts.SSM.Keep == 0 {
		opts.SSM.Keep = 1000 // or the answers of many passes would pile up
	}
	s.SSM = ssmsim.New(opts.SSM)
	if err := s.build(parent, opts.Recorded); err != nil {
		return err
	}
	if opts.Adjust != nil {
		if err := opts.Adjust(s); err != nil {
			return err
		}
	}
	var err error
	if s.restarts, err = newRestarts(s, opts); err != nil {
		return err
	}
	api := &PlatformAPI{Token: adminToken, PerMinute: cmp.Or(opts.Platform.PerMinute, 6000), Mode: s.readMode, Restart: s.restarts.serve}
	for _, handler := range []http.Handler{s.SSM, api} {
		server, err := serve(ctx, handler)
		if err != nil {
			return err
		}
		s.servers = append(s.servers, server)
	}
	return nil
}

// build makes a machine for every member.
func (s *Sim) build(parent string, recorded bool) error {
	if recorded {
		s.recorder = newRecorder(parent)
	}
	for _, m := range s.Members {
		if recorded {
			s.recorder.set(m.Row.InstanceID, s.host(m))
		} else {
			box, err := machine.New(parent, m.Row.InstanceID, s.host(m))
			if err != nil {
				return err
			}
			s.machines[m.Row.InstanceID] = box
		}
		s.register(m)
	}
	return nil
}

// server is an HTTP server on a free port of the loopback address.
type server struct {
	url  string
	http *http.Server
	done chan struct{}
}

func serve(ctx context.Context, handler http.Handler) (*server, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("serve the platform: %w", err)
	}
	s := &server{url: "http://" + listener.Addr().String(), done: make(chan struct{}),
		http: &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(listener)
	}()
	return s, nil
}

func (s *server) close() {
	_ = s.http.Close()
	<-s.done
}

// readMode answers as the platform's read endpoint does.
func (s *Sim) readMode(tenant, id string) (path drift.Path, override string, ok bool) {
	m := s.byID[id]
	if m == nil || m.Tenant.Name != tenant {
		return drift.Path{}, "", false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.Row.Override != nil {
		override = *m.Row.Override
	}
	return s.Resolver.Desired(m.workspace()).ReadPath, override, true
}

// Close ends everything and removes the directory.
func (s *Sim) Close() error {
	var errs []error
	for _, server := range slices.Backward(s.servers) {
		server.close()
	}
	if s.restarts != nil {
		errs = append(errs, s.restarts.close())
	}
	for _, ledger := range s.ledgers {
		ledger.close()
	}
	if s.SSM != nil {
		s.SSM.Close()
	}
	if s.Log != nil {
		errs = append(errs, s.Log.Close())
	}
	if s.ownPG {
		errs = append(errs, s.pg.Stop())
	} else {
		for _, database := range s.databases {
			errs = append(errs, s.pg.DropDatabase(context.Background(), database))
		}
	}
	if s.Dir != "" {
		errs = append(errs, os.RemoveAll(s.Dir))
	}
	return errors.Join(errs...)
}
