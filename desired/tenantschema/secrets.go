package tenantschema

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Secret is a row of workspace_secrets, or of global_secrets where Workspace is
// "".
type Secret struct {
	Workspace     string // uuid; "": a global secret
	Key           string
	Value         []byte       // the plain value; nil and empty are the empty value
	EncryptionKey drift.Secret // "": stored plain (version 0); else sealed with it (version 1)
	UpdatedAt     time.Time    // of created_at too; zero: now
}

// PutSecret stores a secret in place of one of the same key.
func PutSecret(ctx context.Context, conn Conn, s Secret) error {
	stored, version := append([]byte{}, s.Value...), 0
	if s.EncryptionKey != "" {
		sealed, err := Encrypt(s.EncryptionKey, s.Value)
		if err != nil {
			return fmt.Errorf("put secret %s: %w", s.Key, err)
		}
		stored, version = sealed, 1
	}
	return PutRaw(ctx, conn, s, stored, version)
}

// PutRaw stores the bytes as they are, whatever they and the version say: the
// Value and EncryptionKey of s are not looked at.
func PutRaw(ctx context.Context, conn Conn, s Secret, stored []byte, version int) error {
	at := s.UpdatedAt
	if at.IsZero() {
		at = time.Now()
	}
	const fresh = `DO UPDATE SET encrypted_value = excluded.encrypted_value,
		encryption_version = excluded.encryption_version, updated_at = excluded.updated_at`
	var err error
	if s.Workspace == "" {
		_, err = conn.Exec(ctx, `INSERT INTO global_secrets (key, encrypted_value, encryption_version, created_at, updated_at)
			VALUES ($1, $2, $3, $4, $4) ON CONFLICT (key) `+fresh, s.Key, stored, version, at)
	} else {
		_, err = conn.Exec(ctx, `INSERT INTO workspace_secrets (workspace_id, key, encrypted_value, encryption_version, created_at, updated_at)
			VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (workspace_id, key) `+fresh, s.Workspace, s.Key, stored, version, at)
	}
	if err != nil {
		return fmt.Errorf("put secret %s: %w", s.Key, err)
	}
	return nil
}

// NewKey makes an encryption key as SECRETS_ENCRYPTION_KEY holds it: base64 of
// 32 random bytes.
func NewKey() drift.Secret {
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // never fails: crypto/rand ends the program instead
	return drift.Secret(base64.StdEncoding.EncodeToString(raw[:]))
}

// Encrypt seals a value the way the platform does (encryption_version 1):
// AES-256-GCM, a random 12-byte nonce before the ciphertext, no additional
// data. The key is as NewKey makes it.
func Encrypt(key drift.Secret, plaintext []byte) ([]byte, error) {
	raw, err := base64.StdEncoding.DecodeString(key.Reveal())
	if err != nil {
		return nil, fmt.Errorf("encrypt: key is not base64")
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return nil, fmt.Errorf("encrypt: key: %w", err)
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	return gcm.Seal(nil, nil, plaintext, nil), nil
}
