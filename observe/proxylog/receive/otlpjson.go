package receive

import (
	"cmp"
	"strconv"
)

// json reads an ExportLogsServiceRequest in OTLP's JSON.
func (o *otlpPush) json(b []byte) error {
	c, ok := parseJSON(b)
	if !ok || c.kind() != '{' {
		return garbage("the body is no JSON object")
	}
	return under(c, "resourceLogs", func() error {
		return under(c, "scopeLogs", func() error {
			return under(c, "logRecords", func() error { return o.jsonRecord(c) })
		})
	})
}

// under calls one at every item of the list that the object at c has under key.
func under(c *cursor, key string, one func() error) error {
	_, err := c.object(func(k []byte) error {
		if string(k) != key {
			return nil
		}
		_, err := c.array(one)
		return err
	})
	return err
}

func (o *otlpPush) jsonRecord(c *cursor) error {
	o.entry = otlpRecord{room: o.entry.room}
	o.body = o.body[:0]
	var observed int64
	_, err := c.object(func(key []byte) error {
		var err error
		switch string(key) {
		case "timeUnixNano":
			o.entry.when, err = nanoseconds(c.string())
		case "observedTimeUnixNano":
			observed, err = nanoseconds(c.string())
		case "body":
			o.body = appendJSONBody(o.body[:0], c)
		case "attributes":
			o.entry.json = c.raw()
		}
		return err
	})
	if err != nil {
		return err
	}
	o.entry.when = cmp.Or(o.entry.when, observed)
	return o.read()
}

// nanoseconds reads a fixed64, which JSON has as a string, or a number.
func nanoseconds(text []byte) (int64, error) {
	if len(text) == 0 {
		return 0, nil
	}
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		return 0, garbage("the time of a record is not a number of nanoseconds")
	}
	return int64(n), nil // #nosec G115 -- beyond 2262 it is no time
}

// appendJSONBody appends what an AnyValue is as a line.
func appendJSONBody(out []byte, c *cursor) []byte {
	_, _ = c.object(func(key []byte) error {
		switch string(key) {
		case "stringValue", "bytesValue":
			out = append(out[:0], c.string()...)
		case "kvlistValue":
			out = appendValues(out[:0], c, 0, appendJSONPairs)
		case "arrayValue":
			out = appendValues(out[:0], c, 0, appendJSONArray)
		}
		return nil
	})
	return out
}

// appendValues appends the list that the object at c has as values.
func appendValues(out []byte, c *cursor, depth int, list func([]byte, *cursor, int) []byte) []byte {
	begin := len(out)
	_, _ = c.object(func(key []byte) error {
		if string(key) == "values" && len(out) == begin {
			out = list(out, c, depth)
		}
		return nil
	})
	if len(out) == begin {
		return append(out, "null"...)
	}
	return out
}

// appendJSONPairs appends the KeyValues of the list at c as a JSON object.
func appendJSONPairs(out []byte, c *cursor, depth int) []byte {
	out = append(out, '{')
	if c.i >= len(c.b) {
		return append(out, '}') // there is no list
	}
	first := true
	_, _ = c.array(func() error {
		if len(out) > longestLine {
			return nil
		}
		var key, value []byte
		_, _ = c.object(func(k []byte) error {
			switch string(k) {
			case "key":
				key = c.raw()
			case "value":
				value = c.raw()
			}
			return nil
		})
		if len(key) == 0 || key[0] != '"' {
			return nil
		}
		if !first {
			out = append(out, ',')
		}
		first = false
		out = appendJSONValue(append(append(out, key...), ':'), value, depth+1)
		return nil
	})
	return append(out, '}')
}

// appendJSONValue appends an AnyValue as plain JSON.
func appendJSONValue(out, value []byte, depth int) []byte {
	if len(value) == 0 || depth > deepest {
		return append(out, "null"...)
	}
	begin := len(out)
	c := &cursor{b: value}
	_, _ = c.object(func(key []byte) error {
		out = out[:begin]
		switch string(key) {
		case "kvlistValue":
			out = appendValues(out, c, depth, appendJSONPairs)
		case "arrayValue":
			out = appendValues(out, c, depth, appendJSONArray)
		case "stringValue", "boolValue", "intValue", "doubleValue", "bytesValue":
			out = append(out, c.raw()...)
		}
		return nil
	})
	if len(out) == begin {
		return append(out, "null"...)
	}
	return out
}

func appendJSONArray(out []byte, c *cursor, depth int) []byte {
	out = append(out, '[')
	first := true
	_, _ = c.array(func() error {
		if len(out) > longestLine {
			return nil
		}
		if !first {
			out = append(out, ',')
		}
		first = false
		out = appendJSONValue(out, c.raw(), depth+1)
		return nil
	})
	return append(out, ']')
}
