// Command leastwise measures an Active Directory forest against the principle of
// least privilege; see leastwise help.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/leastwise/leastwise/internal/cli"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	code := cli.Run(ctx, os.Args[1:], cli.System(version))
	stop()
	os.Exit(code)
}
