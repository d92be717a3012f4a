package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is the program's, set by -ldflags "-X main.version=v1.2.3"; otherwise
// what the Go command knows of the module.
var version string

func init() {
	if version == "" {
		version = buildOf(debug.ReadBuildInfo()).Version
	}
}

// build says what this program was made of.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`   // "" where the build did not know it
	Changed bool   `json:"modified"` // the working tree was not what was committed
	Time    string `json:"time"`     // of the commit, RFC 3339; "" where the build did not know it
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// buildOf reads what debug.ReadBuildInfo gives.
func buildOf(made *debug.BuildInfo, ok bool) build {
	b := build{Version: "unknown", Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if !ok {
		return b
	}
	if made.Main.Version != "" {
		b.Version = made.Main.Version
	}
	for _, s := range made.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Changed = s.Value == "true"
		}
	}
	return b
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "version",
		Short:             "print the version and what it was built from",
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			b := buildOf(debug.ReadBuildInfo())
			b.Version = version
			return a.showVersion(b)
		},
	}
}

func (a *app) showVersion(b build) error {
	if err := a.oneOf("table", "json", "yaml"); err != nil {
		return err
	}
	if a.output != "table" {
		return a.write(b)
	}
	_, err := fmt.Fprintln(a.stdout, b)
	return err
}

// String is one line for people.
func (b build) String() string {
	commit := "unknown commit"
	if b.Commit != "" {
		commit = "commit " + b.Commit
	}
	if b.Changed {
		commit += " with changes"
	}
	return fmt.Sprintf("reconciler %s (%s), %s, %s/%s", b.Version, commit, b.Go, b.OS, b.Arch)
}
