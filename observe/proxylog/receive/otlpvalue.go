package receive

import (
	"math"
	"strconv"
)

// appendPairs appends the KeyValues that a message has under a number as a JSON
// object. What cannot be read is left out: it is asked for what it has besides
// a line, and a line was all that had to be there.
func appendPairs(out, b []byte, number, depth int) []byte {
	out = append(out, '{')
	first := true
	m := message{b}
	for len(out) <= longestLine {
		f, ok, err := m.next()
		if err != nil || !ok {
			break
		}
		if int(f.number) != number {
			continue
		}
		if !first {
			out = append(out, ',')
		}
		first = false
		out = appendPair(out, f.bytes, depth)
	}
	return append(out, '}')
}

// appendPair appends a KeyValue.
func appendPair(out, b []byte, depth int) []byte {
	var key, value []byte
	m := message{b}
	for {
		f, ok, err := m.next()
		if err != nil || !ok {
			break
		}
		switch f.number {
		case 1:
			key = f.bytes
		case 2:
			value = f.bytes
		}
	}
	return appendValue(append(appendQuoted(out, key), ':'), value, depth+1)
}

// appendValue appends an AnyValue as JSON.
func appendValue(out, b []byte, depth int) []byte {
	begin := len(out)
	m := message{b}
	for {
		f, ok, err := m.next()
		if err != nil || !ok || depth > deepest {
			break
		}
		out = out[:begin] // of several the last counts
		switch f.number {
		case anyString, anyBytes:
			out = appendQuoted(out, f.bytes)
		case anyBool:
			out = strconv.AppendBool(out, f.value != 0)
		case anyInt:
			out = strconv.AppendInt(out, int64(f.value), 10) // #nosec G115 -- two's complement is how it is sent
		case anyDouble:
			out = appendFloat(out, math.Float64frombits(f.value))
		case anyArray:
			out = appendArray(out, f.bytes, depth)
		case anyList:
			out = appendPairs(out, f.bytes, 1, depth)
		}
	}
	if len(out) == begin {
		return append(out, "null"...)
	}
	return out
}

// appendFloat appends a number; JSON has none that is infinite.
func appendFloat(out []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(out, "null"...)
	}
	return strconv.AppendFloat(out, f, 'f', -1, 64)
}

// appendArray appends an ArrayValue.
func appendArray(out, b []byte, depth int) []byte {
	out = append(out, '[')
	first := true
	m := message{b}
	for len(out) <= longestLine {
		f, ok, err := m.next()
		if err != nil || !ok {
			break
		}
		if f.number != 1 {
			continue
		}
		if !first {
			out = append(out, ',')
		}
		first = false
		out = appendValue(out, f.bytes, depth+1)
	}
	return append(out, ']')
}
