package cli

import (
	"os"
	"syscall"
)

// isClosed reports whether the process was started with f closed. The Go runtime
// then opens the null device there, for reading and writing, so that results would
// vanish without an error. Whoever wants that opens the null device for writing
// alone, as a shell's >/dev/null does, or names it with --out.
func isClosed(f *os.File) bool {
	flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, f.Fd(), syscall.F_GETFL, 0)
	if errno != 0 {
		return true
	}
	if flags&syscall.O_ACCMODE != syscall.O_RDWR {
		return false
	}
	null, err := os.Stat(os.DevNull)
	if err != nil {
		return false
	}
	it, err := f.Stat()
	return err == nil && os.SameFile(null, it)
}
