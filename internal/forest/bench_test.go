package forest

import (
	"fmt"
	"runtime"
	"strconv"
	"testing"
)

// BenchmarkBuilder reports what a builder holds per object just before Build, and
// what the snapshot holds. 1,000,000 objects need -timeout 10m.
func BenchmarkBuilder(b *testing.B) {
	for _, n := range []int{20_000, 200_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				empty := heap()
				build := NewBuilder(Info{})
				for i := range n {
					mustAdd(b, build, benchEntry(i))
				}
				full := heap()
				s := mustBuild(b, build)
				b.ReportMetric(float64(full-empty)/float64(n), "builder-B/object")
				b.ReportMetric(float64(heap()-empty)/float64(n), "snapshot-B/object")
				runtime.KeepAlive(s)
			}
		})
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func benchEntry(i int) Entry {
	name := fmt.Sprintf("User %07d", i)
	e := entry(fmt.Sprintf("CN=%s,OU=Department %04d,OU=Staff,%s", name, i%500, root), "objectClass", "top", "objectClass", "user",
		"sAMAccountName", name, "displayName", name, "userPrincipalName", name+"@contoso.test", "userAccountControl", "512",
		"pwdLastSet", "133500000000000000", "lastLogonTimestamp", "133500000000000000", "whenCreated", "20240101000000.0Z",
		"primaryGroupID", "513", "objectSid", sidBytes(fmt.Sprintf("%s-%d", domSID, i+1000)), "nTSecurityDescriptor", strconv.Itoa(i%5000))
	if i%10 == 0 {
		for k := range 20 {
			e.Attrs = append(e.Attrs, Values{"member", [][]byte{[]byte(fmt.Sprintf("CN=User %07d,OU=Department %04d,OU=Staff,%s", i+k, (i+k)%500, root))}})
		}
	}
	return e
}

func BenchmarkDiff(b *testing.B) {
	one := func(step int) *Snapshot {
		build := NewBuilder(Info{})
		for i := range 20_000 {
			e := benchEntry(i)
			if i%step == 0 {
				e.Attrs = append(e.Attrs, Values{"description", [][]byte{[]byte("x")}})
			}
			mustAdd(b, build, e)
		}
		return mustBuild(b, build)
	}
	x, y := one(100), one(50)
	for b.Loop() {
		if Diff(x, y).Empty() {
			b.Fatal("no difference")
		}
	}
}
