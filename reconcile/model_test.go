package reconcile_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/metrics"
	"github.com/molecule-ai/billing-reconciler/reconcile"
	"github.com/molecule-ai/billing-reconciler/store"
	"github.com/molecule-ai/billing-reconciler/store/storetest"
)

// The laws of acting, over whatever may happen in whatever order to a small
// fleet that two replicas look after: the steps are those of the daemon, on a
// real database, and the order is the machine's. An account of its own says what
// was true when each call was made.
//
// The default is short. For long: go test ./reconcile -run Laws -rapid.checks=1000
func TestLawsHoldInEveryState(t *testing.T) {
	few(t, "rapid.checks", "100", "25")
	few(t, "rapid.steps", "30", "60")
	p := newParts(t)
	rapid.Check(t, func(rt *rapid.T) { p.machine(rt).run() })
	t.Logf("what came about: %v", p.came)
}

// few sets a flag of rapid's, unless somebody else has.
func few(t *testing.T, name, usual, ours string) {
	f := flag.Lookup(name)
	if f == nil || f.Value.String() != usual {
		return
	}
	t.Cleanup(func() { _ = f.Value.Set(usual) })
	if err := f.Value.Set(ours); err != nil {
		t.Fatal(err)
	}
}

// parts are what all machines share.
type parts struct {
	url     string
	stores  [2]*store.Store
	side    *store.Store // of people, and of the ledger
	metrics *metrics.Metrics
	came    map[string]int // what came about, over all machines: what never does is not tested
}

func newParts(t *testing.T) *parts {
	url := storetest.Database(t)
	p := &parts{url: url, side: storetest.Open(t, url, "test"), metrics: metrics.New("test"), came: map[string]int{}}
	for i := range p.stores {
		p.stores[i] = storetest.Open(t, url, fmt.Sprint("replica", i))
	}
	return p
}

// machine is one run of the model.
type machine struct {
	*parts
	*rapid.T
	ctx      context.Context
	world    *tenancy
	ledger   *account
	replicas [2]*reconcile.Daemon
	ids      [2]store.Replica
	passed   map[string]bool
	waits    sync.WaitGroup // for pauses that somebody else asks for
}

func (p *parts) machine(rt *rapid.T) *machine {
	m := &machine{parts: p, T: rt, ctx: context.Background(), passed: map[string]bool{}}
	m.exec("SET session_replication_role = replica", // events refuse it otherwise
		`DO $$ BEGIN EXECUTE (SELECT 'TRUNCATE ' || string_agg(quote_ident(tablename), ', ') || ' RESTART IDENTITY' FROM pg_tables
			WHERE schemaname = 'public' AND tablename NOT LIKE '%migration%' AND tablename NOT LIKE 'goose%' AND tablename <> 'identity'); END $$`)
	y := &tenancy{sources: []string{"t00", "t01"}, poisoned: map[string]bool{}, answer: saysAccepted, fate: fateFixed}
	y.remedy = drift.Remedy{Mode: drift.RemediateEnforce, Confirmations: m.number("confirmations", 1, 2), Attempts: m.number("attempts", 1, 3), Approval: m.once("approval", 6), StaleAfter: time.Hour,
		Budget: drift.Budget{InFlight: oneOf(rt, "in flight", []int{1, 2, 2, 5}), PerHour: oneOf(rt, "per hour", []int{3, 6, 15}), Percent: oneOf(rt, "percent", []int{50, 100, 100})}}
	for i, n := range []int{m.number("workspaces of t00", 2, 4), m.number("workspaces of t01", 0, 2)} {
		for k := range n {
			y.boxes = append(y.boxes, &box{source: y.sources[i], id: ws(100*i + k), env: oneOf(rt, "env", []string{envManaged, envManaged, envManaged, envModel, envBYOK}),
				status: "online", seen: drift.Observed, life: 1, started: time.Now().Add(-time.Hour)})
		}
	}
	m.world, m.ledger = y, newAccount(p.side, y, p.came)
	y.ledger = m.ledger
	if m.once("the cause has proven itself before", 2) { // else few machines come to where many are under way
		m.exec("INSERT INTO ramps VALUES ('model_empty', 2, 5, 0, 0, '', NULL, '', '', '', NULL, now())")
		*m.ledger.cause("model_empty") = causeSoFar{begun: 3, proven: 3}
	}
	for i := range m.replicas {
		m.start(i)
	}
	return m
}

func oneOf[V any](t *rapid.T, label string, list []V) V {
	return rapid.SampledFrom(list).Draw(t, label)
}

func (m *machine) number(label string, from, to int) int {
	var list []int // rapid's own ranges prefer small numbers, and so small fleets
	for n := from; n <= to; n++ {
		list = append(list, n)
	}
	return oneOf(m.T, label, list)
}

// once is true once in n times.
func (m *machine) once(label string, n int) bool { return m.number(label, 1, n) == n }

func (m *machine) must(err error) {
	m.Helper()
	if err != nil {
		m.Fatal(err)
	}
}

// exec runs statements past the store, in one session.
func (m *machine) exec(statements ...string) {
	c, err := pgx.Connect(m.ctx, m.url)
	m.must(err)
	defer func() { _ = c.Close(m.ctx) }()
	for _, sql := range statements {
		_, err = c.Exec(m.ctx, sql)
		m.must(err)
	}
}

// start makes a replica, which knows nothing yet.
func (m *machine) start(i int) {
	m.ids[i] = store.Replica{ID: uuid.NewString(), Name: fmt.Sprint(i), Version: "test", StartedAt: time.Now()}
	m.replicas[i] = reconcile.New(reconcile.Options{Store: m.stores[i], Replica: m.ids[i], Metrics: m.metrics, Log: slog.New(slog.DiscardHandler), World: m.world.world(m.passed),
		Document: func(*drift.Policy, *reconcile.Judged) json.RawMessage { return json.RawMessage("{}") }})
	m.replicas[i].Keep(m.ctx)
}

// crash ends a replica in the middle of whatever it did. Its leases are given
// back at once: that is what their time running out comes to.
func (m *machine) crash(i int) {
	m.replicas[i].Die()
	m.must(m.stores[i].Depart(m.ctx, m.ids[i]))
	m.start(i)
}

func (m *machine) run() {
	defer func() {
		m.waits.Wait()
		for _, d := range m.replicas {
			d.Die()
		}
	}()
	m.Repeat(m.steps())
}

func (m *machine) steps() map[string]func(*rapid.T) {
	steps := map[string]func(*rapid.T){"": m.check}
	for name, step := range map[string]struct {
		weight int
		do     func()
	}{
		"walk": {8, m.walk}, "look": {3, m.look}, "turn": {24, m.turn}, "two turns at once": {2, m.both}, "provision": {10, m.provision},
		"pause": {1, m.pause}, "resume": {8, m.resume}, "approve": {6, m.approve}, "suppress": {1, m.suppress}, "request": {1, m.request},
		"write": {1, m.write}, "break": {6, m.wreck}, "hide": {1, m.hide}, "call": {1, m.traffic}, "fault": {1, m.fault}, "flip": {1, m.flip}, "accept": {1, m.accept},
		"storm": {3, m.storm}, "insist": {2, m.insist}, "rearm": {3, m.rearm}, "hush": {2, m.hush}, "late": {2, m.late},
		"crash": {1, func() { m.crash(m.number("replica", 0, 1)) }}, "keep": {1, func() { m.replicas[m.number("replica", 0, 1)].Keep(m.ctx) }},
	} {
		for i := range step.weight {
			steps[fmt.Sprintf("%s %d", name, i)] = func(rt *rapid.T) {
				m.T = rt
				step.do()
			}
		}
	}
	return steps
}

// check holds the state to the laws.
func (m *machine) check(rt *rapid.T) {
	m.T = rt
	m.must(m.ledger.settle(m.ctx))
	if len(m.ledger.broken) > 0 {
		rt.Fatal(m.ledger)
	}
	broken, err := m.side.Invariants(m.ctx)
	m.must(err)
	if len(broken) > 0 {
		rt.Fatal(broken)
	}
}

func (m *machine) any(label string) *box { return oneOf(m.T, label, m.world.boxes) }

// use puts in force which waits are over.
func (m *machine) use(passed map[string]bool) {
	m.passed, m.world.cooling = passed, !passed["backoff"]
	for _, d := range m.replicas {
		d.Use(m.world.world(passed))
	}
}

// walk walks a source whole.
func (m *machine) walk() {
	if len(m.ledger.paused) > 0 && m.once("resumed first", 2) {
		m.resume()
	}
	m.use(map[string]bool{"backoff": !m.once("cooling down", 4)})
	source := m.any("workspace").source
	if !m.replicas[0].WalkNow(m.ctx, source) && !m.replicas[1].WalkNow(m.ctx, source) {
		m.replicas[m.number("replica", 0, 1)].Keep(m.ctx)
	}
}

// look looks at one workspace.
func (m *machine) look() {
	m.use(map[string]bool{"backoff": true})
	b := m.any("workspace")
	_, err := m.side.RequestLook(m.ctx, store.Look{Source: b.source, Workspace: b.id, Reason: "test"})
	m.must(err)
	for _, d := range m.replicas {
		d.LookNow(m.ctx, b.source)
	}
}

// chosen picks an action that is under way; 0: there is none.
func (m *machine) chosen() (id int64, workspace string) {
	list, _, err := m.side.Actions(m.ctx, store.ActionFilter{InFlight: true})
	m.must(err)
	if len(list) == 0 {
		return 0, ""
	}
	slices.SortFunc(list, func(a, b store.Action) int { return int(a.ID - b.ID) })
	ids := make([]int64, len(list))
	for i := range list {
		ids[i] = list[i].ID
	}
	id = oneOf(m.T, "under way", ids)
	return id, list[slices.Index(ids, id)].Workspace
}

// turn takes one turn at an action.
func (m *machine) turn() {
	id, workspace := m.chosen()
	if id == 0 {
		m.walk()
		return
	}
	i := m.number("replica", 0, 1)
	m.prepare()
	m.meanwhile(id, workspace, 1-i)
	m.take(i, id)
	m.world.observer = nil
	m.waits.Wait()
}

// prepare draws what the platform does, and what has waited long enough.
func (m *machine) prepare() {
	m.world.answer, m.world.fate = oneOf(m.T, "answer", answers), oneOf(m.T, "fate", fates)
	passed := map[string]bool{"settle": !m.once("settles", 4), "silence": !m.once("silence goes on", 4), "unapplied": m.once("it was not done", 2), "lost": m.once("given up", 8), "backoff": true}
	m.use(passed)
}

// take is one turn, which may be somebody's last.
func (m *machine) take(i int, id int64) {
	clear(m.ledger.seen)
	_, err, dead := turn(m.ctx, m.replicas[i], id)
	if dead {
		m.crash(i)
		return
	}
	if err != nil && !errors.Is(err, store.ErrMovedOn) {
		m.Fatal(err)
	}
}

func turn(ctx context.Context, d *reconcile.Daemon, id int64) (again time.Duration, err error, dead bool) { //nolint:revive // the death comes after the error that it has none of
	defer func() {
		switch p := recover(); p {
		case nil:
		case died{}:
			dead = true
		default:
			panic(p)
		}
	}()
	again, err = d.Act(ctx, id)
	return again, err, false
}

// both has two replicas take a turn at the same action at once.
func (m *machine) both() {
	id, _ := m.chosen()
	if id == 0 {
		m.Skip("nothing is under way")
	}
	m.prepare()
	if m.world.answer == diesBefore || m.world.answer == diesAfter {
		m.world.answer = saysAccepted
	}
	clear(m.ledger.seen)
	m.use(map[string]bool{"settle": true, "silence": true, "backoff": true})
	m.ledger.atOnce = true
	var all sync.WaitGroup
	errs := make([]error, 2)
	for i := range errs {
		all.Go(func() { _, errs[i] = m.replicas[i].Act(m.ctx, id) })
	}
	all.Wait()
	m.ledger.atOnce = false
	for _, err := range errs {
		if err != nil && !errors.Is(err, store.ErrMovedOn) {
			m.Fatal(err)
		}
	}
}
