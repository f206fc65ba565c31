// Package heap prepares the memory of the process for a large snapshot.
//
// What is read of a forest of a million objects fills most of a gigabyte and is
// walked at random. In pages of 4 kB that is a fault for each page and a miss of the
// processor's address cache for nearly each step; in pages of 2 MB neither counts.
// Where the system leaves the choice to programs (madvise, the usual setting of
// Linux), Expect makes it. Everywhere else it does nothing.
package heap

import "runtime"

const (
	// least is what is not worth a call, in bytes: the garbage collector's heap grows
	// by this much at a time.
	least = 64 << 20
	// most bounds the request, in bytes.
	most = 8 << 30
	// perByte is how many bytes of heap a byte of a compressed snapshot becomes in an
	// assessment: 20, measured with a million generated objects. With less than that,
	// the collector gives parts of large pages back and takes them again.
	perByte = 24
)

// Expect prepares the heap for a snapshot whose file has size bytes. The memory is
// not in use before something is stored there. Call it once, before reading.
func Expect(size int64) {
	n := min(size*perByte, most)
	if size <= 0 || n < least {
		return
	}
	prefer(n)
	runtime.GC()
	runtime.GC() // the range is free again and no goal of the collector remembers it
}
