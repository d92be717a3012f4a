package probe_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim/machine"
)

// compareAddr makes go-cmp compare addresses.
var compareAddr = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func TestAnUsualHostIsObservedWhole(t *testing.T) {
	everywhere(t, func(t *testing.T, shell string) {
		host := usual()
		host.Secrets = map[string]string{"OPENAI_API_KEY": "sk-customer\n", "UNKNOWN": "not ours"}
		p := small(t)
		want := drift.Observation{
			State: drift.Observed,
			Variables: map[string]drift.Variable{
				drift.VarModeResolved: {Value: "platform_managed"}, drift.VarModel: {Value: "opus"},
				drift.VarAnthropicURL: {Value: "https://api.example.com/llm/anthropic"},
			},
			Credentials: credentials(p.Names(), host),
			StartedAt:   started, Image: "registry.example.com/workspace:7", RestartCount: 2,
			Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("203.0.113.7")},
		}
		if diff := cmp.Diff(want, look(t, p, shell, host), compareAddr); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

// What cannot be looked at has its own state and reason, and shows nothing that
// could be taken for an observation.
func TestStates(t *testing.T) {
	with := func(change func(*machine.Host)) machine.Host {
		h := usual()
		change(&h)
		return h
	}
	state := func(s machine.State) machine.Host { return with(func(h *machine.Host) { h.State = s }) }
	fault := func(f machine.Fault) machine.Host { return with(func(h *machine.Host) { h.Faults = f }) }
	rows := []struct {
		name   string
		host   machine.Host
		state  drift.State
		reason string
		start  time.Time
	}{
		{"no docker", state(machine.NoDocker), drift.Unsupported, "the instance has no docker", time.Time{}},
		{"no container", state(machine.Absent), drift.NotRunning, "no such container", time.Time{}},
		{"exited", state(machine.Exited), drift.NotRunning, "the container is exited", started},
		{"restarting", state(machine.Restarting), drift.NotRunning, "the container is restarting", started},
		{"paused", state(machine.Paused), drift.NotRunning, "the container is paused", started},
		{"created, never started", with(func(h *machine.Host) { h.State, h.StartedAt = machine.Created, time.Time{} }),
			drift.NotRunning, "the container is created", time.Time{}},
		{"docker's daemon is down", state(machine.DaemonDown), drift.Unreachable, "docker on the instance could not be asked", time.Time{}},
		{"docker hangs", state(machine.Hung), drift.Unreachable, "docker on the instance hung", time.Time{}},
		{"docker hangs, no timeout", with(func(h *machine.Host) { h.State, h.Faults = machine.Hung, machine.NoTimeout }),
			drift.Unreachable, "docker on the instance hung", time.Time{}},
		{"docker exec hangs", fault(machine.HungExec), drift.Unreachable, "docker on the instance hung", started},
		{"secrets.d hangs", fault(machine.HungSecrets), drift.Unreachable, "docker on the instance hung", started},
		{"restarts in the look", fault(machine.RestartsInLook), drift.Unreachable, "the container restarted during the look", started},
		{"removed in the look", fault(machine.RemovedInLook), drift.NotRunning, "no such container", started},
		{"stops in the look", fault(machine.StopsInLook), drift.Unreachable, "the container restarted during the look", started},
		{"no shell in the container", fault(machine.NoShell), drift.Unreachable, "the container's secrets.d could not be read", started},
		{"secrets.d is no directory", fault(machine.SecretsNoDir), drift.Unreachable, "the container's secrets.d could not be read", started},
		{"a secret is a pipe", fault(machine.SecretsPipe), drift.Unreachable, "the container's secrets.d could not be read", started},
		{"a program hashes nowhere", fault(machine.NoHasher), drift.Unreachable,
			"the instance has no program that computes SHA-256, or it does not work", time.Time{}},
		{"another name, though an id begins so", with(func(h *machine.Host) { h.Container = "other"; h.State = machine.Absent }),
			drift.NotRunning, "no such container", time.Time{}},
	}
	hosts := make([]machine.Host, len(rows))
	for i, row := range rows {
		hosts[i] = row.host
	}
	p := small(t)
	for shell, observations := range looks(t, p, hosts) {
		for i, row := range rows {
			want := drift.Observation{State: row.state, Reason: row.reason, StartedAt: row.start}
			if !row.start.IsZero() || row.host.State == machine.Created {
				want.Image, want.RestartCount = row.host.Image, row.host.RestartCount
			}
			if diff := cmp.Diff(want, observations[i], cmpopts.IgnoreFields(drift.Observation{}, "Addresses"), compareAddr); diff != "" {
				t.Errorf("%s, %s (-want +got)\n%s", row.name, shell, diff)
			}
		}
	}
}

// The environment is read some other way where the best one fails, and comes
// out the same.
func TestWaysToTheEnvironment(t *testing.T) {
	rows := []struct {
		name   string
		faults machine.Fault
		unsafe bool
	}{
		{"printenv -0 where there is no env", machine.NoEnv, false},
		{"docker inspect where there is neither", machine.NoEnv | machine.NoPrintenv, false},
		{"docker inspect where neither takes -0", machine.NoZero, false},
		{"docker inspect where -0 is passed over", machine.IgnoresZero, false},
		{"docker inspect where env is cut", machine.CutEnv, false},
		{"printenv where docker inspect fails too", machine.NoZero | machine.NoInspectEnv, true},
		{"docker warns on stderr", machine.Warnings, false},
		{"no timeout on the instance", machine.NoTimeout, false},
	}
	hosts := make([]machine.Host, len(rows))
	for i, row := range rows {
		host := usual()
		host.Faults, host.Secrets = row.faults, map[string]string{"ANTHROPIC_API_KEY": "of secrets.d"}
		host.Env["CONTRACT"] = `"]` + "\\\" \u2028 \U0001F600 <&>\t\r\b"
		host.Env["OPENAI_API_KEY"] = host.Env["CONTRACT"]
		hosts[i] = host
	}
	p := small(t)
	for shell, observations := range looks(t, p, hosts) {
		for i, row := range rows {
			got := observations[i]
			if got.State != drift.Observed || got.EnvUnsafe != row.unsafe || got.Mode() != drift.ModePlatformManaged {
				t.Errorf("%s, %s: got %s (%s), unsafe %v, mode %s", row.name, shell, got.State, got.Reason, got.EnvUnsafe, got.Mode())
			}
			if diff := cmp.Diff(credentials(p.Names(), hosts[i]), got.Credentials); diff != "" {
				t.Errorf("%s, %s: credentials (-want +got)\n%s", row.name, shell, diff)
			}
		}
	}
}

// Nothing is left to read the environment with.
func TestNoWayToTheEnvironment(t *testing.T) {
	everywhere(t, func(t *testing.T, shell string) {
		host := usual()
		host.Faults = machine.NoEnv | machine.NoPrintenv | machine.NoInspectEnv
		got := look(t, small(t), shell, host)
		if got.State != drift.Unreachable || got.Reason != "the container's environment could not be read" {
			t.Errorf("got %s: %s", got.State, got.Reason)
		}
	})
}

// Docker's JSON has lost what is not UTF-8: such a credential has no
// fingerprint there, and a wrong one would accuse.
func TestWhatInspectLosesIsNotGuessed(t *testing.T) {
	everywhere(t, func(t *testing.T, shell string) {
		host := usual()
		host.Faults = machine.NoEnv | machine.NoPrintenv
		// Go's encoder escapes the sign that stands for what it has lost; another
		// may write it out, and so would a value that has it.
		for _, value := range []string{"binary \xff\xfe", "binary \uFFFD"} {
			host.Env["OPENAI_API_KEY"] = value
			if got := look(t, small(t), shell, host); got.State != drift.Unreachable {
				t.Errorf("%q: got %s: %+v", value, got.State, got.Credentials)
			}
		}
	})
}

// Values of every kind, each in the environment and in secrets.d.
func TestValues(t *testing.T) {
	everyByte := make([]byte, 0, 512)
	for i := range 512 {
		everyByte = append(everyByte, byte(i))
	}
	random := make([]byte, 100_000)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(random)
	var names []string
	env, secrets := map[string]string{"MODEL": "opus"}, map[string]string{}
	for _, row := range []struct{ name, value string }{
		{"of one byte", "x"},
		{"of length zero", ""},
		{"newlines alone", "\n\n\n"},
		{"newlines within and at the end", "a\nb\n\nc\n\n"},
		{"newline first", "\na"},
		{"quotes", `a'b"c` + "`d`$(e)${f}\\g"},
		{"equal signs", "=a==b="},
		{"blank", "  \t "},
		{"patterns", "* ? [a] ~ !"},
		{"what printf would take for its own", `%s%d%%\n\0101\c`},
		{"digits after what is escaped", "\x01234\n567"},
		{"every byte", string(everyByte)},
		{"not UTF-8", "\xff\xfe\x80"},
		{"the probe's own words", "\nend 5 00000000\nbilling-probe 1 deadbeef\nE0 =x\nhas e"},
		{"another variable's words", "x\nOPENAI_API_KEY=forged\nMODEL=forged"},
		{"100 kB", strings.Repeat("0123456789abcdef", 6250)},
		{"100 kB of binary", string(random)},
	} {
		name := fmt.Sprintf("K%d_%s", len(names), strings.ToUpper(strings.Map(letters, row.name)))
		names = append(names, name)
		env[name], secrets[name] = strings.ReplaceAll(row.value, "\x00", ""), row.value
		// Names that ours are the beginning or the end of.
		env["X"+name], env[name+"S"], secrets[name+".bak"] = row.value, row.value, row.value
	}
	p := newProbe(t, names...)
	everywhere(t, func(t *testing.T, shell string) {
		host := usual()
		host.Env, host.Secrets, host.Shell = env, secrets, shell
		got := look(t, p, shell, host)
		if got.State != drift.Observed {
			t.Fatalf("got %s: %s", got.State, got.Reason)
		}
		if diff := cmp.Diff(credentials(names, host), got.Credentials); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if got.Model().Value != "opus" {
			t.Errorf("model = %q", got.Model().Value)
		}
	})
}

func letters(r rune) rune {
	if r >= 'a' && r <= 'z' {
		return r
	}
	return '_'
}

// A large environment that is not ours costs little and changes nothing.
func TestALargeEnvironment(t *testing.T) {
	everywhere(t, func(t *testing.T, shell string) {
		host := usual()
		for i := range 12 {
			host.Env["LARGE_"+string(rune('A'+i))] = strings.Repeat("x=\n\n", 30_000)
		}
		if got := look(t, small(t), shell, host); got.State != drift.Observed || len(got.Credentials) != 2 {
			t.Errorf("got %s (%s) with %d credentials", got.State, got.Reason, len(got.Credentials))
		}
	})
}
