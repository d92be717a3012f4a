package platform

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Actor has a tenant's workspaces provisioned again. Of the whole program it is
// the only thing that changes anything outside of it, and each Restart is one
// request at most: the platform stops and starts once for every one it gets, so
// that nothing here, net/http included, ever sends a second one. Whoever wants
// another has to look at the workspace first.
//
// It is safe for concurrent use, and it does not keep two callers off the same
// workspace: who may act is decided before.
type Actor struct {
	client *Client
	http   *http.Client
	traced bool // the transport is net/http's own, and tells what it has done
}

// restartTimeout is the longest that a platform is waited for. It is longer
// than a read's, since a call that was given up is one of which nobody knows
// what became.
const restartTimeout = 30 * time.Second

// maxRestartBody is more than any answer of the platform's to a restart, in
// bytes.
const maxRestartBody = 64 << 10

// NewActor acts by a client's options and at its pace. It opens nothing that
// would have to be closed.
func NewActor(c *Client) *Actor {
	once := *c.http
	if c.opts.HTTP == nil || c.opts.HTTP.Timeout == 0 {
		once.Timeout = restartTimeout
	}
	kept, traced := once.Transport.(*http.Transport)
	if once.Transport == nil {
		kept, traced = http.DefaultTransport.(*http.Transport), true
	}
	if traced {
		once.Transport = afresh(kept)
	}
	return &Actor{client: c, http: &once, traced: traced}
}

// afresh gives a transport that makes a connection for every request. On one
// that was idle a request may be lost between a server that is hanging up and
// us, and net/http may send it again by itself; HTTP/2 sends again what a server
// says it has not looked at.
func afresh(kept *http.Transport) *http.Transport {
	t := kept.Clone()
	t.DisableKeepAlives = true
	t.ForceAttemptHTTP2 = false
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.TLSNextProto = nil
	if t.TLSClientConfig != nil {
		t.TLSClientConfig.NextProtos = nil
	}
	return t
}

// Restart asks the platform, once, to stop the workspace's instance and to start
// another, and tells how that ended; see drift.CallResult. A result other than
// accepted and uncertain is certain: nothing was done. Accepted means that the
// platform has begun, and not that the workspace comes back.
//
// It waits for the tenant's pace first; where that does not come while ctx
// lasts, nothing was sent. The words are for people and hold neither the id nor
// the token.
func (a *Actor) Restart(ctx context.Context, id string) drift.Call {
	if !plainID(id) {
		return drift.Call{Result: drift.CallRefused, Words: "not sent: this is no workspace's id"}
	}
	// That an older read endpoint is gone says nothing of this route.
	if err := a.client.pace.wait(ctx, ErrGone); err != nil {
		return notSent(err)
	}
	var reached atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { reached.Store(true) }})
	req, err := a.client.request(traced, http.MethodPost, "/workspaces/"+id+"/restart")
	if err != nil {
		return notSent(a.client.bare(err))
	}
	resp, err := a.http.Do(req)
	switch {
	case err != nil && a.traced && !reached.Load():
		return notSent(a.client.bare(err)) // there was no connection that could have carried it
	case err != nil:
		return uncertain("no answer: " + a.broken(err))
	}
	defer func() { _ = resp.Body.Close() }()
	a.client.pace.heed(resp)
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRestartBody))
	if err != nil {
		return uncertain(fmt.Sprintf("%d, and the answer broke off: %s", resp.StatusCode, a.broken(err)))
	}
	return outcome(resp, bytes.TrimSpace(body))
}

// broken gives the words of an error after which nothing is known. Those that
// quote what came are not repeated: it may be anything.
func (a *Actor) broken(err error) string {
	err = a.client.bare(err)
	var timed net.Error // of the network, and of our own waiting
	if errors.As(err, &timed) || errors.Is(err, context.Canceled) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return err.Error()
	}
	return "what came is no HTTP, or was cut short"
}

// plainID tells whether an id can stand in a path: an empty one, or "..",
// would name another route.
func plainID(id string) bool {
	return id != "" && len(id) <= 64 && !strings.ContainsFunc(id, func(r rune) bool {
		return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

// notSent is a call that never left.
func notSent(err error) drift.Call {
	call := drift.Call{Result: drift.CallUnavailable, Words: "not sent: " + err.Error()}
	if h := (held{}); errors.As(err, &h) {
		call.Result, call.RetryAfter = drift.CallThrottled, min(h.again, maxSilence)
	}
	return call
}

func uncertain(words string) drift.Call {
	return drift.Call{Result: drift.CallUncertain, Words: words + "; whether the workspace is being restarted shows by looking alone"}
}

// outcome reads an answer as the platform means it. What is not known to mean
// that nothing was done is uncertain.
func outcome(resp *http.Response, body []byte) drift.Call {
	status := resp.StatusCode
	switch {
	case status == http.StatusOK:
		return begun(body)
	case status == http.StatusNotFound:
		return missing(body)
	case status == http.StatusConflict:
		return drift.Call{Result: drift.CallConflict, Words: "409: a workspace above it is paused"}
	case status == http.StatusTooManyRequests:
		return drift.Call{Result: drift.CallThrottled, Words: judge(status, body).Error(), RetryAfter: min(retryAfter(resp), maxSilence)}
	case status == http.StatusServiceUnavailable && (len(body) == 0 || body[0] == '{'):
		return drift.Call{Result: drift.CallUnavailable, Words: "503: the platform has no provisioner, or its database is down", RetryAfter: asked(resp)}
	case status >= 300 && status < 400, status == http.StatusBadRequest, status == http.StatusUnauthorized, status == http.StatusForbidden:
		return drift.Call{Result: drift.CallRefused, Words: judge(status, body).Error()}
	case status == http.StatusServiceUnavailable:
		// A gateway says so too when the line broke that it had passed the call
		// on by.
		return uncertain("503, in the words of a gateway")
	case status >= 500:
		return uncertain(fmt.Sprintf("%d: the platform failed, maybe after it had stopped the instance", status))
	}
	return uncertain(fmt.Sprintf("unexpected status %d", status))
}

// begun reads the answer to a call that was taken.
func begun(body []byte) drift.Call {
	var answer struct {
		Status string `json:"status"`
	}
	switch err := json.Unmarshal(body, &answer); {
	case err != nil: // its words may quote anything
		return uncertain("200, and the answer is not the expected JSON")
	case answer.Status == "provisioning":
		return drift.Call{Result: drift.CallAccepted, Words: "the platform has begun"}
	case answer.Status == "noop":
		return drift.Call{Result: drift.CallNoop, Words: "the platform says that there is nothing to restart"}
	}
	return uncertain("200, with a status that is not known")
}

// missing tells a workspace that is not there from a call that went elsewhere.
func missing(body []byte) drift.Call {
	switch {
	case len(body) == 0:
		return drift.Call{Result: drift.CallRefused, Words: ErrOrg.Error()}
	case string(body) == "404 page not found", body[0] == '<':
		return drift.Call{Result: drift.CallRefused, Words: "404: no such route there, and no workspace was looked for; correct platform.url"}
	}
	return drift.Call{Result: drift.CallNotFound, Words: "404: the platform does not know the workspace, or has removed it"}
}

// asked is how long an answer asks to be left alone, if it does.
func asked(resp *http.Response) time.Duration {
	if resp.Header.Get("Retry-After") == "" {
		return 0
	}
	return min(retryAfter(resp), maxSilence)
}
