package platform_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/platform"
)

var goodMode = drift.ReadEndpoint{Mode: drift.ModeBYOK, Source: drift.FromDefault}

func TestTroubleIsWaitedFor(t *testing.T) {
	const ms, s = time.Millisecond, time.Second
	down, gateway := answer{status: 503}, answer{status: 502}
	throttled := func(header ...string) answer { return answer{status: 429, header: header} }
	rows := []struct {
		name    string
		answers []answer
		want    drift.ReadEndpoint
		calls   []time.Duration // since the beginning
	}{
		{"503, then an answer", []answer{down, good}, goodMode, []time.Duration{0, 500 * ms}},
		{"502 and 503, then an answer", []answer{gateway, down, good}, goodMode, []time.Duration{0, 500 * ms, 1500 * ms}},
		{"503 for good", []answer{down}, failure("503: the platform's database is down"), []time.Duration{0, 500 * ms, 1500 * ms}},
		{"a connection that breaks, then an answer", []answer{{err: errors.New("reset")}, good}, goodMode, []time.Duration{0, 500 * ms}},
		{"500 is not tried again", []answer{{status: 500}, good}, failure("500: the platform could not read the workspace's mode"), []time.Duration{0}},
		{"401 is not tried again", []answer{{status: 401}, good}, failure(platform.ErrUnauthorized.Error()), []time.Duration{0}},
		{"429 with Retry-After", []answer{throttled("Retry-After", "7"), good}, goodMode, []time.Duration{0, 7 * s}},
		{"429 with a date", []answer{throttled("Retry-After", "Sat, 01 Jan 2000 00:00:09 GMT"), good}, goodMode, []time.Duration{0, 9 * s}},
		{"429 without a word", []answer{throttled(), good}, goodMode, []time.Duration{0, s}},
		{"429 with nonsense", []answer{throttled("Retry-After", "-soon"), good}, goodMode, []time.Duration{0, s}},
		{"429 and the bucket's reset", []answer{throttled("Retry-After", "2", "X-Ratelimit-Limit", "600", "X-Ratelimit-Remaining", "0", "X-Ratelimit-Reset", "20"), good}, goodMode, []time.Duration{0, 20 * s}},
		{"429 for longer than anybody waits", []answer{throttled("Retry-After", "99999999999999999"), good}, failure("429: the tenant's request budget is spent"), []time.Duration{0}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				transport, calls := clocked(answers(row.answers...))
				if diff := cmp.Diff(row.want, memory(t, 0, transport).ReadMode(t.Context(), id)); diff != "" {
					t.Errorf("answer (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(row.calls, calls()); diff != "" {
					t.Errorf("calls (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// The customer's own page lives on the same bucket: a quarter of it is theirs.
func TestAQuarterOfTheBucketIsLeft(t *testing.T) {
	for remaining, want := range map[string]time.Duration{"151": 0, "150": 30 * time.Second, "0": 30 * time.Second, "nonsense": 0} {
		synctest.Test(t, func(t *testing.T) {
			a := good
			a.header = []string{"X-Ratelimit-Limit", "600", "X-Ratelimit-Remaining", remaining, "X-Ratelimit-Reset", "30"}
			transport, calls := clocked(answers(a, good))
			c := memory(t, 0, transport)
			for range 2 {
				if got := c.ReadMode(t.Context(), id); got != goodMode {
					t.Errorf("remaining %s: %+v", remaining, got)
				}
			}
			if diff := cmp.Diff([]time.Duration{0, want}, calls()); diff != "" {
				t.Errorf("remaining %s: calls (-want +got):\n%s", remaining, diff)
			}
		})
	}
}

// However many ask at once, no minute sees more calls than our share.
func TestRequestsPerMinute(t *testing.T) {
	for _, perMinute := range []int{1, 7, 60, 300} {
		synctest.Test(t, func(t *testing.T) {
			transport, calls := clocked(answers(good))
			c := memory(t, perMinute, transport)
			n := 3*perMinute + 2
			concurrently(n, func() {
				if got := c.ReadMode(t.Context(), id); got != goodMode {
					t.Errorf("%+v", got)
				}
			})
			at := calls()
			if len(at) != n {
				t.Fatalf("%d calls, want %d", len(at), n)
			}
			for i := range at[:n-perMinute] {
				if span := at[i+perMinute] - at[i]; span < time.Minute {
					t.Fatalf("%d a minute: calls %d to %d within %s", perMinute, i, i+perMinute, span)
				}
			}
			if took := at[n-1]; took > 4*time.Minute {
				t.Errorf("%d a minute: %d calls took %s", perMinute, n, took)
			}
		})
	}
}

func concurrently(n int, f func()) {
	var all sync.WaitGroup
	for range n {
		all.Go(f)
	}
	all.Wait()
}

// A silence that is asked for while callers queue for their share holds for
// those too.
func TestSilenceHoldsForWhoeverWaitsAlready(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := good
		a.header = []string{"X-Ratelimit-Limit", "600", "X-Ratelimit-Remaining", "10", "X-Ratelimit-Reset", "40"}
		transport, calls := clocked(answers(good, good, a, good))
		c := memory(t, 10, transport) // one at once, then one in six seconds
		concurrently(5, func() { c.ReadMode(t.Context(), id) })
		for i, at := range calls() {
			if at > 12*time.Second && at < 52*time.Second {
				t.Errorf("call %d came %s in, in the silence asked for at 12s", i, at)
			}
		}
	})
}

// A platform that hangs is given up on once, not once a workspace; and asked
// again after a while.
func TestPlatformInTroubleIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		healthy := false
		transport, calls := clocked(func(r *http.Request) (*http.Response, error) {
			if healthy {
				return good.response()
			}
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		c := memory(t, 0, transport)
		begun := time.Now()
		for range 300 {
			if got := c.ReadMode(t.Context(), id); got.Err == "" {
				t.Fatalf("%+v", got)
			}
		}
		if n := len(calls()); n != 3 {
			t.Errorf("%d calls, want the 3 attempts of the first", n)
		}
		if took := time.Since(begun); took > 40*time.Second {
			t.Errorf("300 workspaces of a hanging platform took %s", took)
		}
		healthy = true
		time.Sleep(30 * time.Second) // the bubble's time, not ours
		if got := c.ReadMode(t.Context(), id); got != goodMode {
			t.Errorf("after a while: %+v", got)
		}
	})
}

// What is wrong with one workspace says nothing of the others; what is wrong
// with the token or the organisation does.
func TestWhomAFailureConcerns(t *testing.T) {
	rows := map[statusBody]bool{
		{400, "{}"}: true, {500, "{}"}: true, {404, "{}"}: true, {418, ""}: true, {200, "nonsense"}: true,
		{401, ""}: false, {403, ""}: false, {404, ""}: false, {404, "404 page not found"}: false, {302, ""}: false,
	}
	for first, own := range rows {
		synctest.Test(t, func(t *testing.T) {
			c := memory(t, 0, answers(answer{status: first.status, body: first.body}, good))
			if got := c.ReadMode(t.Context(), id); got.Err == "" {
				t.Errorf("%+v: no error", first)
			}
			if got := c.ReadMode(t.Context(), id) == goodMode; got != own {
				t.Errorf("%+v: the next workspace is answered: %v, want %v", first, got, own)
			}
		})
	}
}

type statusBody struct {
	status int
	body   string
}

// Nobody waits in vain for what comes after the deadline.
func TestWaitsAreBounded(t *testing.T) {
	silent := good
	silent.header = []string{"X-Ratelimit-Limit", "600", "X-Ratelimit-Remaining", "0", "X-Ratelimit-Reset", "45"}
	rows := []struct {
		name      string
		perMinute int
		first     answer
		patience  time.Duration
		want      string
	}{
		{"the server's silence", 0, silent, 44 * time.Second, "the platform asked for silence for another 45s"},
		{"our own share", 1, good, 59 * time.Second, "no time left: our own share of requests is spent (sources[].platform.requests_per_minute)"},
	}
	for _, row := range rows {
		synctest.Test(t, func(t *testing.T) {
			c := memory(t, row.perMinute, answers(row.first, good))
			c.ReadMode(t.Context(), id)
			ctx, cancel := context.WithTimeout(t.Context(), row.patience)
			defer cancel()
			begun := time.Now()
			if got, want := c.ReadMode(ctx, id), failure(row.want); got != want {
				t.Errorf("%s: got %+v, want %+v", row.name, got, want)
			}
			if took := time.Since(begun); took != 0 {
				t.Errorf("%s: waited %s in vain", row.name, took)
			}
		})
	}
}

// A caller that ends while it waits says why it ended.
func TestWaitEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := good
		silent.header = []string{"X-Ratelimit-Limit", "600", "X-Ratelimit-Remaining", "0", "X-Ratelimit-Reset", "45"}
		c := memory(t, 0, answers(silent))
		c.ReadMode(t.Context(), id)
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(errors.New("shutting down")) })
		if got, want := c.ReadMode(ctx, id), failure("shutting down"); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}
