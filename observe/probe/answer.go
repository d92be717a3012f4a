package probe

import (
	"encoding/hex"
	"fmt"
	"hash/adler32"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// answer is the probe's text, read but not yet judged.
type answer struct {
	look        string // how far it got; "": all was read
	status      string // docker's word for the container
	flags       string // which credentials are there, a character for each name
	digits      string // their fingerprints
	env         string // how the environment was read
	observation drift.Observation
}

// lastLineOf goes without its newline, too: some trim what they pass on.
var lastLineOf = regexp.MustCompile(`^end ([0-9]+) ([0-9a-f]{8}|none)(\n|$)`)

// verify compares body with what the last line says of it. Without awk there
// is no checksum; then the answer must be one that says so.
func verify(body, last string) error {
	m := lastLineOf.FindStringSubmatch(last)
	if m == nil {
		if !strings.Contains(last, "\n") {
			return ErrCut
		}
		return unreadable("its last line")
	}
	if m[2] == "none" {
		if !strings.HasSuffix(body, "\nlook tools\n") {
			return unreadable("it has no checksum")
		}
		return nil
	}
	if m[1] != strconv.Itoa(len(body)) {
		return ErrCut
	}
	if m[2] != fmt.Sprintf("%08x", adler32.Checksum([]byte(body))) {
		return unreadable("its checksum is wrong")
	}
	return nil
}

// parse reads the lines between first and last. All that an observed container
// must have must be there, once.
func (p *Probe) parse(body string) (*answer, error) {
	a := &answer{}
	seen := map[string]bool{}
	for line := range strings.Lines(body) {
		word, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if len(word) > 2 && word[0] == 'v' && (word[2] == '=' || word[2] == '~') {
			word, rest = word[:2], strings.TrimSuffix(line, "\n")[2:]
		}
		if seen[word] && word != "ip" {
			return nil, unreadable("a line twice")
		}
		seen[word] = true
		if !a.take(word, rest) {
			return nil, unreadable("its line " + strconv.Quote(clip(word)))
		}
	}
	if a.look != "" {
		return a, nil
	}
	for _, need := range []string{"status", "started", "restarts", "env", "has", "fp"} {
		if !seen[need] {
			return nil, unreadable("it has no line " + need)
		}
	}
	if a.status != "running" {
		return nil, unreadable("the container is " + a.status)
	}
	return a, p.credentials(a)
}

func clip(word string) string { return word[:min(len(word), 12)] }

var plainWord = regexp.MustCompile(`^[a-z]{1,20}$`)

// take reads one line; false where it makes no sense.
func (a *answer) take(word, rest string) (ok bool) {
	o := &a.observation
	var err error
	switch word {
	case "look":
		a.look = rest
		return plainWord.MatchString(rest)
	case "status":
		a.status = rest
		return plainWord.MatchString(rest)
	case "started":
		o.StartedAt, err = time.Parse(time.RFC3339Nano, rest)
		if o.StartedAt = o.StartedAt.UTC(); o.StartedAt.Year() <= 1 {
			o.StartedAt = time.Time{} // docker's word for never
		}
	case "restarts":
		o.RestartCount, err = strconv.Atoi(rest)
	case "image":
		o.Image = rest
		if whole, cut := strings.CutSuffix(rest, "~"); cut {
			o.Image = whole + "…"
		}
	case "ip":
		a.address(rest)
	case "env":
		a.env, o.EnvUnsafe = rest, rest == "printenv"
		return rest == "exec" || rest == "inspect" || rest == "printenv"
	case "has":
		a.flags = rest
	case "fp":
		a.digits = rest
	default:
		return a.variable(word, rest)
	}
	return err == nil
}

// address adds one of the instance's own. What is none is passed over: the
// inventory knows one, too, and a strange word from the metadata service says
// nothing of the container.
func (a *answer) address(text string) {
	ip, err := netip.ParseAddr(text)
	if err != nil || ip.IsUnspecified() || ip.IsLoopback() {
		return
	}
	ip = ip.Unmap().WithZone("")
	for _, known := range a.observation.Addresses {
		if known == ip {
			return
		}
	}
	a.observation.Addresses = append(a.observation.Addresses, ip)
}

// variable reads "v2", "=text" or "~text": the third of drift.Variables, whole
// or cut.
func (a *answer) variable(word, rest string) bool {
	if len(word) != 2 || word[0] != 'v' || rest == "" {
		return false
	}
	i := int(word[1] - '0')
	value, ok := unescape(rest[1:])
	if i < 0 || i >= len(drift.Variables) || !ok {
		return false
	}
	if a.observation.Variables == nil {
		a.observation.Variables = map[string]drift.Variable{}
	}
	a.observation.Variables[drift.Variables[i]] = drift.Variable{Value: value, Cut: rest[0] == '~'}
	return true
}

// unescape undoes %XX. All else stands for itself.
func unescape(text string) (string, bool) {
	if !strings.Contains(text, "%") {
		return text, true
	}
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			out.WriteByte(text[i])
			continue
		}
		if i+2 >= len(text) {
			return "", false
		}
		b, err := hex.DecodeString(text[i+1 : i+3])
		if err != nil {
			return "", false
		}
		out.Write(b)
		i += 2
	}
	return out.String(), true
}
