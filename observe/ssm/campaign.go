package ssm

import (
	"slices"
	"strings"
	"time"
)

// How many times as long as the pool gathers anybody waits for company, though
// newcomers keep coming. One more command by tag costs a call for every 50
// instances that carry it, so it is worth to wait for a whole inventory.
const (
	patientFor   = 5
	patientByTag = 30
)

// gathering is where instances wait to be asked of the inventory: full calls go
// at once, the rest when nobody has come for a while. The pool's lock holds it.
type gathering struct {
	pool   *Pool
	urgent bool
	wait   time.Duration
	queue  queue
	first  time.Time // when the one who has waited longest came
	timer  *time.Timer
}

func (g *gathering) add(a *ask, ids []string) {
	now := time.Now()
	if len(g.queue.order) == 0 {
		g.first = now
	}
	for _, id := range ids {
		g.queue.add(id, a)
	}
	for len(g.queue.order) >= batchSize {
		g.flush()
		g.first = now
	}
	switch {
	case len(g.queue.order) == 0:
	case g.wait <= 0:
		g.flush()
	default:
		g.flushIn(min(g.wait, patientFor*g.wait-now.Sub(g.first)))
	}
}

func (g *gathering) flush() {
	if len(g.queue.order) > 0 {
		b := g.queue.cut(batchSize, g.urgent)
		g.pool.start(func() { g.pool.inquire(b) })
	}
}

// flushIn sets the time anew at which the rest goes.
func (g *gathering) flushIn(d time.Duration) {
	if g.timer != nil {
		g.timer.Stop()
	}
	g.timer = time.AfterFunc(d, func() {
		g.pool.mu.Lock()
		defer g.pool.mu.Unlock()
		g.flush()
	})
}

// campaign is one command for all callers who want it sent at one time. The
// pool's lock holds it.
type campaign struct {
	pool     *Pool
	key      string
	cmd      Command
	askers   int
	upstream int // instances of which the inventory has not told yet: they may fill a batch
	queue    queue
	sending  int         // batches that are to be sent, or being sent
	timer    *time.Timer // runs while those wait of whom the inventory has told all
	refused  int         // instances that the role may send nothing to
	flown    int         // commands that were sent
}

// join finds the campaign of a command, or begins it.
func (p *Pool) join(cmd Command) *campaign {
	key := keyOf(cmd)
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.campaigns[key]
	if c == nil {
		c = &campaign{pool: p, key: key, cmd: cmd}
		p.campaigns[key] = c
	}
	c.askers++
	return c
}

// keyOf is equal for commands that may share what is sent.
func keyOf(cmd Command) string {
	parts := []string{cmd.Document}
	if cmd.Urgent {
		parts = append(parts, "urgent")
	}
	var parameters []string
	for name, values := range cmd.Parameters {
		parameters = append(parameters, name+"\x00"+strings.Join(values, "\x00"))
	}
	slices.Sort(parameters)
	return strings.Join(append(parts, parameters...), "\x00\x00")
}

// leave takes a caller out, with the instances that the inventory would have
// told of.
func (c *campaign) leave(a *ask) {
	c.queue.forget(a)
	c.upstream -= a.upstream
	a.upstream = 0
	if c.askers--; c.askers == 0 {
		delete(c.pool.campaigns, c.key)
	}
	c.form()
}

// form sends what there is to send: full batches at once; the rest when the
// inventory can't add to it any more. Those whose own caller has nothing more
// to come wait a limited time for others. By tag all go at once or none, since
// a command reaches all who carry it.
func (c *campaign) form() {
	byTag := c.pool.opts.Tag != ""
	for !byTag && len(c.queue.order) >= batchSize {
		c.dispatch(batchSize)
	}
	switch {
	case len(c.queue.order) == 0:
		c.settleDown()
	case c.upstream == 0:
		c.flush()
	case c.timer == nil && c.hasRipe():
		c.timer = time.AfterFunc(c.patience(), func() {
			c.pool.mu.Lock()
			defer c.pool.mu.Unlock()
			c.flush()
		})
	}
}

// patience is how long those wait who could go, for others who may come.
func (c *campaign) patience() time.Duration {
	switch {
	case c.cmd.Urgent:
		return 0
	case c.pool.opts.Tag != "":
		return patientByTag * c.pool.opts.Gather
	}
	return patientFor * c.pool.opts.Gather
}

// hasRipe tells whether somebody waits whose caller has nothing more to come.
func (c *campaign) hasRipe() bool {
	for _, id := range c.queue.order {
		if slices.ContainsFunc(c.queue.who[id], func(a *ask) bool { return a.upstream == 0 }) {
			return true
		}
	}
	return false
}

func (c *campaign) flush() {
	if n := len(c.queue.order); n > 0 {
		c.dispatch(n)
	}
	c.settleDown()
}

func (c *campaign) settleDown() {
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}

// dispatch sends the first n of the queue; more than a batch go by tag.
func (c *campaign) dispatch(n int) {
	b := c.queue.cut(n, c.cmd.Urgent)
	b.byTag = n > batchSize
	c.send(b)
}

func (c *campaign) send(b *batch) {
	c.sending++
	c.pool.start(func() { c.fly(b) })
}
