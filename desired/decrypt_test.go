package desired_test

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/molecule-ai/billing-reconciler/desired"
	"github.com/molecule-ai/billing-reconciler/desired/tenantschema"
	"github.com/molecule-ai/billing-reconciler/drift"
)

const rawKey = "0123456789abcdef0123456789ABCDEF"

var sealedKey = base64.StdEncoding.EncodeToString([]byte(rawKey))

func seal(t testing.TB, value string) []byte {
	t.Helper()
	sealed, err := tenantschema.Encrypt(drift.Secret(sealedKey), []byte(value))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func TestKeysInEveryFormThatThePlatformTakes(t *testing.T) {
	for _, key := range []string{sealedKey, rawKey, sealedKey + "\n", " " + sealedKey, strings.TrimRight(sealedKey, "=")} {
		value, _, err := desired.OpenSealed(key, 1, seal(t, "opus"))
		if err != nil || string(value) != "opus" {
			t.Errorf("key %q: %q, %v", key, value, err)
		}
	}
	for _, key := range []string{rawKey[:31], rawKey + "x", base64.StdEncoding.EncodeToString([]byte(rawKey[:24])), "%"} {
		if _, _, err := desired.OpenSealed(key, 1, seal(t, "opus")); err == nil || strings.Contains(err.Error(), key) {
			t.Errorf("key %q: %v", key, err)
		}
	}
}

func FuzzOpenSealed(f *testing.F) {
	f.Add(0, []byte("plain"))
	f.Add(0, []byte{})
	f.Add(1, seal(f, ""))
	f.Add(1, seal(f, "opus"))
	f.Add(1, seal(f, "opus")[:27])
	f.Add(2, seal(f, "opus"))
	f.Fuzz(func(t *testing.T, version int, stored []byte) {
		before := bytes.Clone(stored)
		value, empty, err := desired.OpenSealed(sealedKey, version, stored)
		switch {
		case !bytes.Equal(stored, before):
			t.Fatal("the stored bytes were changed")
		case version == 0 && (err != nil || !bytes.Equal(value, stored) || empty != (len(stored) == 0)):
			t.Fatalf("plain %q: %q, empty %v, %v", stored, value, empty, err)
		case version == 1 && len(stored) < 28 && err == nil, version != 0 && version != 1 && err == nil:
			t.Fatalf("version %d, %d bytes: accepted", version, len(stored))
		case err != nil && len(stored) > 7 && strings.Contains(err.Error(), string(stored)):
			t.Fatalf("the error shows the bytes: %v", err)
		case err == nil && version == 1 && !empty && len(value) != len(stored)-28:
			t.Fatalf("%d bytes of %d", len(value), len(stored))
		}
		sealed := seal(t, string(stored))
		if value, empty, err := desired.OpenSealed(sealedKey, 1, sealed); err != nil || empty != (len(stored) == 0) || !bytes.Equal(value, stored) {
			t.Fatalf("sealed and opened %q: %q, empty %v, %v", stored, value, empty, err)
		}
	})
}

func TestNothingIsLeftOfAFingerprintedCredential(t *testing.T) {
	fingerprint, left := desired.Look("s3cret")
	if want := drift.Key("k").Fingerprint([]byte("s3cret")); fingerprint != want {
		t.Errorf("fingerprint %s, want %s", fingerprint, want)
	}
	if !bytes.Equal(left, make([]byte, len("s3cret"))) {
		t.Errorf("left in memory: %q", left)
	}
}
