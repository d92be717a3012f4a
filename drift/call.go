package drift

import "time"

// CallResult says how a call to reprovision a workspace ended, as far as is known.
type CallResult string

// The results. All but accepted and uncertain are certain: nothing was done.
const (
	CallAccepted    CallResult = "accepted"    // the platform has begun
	CallNoop        CallResult = "noop"        // nothing to restart
	CallNotFound    CallResult = "not_found"   // unknown or removed
	CallConflict    CallResult = "conflict"    // an ancestor is paused
	CallUnavailable CallResult = "unavailable" // no provisioner, or its database is down (503): nothing was done
	CallThrottled   CallResult = "throttled"   // 429: nothing was done
	CallRefused     CallResult = "refused"     // token, organisation, malformed, redirect: nothing was done, and asking again does not help
	CallUncertain   CallResult = "uncertain"   // it may have been done: observing alone tells
)

// CallResults lists every result, in the order of the constants: label values
// of a metric, and what a stored call may say.
var CallResults = []CallResult{
	CallAccepted, CallNoop, CallNotFound, CallConflict, CallUnavailable, CallThrottled, CallRefused, CallUncertain,
}

// Call is one call to reprovision a workspace, ended. The zero value is an
// uncertain one: a call of which nothing was recorded may have been made.
type Call struct {
	Result     CallResult    `json:"result"`
	Words      string        `json:"words"`       // for people; never a secret
	RetryAfter time.Duration `json:"retry_after"` // nanoseconds in JSON; how long the platform asked to be left alone, 0 where it did not say
}

// MayHaveActed tells whether the platform may have begun to stop the old
// instance. It is true unless the result is one of those known to have done
// nothing: a word that a later version wrote counts as uncertain too.
func (c Call) MayHaveActed() bool {
	switch c.Result {
	case CallNoop, CallNotFound, CallConflict, CallUnavailable, CallThrottled, CallRefused:
		return false
	case CallAccepted, CallUncertain:
	}
	return true
}
