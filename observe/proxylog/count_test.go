package proxylog_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

// fourCalls differ in every column.
var fourCalls = strings.Join([]string{
	`{"time":"2026-05-28T18:31:59Z","ip":"192.0.2.10","method":"POST","path":"/internal/llm/anthropic/v1/messages","status":200}`,
	`{"time":"2026-05-28T18:31:54Z","ip":"192.0.2.9","method":"POST","path":"/internal/llm/anthropic/v1/messages","status":500}`,
	`{"time":"2026-05-28T18:32:00Z","ip":"192.0.2.10","method":"POST","path":"/internal/llm/openai/v1/responses","status":200}`,
	`{"time":"2026-05-28T18:33:00Z","ip":"2001:db8::1","method":"POST","path":"/internal/llm/anthropic/v1/messages","status":499,"workspace_id":"` + workspaceID + `"}`,
	`{"time":"2026-05-28T18:33:01Z","ip":"2001:db8::1","method":"GET","path":"/x","status":200}`,
}, "\n")

func counted(t *testing.T, text string, o proxylog.CountOptions) []string {
	t.Helper()
	o.Stdin = strings.NewReader(text)
	report, err := proxylog.Count(context.Background(), []string{proxylog.Stdin}, o)
	if err != nil {
		t.Fatal(err)
	}
	rows := []string{}
	for _, row := range report.Rows {
		var cells []string
		for _, c := range report.By {
			cells = append(cells, row.Value(c))
		}
		rows = append(rows, fmt.Sprintf("%s: %d %d", strings.Join(cells, " "), row.Billed, row.Rejected))
	}
	return rows
}

func TestCount(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	all, err := proxylog.ParseStatuses([]string{"5xx"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		rule string
		o    proxylog.CountOptions
		want []string
	}{
		{"by address unless told, numbers in order", proxylog.CountOptions{},
			[]string{"192.0.2.9: 0 1", "192.0.2.10: 2 0", "2001:db8::1: 1 0"}},
		{"by nothing", proxylog.CountOptions{By: []proxylog.Column{}}, []string{": 3 1"}},
		{"by minute", proxylog.CountOptions{By: []proxylog.Column{proxylog.ByMinute}},
			[]string{"2026-05-28T18:31:00Z: 1 1", "2026-05-28T18:32:00Z: 1 0", "2026-05-28T18:33:00Z: 1 0"}},
		{"by several, in their order", proxylog.CountOptions{By: []proxylog.Column{proxylog.ByStatus, proxylog.ByIP}},
			[]string{"200 192.0.2.10: 2 0", "499 2001:db8::1: 1 0", "500 192.0.2.9: 0 1"}},
		{"by workspace", proxylog.CountOptions{By: []proxylog.Column{proxylog.ByWorkspace}}, []string{"-: 2 1", workspaceID + ": 1 0"}},
		{"by operation", proxylog.CountOptions{By: []proxylog.Column{proxylog.ByOperation}}, []string{"messages: 2 1", "responses: 1 0"}},
		{"one operation", proxylog.CountOptions{Operations: []proxylog.Operation{proxylog.Responses}}, []string{"192.0.2.10: 1 0"}},
		{"since is in", proxylog.CountOptions{Since: at("2026-05-28T18:32:00Z")}, []string{"192.0.2.10: 1 0", "2001:db8::1: 1 0"}},
		{"until is out", proxylog.CountOptions{Until: at("2026-05-28T20:32:00+02:00")}, []string{"192.0.2.9: 0 1", "192.0.2.10: 1 0"}},
		{"other statuses billed", proxylog.CountOptions{Billed: all}, []string{"192.0.2.9: 1 0", "192.0.2.10: 0 2", "2001:db8::1: 0 1"}},
	} {
		if diff := cmp.Diff(tc.want, counted(t, fourCalls, tc.o)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.rule, diff)
		}
	}
}

// TestCountMany counts more addresses than any table begins with, each as often
// as its number tells.
func TestCountMany(t *testing.T) {
	var text strings.Builder
	var want []string
	for round := range 5 {
		for n := range 3000 {
			if n%5 < round {
				continue
			}
			fmt.Fprintf(&text, "10.0.%d.%d - - [28/May/2026:18:31:54 +0000] \"POST %s HTTP/1.1\" 200 5 \"-\" \"x\"\n", n/256, n%256, messagesPath)
		}
	}
	for n := range 3000 {
		want = append(want, fmt.Sprintf("10.0.%d.%d: %d 0", n/256, n%256, n%5+1))
	}
	if diff := cmp.Diff(want, counted(t, text.String(), proxylog.CountOptions{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMinuteBefore1970(t *testing.T) {
	line := `{"time":"1969-12-31T23:59:30Z","method":"POST","path":"/internal/llm/openai/v1/responses","status":200}`
	got := counted(t, line, proxylog.CountOptions{By: []proxylog.Column{proxylog.ByMinute}})
	if diff := cmp.Diff([]string{"1969-12-31T23:59:00Z: 1 0"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
