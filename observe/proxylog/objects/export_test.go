package objects

import "time"

// Hasten makes reports, polls and pauses as fast as tests want them.
func (r *Reader) Hasten() *Reader {
	r.timing = timing{state: 20 * time.Millisecond, retry: time.Millisecond, poll: time.Second}
	return r
}
