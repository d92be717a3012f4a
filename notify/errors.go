package notify

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Error is an answer that is no success. It holds no secret: of what the other
// side said, only words that are known.
type Error struct {
	Host   string
	Status int    // of HTTP
	Word   string // of the other side, one of a known few; "": none
	after  time.Duration
}

func (e *Error) Error() string {
	text := fmt.Sprintf("post to %s: %d %s", e.Host, e.Status, http.StatusText(e.Status))
	if e.Word != "" {
		text += " (" + e.Word + ")"
	}
	if e.Status/100 == 3 {
		text += ": a redirect, which is not followed: give the address that it leads to"
	}
	if hint := hints[e.Status]; hint != "" {
		text += ": " + hint
	}
	return text
}

var hints = map[int]string{
	http.StatusUnauthorized: "check the address and the secret",
	http.StatusForbidden:    "check the address and the secret",
	http.StatusNotFound:     "check the address",
	http.StatusGone:         "the address is no longer in use: make a new one",
}

// Refused tells whether the message itself is what the other side does not
// take, so that the next one may be. An address or a secret that is wrong, and
// being in a hurry, say nothing of the message.
func (e *Error) Refused() bool {
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusProxyAuthRequired,
		http.StatusRequestTimeout, http.StatusGone, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return e.Status/100 == 4
}

// RetryAfter is how long the other side asks to be left alone; 0: it does not.
func (e *Error) RetryAfter() time.Duration { return e.after }

// retryAfter reads the header: seconds, or a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
