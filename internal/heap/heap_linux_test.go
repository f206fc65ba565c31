package heap

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/lab/need"
)

// advised is how many bytes of this process's memory may have large pages ("hg"
// among VmFlags, proc_pid_smaps(5)).
func advised(t *testing.T) (bytes int64) {
	t.Helper()
	data, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		need.Missing(t, err)
	}
	size := regexp.MustCompile(`(?m)^Size: +(\d+) kB$`)
	for _, m := range regexp.MustCompile(`(?ms)^Size:.*?^VmFlags:[^\n]*`).FindAllString(string(data), -1) {
		if strings.Contains(m[strings.LastIndex(m, "VmFlags:"):], " hg") {
			kb, err := strconv.ParseInt(size.FindStringSubmatch(m)[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			bytes += kb << 10
		}
	}
	return bytes
}

func resident(t *testing.T) int {
	t.Helper()
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		need.Missing(t, err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(data))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

func TestExpect(t *testing.T) {
	if _, err := os.Stat("/sys/kernel/mm/transparent_hugepage"); err != nil {
		need.Missing(t, fmt.Errorf("this system has no large pages on demand: %w", err))
	}
	before, used := advised(t), resident(t)
	Expect(1 << 20)
	if got := advised(t); got != before {
		t.Errorf("a small snapshot asks for %d bytes in large pages", got-before)
	}
	Expect(20 << 20)
	if got, want := advised(t)-before, int64(20<<20*perByte-large); got < want {
		t.Errorf("%d bytes may have large pages, want %d", got, want)
	}
	if now := resident(t); now > used+32<<20 {
		t.Errorf("%d bytes more are in use, and nothing was stored", now-used)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapInuse > 64<<20 {
		t.Errorf("%d bytes of the heap are in use, and nothing was stored", m.HeapInuse)
	}
	large := make([]byte, 64<<20)
	for i := range large {
		if large[i] != 0 {
			t.Fatalf("byte %d of new memory is %d", i, large[i])
		}
	}
}

func TestExpectNothing(t *testing.T) {
	for _, size := range []int64{-1, 0, 1} {
		Expect(size)
	}
}
