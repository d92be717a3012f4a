package machine

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// faultWords are the faults as the stand-ins know them.
var faultWords = map[Fault]string{
	NoEnv: "no-env", NoPrintenv: "no-printenv", NoZero: "no-zero", IgnoresZero: "ignores-zero", NoShell: "no-shell",
	NoInspectEnv: "no-inspect-env", HungExec: "hung-exec", HungSecrets: "hung-secrets", RestartsInLook: "restarts",
	RemovedInLook: "removed", StopsInLook: "stops", CutEnv: "cut-env", NoIMDS: "no-imds", StrangeIMDS: "strange-imds",
	Warnings: "warnings",
}

// write prepares the files that the stand-ins answer from.
func (h *Host) write(dir string) error {
	zero, lines := h.environment()
	files := map[string][]byte{"facts": h.facts(), "env.zero": octal(zero), "env.lines": lines, "env.json": h.json()}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		// In place: the file is small, and nobody looks while it is written.
		if err := os.WriteFile(filepath.Join(dir, name), files[name], 0o600); err != nil {
			return err
		}
	}
	if err := h.secrets(filepath.Join(dir, "root")); err != nil {
		return err
	}
	pipe := filepath.Join(dir, "hang")
	if _, err := os.Lstat(pipe); err != nil && h.hangs() {
		return syscall.Mkfifo(pipe, 0o600)
	}
	return nil
}

// environment gives the container's variables, sorted, as env prints them with
// and without -0.
func (h *Host) environment() (zero, lines []byte) {
	for _, pair := range h.pairs() {
		zero = append(append(zero, pair...), 0)
		lines = append(append(lines, pair...), '\n')
	}
	if h.has(CutEnv) && len(zero) > 3 {
		zero = zero[:len(zero)-3]
	}
	return zero, lines
}

func (h *Host) pairs() []string {
	env := map[string]string{"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/home/agent"}
	maps.Copy(env, h.Env)
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		pairs = append(pairs, name+"="+strings.ReplaceAll(env[name], "\x00", ""))
	}
	return pairs
}

// json gives what docker's template function json gives of .Config.Env.
func (h *Host) json() []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(h.pairs()) // strings always encode
	return out.Bytes()
}

// facts are shell variables for the stand-ins.
func (h *Host) facts() []byte {
	words := " "
	for fault, word := range faultWords {
		if h.has(fault) {
			words += word + " "
		}
	}
	started := h.StartedAt
	again := started.Add(time.Minute)
	id := sha256.Sum256([]byte(h.container() + started.String()))
	var out bytes.Buffer
	for _, pair := range [][2]string{
		{"faults", words}, {"state", string(h.status())}, {"container", h.container()}, {"id", hex.EncodeToString(id[:])},
		{"started", stamp(started)}, {"started_again", stamp(again)}, {"image", h.Image},
		{"shell", h.Shell}, {"restarts", fmt.Sprint(h.RestartCount)}, {"private", address(h.PrivateIP)}, {"public", address(h.PublicIP)},
	} {
		fmt.Fprintf(&out, "%s='%s'\n", pair[0], strings.ReplaceAll(pair[1], "'", `'\''`))
	}
	return out.Bytes()
}

// octal gives bytes as a shell variable for printf %b: printing them so costs
// no program.
func octal(raw []byte) []byte {
	out := []byte("zero='")
	for _, b := range raw {
		if b >= '0' && b <= '9' || b >= '=' && b <= 'Z' || b >= '_' && b <= 'z' || b == '/' || b == '.' {
			out = append(out, b)
		} else {
			out = fmt.Appendf(out, `\0%03o`, b)
		}
	}
	return append(out, "'\n"...)
}

// stamp is docker's form; its zero is Go's.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func address(ip interface {
	IsValid() bool
	String() string
}) string {
	if !ip.IsValid() {
		return ""
	}
	return ip.String()
}

// secrets makes the directory anew under root.
func (h *Host) secrets(root string) error {
	if err := os.RemoveAll(root); err != nil {
		return err
	}
	dir := filepath.Join(root, filepath.FromSlash(h.secretsDir()))
	if err := os.MkdirAll(filepath.Dir(dir), 0o750); err != nil {
		return err
	}
	if h.has(SecretsNoDir) {
		return os.WriteFile(dir, nil, 0o600)
	}
	if h.Secrets == nil && !h.has(SecretsPipe) {
		return nil
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	if h.has(SecretsPipe) {
		if err := syscall.Mkfifo(filepath.Join(dir, "OPENAI_API_KEY"), 0o600); err != nil {
			return err
		}
	}
	for name, value := range h.Secrets {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(value), 0o600); err != nil {
			return err
		}
	}
	return nil
}
