package admin

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/molecule-ai/billing-reconciler/store"
)

// writeProblem answers with a problem document (RFC 9457), the same that the API
// answers its own errors with.
func writeProblem(w http.ResponseWriter, status int, detail string, header http.Header) {
	maps.Copy(w.Header(), header)
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(huma.ErrorModel{Title: http.StatusText(status), Status: status, Detail: detail}) // whoever is gone needs no answer
}

// withProblems makes problem documents of what the mux itself says: that there
// is no such path, or that it does not take the method.
func withProblems(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		said := verdictOf(h, r)
		switch said.status {
		case http.StatusNotFound:
			writeProblem(w, said.status, "there is nothing at this path; /api/v1/openapi.json lists what there is", nil)
		case http.StatusMethodNotAllowed:
			allow := said.header.Get("Allow")
			writeProblem(w, said.status, "this path takes "+allow, http.Header{"Allow": {allow}})
		default:
			h.ServeHTTP(w, r)
		}
	})
}

// silent takes an answer's status and header, and drops its body.
type silent struct {
	header http.Header
	status int
}

func verdictOf(h http.Handler, r *http.Request) *silent {
	s := &silent{header: http.Header{}, status: http.StatusOK}
	h.ServeHTTP(s, r)
	return s
}

func (s *silent) Header() http.Header         { return s.header }
func (s *silent) Write(p []byte) (int, error) { return len(p), nil }
func (s *silent) WriteHeader(status int)      { s.status = status }

// withoutValues drops what was sent from what is said of it: a token that was
// put in the wrong place must not come back, and be kept by whoever logs answers.
func withoutValues(_ huma.Context, _ string, body any) (any, error) {
	if problem, ok := body.(*huma.ErrorModel); ok {
		for _, e := range problem.Errors {
			e.Value = nil
		}
		if problem.Detail == "validation failed" {
			problem.Detail = "the request is not as it should be: " + listed(problem.Errors)
		}
	}
	return body, nil
}

// listed says in one line what is wrong with a request.
func listed(errs []*huma.ErrorDetail) string {
	var words []string
	for _, e := range errs {
		words = append(words, strings.TrimPrefix(e.Location+": "+e.Message, ": "))
	}
	return strings.Join(words, "; ")
}

// unpaged is failed for a page that was asked for by a cursor: one that is not
// ours is not repeated.
func (s *Server) unpaged(ctx context.Context, operation string, err error) error {
	if errors.Is(err, store.ErrInvalid) {
		return invalid("query.cursor", "is none that was given out; begin without one")
	}
	return s.failed(ctx, operation, err)
}

// failed turns an error of an operation into the problem that its caller reads.
// What broke in here is told to the log alone.
func (s *Server) failed(ctx context.Context, operation string, err error) error {
	var said huma.StatusError
	switch {
	case errors.As(err, &said):
		return err
	case errors.Is(err, store.ErrKeyReused):
		return huma.Error422UnprocessableEntity("this Idempotency-Key was used for another request; draw a new one for each change")
	case errors.Is(err, store.ErrNotFound):
		return huma.Error404NotFound(err.Error())
	case errors.Is(err, store.ErrNoSurge):
		return huma.Error409Conflict(err.Error())
	case errors.Is(err, store.ErrInvalid):
		return huma.Error422UnprocessableEntity(err.Error())
	case ctx.Err() != nil:
		return huma.Error503ServiceUnavailable("the request was given up before it was done")
	case store.Unreachable(err):
		s.log.WarnContext(ctx, "state database unreachable", "operation", operation, "error", err)
		return huma.ErrorWithHeaders(huma.Error503ServiceUnavailable("the state database cannot be reached; try again in some seconds"),
			http.Header{"Retry-After": {"5"}})
	}
	s.log.ErrorContext(ctx, "http operation failed", "operation", operation, "error", err)
	return huma.Error500InternalServerError(operation + " failed; the log says why")
}
