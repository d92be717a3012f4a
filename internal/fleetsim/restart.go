package fleetsim

import (
	"cmp"
	"context"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// PlatformOptions say how the simulated platform provisions workspaces again,
// and how badly. The zero value is the platform of the incident, which forgets
// the model on a re-provision, and is otherwise kind.
type PlatformOptions struct {
	Fixed         bool // a re-provision derives from the stored model; see Sim.FixPlatform
	NoProvisioner bool // every restart is answered with 503
	NoProxy       bool // no proxy is configured: what would need it is refused
	PerMinute     int  // requests a tenant's bucket holds; default 6000

	// How long a restart takes: until the old instance is gone, from then until
	// another has begun, from then until its agent has registered. 0: the default
	// of 1 s, 4 s and 2 s; negative: no time.
	Stop, Launch, Register time.Duration

	Nasty   func(tenant, id string) Nasty // what becomes of a call; nil, and "": Dice decides
	Dice    map[Nasty]float64             // probabilities, together 1 at most; by Options.Seed
	Worse   Fault                         // what NastyWorse adds; default one that the member can have
	Recycle bool                          // addresses that become free are given away at once
	LogPath string                        // every call is appended here too, as JSON lines; see ReadRestartCalls
}

// Nasty is a way in which a restart goes wrong. Whether it acts is part of it.
type Nasty string

// The ways. Those before the call acts leave the workspace as it was.
const (
	NotNasty      Nasty = "not"        // it goes well, whatever the dice would say
	NastyThrottle Nasty = "throttle"   // 429, with Retry-After: 1
	NastyDown     Nasty = "down"       // 503
	NastyCut      Nasty = "cut_before" // the connection is cut before acting
	NastyCutAfter Nasty = "cut_after"  // acts, and the connection is cut without an answer
	NastyHang     Nasty = "hang"       // answers nothing, and acts when the caller has given up
	NastyFail     Nasty = "fail_after" // acts, and answers 500
	NastyGarble   Nasty = "garble"     // acts, and answers 200 with half an answer
	NastyLost     Nasty = "lost"       // is accepted, and the workspace never comes back
	NastyWorse    Nasty = "worse"      // is accepted, and the workspace comes back with a fault more
)

// restarts is the part of the platform that provisions workspaces again.
type restarts struct {
	sim   *Sim
	opts  PlatformOptions
	fixed atomic.Bool
	log   *callLog

	ctx    context.Context
	cancel context.CancelFunc

	mu     sync.Mutex
	closed bool
	work   sync.WaitGroup // the cycles under way
	random *rand.Rand
	next   map[string][]Nasty // by workspace, before Nasty and Dice are asked
}

func newRestarts(s *Sim, opts Options) (*restarts, error) {
	r := &restarts{sim: s, opts: opts.Platform, random: rand.New(rand.NewPCG(opts.Seed, 7)), next: map[string][]Nasty{}} // #nosec G404 -- dice
	for d, usual := range map[*time.Duration]time.Duration{&r.opts.Stop: time.Second, &r.opts.Launch: 4 * time.Second, &r.opts.Register: 2 * time.Second} {
		*d = cmp.Or(*d, usual)
	}
	r.fixed.Store(opts.Platform.Fixed)
	var err error
	if r.log, err = openCallLog(opts.Platform.LogPath); err != nil {
		return nil, err
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r, nil
}

// close ends the restarts under way where they are, as a platform does whose
// machine stops.
func (r *restarts) close() error {
	r.cancel()
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.work.Wait()
	return r.log.close()
}

// spawn runs f unless the end has come.
func (r *restarts) spawn(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.work.Go(f)
	}
}

// restartOf gives the workspace of a restart's route.
func restartOf(method, route string) (id string, ok bool) {
	parts := strings.Split(route, "/")
	if method != http.MethodPost || len(parts) != 3 || parts[0] != "workspaces" || parts[2] != "restart" {
		return "", false
	}
	return parts[1], true
}

// fate decides what becomes of a call.
func (r *restarts) fate(tenant, id string) Nasty {
	r.mu.Lock()
	defer r.mu.Unlock()
	if list := r.next[id]; len(list) > 0 {
		r.next[id] = list[1:]
		return list[0]
	}
	if r.opts.Nasty != nil {
		if fate := r.opts.Nasty(tenant, id); fate != "" {
			return fate
		}
	}
	thrown := r.random.Float64()
	for _, fate := range slices.Sorted(maps.Keys(r.opts.Dice)) {
		if thrown -= r.opts.Dice[fate]; thrown < 0 {
			return fate
		}
	}
	return NotNasty
}

// serve answers a restart; turned is not nil where it was turned away at the
// door.
func (r *restarts) serve(w http.ResponseWriter, req *http.Request, tenant, id string, turned *answer) {
	call := RestartCall{At: time.Now(), Tenant: tenant, ID: id}
	if turned != nil {
		r.log.add(call, turned, false)
		turned.give(w)
		return
	}
	fate := r.fate(tenant, id)
	switch fate {
	case NastyThrottle:
		w.Header().Set("Retry-After", "1")
		turned = &answer{http.StatusTooManyRequests, fault("rate limited")}
	case NastyDown:
		turned = &answer{http.StatusServiceUnavailable, fault("database unavailable")}
	case NastyCut:
		r.log.add(call, &answer{0, fault("cut")}, false)
		panic(http.ErrAbortHandler)
	default:
		turned = r.declines(req.Context(), tenant, id)
	}
	if turned != nil {
		r.log.add(call, turned, false)
		turned.give(w)
		return
	}
	r.act(w, req, call, fate)
}

// act begins the restart, and answers as the fate wants it.
func (r *restarts) act(w http.ResponseWriter, req *http.Request, call RestartCall, fate Nasty) {
	said := map[Nasty]*answer{
		NastyCutAfter: {0, fault("cut")}, NastyHang: {0, fault("hang")}, NastyFail: {http.StatusInternalServerError, fault("internal error")},
		NastyGarble: {http.StatusOK, map[string]string{"sta": "pro"}},
	}[fate]
	if said == nil {
		said = &answer{http.StatusOK, map[string]string{"status": "provisioning"}}
	}
	number := r.log.add(call, said, true) // before acting: nothing is done of which the log does not know
	m := r.sim.Member(call.ID)
	r.sim.mu.Lock()
	m.flying++
	m.cycles++
	r.sim.mu.Unlock()
	if fate == NastyHang {
		select {
		case <-req.Context().Done():
		case <-r.ctx.Done():
		}
	}
	r.begin(m, number, fate)
	if said.status == 0 {
		panic(http.ErrAbortHandler)
	}
	said.give(w)
}

// begin marks the workspace as being provisioned, and lets the rest happen.
func (r *restarts) begin(m *Member, number int, fate Nasty) {
	_ = r.sim.ledger(m.Tenant).set(r.ctx, m, `status = 'provisioning'`) // it fails at the end alone
	r.spawn(func() { r.cycle(m, number, fate) })
}

// declines tells why the platform does not begin, if it does not.
func (r *restarts) declines(ctx context.Context, tenant, id string) *answer {
	if _, err := uuid.Parse(id); err != nil {
		return &answer{http.StatusBadRequest, fault("invalid workspace id")}
	}
	m := r.sim.Member(id)
	if m == nil || m.Tenant.Name != tenant {
		return &answer{http.StatusNotFound, fault("workspace not found")}
	}
	row, err := r.sim.ledger(m.Tenant).look(ctx, id)
	switch {
	case err != nil || r.opts.NoProvisioner:
		return &answer{http.StatusServiceUnavailable, fault("no provisioner, or no database")}
	case row == nil || row.status == "removed":
		return &answer{http.StatusNotFound, fault("workspace not found")}
	case slices.Contains(withoutContainer, row.runtime):
		return &answer{http.StatusOK, map[string]string{"status": "noop"}}
	case row.pausedAbove:
		return &answer{http.StatusConflict, fault("an ancestor is paused")}
	}
	return nil
}

// withoutContainer are runtimes of which there is nothing to restart.
var withoutContainer = []string{"external", "kimi", "kimi-cli", "mock"}
