package proxylog

import (
	"bytes"
	"net/netip"
)

// object takes the facts out of a line that is a JSON object. It reads the
// whole line once, and checks all of it.
type object struct {
	line    []byte
	plain   bool // no backslash is in it, and nothing that a string may not hold
	facts   [slots]fact
	scratch []byte // values that had to be rewritten: unescaped, or joined
	nth     int    // keys looked up so far
	seen    memory
	targets requests
}

// fact is the value of a slot: text of the line or of scratch. It has no
// pointers, so that to forget it costs little.
type fact struct {
	from, to  uint32
	rank      uint8 // of the key that gave it; 0: none did
	rewritten bool
}

// text is a slot's value; empty where none was given.
func (o *object) text(s slot) []byte {
	f := &o.facts[s]
	if f.rewritten {
		return o.scratch[f.from:f.to]
	}
	return o.line[f.from:f.to]
}

// json reads a line that is a JSON object.
func (p *Parser) json(line []byte, h *Hit) Outcome {
	o := &p.object
	if !o.read(line) {
		return NotUnderstood
	}
	at, timeOK := p.clock.parse(o.text(slotTime))
	status, statusOK := statusOf(o.text(slotStatus))
	op, requestOK := o.operation()
	if !timeOK || !statusOK || !requestOK {
		return NotUnderstood
	}
	if op == NoOperation {
		return Other
	}
	h.reset(at, op, status)
	o.caller(h)
	if f := o.facts[slotModel]; f.rank > 0 {
		h.Model = o.text(slotModel)
	}
	h.InputTokens, _ = digits(o.text(slotInput))
	h.OutputTokens, _ = digits(o.text(slotOutput))
	h.CostUSD, h.CostKnown = dollars(o.text(slotCost))
	return Call
}

// operation is what the request was; false: the line does not say.
func (o *object) operation() (Operation, bool) {
	method, target := o.text(slotMethod), o.text(slotTarget)
	if len(method) == 0 || len(target) == 0 {
		return o.requested(method, target)
	}
	if string(method) != "POST" && !bytes.EqualFold(method, []byte("POST")) {
		return NoOperation, true
	}
	return o.targets.recall(target, Classify), true
}

// requested is operation where method or target are not facts of their own.
func (o *object) requested(method, target []byte) (Operation, bool) {
	line := o.text(slotLine)
	if len(target) == 0 && len(method) > 0 && len(line) > 0 && line[0] == '/' {
		// Logstash's request is the target alone.
		if !bytes.EqualFold(method, []byte("POST")) {
			return NoOperation, true
		}
		return Classify(line), true
	}
	if bytes.IndexByte(line, ' ') > 0 {
		return request(line), true
	}
	return NoOperation, false
}

// caller fills in who called.
func (o *object) caller(h *Hit) {
	peer, ok := o.address(slotPeer)
	forwarded := slotForwarded
	switch {
	case !ok:
		peer, _ = o.address(slotClient)
	case o.facts[slotForwarded].rank == 0:
		forwarded = slotClient
	}
	if o.facts[forwarded].rank > 0 {
		h.Forwarded = o.text(forwarded)
	}
	h.Peer, h.Client = peer, peer
	h.Workspace, _ = parseID(o.text(slotWorkspace))
}

// address reads the address that a slot is.
func (o *object) address(s slot) (netip.Addr, bool) {
	f := &o.facts[s]
	if !f.rewritten && len(o.line)-int(f.from) >= 16 {
		// A quote is behind it, which ends what is read ahead.
		if quad, n := quads(o.line[f.from:]); n > 0 && n == int(f.to-f.from) {
			return netip.AddrFrom4(quad), true
		}
	}
	return parseAddr(o.text(s))
}

// read takes the facts of line; false: it is not one whole JSON object.
func (o *object) read(line []byte) bool {
	const longest = 1 << 30 // so that a fact's ends fit
	if len(line) > longest {
		return false
	}
	o.line, o.nth, o.scratch, o.plain = line, 0, o.scratch[:0], isPlain(line)
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
		if o.plain {
			i = o.run(i, at)
		}
		k, next := o.member(i, at)
		if next == broken {
			return broken
		}
		if i = o.value(next, k, depth); i == broken {
			return broken
		}
		if i < len(b) && b[i] == ',' {
			i++
			continue
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
	nth := o.nth
	o.nth++
	if k, size := o.seen.next(nth, b[i:], at); size > 0 {
		return k, space(b, i+size)
	}
	i = space(b, i)
	if k, size := o.seen.next(nth, b[i:], at); size > 0 {
		return k, space(b, i+size)
	}
	text, escapes, next := keyEnd(b, i)
	if next == broken {
		return key{}, broken
	}
	if escapes {
		text, o.scratch = unescapeKey(text, o.scratch)
		return keyOf(text, at), next
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
	c := b[i]
	if c == '"' {
		end, escapes := o.stringEnd(i + 1)
		if end != broken && k.slot != slotNone {
			o.string(i+1, end-1, escapes, k)
		}
		return end
	}
	if c-'0' <= 9 {
		end := plainNumberEnd(b, i)
		if end != broken && k.slot != slotNone {
			o.keep(fact{from: offset32(i), to: offset32(end)}, k)
		}
		return end
	}
	switch {
	case c == '{' && k.enter != inTop:
		return o.members(i+1, k.enter, depth+1)
	case c == '[' && k.slot != slotNone:
		return o.list(i, k, depth)
	case c == '-' && k.slot != slotNone:
		end := numberEnd(b, i)
		if end != broken {
			o.keep(fact{from: offset32(i), to: offset32(end)}, k)
		}
		return end
	}
	return valueEnd(b, i, depth)
}

// stringEnd is the function of that name, knowing whether the line is plain.
func (o *object) stringEnd(i int) (end int, escapes bool) {
	if !o.plain {
		return stringEnd(o.line, i)
	}
	n := bytes.IndexByte(o.line[i:], '"')
	if n < 0 {
		return broken, false
	}
	return i + n + 1, false
}

// string keeps the string that is at line[from:to].
func (o *object) string(from, to int, escapes bool, k key) {
	if !escapes {
		o.keep(fact{from: offset32(from), to: offset32(to)}, k)
		return
	}
	start := len(o.scratch)
	o.scratch = appendUnescaped(o.scratch, o.line[from:to])
	o.keep(fact{from: offset32(start), to: offset32(len(o.scratch)), rewritten: true}, k)
}

// keep takes f for k's fact, unless a better one is there. "" and "-" say that
// the writer did not know.
func (o *object) keep(f fact, k key) {
	old := &o.facts[k.slot]
	if k.rank < old.rank || f.to <= f.from+1 && o.unknown(f) {
		return
	}
	f.rank = k.rank
	*old = f
}

func (o *object) unknown(f fact) bool {
	base := o.line
	if f.rewritten {
		base = o.scratch
	}
	return f.from == f.to || base[f.from] == '-'
}

// offset32 is a place in a line, none of which is longer than 1 << 30.
func offset32(i int) uint32 {
	return uint32(i) // #nosec G115 -- see read; scratch has no more than the line
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
	o.keep(fact{from: offset32(start), to: offset32(len(o.scratch)), rewritten: true}, k)
	return end
}

// unescapeKey rewrites a key's text behind what is in scratch.
func unescapeKey(text, scratch []byte) (plain, grown []byte) {
	grown = appendUnescaped(scratch, text)
	return grown[len(scratch):], grown
}
