package platform

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
)

// What a platform's operator has to mend.
var (
	// ErrGone: the route is not there; newer platforms dropped the read endpoint.
	ErrGone = errors.New("the platform has no such route (newer ones dropped it; otherwise correct platform.url)")
	// ErrOrg: the organisation header is missing or names another tenant.
	ErrOrg = errors.New("wrong or missing org_id (sources[].platform.org_id)")
	// ErrUnauthorized: the token is not accepted.
	ErrUnauthorized = errors.New("the admin token is not accepted (sources[].platform.admin_token)")
)

// refusal is an answer that is none.
type refusal struct {
	error
	again bool // a moment later it may be another
	own   bool // it concerns this workspace alone: others may well be answered
}

func (r *refusal) Unwrap() error { return r.error }

// judge reads a status as the platform means it; nil where body is the answer.
func judge(status int, body []byte) *refusal {
	body = bytes.TrimSpace(body)
	switch {
	case status == http.StatusOK:
		return nil
	case status == http.StatusNotFound && len(body) == 0:
		return &refusal{error: ErrOrg} // it never means that the workspace or the route is gone
	case status == http.StatusNotFound && string(body) == "404 page not found":
		return &refusal{error: ErrGone}
	case status == http.StatusBadRequest && bytes.Contains(body, []byte("TENANT_ORG_HEADER_REQUIRED")):
		return &refusal{error: ErrOrg}
	case status == http.StatusBadRequest:
		return &refusal{error: errors.New("400: the platform does not take the workspace's id"), own: true}
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return &refusal{error: ErrUnauthorized}
	case status >= 300 && status < 400:
		return &refusal{error: fmt.Errorf("%d: redirects are not followed, the token stays here; correct platform.url", status)}
	}
	return judgeTrouble(status)
}

// judgeTrouble reads the statuses of a platform that is not well.
func judgeTrouble(status int) *refusal {
	switch status {
	case http.StatusTooManyRequests:
		return &refusal{error: errors.New("429: the tenant's request budget is spent"), again: true}
	case http.StatusServiceUnavailable:
		return &refusal{error: errors.New("503: the platform's database is down"), again: true}
	case http.StatusBadGateway, http.StatusGatewayTimeout:
		return &refusal{error: fmt.Errorf("%d: the platform cannot be reached behind its gateway", status), again: true}
	case http.StatusInternalServerError:
		// It comes with a safe_default, which is a guess and not an answer.
		return &refusal{error: errors.New("500: the platform could not read the workspace's mode"), own: true}
	}
	return &refusal{error: fmt.Errorf("unexpected status %d", status), own: true}
}
