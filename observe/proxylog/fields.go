package proxylog

import (
	"bytes"
	"encoding/binary"
)

// closingQuote is the index of the quote that ends the string begun before
// from, or -1. A backslash takes the next byte's meaning away (Apache writes
// \" where nginx writes \x22).
func closingQuote(line []byte, from int) int {
	end := from + bytes.IndexByte(line[from:], '"')
	if end > from && line[end-1] != '\\' {
		return end
	}
	return closingQuoteSlowly(line, from)
}

func closingQuoteSlowly(line []byte, from int) int {
	for at := from; at <= len(line); {
		i := bytes.IndexByte(line[at:], '"')
		if i < 0 {
			return -1
		}
		end := at + i
		if i == 0 || line[end-1] != '\\' || !escaped(line[from:end]) {
			return end
		}
		at = end + 1
	}
	return -1
}

// escaped tells whether what follows b is escaped: b ends in an odd number of
// backslashes.
func escaped(b []byte) bool {
	n := 0
	for n < len(b) && b[len(b)-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}

// field is one field of a line: [from:to) is what it says, without quotes.
type field struct {
	from, to int
	quoted   bool
	next     int // where the next field begins; len(line) at the end
}

// nextField reads the field at i: "quoted", bare, or name="quoted" (from
// begins at the name then). False where a quote is not closed or something
// sticks to one: the line is not whole.
func nextField(line []byte, i int) (field, bool) {
	f := field{from: i}
	if line[i] != '"' {
		for i < len(line) && line[i] != ' ' && line[i] != '"' {
			i++
		}
		f.to = i
		if i == len(line) || line[i] == ' ' {
			f.next = skipBlanks(line, i)
			return f, true
		}
		if line[i-1] != '=' {
			return field{}, false
		}
	} else {
		f.from, f.quoted = i+1, true
	}
	end := closingQuote(line, i+1)
	if end < 0 || (end+1 < len(line) && line[end+1] != ' ') {
		return field{}, false
	}
	f.to = end
	f.next = skipBlanks(line, end+1)
	return f, true
}

func skipBlanks(line []byte, i int) int {
	for i < len(line) && line[i] == ' ' {
		i++
	}
	return i
}

// plainExtras passes over what the fields from i on mostly are: referer and
// user agent, quoted, and fields that say "-". It gives where the first one
// begins that is not passed over, and how many quoted ones were.
func plainExtras(line []byte, i int) (next, quoted int) {
	for len(line)-i >= 4 {
		if w := binary.LittleEndian.Uint32(line[i:]); w == '"'|'-'<<8|'"'<<16|' '<<24 {
			i += 4
			quoted++
			continue
		} else if w&0xff != '"' || quoted > 1 {
			return i, quoted
		}
		end := i + 1 + bytes.IndexByte(line[i+1:], '"')
		if end <= i || line[end-1] == '\\' || end+1 < len(line) && line[end+1] != ' ' {
			return i, quoted
		}
		quoted++
		if i = end + 2; i >= len(line) {
			return len(line), quoted
		}
	}
	if len(line)-i == 3 && string(line[i:]) == `"-"` {
		return len(line), quoted + 1
	}
	return i, quoted
}

// extras is what the fields behind a line's sizes tell of the caller.
type extras struct {
	forwarded []byte
	workspace ID
	quoted    int // so many fields were, up to now
}

// read takes all fields from i on; false where they are not well-formed to the
// end.
//
// The field of X-Forwarded-For has no name. It is the first quoted one behind
// referer and user agent that ends in an address: the rightmost element was
// put there by a proxy, whatever a client has written before it. A workspace
// is believed only as name=value outside of quotes, where no client's text can
// imitate it.
func (x *extras) read(line []byte, i int) bool {
	for i = skipBlanks(line, i); i < len(line); {
		f, ok := nextField(line, i)
		if !ok {
			return false
		}
		i = f.next
		if !f.quoted {
			x.named(line[f.from:f.to])
			continue
		}
		if x.quoted++; x.quoted > 2 && x.forwarded == nil && endsInAddress(line[f.from:f.to]) {
			x.forwarded = line[f.from:f.to]
		}
	}
	return true
}

func endsInAddress(list []byte) bool {
	_, ok := parseAddr(trimValue(list[bytes.LastIndexByte(list, ',')+1:]))
	return ok
}

// named reads workspace_id=UUID and its variants, with or without a quote.
func (x *extras) named(pair []byte) {
	if len(pair) <= idLen {
		return
	}
	eq := bytes.IndexByte(pair, '=')
	if eq < 0 || keyOf(pair[:eq], inTop).slot != slotWorkspace {
		return
	}
	if id, ok := parseID(bytes.TrimPrefix(pair[eq+1:], []byte(`"`))); ok {
		x.workspace = id
	}
}
