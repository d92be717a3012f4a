package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/internal/fleetsim"
)

// inbox is a webhook's other side: it keeps the ids of what it takes, in order.
type inbox struct {
	*httptest.Server
	mu    sync.Mutex
	ids   []string
	asked int
	hangs chan struct{} // nil: it does not; closed: no longer
	busy  bool          // it asks for an hour of patience
}

func newInbox(t *testing.T, i *inbox) *inbox {
	t.Helper()
	i.Server = httptest.NewServer(i)
	t.Cleanup(i.Close)
	return i
}

func (i *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	i.mu.Lock()
	i.asked++
	i.mu.Unlock()
	if i.hangs != nil {
		select {
		case <-i.hangs:
		case <-r.Context().Done():
			return
		}
	}
	if i.busy {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ids = append(i.ids, r.Header.Get("webhook-id"))
}

func (i *inbox) requests() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked
}

// hears waits until it has taken as many messages as there are events, and wants
// them to be these, once and in order.
func (i *inbox) hears(w *watched) {
	w.t.Helper()
	all := w.strings("SELECT (SELECT id FROM identity) || '.' || id FROM events ORDER BY id")
	if !awaits(patience, func() bool {
		i.mu.Lock()
		defer i.mu.Unlock()
		return len(i.ids) >= len(all)
	}) {
		w.t.Error("not all is told")
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if diff := cmp.Diff(all, i.ids[:min(len(all), len(i.ids))]); diff != "" {
		w.t.Errorf("told otherwise than each once, in order:\n%.2000s", diff)
	}
}

// tells gives who is telling a sink, and another.
func (w *watched) tells(sink string, among []*replica) (first, other *replica) {
	w.t.Helper()
	if !awaits(patience, func() bool {
		holder := strings.Join(w.strings("SELECT holder FROM sinks WHERE name = $1 AND held_until > clock_timestamp()", sink), "")
		for i, p := range among {
			if strings.HasSuffix(holder, fmt.Sprintf("/%d", p.pid())) {
				first, other = p, among[len(among)-1-i]
			}
		}
		return first != nil
	}) {
		w.t.Fatalf("none of these tells sink %s", sink)
	}
	return first, other
}

// Two processes, and thousands of events for three webhooks: one that hangs, one
// that asks for patience, one that is well.
func TestDaemonTellsBesideASinkThatHangs(t *testing.T) {
	t.Parallel()
	well, busy, hung := newInbox(t, &inbox{}), newInbox(t, &inbox{busy: true}), newInbox(t, &inbox{hangs: make(chan struct{})})
	w := watch(t, fleetsim.Options{Workspaces: 8, Tenants: 2}, swap("alerting: {", fmt.Sprintf(`notify:
  - { name: well, webhook: { url: %q } }
  - { name: busy, webhook: { url: %q } }
  - { name: hung, webhook: { url: %q } }
alerting: {`, well.URL, busy.URL, hung.URL)))
	pair := []*replica{w.start().ready(), w.start().ready()}
	if !awaits(patience, func() bool { return len(w.strings("SELECT name FROM sinks")) == 3 }) {
		t.Fatal("the sinks are not noted")
	}
	w.spread(pair...)
	before, _ := pair[0].metric("go_goroutines")
	if _, err := w.db.Exec(context.Background(), `INSERT INTO events (at, kind, severity, source, name, summary, by)
		SELECT clock_timestamp(), 'of_tomorrow', 'high', '', '', 'flood', '' FROM generate_series(1, 3000)`); err != nil {
		t.Fatal(err)
	}
	broken := w.breakable()[:2]
	w.breaks(broken...)
	w.opens(broken...)
	w.passes(2)
	well.hears(w)
	if after, _ := pair[0].metric("go_goroutines"); after > before+30 {
		t.Errorf("%v goroutines, %v before", after, before)
	}
	if n := busy.requests(); n != 1 {
		t.Errorf("it asked for an hour, and was asked %d times", n)
	}

	first, other := w.tells("hung", pair)
	begun := time.Now()
	first.stop()
	if took := time.Since(begun); took > 10*time.Second { // less than a message has
		t.Errorf("it ended after %s", took)
	}
	w.tells("hung", []*replica{other})
	if took := time.Since(begun); took > 40*time.Second { // less than a claim lasts
		t.Errorf("the other tells it after %s", took)
	}
	close(hung.hangs)
	hung.hears(w)
	w.holds()
}
