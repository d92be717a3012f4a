//go:build !linux

package localpg

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// dieWithParent does nothing: only Linux can. The next Start sweeps.
func dieWithParent(*syscall.SysProcAttr) {}

// runsIn gives the data directory that a postmaster was started with, from its
// command line; "" where there is no such process.
func runsIn(pid int) string {
	out, err := exec.Command("ps", "-o", "command=", "-p", strconv.Itoa(pid)).Output() // #nosec G204 -- a number
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(out), " -D ")
	dir, _, _ := strings.Cut(rest, " -c ")
	return dir
}
