package main

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/internal/fleetsim"
	"github.com/molecule-ai/billing-reconciler/internal/localpg"
	"github.com/molecule-ai/billing-reconciler/internal/tcpfault"
)

// ownServer is a PostgreSQL that can be stopped and started where it was.
type ownServer struct {
	t       *testing.T
	options localpg.Options
	server  *localpg.Server
}

func (s *ownServer) start() {
	s.t.Helper()
	server, err := localpg.Start(s.t.Context(), s.options)
	if err != nil {
		s.t.Fatal(err)
	}
	s.server = server
	u, err := url.Parse(s.server.URL(""))
	if err != nil {
		s.t.Fatal(err)
	}
	if s.options.Port, err = strconv.Atoi(u.Port()); err != nil {
		s.t.Fatal(err)
	}
}

func (s *ownServer) stop() {
	s.t.Helper()
	if err := s.server.Stop(); err != nil {
		s.t.Fatal(err)
	}
}

// watchOwn is watch with the daemons' database on a server of its own.
func watchOwn(t *testing.T, opts fleetsim.Options) (*watched, *ownServer) {
	t.Helper()
	home, err := os.MkdirTemp("", "daemon-state-") // not t.TempDir, which the server's user may not enter where we are root
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	if err := os.Chmod(home, 0o711); err != nil {
		t.Fatal(err)
	}
	s := &ownServer{t: t, options: localpg.Options{Dir: filepath.Join(home, "state")}}
	s.start()
	t.Cleanup(func() { _ = s.server.Stop() }) // after the daemons have ended
	state, err := s.server.EnsureDatabase(t.Context(), "state")
	if err != nil {
		t.Fatal(err)
	}
	w := watch(t, opts)
	w.alter(swap(w.sim.StateURL, state))
	w.look(state)
	return w, s
}

// Its database is not there when the daemon starts, comes, goes, and is started
// again in the middle of a transaction: the daemon says how it is, waits, goes
// on by itself, and in the end has neither lost nor doubled anything, and no
// more goroutines and connections than before.
func TestDaemonWhoseDatabaseComesAndGoes(t *testing.T) {
	t.Parallel()
	w, server := watchOwn(t, fleetsim.Options{Workspaces: 12, Tenants: 2})
	line := w.lead(server.server.URL("state"))
	members := w.breakable()
	server.stop()
	p := w.start()
	if !awaits(patience, func() bool {
		status, body := p.get("/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(body, "state database")
	}) {
		_, body := p.get("/readyz")
		t.Fatalf("without its database /readyz says %q", body)
	}
	if status, body := p.get("/healthz"); status != http.StatusOK {
		t.Errorf("waiting for its database it is alive, but /healthz says %d %s", status, body)
	}
	server.start()
	w.breaks(members[0])
	w.opens(members[0])
	p.ready()
	before := p.size()

	server.stop()
	w.breaks(members[1])
	w.mends(members[0])
	if !awaits(patience, func() bool { status, _ := p.get("/readyz"); return status == http.StatusServiceUnavailable }) {
		t.Error("with its database gone it says that it is ready")
	}
	if status, _ := p.get("/healthz"); status != http.StatusOK {
		t.Errorf("with its database gone /healthz says %d: it would be restarted for nothing", status)
	}
	server.start()
	w.opens(members[1])
	p.ready()

	// Its database is started again while a transaction waits for its commit.
	line.Obey(atNextCommit(func() tcpfault.Fate {
		server.stop()
		server.start()
		return tcpfault.Carried
	}))
	w.breaks(members[2])
	w.opens(members[1], members[2])
	w.passes(2)
	w.holds()
	if opened := w.events("drift_opened"); len(opened) != 3 {
		t.Errorf("three drifts opened, and told was %v", opened)
	}
	p.shrinksTo(before)
}

// atNextCommit is a rule that lets something happen, once, when a transaction
// that has written an event is about to commit.
func atNextCommit(happens func() tcpfault.Fate) tcpfault.Rule {
	var mu sync.Mutex
	wrote, done := map[int]bool{}, false
	return func(connection int, said []byte) tcpfault.Fate {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case bytes.Contains(said, []byte("INSERT INTO events")):
			wrote[connection] = true
		case wrote[connection] && bytes.Contains(bytes.ToLower(said), []byte("commit")):
			wrote[connection] = false
			if !done {
				done = true
				return happens()
			}
		}
		return tcpfault.Carried
	}
}

// The commit of each kind fails in both ways: it never arrives, and it arrives
// but the daemon is not told. Either way every drift is told of once.
func TestDaemonWhoseCommitIsInDoubt(t *testing.T) {
	t.Parallel()
	w := watch(t, fleetsim.Options{Workspaces: 8, Tenants: 1})
	line := w.lead(w.sim.StateURL)
	m := w.breakable()[0]
	p := w.start().ready()
	w.passes(1)
	for i, fate := range []tcpfault.Fate{tcpfault.Lost, tcpfault.Unheard} {
		for _, act := range []struct {
			what string
			do   func(...*fleetsim.Member)
			want []*fleetsim.Member
		}{{"drift_opened", w.breaks, []*fleetsim.Member{m}}, {"drift_closed", w.mends, nil}} {
			met := make(chan struct{})
			line.Obey(atNextCommit(func() tcpfault.Fate {
				close(met)
				return fate
			}))
			act.do(m)
			<-met
			w.opens(act.want...)
			w.passes(2)
			if got := w.events(act.what); len(got) != i+1 {
				t.Errorf("after a commit that was %v: %v, want %d of them", fate, got, i+1)
			}
			w.holds()
		}
	}
	p.ready()
}

// Cut at random, silent for longer than a transaction may last, slow: the
// daemon goes on.
func TestDaemonOnABadLineToItsDatabase(t *testing.T) {
	t.Parallel()
	cuts := 60
	if testing.Short() {
		cuts = 10
	}
	w := watch(t, fleetsim.Options{Workspaces: 16, Tenants: 2})
	line := w.lead(w.sim.StateURL)
	p := w.start().ready()
	w.passes(1)
	before := p.size()
	stop := w.churn(w.breakable(), 3)
	defer stop()
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 4))
	line.Delay(2 * time.Millisecond)
	for range cuts {
		time.Sleep(time.Duration(random.IntN(400)) * time.Millisecond)
		line.Cut()
	}
	w.passes(1)
	line.Stall(true)
	time.Sleep(9 * time.Second) // longer than a heartbeat may take
	line.Stall(false)
	w.passes(1)
	line.Refuse(true)
	line.Cut()
	p.says("leases not renewed")
	line.Refuse(false)
	line.Delay(0)
	broken := stop()
	w.opens(broken...)
	w.passes(2)
	w.opens(broken...)
	w.holds()
	p.ready()
	p.shrinksTo(before)
	if got := line.Connections(); got > 11 { // 10 of the pool, and the one that listens
		t.Errorf("%d connections to the database", got)
	}
}

// size is what a process may leak.
type size struct{ goroutines, files float64 }

// size takes the largest of a few looks: a pass under way is no leak.
func (p *replica) size() (most size) {
	p.t.Helper()
	for range 20 {
		now := p.sizeNow()
		most = size{max(most.goroutines, now.goroutines), max(most.files, now.files)}
		time.Sleep(50 * time.Millisecond)
	}
	return most
}

func (p *replica) sizeNow() (now size) {
	p.t.Helper()
	now.goroutines, _ = p.metric("go_goroutines")
	now.files, _ = p.metric("process_open_fds")
	return now
}

// shrinksTo waits until it is no larger than it was: a few connections more may
// be kept in its pools.
func (p *replica) shrinksTo(before size) {
	p.t.Helper()
	const spare = 15 // of the pools: 10 of the state database, 4 of a tenant's, and chance
	var now size
	if !awaits(patience, func() bool {
		now = p.sizeNow()
		return now.goroutines <= before.goroutines+spare && now.files <= before.files+spare
	}) {
		p.t.Errorf("it had %+v, and has %+v", before, now)
	}
}
