package probe_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim/machine"
)

const planted = "sk-ant-PLANTED"

// plant puts secrets wherever a host may have some.
func plant() machine.Host {
	host := usual()
	host.Env["ANTHROPIC_API_KEY"] = planted + "-1\nand a second line " + planted
	host.Env[drift.KeyUsageToken] = planted + "-2 %s \\n"
	host.Env["DATABASE_URL"] = planted + "-3"
	host.Env[drift.VarOpenAIURL] = "https://" + planted + "-4:" + planted + "@host.example/v1?key=" + planted
	host.Env["OPENAI_API_KEY"] = ""
	host.Secrets = map[string]string{"OPENAI_API_KEY": planted + "-5", "ANTHROPIC_API_KEY": planted + "-6", "OTHER": planted + "-7"}
	return host
}

// eavesdrop puts a program before each that the probe calls, which writes its
// arguments to a file and then does what it should.
func eavesdrop(t *testing.T, without machine.Fault) (dir, log string) {
	t.Helper()
	dir, log = t.TempDir(), filepath.Join(t.TempDir(), "arguments")
	syscall.ForkLock.RLock() // or a child of somebody else's holds a program open, and it is busy
	defer syscall.ForkLock.RUnlock()
	for _, name := range []string{"docker", "curl", "sha256sum", "od", "awk", "timeout", "tr", "cat", "sh", "sleep", "printf", "echo", "["} {
		if name == "timeout" && without == machine.NoTimeout {
			continue
		}
		text := fmt.Sprintf("#!/bin/sh\n{ printf '%%s ' %s \"$@\"; echo; } >>'%s'\np=${PATH#*:}\nexec \"${p%%%%:*}/%s\" \"$@\"\n", name, log, name)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil { // #nosec G306 -- a program
			t.Fatal(err)
		}
	}
	return dir, log
}

// No secret is in an argument, in the answer, in an error or in a file; nor is
// the key, which would make the fingerprints worth something.
func TestNoSecretLeaves(t *testing.T) {
	faults := []machine.Fault{0, machine.NoEnv | machine.NoPrintenv, machine.NoZero | machine.NoInspectEnv, machine.NoShell, machine.NoTimeout}
	everywhere(t, func(t *testing.T, shell string) {
		for _, fault := range faults {
			host := plant()
			host.Faults = fault
			var log string
			host.Path, log = eavesdrop(t, fault)
			dir := t.TempDir()
			m, err := machine.New(dir, "i-1", host)
			if err != nil {
				t.Fatal(err)
			}
			script, err := small(t).Command(key, "")
			if err != nil {
				t.Fatal(err)
			}
			// Traced, as an administrator may have set it for every shell.
			stdout, stderr, _, err := m.Run(t.Context(), shell+" -xv", script)
			if err != nil {
				t.Fatal(err)
			}
			arguments, err := os.ReadFile(log)
			if err != nil || !strings.Contains(string(arguments), "inspect") || !strings.Contains(string(arguments), "sha256sum") && fault != machine.NoShell {
				t.Fatalf("nothing was overheard: %v\n%s", err, arguments)
			}
			for where, text := range map[string]string{"the answer": stdout, "stderr": stderr, "an argument": string(arguments)} {
				if strings.Contains(text, "PLANTED") || strings.Contains(text, string(key)) {
					t.Errorf("fault %d: a secret is in %s:\n%s", fault, where, text)
				}
			}
			onDisk(t, dir)
		}
	})
}

// onDisk fails where a look has left anything beside what the machine is made of.
func onDisk(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		inside, _ := filepath.Rel(dir, path)
		if top, rest, _ := strings.Cut(inside, "/"); strings.HasPrefix(top, ".tools") || strings.HasPrefix(rest, "root/") {
			return nil
		}
		switch filepath.Base(path) {
		case "facts", "env.zero", "env.lines", "env.json":
			return nil
		}
		t.Errorf("%s was left behind", path)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
