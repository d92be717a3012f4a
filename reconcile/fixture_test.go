package reconcile_test

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/localpg/pgtest"
	"github.com/molecule-ai/billing-reconciler/reconcile"
)

func TestMain(m *testing.M) { pgtest.MainNoLeaks(m) }

const (
	key      = drift.Key("00112233445566778899aabbccddeeff")
	proxyURL = "https://api.moleculesai.app/api/v1/internal/llm"
)

var (
	now     = time.Date(2026, 5, 28, 18, 31, 54, 0, time.UTC)
	started = now.Add(-20 * time.Minute)
)

// reader is a source in memory.
type reader struct {
	workspaces []drift.Workspace
	err        error // after all of them
	before     func(ctx context.Context) error

	mu    sync.Mutex
	asked []reconcile.Selection
}

func (r *reader) Workspaces(ctx context.Context, sel reconcile.Selection, yield func(*drift.Workspace) error) error {
	r.mu.Lock()
	r.asked = append(r.asked, sel)
	r.mu.Unlock()
	if r.before != nil {
		if err := r.before(ctx); err != nil {
			return err
		}
	}
	for _, w := range r.workspaces {
		if len(sel.IDs) > 0 && !contains(sel.IDs, w.ID) {
			continue
		}
		if err := yield(&w); err != nil {
			return err
		}
	}
	return r.err
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// source is one tenant of byok workspaces on the instances i-<id>.
func source(name string, ids ...string) reconcile.Source {
	r := &reader{}
	for _, id := range ids {
		r.workspaces = append(r.workspaces, workspace(name, id))
	}
	return reconcile.Source{Name: name, Reader: r}
}

func workspace(source, id string) drift.Workspace {
	return drift.Workspace{Source: source, ID: id, Status: "online", InstanceID: "i-" + id, Secrets: []drift.StoredSecret{
		{Key: "CLAUDE_CODE_OAUTH_TOKEN", Fingerprint: key.Fingerprint([]byte("customer"))}, {Key: drift.KeyModel, Value: "opus"}}}
}

func rows(s reconcile.Source) *reader { return s.Reader.(*reader) }

// resolver derives byok from a model, and the default without one.
type resolver struct{}

func (resolver) Inputs(w *drift.Workspace) drift.Inputs {
	in := drift.Inputs{Runtime: w.RuntimeOrDefault()}
	for _, s := range w.Secrets {
		if s.Key == drift.KeyModel {
			in.Model = s.Value
		}
	}
	return in
}

func (resolver) Resolve(in drift.Inputs) drift.Path {
	if in.Model == "" {
		return drift.Path{Mode: drift.ModePlatformManaged, Source: drift.FromDefault}
	}
	return drift.Path{Mode: drift.ModeBYOK, Source: drift.FromProvider, Provider: "anthropic-oauth", Model: in.Model}
}

func (r resolver) Desired(w *drift.Workspace) drift.Desired {
	path := r.Resolve(r.Inputs(w))
	return drift.Desired{Path: path, ReadPath: path, ModelFrom: "workspace_secrets.MODEL", AuthEnv: []string{"CLAUDE_CODE_OAUTH_TOKEN"}, Supply: drift.SupplyWorkspace}
}

// observer answers by instance; those it does not know are fine.
type observer struct {
	answers map[string]drift.Observation
	drop    int // answers that it fails to give

	mu      sync.Mutex
	targets []reconcile.Target
	key     drift.Key
}

func (o *observer) Observe(_ context.Context, key drift.Key, targets []reconcile.Target) []drift.Observation {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.targets, o.key = append(o.targets, targets...), key
	answers := make([]drift.Observation, 0, len(targets))
	for _, t := range targets {
		answer, ok := o.answers[t.InstanceID]
		if !ok {
			answer = fine()
		}
		answers = append(answers, answer)
	}
	return answers[:len(answers)-o.drop]
}

// fine is a container that is as it should be.
func fine(addresses ...string) drift.Observation {
	return drift.Observation{State: drift.Observed, At: now, StartedAt: started, Addresses: parse(addresses),
		Variables:   map[string]drift.Variable{drift.VarModeResolved: {Value: "byok"}, drift.VarModel: {Value: "opus"}},
		Credentials: []drift.Credential{{Name: "CLAUDE_CODE_OAUTH_TOKEN", Where: drift.WhereEnv, Fingerprint: key.Fingerprint([]byte("customer"))}}}
}

// drained is the container of the incident.
func drained(addresses ...string) drift.Observation {
	o := fine(addresses...)
	o.Variables[drift.VarModeResolved] = drift.Variable{Value: "platform_managed"}
	o.Variables[drift.VarAnthropicURL] = drift.Variable{Value: proxyURL}
	o.Credentials = []drift.Credential{{Name: drift.KeyUsageToken, Where: drift.WhereEnv, Fingerprint: key.Fingerprint([]byte("platform"))}}
	return o
}

func parse(addresses []string) (list []netip.Addr) {
	for _, a := range addresses {
		list = append(list, netip.MustParseAddr(a))
	}
	return list
}

// pass is one over sources with everything that they say taken at its word.
func pass(t testing.TB, sources ...reconcile.Source) *reconcile.Pass {
	t.Helper()
	proxy, err := drift.ParseEndpoint(proxyURL)
	if err != nil {
		t.Fatal(err)
	}
	return &reconcile.Pass{Sources: sources, Resolver: resolver{}, Observer: &observer{}, Now: func() time.Time { return now },
		Policy: &drift.Policy{GlobalSecrets: drift.OwnerCustomer, StripList: drift.DefaultStripList, Proxy: []drift.Endpoint{proxy}, StaleAfter: 15 * time.Minute}}
}

func run(t testing.TB, p *reconcile.Pass) *reconcile.Result {
	t.Helper()
	result, err := p.Run(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// judged finds a workspace of the result.
func judged(t testing.TB, result *reconcile.Result, id string) *reconcile.Judged {
	t.Helper()
	for i := range result.Workspaces {
		if result.Workspaces[i].Workspace.ID == id {
			return &result.Workspaces[i]
		}
	}
	t.Fatalf("%s is not in the result", id)
	return nil
}

func ids(result *reconcile.Result) []string {
	list := []string{}
	for i := range result.Workspaces {
		list = append(list, result.Workspaces[i].Workspace.ID)
	}
	return list
}

func kinds(j *reconcile.Judged) []drift.Kind {
	list := []drift.Kind{}
	for _, f := range j.Findings {
		list = append(list, f.Kind)
	}
	return list
}
