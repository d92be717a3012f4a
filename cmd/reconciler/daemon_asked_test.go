package main

import (
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/molecule-ai/billing-reconciler/internal/fleetsim"
)

// posts asks the daemon for a change; status 0: no answer.
func (p *replica) posts(path, body string) (status int, text string) {
	p.t.Helper()
	answer, err := probing.Post(p.url()+"/api/v1"+path, "application/json", strings.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err.Error()
	}
	return answer.StatusCode, string(said)
}

// wish is what somebody asks for, and the status of the answer.
type wish struct {
	path, body string
	want       int
}

// nonsense is asked of a workspace with which nothing is wrong, and of one where
// remediation is off; the last two are taken down, and blocked.
func nonsense(synced, asleep string) []wish {
	const nobody = "00000000-0000-4000-8000-000000000000"
	return []wish{
		{"/workspaces/garbage/reprovision", `{"reason": "x"}`, 422},
		{"/workspaces/%2e%2e/reprovision", `{"reason": "x"}`, 422},
		{"/workspaces/" + nobody + "/reprovision", `{"reason": "x"}`, 404},
		{"/workspaces/" + synced + "/reprovision?source=nowhere", `{"reason": "x"}`, 404},
		{"/workspaces/" + synced + "/reprovision", `{"reason": "` + strings.Repeat("x", 501) + `"}`, 422},
		{"/workspaces/" + synced + "/reprovision", `{"reason": "` + strings.Repeat("x", 2<<20) + `"}`, 413},
		{"/workspaces/" + synced + "/reprovision", `{"reason": " "}`, 422},
		{"/workspaces/" + synced + "/reprovision", `{"reason": "\u0000"}`, 422},
		{"/workspaces/" + synced + "/reprovision", `{"reason": "x", "force": "yes"}`, 422},
		{"/workspaces/" + synced + "/reprovision", `{`, 400},
		{"/workspaces/" + synced + "/approve", `{"reason": "x", "for": "-2h"}`, 422},
		{"/workspaces/" + synced + "/approve", `{"reason": "x", "for": "99999999d"}`, 422},
		{"/causes/nobody_knows/approve", `{"reason": "x"}`, 404},
		{"/causes/dry_run%2Fmodel_empty/approve", `{"reason": "x"}`, 422},
		{"/workspaces/" + synced + "/reprovision", `{"reason": "\u0000\u001b[2J\u0007 and \ud800"}`, 202},
		{"/workspaces/" + asleep + "/reprovision", `{"reason": "x", "force": true}`, 202},
	}
}

// What people ask for that makes no sense, or asks for too much, is refused in
// words, does nothing, and breaks nothing.
func TestDaemonIsAskedForNonsense(t *testing.T) {
	t.Parallel()
	w := attacked(t, fleetsim.Options{Workspaces: 8, Tenants: 2}, nil)
	first, second := w.sim.Tenants[0], w.sim.Tenants[1]
	w.alter(swap("  - name: "+second.Name+"\n", "  - name: "+second.Name+"\n    remediate: {mode: off}\n"))
	p := w.start().ready()
	w.passes(1)
	var synced, asleep *fleetsim.Member
	for _, m := range w.sim.Members {
		switch m.Tenant.Name {
		case first.Name:
			synced = m
		case second.Name:
			asleep = m
		}
	}
	for _, c := range nonsense(synced.Row.ID, asleep.Row.ID) {
		if got, body := p.posts(c.path, c.body); got != c.want {
			t.Errorf("%s %.80s: %d, want %d: %.300s", c.path, c.body, got, c.want, body)
		}
	}
	if !awaits(patience, func() bool { return len(w.strings("SELECT 1::text FROM actions WHERE outcome = 'blocked'")) == 2 }) {
		t.Errorf("not blocked: %+v", w.actions())
	}
	if calls := w.sim.RestartCalls(); len(calls) > 0 {
		t.Errorf("called: %+v", calls)
	}
	w.passes(1)
	w.holds()
}

// Two people want the same at the same time: it is done once. Neither of them,
// however they insist, gets past a pause.
func TestDaemonIsAskedTwiceAtOnce(t *testing.T) {
	t.Parallel()
	w := attacked(t, fleetsim.Options{Workspaces: 4, Tenants: 1}, nil)
	w.alter(swap("remediate:\n", "remediate:\n  approval: true\n"))
	p := w.start().ready()
	m := w.guarded(1)[0]
	w.forgets(m)
	w.opens(m)
	p.types("pause", "--reason", "stop")
	ask := func() int {
		status, _ := p.posts("/workspaces/"+m.Row.ID+"/reprovision", `{"reason": "now", "force": true}`)
		return status
	}
	if got := ask(); got != 202 {
		t.Errorf("asked during a pause: %d", got)
	}
	w.gets("SELECT 1::text FROM actions WHERE outcome = 'blocked' AND words LIKE 'paused%'")
	p.types("resume", "--reason", "go on")
	var all sync.WaitGroup
	var taken, refused atomic.Int32
	for range 8 {
		all.Go(func() {
			switch ask() {
			case 202:
				taken.Add(1)
			case 409:
				refused.Add(1)
			}
		})
	}
	all.Wait()
	if taken.Load() != 1 || refused.Load() != 7 {
		t.Errorf("%d were taken down, %d refused", taken.Load(), refused.Load())
	}
	w.gets("SELECT 1::text FROM actions WHERE outcome = 'cured'")
	w.rest()
	w.once()
	w.holds()
}
