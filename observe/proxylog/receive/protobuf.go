package receive

import (
	"google.golang.org/protobuf/encoding/protowire"
)

// message walks a protobuf message's fields without building anything: a
// message of many empty ones takes no more memory than its bytes, where
// generated code would take hundreds of times as much.
type message struct{ rest []byte }

// field is one field. What is of another type than expected reads as zero.
type field struct {
	number protowire.Number
	bytes  []byte // of a string, bytes or a message
	value  uint64 // of a number
}

// next gives the next field; false: there is none. err: the bytes are no message.
func (m *message) next() (f field, ok bool, err error) {
	if len(m.rest) == 0 {
		return f, false, nil
	}
	number, kind, n := protowire.ConsumeTag(m.rest)
	if n < 0 {
		return f, false, garbage("the body is no protobuf message of the expected kind: %v", protowire.ParseError(n))
	}
	f.number, m.rest = number, m.rest[n:]
	switch kind {
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(m.rest)
	case protowire.VarintType:
		f.value, n = protowire.ConsumeVarint(m.rest)
	case protowire.Fixed64Type:
		f.value, n = protowire.ConsumeFixed64(m.rest)
	default:
		n = protowire.ConsumeFieldValue(number, kind, m.rest)
	}
	if n < 0 {
		return f, false, garbage("the body is no protobuf message of the expected kind: %v", protowire.ParseError(n))
	}
	m.rest = m.rest[n:]
	return f, true, nil
}

// each calls one with every field of a message.
func each(b []byte, one func(f field) error) error {
	m := message{b}
	for {
		f, ok, err := m.next()
		if err != nil || !ok {
			return err
		}
		if err := one(f); err != nil {
			return err
		}
	}
}
