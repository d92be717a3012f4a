package drift_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Law 8: a secret prints as *** whichever way it is printed.
func TestSecretNeverPrints(t *testing.T) {
	const planted = "planted-value"
	type holder struct {
		Token  drift.Secret
		Nested map[string]*drift.Secret
	}
	s := drift.Secret(planted)
	h := holder{Token: s, Nested: map[string]*drift.Secret{"a": &s}}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10.3s"} {
		_, _ = fmt.Fprintf(&out, verb+"\n", s)
		_, _ = fmt.Fprintf(&out, verb+"\n", h)
		_, _ = fmt.Fprintf(&out, verb+"\n", []drift.Secret{s})
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "secret", s, "holder", h)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "secret", s, "holder", h)
	if err := json.NewEncoder(&out).Encode(h); err != nil {
		t.Fatal(err)
	}
	out.WriteString(fmt.Errorf("connect with %v: %w", s, errors.New("refused")).Error())
	for _, form := range []string{planted, fmt.Sprintf("%x", planted), fmt.Sprintf("%X", planted), planted[:3]} {
		if strings.Contains(out.String(), form) {
			t.Errorf("%q is printed:\n%s", form, out.String())
		}
	}
	if s.Reveal() != planted {
		t.Errorf("reveal: got %q", s.Reveal())
	}
}

func TestFingerprint(t *testing.T) {
	k := drift.Key("00112233445566778899aabbccddeeff")
	// printf K+value | sha256sum, and again over K+digest, by hand.
	for value, want := range map[string]string{"": "972a3a9183c14492", "sk-ant-1": "64ed4ebd6a43fb3d"} {
		if got := k.Fingerprint([]byte(value)); string(got) != want {
			t.Errorf("fingerprint of %q: got %s, want %s", value, got, want)
		}
	}
	if k.Fingerprint([]byte("a\x00b\n\n")) != k.Fingerprint([]byte("ab")) {
		t.Error("NULs and newlines at the end are not canonical")
	}
	if k.Fingerprint([]byte("\nab")) == k.Fingerprint([]byte("ab")) {
		t.Error("a newline at the beginning must count")
	}
	if k.Fingerprint([]byte("ab")) == drift.Key("10112233445566778899aabbccddeeff").Fingerprint([]byte("ab")) {
		t.Error("the key does not count")
	}
}
