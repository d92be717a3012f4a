package evidence_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/evidence"
	"github.com/molecule-ai/billing-reconciler/store"
)

var update = flag.Bool("update", false, "write golden files")

var t0 = time.Date(2026, 5, 28, 16, 30, 0, 0, time.UTC)

func at(minutes int) time.Time { return t0.Add(time.Duration(minutes) * time.Minute) }

const (
	drained = `{"id":"6b66de8d","desired":{"mode":"byok","model":"a <b> & c"},"observed":{"mode":"platform_managed"}}`
	cured   = `{"id":"6b66de8d","desired":{"mode":"byok"},"observed":{"mode":"byok"}}`
)

func hour(n int, operation int16, billed, unpriced int64, cost float64) store.HourCalls {
	from := t0.Truncate(time.Hour).Add(time.Duration(n) * time.Hour)
	return store.HourCalls{Hour: from, Operation: operation, Class: 2, Attribution: store.ByAddress, Billed: billed, Rejected: 1, Input: 1000, Output: 50, CostUSD: cost, Unpriced: unpriced,
		First: from.Add(31 * time.Minute), Last: from.Add(50 * time.Minute)}
}

// refund is the incident's workspace: a customer with a key of their own, whose
// calls went to the platform's bill for two hours.
func refund() *store.Evidence {
	e := &store.Evidence{Drift: store.Drift{Episode: drift.Episode{ID: 7, Source: "reno-stars", Workspace: "6b66de8d-9337-4fb4-be8d-6d49dca0d809", Name: "Marketing Agent",
		Severity: drift.Critical, FirstEvidence: at(0), OpenedAt: at(1), LastSeenAt: at(110), ClosedAt: at(120), Result: drift.Resolved,
		Findings: []drift.Finding{{Kind: drift.ModeMismatch, Severity: drift.Critical, Summary: "the platform pays the customer's bill", Evidence: []string{"desired byok"}, Remediable: true}},
		Causes:   []drift.Cause{{Code: drift.ModelEmpty, Summary: "the model is empty"}, {Code: drift.RegistryDiffers, Summary: "another registry"}}},
		Snapshot: store.Snapshot{Opened: json.RawMessage(drained), Latest: json.RawMessage(drained)}}}
	e.Calls = []store.HourCalls{hour(0, 1, 12, 0, 0.1), hour(1, 1, 30, 0, 0.2), hour(1, 4, 2, 2, 0)}
	e.Actions = []store.Action{{ID: 3, Cause: "model_empty", State: store.ActionEnded, Mode: drift.RemediateEnforce, CreatedAt: at(100), OpenedAt: at(100), CalledAt: at(101), EndedAt: at(119), Calls: 1,
		Attempt: drift.Attempt{Call: drift.Call{Result: drift.CallAccepted, Words: "provisioning"}}, Outcome: drift.Cured, Words: "silence", Before: json.RawMessage(drained), After: json.RawMessage(cured)}}
	e.Events = []drift.Event{{ID: 41, At: at(1), Kind: drift.EventDriftOpened, Severity: drift.Critical, Summary: "opened\u2028here"}, {ID: 57, At: at(120), Kind: drift.EventDriftClosed, Summary: "closed"}}
	e.Suppressions = []store.PastSuppression{{Suppression: store.Suppression{ID: 2, Source: "reno-stars", Kind: drift.ModeMismatch, Reason: "ticket 812", By: "ops", At: at(10), ExpiresAt: at(70)},
		EndedAt: at(40), Calls: e.Calls[:1]}}
	e.Quiet = e.Calls[:1]
	return e
}

func document(t *testing.T, e *store.Evidence) []byte {
	t.Helper()
	doc, err := evidence.Of(e, at(200))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func verified(t *testing.T, text []byte) *evidence.Verified {
	t.Helper()
	v, err := evidence.Verify(text)
	if err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	return v
}

func TestARefund(t *testing.T) {
	got := document(t, refund())
	const golden = "testdata/refund.json"
	if *update {
		if err := os.WriteFile(golden, append(got, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
		t.Errorf("go test ./evidence -run Refund -update writes it anew; %s", diff)
	}
	if v := verified(t, got); len(v.Wrong) > 0 || v.Entries != 15 {
		t.Errorf("got %+v", v)
	}
	for _, words := range []string{`"should": "customer"`, `"paid": "platform"`, `"billed": 44`, `"cost_usd": null`, `"known_cost_usd": 0.3,`, `"unpriced": 2`} {
		if !strings.Contains(string(got), words) {
			t.Errorf("lacks %s", words)
		}
	}
}

func TestTheSameFactsGiveTheSameDocument(t *testing.T) {
	first, again := document(t, refund()), document(t, refund())
	if !bytes.Equal(first, again) {
		t.Error("two documents of the same drift differ")
	}
	later, err := evidence.Of(refund(), at(9000))
	if err != nil || later.Digest != verified(t, first).Digest {
		t.Errorf("the time of making is in the digest: %v", err)
	}
	open := refund()
	open.ClosedAt, open.Result = time.Time{}, ""
	before := document(t, open)
	open.LastSeenAt = at(115)
	if !bytes.Equal(before, document(t, open)) {
		t.Error("a look that found the same changes the document")
	}
}

func TestWhoPaid(t *testing.T) {
	for rule, c := range map[string]struct {
		snapshot string
		calls    bool
		want     evidence.Payer
	}{
		"calls and container tell":          {drained, true, evidence.Payer{Should: "customer", Paid: "platform", By: []string{"calls", "container"}}},
		"the container alone tells":         {drained, false, evidence.Payer{Should: "customer", Paid: "platform", By: []string{"container"}}},
		"calls count more than a container": {cured, true, evidence.Payer{Should: "customer", Paid: "platform", By: []string{"calls"}}},
		"the customer pays for the platform": {`{"desired":{"mode":"platform_managed"},"observed":{"mode":"byok"}}`, true,
			evidence.Payer{Should: "platform", Paid: "customer", By: []string{"container"}}},
		"nobody should pay":      {`{"desired":{"mode":"disabled"},"observed":null}`, true, evidence.Payer{Should: "nobody", Paid: "platform", By: []string{"calls"}}},
		"not seen is not known":  {`{"desired":{"mode":"byok"},"observed":{"mode":null}}`, false, evidence.Payer{Should: "customer", Paid: "unknown", By: []string{}}},
		"no snapshot, no answer": {``, false, evidence.Payer{Should: "unknown", Paid: "unknown", By: []string{}}},
	} {
		e := refund()
		e.Opened, e.Latest = json.RawMessage(c.snapshot), nil
		if !c.calls {
			e.Calls = nil
		}
		var doc struct {
			Entries []struct {
				Body struct{ Payer evidence.Payer }
			}
		}
		if err := json.Unmarshal(document(t, e), &doc); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, doc.Entries[0].Body.Payer); diff != "" {
			t.Errorf("%s: %s", rule, diff)
		}
	}
}

// change gives every value within v changed, one at a time, by its path.
func change(v any, path string, put func(any), each func(path string)) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			change(v[k], path+"."+k, func(x any) { v[k] = x }, each)
			old := v[k]
			delete(v, k)
			each(path + " without " + k)
			v[k] = old
		}
		v["added"] = 1
		each(path + " with a key more")
		delete(v, "added")
	case []any:
		for i := range v {
			change(v[i], fmt.Sprintf("%s[%d]", path, i), func(x any) { v[i] = x }, each)
		}
		put(append([]any{"added"}, v...))
		each(path + " with one more")
		put(v)
	case string:
		put(v + "x")
		each(path)
		put(v)
	case float64:
		put(v + 1)
		each(path)
		put(v)
	case bool:
		put(!v)
		each(path)
		put(v)
	case nil:
		put("x")
		each(path)
		put(nil)
	}
}

func TestEveryChangeOfEveryEntryIsSeen(t *testing.T) {
	text := document(t, refund())
	var doc map[string]any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	entries := doc["entries"].([]any)
	changes := 0
	for i := range entries {
		change(entries[i], fmt.Sprint("entry ", i+1), func(any) {}, func(path string) {
			changes++
			tampered, err := json.Marshal(doc)
			if err != nil {
				t.Fatal(err)
			}
			v := verified(t, tampered)
			if len(v.Wrong) == 0 || v.Wrong[0].Entry != i+1 {
				t.Errorf("%s: got %+v, want entry %d to be wrong", path, v.Wrong, i+1)
			}
		})
	}
	if changes < 500 {
		t.Errorf("only %d changes were tried", changes)
	}
	if v := verified(t, text); len(v.Wrong) > 0 {
		t.Errorf("untouched: %+v", v)
	}
}

func TestEntriesThatAreMovedAddedOrTakenAway(t *testing.T) {
	whole := func() (doc evidence.Document) {
		if err := json.Unmarshal(document(t, refund()), &doc); err != nil {
			t.Fatal(err)
		}
		return doc
	}
	for rule, c := range map[string]struct {
		do   func(*evidence.Document)
		want int
	}{
		"taken from the middle": {func(d *evidence.Document) { d.Entries = slices.Delete(d.Entries, 4, 5) }, 5},
		"taken from the end":    {func(d *evidence.Document) { d.Entries = d.Entries[:10] }, 0},
		"taken from the start":  {func(d *evidence.Document) { d.Entries = d.Entries[1:] }, 1},
		"all taken":             {func(d *evidence.Document) { d.Entries = nil }, 0},
		"moved":                 {func(d *evidence.Document) { d.Entries[2], d.Entries[3] = d.Entries[3], d.Entries[2] }, 3},
		"one twice":             {func(d *evidence.Document) { d.Entries = slices.Insert(d.Entries, 5, d.Entries[4]) }, 6},
		"another digest":        {func(d *evidence.Document) { d.Digest = strings.Repeat("0", 64) }, 0},
	} {
		doc := whole()
		c.do(&doc)
		text, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		if v := verified(t, text); len(v.Wrong) == 0 || v.Wrong[0].Entry != c.want {
			t.Errorf("%s: got %+v, want entry %d", rule, v.Wrong, c.want)
		}
	}
}

// Who makes a whole new chain is seen by the digest alone, which was kept.
func TestANewChainHasAnotherDigest(t *testing.T) {
	forged := refund()
	forged.Calls[1].Billed = 3
	kept, v := verified(t, document(t, refund())).Digest, verified(t, document(t, forged))
	if len(v.Wrong) > 0 || v.Digest == kept {
		t.Errorf("got %+v", v)
	}
}

func TestWritingIsNoChange(t *testing.T) {
	var loose any
	text := document(t, refund())
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&loose); err != nil {
		t.Fatal(err)
	}
	packed, err := json.Marshal(loose) // other order of keys, no white space, other escapes
	if err != nil {
		t.Fatal(err)
	}
	if v := verified(t, packed); len(v.Wrong) > 0 {
		t.Errorf("written otherwise: %+v", v.Wrong)
	}
}

func TestWhatIsNoEvidence(t *testing.T) {
	text := string(document(t, refund()))
	for rule, c := range map[string]struct{ text, words string }{
		"nothing":            {"", "EOF"},
		"cut short":          {text[:len(text)/2], "unexpected"},
		"another document":   {`{"schema":"x"}`, "only billing-reconciler.evidence/1 is known"},
		"a list":             {`[]`, "cannot unmarshal"},
		"more after it":      {text + "{}", "more after"},
		"one key twice":      {strings.Replace(text, `"billed": 30`, `"billed": 30, "billed": 3`, 1), `"billed" is there twice`},
		"the schema changed": {strings.Replace(text, evidence.Schema, evidence.Schema+"0", 1), "is known"},
	} {
		if _, err := evidence.Verify([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: got %v, want %q", rule, err, c.words)
		}
	}
	v := verified(t, []byte(strings.Replace(text, `"schema"`, `"verified": true, "schema"`, 1)))
	if len(v.Wrong) != 1 || v.Wrong[0].Entry != 0 {
		t.Errorf("a key beside the chain: %+v", v.Wrong)
	}
}
