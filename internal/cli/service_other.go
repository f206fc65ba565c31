//go:build !windows

package cli

import (
	"context"
	"os"
	"syscall"
)

// asService runs the server; service managers of these systems need nothing more.
func asService(ctx context.Context, run func(context.Context) error) error { return run(ctx) }

// hangUp is the signal to read policies again.
func hangUp() []os.Signal { return []os.Signal{syscall.SIGHUP} }
