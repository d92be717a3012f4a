package platform_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/platform"
)

// What the platform answers, and what is known then. Each row is asked over a
// real socket, and each makes exactly one request whatever it says.
func TestRestart(t *testing.T) {
	const gone = "404: no such route there, and no workspace was looked for; correct platform.url"
	rows := []struct {
		name   string
		status int
		body   string
		header string // of Retry-After
		want   drift.Call
	}{
		{"the platform has begun", 200, `{"status":"provisioning"}`, "", drift.Call{Result: drift.CallAccepted, Words: "the platform has begun"}},
		{"and says more", 200, `{"status":"provisioning","workspace_id":"x"}` + "\n", "", drift.Call{Result: drift.CallAccepted, Words: "the platform has begun"}},
		{"nothing to restart", 200, `{"status":"noop"}`, "", drift.Call{Result: drift.CallNoop, Words: "the platform says that there is nothing to restart"}},

		{"an unheard-of status may mean that it has begun", 200, `{"status":"queued"}`, "", unknown("200, with a status that is not known")},
		{"no status", 200, `{}`, "", unknown("200, with a status that is not known")},
		{"JSON null", 200, `null`, "", unknown("200, with a status that is not known")},
		{"not JSON", 200, `<html>` + token, "", unknown("200, and the answer is not the expected JSON")},
		{"nothing", 200, ``, "", unknown("200, and the answer is not the expected JSON")},
		{"longer than an answer can be", 200, `{"status":"provisioning","pad":"` + strings.Repeat("x", 128<<10) + `"}`, "", unknown("200, and the answer is not the expected JSON")},
		{"another success", 202, `{"status":"provisioning"}`, "", unknown("unexpected status 202")},

		{"unknown or removed", 404, `{"error":"workspace not found"}`, "", drift.Call{Result: drift.CallNotFound, Words: "404: the platform does not know the workspace, or has removed it"}},
		{"a wrong organisation is no removed workspace", 404, "", "", refused(platform.ErrOrg.Error())},
		{"a missing route is no removed workspace", 404, "404 page not found\n", "", refused(gone)},
		{"nor is a gateway's page", 404, "<html>not found</html>", "", refused(gone)},
		{"organisation missing", 400, `{"code":"TENANT_ORG_HEADER_REQUIRED"}`, "", refused(platform.ErrOrg.Error())},
		{"malformed id", 400, `{"error":"invalid id"}`, "", refused("400: the platform does not take the workspace's id")},
		{"token", 401, "", "", refused(platform.ErrUnauthorized.Error())},
		{"forbidden", 403, "", "", refused(platform.ErrUnauthorized.Error())},
		{"paused above", 409, `{"error":"parent paused"}`, "", drift.Call{Result: drift.CallConflict, Words: "409: a workspace above it is paused"}},
		{"throttled", 429, "", "7", throttled(7 * time.Second)},
		{"throttled without a word", 429, "", "", throttled(time.Second)},
		{"throttled for ever", 429, "", "99999999999", throttled(15 * time.Minute)},
		{"throttled until a day far away", 429, "", "Fri, 01 Jan 2100 00:00:00 GMT", throttled(15 * time.Minute)},

		{"no provisioner", 503, `{"error":"no provisioner"}`, "", unavailable(0)},
		{"no provisioner, and when to ask again", 503, `{"error":"no provisioner"}`, "3", unavailable(3 * time.Second)},
		{"503 without a word", 503, "", "", unavailable(0)},
		{"a gateway's 503 may come after the call was passed on", 503, "upstream connect error or disconnect/reset before headers", "", unknown("503, in the words of a gateway")},
		{"500 may come after the instance was stopped", 500, `{"error":"x"}`, "", unknown("500: the platform failed, maybe after it had stopped the instance")},
		{"a gateway that lost the platform", 502, "", "", unknown("502: the platform failed, maybe after it had stopped the instance")},
		{"a gateway that did not wait", 504, "", "", unknown("504: the platform failed, maybe after it had stopped the instance")},
		{"not known to have done nothing", 418, "", "", unknown("unexpected status 418")},
		{"not asked again where a server says so", 408, "", "", unknown("unexpected status 408")},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var calls atomic.Int32
			c := client(t, func(w http.ResponseWriter, _ *http.Request) {
				calls.Add(1)
				if row.header != "" {
					w.Header().Set("Retry-After", row.header)
				}
				reply(row.status, row.body)(w, nil)
			})
			got := platform.NewActor(c).Restart(t.Context(), id)
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("call (-want +got):\n%s", diff)
			}
			if n := calls.Load(); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
		})
	}
}

func unknown(words string) drift.Call {
	return drift.Call{Result: drift.CallUncertain, Words: words + "; whether the workspace is being restarted shows by looking alone"}
}

func refused(words string) drift.Call {
	return drift.Call{Result: drift.CallRefused, Words: words}
}

func throttled(again time.Duration) drift.Call {
	return drift.Call{Result: drift.CallThrottled, Words: "429: the tenant's request budget is spent", RetryAfter: again}
}

func unavailable(again time.Duration) drift.Call {
	return drift.Call{Result: drift.CallUnavailable, Words: "503: the platform has no provisioner, or its database is down", RetryAfter: again}
}

// What goes over the wire: one route, and no id gets to another.
func TestRestartRequest(t *testing.T) {
	var got []string
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		got = []string{r.Method, r.RequestURI, r.Header.Get("Authorization"), r.Header.Get("X-Molecule-Org-Id"), r.Header.Get("Idempotency-Key")}
		reply(200, `{"status":"provisioning"}`)(w, r)
	})
	actor := platform.NewActor(c)
	actor.Restart(t.Context(), id)
	if diff := cmp.Diff([]string{"POST", "/base/workspaces/" + id + "/restart", "Bearer " + token, org, ""}, got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	for _, odd := range []string{"", ".", "..", "a/b", "a?b", "a#b", "a%2fb", "a b", "a\nb", "ä", strings.Repeat("a", 65)} {
		got = nil
		if call := actor.Restart(t.Context(), odd); call.Result != drift.CallRefused || got != nil {
			t.Errorf("id %q: %+v, sent %q", odd, call, got)
		}
	}
}

// A call that may not start in its caller's time was not sent, and that is
// certain.
func TestARestartThatWaitsInVainWasNotSent(t *testing.T) {
	quiet := good
	quiet.header = []string{"X-Ratelimit-Limit", "600", "X-Ratelimit-Remaining", "10", "X-Ratelimit-Reset", "40"}
	for _, row := range []struct {
		name      string
		perMinute int
		before    []answer // to reads, before
		within    time.Duration
		want      drift.Call
	}{
		{"the platform wants silence", 0, []answer{quiet}, 10 * time.Second, drift.Call{Result: drift.CallThrottled, Words: "not sent: the platform asked for silence for another 40s", RetryAfter: 40 * time.Second}},
		{"our own share is spent", 1, []answer{good}, 10 * time.Second, drift.Call{Result: drift.CallThrottled, Words: "not sent: no time left: our own share of requests is spent (sources[].platform.requests_per_minute)"}},
		{"the platform is spared", 0, []answer{{status: 401}}, 10 * time.Second, drift.Call{Result: drift.CallUnavailable, Words: "not sent: " + platform.ErrUnauthorized.Error()}},
		{"the caller has gone", 0, nil, 0, drift.Call{Result: drift.CallUnavailable, Words: "not sent: context deadline exceeded"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var posts int
				answer := answers(append(row.before, good)...)
				c := memory(t, row.perMinute, func(r *http.Request) (*http.Response, error) {
					if r.Method == http.MethodPost {
						posts++
					}
					return answer(r)
				})
				for range row.before {
					c.ReadMode(t.Context(), id)
				}
				ctx, cancel := context.WithTimeout(t.Context(), row.within)
				defer cancel()
				if diff := cmp.Diff(row.want, platform.NewActor(c).Restart(ctx, id)); diff != "" {
					t.Errorf("call (-want +got):\n%s", diff)
				}
				if posts != 0 {
					t.Errorf("%d calls were sent", posts)
				}
			})
		})
	}
}

// Waiting ends with the context at once, and then nothing is sent.
func TestARestartStopsWaitingWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport, calls := clocked(answers(answer{status: 429, header: []string{"Retry-After", "30"}}))
		actor := platform.NewActor(memory(t, 0, transport))
		actor.Restart(t.Context(), id)
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(10*time.Second, func() { cancel(errors.New("paused")) })
		began := time.Now()
		want := drift.Call{Result: drift.CallUnavailable, Words: "not sent: paused"}
		if diff := cmp.Diff(want, actor.Restart(ctx, id)); diff != "" {
			t.Errorf("call (-want +got):\n%s", diff)
		}
		if took := time.Since(began); took != 10*time.Second || len(calls()) != 1 {
			t.Errorf("ended after %s, %d calls", took, len(calls()))
		}
	})
}

// Newer platforms dropped the read endpoint; that says nothing of the restart.
func TestAMissingReadEndpointDoesNotKeepFromActing(t *testing.T) {
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			reply(404, "404 page not found")(w, r)
			return
		}
		reply(200, `{"status":"provisioning"}`)(w, r)
	})
	if read := c.ReadMode(t.Context(), id); read.Err == "" {
		t.Fatalf("%+v", read)
	}
	if call := platform.NewActor(c).Restart(t.Context(), id); call.Result != drift.CallAccepted {
		t.Errorf("%+v", call)
	}
}

// Law 8: whatever a server says, no call's words hold the token nor the id.
func TestWordsHoldNoToken(t *testing.T) {
	for status := 200; status < 600; status++ {
		c := memory(t, 0, answers(answer{status: status, body: `{"error":"` + token + id + `","status":"` + token + `"}`}))
		got := platform.NewActor(c).Restart(t.Context(), id)
		if got.Words == "" || strings.Contains(got.Words, token) || strings.Contains(got.Words, id) || got.RetryAfter < 0 {
			t.Errorf("status %d: %+v", status, got)
		}
	}
}

// Whatever a platform says, a call ends in a word of ours, and only the words
// that are known to mean so say that nothing was done.
func FuzzRestart(f *testing.F) {
	for _, body := range []string{`{"status":"provisioning"}`, `{"status":"noop"}`, `{"status":7}`, "null", "404 page not found", "<"} {
		for _, status := range []int{200, 404, 409, 429, 500, 503} {
			f.Add(status, body, "3")
		}
	}
	f.Fuzz(func(t *testing.T, status int, body, after string) {
		c := memory(t, 0, answers(answer{status: status, body: body, header: []string{"Retry-After", after}}))
		got := platform.NewActor(c).Restart(t.Context(), id)
		switch {
		case got.Result == "" || got.Words == "" || len(got.Words) > 300 || got.RetryAfter < 0 || got.RetryAfter > 15*time.Minute:
			t.Errorf("%d %q: %+v", status, body, got)
		case got.Result == drift.CallNoop && (status != 200 || !strings.Contains(body, "noop")),
			status >= 500 && status != 503 && !got.MayHaveActed():
			t.Errorf("%d %q says that nothing was done: %+v", status, body, got)
		}
	})
}
