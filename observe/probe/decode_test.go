package probe_test

import (
	"errors"
	"flag"
	"fmt"
	"hash/adler32"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/observe/probe"
)

var update = flag.Bool("update", false, "write the golden answer and the SSM document anew")

const golden = "testdata/usual.answer"

// goldenAnswer is what the real script answered on an usual host.
func goldenAnswer(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The answer's form is a contract with the documents that are out there: who
// changes it raises the version.
func TestGoldenAnswer(t *testing.T) {
	host := usual()
	host.Secrets = map[string]string{"OPENAI_API_KEY": "sk-customer", "ANTHROPIC_API_KEY": ""}
	got := answer(t, small(t), "dash", host)
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(goldenAnswer(t), got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// Law 1: an answer that is not whole was no look.
func TestEveryCutIsKnown(t *testing.T) {
	p := small(t)
	whole := strings.TrimSuffix(goldenAnswer(t), "\n")
	if o, err := p.Decode(whole); err != nil || o.State != drift.Observed {
		t.Fatalf("whole: %s, %v", o.State, err)
	}
	for n := range len(whole) {
		for _, suffix := range []string{"", "\n", "---Output truncated---", "\n----------ERROR-------\nfailed to run commands: exit status 137"} {
			o, err := p.Decode(whole[:n] + suffix)
			if o.State != drift.Unreachable || o.Reason == "" || err == nil {
				t.Fatalf("cut at %d, then %q: %s (%s), %v", n, suffix, o.State, o.Reason, err)
			}
			if o.Variables != nil || o.Credentials != nil || !o.StartedAt.IsZero() {
				t.Fatalf("cut at %d: something was believed: %+v", n, o)
			}
			if n > 0 && suffix == "" && !errors.Is(err, probe.ErrCut) {
				t.Fatalf("cut at %d: %v", n, err)
			}
		}
	}
}

// A changed byte is known, too.
func TestEveryChangeIsKnown(t *testing.T) {
	p := small(t)
	whole := goldenAnswer(t)
	for n := range len(whole) - 1 {
		changed := []byte(whole)
		changed[n] ^= 1
		if o, err := p.Decode(string(changed)); o.State != drift.Unreachable || err == nil {
			t.Fatalf("byte %d: %s, %v\n%s", n, o.State, err, changed)
		}
	}
}

// sealed gives lines the last one that they must have.
func sealed(body string) string {
	return fmt.Sprintf("%send %d %08x\n", body, len(body), adler32.Checksum([]byte(body)))
}

func TestWhatCannotBeRead(t *testing.T) {
	whole := goldenAnswer(t)
	body := whole[:strings.LastIndex(whole, "end ")]
	head, lines, _ := strings.Cut(body, "\n")
	head += "\n"
	without := func(word string) string {
		var kept strings.Builder
		for line := range strings.Lines(body) {
			if !strings.HasPrefix(line, word) {
				kept.WriteString(line)
			}
		}
		return kept.String()
	}
	for _, row := range []struct {
		name, text string
		want       error
	}{
		{"nothing", "", probe.ErrUnreadable},
		{"another program's", "hello\n", probe.ErrUnreadable},
		{"the magic within a line", "x billing-probe 1\n", probe.ErrUnreadable},
		{"another version", sealed("billing-probe 2 0\nlook ok\n"), probe.ErrVersion},
		{"another registry", sealed("billing-probe 1 00000000\n" + lines), probe.ErrRegistry},
		{"a line twice", sealed(body + "env exec\n"), probe.ErrUnreadable},
		{"an unknown line", sealed(body + "hello world\n"), probe.ErrUnreadable},
		{"an unknown variable", sealed(body + "v9=x\n"), probe.ErrUnreadable},
		{"a broken escape", sealed(body + "v4=%4\n"), probe.ErrUnreadable},
		{"no hex in an escape", sealed(body + "v4=%zz\n"), probe.ErrUnreadable},
		{"a way to the environment that is none", sealed(without("env") + "env guess\n"), probe.ErrUnreadable},
		{"not running, and yet looked into", sealed(without("status") + "status exited\n"), probe.ErrUnreadable},
		{"no status", sealed(without("status")), probe.ErrUnreadable},
		{"no start", sealed(without("started")), probe.ErrUnreadable},
		{"a start that is no time", sealed(without("started") + "started today\n"), probe.ErrUnreadable},
		{"no environment", sealed(without("env")), probe.ErrUnreadable},
		{"no flags", sealed(without("has")), probe.ErrUnreadable},
		{"no fingerprints", sealed(without("fp")), probe.ErrUnreadable},
		{"too few flags", sealed(without("has") + "has ex\n"), probe.ErrUnreadable},
		{"too few fingerprints", sealed(without("has") + "has ddd\n"), probe.ErrUnreadable},
		{"too many fingerprints", sealed(without("has") + "has ---\n"), probe.ErrUnreadable},
		{"an unknown flag", sealed(without("has") + "has e?e\n"), probe.ErrUnreadable},
		{"a fingerprint that is none", sealed(without("fp") + "fp " + strings.Repeat("!", 22) + "\n"), probe.ErrUnreadable},
		{"no checksum", body + fmt.Sprintf("end %d none\n", len(body)), probe.ErrUnreadable},
		{"nothing said at all", sealed(head), probe.ErrUnreadable},
	} {
		t.Run(row.name, func(t *testing.T) {
			o, err := small(t).Decode(row.text)
			if !errors.Is(err, row.want) || o.State != drift.Unreachable || o.Reason == "" || o.Variables != nil || o.Credentials != nil {
				t.Errorf("got %s (%s), %v; want %v", o.State, o.Reason, err, row.want)
			}
		})
	}
}

// What SSM adds around an answer does not matter.
func TestWhatStandsAround(t *testing.T) {
	whole := goldenAnswer(t)
	for _, text := range []string{whole, strings.TrimSpace(whole), "motd\n" + whole, whole + "\n----------ERROR-------\nnoise"} {
		if o, err := small(t).Decode(text); err != nil || o.State != drift.Observed {
			t.Errorf("%q: %s (%s), %v", text, o.State, o.Reason, err)
		}
	}
}

// FuzzDecode: whatever a machine prints, decoding ends, says why, and calls
// observed only what is whole.
func FuzzDecode(f *testing.F) {
	p := small(f)
	whole := goldenAnswer(f)
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add(strings.Replace(whole, "has ", "has x", 1))
	f.Add("billing-probe 1\n")
	f.Fuzz(func(t *testing.T, text string) {
		// The checksum would keep a fuzzer out of all the rest.
		body := text
		if i := strings.LastIndex(text, "end "); i >= 0 {
			body = text[:i]
		}
		for _, text := range []string{text, sealed(body)} {
			o, err := p.Decode(text)
			if (o.State == drift.Observed) != (o.Reason == "") || o.State == drift.NotAsked {
				t.Fatalf("state %q, reason %q", o.State, o.Reason)
			}
			if err != nil && o.State != drift.Unreachable {
				t.Fatalf("%v, and yet %s", err, o.State)
			}
			if o.State == drift.Observed && !strings.Contains(text, "\nend ") {
				t.Fatalf("observed without an end: %q", text)
			}
			for _, c := range o.Credentials {
				if c.Empty == (len(c.Fingerprint) == 16) {
					t.Fatalf("%+v", c)
				}
			}
		}
	})
}
