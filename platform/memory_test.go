package platform_test

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/platform"
)

// roundTripper is a platform in memory, so that its time can be synctest's.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// memory speaks to a platform in memory; perMinute 0 is the default.
func memory(t *testing.T, perMinute int, f roundTripper) *platform.Client {
	t.Helper()
	c, err := platform.New(platform.Options{Source: "reno", URL: "https://reno.example.com", AdminToken: token, OrgID: org,
		RequestsPerMinute: perMinute, HTTP: &http.Client{Transport: f}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// answer is one answer; the zero value is a good one.
type answer struct {
	status int
	body   string
	header []string // pairs
	err    error
}

var good = answer{status: 200, body: `{"resolved_mode":"byok","source":"derived_default"}`}

func (a answer) response() (*http.Response, error) {
	if a.err != nil {
		return nil, a.err
	}
	resp := &http.Response{StatusCode: a.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(a.body))}
	for i := 0; i < len(a.header); i += 2 {
		resp.Header.Set(a.header[i], a.header[i+1])
	}
	return resp, nil
}

// answers gives the list, and its last one ever after.
func answers(list ...answer) roundTripper {
	var mu sync.Mutex
	return func(*http.Request) (*http.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		a := list[0]
		if len(list) > 1 {
			list = list[1:]
		}
		return a.response()
	}
}

// clocked notes when calls arrive, from now on.
func clocked(f roundTripper) (roundTripper, func() []time.Duration) {
	begun := time.Now()
	var mu sync.Mutex
	var at []time.Duration
	return func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			at = append(at, time.Since(begun))
			mu.Unlock()
			return f(r)
		}, func() []time.Duration {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(at)
		}
}

// Whatever a platform says, an answer is a mode of ours or an error, never both
// and never neither, and no error is long.
func FuzzReadMode(f *testing.F) {
	for _, body := range []string{good.body, derived("byok", "derived_provider", `"anthropic-oauth"`), "null", "{", `{"resolved_mode":7}`} {
		f.Add(200, body)
	}
	f.Add(404, "404 page not found")
	f.Fuzz(func(t *testing.T, status int, body string) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		got := memory(t, 0, answers(answer{status: status, body: body})).ReadMode(ctx, id)
		if got.Mode.Recognised() != (got.Err == "") || len(got.Err) > 500 {
			t.Errorf("%d %q: %+v", status, body, got)
		}
	})
}
