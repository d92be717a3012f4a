package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
)

const (
	answerMost   = 16 << 10 // bytes of an answer that are read
	headersMost  = 32 << 10
	answerFor    = time.Second // for the rest of one that says success: read, the connection can be used again
	connectFor   = 5 * time.Second
	idleFor      = 30 * time.Second
	userAgent    = "molecule-billing-reconciler"
	contentJSON  = "application/json"
	contentEvent = "application/cloudevents+json"
)

// Options are what every kind of sink has.
type Options struct {
	// URL is where to post: http or https. It may be a secret by itself.
	URL drift.Secret
	// AllowLinkLocal lets messages go to link-local and metadata addresses.
	AllowLinkLocal bool
}

// client posts to one address.
type client struct {
	url    string
	host   string // for people
	http   *http.Client
	dialer *net.Dialer

	// suspect says that the last message had no answer: its connection may be dead
	// and, over HTTP/2, outlives it and would be used for the next one.
	suspect atomic.Bool
}

var errURL = errors.New("not an http or https URL with a host") // the text of net/url's would repeat it

func newClient(o Options) (*client, error) {
	parsed, err := url.Parse(o.URL.Reveal())
	if err != nil || parsed.Host == "" || parsed.Scheme != "http" && parsed.Scheme != "https" {
		return nil, errURL
	}
	dialer := &net.Dialer{Timeout: connectFor}
	if !o.AllowLinkLocal {
		dialer.Control = refuseLinkLocal
	}
	return &client{url: parsed.String(), host: parsed.Host, dialer: dialer, http: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		// No proxy of the environment: it would connect in our place, and where to
		// could not be checked.
		Transport: &http.Transport{Proxy: nil, DialContext: dialer.DialContext, TLSHandshakeTimeout: connectFor, IdleConnTimeout: idleFor,
			MaxIdleConnsPerHost: 1, MaxResponseHeaderBytes: headersMost, ForceAttemptHTTP2: true},
	}}, nil
}

// Close lets go of idle connections.
func (c *client) Close() { c.http.CloseIdleConnections() }

// Reach connects to the other side, as far as a certificate that holds, and says
// nothing to it.
func (c *client) Reach(ctx context.Context) error {
	at, err := url.Parse(c.url)
	if err != nil {
		return errURL
	}
	port := at.Port()
	if port == "" {
		port = at.Scheme // net knows both by name
	}
	var conn net.Conn
	if address := net.JoinHostPort(at.Hostname(), port); at.Scheme == "https" {
		conn, err = (&tls.Dialer{NetDialer: c.dialer}).DialContext(ctx, "tcp", address)
	} else {
		conn, err = c.dialer.DialContext(ctx, "tcp", address)
	}
	if err != nil {
		return fmt.Errorf("connect to %s: %w", c.host, withoutURL(err))
	}
	_ = conn.Close() // nothing was written
	return nil
}

// post sends a body. What is not answered with 2xx is an *Error, with the word
// of words that the answer is.
func (c *client) post(ctx context.Context, address string, header http.Header, body []byte, words map[string]bool) error {
	ctx, cut := context.WithCancel(ctx)
	defer cut()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("post to %s: %w", c.host, errURL)
	}
	if c.suspect.Swap(false) {
		c.Close()
	}
	request.Header = header
	request.Header.Set("User-Agent", userAgent)
	answer, err := c.http.Do(request)
	if err != nil {
		c.suspect.Store(true)
		return fmt.Errorf("post to %s: %w", c.host, withoutURL(err))
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode/100 == 2 { // the message was taken, however the answer ends
		late := time.AfterFunc(answerFor, cut)
		defer late.Stop()
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, answerMost)) // what is beyond it closes the connection
	if answer.StatusCode/100 == 2 {
		return nil
	}
	e := &Error{Host: c.host, Status: answer.StatusCode, after: retryAfter(answer.Header, time.Now())}
	if word := string(bytes.TrimSpace(text)); err == nil && words[word] {
		e.Word = word
	}
	return e
}

// withoutURL takes off the words that repeat where a request went, and what the
// other side's protocol errors may quote.
func withoutURL(err error) error {
	var at *url.Error
	if errors.As(err, &at) {
		err = at.Err
	}
	var network *net.OpError
	var dns *net.DNSError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("no answer in time")
	case errors.Is(err, context.Canceled), errors.Is(err, errLinkLocal), errors.As(err, &network), errors.As(err, &dns),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return err
	case isCertificate(err):
		return err
	}
	return errors.New("the answer is no HTTP that can be read")
}

var errLinkLocal = errors.New("a link-local address, where clouds keep credentials: it is refused unless allow_link_local is set")

// refuseLinkLocal is asked with the address that a name has led to, just before
// it is connected to: a name that was checked earlier may lead elsewhere now.
func refuseLinkLocal(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil || LinkLocal(at.Addr()) {
		return errLinkLocal
	}
	return nil
}

var (
	metadata6 = netip.MustParseAddr("fd00:ec2::254")   // of AWS
	metadata4 = netip.MustParseAddr("100.100.100.200") // of Alibaba
	nat64     = netip.MustParsePrefix("64:ff9b::/96")
	sixToFour = netip.MustParsePrefix("2002::/16")
	low96     = netip.MustParsePrefix("::/96")
)

// LinkLocal tells whether an address is link-local or a cloud's for metadata, in
// whatever way an IPv4 address is written into an IPv6 one.
func LinkLocal(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		bytes := a.As16()
		switch {
		case nat64.Contains(a), low96.Contains(a) && !a.IsLoopback() && !a.IsUnspecified():
			return LinkLocal(netip.AddrFrom4([4]byte(bytes[12:])))
		case sixToFour.Contains(a):
			return LinkLocal(netip.AddrFrom4([4]byte(bytes[2:6])))
		}
	}
	return a.IsLinkLocalUnicast() || a.IsLinkLocalMulticast() || a.IsInterfaceLocalMulticast() || a == metadata6 || a == metadata4
}
