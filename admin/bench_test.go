package admin_test

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/admin"
	"github.com/molecule-ai/billing-reconciler/store"
)

// BenchmarkPage reads a page of 1,000 workspaces over HTTP.
func BenchmarkPage(b *testing.B) {
	w := serve(b)
	h := newHolder(b, w.store, "acme")
	var states []store.State
	for n := range 1000 {
		states = append(states, workspace("acme", n))
	}
	h.pass(time.Now(), "acme", states)
	for b.Loop() {
		r := w.ask("GET /workspaces?limit=1000").want(b, 200)
		b.SetBytes(int64(len(r.body)))
	}
}

// BenchmarkFanOut writes an event and waits until 100 streams have it.
func BenchmarkFanOut(b *testing.B) {
	const streams = 100
	w := serve(b, func(o *admin.Options) { o.MaxStreams = streams })
	w.client.Transport.(*http.Transport).MaxConnsPerHost = 0
	arrived := make(chan struct{}, streams)
	for range streams {
		answer, err := w.client.Do(w.request("GET /events/stream"))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { answer.Body.Close() })
		go func() {
			lines := bufio.NewReader(answer.Body)
			for {
				line, err := lines.ReadString('\n')
				if err != nil {
					return // the benchmark has ended
				}
				if strings.HasPrefix(line, "data: ") {
					arrived <- struct{}{}
				}
			}
		}()
	}
	for b.Loop() {
		pauseN(b, w.store, 0)
		for range streams {
			<-arrived
		}
	}
}
