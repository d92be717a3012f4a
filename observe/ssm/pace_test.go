package ssm_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/smithy-go"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/metrics"
	"github.com/molecule-ai/billing-reconciler/observe/ssm"
)

func (f *fake) rig(opts ssm.Options) *rig {
	m := metrics.New("test")
	return &rig{pool: ssm.NewPool(f, opts, m), m: m}
}

func ids(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = id(i)
	}
	return list
}

var operations = []string{"DescribeInstanceInformation", "SendCommand", "ListCommands", "ListCommandInvocations"}

// throttled refuses an operation for so long.
func throttled(operation string, d time.Duration) func(string, []string) error {
	end := time.Now().Add(d)
	return func(called string, _ []string) error {
		if called == operation && time.Now().Before(end) {
			return refusal("ThrottlingException")
		}
		return nil
	}
}

func TestThrottlingIsWaitedFor(t *testing.T) {
	for _, operation := range operations {
		t.Run(operation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.refuse = throttled(operation, 5*time.Minute)
				if n := count(f.rig(ssm.Options{}).observe(t.Context(), t, ids(300)), drift.Observed); n != 300 {
					t.Errorf("%d observed, want 300", n)
				}
			})
		})
	}
}

func TestThrottlingForEverIsNotWaitedForForEver(t *testing.T) {
	for _, operation := range []string{"DescribeInstanceInformation", "SendCommand", "ListCommandInvocations"} {
		t.Run(operation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, began := newFake(), time.Now()
				f.refuse = throttled(operation, 24*time.Hour)
				for _, o := range f.rig(ssm.Options{}).observe(t.Context(), t, ids(300)) {
					if o.State != drift.Unreachable || !strings.Contains(o.Reason, "AWS has throttled every call of ssm:"+operation) {
						t.Errorf("%s: %q", o.State, o.Reason)
					}
				}
				if took := time.Since(began); took < 10*time.Minute || took > 12*time.Minute {
					t.Errorf("given up after %s", took)
				}
			})
		})
	}
}

// Without the list of what is finished, answers are there at the deadline.
func TestTheListIsNotIndispensable(t *testing.T) {
	for _, code := range []string{"ThrottlingException", "InternalServerError"} {
		t.Run(code, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, began := newFake(), time.Now()
				f.refuse = func(operation string, _ []string) error {
					if operation == "ListCommands" {
						return refusal(code)
					}
					return nil
				}
				if n := count(f.rig(ssm.Options{}).observe(t.Context(), t, ids(300)), drift.Observed); n != 300 {
					t.Errorf("%d observed, want 300", n)
				}
				if took := time.Since(began); took > 3*time.Minute {
					t.Errorf("took %s", took)
				}
			})
		})
	}
}

// Eight calls that are throttled together are one sign, not eight.
func TestTheLimitIsHalvedOnceABurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, began := newFake(), time.Now()
		f.latency = 2 * time.Second // so that the burst is under way before the first is refused
		f.refuse = throttled("DescribeInstanceInformation", 2*time.Second+time.Millisecond)
		f.rig(ssm.Options{}).observe(t.Context(), t, ids(400))
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("took %s, want a few seconds", took)
		}
	})
}

// What was saved up before AWS throttled is not spent on being throttled again,
// and the limit comes back.
func TestAfterThrottling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, began := newFake(), time.Now()
		f.refuse = throttled("DescribeInstanceInformation", time.Second)
		f.rig(ssm.Options{Rate: 20}).pool.Addresses(t.Context(), ids(20_000), func(string, drift.Observation) {})
		if refused := len(f.calls["DescribeInstanceInformation"]) - 400; refused > 20 {
			t.Errorf("throttled %d times within a second", refused)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("400 calls at 20 a second took %s", took)
		}
	})
}

// A command may be listed as finished before its invocations are.
func TestInvocationsThatLagBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.lag = 20 * time.Second
		if n := count(f.rig(ssm.Options{}).observe(t.Context(), t, ids(60)), drift.Observed); n != 60 {
			t.Errorf("%d observed, want 60", n)
		}
	})
}

func TestTheRateIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.rig(ssm.Options{Rate: 2, InFlight: 100}).observe(t.Context(), t, ids(2000))
		for _, operation := range operations {
			calls := f.calls[operation]
			for i := 4; i < len(calls); i++ { // a burst of 2, and 2 a second
				if d := calls[i].Sub(calls[i-4]); d < time.Second {
					t.Errorf("%s: 5 calls within %s", operation, d)
				}
			}
		}
	})
}

// Halves that wait for a place, in campaigns that share very few: synctest ends
// the test if all wait for each other.
func TestFewPlacesManyCampaigns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.refuse = func(operation string, batch []string) error {
			for _, one := range batch {
				if operation == "SendCommand" && strings.HasSuffix(one, "7") {
					return refusal("InvalidInstanceId")
				}
			}
			return nil
		}
		r := f.rig(ssm.Options{InFlight: 2, Rate: 1000})
		var campaigns sync.WaitGroup
		for range 4 {
			campaigns.Go(func() {
				seen := r.observe(t.Context(), t, ids(600))
				if n := count(seen, drift.Observed); n != 600-38 {
					t.Errorf("%d observed, want all but 38", n)
				}
			})
		}
		campaigns.Wait()
		if f.most > 2 {
			t.Errorf("%d commands under way at once, want 2 at most", f.most)
		}
	})
}

func TestTheDeadlineHoldsForEachCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, began := newFake(), time.Now()
		f.running = 0
		for _, o := range f.rig(ssm.Options{Timeout: time.Minute}).observe(t.Context(), t, ids(120)) {
			if o.State != drift.Unreachable || !strings.Contains(o.Reason, "InProgress") {
				t.Errorf("%s: %q", o.State, o.Reason)
			}
		}
		if took := time.Since(began); took < time.Minute || took > 75*time.Second {
			t.Errorf("given up after %s", took)
		}
		if f.cancelled != 3 {
			t.Errorf("%d commands cancelled, want 3", f.cancelled)
		}
	})
}

// Whenever the look is ended, everybody is answered soon, and no command is
// left running.
func TestCancelAtAnyTime(t *testing.T) {
	for after := time.Duration(0); after < 8*time.Second; after += 190 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), after)
			defer cancel()
			f := newFake()
			f.running = 5 * time.Second
			began := time.Now()
			f.rig(ssm.Options{InFlight: 4}).observe(ctx, t, ids(500))
			if took := time.Since(began); took > after+3*time.Second {
				t.Errorf("cancelled after %s, took %s", after, took)
			}
			for id, c := range f.sent {
				if !f.done(c) {
					t.Errorf("cancelled after %s: %s goes on", after, id)
				}
			}
		})
	}
}

// What every other call would meet is not tried again and again.
func TestADeniedRoleIsNotAskedForEveryBatch(t *testing.T) {
	for _, operation := range operations {
		t.Run(operation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.refuse = func(called string, _ []string) error {
					if called == operation {
						return refusal("AccessDeniedException")
					}
					return nil
				}
				for _, o := range f.rig(ssm.Options{}).observe(t.Context(), t, ids(10_000)) {
					if o.State != drift.Unreachable || !strings.Contains(o.Reason, "not allowed to call ssm:"+operation) {
						t.Fatalf("%s: %q", o.State, o.Reason)
					}
				}
				if n := len(f.calls[operation]); n > 8 {
					t.Errorf("%d calls", n)
				}
			})
		})
	}
}

// A role whose policy demands a tag that no instance carries.
func TestADenialOfEveryInstanceEndsTheLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.refuse = func(called string, batch []string) error {
			if called == "SendCommand" {
				return &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "on resource: arn:aws:ec2:us-east-1:1:instance/" + batch[0]}
			}
			return nil
		}
		for _, o := range f.rig(ssm.Options{}).observe(t.Context(), t, ids(1000)) {
			if !strings.Contains(o.Reason, "does it carry the tag") {
				t.Fatalf("%q", o.Reason)
			}
		}
		if n := len(f.calls["SendCommand"]); n > 50 {
			t.Errorf("%d calls", n)
		}
	})
}

func TestABrokenDecoderIsOneInstancesMatter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cmd, n := command, 0
		cmd.Decode = func(string) drift.Observation {
			if n++; n == 3 {
				panic("planted-secret")
			}
			return drift.Observation{State: drift.Observed}
		}
		broken := 0
		newFake().rig(ssm.Options{}).pool.Observe(t.Context(), cmd, ids(10), func(_ string, o drift.Observation) {
			if o.State != drift.Observed {
				broken++
				if o.State != drift.Unreachable || strings.Contains(o.Reason, "planted") {
					t.Errorf("%s: %q", o.State, o.Reason)
				}
			}
		})
		if broken != 1 {
			t.Errorf("%d not observed, want 1", broken)
		}
	})
}
