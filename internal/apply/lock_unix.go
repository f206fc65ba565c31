//go:build unix

package apply

import (
	"os"

	"golang.org/x/sys/unix"
)

// lockFile makes sure that no other process holds the file. The lock ends with the
// process.
func lockFile(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }
