package admin

import (
	"time"
)

// SetPatience shortens how long a server waits for a slow reader.
func (s *Server) SetPatience(d time.Duration) { s.patience = d }

// SetKept shortens how many events are in memory for streams.
func (s *Server) SetKept(events int) { s.streams.kept = events }

// Failures counts wrong tokens, as a Server does.
type Failures = failures

// NewFailures makes a counter.
func NewFailures(perMinute int) *Failures { return newFailures(perMinute) }

// Wait tells how long an address has to wait.
func (f *failures) Wait(remote string, now time.Time) time.Duration { return f.wait(remote, now) }

// Count notes a wrong token.
func (f *failures) Count(remote string, now time.Time) { f.count(remote, now) }

// Size is how many addresses are remembered.
func (f *failures) Size() int { return len(f.of) }

// MostAddresses bounds Size.
const MostAddresses = mostAddresses
