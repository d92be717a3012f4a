package probe

import (
	"errors"
	"fmt"
	"strings"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Why an answer could not be read. Decode wraps them; the observation is
// unreachable and its reason says the same.
var (
	ErrCut        = errors.New("the probe's answer is cut")
	ErrUnreadable = errors.New("the probe's answer cannot be read")
	ErrVersion    = errors.New("the probe on the instance is of another version: render and update the document")
	ErrRegistry   = errors.New("the probe on the instance was rendered from another registry: render and update the document")
)

// Decode gives what the probe's standard output says. Only a whole answer, of
// this very rendering, that read environment and secrets.d to their ends is
// drift.Observed; anything else is a state with its reason. The error is nil
// where the answer itself could be read, whatever it says. At is left to the
// caller: the instance's clock is not ours.
func (p *Probe) Decode(stdout string) (drift.Observation, error) {
	body, err := p.whole(stdout)
	if err != nil {
		return unreachable(err.Error()), fmt.Errorf("decode probe: %w", err)
	}
	a, err := p.parse(body)
	if err != nil {
		return unreachable(err.Error()), fmt.Errorf("decode probe: %w", err)
	}
	o := a.observation
	switch a.look {
	case "":
		o.State = drift.Observed
	case "stopped":
		o.State, o.Reason = drift.NotRunning, "the container is "+a.status
	default:
		o.State, o.Reason = conclude(a.look)
	}
	if o.State != drift.Observed {
		o.Variables, o.Credentials, o.EnvUnsafe = nil, nil, false
	}
	return o, nil
}

// looks are the script's own words for how far it got.
var looks = map[string]struct {
	state  drift.State
	reason string
}{
	"nodocker": {drift.Unsupported, "the instance has no docker"},
	"absent":   {drift.NotRunning, "no such container"},
	"docker":   {drift.Unreachable, "docker on the instance could not be asked"},
	"hung":     {drift.Unreachable, "docker on the instance hung"},
	"changed":  {drift.Unreachable, "the container restarted during the look"},
	"env":      {drift.Unreachable, "the container's environment could not be read"},
	"dir":      {drift.Unreachable, "the container's secrets.d could not be read"},
	"long":     {drift.Unreachable, "the probe's answer would be too long to arrive whole"},
	"key":      {drift.Unreachable, "the probe was not given a key"},
	"tools":    {drift.Unreachable, "the instance has no od or awk, which the probe needs"},
	"hasher":   {drift.Unreachable, "the instance has no program that computes SHA-256, or it does not work"},
	"printf":   {drift.Unreachable, "the instance's shell has no printf of its own, which would show secrets to other processes"},
}

func conclude(look string) (drift.State, string) {
	if known, ok := looks[look]; ok {
		return known.state, known.reason
	}
	return drift.Unreachable, ErrUnreadable.Error()
}

func unreachable(reason string) drift.Observation {
	return drift.Observation{State: drift.Unreachable, Reason: reason}
}

// unreadable names the part that made no sense, never its content.
func unreadable(part string) error { return fmt.Errorf("%w: %s", ErrUnreadable, part) }

const magic = "billing-probe "

// whole takes the answer out of what a machine printed, without its first and
// last line, once version, rendering, length and checksum are right.
func (p *Probe) whole(stdout string) (string, error) {
	start := 0
	if !strings.HasPrefix(stdout, magic) {
		start = strings.Index(stdout, "\n"+magic) + 1
		if start == 0 {
			return "", noAnswer(stdout)
		}
	}
	text := stdout[start:]
	head, rest, ok := strings.Cut(text, "\n")
	if !ok {
		return "", ErrCut
	}
	if err := p.recognise(head); err != nil {
		return "", err
	}
	end, ok := lastLine(rest)
	if !ok {
		return "", ErrCut
	}
	body := text[:len(head)+1+end]
	if err := verify(body, text[len(body):]); err != nil {
		return "", err
	}
	return rest[:end], nil
}

func noAnswer(stdout string) error {
	switch {
	case strings.TrimSpace(stdout) == "":
		return unreadable("there is none")
	case strings.HasPrefix(magic, stdout):
		return ErrCut
	}
	return unreadable("it is not the probe's")
}

// recognise compares the answer's first line with this rendering.
func (p *Probe) recognise(head string) error {
	fields := strings.Split(head, " ")
	if len(fields) < 3 {
		return unreadable("its first line")
	}
	if fields[1] != fmt.Sprint(version) {
		return ErrVersion
	}
	if len(fields) != 3 || fields[2] != p.digest {
		return ErrRegistry
	}
	return nil
}

// lastLine finds where the line that ends an answer begins.
func lastLine(rest string) (int, bool) {
	if strings.HasPrefix(rest, "end ") {
		return 0, true
	}
	i := strings.Index(rest, "\nend ")
	return i + 1, i >= 0
}
