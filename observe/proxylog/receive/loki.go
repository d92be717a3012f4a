package receive

import (
	"net/http"
	"strconv"
	"time"
)

// Loki takes what Loki's /loki/api/v1/push takes: JSON, and protobuf in a snappy
// block. What is sent again is recognised by its labels, times and lines, also
// where newer lines were added to the stream meanwhile.
func (rc *Receiver) Loki() http.Handler {
	return rc.handler(&protocol{name: "loki", read: readLoki, accept: acceptLoki, refuse: refuseText})
}

func readLoki(p *push) error {
	l := &lokiPush{push: p}
	var err error
	switch kind := p.contentType(); kind {
	case typeJSON:
		l.text, err = p.whole()
		l.walk = l.json
	case typeProtobuf, "application/protobuf", "": // as in Loki, which takes what is not JSON for this
		l.text, err = l.packedOrSnappy()
		l.walk = l.protobuf
	default:
		err = wrongType("Content-Type %.60q is not taken here: send %s or %s", kind, typeJSON, typeProtobuf)
	}
	if err != nil {
		return err
	}
	if err := l.read(); err != nil {
		return err
	}
	l.recognise()
	return nil
}

func acceptLoki(w http.ResponseWriter, _ *push) { w.WriteHeader(http.StatusNoContent) }

func refuseText(w http.ResponseWriter, _ *push, no *fault) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(no.status)
	_, _ = w.Write([]byte(no.detail + "\n")) // whoever is gone needs no answer
}

// lokiEntry is what stands beside a line.
type lokiEntry struct {
	when   int64
	meta   []byte // structured metadata: a JSON object
	object []byte // room for one
}

func (e *lokiEntry) tell(m *record) {
	m.when = max(0, e.when)
	if len(e.meta) > 0 {
		m.object(e.meta)
	}
}

// protobuf reads a logproto.PushRequest in a snappy block.
func (l *lokiPush) protobuf() error {
	return each(l.text, func(f field) error {
		if f.number != 1 {
			return nil
		}
		return l.protoStream(f.bytes)
	})
}

// packedOrSnappy: the block is a matter of the type; some senders say so in
// Content-Encoding, and proxies between may have packed it otherwise.
func (l *lokiPush) packedOrSnappy() ([]byte, error) {
	if e := l.encoding(); e == "" || e == "snappy" || e == "identity" {
		return l.unsnap()
	}
	return l.whole()
}

// protoStream reads a StreamAdapter.
func (l *lokiPush) protoStream(b []byte) error {
	var labels []byte
	err := each(b, func(f field) error {
		if f.number == 1 {
			labels = f.bytes
		}
		return nil
	})
	if err != nil {
		return err
	}
	l.begin(labels)
	err = each(b, func(f field) error {
		if f.number == 2 {
			return l.protoEntry(f.bytes)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return l.end()
}

// protoEntry reads an EntryAdapter.
func (l *lokiPush) protoEntry(b []byte) error {
	var line []byte
	e := &l.entry
	e.when, e.meta, e.object = 0, nil, append(e.object[:0], '{')
	err := each(b, func(f field) error {
		switch f.number {
		case 1:
			return each(f.bytes, func(f field) error {
				switch f.number {
				case 1:
					e.when += int64(f.value) * int64(time.Second) // #nosec G115 -- as the sender has it; nonsense is nonsense
				case 2:
					e.when += int64(f.value) // #nosec G115 -- nanoseconds, below 1e9
				}
				return nil
			})
		case 2:
			line = f.bytes
		case 3:
			return e.pair(f.bytes)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(e.object) > 1 {
		e.meta = append(e.object, '}')
		e.object = e.meta
	}
	return l.add(line)
}

// pair adds a LabelPairAdapter.
func (e *lokiEntry) pair(b []byte) error {
	var name, value []byte
	err := each(b, func(f field) error {
		switch f.number {
		case 1:
			name = f.bytes
		case 2:
			value = f.bytes
		}
		return nil
	})
	if err != nil || len(e.object)+len(name)+len(value) > longestLine {
		return err
	}
	if len(e.object) > 1 {
		e.object = append(e.object, ',')
	}
	e.object = append(appendQuoted(e.object, name), ':')
	e.object = appendQuoted(e.object, value)
	return nil
}

// json reads {"streams": [{"stream": {...}, "values": [["ns", "line", {...}]]}]},
// and the form that was before: {"labels": "{...}", "entries": [{"ts", "line"}]}.
func (l *lokiPush) json() error {
	c, ok := parseJSON(l.text)
	if !ok {
		return garbage("the body is no JSON")
	}
	found := false
	_, err := c.object(func(key []byte) error {
		if string(key) != "streams" {
			return nil
		}
		found = true
		_, err := c.array(func() error { return l.jsonStream(c) })
		return err
	})
	if err == nil && !found {
		return garbage(`the body is not of the form {"streams": [...]}`)
	}
	return err
}

func (l *lokiPush) jsonStream(c *cursor) error {
	var labels, values, entries []byte
	_, _ = c.object(func(key []byte) error {
		switch string(key) {
		case "stream", "labels":
			labels = c.raw()
		case "values":
			values = c.raw()
		case "entries":
			entries = c.raw()
		}
		return nil
	})
	l.begin(labels)
	if err := l.jsonValues(values); err != nil {
		return err
	}
	if err := l.jsonEntries(entries); err != nil {
		return err
	}
	return l.end()
}

func (l *lokiPush) jsonValues(values []byte) error {
	if len(values) == 0 {
		return nil
	}
	c := &cursor{b: values}
	_, err := c.array(func() error {
		e, line, at := &l.entry, []byte(nil), 0
		e.when, e.meta = 0, nil
		_, err := c.array(func() error {
			switch at++; at {
			case 1:
				var err error
				if e.when, err = strconv.ParseInt(string(c.string()), 10, 64); err != nil {
					return garbage("the time of an entry is not a number of nanoseconds")
				}
			case 2:
				if c.kind() != '"' {
					return garbage("the line of an entry is not a string")
				}
				line = c.string()
			case 3:
				if c.kind() == '{' {
					e.meta = c.raw()
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if at < 2 {
			return garbage(`an entry is not of the form ["nanoseconds", "line"]`)
		}
		return l.add(line)
	})
	return err
}

func (l *lokiPush) jsonEntries(entries []byte) error {
	if len(entries) == 0 {
		return nil
	}
	c := &cursor{b: entries}
	_, err := c.array(func() error {
		e, line := &l.entry, []byte(nil)
		e.when, e.meta = 0, nil
		_, err := c.object(func(key []byte) error {
			switch string(key) {
			case "ts":
				at, err := time.Parse(time.RFC3339Nano, string(c.string()))
				if err != nil {
					return garbage("the ts of an entry is no time of RFC 3339")
				}
				e.when = at.UnixNano()
			case "line":
				line = c.raw()
			}
			return nil
		})
		if err != nil {
			return err
		}
		return l.add(c.textOf(line))
	})
	return err
}
