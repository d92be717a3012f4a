package receive

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

// fault is why a push is not counted, as its sender is told. The status decides
// what senders do: 429 and 503 are sent again, 400, 413 and 415 are not.
type fault struct {
	status int
	detail string
	retry  time.Duration // when to come again; 0: never as it is
}

func (f *fault) Error() string { return f.detail }

func garbage(format string, args ...any) *fault {
	return &fault{status: http.StatusBadRequest, detail: fmt.Sprintf(format, args...)}
}

func tooLarge(format string, args ...any) *fault {
	return &fault{status: http.StatusRequestEntityTooLarge, detail: fmt.Sprintf(format, args...)}
}

func wrongType(format string, args ...any) *fault {
	return &fault{status: http.StatusUnsupportedMediaType, detail: fmt.Sprintf(format, args...)}
}

func busy(why string) *fault {
	return &fault{status: http.StatusTooManyRequests, detail: why + "; send it again in a moment", retry: time.Second}
}

// faultOf is what a sender is told of an error. What is no fault already comes
// from reading the body: it is broken, too long, or too slow.
func faultOf(err error) *fault {
	var f *fault
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &long):
		return tooLarge("the body is longer than %d bytes; send fewer lines at once", long.Limit)
	case isTimeout(err):
		return &fault{status: http.StatusServiceUnavailable, detail: "the body came too slowly; send it again, or fewer lines at once", retry: time.Second}
	}
	return garbage("read the body: %v", err)
}

// seconds is a Retry-After.
func seconds(d time.Duration) string { return strconv.Itoa(int(math.Ceil(d.Seconds()))) }

// isTimeout tells whether a connection's time was up.
func isTimeout(err error) bool {
	var slow net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &slow) && slow.Timeout()
}
