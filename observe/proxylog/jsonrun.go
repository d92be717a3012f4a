package proxylog

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// run reads members of a plain line for as long as each has the key that it had
// in the line before, a value that is a string or a short whole number, and a
// comma behind it; i is where a member begins, and so is what it gives. It is
// what member, value and separator do, in one place: nearly all of nearly every
// line is read here.
func (o *object) run(i int, at place) int {
	b := o.line
	for o.nth < len(o.seen) && len(b)-i >= 16 {
		e := &o.seen[o.nth]
		low, high := binary.LittleEndian.Uint64(b[i:]), binary.LittleEndian.Uint64(b[i+8:])
		if (low^e.low)&e.of[0]|(high^e.high)&e.of[1] != 0 || e.at != uint8(at)+1 {
			return i
		}
		from := i + int(e.size)
		if e.size > 16 && (from > len(b) || string(b[i+16:from]) != string(e.raw[16:e.size])) || len(b)-from < 8 {
			return i
		}
		to, end := 0, 0
		if b[from] == '"' {
			from++
			to = from + bytes.IndexByte(b[from:], '"')
			end = to + 1
		} else {
			w := binary.LittleEndian.Uint64(b[from:])
			to = from + bits.TrailingZeros64(notDigits(w))>>3
			if end = to; to == from || w&0xff == '0' {
				return i
			}
		}
		if end <= from || end >= len(b) || b[end] != ',' {
			return i
		}
		if e.key.slot != slotNone {
			o.keep(fact{from: offset32(from), to: offset32(to)}, e.key)
		}
		i = end + 1
		o.nth++
	}
	return i
}
