package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim"
)

// guarded lists members that the platform must not pay for, and with which
// nothing is wrong.
func (w *watched) guarded(n int) []*fleetsim.Member {
	w.t.Helper()
	var list []*fleetsim.Member
	for _, m := range w.sim.Members {
		if m.Desired.Mode == drift.ModeBYOK && len(list) < n {
			list = append(list, m)
		}
	}
	if len(list) < n {
		w.t.Fatalf("only %d members are byok, want %d", len(list), n)
	}
	return list
}

// callOf is a line of a billed call of a member, made now.
func callOf(m *fleetsim.Member) string {
	return fmt.Sprintf(`{"time":%q,"remote_addr":%q,"method":"POST","path":"/api/v1/internal/llm/anthropic/v1/messages","status":200}`,
		time.Now().UTC().Format(time.RFC3339Nano), m.Public)
}

// A billed call is told of, by whichever way its line comes.
func TestDaemonHearsEveryInput(t *testing.T) {
	t.Parallel()
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "cp-access"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	address := broker.ListenAddrs()[0]
	w := watch(t, fleetsim.Options{Workspaces: 24, Tenants: 2})
	w.alter(swap("  logs:\n", fmt.Sprintf("  logs:\n    - push: {path: /ingest}\n    - kafka: {brokers: [%q], topic: cp-access}\n", address)))
	members := w.guarded(3)
	p := w.start()
	w.passes(1)
	if err := w.sim.Log.Call(time.Now(), members[0].Public, true, 200); err != nil {
		t.Fatal(err)
	}
	w.opens(members[:1]...)
	response, err := http.Post(p.url()+"/ingest", "application/x-ndjson", strings.NewReader(callOf(members[1])+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode/100 != 2 {
		t.Errorf("pushed: %s", response.Status)
	}
	w.opens(members[:2]...)
	producer, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.DefaultProduceTopic("cp-access"))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	if err := producer.ProduceSync(context.Background(), kgo.StringRecord(callOf(members[2]))).FirstErr(); err != nil {
		t.Fatal(err)
	}
	w.opens(members...)
	for _, input := range []string{"file", "push", "kafka"} {
		if got := w.strings("SELECT (lines > 0)::text || unread || err FROM inputs WHERE input = $1", input); len(got) != 1 || got[0] != "true0" {
			t.Errorf("input %s: %v, want lines, all understood, no error", input, got)
		}
	}
	w.holds()
}

// Two daemons read one file, and are killed at random: every line is counted
// once.
func TestDaemonsOnOneFileCountItOnce(t *testing.T) {
	t.Parallel()
	w := watch(t, fleetsim.Options{Workspaces: 16, Tenants: 2})
	calls, kills := 6000, 8
	if testing.Short() {
		calls, kills = 1500, 2
	}
	first, second := w.start(), w.start()
	w.passes(1)
	before := w.counted()
	for i := range calls {
		m := w.sim.Members[i%len(w.sim.Members)]
		if err := w.sim.Log.Call(time.Now(), m.Public, true, 200+300*(i%2)); err != nil {
			t.Fatal(err)
		}
		if i%(calls/kills) == calls/kills/2 {
			first.kill()
			w.bury(first)
			first, second = second, w.start()
		}
		if i%20 == 0 {
			time.Sleep(10 * time.Millisecond) // a writer has other things to do
		}
	}
	if want := before + calls; !awaits(patience, func() bool { return w.counted() >= want }) || w.counted() != want {
		t.Errorf("%d calls counted, want %d", w.counted()-before, calls)
	}
	w.passes(1)
	if want := before + calls; w.counted() != want {
		t.Errorf("%d calls counted after all, want %d", w.counted()-before, calls)
	}
	w.holds()
	_ = second
}

// counted is how many calls have been counted.
func (w *watched) counted() (n int) {
	for _, text := range w.strings("SELECT coalesce(sum(billed + rejected), 0)::text FROM traffic") {
		_, _ = fmt.Sscan(text, &n)
	}
	return n
}
