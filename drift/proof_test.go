package drift_test

import (
	"strings"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
)

const instance = "i-0ad447e8433902973"

var (
	calledAt = started.Add(time.Hour)
	proof    = drift.Proof{Settle: 2 * time.Minute, Unapplied: 3 * time.Minute, LostAfter: 20 * time.Minute, Gaps: 3, AtLeast: 5 * time.Minute, AtMost: 30 * time.Minute}
)

// look is what is seen some minutes after the call.
type look struct {
	after   time.Duration
	f       *drift.Facts
	attempt drift.Attempt
}

// renewed is a container that has started 5 minutes after the call, as it
// should be, on another instance.
func renewed(l *look) {
	l.f.Observation.StartedAt = calledAt.Add(5 * time.Minute)
	l.f.Workspace.InstanceID = "i-new"
}

// back is the incident again, in a new container.
func back(l *look) {
	l.f = incident()
	renewed(l)
}

func notSeen(state drift.State) func(*look) {
	return func(l *look) { l.f.Observation = drift.Observation{State: state, Reason: "lost"} }
}

func TestProve(t *testing.T) {
	call := func(r drift.CallResult) func(*look) { return func(l *look) { l.attempt.Call.Result = r } }
	status := func(s string) func(*look) { return func(l *look) { l.f.Workspace.Status = s } }
	at := func(d time.Duration) func(*look) { return func(l *look) { l.after = d } }
	for _, row := range []struct {
		name  string
		looks []func(*look)
		want  drift.Outcome
		words string
		next  time.Duration // after the call; 0: any, where an outcome is wanted
	}{
		{"removed meanwhile", []func(*look){status("removed"), at(time.Minute)}, drift.Superseded, "removed", 0},

		{"accepted, and the old container goes on", []func(*look){at(4 * time.Minute)}, "", "waiting", 4*time.Minute + 30*time.Second},
		{"a look at once comes again soon", []func(*look){at(0)}, "", "waiting", time.Second},
		{"accepted, and it goes on for too long", []func(*look){at(21 * time.Minute)}, drift.NotApplied, "old container", 0},
		{"at the last moment", []func(*look){at(20 * time.Minute)}, "", "waiting", 20*time.Minute + 30*time.Second},
		{"uncertain, and too early to tell", []func(*look){call(drift.CallUncertain), at(2 * time.Minute)}, "", "waiting", 2*time.Minute + 30*time.Second},
		{"uncertain, and it goes on", []func(*look){call(drift.CallUncertain), at(3 * time.Minute)}, drift.NotApplied, "came to nothing", 0},
		{"nobody knows whether it was called, and it goes on", []func(*look){call(""), at(3 * time.Minute)}, drift.NotApplied, "came to nothing", 0},
		{"uncertain, and provisioning", []func(*look){call(drift.CallUncertain), status("provisioning"), at(10 * time.Minute)}, "", "provisioning", 10*time.Minute + 30*time.Second},
		{"uncertain, and another instance", []func(*look){call(drift.CallUncertain), at(10 * time.Minute), func(l *look) { l.f.Workspace.InstanceID = "i-new" }}, "", "waiting", 10*time.Minute + 30*time.Second},
		{"uncertain, and not seen", []func(*look){call(drift.CallUncertain), notSeen(drift.Unreachable), at(10 * time.Minute)}, "", "waiting", 10*time.Minute + 30*time.Second},
		{"uncertain, and it came back", []func(*look){call(drift.CallUncertain), renewed, at(13 * time.Minute)}, drift.Cured, "", 0},

		{"failed", []func(*look){status("failed"), notSeen(drift.NotRunning), at(time.Minute), func(l *look) { l.f.Workspace.LastSampleError = "MISSING_MODEL" }}, drift.Lost, "MISSING_MODEL", 0},
		{"failed, and the new container runs all the same", []func(*look){status("failed"), renewed, at(13 * time.Minute)}, drift.Cured, "", 0},
		{"unreachable for too long", []func(*look){notSeen(drift.Unreachable), at(21 * time.Minute)}, drift.Lost, "20m0s", 0},
		{"not running for too long", []func(*look){notSeen(drift.NotRunning), at(21 * time.Minute)}, drift.Lost, "20m0s", 0},
		{"not asked for too long", []func(*look){notSeen(drift.NotAsked), at(21 * time.Minute)}, drift.Lost, "20m0s", 0},
		{"unreachable, not for long", []func(*look){notSeen(drift.Unreachable), at(19 * time.Minute)}, "", "waiting", 19*time.Minute + 30*time.Second},

		{"it came back the same, and has just started", []func(*look){back, at(6 * time.Minute)}, "", "just started", 7 * time.Minute},
		{"it came back the same", []func(*look){back, at(7 * time.Minute)}, drift.Ineffective, "mode_mismatch", 0},
		{"the same, and long after", []func(*look){back, at(25 * time.Minute)}, drift.Ineffective, "mode_mismatch", 0},
		{"the same, in an environment that may imitate", []func(*look){back, at(7 * time.Minute), func(l *look) { l.f.Observation.EnvUnsafe = true }}, drift.Ineffective, "mode_mismatch", 0},
		{"it came back with something new", []func(*look){renewed, at(7 * time.Minute), func(l *look) {
			l.f.Observation.Variables = variables(drift.VarModeResolved, "byok", drift.VarModel, "sonnet")
		}}, drift.Worse, "model_mismatch", 0},
		{"with the old and something new", []func(*look){back, at(7 * time.Minute), func(l *look) { l.attempt.Kinds = []drift.Kind{drift.ModeMismatch} }}, drift.Worse, "routed_to_proxy", 0},
		{"what no reprovision mends is not held against it", []func(*look){renewed, at(13 * time.Minute), func(l *look) { l.f.Desired.Supply = drift.SupplyNone }}, drift.Cured, "", 0},
		{"only calls are left", []func(*look){renewed, at(13 * time.Minute), func(l *look) {
			l.f.Traffic = &drift.Traffic{Since: l.f.Observation.StartedAt, Billed: 1, PastGrace: 1}
		}}, drift.Ineffective, "proxy_traffic", 0},

		{"what it should be is not known now", []func(*look){back, at(13 * time.Minute), func(l *look) {
			l.f.Desired.Source, l.f.Desired.Mode = drift.FromFallback, drift.ModePlatformManaged
		}}, "", "not known", 13*time.Minute + 30*time.Second},
		{"nor for long after", []func(*look){back, at(20 * time.Minute), func(l *look) {
			l.f.Desired.Source, l.f.Desired.Mode = drift.FromFallback, drift.ModePlatformManaged
		}}, drift.CuredUnproven, "could not be told", 0},
		{"a base URL was cut", []func(*look){renewed, at(13 * time.Minute), func(l *look) {
			l.f.Observation.Variables[drift.VarAnthropicURL] = drift.Variable{Value: "https://api.mole", Cut: true}
		}}, "", "not known", 13*time.Minute + 30*time.Second},

		{"silence has to follow", []func(*look){renewed, at(11 * time.Minute)}, "", "silence", 12 * time.Minute},
		{"and has", []func(*look){renewed, at(12 * time.Minute)}, drift.Cured, "5m0s", 0},
		{"the usual gap makes it longer", []func(*look){renewed, at(18 * time.Minute), func(l *look) { l.attempt.Gap = 4 * time.Minute }}, "", "12m0s", 19 * time.Minute},
		{"never longer than it may", []func(*look){renewed, at(36 * time.Minute), func(l *look) { l.attempt.Gap = 4 * time.Hour }}, "", "30m0s", 37 * time.Minute},
		{"the usual gap is not known", []func(*look){renewed, at(36 * time.Minute), func(l *look) { l.attempt.Gap = 0 }}, "", "30m0s", 37 * time.Minute},
		{"no log", []func(*look){renewed, at(13 * time.Minute), func(l *look) { l.f.Traffic = nil }}, drift.CuredUnproven, "no log", 0},
		{"a log that cannot be read, and may be again", []func(*look){renewed, at(13 * time.Minute), func(l *look) { l.f.Traffic.Err = "gone" }}, "", "not seen at present", 13*time.Minute + 30*time.Second},
		{"nor for as long again", []func(*look){renewed, at(17 * time.Minute), func(l *look) { l.f.Traffic.Err = "gone" }}, drift.CuredUnproven, "no log", 0},
		{"a log that is silent", []func(*look){renewed, at(16*time.Minute + 50*time.Second), func(l *look) { l.f.Traffic.BlindSince = calledAt }}, "", "since 20", 17 * time.Minute},
		{"and stays so", []func(*look){renewed, at(17 * time.Minute), func(l *look) { l.f.Traffic.BlindSince = calledAt }}, drift.CuredUnproven, "no log", 0},
		{"a log that was not seen for a part", []func(*look){renewed, at(12 * time.Minute), func(l *look) { l.f.Traffic.BackAt = calledAt.Add(10 * time.Minute) }}, "", "silence", 15 * time.Minute},
		{"and was whole for as long as it takes", []func(*look){renewed, at(15 * time.Minute), func(l *look) { l.f.Traffic.BackAt = calledAt.Add(10 * time.Minute) }}, drift.Cured, "5m0s", 0},
		{"a log that comes back too late to prove it", []func(*look){renewed, at(16 * time.Minute), func(l *look) { l.f.Traffic.BackAt = calledAt.Add(13 * time.Minute) }}, "", "silence", 17 * time.Minute},
		{"which is not waited for", []func(*look){renewed, at(17 * time.Minute), func(l *look) { l.f.Traffic.BackAt = calledAt.Add(13 * time.Minute) }}, drift.CuredUnproven, "no log", 0},
		{"a log that was back before", []func(*look){renewed, at(12 * time.Minute), func(l *look) { l.f.Traffic.BackAt = calledAt.Add(7 * time.Minute) }}, drift.Cured, "5m0s", 0},
		{"no log, and too early", []func(*look){renewed, at(11 * time.Minute), func(l *look) { l.f.Traffic = nil }}, "", "silence", 12 * time.Minute},

		{"its clock is half a minute behind", []func(*look){renewed, at(13 * time.Minute), func(l *look) { l.f.Observation.StartedAt = calledAt.Add(-30 * time.Second) }}, drift.Cured, "", 0},
		{"a container of before the call, on the same instance", []func(*look){at(13 * time.Minute), func(l *look) { l.f.Observation.StartedAt = calledAt.Add(-2 * time.Minute) }}, "", "waiting", 13*time.Minute + 30*time.Second},
		{"another instance, whose clock is an hour behind", []func(*look){renewed, at(13 * time.Minute), func(l *look) { l.f.Observation.StartedAt = calledAt.Add(-59 * time.Minute) }}, drift.Cured, "", 0},
		{"its clock is ahead", []func(*look){renewed, at(6 * time.Minute), func(l *look) { l.f.Observation.StartedAt = calledAt.Add(10 * time.Minute) }}, "", "silence", 7 * time.Minute},
		{"its clock is ahead, and the silence is over", []func(*look){renewed, at(13 * time.Minute), func(l *look) { l.f.Observation.StartedAt = calledAt.Add(time.Hour) }}, drift.Cured, "", 0},
		{"it should be something else by now", []func(*look){renewed, at(6 * time.Minute), func(l *look) {
			l.attempt.Desired, l.f.Desired.Mode = drift.ModePlatformManaged, drift.ModeBYOK
		}}, drift.Superseded, "by now", 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := look{f: byok(), attempt: drift.Attempt{CalledAt: calledAt, Call: drift.Call{Result: drift.CallAccepted}, StartedAt: started, Instance: instance, Gap: time.Minute,
				Kinds: []drift.Kind{drift.ModeMismatch, drift.RoutedToProxy, drift.CredentialNotDelivered, drift.PlatformCredentialExposed, drift.ProxyTraffic}}}
			for _, change := range row.looks {
				change(&l)
			}
			p := policy(t, drift.OwnerCustomer)
			findings := drift.Compare(p, l.f)
			verdict, _ := drift.Conclude(p, l.f, findings)
			got := proof.Prove(&l.attempt, calledAt.Add(l.after), l.f, verdict, findings)
			if got.Outcome != row.want || got.Words == "" || !strings.Contains(got.Words, row.words) {
				t.Errorf("got %q (%s), want %q (...%s...)", got.Outcome, got.Words, row.want, row.words)
			}
			if row.want == "" && !got.Next.Equal(calledAt.Add(row.next)) {
				t.Errorf("next look %s after the call, want %s", got.Next.Sub(calledAt), row.next)
			}
		})
	}
}

// Where the platform is to pay, calls prove nothing: the container alone does.
func TestPlatformManagedNeedsNoSilence(t *testing.T) {
	l := look{f: managed()}
	renewed(&l)
	a := drift.Attempt{CalledAt: calledAt, StartedAt: started, Instance: instance, Kinds: []drift.Kind{drift.ModeMismatch}}
	if got := proof.Prove(&a, calledAt.Add(6*time.Minute), l.f, drift.InSync, nil); got.Outcome != drift.Cured {
		t.Errorf("%+v", got)
	}
}

// Whatever is seen and whenever: what was not seen is never cured, and never
// shown to be ineffective.
func TestWhatWasNotSeenProvesNothing(t *testing.T) {
	for _, state := range []drift.State{drift.NotAsked, drift.NotRunning, drift.Unreachable, drift.Unsupported} {
		for _, status := range []string{"online", "provisioning", "failed", "paused", "hibernated", "degraded"} {
			for _, r := range append(drift.CallResults, "") {
				for _, after := range []time.Duration{0, time.Minute, 4 * time.Minute, 19 * time.Minute, 21 * time.Minute, 100 * time.Hour} {
					f := byok()
					f.Workspace.Status, f.Observation = status, drift.Observation{State: state, Reason: "lost", StartedAt: calledAt.Add(time.Minute)}
					a := drift.Attempt{CalledAt: calledAt, Call: drift.Call{Result: r}, StartedAt: started, Instance: instance, Kinds: []drift.Kind{drift.ModeMismatch}}
					got := proof.Prove(&a, calledAt.Add(after), f, drift.Unknown, nil)
					if got.Outcome != "" && got.Outcome != drift.Lost {
						t.Errorf("%s, status %s, call %q, after %s: %s", state, status, r, after, got.Outcome)
					}
				}
			}
		}
	}
}
