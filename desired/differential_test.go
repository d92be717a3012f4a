package desired_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/desired"
	"github.com/molecule-ai/billing-reconciler/desired/tenantschema"
	"github.com/molecule-ai/billing-reconciler/drift"
)

// 3,000 random workspaces of six tenants, with plain, sealed and unreadable
// secrets, through a real PostgreSQL: reader and resolver must agree with the
// naive implementation on every one of them, on both paths.
func TestAgreesWithTheNaiveImplementation(t *testing.T) {
	path := exampleRegistry
	if real := os.Getenv("REAL_REGISTRY"); real != "" {
		path = real
	}
	g := newGenerator(registry(t))
	naive := naiveLoad(t, path)
	seen := map[string]int{}
	for n := range 6 {
		tenant := &naiveTenant{old: n%3 == 1, key: tenantschema.NewKey(), policy: saas}
		if n%2 == 1 {
			tenant.policy = selfHosted
		}
		tenant.globals = g.globals(tenant.key, []int{1, 0, 20, 3, 8, 50}[n])
		workspaces := g.workspaces(tenant.key, 500)
		db := newTenant(t, tenantschema.Options{Old: tenant.old})
		g.store(db, tenant, workspaces)

		got := read(t, db.reader(func(s *desired.Source) { s.EncryptionKey = tenant.key }), desired.Query{})
		resolver := desired.NewResolver(g.reg, tenant.policy)
		for _, w := range workspaces {
			d := resolver.Desired(got[w.id])
			want := naive.desired(tenant, w)
			if diff := cmp.Diff(want, naiveDesired{anyErr(d.Path), anyErr(d.ReadPath), d.ModelFrom, d.Supply}); diff != "" {
				t.Fatalf("tenant %d, workspace %+v, globals %+v: %s", n, got[w.id], got[w.id].Globals, diff)
			}
			explained := resolver.Explain(got[w.id])
			explained.Trace = nil
			if diff := cmp.Diff(d, explained); diff != "" {
				t.Fatalf("explain tells another story: %s", diff)
			}
			seen[string(d.Source)]++
			seen["read "+string(d.ReadPath.Source)]++
			seen["supply "+string(d.Supply)]++
			if d.Mode != d.ReadPath.Mode {
				seen["paths differ"]++
			}
		}
	}
	// The comparison says something only where every case occurs.
	for _, what := range []string{"workspace_override", "derived_provider", "derived_default", "constant_fallback", "read workspace_override",
		"read derived_provider", "read derived_default", "read constant_fallback", "supply none", "supply workspace", "supply global", "supply not_needed", "paths differ"} {
		if seen[what] < 20 {
			t.Errorf("%s occurred %d times only", what, seen[what])
		}
	}
	t.Log(seen)
}

// anyErr reduces an error to that there is one.
func anyErr(p drift.Path) drift.Path {
	if p.Err != "" {
		p.Err = "some"
	}
	return p
}

// generator makes workspaces that are mostly sensible and sometimes broken.
type generator struct {
	*rand.Rand
	reg         *desired.Registry
	models      []string
	credentials []string
	foreign     drift.Secret
}

func newGenerator(reg *desired.Registry) *generator {
	g := &generator{Rand: rand.New(rand.NewPCG(2026, 528)), reg: reg, credentials: reg.AuthEnv(), foreign: tenantschema.NewKey()} // #nosec G404 -- repeatable on purpose
	for _, rt := range reg.Runtimes {
		for _, entry := range rt.Entries {
			g.models = append(g.models, entry.Models...)
			for _, sep := range []string{"-", ":", "/", ":x", "/x"} {
				g.models = append(g.models, entry.Provider.Name+sep, strings.TrimPrefix(entry.Provider.Name, "byok-")+sep+"y")
			}
		}
	}
	g.models = append(g.models, "claude-x", "gpt-6", "gemini-9", "kimi-x", "glm-9", "qwen3", "deepseek-x", "mimo-1", "MINIMAX-M9", "codex-minimax-1",
		"OPUS", " opus", "opus\n", " ", "\t\n", "nothing-takes-this", "é", "a\x00b", "\xff\xfe")
	return g
}

func (g *generator) one(of ...string) string { return of[g.IntN(len(of))] }

func (g *generator) chance(p float64) bool { return g.Float64() < p }

func (g *generator) workspaces(key drift.Secret, n int) []*naiveWorkspace {
	all := make([]*naiveWorkspace, n)
	for i := range all {
		w := &naiveWorkspace{id: fmt.Sprintf("%08x-%04x-4000-8000-%012x", g.Uint32(), g.IntN(1<<16), i)}
		rt := g.reg.Runtimes[g.IntN(len(g.reg.Runtimes))]
		if g.chance(.9) || rt.Name != drift.DefaultRuntime {
			w.runtime = &rt.Name
		}
		if g.chance(.1) {
			w.runtime = ptr(g.one("", "hermesx", "external"))
		}
		if g.chance(.15) {
			w.override = ptr(g.one("byok", "platform_managed", "disabled", "", "BYOK", " byok", "none"))
		}
		entry := rt.Entries[g.IntN(len(rt.Entries))]
		w.rows = g.rows(key, .3, g.fitting(entry), entry.Provider.AuthEnv)
		all[i] = w
	}
	return all
}

// fitting gives a model that an entry most likely takes.
func (g *generator) fitting(entry desired.RuntimeEntry) string {
	if len(entry.Models) > 0 && g.chance(.7) {
		return g.one(entry.Models...)
	}
	return strings.TrimPrefix(entry.Provider.Name, "byok-") + g.one("-", ":", "/") + "x"
}

// rows makes secrets: mostly the model and credentials given, and others, each
// as likely as richness says.
func (g *generator) rows(key drift.Secret, richness float64, model string, credentials []string) []naiveRow {
	var rows []naiveRow
	taken := map[string]bool{}
	add := func(p float64, name, value string) {
		if !g.chance(p) || taken[name] {
			return
		}
		taken[name] = true
		if g.chance(.12) {
			value = ""
		}
		rows = append(rows, g.row(name, value, key))
	}
	add(.8, drift.KeyModel, model)
	add(richness/2, drift.KeyModel, g.one(g.models...))
	add(richness/3, drift.KeyMoleculeModel, g.one(g.models...))
	add(.5, g.one(credentials...), "credential")
	for g.chance(richness) {
		add(1, g.one(g.credentials...), "credential")
	}
	add(richness/3, g.one("LLM_PROVIDER", "GITHUB_TOKEN", "model", "Model", "MODEL_"), g.one(g.models...))
	return rows
}

// globals makes a tenant's own rows, n of them credentials.
func (g *generator) globals(key drift.Secret, n int) []naiveRow {
	var rows []naiveRow
	for _, i := range g.Perm(len(g.credentials))[:min(n, len(g.credentials))] {
		rows = append(rows, g.row(g.credentials[i], g.one("credential", "credential", ""), key))
	}
	if n%2 == 0 {
		rows = append(rows, g.row(drift.KeyModel, g.one(g.models...), key))
	}
	if n%3 == 0 {
		rows = append(rows, g.row(drift.KeyMoleculeModel, g.one(g.models...), key))
	}
	return rows
}

func (g *generator) row(name, value string, key drift.Secret) naiveRow {
	seal := func(k drift.Secret) []byte {
		sealed, err := tenantschema.Encrypt(k, []byte(value))
		if err != nil {
			panic(err)
		}
		return sealed
	}
	switch p := g.Float64(); {
	case p < .35:
		return naiveRow{name, []byte(value), 0}
	case p < .92:
		return naiveRow{name, seal(key), 1}
	case p < .95:
		return naiveRow{name, seal(g.foreign), 1}
	case p < .97:
		return naiveRow{name, seal(key)[:g.IntN(28)], 1}
	case p < .985:
		return naiveRow{name, []byte(value), 2 + g.IntN(3)}
	}
	damaged := seal(key)
	damaged[g.IntN(len(damaged))] ^= 0x40
	return naiveRow{name, damaged, 1}
}

// store writes a tenant in bulk.
func (g *generator) store(db *tenant, tenant *naiveTenant, workspaces []*naiveWorkspace) {
	db.Helper()
	columns := []string{"id", "name", "status", "runtime"}
	if !tenant.old {
		columns = append(columns, "llm_billing_mode")
	}
	var rows, secrets, globals [][]any
	for _, w := range workspaces {
		rows = append(rows, []any{w.id, w.id, "online", w.runtime, w.override}[:len(columns)])
		for _, s := range w.rows {
			secrets = append(secrets, []any{w.id, s.key, s.stored, s.version})
		}
	}
	for _, s := range tenant.globals {
		globals = append(globals, []any{s.key, s.stored, s.version})
	}
	db.copyIn("workspaces", columns, rows)
	db.copyIn("workspace_secrets", []string{"workspace_id", "key", "encrypted_value", "encryption_version"}, secrets)
	db.copyIn("global_secrets", []string{"key", "encrypted_value", "encryption_version"}, globals)
}

func (db *tenant) copyIn(table string, columns []string, rows [][]any) {
	db.Helper()
	_, err := db.conn.CopyFrom(db.Context(), pgx.Identifier{table}, columns, pgx.CopyFromRows(rows))
	db.must(err)
}
