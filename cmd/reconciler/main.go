// Command reconciler finds workspaces whose LLM calls are billed to the wrong
// party: it compares what a workspace should be with what its container is and
// with what the proxy's log says, and names the cause.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
