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
// /<tenant>: the read endpoint, with the platform's own answers to a missing
// organisation, a wrong one, a wrong token and too many requests.
type PlatformAPI struct {
	Token     drift.Secret
	PerMinute int // one bucket a tenant; default 600
	// Mode answers for a workspace of a tenant; ok is false for an unknown id,
	// which the platform answers with its default.
	Mode func(tenant, id string) (path drift.Path, override string, ok bool)

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
	want := []byte("Bearer " + p.Token.Reveal())
	org := r.Header.Get("X-Molecule-Org-Id")
	switch {
	case org == "":
		reply(w, http.StatusBadRequest, map[string]string{"code": "TENANT_ORG_HEADER_REQUIRED"})
	case org != OrgOf(tenant):
		w.WriteHeader(http.StatusNotFound) // empty on purpose: the platform does so
	case subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) != 1:
		reply(w, http.StatusUnauthorized, map[string]string{"error": "unauthorized"})
	case !p.admit(w, tenant):
		reply(w, http.StatusTooManyRequests, map[string]string{"error": "rate limited"})
	default:
		p.route(w, r, tenant, route)
	}
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
