package reconcile_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/reconcile"
)

// The environments that a container of the model may have.
const (
	envBYOK    = "byok"
	envManaged = "platform_managed" // as in the incident
	envModel   = "other model"      // byok, with a model that nobody wants
)

// box is a workspace of the model: what its tenant and its container are in
// truth.
type box struct {
	source, id string
	env        string
	life       int       // of the container: grows with each start
	started    time.Time // of this life
	status     string
	pending    string // what the platform is about to bring: a fate; "": nothing
	seen       drift.State
	stale      bool // what is seen of it is hours old
	calling    bool // it calls the proxy, whatever its environment says
	written    int  // grows with each change of its inputs
	doubtful   bool // its inputs cannot be read
	flipped    bool // its tenant wants it managed
}

// GoString is for whoever reads a failure.
func (b *box) GoString() string {
	return fmt.Sprintf("%s/%s %s life %d %s pending %q seen %q stale %v calling %v inputs %s", b.source, b.id[33:], b.env, b.life, b.status, b.pending, b.seen, b.stale, b.calling, b.inputs())
}

// inputs names what its desired mode rests on.
func (b *box) inputs() string { return fmt.Sprint(b.written, b.doubtful, b.flipped) }

// wants is the environment that it should have.
func (b *box) wants() string {
	if b.flipped {
		return envManaged
	}
	return envBYOK
}

// right tells whether all is well with it in truth.
func (b *box) right() bool { return b.env == b.wants() && (b.flipped || !b.calling) }

// running tells whether there is a container.
func (b *box) running() bool { return b.pending == "" && b.status != "failed" }

// The fates of a workspace that the platform provisions again.
const (
	fateFixed = "fixed"
	fateSame  = "same"  // the platform still has the bug
	fateWorse = "worse" // it comes back with something new
	fateLost  = "lost"  // it does not come back
)

var fates = []string{fateFixed, fateFixed, fateFixed, fateFixed, fateSame, fateWorse, fateLost}

// provision ends what the platform has begun.
func (b *box) provision() {
	fate := b.pending
	b.pending, b.status, b.life, b.started = "", "online", b.life+1, time.Now()
	switch fate {
	case fateFixed:
		b.env, b.calling = b.wants(), false
	case fateWorse:
		b.env, b.calling = map[string]string{envModel: envManaged, envManaged: envModel, envBYOK: envModel}[b.env], true
	case fateLost:
		b.status = "failed"
	}
}

// The answers of the platform, beyond those that say that nothing was done.
const (
	saysAccepted  = "accepted"
	saysLostReply = "uncertain, done"
	saysNothing   = "uncertain, not done"
	diesBefore    = "the caller dies before the platform hears of it"
	diesAfter     = "the caller dies before it hears the answer"
)

var answers = []string{saysAccepted, saysAccepted, saysAccepted, saysAccepted, saysLostReply, saysNothing, diesBefore, diesAfter,
	string(drift.CallNoop), string(drift.CallNotFound), string(drift.CallConflict), string(drift.CallUnavailable), string(drift.CallThrottled), string(drift.CallRefused)}

type died struct{}

// tenancy is the outside world of the model, and what its parts do next.
type tenancy struct {
	mu       sync.Mutex
	boxes    []*box
	sources  []string
	poisoned map[string]bool // by source: a row of its globals makes the platform refuse
	blind    bool            // the proxy's log is not seen
	away     error           // why tenants' databases cannot be read; nil: they can
	cooling  bool            // what has failed waits for longer than the model goes on
	remedy   drift.Remedy
	observer func(id string) // after the answer about a workspace is there, once; nil: nothing

	answer, fate string
	ledger       *account
}

func (y *tenancy) box(id string) *box {
	return y.boxes[slices.IndexFunc(y.boxes, func(b *box) bool { return b.id == id })]
}

func (y *tenancy) of(source string) (list []*box) {
	for _, b := range y.boxes {
		if b.source == source {
			list = append(list, b)
		}
	}
	return list
}

// modelReader implements reconcile.Reader.
type modelReader struct {
	*tenancy
	name string
}

func (r modelReader) Workspaces(_ context.Context, sel reconcile.Selection, yield func(*drift.Workspace) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away != nil {
		return r.away
	}
	for _, b := range r.of(r.name) {
		if len(sel.IDs) > 0 && !slices.Contains(sel.IDs, b.id) {
			continue
		}
		w := workspace(b.source, b.id)
		w.Name, w.Status, w.InstanceID = b.id, b.status, fmt.Sprintf("i-%s-%d", b.id, b.life)
		w.Secrets[1].UpdatedAt = now.Add(time.Duration(b.written) * time.Second)
		if r.poisoned[r.name] {
			w.Globals = []drift.StoredSecret{{Key: "GITHUB_TOKEN"}}
		}
		if err := yield(&w); err != nil {
			return err
		}
	}
	return nil
}

// desire is the registry: it takes the tenant's word for what flipped. The reader
// has the lock.
func (y *tenancy) desire(w *drift.Workspace, d drift.Desired) drift.Desired {
	switch b := y.box(w.ID); {
	case b.doubtful:
		d.Path = drift.Path{Mode: drift.ModePlatformManaged, Source: drift.FromFallback, Err: "unreadable"}
		d.ReadPath = d.Path
	case b.flipped:
		d.Path = drift.Path{Mode: drift.ModePlatformManaged, Source: drift.FromProvider, Provider: drift.PlatformProvider, Model: "opus"}
		d.ReadPath, d.AuthEnv, d.Supply = d.Path, []string{drift.KeyUsageToken}, drift.SupplyNotNeeded
	}
	return d
}

// Observe implements reconcile.Observer.
func (y *tenancy) Observe(_ context.Context, _ drift.Key, targets []reconcile.Target) []drift.Observation {
	list := make([]drift.Observation, len(targets))
	for i, target := range targets {
		id := target.InstanceID[2:38]
		y.mu.Lock()
		list[i] = y.look(y.box(id))
		after := y.observer
		if after != nil {
			y.observer = nil
		}
		y.mu.Unlock()
		if after != nil {
			after(id)
		}
	}
	return list
}

func (y *tenancy) look(b *box) drift.Observation {
	y.ledger.looked(b)
	if b.seen != drift.Observed {
		return drift.Observation{State: b.seen, Reason: "not seen", At: time.Now()}
	}
	if !b.running() {
		return drift.Observation{State: drift.NotRunning, Reason: "no container", At: time.Now()}
	}
	o := fine()
	switch b.env {
	case envManaged:
		o = drained()
	case envModel:
		o.Variables[drift.VarModel] = drift.Variable{Value: "sonnet"}
	}
	if o.At, o.StartedAt = time.Now(), b.started; b.stale {
		o.At = o.At.Add(-5 * time.Hour)
	}
	return o
}

// Traffic implements reconcile.Witness.
func (y *tenancy) Traffic(_ context.Context, lives []reconcile.Life) (c reconcile.Calls) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for _, l := range lives {
		t := drift.Traffic{Since: l.Since}
		if y.blind {
			t.BlindSince = now
		}
		if l.ID != "" && y.box(l.ID).calling && !l.Since.IsZero() {
			t.Billed, t.PastGrace, t.First, t.Last = 1, 1, l.Since, l.Since
		}
		c.ByLife = append(c.ByLife, t)
	}
	return c
}

// ReadMode implements reconcile.Platform.
func (y *tenancy) ReadMode(context.Context, string) drift.ReadEndpoint { return drift.ReadEndpoint{} }

// Restart implements reconcile.Actor.
func (y *tenancy) Restart(ctx context.Context, id string) drift.Call {
	y.mu.Lock()
	defer y.mu.Unlock()
	b := y.box(id)
	may := (drift.Call{Result: drift.CallResult(y.answer)}).MayHaveActed() // the model's own words count as uncertain
	y.ledger.called(ctx, b, may)
	if y.answer == diesBefore {
		panic(died{})
	}
	if may && y.answer != saysNothing {
		b.pending, b.status = y.fate, "provisioning"
	}
	switch y.answer {
	case diesAfter:
		panic(died{})
	case saysLostReply, saysNothing:
		return drift.Call{Result: drift.CallUncertain, Words: "cut"}
	}
	return drift.Call{Result: drift.CallResult(y.answer), Words: y.answer}
}

// world is the configuration in force. Nobody sleeps here: what waits for time to
// pass waits for hours, or has waited long enough, as the machine draws.
func (y *tenancy) world(passed map[string]bool) *reconcile.World {
	w := &reconcile.World{Resolver: registry{resolve: y.desire}, ResolverID: "r1", Observer: y, Witness: y, Policy: modelPolicy(),
		Limits: reconcile.Limits{Interval: time.Nanosecond, PassTimeout: time.Minute, SourcesAtOnce: 2, Surge: drift.Surge{Percent: 50, AtLeast: 2}}}
	r := y.remedy
	wait := func(what string) time.Duration {
		if passed[what] {
			return 0
		}
		return time.Hour
	}
	r.Backoff, r.Proof = wait("backoff"), drift.Proof{Settle: wait("settle"), Unapplied: wait("unapplied"), LostAfter: wait("lost"), AtMost: wait("silence"), AtLeast: wait("silence")}
	for _, name := range y.sources {
		w.Sources = append(w.Sources, reconcile.Source{Name: name, Reader: modelReader{y, name}, Platform: y, Actor: y, Remedy: r})
	}
	return w
}

func modelPolicy() *drift.Policy {
	proxy, _ := drift.ParseEndpoint(proxyURL)
	return &drift.Policy{GlobalSecrets: drift.OwnerCustomer, StripList: drift.DefaultStripList, Proxy: []drift.Endpoint{proxy}, StaleAfter: 15 * time.Minute}
}
