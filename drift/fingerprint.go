package drift

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
)

// Fingerprint stands for a secret's value: 16 hex digits under a Key that is
// thrown away after the pass. Equal values under one key have equal
// fingerprints; nothing else can be learned from it.
type Fingerprint string

// Key is a pass's fingerprint key: 32 lower-case hex digits, random.
type Key string

// Fingerprint computes a value's fingerprint, the same as the probe's shell
// computes in the container: with h the lower-case hex SHA-256,
//
//	h(key || h(key || canonical value)), the first 16 digits.
//
// Canonical is the value without NUL bytes, then without newlines at its end,
// for that is what a POSIX shell can hold. Nested, so that nothing can be
// appended to a known value.
func (k Key) Fingerprint(value []byte) Fingerprint {
	if bytes.IndexByte(value, 0) >= 0 {
		value = bytes.ReplaceAll(value, []byte{0}, nil)
	}
	inner := keyed(k, bytes.TrimRight(value, "\n"))
	return Fingerprint(keyed(k, inner)[:16])
}

func keyed(k Key, value []byte) []byte {
	h := sha256.New()
	h.Write([]byte(k))
	h.Write(value)
	return hex.AppendEncode(nil, h.Sum(nil))
}
