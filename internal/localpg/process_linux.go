package localpg

import (
	"fmt"
	"os"
	"syscall"
)

// dieWithParent has the kernel ask the child for a fast shutdown when the
// thread that started it ends.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGINT }

// runsIn gives the working directory of a process, which for a postmaster is
// its data directory; "" where there is no such process or it is another's.
func runsIn(pid int) string {
	dir, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	if err != nil {
		return ""
	}
	return dir
}
