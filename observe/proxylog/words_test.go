package proxylog_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

func TestStatuses(t *testing.T) {
	for _, tc := range []struct {
		rule     string
		patterns []string
		in, out  []int
	}{
		{"default", nil, []int{200, 201, 299, 499}, []int{0, 199, 300, 400, 498, 500, 999, -1, 1000}},
		{"digits", []string{"200"}, []int{200}, []int{201, 499}},
		{"classes in capitals", []string{"5XX", "20x"}, []int{500, 599, 200, 209}, []int{210, 499}},
	} {
		s, err := proxylog.ParseStatuses(tc.patterns)
		if err != nil {
			t.Fatal(err)
		}
		for _, status := range tc.in {
			if !s.Has(status) {
				t.Errorf("%s: %d: got out, want in", tc.rule, status)
			}
		}
		for _, status := range tc.out {
			if s.Has(status) {
				t.Errorf("%s: %d: got in, want out", tc.rule, status)
			}
		}
	}
	for _, bad := range []string{"", "2", "2x4", "xxx", "2000", "0xx", "-1x", "2 x", "20"} {
		if _, err := proxylog.ParseStatuses([]string{"200", bad}); err == nil {
			t.Errorf("%q: got no error", bad)
		}
	}
}

func TestWords(t *testing.T) {
	for _, op := range []proxylog.Operation{proxylog.Messages, proxylog.Batches, proxylog.ChatCompletions, proxylog.Responses} {
		if got, err := proxylog.ParseOperation(op.String()); err != nil || got != op {
			t.Errorf("%v: got %v, %v", op, got, err)
		}
	}
	for _, f := range []proxylog.Format{proxylog.Auto, proxylog.Combined, proxylog.JSON, proxylog.ALB} {
		if got, err := proxylog.ParseFormat(f.String()); err != nil || got != f {
			t.Errorf("%v: got %v, %v", f, got, err)
		}
	}
	if f, err := proxylog.ParseFormat(""); err != nil || f != proxylog.Auto {
		t.Errorf(`"": got %v, %v, want auto`, f, err)
	}
	for _, bad := range []string{"", "count_tokens", "Messages"} {
		if _, err := proxylog.ParseOperation(bad); err == nil {
			t.Errorf("operation %q: got no error", bad)
		}
	}
	if _, err := proxylog.ParseFormat("clf"); err == nil {
		t.Error("format clf: got no error")
	}
	got, err := proxylog.ParseColumns("minute, ip")
	if diff := cmp.Diff([]proxylog.Column{proxylog.ByMinute, proxylog.ByIP}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, bad := range []string{"ip,ip", "ip,", "hour"} {
		if _, err := proxylog.ParseColumns(bad); err == nil {
			t.Errorf("columns %q: got no error", bad)
		}
	}
}

func TestID(t *testing.T) {
	id, ok := proxylog.ParseID(strings.ToUpper(workspaceID))
	if !ok || id.String() != workspaceID {
		t.Errorf("got %v %v, want %s", id, ok, workspaceID)
	}
	for _, bad := range []string{"", "-", workspaceID[1:], workspaceID + "0", strings.Replace(workspaceID, "-", "0", 1),
		strings.Replace(workspaceID, "6b", "6g", 1),
		strings.Replace(workspaceID, "6b", "6-", 1), workspaceID[:35] + "-", "00000000-0000-0000-0000-000000000000"} {
		if id, ok := proxylog.ParseID(bad); ok || id.String() != "" {
			t.Errorf("%q: got %v, want none", bad, id)
		}
	}
}
