package apply

import (
	"os"

	"golang.org/x/sys/windows"
)

// lockFile makes sure that no other process holds the file. The lock ends with the
// process.
func lockFile(f *os.File) error {
	return windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &windows.Overlapped{OffsetHigh: 0x7fffffff})
}
