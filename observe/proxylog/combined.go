package proxylog

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// combined reads a line of nginx or Apache:
//
//	[vhost ]address ident user [28/May/2026:18:31:54 +0000] "POST /x HTTP/1.1" 200 12[ fields...]
//
// The user is what the client says, and may hold blanks and brackets, but no
// quote: so all is found from the first quote on, and backwards from it.
func (p *Parser) combined(line []byte, h *Hit) Outcome {
	quote := bytes.IndexByte(line, '"')
	if quote < 0 {
		return NotUnderstood
	}
	at, prefix, ok := p.stamp(line[:quote])
	if !ok {
		return NotUnderstood
	}
	end := closingQuote(line, quote+1)
	if end < 0 {
		return NotUnderstood
	}
	status, rest := statusAndSize(line, end+1)
	if rest < 0 {
		return NotUnderstood
	}
	rest, quoted := plainExtras(line, rest)
	more := &p.more
	if more.forwarded = nil; rest < len(line) {
		*more = extras{quoted: quoted}
		if !more.read(line, rest) {
			return NotUnderstood
		}
	}
	op := p.requests.operation(line[quote+1 : end])
	if op == NoOperation {
		return Other
	}
	h.reset(at, op, status)
	h.Peer = peerOf(line, prefix)
	h.Client = h.Peer
	if rest < len(line) {
		h.Forwarded, h.Workspace = more.forwarded, more.workspace
	}
	return Call
}

// stamp reads the time in brackets that head ends with, and what is before it.
func (p *Parser) stamp(head []byte) (at moment, prefix int, ok bool) {
	const framed = clfLen + len(`[] `)
	n := len(head)
	if n < len(`a []`) || head[0] == ' ' || head[n-1] != ' ' || head[n-2] != ']' {
		return moment{}, 0, false
	}
	if n > framed && head[n-framed] == '[' {
		prefix = n - framed
		at.sec, ok = p.clock.common(head[prefix+1 : n-2])
	}
	if !ok {
		prefix = bytes.LastIndexByte(head, '[')
		at, ok = p.clock.parse(head[prefix+1 : n-2])
	}
	return at, prefix, ok && prefix > 0 && head[prefix-1] == ' '
}

// statusAndSize reads ` 200 12` at i, either of which may be "-". It gives
// where the next field begins, or -1. What has a status and a size of at most
// seven digits, with more behind them, is read in two words.
func statusAndSize(line []byte, i int) (status, rest int) {
	if len(line)-i < 16 {
		return statusAndSizeSlowly(line, i)
	}
	const blanks, mask = ' '<<32 | ' ', 0xff<<32 | 0xff
	w := binary.LittleEndian.Uint64(line[i:])
	digits := w>>8&0xffffff ^ 0x303030
	size := notDigits(binary.LittleEndian.Uint64(line[i+5:]))
	next := i + 5 + bits.TrailingZeros64(size)>>3
	if w&mask != blanks || (digits+0x767676|digits)&0x808080 != 0 || next == i+5 || size == 0 || line[next] != ' ' {
		return statusAndSizeSlowly(line, i)
	}
	status = int(digits&0xff*100 + digits>>8&0xff*10 + digits>>16) // #nosec G115 -- three digits
	next++
	if line[next] == ' ' {
		next = skipBlanks(line, next)
	}
	return status, next
}

func statusAndSizeSlowly(line []byte, i int) (status, rest int) {
	if len(line) < i+4 || line[i] != ' ' {
		return 0, -1
	}
	i++
	if line[i] == '-' {
		i++
	} else {
		n, ok := digits(line[i : i+3])
		if !ok {
			return 0, -1
		}
		status = int(n)
		i += 3
	}
	if i+1 >= len(line) || line[i] != ' ' {
		return 0, -1
	}
	i++
	if line[i] == '-' {
		i++
	} else if i = digitsEnd(line, i); i == broken {
		return 0, -1
	}
	if i < len(line) && line[i] != ' ' {
		return 0, -1
	}
	return status, skipBlanks(line, i)
}

// peerOf reads the address at the beginning of a line, or behind a virtual
// host's name; the time begins at prefix.
func peerOf(line []byte, prefix int) netip.Addr {
	if a, n := leadingIPv4(line); n > 0 && n < prefix && line[n] == ' ' {
		return a
	}
	head := line[:prefix]
	first, rest, _ := bytes.Cut(head, []byte(" "))
	second, _, _ := bytes.Cut(rest, []byte(" "))
	a, ok := parseAddr(first)
	if ok && first[len(first)-1] != ']' && !hasPort(first) {
		return a
	}
	// "198.51.100.1:443 192.0.2.7 - - [" has the host first as well.
	if b, second := parseAddr(second); second {
		return b
	}
	return a
}

// hasPort tells whether an address that could be read has a port.
func hasPort(addr []byte) bool {
	colon := bytes.IndexByte(addr, ':')
	return addr[0] == '[' || (colon >= 0 && bytes.LastIndexByte(addr, ':') == colon)
}
