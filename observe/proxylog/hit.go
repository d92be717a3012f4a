package proxylog

import (
	"encoding/hex"
	"net/netip"
	"time"
)

// Hit is one call of a billable operation, as a line of a log tells it.
type Hit struct {
	Time      time.Time // UTC, as the line has it; never zero
	Peer      netip.Addr
	Forwarded []byte // X-Forwarded-For as it stands in the line; points into the line or the Parser, valid until the next Parse
	// Client is the address that the call came from: Peer, or what a trusted
	// proxy forwarded. Parse leaves it at Peer; Read applies its Proxies.
	// Addresses are unmapped and without zone, and not valid where the line
	// has none (a host name, a unix socket, "-").
	Client    netip.Addr
	Operation Operation
	Status    int // 0: none was sent
	Workspace ID  // the workspace that the line itself names; zero: none

	Model        []byte  // as the line has it; nil: unknown; valid until the next Parse
	InputTokens  int64   // 0: unknown
	OutputTokens int64   // 0: unknown
	CostUSD      float64 // as the line says, never negative; 0 where CostKnown is false
	CostKnown    bool
}

// reset makes h a call of which nothing else is known. It is spelt out: a
// whole Hit would be made beside it and copied.
func (h *Hit) reset(at moment, op Operation, status int) {
	h.Time = at.time()
	h.Peer, h.Client = netip.Addr{}, netip.Addr{}
	h.Forwarded, h.Model = nil, nil
	h.Operation, h.Status = op, status
	h.Workspace = ID{}
	h.InputTokens, h.OutputTokens, h.CostUSD, h.CostKnown = 0, 0, 0, false
}

// ID is a workspace's uuid. The zero value is none.
type ID [16]byte

const idLen = 36 // of the form 8-4-4-4-12

// ParseID reads a uuid of the form 8-4-4-4-12, in either case.
func ParseID(s string) (ID, bool) { return parseID([]byte(s)) }

// String is the uuid in lower case, or "" for none.
func (id ID) String() string {
	if id == (ID{}) {
		return ""
	}
	var out [idLen]byte
	hex.Encode(out[0:], id[0:4])
	hex.Encode(out[9:], id[4:6])
	hex.Encode(out[14:], id[6:8])
	hex.Encode(out[19:], id[8:10])
	hex.Encode(out[24:], id[10:16])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return string(out[:])
}

// parseID is ParseID without the string. The nil uuid names nothing.
func parseID(b []byte) (ID, bool) {
	var id ID
	if len(b) != idLen || b[8] != '-' || b[13] != '-' || b[18] != '-' || b[23] != '-' {
		return ID{}, false
	}
	n := 0
	for i := 0; i < idLen; i += 2 {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			i++
		}
		hi, lo := hexDigit(b[i]), hexDigit(b[i+1])
		if hi > 15 || lo > 15 {
			return ID{}, false
		}
		id[n] = hi<<4 | lo
		n++
	}
	return id, id != ID{}
}

// hexDigit is the value of a hexadecimal digit, or 255.
func hexDigit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 255
}
