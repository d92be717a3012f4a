package admin_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/admin"
	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

func TestPauseAndResume(t *testing.T) {
	w, _, _ := fleet(t)
	for rule, c := range map[string]struct{ pause, resume string }{
		"all":       {`{"scope":"all","reason":"r","observing":true}`, `{"scope":"all"}`},
		"source":    {`{"scope":"source","source":"acme","reason":"r","for":"1d"}`, `{"scope":"source","source":"acme","reason":"done"}`},
		"workspace": {`{"scope":"workspace","workspace":"` + strings.ToUpper(idOf(1)) + `","reason":"r"}`, `{"scope":"workspace","workspace":"` + idOf(1) + `"}`},
	} {
		t.Run(rule, func(t *testing.T) {
			p := decode[store.Pause](t, w.ask("POST /pause "+c.pause).want(t, 200))
			if string(p.Kind) != rule || p.By != "ops" || p.Reason != "r" || p.Observing != (rule == "all") || p.At.IsZero() {
				t.Errorf("got %+v", p)
			}
			if rule == "source" && (p.ExpiresAt == nil || time.Until(*p.ExpiresAt) < 23*time.Hour || time.Until(*p.ExpiresAt) > 24*time.Hour) {
				t.Errorf("expires at %v", p.ExpiresAt)
			}
			if rule == "workspace" && (p.Source != "reno-stars" || p.Workspace != idOf(1)) {
				t.Errorf("got scope %+v", p.Scope)
			}
			if got := decode[admin.Pauses](t, w.as(viewerToken).ask("GET /pauses").want(t, 200)); len(got.Pauses) != 1 {
				t.Errorf("got %+v", got)
			}
			for _, was := range []bool{true, false} {
				if got := decode[admin.Resumed](t, w.ask("POST /resume "+c.resume).want(t, 200)); got.Resumed != was || got.Scope != p.Scope {
					t.Errorf("got %+v, want resumed %t", got, was)
				}
			}
		})
	}
}

func TestPausesThatAreRefused(t *testing.T) {
	w, _, _ := fleet(t)
	for rule, c := range map[string]struct {
		body   string
		status int
		words  string
	}{
		"no reason":              {`{"scope":"all"}`, 422, "reason"},
		"a blank reason":         {`{"scope":"all","reason":"  "}`, 422, "body.reason"},
		"no scope":               {`{"reason":"r"}`, 422, "scope"},
		"a scope that is none":   {`{"scope":"fleet","reason":"r"}`, 422, "body.scope"},
		"all of a source":        {`{"scope":"all","source":"acme","reason":"r"}`, 422, "body.source"},
		"all of a workspace":     {`{"scope":"all","workspace":"` + idOf(1) + `","reason":"r"}`, 422, "body.workspace"},
		"a source without name":  {`{"scope":"source","reason":"r"}`, 422, "body.source"},
		"an unknown source":      {`{"scope":"source","source":"nobody","reason":"r"}`, 404, "acme, reno-stars"},
		"a workspace without id": {`{"scope":"workspace","reason":"r"}`, 422, "body.workspace"},
		"an unknown workspace":   {`{"scope":"workspace","workspace":"` + idOf(9) + `","reason":"r"}`, 404, idOf(9)},
		"of another source":      {`{"scope":"workspace","source":"acme","workspace":"` + idOf(1) + `","reason":"r"}`, 404, idOf(1)},
		"no time":                {`{"scope":"all","reason":"r","for":"soon"}`, 422, "body.for"},
		"a time past":            {`{"scope":"all","reason":"r","for":"-2h"}`, 422, "body.for"},
		"no time at all":         {`{"scope":"all","reason":"r","for":"0s"}`, 422, "body.for"},
		"two years":              {`{"scope":"all","reason":"r","for":"730d"}`, 422, "366d"},
	} {
		t.Run(rule, func(t *testing.T) { w.ask("POST /pause "+c.body).want(t, c.status).says(t, c.words) })
	}
	if got := decode[admin.Pauses](t, w.ask("GET /pauses")); len(got.Pauses) != 0 {
		t.Errorf("a refused pause holds: %+v", got)
	}
}

func TestSuppressions(t *testing.T) {
	w, _, _ := fleet(t)
	s := decode[store.Suppression](t, w.ask(`POST /suppressions {"workspace":"`+idOf(1)+`","kind":"mode_mismatch","reason":"known","for":"7d"}`).want(t, 200))
	if s.ID == 0 || s.Source != "reno-stars" || s.Workspace != idOf(1) || s.Kind != drift.ModeMismatch || s.By != "ops" {
		t.Errorf("got %+v", s)
	}
	w.ask(`POST /suppressions {"source":"acme","reason":"new tenant","for":"1h"}`).want(t, 200)
	for source, want := range map[string]int{"": 2, "acme": 1, "nobody": 0} {
		if got := decode[admin.Suppressions](t, w.ask("GET /suppressions?source="+source).want(t, 200)); len(got.Suppressions) != want {
			t.Errorf("%q: got %+v", source, got)
		}
	}
	w.ask(fmt.Sprintf("DELETE /suppressions/%d", s.ID)).want(t, 200)
	w.ask(fmt.Sprintf("DELETE /suppressions/%d", s.ID)).want(t, 404)
	for body, status := range map[string]int{
		`{"reason":"r","for":"1h"}`:                                       422,
		`{"source":"acme","reason":"r"}`:                                  422,
		`{"source":"acme","for":"1h"}`:                                    422,
		`{"source":"nobody","reason":"r","for":"1h"}`:                     404,
		`{"source":"acme","kind":"odd","reason":"r","for":"1h"}`:          422,
		`{"source":"acme","kind":"underivable","reason":"r","for":"1h"}`:  422,
		`{"workspace":"` + idOf(9) + `","reason":"r","for":"1h"}`:         404,
		`{"source":"acme","reason":"r","for":"1h","expires_at":"always"}`: 422,
	} {
		w.ask("POST /suppressions "+body).want(t, status)
	}
}

func TestLook(t *testing.T) {
	w, _, _ := fleet(t)
	first := decode[store.Look](t, w.ask("POST /workspaces/"+idOf(1)+"/look").want(t, 200))
	again := decode[store.Look](t, w.ask("POST /workspaces/"+idOf(1)+`/look {"reason":"now"}`).want(t, 200))
	if first.ID == 0 || first.ID != again.ID || first.Source != "reno-stars" || first.By != "ops" {
		t.Errorf("got %+v, then %+v: want the same request", first, again)
	}
	w.ask("POST /workspaces/"+idOf(9)+"/look").want(t, 404)
	waiting, err := w.store.Looks(t.Context(), []string{"reno-stars"})
	if err != nil || len(waiting) != 1 {
		t.Errorf("got %+v, %v: want one that waits", waiting, err)
	}
}

func TestAKeyChangesOnce(t *testing.T) {
	w, _, _ := fleet(t)
	const key = "Idempotency-Key: k-1"
	first := w.ask(`POST /suppressions {"source":"acme","reason":"r","for":"1h"}`, key).want(t, 200)
	again := w.ask(`POST /suppressions {"source":"acme","reason":"r","for":"1h"}`, key).want(t, 200)
	if first.body != again.body || first.header.Get("Idempotency-Replayed") != "" || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("got %s %v, then %s %v", first.body, first.header, again.body, again.header)
	}
	w.ask(`POST /suppressions {"source":"acme","reason":"another","for":"1h"}`, key).want(t, 422).says(t, "Idempotency-Key")
	w.ask(`POST /pause {"scope":"all","reason":"r"}`, key).want(t, 422)
	if got := decode[admin.Suppressions](t, w.ask("GET /suppressions")); len(got.Suppressions) != 1 {
		t.Errorf("got %+v, want one", got)
	}
	id := decode[store.Suppression](t, first).ID
	for _, replayed := range []string{"", "true"} {
		if got := w.ask(fmt.Sprintf("DELETE /suppressions/%d", id), "Idempotency-Key: k-2").want(t, 200).header.Get("Idempotency-Replayed"); got != replayed {
			t.Errorf("DELETE: got replayed %q, want %q", got, replayed)
		}
	}
}

func TestAKeyIsItsPrincipalsAlone(t *testing.T) {
	w, _, _ := fleet(t, func(o *admin.Options) {
		o.Tokens = append(o.Tokens, admin.Token{Name: "other", Role: admin.Operator, Hash: sum("other")})
	})
	w.ask(`POST /pause {"scope":"all","reason":"r"}`, "Idempotency-Key: k").want(t, 200)
	if got := w.as("other").ask(`POST /pause {"scope":"source","source":"acme","reason":"r"}`, "Idempotency-Key: k").want(t, 200); got.header.Get("Idempotency-Replayed") != "" {
		t.Error("another's answer was replayed")
	}
}

func TestARefusedChangeIsNotKept(t *testing.T) {
	w := serve(t)
	h := newHolder(t, w.store, "acme")
	look := "POST /workspaces/" + idOf(3) + "/look"
	w.ask(look, "Idempotency-Key: k").want(t, 404)
	h.pass(time.Now(), "acme", []store.State{workspace("acme", 3)})
	w.ask(look, "Idempotency-Key: k").want(t, 200)
}

// However many send the same change at once, it happens once, and each gets the
// same answer.
func TestOneKeyInParallel(t *testing.T) {
	w, _, _ := fleet(t)
	var mu sync.Mutex
	bodies, fresh := map[string]int{}, 0
	var all sync.WaitGroup
	for range 16 {
		r := w.request(`POST /suppressions {"source":"acme","reason":"r","for":"1h"}`, "Idempotency-Key: same")
		all.Go(func() {
			got := w.send(r)
			mu.Lock()
			defer mu.Unlock()
			bodies[fmt.Sprint(got.status, got.body)]++
			if got.header.Get("Idempotency-Replayed") == "" {
				fresh++
			}
		})
	}
	all.Wait()
	if len(bodies) != 1 || fresh != 1 {
		t.Errorf("got %d fresh answers and %v; want one, and all the same", fresh, bodies)
	}
	if got := decode[admin.Suppressions](t, w.ask("GET /suppressions")); len(got.Suppressions) != 1 {
		t.Errorf("got %d suppressions, want 1", len(got.Suppressions))
	}
	events := decode[admin.Events](t, w.ask("GET /events?kinds=suppressed"))
	if len(events.Events) != 1 {
		t.Errorf("got %d events, want 1", len(events.Events))
	}
}
