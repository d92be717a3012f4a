package desired_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/desired"
	"github.com/molecule-ai/billing-reconciler/desired/tenantschema"
	"github.com/molecule-ai/billing-reconciler/drift"
)

const (
	benchWorkspaces = 100_000
	benchSecrets    = 6 // a workspace
)

// BenchmarkReadAndResolve reads and resolves a whole fleet of 100,000
// workspaces with 600,000 secrets, every model encrypted, and keeps all of it,
// as a pass does. Besides the time it reports the peak of the process's
// resident memory.
func BenchmarkReadAndResolve(b *testing.B) {
	db := newTenant(b, tenantschema.Options{})
	fill(b, db)
	r := db.reader()
	resolver := desired.NewResolver(registry(b), saas)
	for _, row := range []struct {
		name  string
		query desired.Query
	}{
		{"models", desired.Query{}},
		{"fingerprints", desired.Query{Fingerprint: drift.Key(strings.Repeat("0f", 16)), Credentials: desired.CredentialNames(resolver.Registry, drift.DefaultStripList)}},
	} {
		b.Run(row.name, func(b *testing.B) {
			b.ReportAllocs()
			highest, worked := 0.0, time.Duration(0)
			for b.Loop() {
				b.StopTimer()
				resetPeak()
				before := cpu()
				b.StartTimer()
				if n := pass(b, r, resolver, row.query); n != benchWorkspaces {
					b.Fatalf("%d workspaces derived", n)
				}
				worked += cpu() - before
				highest = max(highest, peak())
			}
			b.ReportMetric(worked.Seconds()/float64(b.N), "cpu-s/op")
			b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/op")
			b.ReportMetric(highest, "peak-MB")
		})
	}
}

// pass reads, resolves and keeps the fleet; it counts what could be derived.
func pass(b *testing.B, r *desired.Reader, resolver *desired.Resolver, q desired.Query) (derived int) {
	b.Helper()
	var kept []resolved
	err := r.Workspaces(b.Context(), q, func(w *drift.Workspace) error {
		d := resolver.Desired(w)
		kept = append(kept, resolved{w, &d})
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	for _, k := range kept {
		if k.Desired.Source == drift.FromProvider {
			derived++
		}
	}
	return derived
}

// resolved is what a pass keeps of the desired side.
type resolved struct {
	*drift.Workspace
	*drift.Desired
}

// fill copies the fleet in. Each model is sealed by itself, so that decrypting
// has as much to do as in life.
func fill(b *testing.B, db *tenant) {
	b.Helper()
	db.exec(`INSERT INTO workspaces (id, name, status, runtime, instance_id, llm_billing_mode)
		SELECT md5(n::text)::uuid, 'Agent ' || n, 'online', 'claude-code', 'i-' || lpad(to_hex(n), 17, '0'), NULL FROM generate_series(1, $1) n`, benchWorkspaces)
	models := []string{"opus", "sonnet", "haiku", "claude-opus-4-7", "kimi-for-coding", "MiniMax-M2", "anthropic/claude-opus-4-7"}
	sealed := make([]string, 5000)
	for i := range sealed {
		s, err := tenantschema.Encrypt(db.key, []byte(models[i%len(models)]))
		db.must(err)
		sealed[i] = hex.EncodeToString(s)
	}
	db.exec("CREATE TABLE sealed AS SELECT n - 1 AS n, decode(s, 'hex') AS value FROM unnest($1::text[]) WITH ORDINALITY AS t(s, n)", sealed)
	db.exec(`INSERT INTO workspace_secrets (workspace_id, key, encrypted_value, encryption_version)
		SELECT md5(i::text)::uuid, k, s.value, 1
		FROM generate_series(1, $1) AS g(i) CROSS JOIN unnest($2::text[]) k JOIN sealed s ON s.n = i % 5000`,
		benchWorkspaces, []string{"MODEL", "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_API_KEY", "GITHUB_TOKEN", "SLACK_BOT_TOKEN", "SENTRY_DSN"})
	for n := range 20 {
		db.secret("", fmt.Sprintf("GLOBAL_%d", n), "x")
	}
	db.exec("VACUUM ANALYZE")
	_ = db.conn.Close(context.Background())
}

// resetPeak forgets the peak so far; where the system cannot, the filling
// counts too, which is too much and never too little.
func resetPeak() {
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
}

// peak is the process's highest resident memory in MB; 0 where the system does
// not tell.
func peak() float64 {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb * 1024 / 1e6
		}
	}
	return 0
}

// cpu is the time that this process has worked, which a busy machine does not
// change; the server's work is not in it.
func cpu() time.Duration {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func BenchmarkResolve(b *testing.B) {
	resolver := desired.NewResolver(registry(b), saas)
	w := &drift.Workspace{Runtime: ptr("hermes"), Secrets: []drift.StoredSecret{{Key: "A"}, {Key: "MODEL", Value: "openrouter/x"}, {Key: "OPENROUTER_API_KEY"}}}
	for n := range 20 {
		w.Globals = append(w.Globals, drift.StoredSecret{Key: "GLOBAL_" + strconv.Itoa(n)})
	}
	b.ReportAllocs()
	for b.Loop() {
		resolver.Desired(w)
	}
}

var (
	saas       = desired.Policy{Deployment: drift.SaaS, GlobalSecrets: drift.OwnerCustomer}
	selfHosted = desired.Policy{Deployment: drift.SelfHosted, GlobalSecrets: drift.OwnerPlatform}
)
