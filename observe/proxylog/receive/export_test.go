package receive

// Walk reads a text by a cursor into what encoding/json would make of it with
// UseNumber, but for numbers and words, which stay as they are written.
func Walk(b []byte) (any, bool) {
	c, ok := parseJSON(b)
	if !ok {
		return nil, false
	}
	return walk(c), true
}

func walk(c *cursor) any {
	switch c.kind() {
	case '{':
		out := map[string]any{}
		_, _ = c.object(func(key []byte) error {
			k := string(key)
			out[k] = walk(c)
			return nil
		})
		return out
	case '[':
		out := []any{}
		_, _ = c.array(func() error {
			out = append(out, walk(c))
			return nil
		})
		return out
	case '"':
		return string(c.string())
	}
	return Word(c.raw())
}

// Word is a number, or true, false or null.
type Word string

// Quoted is appendQuoted.
func Quoted(s string) []byte { return appendQuoted(nil, []byte(s)) }
