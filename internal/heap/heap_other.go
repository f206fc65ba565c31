//go:build !linux

package heap

// prefer does nothing: the system chooses the size of pages.
func prefer(int64) {}
