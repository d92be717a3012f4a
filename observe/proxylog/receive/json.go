package receive

import (
	"bytes"
	"encoding/json"
	"unicode/utf16"
	"unicode/utf8"
)

// cursor walks a JSON text that is known to be valid, without building anything:
// a text of many small things takes no more memory than its bytes. Every method
// begins at a value and ends behind it.
type cursor struct {
	b       []byte
	i       int
	scratch []byte // a string that had to be rewritten
}

// parseJSON checks a whole text.
func parseJSON(b []byte) (*cursor, bool) {
	if !json.Valid(b) {
		return nil, false
	}
	return &cursor{b: b}, true
}

// kind is the first byte of the value: { [ " t f n - or a digit.
func (c *cursor) kind() byte {
	for ; ; c.i++ {
		switch c.b[c.i] {
		case ' ', '\t', '\n', '\r':
		default:
			return c.b[c.i]
		}
	}
}

// object calls member with each key, at its value; what member leaves alone is
// skipped. False: the value is no object, and is skipped. The key is good until
// the next string is read.
func (c *cursor) object(member func(key []byte) error) (bool, error) {
	return c.each('{', func() error {
		key := c.string()
		c.kind()
		c.i++ // the colon
		begin := c.at()
		if err := member(key); err != nil {
			return err
		}
		if c.i == begin {
			c.skip()
		}
		return nil
	})
}

// array calls item at each value; what it leaves alone is skipped. False: the
// value is no array, and is skipped.
func (c *cursor) array(item func() error) (bool, error) {
	return c.each('[', func() error {
		begin := c.at()
		if err := item(); err != nil {
			return err
		}
		if c.i == begin {
			c.skip()
		}
		return nil
	})
}

func (c *cursor) each(open byte, one func() error) (bool, error) {
	if c.kind() != open {
		c.skip()
		return false, nil
	}
	for c.i++; ; {
		switch c.kind() {
		case ']', '}':
			c.i++
			return true, nil
		case ',':
			c.i++
			c.kind()
		}
		if err := one(); err != nil {
			return true, err
		}
	}
}

// at is where the value begins.
func (c *cursor) at() int {
	c.kind()
	return c.i
}

// raw gives the value as it is written.
func (c *cursor) raw() []byte {
	begin := c.at()
	c.skip()
	return c.b[begin:c.i]
}

// string gives the text of a string; of another value what is written, but
// nothing of null. It is good until the next string is read, be it a key.
func (c *cursor) string() []byte { return c.textOf(c.raw()) }

// textOf is string of a value that was taken raw.
func (c *cursor) textOf(raw []byte) []byte {
	switch {
	case len(raw) == 0 || raw[0] == 'n':
		return nil
	case raw[0] != '"':
		return raw
	}
	raw = raw[1 : len(raw)-1]
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw
	}
	c.scratch = appendUnescaped(c.scratch[:0], raw)
	return c.scratch
}

// skip passes over the value.
func (c *cursor) skip() {
	switch c.kind() {
	case '"':
		c.i = stringEnd(c.b, c.i)
	case '{', '[':
		c.skipNested()
	default:
		for c.i < len(c.b) && bytes.IndexByte([]byte(",]} \t\r\n"), c.b[c.i]) < 0 {
			c.i++
		}
	}
}

func (c *cursor) skipNested() {
	for depth := 0; ; {
		switch c.b[c.i] {
		case '"':
			c.i = stringEnd(c.b, c.i)
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				c.i++
				return
			}
		}
		c.i++
	}
}

// stringEnd is where the string at i, which is at its quote, is over.
func stringEnd(b []byte, i int) int {
	i++
	n := bytes.IndexByte(b[i:], '"')
	if bytes.IndexByte(b[i:i+n], '\\') < 0 {
		return i + n + 1
	}
	for b[i] != '"' {
		if b[i] == '\\' {
			i++
		}
		i++
	}
	return i + 1
}

// appendUnescaped appends what the text of a valid string means.
func appendUnescaped(dst, text []byte) []byte {
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			dst = append(dst, text[i])
			continue
		}
		i++
		switch c := text[i]; c {
		case 'u':
			r := hex4(text[i+1:])
			i += 4
			if utf16.IsSurrogate(r) {
				pair := utf8.RuneError
				if rest := text[i+1:]; len(rest) >= 6 && rest[0] == '\\' && rest[1] == 'u' {
					pair = utf16.DecodeRune(r, hex4(rest[2:]))
				}
				if r = pair; r != utf8.RuneError {
					i += 6
				}
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, plainEscape(c))
		}
	}
	return dst
}

func plainEscape(c byte) byte {
	if i := bytes.IndexByte([]byte("bfnrt"), c); i >= 0 {
		return "\b\f\n\r\t"[i]
	}
	return c
}

func hex4(b []byte) rune {
	var r rune
	for _, c := range b[:4] {
		if c > '9' {
			c = c&0x0f + 9
		}
		r = r<<4 | rune(c&0x0f)
	}
	return r
}

// appendQuoted appends text as a JSON string. What is no UTF-8 is left as it is,
// for the parser of lines takes it.
func appendQuoted(dst, text []byte) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
