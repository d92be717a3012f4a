package drift

import (
	"fmt"
	"log/slog"
)

// Secret is a value that must never be printed: fmt, slog, JSON, YAML and
// errors all show ***. Reveal is the only way to the value, and easy to grep.
type Secret string

const redacted = "***"

// Reveal gives the value, for the one call that needs it.
func (s Secret) Reveal() string { return string(s) }

// String implements fmt.Stringer.
func (s Secret) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return redacted }

// Format covers every verb of fmt, %x and %d among them.
func (s Secret) Format(f fmt.State, _ rune) {
	_, _ = f.Write([]byte(redacted))
}

// MarshalText implements encoding.TextMarshaler.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
