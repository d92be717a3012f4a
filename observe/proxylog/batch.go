package proxylog

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// Batch is what was read of an input, and where the input stands after it. Both
// are written together or not at all, which is why no call is lost and none
// counted twice, whenever the reader or its database dies.
type Batch struct {
	Input string // its name
	// ID lets a batch that is sent again be recognised, where the input has no
	// position: a push, an object. "": it is not recognised.
	ID    string
	Tally *Tally
	Moves []Move
	Read  time.Time // when the newest of its lines arrived here
}

// Move is an input's position that a batch moves.
type Move struct {
	Key    string          // within the input: a file, a partition
	From   int64           // where it must stand; NoPosition: there must be none
	To     int64           // NoPosition: it is not needed any more
	Detail json.RawMessage // what the input remembers beside it; nil: nothing
}

// NoPosition is the offset of a position that is not there.
const NoPosition = -1

// Position is how far an input was read.
type Position struct {
	Key    string
	Offset int64
	Detail json.RawMessage
}

// Counter counts batches for good. Safe for concurrent use.
type Counter interface {
	// Positions gives those of an input whose keys begin with prefix, by key.
	Positions(ctx context.Context, input, prefix string) ([]Position, error)
	// Count returns when the batch is written. After ErrMoved nothing was
	// written, and the positions are to be read again; after ErrCounted nothing
	// needs to be; after ErrBusy nothing was, and it can be tried again in a
	// moment. After any other error it is not known (the connection may have
	// broken at the commit): the positions tell, and a batch with an ID may be
	// given again.
	Count(ctx context.Context, b *Batch) error
	// State tells how the input is: nil, it is being read (though nothing may
	// come); an error, why it is not. It is told at every change and every now
	// and then besides, twice a minute at least.
	State(ctx context.Context, input string, err error) error
}

// What Counter.Count refuses.
var (
	ErrMoved   = errors.New("the input's position has moved: somebody else has counted these lines")
	ErrCounted = errors.New("the batch was counted before")
	ErrBusy    = errors.New("too much is waiting to be counted")
)
