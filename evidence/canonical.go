package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// canonical gives a JSON value in one writing, whoever has written it: that of
// RFC 8785, but that keys are ordered by their bytes and numbers stay as they are
// written. Two equal keys in one object are refused, since readers differ in
// which of them counts.
func canonical(text []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var out bytes.Buffer
	if err := writeValue(&out, d); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more after the value")
	}
	return out.Bytes(), nil
}

func writeValue(out *bytes.Buffer, d *json.Decoder) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	switch v := token.(type) {
	case json.Delim:
		if v == '{' {
			return writeObject(out, d)
		}
		return writeArray(out, d)
	case string:
		writeString(out, v)
	case nil:
		out.WriteString("null")
	default:
		fmt.Fprint(out, v) // a boolean, or a number as it is written
	}
	return nil
}

func writeArray(out *bytes.Buffer, d *json.Decoder) error {
	out.WriteByte('[')
	for first := true; d.More(); first = false {
		if !first {
			out.WriteByte(',')
		}
		if err := writeValue(out, d); err != nil {
			return err
		}
	}
	_, err := d.Token()
	out.WriteByte(']')
	return err
}

func writeObject(out *bytes.Buffer, d *json.Decoder) error {
	values := map[string][]byte{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		key, _ := token.(string)
		if _, twice := values[key]; twice {
			return fmt.Errorf("the key %q is there twice", key)
		}
		var value bytes.Buffer
		if err := writeValue(&value, d); err != nil {
			return err
		}
		values[key] = value.Bytes()
	}
	out.WriteByte('{')
	for i, key := range slices.Sorted(maps.Keys(values)) {
		if i > 0 {
			out.WriteByte(',')
		}
		writeString(out, key)
		out.WriteByte(':')
		out.Write(values[key])
	}
	_, err := d.Token()
	out.WriteByte('}')
	return err
}

var escapes = map[rune]string{'"': `\"`, '\\': `\\`, '\b': `\b`, '\t': `\t`, '\n': `\n`, '\f': `\f`, '\r': `\r`}

func writeString(out *bytes.Buffer, s string) {
	out.WriteByte('"')
	for _, r := range s {
		switch short, ok := escapes[r]; {
		case ok:
			out.WriteString(short)
		case r < ' ':
			fmt.Fprintf(out, `\u%04x`, r)
		default:
			out.WriteRune(r)
		}
	}
	out.WriteByte('"')
}
