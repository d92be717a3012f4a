// Package pgtest gives tests databases of a real PostgreSQL: one private
// server a test process, started when first asked for and stopped by Main; a
// database a test, dropped when the test ends.
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
//
// With TEST_DATABASE_URL set, the databases are made on that server instead;
// its role must be allowed to create them.
package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/molecule-ai/billing-reconciler/internal/localpg"
)

// shared is what the tests of this process have in common.
var shared struct {
	sync.Mutex
	main      bool // Main runs, and will stop the server
	server    *localpg.Server
	err       error
	templates map[string]*template
}

// template is a database that tests get copies of.
type template struct {
	sync.Mutex
	name string // "": not made yet
}

// Main runs the tests, drops what they left and stops the server. It does not
// return.
func Main(m *testing.M) { os.Exit(run(m)) }

// MainNoLeaks is Main that also fails when goroutines outlive the tests.
func MainNoLeaks(m *testing.M, ignore ...goleak.Option) {
	code := run(m)
	if err := goleak.Find(ignore...); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "goroutines outlive the tests:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int) {
	shared.main = true
	code = m.Run()
	if err := stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	return code
}

func stop() error {
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil {
		return nil
	}
	var errs []error
	for _, t := range shared.templates {
		if t.name != "" {
			errs = append(errs, shared.server.DropDatabase(context.Background(), t.name))
		}
	}
	return errors.Join(append(errs, shared.server.Stop())...)
}

// Server gives the process's server.
func Server(t testing.TB) *localpg.Server {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if !shared.main {
		t.Fatal("pgtest: the package's tests need: func TestMain(m *testing.M) { pgtest.Main(m) }")
	}
	if shared.server == nil && shared.err == nil {
		shared.server, shared.err = open()
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server
}

func open() (*localpg.Server, error) {
	if url := os.Getenv("TEST_DATABASE_URL"); url != "" {
		return localpg.Connect(url)
	}
	return localpg.Start(context.Background(), localpg.Options{})
}

// NewDatabase gives the URL of a fresh and empty database that is t's alone.
func NewDatabase(t testing.TB) string {
	t.Helper()
	return newDatabase(t, "")
}

// NewDatabaseFrom gives the URL of a fresh copy of a database that setup has
// filled. Setup runs once for a name, at the first call; it must close its
// connections. A setup that fails is tried again by the next test.
func NewDatabaseFrom(t testing.TB, name string, setup func(ctx context.Context, url string) error) string {
	t.Helper()
	tmpl, err := filled(t.Context(), Server(t), name, setup)
	if err != nil {
		t.Fatalf("set up template database %s: %v", name, err)
	}
	return newDatabase(t, tmpl)
}

func filled(ctx context.Context, s *localpg.Server, name string, setup func(context.Context, string) error) (string, error) {
	t := templateFor(name)
	t.Lock()
	defer t.Unlock()
	if t.name != "" {
		return t.name, nil
	}
	db := "template_" + unique()
	url, err := s.CreateDatabase(ctx, db, "")
	if err != nil {
		return "", err
	}
	if err := setup(ctx, url); err != nil {
		return "", errors.Join(err, s.DropDatabase(ctx, db))
	}
	t.name = db
	return db, nil
}

func templateFor(name string) *template {
	shared.Lock()
	defer shared.Unlock()
	if shared.templates == nil {
		shared.templates = map[string]*template{}
	}
	if shared.templates[name] == nil {
		shared.templates[name] = &template{}
	}
	return shared.templates[name]
}

func newDatabase(t testing.TB, from string) string {
	t.Helper()
	s, name := Server(t), "test_"+unique()
	url, err := s.CreateDatabase(t.Context(), name, from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := s.DropDatabase(ctx, name); err != nil {
			t.Error(err)
		}
	})
	return url
}

// unique lets processes share a foreign server.
func unique() string { return strings.ToLower(rand.Text()[:12]) }
