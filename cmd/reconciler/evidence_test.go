package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEvidenceIsWrittenAndVerified(t *testing.T) {
	a := answer(t)
	text := a.says("evidence 1", `"schema": "billing-reconciler.evidence/1"`, `"kind": "finding"`, "Marketing Agent")
	for _, same := range []string{"evidence 6b66", "evidence " + marketing, "evidence 1 -o json"} {
		if got := a.says(same); digestOf(t, got) != digestOf(t, text) {
			t.Errorf("%s: another document:\n%s", same, got)
		}
	}
	file := filepath.Join(t.TempDir(), "evidence.json")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(text)
	a.says("evidence --verify "+file, "entries follow one another; digest "+digestOf(t, text))
	a.says("evidence --verify " + file + " --digest " + digestOf(t, text))
	a.says("evidence --verify "+file+" -o json", `"wrong": []`)
	code, out, _ := a.types("evidence", "--verify", file, "--digest", strings.Repeat("0", 64))
	if code != exitFailed || !strings.Contains(out, "not the one that was given") {
		t.Errorf("exit %d: %s", code, out)
	}
	write(strings.Replace(text, "the container is platform_managed", "the container is byok", 1))
	code, out, _ = a.types("evidence", "--verify", file)
	if code != exitFailed || !strings.Contains(out, "wrong: entry 2 (finding): it was changed") {
		t.Errorf("exit %d: %s", code, out)
	}
	a.fails("evidence --verify "+file+".not", "--verify")
	write("{}")
	a.fails("evidence --verify "+file, "schema")
	a.fails("evidence", "name a drift or a workspace")
	a.fails("evidence 1 --digest x", "--verify")
	a.fails("evidence 99", "404", "there is no drift 99")
	a.fails("evidence 6b77", "404", "has no drift")
	a.says("__complete evidence 1", "1\tMarketing Agent")
	a.says("__complete evidence 6b", marketing)
}

// digestOf is the digest that a document says it has.
func digestOf(t *testing.T, text string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, `"digest": "`)
	if !ok {
		t.Fatalf("no digest: %s", text)
	}
	return rest[:64]
}
