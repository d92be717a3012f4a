package platform_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/platform"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	token = "planted-admin-token"
	org   = "org-reno"
	id    = "6b66de8d-9337-4fb4-be8d-6d49dca0d809"
)

// client speaks to handler over a real socket.
func client(t *testing.T, handler http.HandlerFunc) *platform.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	c, err := platform.New(platform.Options{Source: "reno", URL: server.URL + "/base/", AdminToken: token, OrgID: org})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func reply(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

func derived(mode, source, selection string) string {
	return fmt.Sprintf(`{"workspace_id":%q,"resolved_mode":%q,"workspace_override":null,"source":%q,"provider_selection":%s}`, id, mode, source, selection)
}

func TestReadMode(t *testing.T) {
	rows := []struct {
		name   string
		status int
		body   string
		want   drift.ReadEndpoint
	}{
		{"derived", 200, derived("byok", "derived_provider", `"anthropic-oauth"`), drift.ReadEndpoint{Mode: drift.ModeBYOK, Source: drift.FromProvider, Provider: "anthropic-oauth"}},
		{"older platforms send org_default too", 200, `{"workspace_id":"` + id + `","resolved_mode":"platform_managed","workspace_override":null,"org_default":"byok","source":"derived_provider","provider_selection":"platform"}`,
			drift.ReadEndpoint{Mode: drift.ModePlatformManaged, Source: drift.FromProvider, Provider: "platform"}},
		{"without a derivation the selection is the raw model", 200, derived("platform_managed", "derived_default", `"no/such-model"`), drift.ReadEndpoint{Mode: drift.ModePlatformManaged, Source: drift.FromDefault}},
		{"no selection", 200, derived("disabled", "workspace_override", "null"), drift.ReadEndpoint{Mode: drift.ModeDisabled, Source: drift.FromOverride}},
		{"no workspace_id", 200, `{"resolved_mode":"byok","source":"derived_default"}`, drift.ReadEndpoint{Mode: drift.ModeBYOK, Source: drift.FromDefault}},
		{"ids are compared without case", 200, strings.Replace(derived("byok", "derived_default", "null"), id, strings.ToUpper(id), 1), drift.ReadEndpoint{Mode: drift.ModeBYOK, Source: drift.FromDefault}},

		{"derived, and from nobody", 200, derived("byok", "derived_provider", "null"), failure("the answer says derived_provider and names none")},
		{"another workspace's answer", 200, strings.Replace(derived("byok", "derived_default", "null"), id, "0", 1), failure("the answer is of another workspace")},
		{"unheard-of mode", 200, derived("free_for_all", "derived_default", "null"), failure(`unknown mode "free_for_all"`)},
		{"no mode", 200, `{}`, failure(`unknown mode ""`)},
		{"JSON null", 200, `null`, failure(`unknown mode ""`)},
		{"not JSON", 200, `<html>planted-admin-token</html>`, failure("the answer is not the expected JSON")},
		{"JSON of another shape", 200, `[1,2]`, failure("the answer is not the expected JSON")},
		{"nothing", 200, ``, failure("the answer is not the expected JSON")},
		{"longer than an answer can be", 200, `{"resolved_mode":"byok","pad":"` + strings.Repeat("x", 2<<20) + `"}`, failure("the answer is not the expected JSON")},
		{"malformed id", 400, `{"error":"invalid id"}`, failure("400: the platform does not take the workspace's id")},
		{"organisation missing", 400, `{"code":"TENANT_ORG_HEADER_REQUIRED"}`, failure(platform.ErrOrg.Error())},
		{"organisation wrong", 404, "", failure(platform.ErrOrg.Error())},
		{"route gone", 404, "404 page not found\n", failure(platform.ErrGone.Error())},
		{"a 404 in other words says nothing of the route", 404, `{"error":"workspace not found"}`, failure("unexpected status 404")},
		{"token", 401, `{"error":"unauthorized"}`, failure(platform.ErrUnauthorized.Error())},
		{"forbidden", 403, "", failure(platform.ErrUnauthorized.Error())},
		{"safe_default is a guess and no answer", 500, `{"error":"db","safe_default":"platform_managed","resolved_mode":"platform_managed"}`, failure("500: the platform could not read the workspace's mode")},
		{"not implemented", 501, "", failure("unexpected status 501")},
		{"created", 201, derived("byok", "derived_default", "null"), failure("unexpected status 201")},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got := client(t, reply(row.status, row.body)).ReadMode(t.Context(), id)
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

func failure(words string) drift.ReadEndpoint {
	return drift.ReadEndpoint{Err: "read endpoint: " + words}
}

// What goes over the wire is what the platform demands, and nothing escapes
// from an id into the path.
func TestRequest(t *testing.T) {
	var got []string
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		got = []string{r.Method, r.URL.EscapedPath(), r.Header.Get("Authorization"), r.Header.Get("X-Molecule-Org-Id")}
		_, _ = w.Write([]byte(`{"resolved_mode":"byok"}`))
	})
	for asked, path := range map[string]string{id: id, "../x?y": "..%2Fx%3Fy"} {
		c.ReadMode(t.Context(), asked)
		want := []string{"GET", "/base/admin/workspaces/" + path + "/llm-billing-mode", "Bearer " + token, org}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("request (-want +got):\n%s", diff)
		}
	}
}

// A redirect is refused whoever made the http.Client, and the token stays here.
func TestRedirectsAreRefused(t *testing.T) {
	var carried atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, _ *http.Request) { carried.Add(1) }))
	defer elsewhere.Close()
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	for _, given := range []*http.Client{nil, {Transport: &http.Transport{}}} {
		c, err := platform.New(platform.Options{URL: server.URL, AdminToken: token, OrgID: org, HTTP: given})
		if err != nil {
			t.Fatal(err)
		}
		got := c.ReadMode(t.Context(), id)
		c.Close()
		if want := failure("307: redirects are not followed, the token stays here; correct platform.url"); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if n := carried.Load(); n != 0 {
		t.Errorf("%d requests were carried on", n)
	}
}

// A platform that hangs holds nobody longer than the caller wants to wait.
func TestHangingServerEndsWithTheContext(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	reached := make(chan struct{}, 1)
	c := client(t, func(_ http.ResponseWriter, r *http.Request) {
		reached <- struct{}{}
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-reached
		cancel()
	}()
	got := c.ReadMode(ctx, id)
	if want := failure(context.Canceled.Error()); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestCutConnectionIsNoAnswer(t *testing.T) {
	var calls atomic.Int32
	c := client(t, func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		w.Header().Set("Content-Length", "4000")
		_, _ = w.Write([]byte(derived("byok", "derived_default", "null")))
	})
	ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond) // less than the pause before another attempt
	defer cancel()
	got := c.ReadMode(ctx, id)
	if want := failure("reading the answer: unexpected EOF"); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if n := calls.Load(); n != 1 {
		t.Errorf("%d calls, want 1: there was no time for another", n)
	}
}

func TestNewRefuses(t *testing.T) {
	for name, o := range map[string]platform.Options{
		"no URL":              {},
		"no host":             {URL: "https://"},
		"another scheme":      {URL: "ftp://planted-admin-token"},
		"not a URL":           {URL: "https://host:planted-admin-token/"},
		"a user":              {URL: "https://user:planted-admin-token@host"},
		"a query":             {URL: "https://host?key=planted-admin-token"},
		"a newline in token":  {URL: "https://host", AdminToken: token + "\n"},
		"a newline in org_id": {URL: "https://host", AdminToken: token, OrgID: "x\r\ny"},
	} {
		c, err := platform.New(o)
		if err == nil {
			c.Close()
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), token) {
			t.Errorf("%s: the error tells the secret: %v", name, err)
		}
	}
}

// Law 8: whatever goes wrong, no error holds the token, nor the id: errors that
// are the same count as one.
func TestErrorsHoldNoToken(t *testing.T) {
	echo := func(_ *http.Request) (*http.Response, error) { return nil, errors.New("dial tcp: refused") }
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	got := memory(t, 0, echo).ReadMode(ctx, id)
	if want := failure("dial tcp: refused"); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for status := 100; status < 600; status++ {
		if status == http.StatusSwitchingProtocols {
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		body := `{"error":"` + token + `","resolved_mode":"` + strings.Repeat("x", 20) + `"}`
		got := memory(t, 0, answers(answer{status: status, body: body})).ReadMode(ctx, id)
		cancel()
		if got.Err == "" || strings.Contains(got.Err, token) || strings.Contains(got.Err, id) {
			t.Errorf("status %d: %+v", status, got)
		}
	}
}
