package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// This test binary is the program itself where it is called by its name. An
// init, since whoever owns TestMain has other things to do before and after.
func init() {
	if filepath.Base(os.Args[0]) == "reconciler" {
		main()
	}
}

// TestScripts runs the program as users do: each file of testdata/script is
// what somebody types at a shell, and what must come of it. REGISTRY there is a
// provider registry.
func TestScripts(t *testing.T) {
	path := programDir(t) + string(os.PathListSeparator) + os.Getenv("PATH")
	registry := registryFile(t)
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", path)
			env.Setenv("REGISTRY", registry)
			return nil
		},
	})
}

// programDir is a directory with this binary under the program's name.
func programDir(t testing.TB) string {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(binary, filepath.Join(dir, "reconciler")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// registryFile is the path of the real registry where one is given, else of the
// example.
func registryFile(t *testing.T) string {
	t.Helper()
	file := os.Getenv("REAL_REGISTRY")
	if file == "" {
		file = filepath.Join("..", "..", "deploy", "providers.example.yaml")
	}
	path, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
