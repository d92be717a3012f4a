package proxylog

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"net/netip"
)

// Proxies are the networks whose X-Forwarded-For is believed. Nil believes none.
type Proxies []netip.Prefix

// ParseProxies reads CIDRs and single addresses.
func ParseProxies(cidrs []string) (Proxies, error) {
	var out Proxies
	for _, s := range cidrs {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, addrErr := netip.ParseAddr(s)
			if addrErr != nil {
				return nil, fmt.Errorf("trusted proxy %q: want a CIDR such as 10.0.0.0/8, or an address", s)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		out = append(out, unmapPrefix(p))
	}
	return out, nil
}

// unmapPrefix turns an IPv4-mapped prefix into the IPv4 one it means.
func unmapPrefix(p netip.Prefix) netip.Prefix {
	const mappedBits = 96
	if p.Addr().Is4In6() && p.Bits() >= mappedBits {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mappedBits).Masked()
	}
	return p.Masked()
}

// Trust tells whether a is the address of a trusted proxy.
func (p Proxies) Trust(a netip.Addr) bool {
	for _, prefix := range p {
		if prefix.Contains(a) {
			return true
		}
	}
	return false
}

// Client is the rightmost untrusted address of the way that a call came:
// forwarded is X-Forwarded-For (each proxy appends the address it was called
// from), peer who called the proxy that wrote the line. Anybody can write
// anything into the left of that header, so what is not an address ends the
// search at the last address that a trusted proxy vouched for.
func (p Proxies) Client(peer netip.Addr, forwarded []byte) netip.Addr {
	client := peer
	for len(forwarded) > 0 && p.Trust(client) {
		comma := bytes.LastIndexByte(forwarded, ',')
		addr, ok := parseAddr(trimValue(forwarded[comma+1:]))
		if !ok {
			break
		}
		client = addr
		forwarded = forwarded[:max(comma, 0)]
	}
	return client
}

// trimValue takes blanks and one pair of quotes off.
func trimValue(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	if len(b) >= 2 && b[0] == '"' && b[len(b)-1] == '"' {
		b = b[1 : len(b)-1]
	}
	return b
}

// parseAddr reads an address with or without a port: 192.0.2.1, 192.0.2.1:80,
// 2001:db8::1, [2001:db8::1], [2001:db8::1]:80. The result is unmapped and has
// no zone.
func parseAddr(b []byte) (netip.Addr, bool) {
	if a, n := leadingIPv4(b); n > 0 && (n == len(b) || isPort(b[n:])) {
		return a, true
	}
	return parseAddr6(b)
}

func parseAddr6(b []byte) (netip.Addr, bool) {
	if len(b) > 2 && b[0] == '[' {
		end := bytes.IndexByte(b, ']')
		if end < 0 || (end+1 < len(b) && !isPort(b[end+1:])) {
			return netip.Addr{}, false
		}
		b = b[1:end]
	}
	const longest = 64 // an address with a zone; what is longer is none
	if len(b) > longest || bytes.IndexByte(b, ':') < 0 {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(string(b))
	if err != nil {
		return netip.Addr{}, false
	}
	return a.WithZone("").Unmap(), true
}

// isPort tells whether b is a colon and a port's number.
func isPort(b []byte) bool {
	if len(b) < 2 || b[0] != ':' {
		return false
	}
	port, ok := digits(b[1:])
	return ok && port <= math.MaxUint16
}

// leadingIPv4 reads the IPv4 address that b begins with, and its length; 0:
// it begins with none. Leading zeros are refused, as netip does: some read
// them as octal.
func leadingIPv4(b []byte) (netip.Addr, int) {
	if len(b) >= 16 {
		if quad, n := quads(b); n > 0 {
			return netip.AddrFrom4(quad), n
		}
	}
	return leadingIPv4Slowly(b)
}

// quads is leadingIPv4 of what has something behind the address, without a
// branch for each digit: the first four bytes that are no digits end the four
// numbers (where notDigits errs, something before was no dot). 0: look again.
func quads(b []byte) (quad [4]byte, n int) {
	ends := eighths(notDigits(binary.LittleEndian.Uint64(b))) | eighths(notDigits(binary.LittleEndian.Uint64(b[8:])))<<8
	start, bad := 0, uint32(0)
	for part := range quad {
		end := bits.TrailingZeros32(ends | 1<<16)
		ends &= ends - 1
		size := uint32(end - start) // #nosec G115 -- at most 16
		if size-1 > 2 || start > 12 {
			return quad, 0
		}
		// The digits go to the upper end of the word, so that the last is the
		// units' whatever their number.
		w := (binary.LittleEndian.Uint32(b[start:]) & 0x0f0f0f0f) << (32 - 8*size)
		value := w>>8&0xf*100 + w>>16&0xf*10 + w>>24
		if part < 3 {
			bad |= uint32(b[end] ^ '.')
		}
		if size > 1 && b[start] == '0' {
			bad = 1
		}
		bad |= value >> 8
		quad[part] = byte(value) // #nosec G115 -- else bad
		start = end + 1
	}
	if bad != 0 {
		return quad, 0
	}
	return quad, start - 1
}

func leadingIPv4Slowly(b []byte) (netip.Addr, int) {
	var quad [4]byte
	i := 0
	for part := range quad {
		if part > 0 {
			if i >= len(b) || b[i] != '.' {
				return netip.Addr{}, 0
			}
			i++
		}
		start, n := i, 0
		for i < len(b) && i-start < 3 && b[i]-'0' <= 9 {
			n = n*10 + int(b[i]-'0')
			i++
		}
		if i == start || n > 255 || (b[start] == '0' && i > start+1) {
			return netip.Addr{}, 0
		}
		quad[part] = byte(n) // #nosec G115 -- at most 255
	}
	return netip.AddrFrom4(quad), i
}

// digits reads a whole number of at most 18 digits and nothing else.
func digits(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
