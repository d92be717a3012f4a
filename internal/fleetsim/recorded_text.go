package fleetsim

import (
	"fmt"
	"hash/adler32"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim/machine"
)

// recorded is what the probe printed, in parts: those that say the same of all
// machines of a shape, and those that are the machine's own.
type recorded []part

type part struct {
	text string                            // where own is nil
	own  func(*machine.Host, *hand) string // what this machine has in its place
}

// hand writes fingerprints under one key.
type hand struct{ key drift.Key }

// longestAnswer is what the probe keeps below what SSM cuts: a longer one it
// prints in another way.
const longestAnswer = 2400

// shapeOf is equal for machines whose answers differ only in what record finds
// again: addresses, start, plain models, and fingerprints.
func shapeOf(h *machine.Host) string {
	var b strings.Builder
	// Which credentials share a value shows in an answer, not the value.
	classes := map[string]int{}
	fmt.Fprintf(&b, "%s %d %s %s %d %q %q %t %t %t %t|", h.State, h.Faults, h.SecretsDir, h.Container, h.RestartCount, h.Image, h.Shell+h.Path,
		h.PrivateIP.IsValid(), h.PublicIP.IsValid(), h.PrivateIP == h.PublicIP, h.StartedAt.IsZero())
	for where, values := range []map[string]string{h.Env, h.Secrets} {
		fmt.Fprintf(&b, "%d %t:", where, values == nil)
		for _, name := range slices.Sorted(maps.Keys(values)) {
			value := canonical(values[name])
			if isShown(name) {
				value = values[name]
			}
			class, known := classes[value]
			switch {
			case isShown(name) && isPlain(value):
				fmt.Fprintf(&b, "%s plain,", name)
				continue
			case isShown(name) || value == "":
				fmt.Fprintf(&b, "%s=%q,", name, value)
				continue
			case !known:
				class = len(classes)
				classes[value] = class
			}
			fmt.Fprintf(&b, "%s %d,", name, class)
		}
	}
	return b.String()
}

// canonical is a credential's value as its fingerprint has it: see
// drift.Key.Fingerprint.
func canonical(value string) string {
	return strings.TrimRight(strings.ReplaceAll(value, "\x00", ""), "\n")
}

// isShown tells whether an answer has a variable's value in the open.
func isShown(name string) bool { return slices.Contains(drift.Variables, name) }

// isPlain tells whether the probe shows a value exactly as it is: no URL, of
// which it would hide a part, short, and nothing to be escaped.
func isPlain(value string) bool {
	return value != "" && len(value) <= 100 && !strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' || r == '%' || r == ':' })
}

// record takes an answer apart that the host gave under the key; nil: it has
// something that cannot be told again.
func record(stdout string, h *machine.Host, key drift.Key) *recorded {
	body, whole := sealed(stdout)
	if !whole || h.Faults != 0 { // with a fault, values that nobody shows may matter
		return nil
	}
	var r recorded
	for line := range strings.Lines(body) {
		word, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch {
		case word == "ip" && rest == h.PrivateIP.String():
			r = append(r, part{text: "ip "}, part{own: func(h *machine.Host, _ *hand) string { return h.PrivateIP.String() }}, part{text: "\n"})
		case word == "ip" && rest == h.PublicIP.String():
			r = append(r, part{text: "ip "}, part{own: func(h *machine.Host, _ *hand) string { return h.PublicIP.String() }}, part{text: "\n"})
		case word == "started" && rest == stampOf(h.StartedAt):
			r = append(r, part{text: "started "}, part{own: func(h *machine.Host, _ *hand) string { return stampOf(h.StartedAt) }}, part{text: "\n"})
		case word == "fp":
			digits := prints(rest, h, key)
			if digits == nil {
				return nil
			}
			r = append(append(append(r, part{text: "fp "}), digits...), part{text: "\n"})
		case len(word) > 2 && word[0] == 'v' && word[2] == '=':
			r = append(r, shown(line, word, h)...)
		default:
			r = append(r, part{text: line})
		}
	}
	if again, ok := r.play(h, key); !ok || again != stdout {
		return nil
	}
	return &r
}

// shown is the line of a variable: "v2=text".
func shown(line, word string, h *machine.Host) []part {
	i, err := strconv.Atoi(word[1:2])
	if err != nil || i >= len(drift.Variables) {
		return []part{{text: line}}
	}
	name := drift.Variables[i]
	if value := h.Env[name]; !isPlain(value) || line != word[:3]+value+"\n" {
		return []part{{text: line}}
	}
	return []part{{text: word[:3]}, {own: func(h *machine.Host, _ *hand) string { return h.Env[name] }}, {text: "\n"}}
}

// printDigits is how many characters one fingerprint has in an answer.
const printDigits = 11

// prints finds out whose fingerprints a line has; nil: not known.
func prints(digits string, h *machine.Host, key drift.Key) []part {
	of := map[string]func(*machine.Host) string{}
	for name, value := range h.Env {
		of[(&hand{key}).print(value)] = func(h *machine.Host) string { return h.Env[name] }
	}
	for name, value := range h.Secrets {
		of[(&hand{key}).print(value)] = func(h *machine.Host) string { return h.Secrets[name] }
	}
	parts := []part{{text: ""}}
	for ; len(digits) >= printDigits; digits = digits[printDigits:] {
		value := of[digits[:printDigits]]
		if value == nil {
			return nil
		}
		parts = append(parts, part{own: func(h *machine.Host, w *hand) string { return w.print(value(h)) }})
	}
	if digits != "" {
		return nil
	}
	return parts
}

// play gives the answer of a machine under a key; false: the probe would print
// another.
func (r *recorded) play(h *machine.Host, key drift.Key) (string, bool) {
	var b strings.Builder
	b.Grow(1024)
	w := &hand{key}
	for i := range *r {
		if p := &(*r)[i]; p.own != nil {
			b.WriteString(p.own(h, w))
		} else {
			b.WriteString(p.text)
		}
	}
	if b.Len() > longestAnswer {
		return "", false
	}
	sum := adler32.Checksum([]byte(b.String()))
	fmt.Fprintf(&b, "end %d %08x\n", b.Len(), sum)
	return b.String(), true
}

// sealed gives an answer without its last line, if that is right.
func sealed(stdout string) (body string, ok bool) {
	i := strings.LastIndex(strings.TrimSuffix(stdout, "\n"), "\n") + 1
	body = stdout[:i]
	return body, stdout[i:] == fmt.Sprintf("end %d %08x\n", len(body), adler32.Checksum([]byte(body)))
}

// stampOf is a time as docker prints it.
func stampOf(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

const printAlphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"

// print gives a value's fingerprint as the probe shortens it: three hex digits
// in two of base 64, the sixteenth in one.
func (w *hand) print(value string) string {
	long := string(w.key.Fingerprint([]byte(value)))
	var short [printDigits]byte
	for i := 0; i < 15; i += 3 {
		n, err := strconv.ParseUint(long[i:i+3], 16, 16)
		if err != nil {
			return ""
		}
		short[i/3*2], short[i/3*2+1] = printAlphabet[n/64], printAlphabet[n%64]
	}
	last, err := strconv.ParseUint(long[15:], 16, 8)
	if err != nil {
		return ""
	}
	short[printDigits-1] = printAlphabet[last]
	return string(short[:])
}
