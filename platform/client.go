// Package platform speaks to a tenant's workspace-server: the read endpoint
// for billing modes. It is the only room of the house that calls a platform,
// and it holds what acting will need: one bucket a tenant for the rate limit
// that the customer's own page shares.
package platform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Options say how to reach one tenant's workspace-server.
type Options struct {
	Source            string       // for errors
	URL               string       // base, http or https
	AdminToken        drift.Secret // bearer
	OrgID             string       // X-Molecule-Org-Id; a SaaS tenant demands it
	RequestsPerMinute int          // our share of the tenant's bucket; default 300
	HTTP              *http.Client // default: 10 s a call, redirects refused
}

// Client is safe for concurrent use.
type Client struct {
	opts    Options
	base    *url.URL
	http    *http.Client
	limiter *rate.Limiter
	mu      sync.Mutex
	resume  time.Time // the server asked for silence until then
}

// The bounds of one call.
const (
	defaultPerMinute = 300
	callTimeout      = 10 * time.Second
	maxBody          = 1 << 20
	maxAttempts      = 3
	maxPause         = time.Minute // a server that asks for more is answered with an error
)

// Errors that callers tell apart.
var (
	// ErrGone: the route is not there; newer platforms dropped the read endpoint.
	ErrGone = errors.New("the platform has no such route")
	// ErrOrg: the organisation header is missing or names another tenant.
	ErrOrg = errors.New("wrong or missing org_id (sources[].platform.org_id)")
	// ErrUnauthorized: the token is not accepted.
	ErrUnauthorized = errors.New("the admin token is not accepted (sources[].platform.admin_token)")
)

// New checks the options; it makes no call.
func New(opts Options) (*Client, error) {
	base, err := url.Parse(strings.TrimRight(opts.URL, "/"))
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("source %s: platform.url %q: not an http or https URL", opts.Source, opts.URL)
	}
	if opts.RequestsPerMinute <= 0 {
		opts.RequestsPerMinute = defaultPerMinute
	}
	client := opts.HTTP
	if client == nil {
		client = &http.Client{Timeout: callTimeout, CheckRedirect: refuseRedirect}
	}
	perSecond := rate.Limit(float64(opts.RequestsPerMinute) / 60)
	return &Client{opts: opts, base: base, http: client, limiter: rate.NewLimiter(perSecond, max(1, opts.RequestsPerMinute/10))}, nil
}

// refuseRedirect keeps the bearer token from being carried elsewhere.
func refuseRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// readAnswer is the read endpoint's body. Older platforms also send org_default.
type readAnswer struct {
	ResolvedMode      string  `json:"resolved_mode"`
	Source            string  `json:"source"`
	ProviderSelection *string `json:"provider_selection"`
}

// ReadMode asks the platform's read endpoint for a workspace's billing mode. A
// failure stands in the answer's Err, in words that say what to do; a missing
// answer is never a mode. The platform answers unknown ids with its default.
func (c *Client) ReadMode(ctx context.Context, id string) drift.ReadEndpoint {
	body, err := c.get(ctx, "/admin/workspaces/"+url.PathEscape(id)+"/llm-billing-mode")
	if err != nil {
		return drift.ReadEndpoint{Err: err.Error()}
	}
	var a readAnswer
	if err := json.Unmarshal(body, &a); err != nil {
		return drift.ReadEndpoint{Err: "read endpoint: the answer is not the expected JSON"}
	}
	answer := drift.ReadEndpoint{Mode: drift.Mode(a.ResolvedMode), Source: drift.ResolveSource(a.Source)}
	if !answer.Mode.Recognised() {
		return drift.ReadEndpoint{Err: fmt.Sprintf("read endpoint: unknown mode %.40q", a.ResolvedMode)}
	}
	if answer.Source == drift.FromProvider && a.ProviderSelection != nil {
		answer.Provider = *a.ProviderSelection // elsewhere it is the raw model id
	}
	return answer
}

// get tries a GET until it is answered for good: throttling and a database
// that is down for a moment are waited for, within bounds.
func (c *Client) get(ctx context.Context, path string) ([]byte, error) {
	var last error
	for attempt := range maxAttempts {
		if err := c.wait(ctx); err != nil {
			return nil, fmt.Errorf("read endpoint: %w", cause(err, last))
		}
		body, retry, err := c.try(ctx, path)
		if err == nil {
			return body, nil
		}
		if last = err; !retry {
			break
		}
		c.silence(time.Duration(1<<attempt) * 500 * time.Millisecond)
	}
	return nil, fmt.Errorf("read endpoint: %w", last)
}

// cause prefers what the platform said over our having given up waiting.
func cause(err, last error) error {
	if last != nil {
		return last
	}
	return err
}

// wait holds the call back until both our own share and the server allow it.
func (c *Client) wait(ctx context.Context) error {
	c.mu.Lock()
	pause := time.Until(c.resume)
	c.mu.Unlock()
	if pause > 0 {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
	}
	return c.limiter.Wait(ctx)
}

func (c *Client) silence(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if until := time.Now().Add(min(d, maxPause)); until.After(c.resume) {
		c.resume = until
	}
}

func (c *Client) try(ctx context.Context, path string) (body []byte, retry bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base.String()+path, nil)
	if err != nil {
		return nil, false, fmt.Errorf("source %s: %w", c.opts.Source, err)
	}
	req.Header.Set("Authorization", "Bearer "+c.opts.AdminToken.Reveal())
	if c.opts.OrgID != "" {
		req.Header.Set("X-Molecule-Org-Id", c.opts.OrgID)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, ctx.Err() == nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return nil, true, fmt.Errorf("reading the answer: %w", err)
	}
	c.heed(resp)
	retry, err = judge(resp.StatusCode, body)
	return body, retry, err
}

// heed keeps us above a quarter of the bucket that we share with the
// customer's own page.
func (c *Client) heed(resp *http.Response) {
	number := func(name string) int {
		n, err := strconv.Atoi(resp.Header.Get(name))
		if err != nil {
			return -1
		}
		return n
	}
	limit, remaining, reset := number("X-Ratelimit-Limit"), number("X-Ratelimit-Remaining"), number("X-Ratelimit-Reset")
	if limit > 0 && remaining >= 0 && remaining*4 <= limit && reset > 0 {
		c.silence(time.Duration(reset) * time.Second)
	}
	if resp.StatusCode == http.StatusTooManyRequests {
		c.silence(time.Duration(max(1, number("Retry-After"))) * time.Second)
	}
}

// judge reads a status as the platform means it.
func judge(status int, body []byte) (retry bool, err error) {
	switch {
	case status == http.StatusOK:
		return false, nil
	case status == http.StatusNotFound && len(body) == 0:
		return false, ErrOrg // an empty 404 never means that the workspace or the route is gone
	case status == http.StatusNotFound:
		return false, ErrGone
	case status == http.StatusBadRequest && strings.Contains(string(body), "TENANT_ORG_HEADER_REQUIRED"):
		return false, ErrOrg
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return false, ErrUnauthorized
	case status == http.StatusTooManyRequests:
		return true, errors.New("429: the tenant's request budget is spent")
	case status >= 300 && status < 400:
		return false, fmt.Errorf("%d: redirects are not followed, the token stays here; correct platform.url", status)
	case status == http.StatusServiceUnavailable:
		return true, errors.New("503: the platform's database is down")
	}
	return status >= 500, fmt.Errorf("unexpected status %d", status)
}
