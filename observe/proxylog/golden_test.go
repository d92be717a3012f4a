package proxylog_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden counts logs that are full of traps, by every column, as `hits`
// does. Beside each log is what must come out.
func TestGolden(t *testing.T) {
	logs, err := filepath.Glob("testdata/golden/*.log")
	if err != nil || len(logs) < 3 {
		t.Fatalf("logs %v, %v", logs, err)
	}
	for _, log := range logs {
		name := strings.TrimSuffix(filepath.Base(log), ".log")
		format, err := proxylog.ParseFormat(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			// Told the format, or left to find out: the same, but for a line
			// that is of another format.
			golden := strings.TrimSuffix(log, ".log")
			checkGolden(t, golden+".golden", render(t, log, format))
			checkGolden(t, golden+".auto.golden", render(t, log, proxylog.Auto))
		})
	}
}

func checkGolden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file) // #nosec G304 -- this package's testdata
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func render(t *testing.T, file string, format proxylog.Format) string {
	t.Helper()
	proxies, err := proxylog.ParseProxies([]string{"10.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	report, err := proxylog.Count(context.Background(), []string{file}, proxylog.CountOptions{
		ReadOptions: proxylog.ReadOptions{Format: format, Proxies: proxies},
		By:          proxylog.Columns,
	})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, row := range report.Rows {
		for _, c := range report.By {
			b.WriteString(row.Value(c) + ",")
		}
		fmt.Fprintf(&b, "%d,%d\n", row.Billed, row.Rejected)
	}
	fmt.Fprintf(&b, "lines %d, calls %d, not understood %d\n", report.Stats.Lines, report.Stats.Calls, report.Stats.NotUnderstood)
	return b.String()
}
