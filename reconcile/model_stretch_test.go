package reconcile_test

import (
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// Stretches of the model, in which one thing follows the other as it mostly
// does: steps that are drawn one by one seldom come to what is counted.

// breakAll lets whatever runs become what it should not be.
func (m *machine) breakAll() {
	for _, b := range m.world.boxes {
		if b.running() && b.right() {
			b.env, b.life, b.started = envManaged, b.life+1, time.Now()
			if b.flipped {
				b.env = envBYOK
			}
		}
	}
}

// storm breaks all, and has all that is begun go well, twice.
func (m *machine) storm() {
	m.lift()
	for range 2 {
		m.breakAll()
		m.walkAll(false)
		m.takeAll(saysAccepted)
		m.provisionAll()
		m.takeAll(saysAccepted)
	}
}

// rearm breaks all, has one that is called come to a bad end while others wait,
// and a person let the cause go on.
func (m *machine) rearm() {
	m.lift()
	m.breakAll()
	m.walkAll(false)
	id, workspace := m.chosen()
	if id == 0 {
		return
	}
	b, fate := m.world.box(workspace), oneOf(m.T, "bad end", []string{fateSame, fateWorse, fateLost})
	m.takeNow(0, id, saysAccepted, fate)
	if m.once("the others are called, too", 2) {
		m.takeAll(saysAccepted)
	}
	if b.pending != "" {
		b.provision()
	}
	m.takeNow(1, id, saysAccepted, fate)
	m.approveIt(b)
	m.walkAll(false)
	m.provisionAll()
	m.takeAll(saysAccepted)
	m.storm()
}

// late has a cause stopped by one while the call of another, which has been
// written down, waits for the switch.
func (m *machine) late() {
	m.lift()
	m.breakAll()
	m.walkAll(false)
	list, _, err := m.side.Actions(m.ctx, store.ActionFilter{InFlight: true})
	m.must(err)
	list = slices.DeleteFunc(list, func(a store.Action) bool { return a.State != store.ActionQueued })
	if len(list) < 2 {
		return
	}
	first, second := list[0].ID, list[1].ID
	m.takeNow(0, first, saysAccepted, fateSame)
	m.provisionAll()
	m.world.observer = func(string) {
		m.behindTheSwitch(second, func(pgx.Tx) {
			_, _, _ = turn(m.ctx, m.replicas[1], first)
			m.world.mu.Lock()
			defer m.world.mu.Unlock()
			_ = m.ledger.settle(m.ctx) // from now on, it is stopped
		})
	}
	m.take(0, second)
	m.waits.Wait() // it looks, too
	m.world.observer = nil
}

// provisionAll lets the platform end all that it has begun.
func (m *machine) provisionAll() {
	for _, b := range m.world.boxes {
		if b.pending != "" {
			b.provision()
		}
	}
}

// insist breaks all, and has the platform say no for as long as it is asked.
func (m *machine) insist() {
	m.lift()
	m.breakAll()
	no := oneOf(m.T, "no", []string{string(drift.CallRefused), string(drift.CallNoop), string(drift.CallNotFound)})
	for range m.world.remedy.Attempts + 1 {
		m.walkAll(m.once("cooling down", 4))
		m.takeAll(no)
	}
}

// hush breaks all, and while one waits for its turn a person suppresses it, or it
// goes out of sight.
func (m *machine) hush() {
	m.lift()
	m.breakAll()
	m.walkAll(false)
	switch _, id := m.chosen(); {
	case id == "":
	case m.once("out of sight", 2):
		m.hideIt(m.world.box(id))
	default:
		m.suppressIt(m.world.box(id))
	}
	m.takeAll(saysAccepted)
}

// lift resumes what is paused, and may let an hour pass, in which budgets come
// back.
func (m *machine) lift() {
	if len(m.ledger.paused) > 0 {
		m.resume()
	}
	if m.once("an hour later", 2) {
		m.exec("UPDATE actions SET opened_at = opened_at - interval '1 hour' WHERE opened_at IS NOT NULL")
		for _, d := range m.ledger.deeds {
			d.old = true
		}
	}
}

// walkAll walks every source until its looks agree.
func (m *machine) walkAll(cooling bool) {
	m.use(map[string]bool{"backoff": !cooling})
	for range m.world.remedy.Confirmations {
		for _, source := range m.world.sources {
			if !m.replicas[0].WalkNow(m.ctx, source) && !m.replicas[1].WalkNow(m.ctx, source) {
				m.replicas[m.number("replica", 0, 1)].Keep(m.ctx)
			}
		}
	}
	m.must(m.ledger.settle(m.ctx))
}

// takeAll takes a turn at everything that is under way.
func (m *machine) takeAll(answer string) {
	list, _, err := m.side.Actions(m.ctx, store.ActionFilter{InFlight: true})
	m.must(err)
	for i := range list {
		m.takeNow(i%2, list[i].ID, answer, fateFixed)
	}
}

// takeNow takes a turn at an action, with waits that are over.
func (m *machine) takeNow(replica int, id int64, answer, fate string) {
	m.world.answer, m.world.fate = answer, fate
	m.use(map[string]bool{"settle": true, "silence": true, "backoff": true})
	m.take(replica, id)
	m.must(m.ledger.settle(m.ctx))
}
