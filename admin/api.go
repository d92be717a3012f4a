package admin

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// base is where the API begins.
const base = "/api/v1"

// largestBody is more than any request needs.
const largestBody = 64 << 10

// routes is all that is answered.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", alive)
	mux.HandleFunc("GET /readyz", s.ready)
	if s.opts.Metrics != nil {
		mux.Handle("GET /metrics", s.opts.Metrics)
	}
	for _, p := range s.opts.Pushes {
		mux.Handle(p.Path, p.Handler)
	}
	api := humago.New(mux, s.apiConfig())
	s.statusRoutes(api)
	s.workspaceRoutes(api)
	s.trafficRoutes(api)
	s.driftRoutes(api)
	s.evidenceRoutes(api)
	s.eventRoutes(api)
	s.streamRoute(api)
	s.pauseRoutes(api)
	s.suppressionRoutes(api)
	s.actionRoutes(api)
	finish(api.OpenAPI())
	return withProblems(mux)
}

func (s *Server) apiConfig() huma.Config {
	c := huma.DefaultConfig("reconciler", or(s.opts.Version, "unknown"))
	c.Info.Description = "Which workspaces' LLM calls are billed to the wrong party, why, and what holds the reconciler back. " +
		"Errors are problem documents (RFC 9457). A change that carries an Idempotency-Key happens once, however often it is sent."
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = base+"/openapi", "", ""
	c.CreateHooks = nil // they would put a $schema into every answer
	c.RejectUnknownQueryParameters = true
	c.Transformers = append(c.Transformers, withoutValues)
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer": {Type: "http", Scheme: "bearer", Description: "A token of admin.tokens. Without any the listener is on loopback and asks for none."},
	}
	return c
}

// read registers an operation that changes nothing.
func read[I, O any](api huma.API, path, id, summary string, handler func(context.Context, *I) (*O, error)) {
	huma.Register(api, operation(http.MethodGet, path, id, summary), handler)
}

// change registers an operation that changes something.
func change[I, O any](api huma.API, method, path, id, summary string, handler func(context.Context, *I) (*O, error)) {
	op := operation(method, path, id, summary)
	op.Errors = append(op.Errors, http.StatusRequestEntityTooLarge)
	huma.Register(api, op, handler)
}

func operation(method, path, id, summary string) huma.Operation {
	need := needed(&http.Request{Method: method, URL: pathURL(base + path)})
	return huma.Operation{
		OperationID: id, Method: method, Path: base + path, Summary: summary, Description: "Needs the role " + string(need) + ".",
		MaxBodyBytes: largestBody, Security: []map[string][]string{{"bearer": {}}},
		Errors: []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusTooManyRequests, http.StatusServiceUnavailable},
	}
}

// body is an answer.
type body[T any] struct{ Body T }

func answerWith[T any](v T) *body[T] { return &body[T]{v} }
