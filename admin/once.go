package admin

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"github.com/danielgtaylor/huma/v2"

	"github.com/molecule-ai/billing-reconciler/store"
)

// Retryable is the part of a change that makes it safe to send again.
type Retryable struct {
	Key string `header:"Idempotency-Key" minLength:"1" maxLength:"200" doc:"Drawn anew for each change, and sent again with each retry of it: the change then happens once, and the answer is the same. Kept for 24 hours."`

	target string // method and path
}

// Sent is the same of a change that has a body.
type Sent struct {
	Retryable
	RawBody []byte
}

// Resolve implements huma.Resolver: it notes what the request is for.
func (r *Retryable) Resolve(ctx huma.Context) []error {
	u := ctx.URL()
	r.target = ctx.Method() + " " + u.RequestURI()
	return nil
}

// digest tells one request from another under the same key.
func (r *Retryable) digest() [32]byte { return sha256.Sum256([]byte(r.target + "\n")) }

func (r *Sent) digest() [32]byte {
	return sha256.Sum256(append([]byte(r.target+"\n"), r.RawBody...))
}

func (r *Retryable) key() string { return r.Key }

// retry is either of them.
type retry interface {
	key() string
	digest() [32]byte
}

// changed is the answer to a change.
type changed[T any] struct {
	Replayed string `header:"Idempotency-Replayed" doc:"true: this is the answer to an earlier request with the same key; nothing was changed now."`
	Body     T
}

// changes is what people change, in a transaction of its own or in that of an
// Idempotency-Key.
type changes interface {
	Pause(ctx context.Context, p store.Pause) (store.Pause, error)
	Resume(ctx context.Context, scope store.Scope, by, reason string) (bool, error)
	Suppress(ctx context.Context, s store.Suppression) (store.Suppression, error)
	Unsuppress(ctx context.Context, id int64, by string) (bool, error)
	RequestLook(ctx context.Context, l store.Look) (store.Look, error)
	Accept(ctx context.Context, source, by, reason string) error
	Request(ctx context.Context, r store.Request) (*store.Action, error)
	Approve(ctx context.Context, a store.Approval) (store.Approval, error)
	ApproveCause(ctx context.Context, cause, reason, by string) error
}

// once makes a change, and makes it once for each Idempotency-Key. do asks the
// store nothing but by its changes: it holds a connection already, and many that
// wait for a second one would wait for each other. What must be known is looked
// up before, and refused in do, since an answer that is kept needs none of it.
func once[T any](ctx context.Context, s *Server, r retry, operation string, do func(changes) (T, error)) (*changed[T], error) {
	if r.key() == "" {
		v, err := do(s.opts.Store)
		if err != nil {
			return nil, s.failed(ctx, operation, err)
		}
		return &changed[T]{Body: v}, nil
	}
	key := store.OnceKey{Principal: principal(ctx).Name, Key: r.key(), Digest: r.digest()}
	answer, replayed, err := s.opts.Store.Once(ctx, key, func(c *store.Change) (any, error) { return do(c) })
	if err != nil {
		return nil, s.failed(ctx, operation, err)
	}
	out := &changed[T]{}
	if err := json.Unmarshal(answer, &out.Body); err != nil {
		return nil, s.failed(ctx, operation, fmt.Errorf("read the answer kept for an Idempotency-Key: %w", err))
	}
	if replayed {
		out.Replayed = "true"
	}
	return out, nil
}
