package heap

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// large is the size of a large page.
const large = 2 << 20

// prefer has the heap take n bytes of addresses from the system and asks for large
// pages there. The system may refuse: then pages are small, as they were.
//
//go:noinline
func prefer(n int64) {
	b := make([]byte, n)
	at := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	b = b[-at%large:] // the heap begins large allocations at a page of 8 kB
	b = b[:len(b)/large*large]
	_ = unix.Madvise(b, unix.MADV_HUGEPAGE)
}
