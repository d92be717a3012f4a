package desired

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// The platform's ways to store a secret (encryption_version).
const (
	versionPlain = 0
	versionGCM   = 1 // AES-256-GCM: 12 bytes of nonce, the ciphertext, 16 bytes of tag; no additional data

	nonceSize  = 12
	sealedSize = nonceSize + 16 // of the empty value
	keySize    = 32
)

// maxValue bounds what is fetched of a single secret; the longest credentials
// known have a few kB.
const maxValue = 1 << 20

// Why a row cannot be read. The texts name no bytes of it.
var (
	errNoKey   = errors.New("encrypted, and the source has no encryption_key")
	errTooLong = fmt.Errorf("longer than %d bytes", maxValue)
	errOpen    = errors.New("does not decrypt: another encryption key, or damaged")
	errKey     = errors.New("neither 32 bytes nor base64 of 32 bytes: give SECRETS_ENCRYPTION_KEY as the platform has it")
)

// opener decrypts stored secrets. Safe for concurrent use.
type opener struct{ gcm cipher.AEAD } // nil: no key

func newOpener(key drift.Secret) (*opener, error) {
	if key == "" {
		return &opener{}, nil
	}
	raw, err := keyBytes(key.Reveal())
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return nil, errKey
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, errKey
	}
	return &opener{gcm}, nil
}

// keyBytes reads a key. 32 bytes are taken as they are, even if they could be
// base64 too: of 32 characters that would be 24 bytes, and no key.
func keyBytes(key string) ([]byte, error) {
	if len(key) == keySize {
		return []byte(key), nil
	}
	key = strings.TrimSpace(key)
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if raw, err := encoding.DecodeString(key); err == nil && len(raw) == keySize {
			return raw, nil
		}
	}
	return nil, errKey
}

// isEmpty tells by its length whether a stored value is empty, without
// decrypting it; an error where the row is none that the platform writes.
func isEmpty(version, length int) (bool, error) {
	switch {
	case version == versionPlain:
		return length == 0, nil
	case version != versionGCM:
		return false, fmt.Errorf("encryption version %d is not known", version)
	case length < sealedSize:
		return false, fmt.Errorf("encrypted, but only %d bytes long", length)
	}
	return length == sealedSize, nil
}

// open appends the value to dst, which may be scratch that is used again. The
// caller has asked isEmpty.
func (o *opener) open(dst []byte, version int, stored []byte) ([]byte, error) {
	switch {
	case version == versionPlain:
		return append(dst, stored...), nil
	case o.gcm == nil:
		return dst, errNoKey
	case len(stored) < sealedSize:
		return dst, errOpen
	}
	value, err := o.gcm.Open(dst, stored[:nonceSize], stored[nonceSize:], nil)
	if err != nil {
		return dst, errOpen
	}
	return value, nil
}

// errNotText is why a model is refused that no environment could hold and no
// provider could take: it would break whatever stores or prints it.
var errNotText = errors.New("not text: it has a NUL byte or is not UTF-8")

func modelText(value []byte) error {
	if bytes.IndexByte(value, 0) >= 0 || !utf8.Valid(value) {
		return errNotText
	}
	return nil
}
