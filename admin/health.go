package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// Health says what keeps the process from doing its work.
type Health struct {
	Problems []string // each a sentence for people; none: it is ready
}

// readiness is the body of /readyz.
type readiness struct {
	Ready    bool     `json:"ready"`
	Problems []string `json:"problems"`
}

// healthTimeout bounds how long /readyz looks: Kubernetes' probes give up after
// a second unless told otherwise.
const healthTimeout = 900 * time.Millisecond

// alive answers while the process can answer at all.
func alive(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]bool{"alive": true})
}

// ready says whether the process does its work, and what keeps it from it.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	var health Health
	if s.opts.Health != nil {
		ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
		defer cancel()
		health = s.opts.Health(ctx)
	}
	body, status := readiness{Ready: len(health.Problems) == 0, Problems: append([]string{}, health.Problems...)}, http.StatusOK
	if !body.Ready {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, body)
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // whoever is gone needs no answer
}
