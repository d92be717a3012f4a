package admin

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// failures counts the wrong tokens that addresses present. An address that has
// used up its minute's worth is not even compared any more: otherwise the right
// guess would still get through.
type failures struct {
	mu        sync.Mutex
	perMinute float64
	of        map[netip.Prefix]bucket
}

// bucket holds how many wrong tokens an address may still present.
type bucket struct {
	left float64
	at   time.Time
}

// mostAddresses bounds the memory that strangers can take: 10,000 of about 100
// bytes.
const mostAddresses = 10_000

func newFailures(perMinute int) *failures {
	return &failures{perMinute: float64(perMinute), of: map[netip.Prefix]bucket{}}
}

// wait tells how long an address has to wait before it may try; 0: not at all.
func (f *failures) wait(remote string, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.refilled(clientOf(remote), now)
	if b.left >= 1 {
		return 0
	}
	return time.Duration((1 - b.left) / f.perMinute * float64(time.Minute))
}

// count notes a wrong token.
func (f *failures) count(remote string, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	client := clientOf(remote)
	b := f.refilled(client, now)
	b.left = max(0, b.left-1)
	if _, known := f.of[client]; !known && len(f.of) >= mostAddresses {
		f.forget(now)
	}
	f.of[client] = b
}

func (f *failures) refilled(client netip.Prefix, now time.Time) bucket {
	b, known := f.of[client]
	if !known {
		return bucket{f.perMinute, now}
	}
	return bucket{min(f.perMinute, b.left+now.Sub(b.at).Minutes()*f.perMinute), now}
}

// forget drops the addresses that have nothing to wait for, and some one where
// that frees nothing.
func (f *failures) forget(now time.Time) {
	for client := range f.of {
		if f.refilled(client, now).left >= f.perMinute {
			delete(f.of, client)
		}
	}
	for client := range f.of {
		if len(f.of) < mostAddresses {
			return
		}
		delete(f.of, client)
	}
}

// clientOf is the address that a request comes from; of IPv6 its /64, which is
// the least that one customer has.
func clientOf(remote string) netip.Prefix {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Prefix{} // all that have none share one
	}
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits) // cannot fail: bits are within bounds
	return p
}
