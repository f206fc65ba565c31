// Command program is cmd/leastwise with a clock that scripts may move: TEST_CLOCK
// moves it by a duration, or stops it at a time (RFC 3339). The tests build it
// without the race detector, which would make every script ten times as slow;
// TestRun looks for races.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/leastwise/leastwise/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	env := cli.System("test")
	if text := os.Getenv("TEST_CLOCK"); text != "" {
		if at, err := time.Parse(time.RFC3339, text); err == nil {
			env.Now = func() time.Time { return at }
		} else if by, err := time.ParseDuration(text); err == nil {
			env.Now = func() time.Time { return time.Now().Add(by) }
		} else {
			panic("TEST_CLOCK: " + text)
		}
	}
	code := cli.Run(ctx, os.Args[1:], env)
	stop()
	os.Exit(code)
}
