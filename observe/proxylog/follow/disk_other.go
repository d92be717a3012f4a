//go:build !linux

package follow

import "os"

// onNetwork gives the careful answer.
func onNetwork(*os.File) bool { return true }
