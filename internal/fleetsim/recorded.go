package fleetsim

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim/machine"
)

// recorder answers for a big fleet without a shell for each look: it runs the
// real script in a real shell once for every shape of machine, and derives from
// what was printed what other machines of that shape would print under another
// key. What it cannot derive runs in a shell after all.
type recorder struct {
	parent string // directory of the machines that are recorded, one at a time each
	last   atomic.Pointer[script]

	mu     sync.RWMutex
	hosts  map[string]*played // by instance
	takes  map[take]*recording
	shells atomic.Int64
}

// played is a machine that exists in words only.
type played struct {
	host  machine.Host
	shape string
}

// take is what a recording is good for.
type take struct{ shape, script string }

// recording is made once; text nil: what was printed cannot be told again.
type recording struct {
	mu   sync.Mutex
	done bool
	text *recorded
}

// script is a probe as it was sent, apart from its key.
type script struct {
	sent string
	rest string // "" where no key was found
	key  drift.Key
}

func newRecorder(parent string) *recorder {
	return &recorder{parent: parent, hosts: map[string]*played{}, takes: map[take]*recording{}}
}

// set says what an instance's machine is from now on.
func (r *recorder) set(instance string, host machine.Host) {
	p := &played{host: host, shape: shapeOf(&host)}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hosts[instance] = p
}

// drop says that there is no such instance any more.
func (r *recorder) drop(instance string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.hosts, instance)
}

func (r *recorder) host(instance string) *played {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.hosts[instance]
}

// run answers as a shell on the instance's machine would.
func (r *recorder) run(ctx context.Context, instance, sent string) (stdout string, exit int) {
	p := r.host(instance)
	if p == nil {
		return "", 1
	}
	s := r.parse(sent)
	if s.rest != "" {
		if text := r.recording(ctx, p, s); text != nil {
			if stdout, ok := text.play(&p.host, s.key); ok {
				return stdout, 0
			}
		}
	}
	return r.shell(ctx, &p.host, sent)
}

// recording gives what was recorded of the shape, or records it.
func (r *recorder) recording(ctx context.Context, p *played, s *script) *recorded {
	at := take{p.shape, s.rest}
	r.mu.RLock()
	made := r.takes[at]
	r.mu.RUnlock()
	if made == nil {
		r.mu.Lock()
		if made = r.takes[at]; made == nil {
			made = &recording{}
			r.takes[at] = made
		}
		r.mu.Unlock()
	}
	made.mu.Lock()
	defer made.mu.Unlock()
	if !made.done {
		if stdout, exit := r.shell(ctx, &p.host, s.sent); exit == 0 {
			made.text, made.done = record(stdout, &p.host, s.key), true
		}
	}
	return made.text
}

// shell runs a script in a real shell, on a machine made for it alone.
func (r *recorder) shell(ctx context.Context, host *machine.Host, sent string) (stdout string, exit int) {
	name := fmt.Sprintf("take-%d", r.shells.Add(1))
	box, err := machine.New(r.parent, name, *host)
	defer func() { _ = os.RemoveAll(r.parent + "/" + name) }()
	if err != nil {
		return "", 1
	}
	stdout, _, exit, err = box.Run(ctx, "", sent)
	if err != nil {
		return "", 1
	}
	return stdout, exit
}

// keyLine is where the probe has its key.
var keyLine = regexp.MustCompile(`(?m)^key='([0-9a-f]{32})'$`)

// parse takes a script apart; all instances of a pass are sent the same one.
func (r *recorder) parse(sent string) *script {
	if last := r.last.Load(); last != nil && last.sent == sent {
		return last
	}
	s := &script{sent: sent}
	if found := keyLine.FindAllStringSubmatchIndex(sent, -1); len(found) == 1 {
		from, to := found[0][2], found[0][3]
		s.key, s.rest = drift.Key(strings.Clone(sent[from:to])), sent[:from]+sent[to:]
	}
	r.last.Store(s)
	return s
}

// Shells tells how many real shells a recorded fleet has run so far.
func (s *Sim) Shells() int {
	if s.recorder == nil {
		return 0
	}
	return int(s.recorder.shells.Load())
}

// Host gives what a member's machine is at present; the zero Host where it has
// no instance.
func (s *Sim) Host(m *Member) machine.Host {
	instance := s.Standing(m).InstanceID
	if s.recorder != nil {
		if p := s.recorder.host(instance); p != nil {
			return p.host
		}
		return machine.Host{}
	}
	s.boxes.RLock()
	box := s.machines[instance]
	s.boxes.RUnlock()
	if box == nil {
		return machine.Host{}
	}
	return box.Host()
}

// settle makes the member's machine what the member is.
func (s *Sim) settle(m *Member) error {
	id := m.Row.InstanceID
	if s.recorder != nil {
		s.recorder.set(id, s.host(m))
		return nil
	}
	s.boxes.RLock()
	box := s.machines[id]
	s.boxes.RUnlock()
	return box.Set(s.host(m))
}
