// Package localpg runs a private PostgreSQL: for the demo, for tests and for
// `state.embedded`. Nothing else on the machine is touched: it has a directory,
// a port on the loopback address and a random password of its own, and knows
// nothing of the caller's PG* environment.
//
// It promises to leave nothing behind. Stop ends the server and removes a
// temporary directory. Where the owner is killed before it can stop, Linux ends
// the server with it, and the next Start sweeps up the rest.
package localpg

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// superuser is the role that URL logs in with.
const superuser = "postgres"

// Options say what Start starts. The zero value is right for tests and demos.
type Options struct {
	// Dir keeps the database over restarts, with every write made durable. ""
	// takes a temporary directory that Stop removes, and is fast in place of safe.
	Dir string
	// Port on 127.0.0.1; 0 finds a free one.
	Port int
	// MaxConnections; 0 means 200.
	MaxConnections int
	// Settings are added to the server's configuration, and win.
	Settings map[string]string
}

// Server is a running PostgreSQL, or a foreign one that Connect was pointed at.
type Server struct {
	base    url.URL // without a database
	dir     *directory
	process *process
	stop    func() error
}

// Start finds PostgreSQL's programs, starts a server and waits until it takes
// connections. Root is dropped for the server: it runs as the user postgres or
// nobody. Errors say what to install, or carry the end of the server's log.
func Start(ctx context.Context, opts Options) (*Server, error) {
	s, err := start(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("start a private postgres: %w", err)
	}
	return s, nil
}

func start(ctx context.Context, opts Options) (*Server, error) {
	bin, err := findBinaries(ctx)
	if err != nil {
		return nil, err
	}
	sweep()
	dir, err := openDirectory(opts.Dir)
	if err != nil {
		return nil, err
	}
	password, err := dir.initialise(ctx, bin)
	if err != nil {
		return nil, errors.Join(err, dir.close())
	}
	s, err := launch(ctx, bin, dir, password, opts)
	if err != nil {
		return nil, errors.Join(err, dir.close())
	}
	return s, nil
}

// launch starts the server, again on another port where somebody else was
// faster to take the one that was free, and again in a moment where a server that
// was killed has left processes that have not noticed yet.
func launch(ctx context.Context, bin string, dir *directory, password string, opts Options) (*Server, error) {
	const tries = 5
	began := time.Now()
	for try := 1; ; try++ {
		s, log, err := launchOnce(ctx, bin, dir, password, opts)
		switch {
		case err == nil:
			return s, nil
		case strings.Contains(log, "could not bind") && opts.Port == 0 && try < tries:
		case strings.Contains(log, "pre-existing shared memory block") && time.Since(began) < leftBehind && ctx.Err() == nil:
			time.Sleep(leftBehindPoll)
		case log != "":
			return nil, fmt.Errorf("%w; its log ends:\n%s", err, log)
		default:
			return nil, err
		}
	}
}

// What a server has left that was killed ends by itself, once it notices.
const (
	leftBehind     = 30 * time.Second
	leftBehindPoll = 200 * time.Millisecond
)

// launchOnce gives the end of the log of a server that was started and does not
// serve.
func launchOnce(ctx context.Context, bin string, dir *directory, password string, opts Options) (s *Server, log string, err error) {
	port, err := choosePort(opts.Port)
	if err != nil {
		return nil, "", err
	}
	s = &Server{dir: dir, base: url.URL{
		Scheme: "postgres", User: url.UserPassword(superuser, password),
		Host: "127.0.0.1:" + strconv.Itoa(port), RawQuery: "sslmode=disable",
	}}
	s.stop = sync.OnceValue(s.shutdown)
	if s.process, err = dir.run(bin, settings(dir, port, opts)); err != nil {
		return nil, "", err
	}
	if err = s.ready(ctx); err == nil {
		return s, "", nil
	}
	log = dir.logTail()
	if stopErr := s.process.end(); stopErr != nil {
		return nil, "", errors.Join(err, stopErr)
	}
	return nil, log, err
}

// Connect makes a Server of one that somebody else runs, by the URL of a role
// that may create databases. Its Stop does nothing.
func Connect(rawURL string) (*Server, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, errors.New("connect to postgres: not a URL such as postgres://user:password@host:5432/") // the URL may hold a password
	}
	return &Server{base: *u, stop: func() error { return nil }}, nil
}

// URL gives the connection URL of a database of this server, with the password
// in it. "" is the database postgres, which is always there.
func (s *Server) URL(database string) string {
	if database == "" {
		database = "postgres"
	}
	u := s.base
	u.Path = "/" + database
	return u.String()
}

// Dir is the server's directory; "" for a foreign server. Its log is the file
// postgres.log in it.
func (s *Server) Dir() string {
	if s.dir == nil {
		return ""
	}
	return s.dir.path
}

// PID is the process id of the server; 0 for a foreign one.
func (s *Server) PID() int {
	if s.process == nil {
		return 0
	}
	return s.process.cmd.Process.Pid
}

// Exited is closed when the server has ended, whether asked to or not. It is
// nil for a foreign server.
func (s *Server) Exited() <-chan struct{} {
	if s.process == nil {
		return nil
	}
	return s.process.exited
}

// Stop ends the server: open connections are broken off, no one is waited for.
// A temporary directory is gone when it returns. Further calls return the same.
func (s *Server) Stop() error { return s.stop() }

func (s *Server) shutdown() error {
	if err := errors.Join(s.process.end(), s.dir.close()); err != nil {
		return fmt.Errorf("stop the private postgres: %w", err)
	}
	return nil
}

func newPassword() string {
	b := make([]byte, 24)
	_, _ = rand.Read(b) // never fails: it crashes the program instead
	return hex.EncodeToString(b)
}

// settings are the server's -c options. It listens on the loopback address
// alone and has no socket file, whose path would have to be shorter than many a
// temporary directory's.
func settings(dir *directory, port int, opts Options) []string {
	set := map[string]string{
		"listen_addresses":           "127.0.0.1",
		"port":                       strconv.Itoa(port),
		"unix_socket_directories":    "",
		"max_connections":            "200",
		"shared_buffers":             "128MB",
		"dynamic_shared_memory_type": "mmap", // files in its directory: nothing in /dev/shm to leave behind, or to be short of in a container
		"timezone":                   "UTC",
		"log_timezone":               "UTC",
		"hba_file":                   filepath.Join(dir.data(), "pg_hba.conf"),
	}
	if dir.temporary {
		for _, name := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
			set[name] = "off"
		}
		set["max_wal_size"] = "2GB"
	}
	if opts.MaxConnections > 0 {
		set["max_connections"] = strconv.Itoa(opts.MaxConnections)
	}
	for name, value := range opts.Settings {
		set[name] = value
	}
	args := make([]string, 0, 2*len(set))
	for name, value := range set {
		args = append(args, "-c", name+"="+value)
	}
	return args
}

// executable tells whether path is a file that may be run.
func executable(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0
}
