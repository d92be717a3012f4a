package reconcile_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// account is the model's own account of what was done and of what was true then.
// It knows the laws, and nothing of how they are kept.
type account struct {
	db     *store.Store
	world  *tenancy
	broken []string       // laws, in words
	atOnce bool           // two replicas are at it: the other may already say that nobody knows how the call ended
	came   map[string]int // what came about

	seen       map[string]sight       // by workspace: the last look of the present turn
	deeds      map[int64]*deed        // by action
	paused     map[store.Scope]bool   // whose pause has been acknowledged, and not been lifted
	approved   map[string]bool        // by workspace
	suppressed map[string]bool        // by workspace
	surging    map[string]bool        // by source: as it stands in its row
	ended      map[int64]bool         // actions whose end has been taken down
	causes     map[string]*causeSoFar // by cause
	attempts   map[string]tried       // by workspace
}

// sight is what a look was of.
type sight struct {
	life   int
	inputs string
	fit    bool // the container was seen, and not long ago
}

// deed is an action by the ledger's account.
type deed struct {
	workspace, cause string
	inputs           string // when it was decided
	wants            string
	epoch            int // of the cause, then
	calls            int // that may have had an effect
	life             int // of the container when it was called
	dry, asked       bool
	old              bool // decided more than an hour ago
}

// tried is how often a workspace has been tried in vain with the same inputs.
type tried struct {
	inputs string
	times  int
}

func (t tried) with(inputs string) int {
	if t.inputs != inputs {
		return 0
	}
	return t.times
}

// causeSoFar is how far a cause has been tried since it last began.
type causeSoFar struct {
	epoch, begun, proven, unproven int
	stopped                        bool
	by, inputs                     string // the workspace that stopped it, and its inputs
}

// allowed is how many may have been begun where so many are proven: 1, then 2
// more, then 4 more.
func (c *causeSoFar) allowed() int {
	total := 1
	for wave := 1; c.proven >= total; wave++ {
		total += 1 << wave
	}
	return total
}

func newAccount(db *store.Store, y *tenancy, came map[string]int) *account {
	return &account{came: came, db: db, world: y, seen: map[string]sight{}, deeds: map[int64]*deed{}, paused: map[store.Scope]bool{}, approved: map[string]bool{}, suppressed: map[string]bool{},
		surging: map[string]bool{}, ended: map[int64]bool{}, causes: map[string]*causeSoFar{}, attempts: map[string]tried{}}
}

func (l *account) law(n int, format string, args ...any) {
	l.broken = append(l.broken, fmt.Sprintf("law %d: ", n)+fmt.Sprintf(format, args...))
}

func (l *account) cause(name string) *causeSoFar {
	if l.causes[name] == nil {
		l.causes[name] = &causeSoFar{}
	}
	return l.causes[name]
}

// looked notes that a look was taken.
func (l *account) looked(b *box) {
	l.seen[b.id] = sight{b.life, b.inputs(), b.seen == drift.Observed && b.running() && !b.stale}
}

// underWay counts the calls that may have had an effect and are not settled.
func (l *account) underWay(of func(*deed) bool) (n int) {
	for id, d := range l.deeds {
		if d.calls > 0 && !l.ended[id] && of(d) {
			n++
		}
	}
	return n
}

// called holds a call to the laws, at the moment at which it is made.
func (l *account) called(ctx context.Context, b *box, may bool) {
	id, d := l.calling(ctx, b)
	if d == nil {
		l.law(3, "%s was called, and no action says so", b.id)
		return
	}
	l.lawsOfSight(b, d)
	l.lawsOfCause(b, d)
	l.lawsOfNumber(b, id, d)
	for scope := range l.paused {
		if scope.Kind == store.ScopeAll || scope.Source == b.source && (scope.Kind == store.ScopeSource || scope.Workspace == b.id) {
			l.law(9, "%s was called while %s %s %s was paused", b.id, scope.Kind, scope.Source, scope.Workspace)
		}
	}
	if l.surging[b.source] {
		l.law(6, "%s was called while a surge stands", b.id)
	}
	l.came["called: "+l.world.answer]++
	if may {
		l.came[fmt.Sprint("wave of ", l.cause(d.cause).allowed())]++
		d.calls++
		d.life = b.life
		l.cause(d.cause).begun++
	}
}

// calling finds the action that a call is made for: what the row says then.
func (l *account) calling(ctx context.Context, b *box) (int64, *deed) {
	list, _, err := l.db.Actions(ctx, store.ActionFilter{Workspace: b.id, InFlight: true})
	if err != nil || len(list) != 1 || l.deeds[list[0].ID] == nil || list[0].State != store.ActionCalling && !l.atOnce {
		return 0, nil
	}
	return list[0].ID, l.deeds[list[0].ID]
}

func (l *account) lawsOfSight(b *box, d *deed) {
	s, looked := l.seen[b.id]
	switch {
	case !looked || !s.fit:
		l.law(1, "%s was called without having been seen", b.id)
	case s.life != b.life || s.inputs != b.inputs():
		l.law(2, "%s was called upon a look at what is no more", b.id)
	}
	switch {
	case b.right():
		l.law(2, "%s was called, and is as it should be", b.id)
	case b.inputs() != d.inputs || b.wants() != d.wants:
		l.law(2, "%s was called with inputs %s, decided with %s", b.id, b.inputs(), d.inputs)
	case l.suppressed[b.id]:
		l.law(2, "%s was called, and what is wrong is suppressed", b.id)
	}
}

func (l *account) lawsOfCause(b *box, d *deed) {
	c := l.cause(d.cause)
	r := &l.world.remedy
	switch {
	case d.dry:
		l.law(4, "%s was called for a dry run", b.id)
	case b.doubtful:
		l.law(4, "%s was called, and what it should be is doubtful", b.id)
	case l.world.poisoned[b.source]:
		l.law(4, "%s was called into a known refusal", b.id)
	case c.stopped:
		l.law(4, "%s was called for %s, which has been stopped", b.id, d.cause)
	case l.attempts[b.id].with(b.inputs()) >= r.Attempts:
		l.law(4, "%s was called a time more than it may be tried", b.id)
	case r.Approval && !l.approved[b.id] && !d.asked:
		l.law(4, "%s was called without a person's word", b.id)
	case d.epoch != c.epoch:
		l.law(5, "%s was called for %s by what was decided before it began again", b.id, d.cause)
	case c.begun+1 > c.allowed():
		l.law(5, "%s is number %d of %s, of which %d are proven", b.id, c.begun+1, d.cause, c.proven)
	}
}

func (l *account) lawsOfNumber(b *box, id int64, d *deed) {
	if d.calls > 0 {
		l.law(3, "%s was called again for action %d, which may have been done", b.id, id)
	}
	if l.underWay(func(o *deed) bool { return o.workspace == b.id }) > 0 {
		l.law(3, "%s was called, and another call is not settled", b.id)
	}
	effective := 0
	for _, o := range l.deeds {
		if o.calls > 0 && !o.old {
			effective++
		}
	}
	r := &l.world.remedy
	share := max(1, len(l.world.of(b.source))*r.Percent/100)
	switch {
	case l.underWay(func(*deed) bool { return true })+1 > r.InFlight:
		l.law(5, "more than %d are under way", r.InFlight)
	case l.underWay(func(o *deed) bool { return l.world.box(o.workspace).source == b.source })+1 > share:
		l.law(5, "more than %d of %s are under way", share, b.source)
	case effective+1 > r.PerHour:
		l.law(5, "more than %d within an hour", r.PerHour)
	}
}

// settle takes down what a step has decided and ended.
func (l *account) settle(ctx context.Context) error {
	list, _, err := l.db.Actions(ctx, store.ActionFilter{Limit: 1000})
	if err != nil {
		return err
	}
	for i := len(list) - 1; i >= 0; i-- {
		a := &list[i]
		if a.OpenedAt.IsZero() {
			continue
		}
		if l.deeds[a.ID] == nil {
			l.opened(a)
		}
		if a.State == store.ActionEnded && !l.ended[a.ID] {
			l.ended[a.ID] = true
			l.over(a, l.deeds[a.ID])
		}
	}
	for _, name := range l.world.sources {
		if s, err := l.db.Source(ctx, name); err == nil {
			l.surging[name] = s.Surge != "" && s.Accepted.IsZero()
		}
	}
	return nil
}

// opened takes down what was decided.
func (l *account) opened(a *store.Action) {
	b, c := l.world.box(a.Workspace), l.cause(a.Cause)
	dry := a.Mode == drift.RemediateDryRun
	if c.stopped && !dry {
		if c.by != b.id || c.inputs == b.inputs() {
			l.law(4, "action %d at %s was opened for %s, which has been stopped", a.ID, b.id, a.Cause)
		}
		c.again()
	}
	if n := l.attempts[b.id].with(b.inputs()); n > 0 && l.world.cooling && !a.Forced {
		l.law(4, "action %d at %s was opened while it cools down from %d attempts", a.ID, b.id, n)
	}
	l.deeds[a.ID] = &deed{workspace: b.id, cause: a.Cause, inputs: b.inputs(), wants: b.wants(), epoch: c.epoch, dry: dry, asked: a.By != ""}
}

// again begins the cause with a canary.
func (c *causeSoFar) again() { *c = causeSoFar{epoch: c.epoch + 1} }

// over holds the outcome of an action to what is true.
func (l *account) over(a *store.Action, d *deed) {
	b, c := l.world.box(a.Workspace), l.cause(a.Cause)
	fresh := b.life > d.life && b.running() && b.seen == drift.Observed
	lie := func(unless bool) {
		if !unless {
			l.law(1, "action %d at %s is said to be %s (%s): life %d, called in %d: %#v", a.ID, b.id, a.Outcome, a.Words, b.life, d.life, b)
		}
	}
	l.came[string(a.Outcome)]++
	if a.Outcome == drift.Superseded {
		l.came["superseded: "+strings.Fields(a.Words)[0]]++
	}
	current := d.epoch == c.epoch
	if current && d.calls == 0 && !a.Outcome.Empty() {
		c.begun++ // somebody else may have done it: nobody can tell
	}
	switch a.Outcome {
	case drift.Cured:
		lie(fresh && b.right() && !b.doubtful && (b.flipped || !l.world.blind))
		delete(l.attempts, b.id)
		if current {
			c.proven++
		}
	case drift.CuredUnproven:
		lie(fresh && (b.right() || b.doubtful))
		delete(l.attempts, b.id)
		if current {
			c.unproven++
		}
	case drift.Ineffective, drift.Worse:
		lie(fresh && !b.right())
	case drift.Lost:
		lie(!b.running() || b.seen != drift.Observed)
	case drift.NotApplied:
		lie(d.calls == 0 || b.life == d.life && b.pending == "")
	}
	if a.Outcome.Empty() && current && d.calls > 0 {
		c.begun--
	}
	if givenUp := a.Outcome == drift.Superseded && d.calls > 0; givenUp || a.Outcome.Attempted() && a.Outcome != drift.Cured && a.Outcome != drift.CuredUnproven {
		l.attempts[b.id] = tried{d.inputs, l.attempts[b.id].with(d.inputs) + 1}
	}
	if a.Outcome.Stops() && !c.stopped {
		c.stopped, c.by, c.inputs = true, b.id, d.inputs
	}
}

// vouch takes down a person's word.
func (l *account) vouch(id, cause string) {
	l.approved[id] = true
	delete(l.attempts, id)
	if cause == "" {
		return
	}
	clear(l.attempts)
	c := l.cause(cause)
	if c.stopped {
		c.again()
		return
	}
	c.proven, c.unproven = c.proven+c.unproven, 0
}

// String tells what was done, for whoever reads a failure.
func (l *account) String() string {
	return strings.Join(l.broken, "\n")
}
