package ssm_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim/ssmsim"
	"github.com/molecule-ai/billing-reconciler/observe/ssm"
)

// Instances that went between inventory and command fail their whole batch; the
// others are answered all the same, whether AWS names the bad ones or not.
func TestABadIDCostsNobodyElseAnAnswer(t *testing.T) {
	for _, row := range []struct {
		name  string
		terse bool
		gone  []int
		most  int // calls of SendCommand
	}{
		{"one, named", false, []int{7}, 3},
		{"one, found by halves", true, []int{7}, 13},
		{"two, named one after the other", false, []int{7, 30}, 5},
		{"two, found by halves", true, []int{7, 30}, 25},
		{"the first and the last", true, []int{0, 49}, 25},
		{"neighbours", true, []int{24, 25}, 25},
		{"all but one", true, without(50, 3), 99},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var r *rig
			r = connect(t, ssmsim.Options{Terse: row.terse, Fail: func(operation string, n int) *ssmsim.Failure {
				for _, i := range row.gone {
					if operation == "SendCommand" && n == 1 {
						r.sim.Remove(id(i))
					}
				}
				return nil
			}}, ssm.Options{})
			seen := r.observe(t.Context(), t, r.fleet(50))
			if n := count(seen, drift.Observed); n != 50-len(row.gone) {
				t.Errorf("%d observed, want %d", n, 50-len(row.gone))
			}
			for _, i := range row.gone {
				if o := seen[id(i)]; o.State != drift.Unreachable || !strings.Contains(o.Reason, "InvalidInstanceId") {
					t.Errorf("%s: %s %q", id(i), o.State, o.Reason)
				}
			}
			if n := r.sim.Calls()["SendCommand"]; n > row.most {
				t.Errorf("%d calls, want %d at most", n, row.most)
			}
		})
	}
}

func without(n, left int) (list []int) {
	for i := range n {
		if i != left {
			list = append(list, i)
		}
	}
	return list
}

// A role that may send to instances with a tag alone is denied the whole call
// for one without it.
func TestARoleBoundToATag(t *testing.T) {
	r := connect(t, ssmsim.Options{Tagged: "Role=workspace"}, ssm.Options{})
	ids := r.fleet(50)
	r.sim.Set(ssmsim.Instance{ID: ids[9]})
	seen := r.observe(t.Context(), t, ids)
	if n := count(seen, drift.Observed); n != 49 {
		t.Errorf("%d observed, want 49", n)
	}
	if o := seen[ids[9]]; o.State != drift.Unreachable || !strings.Contains(o.Reason, "does it carry the tag") {
		t.Errorf("%s %q", o.State, o.Reason)
	}
}

func TestThrottlingDropsNothing(t *testing.T) {
	t.Parallel()
	limits := map[string]float64{"SendCommand": 8, "ListCommands": 8, "ListCommandInvocations": 8, "DescribeInstanceInformation": 8}
	r := connect(t, ssmsim.Options{Rate: limits}, ssm.Options{Rate: 30})
	if n := count(r.observe(t.Context(), t, r.fleet(600)), drift.Observed); n != 600 {
		t.Errorf("%d observed, want 600", n)
	}
	calls := r.sim.Calls()
	for _, operation := range operations {
		ok, refused := r.counted(t, operation, "ok"), r.counted(t, operation, "throttled")
		if ok+refused != calls[operation] {
			t.Errorf("%s: counted %d ok and %d throttled, the endpoint saw %d", operation, ok, refused, calls[operation])
		}
	}
	if n := r.counted(t, "DescribeInstanceInformation", "throttled"); n == 0 {
		t.Error("nothing was throttled: the test shows nothing")
	}
}

func TestLateAndShortLists(t *testing.T) {
	r := connect(t, ssmsim.Options{Hide: 150 * time.Millisecond, Short: true}, ssm.Options{})
	if n := count(r.observe(t.Context(), t, r.fleet(120)), drift.Observed); n != 120 {
		t.Errorf("%d observed, want 120", n)
	}
}

// Commands of others with the same document fill the first pages of the list.
func TestForeignCommands(t *testing.T) {
	var r *rig
	r = connect(t, ssmsim.Options{Fail: func(operation string, n int) *ssmsim.Failure {
		if operation == "ListCommands" && n == 1 {
			for range 120 {
				r.send(t, id(0))
			}
		}
		return nil
	}}, ssm.Options{})
	if n := count(r.observe(t.Context(), t, r.fleet(60)), drift.Observed); n != 60 {
		t.Errorf("%d observed, want 60", n)
	}
	if n := r.sim.Calls()["ListCommands"]; n < 3 {
		t.Errorf("%d pages read: the test shows nothing", n)
	}
}

func TestPassingFaultsAreRepeated(t *testing.T) {
	for _, operation := range operations {
		for name, fault := range map[string]*ssmsim.Failure{
			"500":     {Status: 500, Code: "InternalServerError"},
			"503":     {Status: 503, Code: "ServiceUnavailable"},
			"cut off": {},
		} {
			t.Run(operation+" "+name, func(t *testing.T) {
				t.Parallel()
				var failed atomic.Int32
				r := connect(t, ssmsim.Options{Fail: func(called string, n int) *ssmsim.Failure {
					if called != operation || n > 1 {
						return nil
					}
					failed.Add(1)
					return fault
				}}, ssm.Options{})
				if n := count(r.observe(t.Context(), t, r.fleet(30)), drift.Observed); n != 30 || failed.Load() != 1 {
					t.Errorf("%d observed of 30, %d calls failed", n, failed.Load())
				}
				if n := r.counted(t, operation, "error"); n != 1 {
					t.Errorf("%d errors counted, want 1", n)
				}
			})
		}
	}
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	denied := &ssmsim.Failure{Status: 400, Code: "AccessDeniedException", Message: "no"}
	expired := &ssmsim.Failure{Status: 400, Code: "ExpiredTokenException", Message: "no"}
	odd := &ssmsim.Failure{Status: 400, Code: "ValidationException", Message: "planted-secret"}
	for _, row := range []struct {
		operation string
		fault     *ssmsim.Failure
		says      string
	}{
		{"DescribeInstanceInformation", denied, "not allowed to call ssm:DescribeInstanceInformation"},
		{"SendCommand", denied, "not allowed to call ssm:SendCommand with the document " + ssmsim.RunShellScript},
		{"ListCommands", denied, "not allowed to call ssm:ListCommands"},
		{"ListCommandInvocations", denied, "not allowed to call ssm:ListCommandInvocations"},
		{"DescribeInstanceInformation", expired, "AWS does not accept the credentials"},
		{"ListCommandInvocations", expired, "AWS does not accept the credentials"},
		{"DescribeInstanceInformation", odd, "ssm:DescribeInstanceInformation: ValidationException"},
		{"SendCommand", odd, "ssm:SendCommand: ValidationException"},
	} {
		t.Run(fmt.Sprintf("%s %s", row.operation, row.fault.Code), func(t *testing.T) {
			t.Parallel()
			r := connect(t, ssmsim.Options{Fail: func(called string, _ int) *ssmsim.Failure {
				if called == row.operation {
					return row.fault
				}
				return nil
			}}, ssm.Options{})
			for _, o := range r.observe(t.Context(), t, r.fleet(3)) {
				if o.State != drift.Unreachable || !strings.Contains(o.Reason, row.says) || strings.Contains(o.Reason, "planted") {
					t.Errorf("%s: %q, want %q", o.State, o.Reason, row.says)
				}
			}
		})
	}
}

func TestUnknownDocument(t *testing.T) {
	r := connect(t, ssmsim.Options{}, ssm.Options{})
	cmd := command
	cmd.Document = "nobodys"
	r.pool.Observe(t.Context(), cmd, r.fleet(1), func(_ string, o drift.Observation) {
		if !strings.Contains(o.Reason, "there is no document nobodys") {
			t.Errorf("%q", o.Reason)
		}
	})
}
