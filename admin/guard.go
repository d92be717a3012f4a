package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"
)

// call is what is learnt of a request while it is answered.
type call struct {
	who Principal // zero: nobody was let in
}

type callKey struct{}

// principal is who sent the request of a context.
func principal(ctx context.Context) Principal {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c.who
	}
	return Principal{}
}

// refusal is why a request is not answered.
type refusal struct {
	status int
	detail string
	header http.Header
}

func refuse(status int, detail string) *refusal {
	return &refusal{status: status, detail: detail, header: http.Header{}}
}

// guarded lets in who may, and nobody else.
func (s *Server) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if open(r) {
			next.ServeHTTP(w, r)
			return
		}
		who, no := s.admit(r)
		if c, ok := r.Context().Value(callKey{}).(*call); ok {
			c.who = who
		}
		if no != nil {
			writeProblem(w, no.status, no.detail, no.header)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// admit says who sends a request, and why it is refused.
func (s *Server) admit(r *http.Request) (Principal, *refusal) {
	if err := s.origins.Check(r); err != nil {
		return Principal{}, refuse(http.StatusForbidden, "a page of another origin sent this request; changes are taken from this one and from programs")
	}
	keys := s.keys.Load()
	if keys.empty() {
		return s.admitLocal(r)
	}
	who, no := s.admitToken(keys, r)
	if no != nil {
		return who, no
	}
	if need := s.needed(r); !who.Role.may(need) {
		return who, refuse(http.StatusForbidden, fmt.Sprintf("the token of %s has the role %s; this needs the role %s", who.Name, who.Role, need))
	}
	return who, nil
}

// admitToken asks for a token. A request without one guesses nothing, so that it
// is told to bring one and does not count as a failure.
func (s *Server) admitToken(keys *keyring, r *http.Request) (Principal, *refusal) {
	token := bearer(r)
	if token == "" && s.needed(r) == Ingest {
		token = r.Header.Get(firehoseKey)
	}
	if token == "" {
		return Principal{}, challenge(`Bearer realm="reconciler"`, "no token was given; send Authorization: Bearer TOKEN")
	}
	now := time.Now()
	if wait := s.failures.wait(r.RemoteAddr, now); wait > 0 {
		no := refuse(http.StatusTooManyRequests, "too many wrong tokens came from this address; wait, then come with the right one")
		no.header.Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
		return Principal{}, no
	}
	who, ok := keys.find(token)
	if !ok {
		s.failures.count(r.RemoteAddr, now)
		return Principal{}, challenge(`Bearer realm="reconciler", error="invalid_token"`, "nobody has this token; compare it with admin.tokens of the configuration")
	}
	return who, nil
}

func challenge(how, detail string) *refusal {
	no := refuse(http.StatusUnauthorized, detail)
	no.header.Set("WWW-Authenticate", how)
	return no
}

// answer notes what is written, and passes on the rest of a ResponseWriter by
// Unwrap.
type answer struct {
	http.ResponseWriter
	status int // 0: nothing was written yet
}

func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= http.StatusOK {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// logged writes a line a request. Paths are given as their pattern, so that
// nothing of what a stranger typed gets into the log.
func (s *Server) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun, c := time.Now(), &call{}
		a := &answer{ResponseWriter: w}
		r = r.WithContext(context.WithValue(r.Context(), callKey{}, c))
		defer func() {
			s.log.LogAttrs(r.Context(), s.levelOf(r, a.status), "http request", slog.String("method", method(r)), slog.String("route", r.Pattern),
				slog.Int("status", a.status), slog.Duration("duration", time.Since(begun)), slog.String("principal", c.who.Name), slog.String("address", r.RemoteAddr))
		}()
		next.ServeHTTP(a, r)
	})
}

// method is a request's, where it is one that exists: a stranger may send any
// word.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return r.Method
	}
	return "other"
}

// levelOf keeps what asks every few seconds out of the log.
func (s *Server) levelOf(r *http.Request, status int) slog.Level {
	switch {
	case status >= http.StatusInternalServerError && !open(r):
		return slog.LevelError
	case open(r), status < http.StatusBadRequest && (r.URL.Path == "/metrics" || s.needed(r) == Ingest):
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// recovered turns a panic into an answer, where none was begun, and a line in
// the log.
func (s *Server) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := &answer{ResponseWriter: w}
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(v) // net/http's own way to cut a connection
			}
			s.log.Error("http handler panicked", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			if a.status == 0 {
				writeProblem(a, http.StatusInternalServerError, "something broke in here; the log says what", nil)
			}
		}()
		next.ServeHTTP(a, r)
	})
}
