package notify_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/notify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "write the schemas anew")

const origin = "5c1d7f5e-0000-4000-8000-000000000001"

var noon = time.Date(2026, 5, 28, 12, 0, 0, 0, time.UTC)

// received is one request.
type received struct {
	path   string
	header http.Header
	body   []byte
}

// receiver is the other side: it keeps what comes, and answers as it is told.
type receiver struct {
	*httptest.Server
	mu  sync.Mutex
	got []received
}

func newReceiver(t testing.TB, answer http.HandlerFunc) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		r.mu.Lock()
		r.got = append(r.got, received{q.URL.Path, q.Header, body})
		r.mu.Unlock()
		if answer != nil {
			answer(w, q)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) all() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.got
}

func to(url string) notify.Options { return notify.Options{URL: drift.Secret(url)} }

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// webhook, slack and alertmanager are closed when the test ends.
func webhook(t testing.TB, o notify.Options, secret drift.Secret) *notify.Webhook {
	t.Helper()
	w := must(notify.NewWebhook(o, secret))(t)
	t.Cleanup(w.Close)
	return w
}

func slack(t testing.TB, o notify.Options) *notify.Slack {
	t.Helper()
	s := must(notify.NewSlack(o))(t)
	t.Cleanup(s.Close)
	return s
}

func alertmanager(t testing.TB, o notify.Options) *notify.Alertmanager {
	t.Helper()
	a := must(notify.NewAlertmanager(o))(t)
	t.Cleanup(a.Close)
	return a
}

// opened is news of a drift; the n-th workspace is named Agent n.
func opened(n int, severity drift.Severity, cause drift.CauseCode) drift.News {
	news := drift.News{Announced: severity, Event: drift.Event{ID: int64(n), At: noon.Add(time.Duration(n) * time.Second), Kind: drift.EventDriftOpened, Severity: severity, Source: "reno",
		Workspace: fmt.Sprintf("00000000-0000-4000-8000-%012d", n), Name: fmt.Sprintf("Agent %d", n), Episode: int64(100 + n), Summary: "drifted: mode_mismatch"}}
	if cause != "" {
		news.Causes = []drift.Cause{{Code: cause, Summary: "the observed mode is what derivation gives when the model is empty"}}
	}
	return news
}

func of(kind drift.EventKind, n drift.News) drift.News {
	n.Kind = kind
	return n
}

func decode[T any](t testing.TB, body []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return v
}
