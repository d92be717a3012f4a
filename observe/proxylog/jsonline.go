package proxylog

import (
	"bytes"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// object takes the facts out of a line that is a JSON object. It reads the
// whole line once, and checks all of it.
type object struct {
	line    []byte
	facts   [slots]fact
	scratch []byte // values that had to be rewritten: unescaped, or joined
	nth     int    // keys looked up so far
	seen    memory
}

// fact is the value of a slot: text of the line or of scratch.
type fact struct {
	text []byte
	rank uint8 // of the key that gave it; 0: none did
}

// json reads a line that is a JSON object.
func (p *Parser) json(line []byte, h *Hit) Outcome {
	o := &p.object
	if !o.read(line) {
		return NotUnderstood
	}
	at, timeOK := p.clock.parse(o.facts[slotTime].text)
	status, statusOK := statusOf(o.facts[slotStatus].text)
	op, requestOK := o.operation()
	if !timeOK || !statusOK || !requestOK {
		return NotUnderstood
	}
	if op == NoOperation {
		return Other
	}
	h.reset(at, op, status)
	h.Model = o.facts[slotModel].text
	o.caller(h)
	h.InputTokens, _ = digits(o.facts[slotInput].text)
	h.OutputTokens, _ = digits(o.facts[slotOutput].text)
	h.CostUSD, h.CostKnown = dollars(o.facts[slotCost].text)
	return Call
}

// operation is what the request was; false: the line does not say.
func (o *object) operation() (Operation, bool) {
	method, target, line := o.facts[slotMethod].text, o.facts[slotTarget].text, o.facts[slotLine].text
	if len(target) == 0 && len(line) > 0 && line[0] == '/' {
		target = line // Logstash's request is the target alone
	}
	switch {
	case len(method) > 0 && len(target) > 0:
		if !strings.EqualFold(string(method), "POST") {
			return NoOperation, true
		}
		return Classify(target), true
	case bytes.IndexByte(line, ' ') > 0:
		return request(line), true
	}
	return NoOperation, false
}

// caller fills in who called.
func (o *object) caller(h *Hit) {
	h.Forwarded = o.facts[slotForwarded].text
	peer, ok := parseAddr(o.facts[slotPeer].text)
	client := o.facts[slotClient].text
	switch {
	case !ok:
		peer, _ = parseAddr(client)
	case len(h.Forwarded) == 0:
		h.Forwarded = client
	}
	h.Peer, h.Client = peer, peer
	h.Workspace, _ = parseID(o.facts[slotWorkspace].text)
}

// read takes the facts of line; false: it is not one whole JSON object.
func (o *object) read(line []byte) bool {
	o.line, o.nth, o.scratch = line, 0, o.scratch[:0]
	clear(o.facts[:])
	i := space(line, 0)
	if i >= len(line) || line[i] != '{' {
		return false
	}
	if i = o.members(i+1, inTop, 1); i == broken {
		return false
	}
	return space(line, i) == len(line)
}

// members reads an object that means something, i being behind its brace.
func (o *object) members(i int, at place, depth int) int {
	b := o.line
	if depth > deepest {
		return broken
	}
	if i = space(b, i); i < len(b) && b[i] == '}' {
		return i + 1
	}
	for {
		k, next := o.member(i, at)
		if next == broken {
			return broken
		}
		if i = o.value(next, k, depth); i == broken {
			return broken
		}
		var last bool
		if i, last = separator(b, i, '}'); last || i == broken {
			return i
		}
	}
}

// member reads a key: what it means, and where its value begins.
func (o *object) member(i int, at place) (key, int) {
	b := o.line
	i = space(b, i)
	nth := o.nth
	o.nth++
	if k, size := o.seen.next(nth, b[i:], at); size > 0 {
		return k, space(b, i+size)
	}
	text, escapes, next := keyEnd(b, i)
	if next == broken {
		return key{}, broken
	}
	if escapes {
		return keyOf(o.unescape(text), at), next
	}
	k := keyOf(text, at)
	if raw := b[i : i+len(text)+len(`"":`)]; raw[len(raw)-1] == ':' {
		o.seen.keep(nth, raw, at, k)
	}
	return k, next
}

// value reads the value of k at i.
func (o *object) value(i int, k key, depth int) int {
	b := o.line
	if i >= len(b) {
		return broken
	}
	switch c := b[i]; {
	case c == '"':
		end, escapes := stringEnd(b, i+1)
		if end != broken && k.slot != slotNone {
			o.text(b[i+1:end-1], escapes, k)
		}
		return end
	case c == '{' && k.enter != inTop:
		return o.members(i+1, k.enter, depth+1)
	case c == '[' && k.slot != slotNone:
		return o.list(i, k, depth)
	case (c == '-' || c-'0' <= 9) && k.slot != slotNone:
		end := numberEnd(b, i)
		if end != broken {
			o.keep(b[i:end], k)
		}
		return end
	}
	return valueEnd(b, i, depth)
}

// text keeps a string's value.
func (o *object) text(value []byte, escapes bool, k key) {
	if escapes {
		value = o.unescape(value)
	}
	o.keep(value, k)
}

// keep takes value for k's fact, unless a better one is there. "" and "-" say
// that the writer did not know.
func (o *object) keep(value []byte, k key) {
	f := &o.facts[k.slot]
	if k.rank >= f.rank && len(value) > 0 && (len(value) > 1 || value[0] != '-') {
		*f = fact{value, k.rank}
	}
}

// list reads an array of strings, as Caddy writes a header's values: they count
// as one, joined by commas in their order. Nested arrays mean nothing.
func (o *object) list(i int, k key, depth int) int {
	end := arrayEnd(o.line, i+1, depth+1)
	if end == broken {
		return broken
	}
	start := len(o.scratch)
	for i++; i < end; {
		c := o.line[i]
		if c == '[' || c == '{' {
			return end
		}
		if c != '"' {
			i++
			continue
		}
		stop, escapes := stringEnd(o.line, i+1)
		if len(o.scratch) > start {
			o.scratch = append(o.scratch, ',')
		}
		value := o.line[i+1 : stop-1]
		if escapes {
			o.scratch = appendUnescaped(o.scratch, value)
		} else {
			o.scratch = append(o.scratch, value...)
		}
		i = stop
	}
	o.keep(o.scratch[start:], k)
	return end
}

// unescape rewrites a string's text into scratch.
func (o *object) unescape(text []byte) []byte {
	start := len(o.scratch)
	o.scratch = appendUnescaped(o.scratch, text)
	return o.scratch[start:len(o.scratch):len(o.scratch)]
}

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
