// Package probe holds the shell script that looks into a workspace's container
// and the decoder of its answer.
//
// The script runs on the instance as root, by SSM or by hand. It prints facts
// only: allow-listed variables by value, credentials by name, emptiness and
// keyed fingerprint. It never changes anything, never writes a file, and never
// lets a secret's value out of the shell's memory. Its answer stays below what
// SSM cuts, and ends in its length and checksum.
//
// What the script knows by name is rendered into it, from the registry and the
// strip list. An answer says by a digest which rendering gave it, so that one
// made from another registry is recognised and never misread.
package probe

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Defaults of what is looked at, as the platform has it.
const (
	DefaultContainer  = "molecule-workspace"
	DefaultSecretsDir = "/configs/secrets.d"
)

// What a key and a container may be: the document's allowed patterns.
const (
	keyPattern       = `^[0-9a-f]{32}$`
	containerPattern = `^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`
)

// The document's two parameters as the script names them.
const (
	keyParameter       = "{{ Key }}"
	containerParameter = "{{ Container }}"
)

const (
	version = 1
	longest = 2400 // characters of an answer before its last line; SSM cuts at 2,500
)

// The script and the three programs that stand in it, between single quotes.
var (
	//go:embed probe.sh
	template string
	//go:embed list.sh
	list string
	//go:embed decoder.awk
	decoder string
	//go:embed folder.awk
	folder string
)

var (
	validKey       = regexp.MustCompile(keyPattern)
	validContainer = regexp.MustCompile(containerPattern)
	validName      = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,119}$`)
	validDirectory = regexp.MustCompile(`^(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$`)
)

// Spec is what a probe is rendered from.
type Spec struct {
	Credentials []string // names to look for, at least one; any order, doubles do not matter
	SecretsDir  string   // in the container, absolute; "": DefaultSecretsDir
}

// Probe is a rendered script and the decoder that understands its answers. It
// is safe for concurrent use.
type Probe struct {
	names  []string // sorted, no doubles; an answer speaks of them by position
	digest string   // of all that an answer's positions depend on
	script string
}

// New renders the probe. It refuses what could not be a variable's name, or
// could not be told from shell.
func New(spec Spec) (*Probe, error) {
	if spec.SecretsDir == "" {
		spec.SecretsDir = DefaultSecretsDir
	}
	if !validDirectory.MatchString(spec.SecretsDir) {
		return nil, fmt.Errorf("render probe: secrets directory %q: not a plain absolute path", spec.SecretsDir)
	}
	names := slices.Clone(spec.Credentials)
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 0 {
		return nil, fmt.Errorf("render probe: no names of credentials")
	}
	for _, name := range names {
		if !validName.MatchString(name) {
			return nil, fmt.Errorf("render probe: credential %q: not a variable's name", name)
		}
		if slices.Contains(drift.Variables, name) {
			return nil, fmt.Errorf("render probe: credential %q: its value is reported in the open", name)
		}
	}
	return render(names, spec.SecretsDir), nil
}

func render(names []string, secretsDir string) *Probe {
	credentials, variables := strings.Join(names, " "), strings.Join(drift.Variables, " ")
	sum := sha256.Sum256([]byte(credentials + "\n" + variables + "\n" + secretsDir))
	p := &Probe{names: names, digest: hex.EncodeToString(sum[:4])}
	p.script = strings.NewReplacer("@LIST@", code(list), "@DECODER@", code(decoder), "@FOLDER@", code(folder)).Replace(template)
	p.script = strings.NewReplacer(
		"@VERSION@", strconv.Itoa(version),
		"@DIGEST@", p.digest,
		"@NAMES@", credentials,
		"@VARIABLES@", variables,
		"@SECRETS_DIR@", secretsDir,
		"@LONGEST@", strconv.Itoa(longest),
	).Replace(p.script)
	return p
}

// code is a program without the comment that opens it, whose apostrophes would
// end the quotes.
func code(program string) string {
	for strings.HasPrefix(program, "#") {
		_, program, _ = strings.Cut(program, "\n")
	}
	return program
}

// Names lists the credentials that the probe knows, sorted.
func (p *Probe) Names() []string { return slices.Clone(p.names) }

// Script gives the script with the SSM document's two parameters in place.
func (p *Probe) Script() string { return p.script }

// Command gives the script ready to run, as for AWS-RunShellScript. The key is
// that of the pass; "" for container is DefaultContainer. It refuses what the
// document's patterns would.
func (p *Probe) Command(key drift.Key, container string) (string, error) {
	if container == "" {
		container = DefaultContainer
	}
	if !validKey.MatchString(string(key)) {
		return "", fmt.Errorf("render probe: the key is not 32 lower-case hex digits")
	}
	if !validContainer.MatchString(container) {
		return "", fmt.Errorf("render probe: container %q: not a container's name", container)
	}
	return strings.NewReplacer(keyParameter, string(key), containerParameter, container).Replace(p.script), nil
}
