package localpg

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheNewestVersionComesFirst(t *testing.T) {
	got := []string{"/usr/lib/postgresql/9.6/bin", "/usr/lib/postgresql/17/bin", "/P.app/Versions/latest/bin", "/usr/lib/postgresql/15/bin"}
	slices.SortFunc(got, newestFirst)
	want := []string{"/P.app/Versions/latest/bin", "/usr/lib/postgresql/17/bin", "/usr/lib/postgresql/15/bin", "/usr/lib/postgresql/9.6/bin"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAClientAloneIsNoServer(t *testing.T) {
	bin := t.TempDir()
	for _, step := range []struct {
		program string
		want    bool
	}{{"psql", false}, {"postgres", false}, {"initdb", true}} {
		if err := os.WriteFile(filepath.Join(bin, step.program), nil, 0o700); err != nil {
			t.Fatal(err)
		}
		if got := hasServer(bin); got != step.want {
			t.Errorf("with %s: %t, want %t", step.program, got, step.want)
		}
	}
}
