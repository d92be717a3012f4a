package proxylog

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// Scanning JSON text (RFC 8259): every function takes the index of the first
// byte of what it reads and gives the index behind it, or broken.
const broken = -1

// deepest is how far objects and arrays may be nested.
const deepest = 200

// stringEnd reads a string, i being behind its opening quote, up to and
// including the closing one; escapes tells whether it has any.
//
// Eight bytes are looked at together: in special the lowest bit set belongs to
// the first quote, backslash or control character (the known trick of finding
// zero bytes in a word, which errs only above a true find).
func stringEnd(b []byte, i int) (end int, escapes bool) {
	for {
		for i+8 <= len(b) {
			w := binary.LittleEndian.Uint64(b[i:])
			quote := w ^ ones*'"'
			slash := w ^ ones*'\\'
			special := ((quote - ones) &^ quote) | ((slash - ones) &^ slash) | ((w - ones*' ') &^ w)
			if special &= highs; special != 0 {
				i += bits.TrailingZeros64(special) >> 3
				break
			}
			i += 8
		}
		for i < len(b) && b[i] >= ' ' && b[i] != '"' && b[i] != '\\' {
			i++
		}
		if i >= len(b) || b[i] < ' ' {
			return broken, false
		}
		if b[i] == '"' {
			return i + 1, escapes
		}
		escapes = true
		if i = escapeEnd(b, i); i == broken {
			return broken, false
		}
	}
}

// escapeEnd reads an escape, i being at its backslash.
func escapeEnd(b []byte, i int) int {
	if i+1 >= len(b) {
		return broken
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		if i+6 > len(b) {
			return broken
		}
		for _, c := range b[i+2 : i+6] {
			if hexDigit(c) > 15 {
				return broken
			}
		}
		return i + 6
	}
	return broken
}

// numberEnd reads a number.
func numberEnd(b []byte, i int) int {
	if i < len(b) && b[i] == '-' {
		i++
	}
	switch {
	case i < len(b) && b[i] == '0':
		i++
	default:
		if i = digitsEnd(b, i); i == broken {
			return broken
		}
	}
	if i < len(b) && b[i] == '.' {
		if i = digitsEnd(b, i+1); i == broken {
			return broken
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return digitsEnd(b, i)
	}
	return i
}

// plainNumberEnd is numberEnd of a number that begins with a digit, and mostly
// has a few and nothing else.
func plainNumberEnd(b []byte, i int) int {
	if len(b)-i >= 8 && b[i] != '0' {
		if other := notDigits(binary.LittleEndian.Uint64(b[i:])); other != 0 {
			end := i + bits.TrailingZeros64(other)>>3
			if c := b[end]; c == ',' || c == '}' {
				return end
			}
		}
	}
	return numberEnd(b, i)
}

// isPlain tells that b has no backslash and no control character.
func isPlain(b []byte) bool {
	if bytes.IndexByte(b, '\\') >= 0 {
		return false
	}
	// What is lower than a blank borrows, and so may what is above it: the sum
	// tells whether there is any, not where.
	var control uint64
	i := 0
	for ; len(b)-i >= 32; i += 32 {
		s := (*[32]byte)(b[i:])
		w, x := binary.LittleEndian.Uint64(s[:]), binary.LittleEndian.Uint64(s[8:])
		y, z := binary.LittleEndian.Uint64(s[16:]), binary.LittleEndian.Uint64(s[24:])
		control |= (w-ones*' ')&^w | (x-ones*' ')&^x | (y-ones*' ')&^y | (z-ones*' ')&^z
	}
	for ; len(b)-i >= 8; i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		control |= (w - ones*' ') &^ w
	}
	for _, c := range b[i:] {
		if c < ' ' {
			return false
		}
	}
	return control&highs == 0
}

// digitsEnd reads one digit or more.
func digitsEnd(b []byte, i int) int {
	start := i
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	if i == start {
		return broken
	}
	return i
}

func wordEnd(b []byte, i int, word string) int {
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return broken
	}
	return i + len(word)
}

func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r' || b[i] == '\n') {
		i++
	}
	return i
}

// valueEnd reads any value; depth is that of what it stands in.
func valueEnd(b []byte, i, depth int) int {
	if i >= len(b) {
		return broken
	}
	switch b[i] {
	case '"':
		end, _ := stringEnd(b, i+1)
		return end
	case '{':
		return objectEnd(b, i+1, depth+1)
	case '[':
		return arrayEnd(b, i+1, depth+1)
	case 't':
		return wordEnd(b, i, "true")
	case 'f':
		return wordEnd(b, i, "false")
	case 'n':
		return wordEnd(b, i, "null")
	}
	return numberEnd(b, i)
}

// objectEnd reads an object nobody looks into, i being behind its brace.
func objectEnd(b []byte, i, depth int) int {
	if depth > deepest {
		return broken
	}
	if i = space(b, i); i < len(b) && b[i] == '}' {
		return i + 1
	}
	for {
		_, _, next := keyEnd(b, i)
		if next == broken {
			return broken
		}
		if i = valueEnd(b, next, depth); i == broken {
			return broken
		}
		var last bool
		if i, last = separator(b, i, '}'); last || i == broken {
			return i
		}
	}
}

// arrayEnd reads an array, i being behind its bracket.
func arrayEnd(b []byte, i, depth int) int {
	if depth > deepest {
		return broken
	}
	if i = space(b, i); i < len(b) && b[i] == ']' {
		return i + 1
	}
	for {
		if i = valueEnd(b, space(b, i), depth); i == broken {
			return broken
		}
		var last bool
		if i, last = separator(b, i, ']'); last || i == broken {
			return i
		}
	}
}

// keyEnd reads a key and its colon: its text without quotes, and where the
// value begins.
func keyEnd(b []byte, i int) (text []byte, escapes bool, next int) {
	if i >= len(b) || b[i] != '"' {
		if i = space(b, i); i >= len(b) || b[i] != '"' {
			return nil, false, broken
		}
	}
	end, escapes := stringEnd(b, i+1)
	if end == broken {
		return nil, false, broken
	}
	text = b[i+1 : end-1]
	if end < len(b) && b[end] != ':' {
		end = space(b, end)
	}
	if end >= len(b) || b[end] != ':' {
		return nil, false, broken
	}
	if end++; end < len(b) && b[end] <= ' ' {
		end = space(b, end)
	}
	return text, escapes, end
}

// separator reads a comma, or what closes (last is true then).
func separator(b []byte, i int, closes byte) (next int, last bool) {
	if i < len(b) && b[i] <= ' ' {
		i = space(b, i)
	}
	switch {
	case i < len(b) && b[i] == ',':
		return i + 1, false
	case i < len(b) && b[i] == closes:
		return i + 1, true
	}
	return broken, false
}
