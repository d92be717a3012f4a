package store_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/localpg"
	"github.com/molecule-ai/billing-reconciler/store"
)

func TestTheDatabaseIsStoppedAndStarted(t *testing.T) {
	dir, port := serverDir(t), freePort(t)
	start := func() *localpg.Server {
		t.Helper()
		server, err := localpg.Start(t.Context(), localpg.Options{Dir: dir, Port: port})
		if err != nil {
			t.Fatal(err)
		}
		return server
	}
	server := start()
	r := newReplica(t, server.URL(""), "a")
	_, err := r.Migrate(t.Context())
	r.must(err)
	l := r.keep(source).Leases[0]
	ears := listen(t, r)
	ears.await(t, store.Notice{Reconnected: true})

	r.must(server.Stop())
	for what, try := range map[string]func() error{
		"ping":  func() error { return r.Ping(t.Context()) },
		"keep":  func() error { _, err := r.Keep(t.Context(), r.me, nil, ttl); return err },
		"apply": func() error { _, err := r.Apply(t.Context(), pass(l, 0, nil)); return err },
		"read":  func() error { _, err := r.Sources(t.Context()); return err },
		"check": func() error { return r.Check(t.Context()) },
	} {
		if err := try(); !store.Unreachable(err) {
			t.Errorf("%s: %v", what, err)
		} else if strings.Contains(err.Error(), password(t, server.URL(""))) {
			t.Errorf("%s tells the password: %v", what, err)
		}
	}

	server = start()
	defer func() { _ = server.Stop() }()
	r.apply(pass(l, 1, nil))
	ears.await(t, store.Notice{Reconnected: true})
	r.pause(thisSource)
	ears.await(t, store.Notice{Channel: store.ChannelSwitch, Payload: source})
	r.Close()
	ears.stop()
}

func password(t *testing.T, of string) string {
	t.Helper()
	u, err := url.Parse(of)
	if err != nil {
		t.Fatal(err)
	}
	secret, _ := u.User.Password()
	return secret
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// ears gather what Listen hears.
type ears struct {
	heard chan store.Notice
	stop  func()
}

func listen(t *testing.T, r *replica) *ears {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	e := &ears{heard: make(chan store.Notice, 100)}
	var done sync.WaitGroup
	done.Go(func() {
		if err := r.Listen(ctx, func(n store.Notice) { e.heard <- n }); err != nil {
			t.Error(err)
		}
	})
	e.stop = func() { cancel(); done.Wait() }
	t.Cleanup(e.stop)
	return e
}

func (e *ears) await(t *testing.T, want store.Notice) {
	t.Helper()
	for end := time.After(20 * time.Second); ; {
		select {
		case got := <-e.heard:
			if got == want {
				return
			}
		case <-end:
			t.Fatalf("never heard %+v", want)
		}
	}
}

func TestWhatIsHeard(t *testing.T) {
	r, l := one(t)
	e := listen(t, r)
	e.await(t, store.Notice{Reconnected: true})
	r.apply(pass(l, 0, func(o *store.Outcome) {
		o.States, o.Episodes = []store.State{state(1, drifted)}, []store.EpisodeChange{opened(1, 0)}
	}))
	e.await(t, store.Notice{Channel: store.ChannelEvent, Payload: "1"})
	_, err := r.RequestLook(t.Context(), store.Look{Source: source, Workspace: ws(1)})
	r.must(err)
	e.await(t, store.Notice{Channel: store.ChannelLook, Payload: source})
	r.pause(everything)
	e.await(t, store.Notice{Channel: store.ChannelSwitch, Payload: store.Fleet})
	r.must(r.Release(t.Context(), r.me, []store.Lease{l}))
	e.await(t, store.Notice{Channel: store.ChannelLease})
}

const killAll = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"

func TestABackendIsKilledInMidTransaction(t *testing.T) {
	r := newReplica(t, migrated(t), "a")
	axe := conn(t, r.url)
	_, _, err := r.Once(t.Context(), key("a"), func(c *store.Change) (any, error) {
		if _, err := pauseAll(c); err != nil {
			return nil, err
		}
		_, err := axe.Exec(t.Context(), killAll)
		return nil, err
	})
	if !store.Unreachable(err) {
		t.Errorf("got %v", err)
	}
	diff(t, []drift.EventKind(nil), r.kinds())
	for range 5 { // connections that died in the pool trouble nobody
		_, err := axe.Exec(t.Context(), killAll)
		r.must(err)
		r.pause(everything)
	}
}

func TestNothingIsAskedBeforeItIsNeeded(t *testing.T) {
	s, err := store.Open(t.Context(), store.Options{URL: drift.Secret("postgres://user:hunter2@127.0.0.1:" + strconv.Itoa(freePort(t)) + "/x")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Ping(t.Context()); !store.Unreachable(err) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
	for _, bad := range []string{"", "postgres://user:hunter2@host:port/x", "hunter2 hunter2"} {
		if _, err := store.Open(t.Context(), store.Options{URL: drift.Secret(bad)}); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestAWrongPasswordIsNoOutage(t *testing.T) {
	for _, err := range []error{nil, errors.New("x"), store.ErrFenced, store.ErrStale, context.Canceled} {
		if store.Unreachable(err) {
			t.Errorf("%v is unreachable", err)
		}
	}
	s, err := store.Open(t.Context(), store.Options{URL: drift.Secret(strings.Replace(migrated(t), "postgres:", "postgres:x", 1))})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Ping(t.Context()); err == nil || strings.Contains(err.Error(), "://") {
		t.Errorf("got %v", err)
	}
}
