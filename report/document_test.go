package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/reconcile"
	"github.com/molecule-ai/billing-reconciler/report"
)

var update = flag.Bool("update", false, "write the golden files anew")

func render(t testing.TB, doc *report.Document) []byte {
	t.Helper()
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(doc); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// documents are those whose every byte is held, by the name of the golden file.
func documents(t testing.TB) map[string]*report.Document {
	whole := result(incident(t))
	whole.Traffic = &reconcile.Calls{Lines: 4000, Skipped: 2, Unattributed: reconcile.Unattributed{Billed: 40, Rejected: 1,
		Addresses: []reconcile.AddressCount{{Addr: netip.MustParseAddr("198.51.100.1"), Billed: 40, Rejected: 1}}}}
	whole.Fleet = []drift.Finding{{Kind: drift.UnattributedTraffic, Severity: drift.Medium, Summary: "40 billed calls came from addresses that no workspace held"}}

	failed := bare()
	failed.ReadEndpoint = &drift.ReadEndpoint{Err: "read endpoint: 503: the platform's database is down"}
	failed.Traffic = &drift.Traffic{Since: started, Err: "access.log: permission denied"}
	failed.Verdict = drift.Unknown
	failures := result(failed)
	failures.Partial = true
	failures.Sources = []reconcile.SourceResult{{Name: "acme", Workspaces: 1}, {Name: "lost", Err: errors.New("connect: refused")}}
	failures.Traffic = &reconcile.Calls{Err: errors.New("access.log: permission denied")}

	return map[string]*report.Document{
		"incident": report.New(whole, report.Options{Policy: policy(t)}),
		"failures": report.New(failures, report.Options{Policy: policy(t)}),
		"desired":  report.New(result(incident(t), bare()), report.Options{Policy: policy(t), DesiredOnly: true}),
		"empty":    report.New(&reconcile.Result{At: now}, report.Options{Policy: policy(t)}),
	}
}

func TestGolden(t *testing.T) {
	for name, doc := range documents(t) {
		path := filepath.Join("testdata", name+".json")
		got := render(t, doc)
		if *update {
			if err := os.WriteFile(path, got, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path) // #nosec G304 -- our own
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s (-want +got; -update writes it anew):\n%s", name, diff)
		}
	}
}

func decode(t testing.TB, text []byte) (value any) {
	t.Helper()
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatal(err)
	}
	return value
}

// What the contract shows of the incident is there: each key, and each value
// but where the contract leaves it open.
func TestContract(t *testing.T) {
	text, err := os.ReadFile("testdata/contract.json")
	if err != nil {
		t.Fatal(err)
	}
	holds(t, "", decode(t, text), decode(t, render(t, documents(t)["incident"])))
}

// holds compares what the contract shows with what there is. In the contract a
// string may end in "...", which leaves its end open, or list words between
// bars; lists show their first items; maps may have more keys.
func holds(t *testing.T, path string, contract, got any) {
	t.Helper()
	switch want := contract.(type) {
	case map[string]any:
		has, _ := got.(map[string]any)
		for k, v := range want {
			if value, ok := has[k]; ok {
				holds(t, path+"."+k, v, value)
			} else {
				t.Errorf("%s.%s is missing", path, k)
			}
		}
	case []any:
		has, _ := got.([]any)
		for i, v := range want {
			if i >= len(has) {
				t.Errorf("%s[%d] is missing", path, i)
				continue
			}
			holds(t, path+"["+strconv.Itoa(i)+"]", v, has[i])
		}
	case string:
		has, ok := got.(string)
		if !ok || !fits(path, want, has) {
			t.Errorf("%s: got %v, want %s", path, got, want)
		}
	default:
		if !cmp.Equal(want, got) {
			t.Errorf("%s: got %v, want %v", path, got, want)
		}
	}
}

func fits(path, want, has string) bool {
	switch open, isOpen := strings.CutSuffix(want, "..."); {
	case isOpen:
		return strings.HasPrefix(has, open)
	case strings.Contains(want, "|"):
		return slices.Contains(strings.Split(want, "|"), has)
	case strings.HasSuffix(path, ".credentials[0].name"):
		return has != "" // the contract's example names another
	}
	return has == want
}

// In `desired` the parts that were not asked for are null and findings are [].
func TestDesiredDocument(t *testing.T) {
	list := decode(t, render(t, documents(t)["desired"])).(map[string]any)["workspaces"].([]any)
	for _, w := range list {
		for _, part := range []string{"observed", "traffic", "read_endpoint", "verdict", "cause"} {
			if value, ok := w.(map[string]any)[part]; !ok || value != nil {
				t.Errorf("%s: got %v (there: %v), want null", part, value, ok)
			}
		}
		if diff := cmp.Diff([]any{}, w.(map[string]any)["findings"]); diff != "" {
			t.Errorf("findings (-want +got):\n%s", diff)
		}
	}
}

// Lists are [] and maps {}, never null, whatever is missing.
func TestListsAreNeverNull(t *testing.T) {
	lists := []string{"workspaces", "sources", "findings", "credentials", "addresses", "base_urls", "evidence", "fits"}
	for name, doc := range documents(t) {
		walk(decode(t, render(t, doc)), func(k string, v any) {
			if slices.Contains(lists, k) && v == nil {
				t.Errorf("%s: %s is null", name, k)
			}
		})
	}
}

func walk(v any, see func(key string, value any)) {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			see(k, inner)
			walk(inner, see)
		}
	case []any:
		for _, inner := range v {
			walk(inner, see)
		}
	}
}

// A document read back is the document that was written.
func TestRoundTrip(t *testing.T) {
	for name, doc := range documents(t) {
		var back report.Document
		want := render(t, doc)
		if err := json.Unmarshal(want, &back); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(string(want), string(render(t, &back))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestStates(t *testing.T) {
	for state, want := range map[drift.State]string{drift.NotAsked: "not_asked", drift.Observed: "observed", drift.NotRunning: "not_running",
		drift.Unreachable: "unreachable", drift.Unsupported: "unsupported"} {
		j := bare()
		j.Observation.State = state
		o := report.New(result(j), report.Options{Policy: policy(t)}).Workspaces[0].Observed
		if o.State != want || o.At != nil || o.Mode != nil || o.ContainerStartedAt != nil {
			t.Errorf("%q: got %+v", state, o)
		}
		if unclear := o.AtProxy == nil; unclear != (state != drift.Observed) {
			t.Errorf("%q: at_proxy %v: what was not seen is neither", state, o.AtProxy)
		}
	}
}

func TestSummarise(t *testing.T) {
	var list []reconcile.Judged
	for _, v := range []drift.Verdict{drift.InSync, drift.Drifted, drift.Drifted, drift.Unknown, drift.Skipped, ""} {
		list = append(list, reconcile.Judged{Verdict: v})
	}
	list[1].Findings = []drift.Finding{{Kind: drift.ModeMismatch}, {Kind: drift.ProxyTraffic}}
	list[2].Findings = []drift.Finding{{Kind: drift.ProxyTraffic}}
	want := report.Summary{Workspaces: 6, InSync: 1, Drifted: 2, Unknown: 2, Skipped: 1, Findings: map[drift.Kind]int{drift.ModeMismatch: 1, drift.ProxyTraffic: 2}}
	if diff := cmp.Diff(want, report.Summarise(list)); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
}
