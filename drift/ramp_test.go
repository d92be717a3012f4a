package drift_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// climb is a ramp, and a ledger of its own of what happened on it.
type climb struct {
	*testing.T
	drift.Ramp
	words  string // what happened, for whoever reads a failure
	now    time.Time
	live   []int // laps of what is under way
	begun  int   // of the present wave, what counts: by the ledger
	proven int
	wave   int
}

func (c climb) fork() climb {
	c.live = append([]int{}, c.live...)
	return c
}

// open begins another where the ramp lets it.
func (c *climb) open() {
	if c.Waits() != "" || c.Stopped != "" {
		return
	}
	c.Opened++
	c.live = append(c.live, c.Lap)
	if c.begun++; c.begun > 1<<c.wave {
		c.Fatalf("%s: %d are begun of wave %d", c.words, c.begun, c.wave)
	}
}

// end ends the oldest that is under way.
func (c *climb) end(o drift.Outcome) {
	lap := c.live[0]
	c.live = c.live[1:]
	mine, stopped := lap == c.Lap, c.Stopped
	c.Finish(lap, o, string(o), c.now)
	switch {
	case o.Stops() && c.Stopped == "":
		c.Fatalf("%s: it goes on", c.words)
	case !o.Stops() && c.Stopped != stopped:
		c.Fatalf("%s: %s stopped it", c.words, o)
	}
	if !mine {
		return
	}
	switch {
	case o == drift.Cured:
		c.proven++
	case o.Empty():
		c.begun--
	}
	c.step()
}

// step is the ledger's idea of when the next wave begins.
func (c *climb) step() {
	if c.begun == 1<<c.wave && c.proven == c.begun {
		c.wave, c.begun, c.proven = c.wave+1, 0, 0
	}
}

func (c *climb) approve() {
	mine := 0
	for _, lap := range c.live {
		if lap == c.Lap {
			mine++
		}
	}
	if c.Stopped != "" {
		c.wave, c.begun, c.proven = 0, 0, 0
	} else {
		c.proven = c.begun - mine
		c.step()
	}
	c.Approve(mine)
}

func (c *climb) check() {
	if c.Wave != c.wave || c.Opened != c.begun || c.Proven != c.proven {
		c.Fatalf("%s: wave %d with %d of %d proven, want wave %d with %d of %d", c.words, c.Wave, c.Proven, c.Opened, c.wave, c.proven, c.begun)
	}
	if full := c.Opened >= 1<<c.Wave; full != (c.Waits() != "") || full && !strings.Contains(c.Waits(), "model_empty") {
		c.Fatalf("%s: %d of %d are opened, and it says %q", c.words, c.Opened, 1<<c.Wave, c.Waits())
	}
}

// Every sequence of six of what may happen to the workspaces of a cause: never
// more are begun than the wave has, a wave begins when the one before is proven
// whole, what stops stops, and a person's word never vouches for what is still
// under way.
func TestRampOverAllShortSequences(t *testing.T) {
	outcomes := []drift.Outcome{drift.Cured, drift.CuredUnproven, drift.Ineffective, drift.Lost, drift.Superseded, drift.NotApplied}
	sequences := 0
	var walk func(c climb, depth int)
	walk = func(c climb, depth int) {
		c.check()
		if sequences++; depth == 0 {
			return
		}
		next := func(what string, do func(*climb)) {
			one := c.fork()
			one.words += what + " "
			do(&one)
			walk(one, depth-1)
		}
		if c.Waits() == "" && c.Stopped == "" {
			next("open", (*climb).open)
		}
		if len(c.live) > 0 {
			for _, o := range outcomes {
				next(string(o), func(c *climb) { c.end(o) })
			}
		}
		next("approve", (*climb).approve)
	}
	walk(climb{T: t, Ramp: drift.Ramp{Cause: "model_empty"}, now: started}, 7)
	if sequences < 1000 {
		t.Errorf("only %d sequences", sequences)
	}
}

func TestRampDoublesOnlyByWhatIsProven(t *testing.T) {
	r := drift.Ramp{Cause: "model_empty"}
	for wave := range 6 {
		for i := range 1 << wave {
			if r.Wave != wave || r.Waits() != "" {
				t.Fatalf("wave %d, %d opened: it is wave %d and waits for %q", wave, i, r.Wave, r.Waits())
			}
			r.Opened++
		}
		for range 1 << wave {
			if r.Waits() == "" {
				t.Fatalf("wave %d goes on with %d of %d proven", wave, r.Proven, r.Opened)
			}
			r.Finish(r.Lap, drift.Cured, "", started)
		}
	}
}

func TestOutcomes(t *testing.T) {
	for _, row := range []struct {
		stops, empty, attempted bool
		outcomes                []drift.Outcome
	}{
		{attempted: true, outcomes: []drift.Outcome{drift.Cured, drift.CuredUnproven}},
		{stops: true, attempted: true, outcomes: []drift.Outcome{drift.Ineffective, drift.Worse, drift.Lost}},
		{empty: true, attempted: true, outcomes: []drift.Outcome{drift.NotApplied, drift.Refused, drift.Noop}},
		{empty: true, outcomes: []drift.Outcome{drift.Superseded, drift.WouldHave, drift.Blocked}},
	} {
		for _, o := range row.outcomes {
			if o.Stops() != row.stops || o.Empty() != row.empty || o.Attempted() != row.attempted {
				t.Errorf("%s: stops %v, empty %v, attempted %v", o, o.Stops(), o.Empty(), o.Attempted())
			}
			r := drift.Ramp{Cause: "x", Opened: 1}
			r.Finish(0, o, "words", started)
			want := drift.Ramp{Cause: "x", Opened: 1}
			switch {
			case o == drift.Cured:
				want.Wave, want.Lap, want.Opened = 1, 1, 0
			case row.stops:
				want.Stopped = "words"
			case row.empty:
				want.Opened = 0
			}
			if row.attempted {
				want.EndedAt = started
			}
			if r != want {
				t.Errorf("%s: %+v, want %+v", o, r, want)
			}
		}
	}
}

// An attempt of an earlier lap moves nothing but the stop: that a cause changes
// nothing is true whenever it was tried.
func TestAnEarlierLapProvesNothing(t *testing.T) {
	for _, o := range drift.Outcomes {
		r := drift.Ramp{Cause: "x", Lap: 3, Wave: 1, Opened: 1}
		r.Finish(2, o, "words", started)
		if r.Lap != 3 || r.Wave != 1 || r.Opened != 1 || r.Proven != 0 || (r.Stopped != "") != o.Stops() {
			t.Errorf("%s: %+v", o, r)
		}
	}
}

func TestRest(t *testing.T) {
	day := 24 * time.Hour
	for _, row := range []struct {
		name string
		ramp drift.Ramp
		now  time.Time
		rest bool
	}{
		{"nothing was ever tried", drift.Ramp{Wave: 2}, started.Add(9 * day), false},
		{"a minute less than a day", drift.Ramp{Wave: 2, EndedAt: started}, started.Add(day - time.Minute), false},
		{"a day", drift.Ramp{Wave: 2, EndedAt: started}, started.Add(day), true},
		{"with proven ones", drift.Ramp{Wave: 2, Opened: 2, Proven: 2, EndedAt: started}, started.Add(day), true},
		{"one is out, or was never proven", drift.Ramp{Wave: 2, Opened: 2, Proven: 1, EndedAt: started}, started.Add(9 * day), false},
		{"stopped", drift.Ramp{Wave: 2, Stopped: "x", EndedAt: started}, started.Add(9 * day), false},
	} {
		t.Run(row.name, func(t *testing.T) {
			was := row.ramp
			row.ramp.Rest(row.now)
			if rested := row.ramp.Wave == 0 && row.ramp.Lap == was.Lap+1 && row.ramp.Opened == 0; rested != row.rest || !rested && row.ramp != was {
				t.Errorf("got %+v, rest is to be %v", row.ramp, row.rest)
			}
		})
	}
}

func TestTheBiggestWaveIsBounded(t *testing.T) {
	for _, wave := range []int{20, 21, 63, 64, 1000} {
		if got := (&drift.Ramp{Wave: wave}).Size(); got != 1<<20 {
			t.Errorf("wave %d has %d", wave, got)
		}
	}
}

func TestCauseKey(t *testing.T) {
	findings := []drift.Finding{{Kind: drift.RoutedToProxy, Remediable: true}, {Kind: drift.PathsDiverge}, {Kind: drift.ModelMismatch, Remediable: true}}
	for _, row := range []struct {
		causes   []drift.Cause
		findings []drift.Finding
		want     string
	}{
		{[]drift.Cause{{Code: drift.ModelEmpty}, {Code: drift.RuntimeDiffers}}, findings, "model_empty"},
		{nil, findings, "model_mismatch+routed_to_proxy"},
		{nil, findings[1:2], ""},
		{nil, nil, ""},
	} {
		if got := drift.CauseKey(row.causes, row.findings); got != row.want {
			t.Errorf("%s: %q, want %q", fmt.Sprint(row.causes), got, row.want)
		}
	}
}
