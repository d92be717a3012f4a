package main

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/molecule-ai/billing-reconciler/internal/fleetsim"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim/ssmsim"
)

// of lists the members of a tenant that a fault can be put on.
func (w *watched) of(tenant string) (list []*fleetsim.Member) {
	for _, m := range w.breakable() {
		if m.Tenant.Name == tenant {
			list = append(list, m)
		}
	}
	return list
}

// verdicts waits until a source has so many workspaces of a verdict.
func (w *watched) verdicts(source, verdict string, atLeast int) {
	w.t.Helper()
	var got int
	if !awaits(patience, func() bool {
		got = len(w.strings("SELECT id::text FROM states WHERE source = $1 AND verdict = $2", source, verdict))
		return got >= atLeast
	}) {
		w.t.Fatalf("%s has %d workspaces that are %s, want %d at least", source, got, verdict, atLeast)
	}
}

// reasons lists why workspaces of a source were not observed.
func (w *watched) reasons(source string) string {
	return strings.Join(w.strings("SELECT DISTINCT document->'observed'->>'reason' FROM states WHERE source = $1 AND verdict = 'unknown'", source), "\n")
}

// quiet checks that nothing was told, and nothing opened or closed, since there
// were so many events.
func (w *watched) quiet(since int) {
	w.t.Helper()
	w.holds()
	if now := w.events("drift_"); len(now) != since {
		w.t.Errorf("something that could not be looked at made itself heard: %v", now[min(since, len(now)):])
	}
}

// AWS fails in every way: nothing that could not be looked at is in sync,
// opened or closed; what breaks or mends meanwhile is found when it is back.
func TestDaemonWhoseAWSFails(t *testing.T) {
	t.Parallel()
	var failure atomic.Pointer[ssmsim.Failure]
	w := watch(t, fleetsim.Options{Workspaces: 8, Tenants: 1, SSM: ssmsim.Options{Fail: func(string, int) *ssmsim.Failure { return failure.Load() }}}, swap("pass_timeout: 1m", "pass_timeout: 10s"))
	line := w.lead(endpoint(w.text, "ssm"))
	source := w.sim.Tenants[0].Name
	members := w.breakable()
	w.breaks(members[0])
	p := w.start().ready()
	w.opens(members[0])
	for _, row := range []struct {
		rule      string
		fail, end func()
		reason    string // some word of it
	}{
		{"refuses for want of a permission", func() {
			failure.Store(&ssmsim.Failure{Status: 400, Code: "AccessDeniedException", Message: "not authorized"})
		}, nil, "ssm:"},
		// The SDK tries again for longer than a pass may take, so that the pass
		// may be the first to give up: any reason will do.
		{"answers 500", func() { failure.Store(&ssmsim.Failure{Status: 500, Code: "InternalServerError"}) }, nil, ""},
		{"cuts connections", func() { failure.Store(&ssmsim.Failure{}) }, nil, ""},
		{"refuses connections", func() { line.Refuse(true); line.Cut() }, func() { line.Refuse(false) }, ""},
		{"throttles everything", func() {
			failure.Store(&ssmsim.Failure{Status: 400, Code: "ThrottlingException", Message: "Rate exceeded"})
		}, nil, "interrupted"}, // by the end of the pass, which is the first to give up
	} {
		t.Log(row.rule)
		told := len(w.events("drift_"))
		row.fail()
		w.verdicts(source, "unknown", len(w.sim.Members)-1)
		w.mends(members[0])
		w.breaks(members[1])
		if reasons := w.reasons(source); !strings.Contains(reasons, row.reason) || reasons == "" {
			t.Errorf("AWS %s: the reasons say %q, want %q in it", row.rule, reasons, row.reason)
		}
		w.quiet(told)
		var unknown float64
		if !awaits(patience, func() bool { // it is set when the pass is written, a moment later
			unknown, _ = p.metric(`reconciler_workspaces{source="` + source + `",verdict="unknown"}`)
			return unknown >= 1
		}) {
			t.Errorf("AWS %s: the metric says that %v workspaces are unknown", row.rule, unknown)
		}
		failure.Store(nil)
		if row.end != nil {
			row.end()
		}
		w.opens(members[1])
		w.mends(members[1])
		w.breaks(members[0])
		w.opens(members[0])
	}
	w.holds()
}

// endpoint finds a URL in the text of a configuration.
func endpoint(text, part string) string {
	patterns := map[string]string{"ssm": `endpoint: "(http[^"]*)"`, "platform": `platform: \{url: "(http://[^/"]*)`}
	return regexp.MustCompile(patterns[part]).FindStringSubmatch(text)[1]
}

var regional = regexp.MustCompile(`Credential=[^/]*/[^/]*/([^/]*)/`)

// regions stands before AWS, whose regions can each be made to hang.
type regions struct {
	to   *httputil.ReverseProxy
	mu   sync.Mutex
	hung map[string]chan struct{} // closed when it goes on
}

func newRegions(t *testing.T, w *watched) *regions {
	t.Helper()
	to, err := url.Parse(endpoint(w.text, "ssm"))
	if err != nil {
		t.Fatal(err)
	}
	r := &regions{to: httputil.NewSingleHostReverseProxy(to), hung: map[string]chan struct{}{}}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	w.alter(swap(to.String(), server.URL))
	return r
}

func (r *regions) ServeHTTP(out http.ResponseWriter, in *http.Request) {
	if found := regional.FindStringSubmatch(in.Header.Get("Authorization")); found != nil {
		r.mu.Lock()
		hung := r.hung[found[1]]
		r.mu.Unlock()
		if hung != nil {
			select {
			case <-hung:
			case <-in.Context().Done():
				return
			}
		}
	}
	r.to.ServeHTTP(out, in)
}

func (r *regions) hang(region string) (goOn func()) {
	c := make(chan struct{})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hung[region] = c
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.hung, region)
		close(c)
	}
}

// One thing hangs: a region, an instance, a tenant's database. The sources that
// have nothing to do with it are walked at their pace, and what breaks there is
// told of meanwhile.
func TestDaemonIsHeldUpByNoSingleThing(t *testing.T) {
	t.Parallel()
	w := watch(t, fleetsim.Options{Workspaces: 16, Tenants: 4}, swap("pass_timeout: 1m", "pass_timeout: 10s"))
	r := newRegions(t, w)
	names := []string{w.sim.Tenants[0].Name, w.sim.Tenants[1].Name, w.sim.Tenants[2].Name, w.sim.Tenants[3].Name}
	w.alter(elsewhere(w.sim.Tenants[1], "eu-west-1"))
	database := w.lead(w.sim.Tenants[2].URL)
	others := func(hit string) []string {
		return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == hit })
	}
	p := w.start().ready()
	w.passes(1)
	broken := []*fleetsim.Member{}
	for _, row := range []struct {
		rule, hit string
		hang      func() (goOn func())
	}{
		{"a region hangs", names[1], func() func() { return r.hang("eu-west-1") }},
		{"a tenant's database hangs", names[2], func() func() {
			database.Stall(true)
			return func() { database.Stall(false) }
		}},
		{"a tenant's database is away", names[2], func() func() {
			database.Refuse(true)
			database.Cut()
			return func() { database.Refuse(false) }
		}},
		{"a command never ends on an instance", names[3], func() func() { return w.endless(w.of(names[3])[0]) }},
	} {
		t.Log(row.rule)
		told := len(w.events("drift_"))
		goOn := row.hang()
		w.passes(4, others(row.hit)...)
		m := w.unbroken(names[0], broken)
		w.breaks(m)
		broken = append(broken, m)
		w.opens(broken...)
		w.quiet(told + 1)
		goOn()
		w.passes(1)
	}
	w.opens(broken...)
	w.holds()
	p.ready()
}

// elsewhere moves a tenant's instances to another region.
func elsewhere(tenant *fleetsim.Tenant, region string) change {
	return swap("database: \""+tenant.URL+"\"\n    region: us-east-1", "database: \""+tenant.URL+"\"\n    region: "+region)
}

// endless makes commands on a member's instance stay in progress for ever.
func (w *watched) endless(m *fleetsim.Member) (end func()) {
	i := ssmsim.Instance{ID: m.Row.InstanceID, IP: m.Private}
	i.Never = true
	w.sim.SSM.Set(i)
	return func() {
		i.Never = false
		w.sim.SSM.Set(i)
	}
}

func (w *watched) unbroken(tenant string, broken []*fleetsim.Member) *fleetsim.Member {
	w.t.Helper()
	for _, m := range w.of(tenant) {
		if !slices.Contains(broken, m) {
			return m
		}
	}
	w.t.Fatal("the tenant has no workspace left to break")
	return nil
}

// The platform's API down is a witness less: verdicts come from the others.
func TestDaemonWithoutThePlatform(t *testing.T) {
	t.Parallel()
	w := watch(t, fleetsim.Options{Workspaces: 8, Tenants: 1}, swap("pass_timeout: 1m", "pass_timeout: 10s"))
	line := w.lead(endpoint(w.text, "platform"))
	members := w.breakable()
	p := w.start().ready()
	w.passes(1)
	line.Refuse(true)
	line.Cut()
	w.breaks(members[0])
	w.opens(members[0])
	line.Refuse(false)
	line.Stall(true)
	w.breaks(members[1])
	w.opens(members[0], members[1])
	if got := w.strings("SELECT document->'read_endpoint'->>'error' FROM states WHERE id::text = $1", members[0].Row.ID); len(got) != 1 || got[0] == "" {
		t.Errorf("the read endpoint was away, and the document says %q", got)
	}
	line.Stall(false)
	w.mends(members[0], members[1])
	w.opens()
	w.holds()
	p.ready()
}
