package proxylog

import (
	"unicode/utf16"
	"unicode/utf8"
)

// appendUnescaped appends what the text of a whole string means. A surrogate
// without its other half becomes U+FFFD, as in encoding/json.
func appendUnescaped(dst, text []byte) []byte {
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			dst = append(dst, text[i])
			continue
		}
		i++
		if text[i] == 'u' {
			var r rune
			r, i = unicodeEscape(text, i+1)
			dst = utf8.AppendRune(dst, r)
			continue
		}
		dst = append(dst, unescaped(text[i]))
	}
	return dst
}

func unescaped(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}

// unicodeEscape reads the four digits at i, and the second half of a surrogate
// pair; last is the index of the last byte read.
func unicodeEscape(text []byte, i int) (r rune, last int) {
	r = hex4(text[i:])
	if !utf16.IsSurrogate(r) {
		return r, i + 3
	}
	if rest := text[i+4:]; len(rest) >= 6 && rest[0] == '\\' && rest[1] == 'u' {
		if pair := utf16.DecodeRune(r, hex4(rest[2:])); pair != utf8.RuneError {
			return pair, i + 9
		}
	}
	return utf8.RuneError, i + 3
}

func hex4(b []byte) rune {
	var r rune
	for _, c := range b[:4] {
		r = r<<4 | rune(hexDigit(c))
	}
	return r
}
