package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// Options say what a Server shows and whom it lets in.
type Options struct {
	// Store is where everything is that the API shows and changes.
	Store *store.Store
	// Tokens of those who may come in. None: whoever comes over loopback, and
	// nobody else, is an operator.
	Tokens []Token
	// TLS; nil is plain HTTP.
	TLS *TLS
	// Metrics answers GET /metrics; nil: there is none.
	Metrics http.Handler
	// Pushes are where log lines are pushed to: for the role ingest alone.
	Pushes []Push
	// Health answers /readyz; nil: ready while the process lives.
	Health func(context.Context) Health
	// Status gives what only this process knows; nil: its version alone.
	Status func() Process
	// SourceNames lists the configured sources; nil: those the store knows.
	SourceNames func() []string
	// Remediation gives what is allowed to be done about the drifts of each
	// configured source; nil: it is not known here.
	Remediation func() map[string]drift.RemediateMode
	// Log gets a line a request; nil: none.
	Log *slog.Logger
	// FailedAuthPerMinute is how many wrong tokens an address may present a
	// minute before it is told to wait; 0: 30.
	FailedAuthPerMinute int
	// MaxStreams bounds the event streams that are open at once; 0: 100.
	MaxStreams int
	// Heartbeat is how often a silent event stream shows that it lives; 0: 15 s.
	Heartbeat time.Duration
	// Version of the program, for the OpenAPI document.
	Version string
}

// What holds where Options say nothing, and what nobody needs to choose.
const (
	failedAuthPerMinute = 30
	maxStreams          = 100
	heartbeat           = 15 * time.Second

	headerTimeout = 10 * time.Second // to send a request's headers
	callTimeout   = 30 * time.Second // to read a request, and to write an answer; streams set their own
	idleTimeout   = 2 * time.Minute  // between requests of one connection
	grace         = 5 * time.Second  // for requests to finish at the end
	patience      = 10 * time.Second // for a reader of an event stream to take what is written
)

// Server answers HTTP. Make it with New; Serve runs it once.
type Server struct {
	opts     Options
	log      *slog.Logger
	origins  *http.CrossOriginProtection
	failures *failures
	streams  *streams
	handler  http.Handler
	patience time.Duration // for a reader of an event stream to take what is written

	mu       sync.Mutex // of bound and of changing keys
	bound    net.Addr   // nil until Serve
	keys     atomic.Pointer[keyring]
	loopback atomic.Bool // bound is on loopback
}

// New prepares a server. It connects to nothing.
func New(opts Options) (*Server, error) {
	if opts.Store == nil {
		return nil, errors.New("admin: no store given")
	}
	if err := checkPushes(opts.Pushes); err != nil {
		return nil, err
	}
	opts.FailedAuthPerMinute = or(opts.FailedAuthPerMinute, failedAuthPerMinute)
	opts.MaxStreams = or(opts.MaxStreams, maxStreams)
	opts.Heartbeat = or(opts.Heartbeat, heartbeat)
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{opts: opts, log: opts.Log, origins: http.NewCrossOriginProtection(),
		failures: newFailures(opts.FailedAuthPerMinute), patience: patience, streams: newStreams(opts.Store, opts.Log, opts.MaxStreams)}
	if err := s.SetTokens(opts.Tokens); err != nil {
		return nil, err
	}
	s.handler = s.logged(s.recovered(s.guarded(s.routes())))
	return s, nil
}

func or[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

// SetTokens lets these in from now on and nobody else; requests under way end
// as they began. It refuses to open a listener that is not on loopback to
// everybody.
func (s *Server) SetTokens(tokens []Token) error {
	keys, err := newKeyring(tokens)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bound != nil {
		if err := admissible(s.bound, keys); err != nil {
			return err
		}
	}
	s.keys.Store(keys)
	return nil
}

// bind holds the server to the address that it is really reached at.
func (s *Server) bind(addr net.Addr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bound != nil {
		return errors.New("serve: it has been served before; make a new one")
	}
	if err := admissible(addr, s.keys.Load()); err != nil {
		return err
	}
	s.bound = addr
	s.loopback.Store(onLoopback(addr))
	return nil
}

// Serve answers on a listener, which it closes, until ctx ends: then it accepts
// nothing more, ends the event streams, and lets requests finish for some
// seconds. The error is nil where that was all that happened.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	if err := s.bind(ln.Addr()); err != nil {
		return errors.Join(err, ln.Close())
	}
	server, err := s.server()
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { s.streams.run(ctx) })
	served := make(chan error, 1)
	running.Go(func() { served <- listen(server, ln) })
	select {
	case err = <-served:
		stop()
		err = errors.Join(err, server.Close())
	case <-ctx.Done():
		stop()
		err = shutdown(server)
	}
	running.Wait()
	return err
}

func (s *Server) server() (*http.Server, error) {
	server := &http.Server{Handler: s.handler, ReadHeaderTimeout: headerTimeout, ReadTimeout: callTimeout, WriteTimeout: callTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: 32 << 10, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)}
	if s.opts.TLS != nil {
		var err error
		if server.TLSConfig, err = s.opts.TLS.config(s.log); err != nil {
			return nil, err
		}
	}
	return server, nil
}

func listen(server *http.Server, ln net.Listener) error {
	var err error
	if server.TLSConfig != nil {
		err = server.ServeTLS(ln, "", "")
	} else {
		err = server.Serve(ln)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve %s: %w", ln.Addr(), err)
}

// shutdown lets requests finish, and cuts those that do not.
func shutdown(server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return server.Close()
	}
	return nil
}
