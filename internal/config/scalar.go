package config

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// The scalars of the configuration. Their UnmarshalText errors say what would
// have been right and never repeat the text, which may hold a secret.

var (
	namePattern   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	tagPattern    = regexp.MustCompile(`^[^=]+=.+$`)
	statusPattern = regexp.MustCompile(`^[1-5](xx|[0-9][0-9])$`)
	cronField     = regexp.MustCompile(`^(\*|[0-9A-Za-z]+(-[0-9A-Za-z]+)?)(/[0-9]+)?(,(\*|[0-9A-Za-z]+(-[0-9A-Za-z]+)?)(/[0-9]+)?)*$`)
	days          = regexp.MustCompile(`([0-9]+)d`)
)

// Path is a file, directory or glob; relative to the configuration file's
// directory as written, resolved when read.
type Path string

// Duration is a time.Duration that also reads days: 90s, 5m, 1d12h.
type Duration struct{ time.Duration }

// ParseDuration reads Go's durations with whole days besides.
func ParseDuration(text string) (time.Duration, error) {
	hours := days.ReplaceAllStringFunc(text, func(d string) string {
		n, err := strconv.Atoi(strings.TrimSuffix(d, "d"))
		if err != nil || n > 100_000 {
			return d // which time.ParseDuration refuses
		}
		return strconv.Itoa(24*n) + "h"
	})
	d, err := time.ParseDuration(hours)
	if err != nil {
		return 0, errors.New("must be a duration, such as 90s, 5m, 2h or 1d")
	}
	return d, nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) (err error) {
	d.Duration, err = ParseDuration(string(text))
	return err
}

// String leaves out what is zero, 5m, not 5m0s, and counts whole days: 90d.
func (d Duration) String() string {
	const day = 24 * time.Hour
	if d.Duration > 0 && d.Duration%day == 0 {
		return strconv.FormatInt(int64(d.Duration/day), 10) + "d"
	}
	s := d.Duration.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Rate is how many a second: 5, or 0.5 for one in two seconds.
type Rate float64

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Rate) UnmarshalText(text []byte) error {
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || !(f > 0 && f <= 1e6) { // so NaN is refused too
		return errors.New("must be a number a second above 0, such as 5 or 0.5")
	}
	*r = Rate(f)
	return nil
}

// URL is an http or https URL with a host, without a trailing slash.
type URL struct{ raw string }

// UnmarshalText implements encoding.TextUnmarshaler.
func (u *URL) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*u = URL{}
		return nil
	}
	parsed, err := url.Parse(string(text))
	if err != nil || parsed.Host == "" || parsed.Scheme != "http" && parsed.Scheme != "https" {
		return errors.New("must be an http or https URL, such as https://api.example.com")
	}
	u.raw = strings.TrimRight(string(text), "/")
	return nil
}

// Reveal gives the URL whole: there may be a password or token in it. "" where
// none was given.
func (u URL) Reveal() string { return u.raw }

// String gives the URL without password and query.
func (u URL) String() string {
	parsed, err := url.Parse(u.raw)
	if err != nil || u.raw == "" {
		return ""
	}
	if parsed.RawQuery != "" {
		parsed.RawQuery = "..."
	}
	return parsed.Redacted()
}

// MarshalText implements encoding.TextMarshaler.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// Endpoint is a place of the platform's proxy.
type Endpoint struct {
	drift.Endpoint
	url URL
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (e *Endpoint) UnmarshalText(text []byte) error {
	if err := e.url.UnmarshalText(text); err != nil {
		return err
	}
	parsed, err := drift.ParseEndpoint(string(text))
	if err != nil {
		return errors.New("must be an http or https URL, such as https://api.example.com/llm")
	}
	e.Endpoint = parsed
	return nil
}

// String gives the endpoint as it was written, less what may be secret in it.
func (e Endpoint) String() string { return e.url.String() }

// StatusPattern is an HTTP status, 499, or a class of them, 2xx.
type StatusPattern string

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *StatusPattern) UnmarshalText(text []byte) error {
	*s = StatusPattern(strings.ToLower(string(text)))
	if !statusPattern.MatchString(string(*s)) {
		return errors.New(`must be an HTTP status, such as 499, or a class of them, such as 2xx`)
	}
	return nil
}

// CIDR is a network, or one address as a network of its own.
type CIDR struct{ netip.Prefix }

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *CIDR) UnmarshalText(text []byte) error {
	if addr, err := netip.ParseAddr(string(text)); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		c.Prefix = netip.PrefixFrom(addr, addr.BitLen())
		return nil
	}
	prefix, err := netip.ParsePrefix(string(text))
	if err != nil {
		return errors.New("must be a network, such as 10.0.0.0/8, or an address")
	}
	c.Prefix = prefix.Masked()
	return nil
}

// Address is a host:port; the host may be empty.
type Address string

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *Address) UnmarshalText(text []byte) error {
	_, port, err := net.SplitHostPort(string(text))
	if n, errPort := strconv.ParseUint(port, 10, 16); err != nil || errPort != nil || n > 65535 {
		return errors.New("must be host:port, such as 127.0.0.1:8080")
	}
	*a = Address(text)
	return nil
}

// Cron is the five fields of a crontab line.
type Cron string

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *Cron) UnmarshalText(text []byte) error {
	fields := strings.Fields(string(text))
	for _, f := range fields {
		if !cronField.MatchString(f) {
			fields = nil
		}
	}
	if len(fields) != 5 {
		return errors.New(`must be the five fields of cron, such as "0 2 * * mon-fri"`)
	}
	*c = Cron(strings.Join(fields, " "))
	return nil
}

// Zone is a time zone by its IANA name.
type Zone struct{ *time.Location }

// UnmarshalText implements encoding.TextUnmarshaler.
func (z *Zone) UnmarshalText(text []byte) (err error) {
	if z.Location, err = time.LoadLocation(string(text)); err != nil || len(text) == 0 {
		return errors.New("must be a time zone, such as UTC or Europe/Berlin")
	}
	return nil
}

// UnmarshalText implements encoding.TextUnmarshaler: the one word that stands
// in a tag's place.
func (t *Targets) UnmarshalText(text []byte) error {
	*t = Targets{}
	if string(text) != "instance_ids" {
		return errors.New(`must be instance_ids, or {tag: "Name=value"}`)
	}
	return nil
}

// String gives the word or the tag.
func (t Targets) String() string {
	if t.Tag == "" {
		return "instance_ids"
	}
	return "{tag: " + strconv.Quote(t.Tag) + "}"
}
