package reconcile_test

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// What tenants, customers, the platform and people do in the model.

// provision lets the platform end what it has begun at a workspace.
func (m *machine) provision() {
	var begun []*box
	for _, b := range m.world.boxes {
		if b.pending != "" {
			begun = append(begun, b)
		}
	}
	if len(begun) == 0 {
		m.turn()
		return
	}
	oneOf(m.T, "workspace", begun).provision()
}

// wreck lets a customer start a container again, for better or worse, or a
// person help one that is lost.
func (m *machine) wreck() {
	b := m.any("workspace")
	if b.pending != "" {
		m.Skip("the platform is at it")
	}
	b.env = oneOf(m.T, "env", []string{envManaged, envManaged, envManaged, envModel, envBYOK})
	b.status, b.life, b.started = "online", b.life+1, time.Now()
}

// write changes the inputs of a workspace.
func (m *machine) write() { m.any("workspace").written++ }

// hide takes a container out of sight, or shows it again.
func (m *machine) hide() { m.hideIt(m.any("workspace")) }

func (m *machine) hideIt(b *box) {
	for _, hidden := range m.world.boxes { // one at a time
		if hidden.seen != drift.Observed || hidden.stale {
			b = hidden
		}
	}
	switch {
	case b.seen != drift.Observed || b.stale:
		b.seen, b.stale = drift.Observed, false
	case m.once("stale", 3):
		b.stale = true
	default:
		b.seen = oneOf(m.T, "seen", []drift.State{drift.Unreachable, drift.NotRunning, drift.Unsupported, drift.NotAsked})
	}
}

// traffic lets a workspace call the proxy, or stop to.
func (m *machine) traffic() {
	b := m.any("workspace")
	b.calling = !b.calling
}

// fault begins or ends what makes acting unwise.
func (m *machine) fault() {
	for _, b := range m.world.boxes {
		if b.doubtful && m.once("readable again", 2) {
			b.doubtful = false
			return
		}
	}
	switch m.number("fault", 0, 3) {
	case 0:
		source := oneOf(m.T, "source", m.world.sources)
		m.world.poisoned[source] = !m.world.poisoned[source]
	case 1:
		m.world.blind = !m.world.blind
	default:
		b := m.any("workspace")
		b.doubtful = !b.doubtful
	}
}

// flip has a tenant want another mode at once for all of its workspaces, or all
// but one: what is doubted keeps from acting on that one, too.
func (m *machine) flip() {
	spared := m.any("spared")
	list := m.world.of(spared.source)
	for _, b := range list {
		if b != spared || len(list) < 3 {
			b.flipped = !b.flipped
		}
	}
}

// accept is a person's word that what flipped is meant.
func (m *machine) accept() {
	for _, name := range m.world.sources {
		if m.ledger.surging[name] {
			m.must(m.side.Accept(m.ctx, name, "ops", "meant"))
			return
		}
	}
	m.Skip("nothing is doubted")
}

// scope draws what is to be paused.
func (m *machine) scope() store.Scope {
	b := m.any("workspace")
	return oneOf(m.T, "scope", []store.Scope{{Kind: store.ScopeAll}, {Kind: store.ScopeSource, Source: b.source}, {Kind: store.ScopeWorkspace, Source: b.source, Workspace: b.id}})
}

func (m *machine) pauseIt(s store.Scope) {
	if _, err := m.side.Pause(m.ctx, store.Pause{Scope: s, Reason: "test", By: "ops"}); err != nil {
		m.ledger.law(9, "it could not be paused: %s", err)
		return
	}
	m.world.mu.Lock()
	defer m.world.mu.Unlock()
	m.ledger.paused[s] = true // from now on, none is called
}

func (m *machine) pause() {
	m.pauseIt(m.scope())
	m.hear()
}

// hear lets a replica read what is paused, or not: who acts asks the database.
func (m *machine) hear() {
	if m.once("heard", 2) {
		m.must(m.replicas[m.number("replica", 0, 1)].SeePauses(m.ctx))
	}
}

func (m *machine) resume() {
	if len(m.ledger.paused) == 0 {
		m.Skip("nothing is paused")
	}
	for s := range m.ledger.paused {
		_, err := m.side.Resume(m.ctx, s, "ops", "")
		m.must(err)
	}
	clear(m.ledger.paused)
	for _, d := range m.replicas {
		m.must(d.SeePauses(m.ctx))
	}
}

func (m *machine) approve() { m.approveIt(m.any("workspace")) }

func (m *machine) approveIt(b *box) {
	a, err := m.side.Approve(m.ctx, store.Approval{Source: b.source, Workspace: b.id, Reason: "test", By: "ops", ExpiresAt: time.Now().Add(time.Hour)})
	m.must(err)
	m.ledger.vouch(b.id, a.Cause)
}

func (m *machine) suppress() { m.suppressIt(m.any("workspace")) }

func (m *machine) suppressIt(b *box) {
	for id := range m.ledger.suppressed { // one at a time, lest all is quiet soon
		b = m.world.box(id)
	}
	if !m.ledger.suppressed[b.id] {
		_, err := m.side.Suppress(m.ctx, store.Suppression{Source: b.source, Workspace: b.id, Reason: "test", By: "ops", ExpiresAt: time.Now().Add(time.Hour)})
		m.must(err)
		m.ledger.suppressed[b.id] = true
		return
	}
	list, err := m.side.Suppressions(m.ctx, b.source)
	m.must(err)
	for _, s := range list {
		if s.Workspace == b.id {
			_, err := m.side.Unsuppress(m.ctx, s.ID, "ops")
			m.must(err)
		}
	}
	delete(m.ledger.suppressed, b.id)
}

// request is a person who wants a workspace reprovisioned.
func (m *machine) request() {
	b := m.any("workspace")
	r := store.Request{Source: b.source, Workspace: b.id, Reason: "test", By: "ops", DryRun: m.once("dry run", 3), Force: m.once("force", 2)}
	_, _, err := m.side.Once(m.ctx, store.OnceKey{Principal: "ops", Key: uuid.NewString()}, func(c *store.Change) (any, error) { return c.Request(m.ctx, r) })
	if err != nil && !errors.Is(err, store.ErrInvalid) { // one waits already
		m.Fatal(err)
	}
}

// What may happen between a look and the call that it leads to.
const (
	nothing    = "nothing"
	paused     = "a pause"
	latePause  = "a pause, once the call has been written down"
	otherTurn  = "another replica's turn"
	frozenTurn = "a turn that stands still, once the call has been written down, until another replica has settled the action"
)

// meanwhile draws what happens once the next look has its answer.
func (m *machine) meanwhile(id int64, workspace string, other int) {
	what := oneOf(m.T, "meanwhile", []string{nothing, nothing, nothing, nothing, nothing, nothing, nothing, nothing, nothing, nothing, paused, latePause, otherTurn, frozenTurn})
	scope := m.scope()
	a, err := m.side.Action(m.ctx, id)
	m.must(err)
	if a.State != store.ActionQueued && what != paused {
		return
	}
	var then func()
	switch what {
	case paused:
		then = func() { m.pauseIt(scope) }
	case latePause:
		then = func() { m.behindTheSwitch(id, func(tx pgx.Tx) { m.pauseWith(tx, scope) }) }
	case otherTurn:
		then = func() { _, _, _ = turn(m.ctx, m.replicas[other], id) }
	case frozenTurn:
		m.passed["unapplied"] = true
		m.use(m.passed)
		then = func() {
			m.behindTheSwitch(id, func(pgx.Tx) {
				for range 2 {
					_, _, _ = turn(m.ctx, m.replicas[other], id)
				}
			})
		}
	default:
		return
	}
	m.world.observer = func(seen string) {
		if seen == workspace {
			then()
		}
	}
}

// behindTheSwitch holds the switch until the action is no longer queued, and
// then does something before it lets go: whoever is to call waits for it.
func (m *machine) behindTheSwitch(id int64, do func(tx pgx.Tx)) {
	ctx, stop := context.WithTimeout(m.ctx, 20*time.Second)
	c, err := pgx.Connect(ctx, m.url)
	if err != nil {
		stop()
		return
	}
	tx, err := c.Begin(ctx)
	if err == nil {
		_, err = tx.Exec(ctx, "SELECT pg_advisory_xact_lock(1919247214, 1)") // the switch
	}
	m.waits.Go(func() {
		defer stop()
		defer func() { _ = c.Close(m.ctx) }()
		for err == nil {
			var state string
			if err = tx.QueryRow(ctx, "SELECT state FROM actions WHERE id = $1", id).Scan(&state); state != string(store.ActionQueued) {
				break
			}
			time.Sleep(time.Millisecond)
		}
		if err == nil {
			do(tx)
			_ = tx.Commit(ctx)
		}
	})
}

// pauseWith pauses as Store.Pause does, by somebody who has the switch.
func (m *machine) pauseWith(tx pgx.Tx, s store.Scope) {
	m.world.mu.Lock()
	defer m.world.mu.Unlock()
	_, err := tx.Exec(m.ctx, `INSERT INTO pauses (kind, source, workspace, observing, reason, by, at) VALUES ($1, $2, $3, false, 'test', 'ops', now()) ON CONFLICT DO NOTHING`, string(s.Kind), s.Source, s.Workspace)
	if err == nil {
		m.ledger.paused[s] = true
	}
}
