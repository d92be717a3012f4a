package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/molecule-ai/billing-reconciler/admin"
	"github.com/molecule-ai/billing-reconciler/internal/config"
	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
	"github.com/molecule-ai/billing-reconciler/observe/proxylog/receive"
	"github.com/molecule-ai/billing-reconciler/traffic"
)

// tallyOptions says how lines become counts.
func tallyOptions(cfg *config.Config) (*proxylog.TallyOptions, error) {
	o := &proxylog.TallyOptions{}
	var patterns []string
	for _, p := range cfg.Proxy.BilledStatuses {
		patterns = append(patterns, string(p))
	}
	var err error
	if o.Billed, err = proxylog.ParseStatuses(patterns); err != nil {
		return nil, fmt.Errorf("proxy.billed_statuses: %w", err)
	}
	for _, c := range cfg.Proxy.TrustedProxies {
		o.Proxies = append(o.Proxies, c.Prefix)
	}
	prices, err := config.LoadPrices(cfg.Proxy.Prices)
	if err != nil {
		return nil, err
	}
	for model, p := range prices {
		if o.Prices == nil {
			o.Prices = proxylog.Prices{}
		}
		o.Prices[model] = proxylog.Price(p)
	}
	return o, nil
}

// inputs reads the proxy's log from where the configuration says, and has it
// counted.
type inputs struct {
	service *service
	counter *traffic.Counter

	changing sync.Mutex // one set of readers ends before the next begins

	mu      sync.Mutex
	ctx     context.Context // that readers run under; nil: not begun
	force   *prepared       // the set in force
	running *reading        // nil: none
}

// reading is what runs under one configuration.
type reading struct {
	end  context.CancelFunc
	work sync.WaitGroup
}

// reader is one input: it reads until ctx ends.
type reader interface {
	Run(ctx context.Context) error
}

func newInputs(s *service) *inputs {
	in := &inputs{service: s}
	in.counter = traffic.NewCounter(traffic.Options{Store: s.store.Store, Metrics: s.metrics, Log: s.app.log, Input: in.of})
	return in
}

// of is traffic.Options.Input.
func (in *inputs) of(name string) traffic.Input {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.force == nil {
		return traffic.Input{}
	}
	return in.force.known[name]
}

// prepare makes the readers of a configuration; nothing is read yet.
func (in *inputs) prepare(cfg *config.Config) (*prepared, error) {
	tally, err := tallyOptions(cfg)
	if err != nil {
		return nil, err
	}
	p := &prepared{known: map[string]traffic.Input{}, readers: map[string]reader{}}
	for i := range cfg.Observe.Logs {
		l := &cfg.Observe.Logs[i]
		p.known[l.Name] = traffic.Input{Host: hostOf(l), SilentAfter: l.SilentAfter.Duration}
		if err := in.add(p, l, tally); err != nil {
			return nil, fmt.Errorf("observe.logs: input %s: %w", l.Name, err)
		}
	}
	return p, nil
}

// prepared are the readers of a configuration that is not in force yet.
type prepared struct {
	known   map[string]traffic.Input
	readers map[string]reader
	push    *receive.Receiver // nil: nothing is pushed
}

// The paths of others' protocols, beside the configured one of our own.
const (
	pathLoki      = "/loki/api/v1/push"
	pathOTLP      = "/v1/logs"
	underFirehose = "/firehose" // below our own
)

// pushes are the places where lines are pushed to: as long as the configuration
// in force has such an input, whatever the one did with which the daemon began.
func (in *inputs) pushes(cfg *config.Config) []admin.Push {
	for i := range cfg.Observe.Logs {
		if l := &cfg.Observe.Logs[i]; l.Push != nil {
			return []admin.Push{
				{Path: l.Push.Path, Handler: in.pushed((*receive.Receiver).Lines)},
				{Path: pathLoki, Handler: in.pushed((*receive.Receiver).Loki)},
				{Path: pathOTLP, Handler: in.pushed((*receive.Receiver).OTLP)},
				{Path: l.Push.Path + underFirehose, Handler: in.pushed((*receive.Receiver).Firehose)},
			}
		}
	}
	return nil
}

func (in *inputs) pushed(protocol func(*receive.Receiver) http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in.mu.Lock()
		p, begun := in.force, in.ctx != nil
		in.mu.Unlock()
		switch {
		case p == nil || p.push == nil:
			http.Error(w, "observe.logs has no push input any more", http.StatusNotFound)
		case !begun:
			w.Header().Set("Retry-After", "2")
			http.Error(w, "the state database has not answered yet", http.StatusServiceUnavailable)
		default:
			protocol(p.push).ServeHTTP(w, r)
		}
	})
}

func hostOf(l *config.Log) string {
	switch {
	case l.File == nil:
		return ""
	case l.File.Host != "":
		return l.File.Host
	}
	host, _ := os.Hostname() // "": then all hosts of that kind are one
	return host
}

// use puts other readers in force: those before end first.
func (in *inputs) use(p *prepared) {
	in.changing.Lock()
	defer in.changing.Unlock()
	in.stop()
	in.mu.Lock()
	in.force = p
	ctx := in.ctx
	in.mu.Unlock()
	if ctx != nil {
		in.run(ctx, p)
	}
}

// begin lets the readers read, until ctx ends and they have ended with it: from
// when on there is something to count into.
func (in *inputs) begin(ctx context.Context) {
	in.changing.Lock()
	defer in.changing.Unlock()
	in.mu.Lock()
	in.ctx = ctx
	p := in.force
	in.mu.Unlock()
	in.run(ctx, p)
}

func (in *inputs) run(ctx context.Context, p *prepared) {
	ctx, end := context.WithCancel(ctx)
	r := &reading{end: end}
	in.mu.Lock()
	in.running = r
	in.mu.Unlock()
	names := make([]string, 0, len(p.known))
	for name := range p.known {
		names = append(names, name)
	}
	in.service.metrics.Inputs(names)
	r.work.Go(func() { in.retire(ctx, p, names) })
	for name, one := range p.readers {
		r.work.Go(func() { in.read(ctx, name, one) })
	}
}

// retire forgets inputs that this host had once, and has no more.
func (in *inputs) retire(ctx context.Context, p *prepared, names []string) {
	host, _ := os.Hostname()
	hosts := []string{"", host}
	for _, known := range p.known {
		hosts = append(hosts, known.Host)
	}
	if err := in.service.store.RetireInputs(ctx, hosts, names); err != nil && ctx.Err() == nil {
		in.service.app.log.Warn("inputs that are not configured are still known", "error", err)
	}
}

// stop ends what reads; what it has read and not counted is read again.
func (in *inputs) stop() {
	in.mu.Lock()
	r := in.running
	in.running = nil
	in.mu.Unlock()
	if r != nil {
		r.end()
		r.work.Wait()
	}
}

// lagEvery is how often it is shown how far an input is behind.
const lagEvery = time.Second

// read reads one input, and again where that fails: one that does not work
// keeps no other from working.
func (in *inputs) read(ctx context.Context, name string, r reader) {
	done := make(chan struct{})
	defer func() { <-done }()
	ctx, end := context.WithCancel(ctx)
	defer end()
	go func() {
		defer close(done)
		in.showLag(ctx, name, r)
	}()
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		err := r.Run(ctx)
		if ctx.Err() != nil {
			return
		}
		in.service.app.log.Error("input ended; begun again later", "input", name, slog.Any("error", err), "retry_in", wait)
		if err != nil {
			_ = in.counter.State(ctx, name, err) // told by the log already
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// showLag shows how far an input is behind, and lets the other replicas know
// where that is more than a moment: what is not counted yet acquits nobody.
func (in *inputs) showLag(ctx context.Context, name string, r reader) {
	behind, ok := r.(interface {
		Lag() (amount int64, oldest time.Duration)
	})
	if !ok {
		return
	}
	ticker := time.NewTicker(lagEvery)
	defer ticker.Stop()
	told := teller{in: in, name: name}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			_, oldest := behind.Lag()
			in.service.metrics.Lag(name, oldest)
			told.tell(ctx, oldest)
		}
	}
}

// The pace of telling that an input is behind.
const (
	lagMatters = 10 * time.Second
	lagTold    = 10 * time.Second // again, while it lasts
	lagWithin  = 5 * time.Second  // or the database is asked again later
)

// teller tells the database how far one input is behind here.
type teller struct {
	in   *inputs
	name string
	at   time.Time // when it was last told that it is; zero: it is not, as far as the database knows
}

func (t *teller) tell(ctx context.Context, oldest time.Duration) {
	switch {
	case oldest < lagMatters && t.at.IsZero(), oldest >= lagMatters && time.Since(t.at) < lagTold:
		return
	case oldest < lagMatters:
		oldest = 0
	}
	ctx, stop := context.WithTimeout(ctx, lagWithin)
	defer stop()
	s := t.in.service
	if err := s.store.ReportLag(ctx, t.in.counter.Named(t.name), s.replica.ID, oldest); err != nil {
		return // what keeps it from being written keeps lines from being counted too, and that is told
	}
	if t.at = time.Now(); oldest == 0 {
		t.at = time.Time{}
	}
}
