package store

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// orNull gives NULL for the zero time.
func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// orZero is the way back, in UTC.
func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

// textOrNull gives NULL for "".
func textOrNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// document gives NULL for no document.
func document(d json.RawMessage) *string {
	if d == nil {
		return nil
	}
	s := string(d)
	return &s
}

// clean makes a text one that PostgreSQL takes: names and errors come from
// elsewhere, and one that it refuses would stop a whole source.
func clean(s string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "\uFFFD")
}

// seconds is how a duration is given to make_interval.
func seconds(d time.Duration) float64 { return d.Seconds() }

// isUUID tells whether s is a uuid in the usual writing.
func isUUID(s string) bool {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return false
	}
	_, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	return err == nil
}

// prefixRange gives the least and the greatest uuid that begin with prefix; ok
// is false where none can.
func prefixRange(prefix string) (low, high string, ok bool) {
	const digits = 32
	plain := strings.ToLower(strings.ReplaceAll(prefix, "-", ""))
	if plain == "" || len(plain) > digits || strings.Trim(plain, "0123456789abcdef") != "" {
		return "", "", false
	}
	fill := digits - len(plain)
	return plain + strings.Repeat("0", fill), plain + strings.Repeat("f", fill), true
}

// words joins for string_to_array: arrays of arrays cannot be unnested. None of
// our words has a comma in it.
func words[T ~string](list []T) string {
	texts := make([]string, len(list))
	for i, w := range list {
		texts[i] = strings.ReplaceAll(clean(string(w)), ",", " ")
	}
	return strings.Join(texts, ",")
}

func asText(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode: %w", err)
	}
	return string(b), nil
}
