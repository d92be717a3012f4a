package probe_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/desired"
	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/observe/probe"
)

func TestNewRefuses(t *testing.T) {
	for _, row := range []struct {
		name string
		spec probe.Spec
	}{
		{"no names", probe.Spec{}},
		{"an empty name", probe.Spec{Credentials: []string{""}}},
		{"a name that begins with a digit", probe.Spec{Credentials: []string{"0KEY"}}},
		{"shell in a name", probe.Spec{Credentials: []string{"A';id;'"}}},
		{"a space in a name", probe.Spec{Credentials: []string{"A B"}}},
		{"a name that is printed by value", probe.Spec{Credentials: []string{"MODEL"}}},
		{"a relative directory", probe.Spec{Credentials: []string{"A"}, SecretsDir: "configs"}},
		{"shell in the directory", probe.Spec{Credentials: []string{"A"}, SecretsDir: "/a'b"}},
		{"a directory that climbs", probe.Spec{Credentials: []string{"A"}, SecretsDir: "/a/../b"}},
		{"the root", probe.Spec{Credentials: []string{"A"}, SecretsDir: "/"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, err := probe.New(row.spec); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestNamesAreSortedAndSingle(t *testing.T) {
	p := newProbe(t, "B_KEY", "a_key", "A_KEY", "B_KEY")
	if diff := cmp.Diff([]string{"A_KEY", "B_KEY", "a_key"}, p.Names()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if newProbe(t, "A_KEY", "B_KEY", "a_key").Script() != p.Script() {
		t.Error("order or doubles change the script")
	}
}

func TestCommandRefuses(t *testing.T) {
	p := small(t)
	for _, row := range []struct {
		name      string
		key       drift.Key
		container string
	}{
		{"no key", "", ""},
		{"a short key", key[1:], ""},
		{"upper case", drift.Key(strings.ToUpper(string(key))), ""},
		{"a newline after the key", key + "\n", ""},
		{"shell in the container", key, "a'b"},
		{"a container that looks like an option", key, "-v"},
		{"a parameter of SSM", key, "{{ssm:x}}"},
		{"a newline after the container", key, "x\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if script, err := p.Command(row.key, row.container); err == nil || script != "" {
				t.Error("accepted")
			}
		})
	}
}

// SSM takes double braces for a parameter of its own, in comments too.
func TestBracesAreTheParametersAlone(t *testing.T) {
	p := newProbe(t, registryNames(t)...)
	found := regexp.MustCompile(`\{\{.*`).FindAllString(p.Script(), -1)
	if diff := cmp.Diff([]string{"{{ Key }}'", "{{ Container }}'"}, found); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if strings.Count(p.Script(), "}}") != 2 {
		t.Error("closing braces")
	}
	script, err := p.Command(key, "box-1")
	if err != nil || strings.Contains(script, "{{") || !strings.Contains(script, "key='"+string(key)+"'\nbox='box-1'\n") {
		t.Errorf("the command still has a parameter, or not the values: %v", err)
	}
	if left := regexp.MustCompile(`@[A-Z_]+@`).FindString(script); left != "" {
		t.Errorf("%s was not filled in", left)
	}
}

// An apostrophe would end the quotes that the programs stand in.
func TestProgramsHaveNoApostrophe(t *testing.T) {
	for _, file := range []string{"decoder.awk", "folder.awk", "list.sh"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for n, line := range strings.Split(string(text), "\n") {
			if strings.Contains(line, "'") && !strings.HasPrefix(line, "#") {
				t.Errorf("%s:%d: %s", file, n+1, line)
			}
		}
	}
}

// A program called by its path would pass the test that listens to arguments,
// and printf as a program would show a secret in its own.
func TestNoProgramIsCalledByItsPath(t *testing.T) {
	if found := regexp.MustCompile(`/bin/(sh\S|[^s\s])\w*|\benv printf`).FindAllString(strings.ReplaceAll(small(t).Script(), "/snap/bin\n", ""), -1); found != nil {
		t.Errorf("got %q", found)
	}
}

func TestShellcheck(t *testing.T) {
	shellcheck, err := exec.LookPath("shellcheck")
	if err != nil {
		t.Skip("shellcheck is not installed here; make check has it")
	}
	script, err := newProbe(t, registryNames(t)...).Command(key, "")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "probe.sh")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{file, "list.sh"} {
		if out, err := exec.CommandContext(t.Context(), shellcheck, "-s", "sh", name).CombinedOutput(); err != nil {
			t.Errorf("%s", out)
		}
	}
}

// rendered is the document for the project's own example registry.
func rendered(t *testing.T) []byte {
	t.Helper()
	r, err := desired.LoadRegistry("../../deploy/providers.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	document, err := newProbe(t, desired.CredentialNames(r, drift.DefaultStripList)...).Document()
	if err != nil {
		t.Fatal(err)
	}
	return document
}

// The document that is shipped is the one script, rendered for the example
// registry. Renew it with: go test ./observe/probe -run Document -update
func TestDocumentIsRendered(t *testing.T) {
	const file = "../../deploy/ssm/billing-probe.json"
	want := rendered(t)
	if *update {
		if err := os.WriteFile(file, want, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("render it anew (-want +got)\n%s", diff)
	}
}

func TestDocumentHoldsTheScript(t *testing.T) {
	p := newProbe(t, registryNames(t)...)
	text, err := p.Document()
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		SchemaVersion string
		Parameters    map[string]struct{ Type, Default, AllowedPattern string }
		MainSteps     []struct {
			Action string
			Inputs struct {
				TimeoutSeconds string
				RunCommand     []string
			}
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	if d.SchemaVersion != "2.2" || len(d.Parameters) != 2 || len(d.MainSteps) != 1 || d.MainSteps[0].Action != "aws:runShellScript" {
		t.Fatalf("got %+v", d)
	}
	if got := strings.Join(d.MainSteps[0].Inputs.RunCommand, "\n") + "\n"; got != p.Script() {
		t.Errorf("another script: %s", cmp.Diff(p.Script(), got))
	}
	if len(text) > 64<<10 {
		t.Errorf("%d bytes: SSM takes documents of up to 64 KB", len(text))
	}
	container := d.Parameters[probe.ParameterContainer]
	for _, row := range []struct {
		parameter, value string
		want             bool
	}{
		{probe.ParameterKey, string(key), true}, {probe.ParameterKey, string(key) + "0", false}, {probe.ParameterKey, "';id;'", false},
		{probe.ParameterContainer, container.Default, true}, {probe.ParameterContainer, "$(id)", false}, {probe.ParameterContainer, "", false},
	} {
		if got := regexp.MustCompile(d.Parameters[row.parameter].AllowedPattern).MatchString(row.value); got != row.want {
			t.Errorf("%s %q: allowed %v, want %v", row.parameter, row.value, got, row.want)
		}
	}
}
