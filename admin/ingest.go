package admin

import (
	"fmt"
	"net/http"
	"path"
	"strings"
)

// Push is a place where log lines are pushed to. Its handler answers every
// method, in the words of its protocol, and bounds what it reads.
type Push struct {
	Path    string
	Handler http.Handler
}

// usual are the paths where log lines are pushed to, whether anything listens
// there or not: who comes with a token of the role ingest is told that there is
// nothing, and nobody else gets as far.
var usual = []string{"/ingest", "/loki/api/v1/push", "/v1/logs"}

// firehoseKey is where Amazon Data Firehose has its token.
const firehoseKey = "X-Amz-Firehose-Access-Key"

// needed is the role that a request takes, pushes included.
func (s *Server) needed(r *http.Request) Role {
	for _, p := range s.opts.Pushes {
		if below(r.URL.Path, p.Path) {
			return Ingest
		}
	}
	for _, p := range usual {
		if below(r.URL.Path, p) {
			return Ingest
		}
	}
	return needed(r)
}

// below tells whether a path is another, or one under it.
func below(p, other string) bool {
	rest, ok := strings.CutPrefix(p, other)
	return ok && (rest == "" || rest[0] == '/')
}

// checkPushes refuses paths that are somebody else's: what is there already
// would take another role from then on.
func checkPushes(pushes []Push) error {
	seen := map[string]bool{}
	for _, p := range pushes {
		switch {
		case p.Handler == nil:
			return fmt.Errorf("admin: nothing takes what is pushed to %s", p.Path)
		case len(p.Path) < 2 || p.Path[0] != '/' || path.Clean(p.Path) != p.Path || strings.ContainsAny(p.Path, "{}?#% "):
			return fmt.Errorf("admin: lines cannot be pushed to %q: give a plain path, such as /ingest", p.Path)
		case seen[p.Path]:
			return fmt.Errorf("admin: lines are pushed to %s twice: give each its own path", p.Path)
		}
		for _, ours := range []string{base, "/metrics", "/healthz", "/readyz"} {
			if below(p.Path, ours) || below(ours, p.Path) {
				return fmt.Errorf("admin: lines cannot be pushed to %s, where %s is; choose another path, such as /ingest", p.Path, ours)
			}
		}
		seen[p.Path] = true
	}
	return nil
}
