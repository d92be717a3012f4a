package notify_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/notify"
)

var one = []drift.News{opened(1, drift.Critical, drift.ModelEmpty)}

func TestWhatAnAnswerMeans(t *testing.T) {
	soon := http.TimeFormat
	for _, c := range []struct {
		rule    string
		status  int
		after   string
		refused bool
		wait    time.Duration
	}{
		{rule: "a message that is not understood is refused", status: 400, refused: true},
		{rule: "a message that is too large is refused", status: 413, refused: true},
		{rule: "a message that cannot be processed is refused", status: 422, refused: true},
		{rule: "a wrong secret says nothing of the message", status: 401},
		{rule: "a wrong address says nothing of the message", status: 404},
		{rule: "a channel that is gone says nothing of the message", status: 410},
		{rule: "a slow one is tried again", status: 408},
		{rule: "a busy one is tried again when it says", status: 429, after: "120", wait: 2 * time.Minute},
		{rule: "a broken one is tried again when it says", status: 503, after: "7", wait: 7 * time.Second},
		{rule: "a past date is no wait", status: 503, after: noon.Format(soon)},
		{rule: "nonsense is no wait", status: 503, after: "-5"},
		{rule: "a broken one is tried again", status: 500},
		{rule: "a redirect is not followed", status: 307},
	} {
		t.Run(c.rule, func(t *testing.T) {
			elsewhere := newReceiver(t, nil)
			r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", elsewhere.URL)
				if c.after != "" {
					w.Header().Set("Retry-After", c.after)
				}
				w.WriteHeader(c.status)
			})
			var e *notify.Error
			if err := webhook(t, to(r.URL), "").Post(t.Context(), origin, one); !errors.As(err, &e) {
				t.Fatalf("got %v", err)
			}
			if e.Status != c.status || e.Refused() != c.refused || e.RetryAfter() != c.wait {
				t.Errorf("got %d, refused %v, wait %s", e.Status, e.Refused(), e.RetryAfter())
			}
			if n := len(elsewhere.all()); n != 0 {
				t.Error("the redirect was followed")
			}
		})
	}
}

// The other side has a date for us.
func TestRetryAfterMayBeADate(t *testing.T) {
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	var e *notify.Error
	if err := webhook(t, to(r.URL), "").Post(t.Context(), origin, one); !errors.As(err, &e) || e.RetryAfter() < 50*time.Minute || e.RetryAfter() > time.Hour {
		t.Errorf("got %v", err)
	}
}

func TestLinkLocalAddresses(t *testing.T) {
	for address, want := range map[string]bool{
		"169.254.169.254": true, "169.254.0.1": true, "::ffff:169.254.169.254": true, "::ffff:100.100.100.200": true, "::169.254.169.254": true, "64:ff9b::169.254.169.254": true,
		"2002:a9fe:a9fe::1": true, "fe80::1": true, "fe80::1%eth0": true, "febf::1": true, "fd00:ec2::254": true, "100.100.100.200": true, "224.0.0.1": true, "ff02::1": true,
		"127.0.0.1": false, "::1": false, "10.0.0.1": false, "192.168.1.1": false, "1.1.1.1": false, "64:ff9b::1.1.1.1": false, "2606:4700::1111": false, "fd00::1": false, "fec0::1": false,
	} {
		if got := notify.LinkLocal(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
}

// Nothing is sent there, however it is written; and a name that leads there is
// refused where it is dialled, not where it was read.
func TestNothingConnectsToALinkLocalAddress(t *testing.T) {
	for _, url := range []string{"http://169.254.169.254/latest/meta-data", "http://[::ffff:169.254.169.254]/", "http://[::ffff:a9fe:a9fe]/", "http://[fe80::1%25lo]/", "http://[fd00:ec2::254]/"} {
		err := webhook(t, to(url), "").Post(t.Context(), origin, one)
		if err == nil || !strings.Contains(err.Error(), "link-local") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestANameThatLeadsToALinkLocalAddressIsRefusedWhenDialled(t *testing.T) {
	server := dns(t, netip.MustParseAddr("169.254.169.254"))
	previous := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server)
	}}
	t.Cleanup(func() { net.DefaultResolver = previous })
	err := webhook(t, to("http://metadata.example.test/"), "").Post(t.Context(), origin, one)
	if err == nil || !strings.Contains(err.Error(), "link-local") {
		t.Errorf("got %v", err)
	}
}

func TestALinkLocalAddressMayBeAllowed(t *testing.T) {
	o := to("http://169.254.169.254:1/")
	o.AllowLinkLocal = true
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if err := webhook(t, o, "").Post(ctx, origin, one); err == nil || strings.Contains(err.Error(), "link-local") {
		t.Errorf("got %v", err)
	}
}

func TestNastyAnswersEndAndAreNotBelieved(t *testing.T) {
	endless := make([]byte, 1<<20)
	for rule, c := range map[string]struct {
		answer http.HandlerFunc
		taken  bool
		whole  bool // it must end by itself, and not because time is up
	}{
		"one that hangs": {answer: func(_ http.ResponseWriter, q *http.Request) { <-q.Context().Done() }},
		"one that is cut before its status": {answer: func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_ = conn.Close()
			}
		}},
		"one that is no HTTP": {answer: func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = conn.Write([]byte("hunter2 hunter2\r\n\r\n"))
				_ = conn.Close()
			}
		}},
		"an endless error": {whole: true, answer: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			for {
				if _, err := w.Write(endless); err != nil {
					return
				}
			}
		}},
		"an endless success": {taken: true, whole: true, answer: func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(endless); err != nil {
					return
				}
			}
		}},
		"a success whose end never comes": {taken: true, whole: true, answer: func(w http.ResponseWriter, q *http.Request) {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-q.Context().Done()
		}},
		"a success that is cut": {taken: true, answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = fmt.Fprint(w, "ok")
		}},
		"endless headers": {answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("x", 1<<20))
		}},
	} {
		t.Run(rule, func(t *testing.T) {
			r := newReceiver(t, c.answer)
			ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
			defer stop()
			err := webhook(t, to(r.URL), "").Post(ctx, origin, one)
			if (err == nil) != c.taken {
				t.Errorf("got %v", err)
			}
			if c.whole && ctx.Err() != nil {
				t.Error("the answer was read without end")
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the other side's words are repeated: %v", err)
			}
		})
	}
}

// Whatever goes wrong, an error says neither where the message went beyond the
// host, nor the key, nor what an echoing server says.
func TestNoErrorHoldsASecret(t *testing.T) {
	const planted = "T0PL4NT3D"
	echo := newReceiver(t, func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Location", q.URL.String()+planted)
		w.WriteHeader(http.StatusFound)
		_, _ = fmt.Fprint(w, q.URL.String(), planted)
	})
	gone := newReceiver(t, nil)
	gone.Close()
	for _, base := range []string{echo.URL, gone.URL, "http://169.254.169.254", "http://name.invalid", "ftp://x", "http://[::1", "http://%zz", "://"} {
		address := to(strings.Replace(base, "://", "://user:"+planted+"@", 1) + "/services/" + planted + "?token=" + planted + "#" + planted)
		if base == "http://[::1" {
			address = to(base + planted)
		}
		for kind, post := range map[string]func() error{
			"webhook": func() error {
				w, err := notify.NewWebhook(address, planted)
				if err != nil {
					return err
				}
				defer w.Close()
				return w.Post(t.Context(), origin, one)
			},
			"slack": func() error {
				s, err := notify.NewSlack(address)
				if err != nil {
					return err
				}
				defer s.Close()
				return s.Post(t.Context(), origin, one)
			},
			"alertmanager": func() error {
				a, err := notify.NewAlertmanager(address)
				if err != nil {
					return err
				}
				defer a.Close()
				return a.Keep(t.Context(), origin, one)
			},
		} {
			err := post()
			if err == nil || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), planted) {
				t.Errorf("%s at %s: %v", kind, base, err)
			}
		}
	}
	if _, err := notify.NewWebhook(to("http://x.test"), "whsec_"+planted+"!"); err == nil || strings.Contains(err.Error(), planted) {
		t.Errorf("a key that is no base64: %v", err)
	}
}

// What Slack says where it refuses is one of a few words, and helps.
func TestSlacksOwnWordsAreTold(t *testing.T) {
	for said, want := range map[string]string{"channel_is_archived": "(channel_is_archived)", "xoxb_secret": ""} {
		r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusGone)
			_, _ = fmt.Fprintln(w, said)
		})
		err := slack(t, to(r.URL)).Post(t.Context(), origin, one)
		if err == nil || !strings.Contains(err.Error(), want) || want == "" && strings.Contains(err.Error(), said) {
			t.Errorf("%s: %v", said, err)
		}
	}
}

func TestReachingSaysNothing(t *testing.T) {
	r := newReceiver(t, nil)
	gone := newReceiver(t, nil)
	gone.Close()
	for url, words := range map[string]string{r.URL: "", gone.URL: "refused", "http://169.254.169.254": "link-local", strings.Replace(r.URL, "http:", "https:", 1): "connect to"} {
		err := webhook(t, to(url), "").Reach(t.Context())
		if (err == nil) != (words == "") || err != nil && !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", url, err)
		}
	}
	if n := len(r.all()); n > 0 {
		t.Errorf("%d requests", n)
	}
}
