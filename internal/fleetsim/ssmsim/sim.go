// Package ssmsim is an AWS Systems Manager endpoint for the demo and for tests.
// It speaks the real wire protocol (AWS JSON 1.1) to the real SDK and is at
// least as nasty as AWS: it throttles, shows commands and invocations late and
// in part, cuts output, and fails a whole call for one bad instance id. What a
// command prints comes from a Runner, which may be a real shell.
package ssmsim

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Runner runs a script on an instance, as its SSM agent would.
type Runner interface {
	Run(ctx context.Context, instance, script string) (stdout string, exit int)
}

// Instance is one machine of the inventory.
type Instance struct {
	ID       string
	Ping     string    // PingStatus: "" is Online
	LastPing time.Time // zero: now
	IP       netip.Addr
	Platform string // PlatformType: "" is Linux
	Tags     map[string]string

	// What becomes of a command here: "" runs it. Else the status and details
	// that are shown in the end, without running anything.
	Status, Details string
	Never           bool // the command stays InProgress for ever
}

// Options say how nasty the endpoint is. The zero value is kind.
type Options struct {
	Runner   Runner
	Parallel int                // scripts run at once; default 4
	Rate     map[string]float64 // calls a second by operation; no entry: unlimited
	Hide     time.Duration      // commands and invocations are invisible that long after SendCommand
	Short    bool               // lists are given in pages shorter than asked for
	Latency  time.Duration      // of every call
	Terse    bool               // a refused instance id is not named
	Keep     int                // how many commands are remembered once they ended, the newest; default all
	Tagged   string             // "Name=value": the role may send to instances with this tag alone
	Fail     func(operation string, n int) *Failure
}

// Failure is an error answer; Status 0 cuts the connection.
type Failure struct {
	Status  int
	Code    string
	Message string
}

// Sim is the endpoint; it is an http.Handler.
type Sim struct {
	opts   Options
	ctx    context.Context
	cancel context.CancelFunc
	slots  chan struct{}
	work   sync.WaitGroup

	mu        sync.Mutex
	instances map[string]Instance
	documents map[string]document
	commands  map[string]*command
	order     []*command
	calls     map[string]int
	roles     map[string]bool
	buckets   map[string]*bucket
}

// New makes an endpoint without instances. Close ends what still runs.
func New(opts Options) *Sim {
	if opts.Parallel == 0 {
		opts.Parallel = 4
	}
	s := &Sim{opts: opts, slots: make(chan struct{}, opts.Parallel), instances: map[string]Instance{}, documents: map[string]document{},
		commands: map[string]*command{}, calls: map[string]int{}, roles: map[string]bool{}, buckets: map[string]*bucket{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Close stops running scripts and waits for them.
func (s *Sim) Close() {
	s.cancel()
	s.work.Wait()
}

// Set adds an instance to the inventory, or changes it.
func (s *Sim) Set(i Instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.instances[i.ID] = i
}

// Remove takes an instance out of the inventory, as terminating it does.
func (s *Sim) Remove(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.instances, id)
}

// Has tells whether an instance is in the inventory.
func (s *Sim) Has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, has := s.instances[id]
	return has
}

// Calls tells how often each operation was called, refused calls included.
func (s *Sim) Calls() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := make(map[string]int, len(s.calls))
	for operation, n := range s.calls {
		calls[operation] = n
	}
	return calls
}

// Forget sets the counts of Calls to zero.
func (s *Sim) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = map[string]int{}
}

// Roles tells in which assumed roles SSM was called, by ARN, sorted; "" is the
// caller's own.
func (s *Sim) Roles() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.roles))
}

// bucket limits one operation.
type bucket struct {
	tokens float64
	filled time.Time
}

// admit takes a token of the operation's bucket; one second's worth may be
// saved up.
func (s *Sim) admit(operation string, now time.Time) bool {
	rate, limited := s.opts.Rate[operation]
	if !limited {
		return true
	}
	b := s.buckets[operation]
	if b == nil {
		b = &bucket{tokens: max(1, rate), filled: now}
		s.buckets[operation] = b
	}
	b.tokens = min(max(1, rate), b.tokens+now.Sub(b.filled).Seconds()*rate)
	b.filled = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
