package admin

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// ClientOptions say which server is asked, and as whom.
type ClientOptions struct {
	// Server is its URL; host:port alone is plain HTTP.
	Server string
	// Token of admin.tokens; empty: the server listens on loopback and asks for none.
	Token drift.Secret
	// CA is a PEM file with the authority of the server's certificate; empty:
	// the system's.
	CA string
	// Cert and Key are PEM files with a client's certificate, for a server that
	// demands one.
	Cert, Key string
}

// Client asks a Server. Safe for concurrent use.
type Client struct {
	base  *url.URL
	token drift.Secret
	http  *http.Client
}

const (
	answerTimeout = 30 * time.Second // for a whole answer; a stream has its own
	largestAnswer = 256 << 20        // a page of 1,000 workspaces is about 3 MB
	tries         = 3                // of a request that can be sent again
	firstPause    = 200 * time.Millisecond
)

// NewClient prepares a client. It connects to nothing.
func NewClient(opts ClientOptions) (*Client, error) {
	server := opts.Server
	if !strings.Contains(server, "://") {
		server = "http://" + server
	}
	base, err := url.Parse(server)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" || base.User != nil {
		return nil, errors.New("server address: must be http://HOST:PORT or https://HOST:PORT, without a user")
	}
	conf, err := clientTLS(opts)
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = conf
	noRedirects := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{base, opts.Token, &http.Client{Transport: transport, CheckRedirect: noRedirects}}, nil
}

func clientTLS(opts ClientOptions) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if opts.CA != "" {
		pem, err := os.ReadFile(opts.CA)
		if err != nil {
			return nil, fmt.Errorf("read the server's CA: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("read the server's CA: " + opts.CA + ": no certificate in it; it must be PEM")
		}
	}
	if opts.Cert != "" {
		cert, err := tls.LoadX509KeyPair(opts.Cert, opts.Key)
		if err != nil {
			return nil, fmt.Errorf("read the client certificate: %w", err)
		}
		conf.Certificates = []tls.Certificate{cert}
	}
	return conf, nil
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// URL is the server's, for messages.
func (c *Client) URL() string { return c.base.String() }

// ProblemError is a server's refusal.
type ProblemError struct {
	Status int    // of HTTP
	Detail string // what the server says, and what to do
}

func (e *ProblemError) Error() string {
	return fmt.Sprintf("%d %s: %s", e.Status, http.StatusText(e.Status), e.Detail)
}

// request is what is asked, in a form that can be sent more than once.
type request struct {
	method, path string
	query        url.Values
	body         []byte
	key          string // Idempotency-Key
	after        string // Last-Event-ID
}

// get asks for something.
func get[T any](ctx context.Context, c *Client, path string, query any) (out T, err error) {
	err = c.call(ctx, &request{method: http.MethodGet, path: path, query: values(query)}, &out)
	return out, err
}

// send changes something. Each change has a key of its own, so that sending it
// again, where no answer came, does not do it twice.
func send[T any](ctx context.Context, c *Client, method, path string, query, body any) (out T, err error) {
	r := &request{method: method, path: path, query: values(query), key: rand.Text()}
	if body != nil {
		if r.body, err = json.Marshal(body); err != nil {
			return out, fmt.Errorf("write the request: %w", err)
		}
	}
	err = c.call(ctx, r, &out)
	return out, err
}

// call sends a request until there is an answer, a few times.
func (c *Client) call(ctx context.Context, r *request, out any) error {
	pause := firstPause
	for try := 1; ; try++ {
		err := c.once(ctx, r, out)
		if err == nil || try == tries || !worthRetrying(err) {
			return err
		}
		if !sleep(ctx, pause) {
			return err
		}
		pause *= 2
	}
}

// worthRetrying tells whether the same request may fare better in a moment.
func worthRetrying(err error) bool {
	var refused *ProblemError
	if errors.As(err, &refused) {
		return refused.Status == http.StatusBadGateway || refused.Status == http.StatusServiceUnavailable || refused.Status == http.StatusGatewayTimeout
	}
	var cert *tls.CertificateVerificationError
	return !errors.As(err, &cert) && !errors.Is(err, context.Canceled)
}

// sleep waits; false: ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func (c *Client) once(ctx context.Context, r *request, out any) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	answer, err := c.do(ctx, r)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // it was only read
	if err := json.NewDecoder(io.LimitReader(answer.Body, largestAnswer)).Decode(out); err != nil {
		return fmt.Errorf("%s %s%s: read the answer: %w", r.method, c.base, r.path, err)
	}
	return nil
}

// do gives the answer to a request where it is one of success.
func (c *Client) do(ctx context.Context, r *request) (*http.Response, error) {
	u := c.base.JoinPath(base, r.path)
	u.RawQuery = r.query.Encode()
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), bytes.NewReader(r.body))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", r.method, u.Redacted(), err)
	}
	for name, value := range map[string]string{"Idempotency-Key": r.key, "Last-Event-ID": r.after} {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	}
	answer, err := c.http.Do(req)
	if err != nil {
		return nil, err // an *url.Error, which names method and URL
	}
	if answer.StatusCode/100 == 2 {
		return answer, nil
	}
	defer answer.Body.Close() //nolint:errcheck // it was only read
	return nil, problemOf(answer)
}

// problemOf reads why a server refused.
func problemOf(answer *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	var problem huma.ErrorModel
	if !strings.HasPrefix(answer.Header.Get("Content-Type"), "application/problem+json") || json.Unmarshal(text, &problem) != nil {
		return &ProblemError{answer.StatusCode, fmt.Sprintf("the answer is no problem document (%q); is this the address of a reconciler?", answer.Header.Get("Content-Type"))}
	}
	if wait := answer.Header.Get("Retry-After"); wait != "" && answer.StatusCode == http.StatusTooManyRequests {
		problem.Detail += " (" + wait + " s)"
	}
	return &ProblemError{answer.StatusCode, problem.Detail}
}
