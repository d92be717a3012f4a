package fleetsim

import (
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// PlatformAPI is the admin API of every tenant's workspace-server, each below
// /<tenant>: the read endpoint and the restart, with the platform's own answers
// to a missing organisation, a wrong one, a wrong token and too many requests.
type PlatformAPI struct {
	Token     drift.Secret
	PerMinute int // one bucket a tenant; default 600
	// Mode answers for a workspace of a tenant; ok is false for an unknown id,
	// which the platform answers with its default.
	Mode func(tenant, id string) (path drift.Path, override string, ok bool)
	// Restart answers a restart; nil: there is no such route. turned is the answer
	// of the door, nil where it let the call in.
	Restart func(w http.ResponseWriter, r *http.Request, tenant, id string, turned *answer)

	mu      sync.Mutex
	buckets map[string]*bucket
}

type bucket struct {
	used  int
	until time.Time
}

// ServeHTTP implements http.Handler.
func (p *PlatformAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	tenant, route, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	turned := p.door(w, r, tenant)
	id, restart := restartOf(r.Method, route)
	switch {
	case restart && p.Restart != nil:
		p.Restart(w, r, tenant, id, turned)
	case turned != nil:
		turned.give(w)
	default:
		p.route(w, r, tenant, route)
	}
}

// door tells why a call is turned away; nil: it is not.
func (p *PlatformAPI) door(w http.ResponseWriter, r *http.Request, tenant string) *answer {
	want := []byte("Bearer " + p.Token.Reveal())
	org := r.Header.Get("X-Molecule-Org-Id")
	switch {
	case org == "":
		return &answer{http.StatusBadRequest, map[string]string{"code": "TENANT_ORG_HEADER_REQUIRED"}}
	case org != OrgOf(tenant):
		return &answer{http.StatusNotFound, nil} // empty on purpose: the platform does so
	case subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) != 1:
		return &answer{http.StatusUnauthorized, fault("unauthorized")}
	case !p.admit(w, tenant):
		return &answer{http.StatusTooManyRequests, fault("rate limited")}
	}
	return nil
}

// answer is what the platform says; without words the body is empty, and with
// status 0 there is no answer at all.
type answer struct {
	status int
	words  map[string]string
}

func fault(words string) map[string]string { return map[string]string{"error": words} }

func (a *answer) give(w http.ResponseWriter) {
	if a.words == nil {
		w.WriteHeader(a.status)
		return
	}
	reply(w, a.status, a.words)
}

// word is the answer in a word or two.
func (a *answer) word() string {
	for _, key := range []string{"status", "error", "code"} {
		if a.words[key] != "" {
			return a.words[key]
		}
	}
	return "unreadable"
}

// OrgOf is the organisation id that a tenant's API demands.
func OrgOf(tenant string) string { return "org-" + tenant }

func (p *PlatformAPI) route(w http.ResponseWriter, r *http.Request, tenant, route string) {
	parts := strings.Split(route, "/")
	if r.Method != http.MethodGet || len(parts) != 4 || parts[0] != "admin" || parts[1] != "workspaces" || parts[3] != "llm-billing-mode" {
		http.Error(w, "404 page not found", http.StatusNotFound)
		return
	}
	path, override, ok := p.Mode(tenant, parts[2])
	if !ok {
		path = drift.Path{Mode: drift.ModePlatformManaged, Source: drift.FromDefault}
	}
	selection := path.Provider
	if path.Source != drift.FromProvider {
		selection = path.Model
	}
	reply(w, http.StatusOK, map[string]any{"workspace_id": parts[2], "resolved_mode": path.Mode, "source": path.Source,
		"workspace_override": orNull(override), "provider_selection": orNull(selection)})
}

func (p *PlatformAPI) admit(w http.ResponseWriter, tenant string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	limit := p.PerMinute
	if limit == 0 {
		limit = 600
	}
	if p.buckets == nil {
		p.buckets = map[string]*bucket{}
	}
	b := p.buckets[tenant]
	if b == nil || time.Now().After(b.until) {
		b = &bucket{until: time.Now().Add(time.Minute)}
		p.buckets[tenant] = b
	}
	b.used++
	reset := strconv.Itoa(1 + int(time.Until(b.until).Seconds()))
	w.Header().Set("X-Ratelimit-Limit", strconv.Itoa(limit))
	w.Header().Set("X-Ratelimit-Remaining", strconv.Itoa(max(0, limit-b.used)))
	w.Header().Set("X-Ratelimit-Reset", reset)
	if b.used > limit {
		w.Header().Set("Retry-After", reset)
		return false
	}
	return true
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}
