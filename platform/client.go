// Package platform speaks to a tenant's workspace-server: it reads billing
// modes, and has workspaces provisioned again. It is the only room of the house
// that calls a platform, and an Actor the only thing in it that changes
// anything; a Client reads. Both share one pace a tenant, for the customer's own
// page shares the rate limit.
//
// It promises that the admin token goes to the configured URL and nowhere else,
// into no error either, and that a platform in trouble is left alone: what
// failed for a reason that is not the workspace's own is not tried again for a
// while.
package platform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Options say how to reach one tenant's workspace-server.
type Options struct {
	Source            string       // for errors
	URL               string       // base, http or https; no user, no query
	AdminToken        drift.Secret // bearer
	OrgID             string       // X-Molecule-Org-Id; a SaaS tenant demands it
	RequestsPerMinute int          // our share of the tenant's bucket; default 300
	HTTP              *http.Client // default: a transport of its own. Redirects are refused in any case; no timeout: 10 s a call
}

// Client is safe for concurrent use.
type Client struct {
	opts Options
	base string // without a slash at its end
	http *http.Client
	pace *pace
}

// The bounds of one call.
const (
	defaultPerMinute = 300
	callTimeout      = 10 * time.Second
	maxBody          = 1 << 20 // bytes
	maxAttempts      = 3
	backoff          = 500 * time.Millisecond // before the second attempt, then doubled
)

// New checks the options; it makes no call.
func New(opts Options) (*Client, error) {
	base, err := url.Parse(opts.URL)
	switch {
	case err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https":
		// The URL is not repeated: it may hold a secret, well-formed or not.
		return nil, fmt.Errorf("source %s: platform.url: not an http or https URL with a host", opts.Source)
	case base.User != nil || base.RawQuery != "" || base.Fragment != "":
		return nil, fmt.Errorf("source %s: platform.url: no user, query or fragment, please; the token has a key of its own, platform.admin_token", opts.Source)
	case strings.ContainsFunc(opts.AdminToken.Reveal()+opts.OrgID, isControl):
		return nil, fmt.Errorf("source %s: platform.admin_token or platform.org_id: a newline or control character in it", opts.Source)
	}
	if opts.RequestsPerMinute <= 0 {
		opts.RequestsPerMinute = defaultPerMinute
	}
	return &Client{opts: opts, base: strings.TrimRight(base.String(), "/"), http: withoutRedirects(opts.HTTP), pace: newPace(opts.RequestsPerMinute)}, nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// withoutRedirects keeps the bearer token from being carried elsewhere.
func withoutRedirects(given *http.Client) *http.Client {
	client := http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()}
	if given != nil {
		client = *given
	}
	if client.Timeout == 0 {
		client.Timeout = callTimeout
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// get tries a GET until it is answered for good: throttling and a database
// that is down for a moment are waited for, within bounds.
func (c *Client) get(ctx context.Context, path string) ([]byte, error) {
	var last *refusal
	for attempt := range maxAttempts {
		if err := c.pace.wait(ctx, nil); err != nil {
			if last != nil {
				return nil, last // what the platform said, rather than our having given up waiting
			}
			return nil, err
		}
		body, refused := c.try(ctx, path)
		if refused == nil {
			return body, nil
		}
		if last = refused; !refused.again {
			break
		}
		if attempt < maxAttempts-1 {
			c.pace.silence(backoff << attempt)
		}
	}
	if !last.own && ctx.Err() == nil {
		c.pace.give(last)
	}
	return nil, last
}

func (c *Client) try(ctx context.Context, path string) ([]byte, *refusal) {
	req, err := c.request(ctx, http.MethodGet, path)
	if err != nil {
		return nil, &refusal{error: c.bare(err), own: true}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, &refusal{error: c.bare(err), again: ctx.Err() == nil}
	}
	defer func() { _ = resp.Body.Close() }()
	c.pace.heed(resp)
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return nil, &refusal{error: fmt.Errorf("reading the answer: %w", err), again: ctx.Err() == nil}
	}
	return body, judge(resp.StatusCode, body)
}

// request makes a request without a body, with what the platform demands of
// every caller.
func (c *Client) request(ctx context.Context, method, path string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, nil)
	if err != nil {
		return nil, err
	}
	if token := c.opts.AdminToken.Reveal(); token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if c.opts.OrgID != "" {
		req.Header.Set("X-Molecule-Org-Id", c.opts.OrgID)
	}
	return req, nil
}

// errEchoed stands for an error that quotes a peer which sends back what it was
// sent.
var errEchoed = errors.New("the answer is not HTTP, and holds the admin token")

// bare takes the method and the URL off an error: the source says which
// platform it was, and errors that are the same count as one. The token does
// not pass, though a peer that is no platform may have it quoted.
func (c *Client) bare(err error) error {
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	if token := c.opts.AdminToken.Reveal(); token != "" && strings.Contains(err.Error(), token) {
		return errEchoed
	}
	return err
}
