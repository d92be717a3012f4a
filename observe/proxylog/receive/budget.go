package receive

import "sync/atomic"

// budget bounds the memory of all pushes together.
type budget struct {
	total int64
	most  int64 // that one push may take
	used  atomic.Int64
}

// lease is one push's part of a budget. Not for concurrent use.
type lease struct {
	of  *budget
	own int64
}

// take takes n bytes more, before they are allocated. A push that is the only
// one is let past the total, since otherwise one that is larger than the total
// could never be taken.
func (l *lease) take(n int64) error {
	used := l.of.used.Add(n)
	l.own += n
	if l.own > l.of.most {
		l.give(n)
		return tooLarge("the body takes more than %d bytes in memory; send fewer lines at once", l.of.most)
	}
	if used > l.of.total && used > l.own {
		l.give(n)
		return busy("too much is being worked on")
	}
	return nil
}

// give returns n bytes.
func (l *lease) give(n int64) {
	l.of.used.Add(-n)
	l.own -= n
}

// free returns all.
func (l *lease) free() { l.give(l.own) }
