package localpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	embedded "github.com/fergusstrange/embedded-postgres"
)

// ErrNoPostgres says that PostgreSQL is neither installed nor can be fetched.
var ErrNoPostgres = errors.New("PostgreSQL is not installed: apt-get install postgresql, or brew install postgresql, or put its bin directory into PATH")

// places are directories of PostgreSQL's programs that are commonly not in
// PATH: of Debian, Red Hat, Homebrew (Intel, Apple, Linux) and Postgres.app.
var places = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/opt/homebrew/opt/postgresql*/bin",
	"/usr/local/opt/postgresql*/bin",
	"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
}

var findOnce struct {
	sync.Mutex
	bin string
}

// findBinaries gives the directory with initdb and postgres, downloading them
// as the last resort. What was found is remembered; a failure is not.
func findBinaries(ctx context.Context) (string, error) {
	findOnce.Lock()
	defer findOnce.Unlock()
	if findOnce.bin == "" {
		bin := installed(ctx)
		if bin == "" {
			var err error
			if bin, err = download(); err != nil {
				return "", err
			}
		}
		findOnce.bin = bin
	}
	return findOnce.bin, nil
}

func installed(ctx context.Context) string {
	var candidates []string
	if p, err := exec.LookPath("postgres"); err == nil {
		if p, err = filepath.EvalSymlinks(p); err == nil {
			candidates = append(candidates, filepath.Dir(p))
		}
	}
	if out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		candidates = append(candidates, strings.TrimSpace(string(out)))
	}
	for _, pattern := range places {
		found, _ := filepath.Glob(pattern) // fails on a bad pattern only
		slices.SortFunc(found, newestFirst)
		candidates = append(candidates, found...)
	}
	if i := slices.IndexFunc(candidates, hasServer); i >= 0 {
		return candidates[i]
	}
	return ""
}

func hasServer(bin string) bool {
	return executable(filepath.Join(bin, "postgres")) && executable(filepath.Join(bin, "initdb"))
}

var number = regexp.MustCompile(`\d+`)

// newestFirst orders paths by the first number in them, so that 15 comes
// before 9.6 and a path without a number ("latest") comes first.
func newestFirst(a, b string) int { return version(b) - version(a) }

func version(path string) int {
	n, err := strconv.Atoi(number.FindString(path))
	if err != nil {
		return 1 << 20
	}
	return n
}

// downloadVersion is the newest that fergusstrange/embedded-postgres names.
const downloadVersion = embedded.V17

// download fetches PostgreSQL's programs from Maven Central into the user's
// cache, once. Not for root: what is fetched there could not be run as another
// user, and root can install a package.
func download() (string, error) {
	cache, err := os.UserCacheDir()
	if os.Geteuid() == 0 || err != nil {
		return "", ErrNoPostgres
	}
	home := filepath.Join(cache, "billing-reconciler", "postgresql-"+string(downloadVersion))
	bin := filepath.Join(home, "bin")
	if hasServer(bin) {
		return bin, nil
	}
	if err := fetch(home); err != nil {
		return "", fmt.Errorf("%w (the download of it: %w)", ErrNoPostgres, err)
	}
	return bin, nil
}

// fetch lets embedded-postgres download, unpack and try the programs beside
// home, and moves them there when they are whole.
func fetch(home string) error {
	if err := os.MkdirAll(filepath.Dir(home), 0o750); err != nil {
		return err
	}
	partial, err := os.MkdirTemp(filepath.Dir(home), "partial-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(partial) }()
	port, err := choosePort(0)
	if err != nil {
		return err
	}
	unpacked := filepath.Join(partial, "postgresql")
	pg := embedded.NewDatabase(embedded.DefaultConfig().
		Version(downloadVersion).
		Port(uint32(port)). // #nosec G115 -- a port
		CachePath(filepath.Join(partial, "archive")).
		BinariesPath(unpacked).
		RuntimePath(filepath.Join(partial, "run")).
		Logger(nil))
	if err := pg.Start(); err != nil {
		return err
	}
	if err := pg.Stop(); err != nil {
		return err
	}
	if err := os.Rename(unpacked, home); err != nil && !hasServer(filepath.Join(home, "bin")) {
		return err // unless another process was faster
	}
	return nil
}
