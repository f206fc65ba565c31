package forestgen

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
)

func TestGenerateIsDeterministic(t *testing.T) {
	a, b := Generate(1, 2000), Generate(1, 2000)
	if !forest.Equal(a, b) {
		t.Error("same seed, different forests")
	}
	if forest.Equal(a, Generate(2, 2000)) {
		t.Error("different seeds, same forest")
	}
}

func TestGenerateShape(t *testing.T) {
	const n = 20_000
	s := Generate(7, n)
	count := map[string]int{}
	aces, deepest := 0, 0
	for id := range forest.ID(s.Len()) {
		count[s.Class(id)]++
		d, st := s.Descriptor(id)
		if st != forest.Known {
			t.Fatalf("%s: no descriptor: %v", s.DN(id), s.DescriptorError(id))
		}
		aces += len(d.DACL.ACEs)
		if s.Class(id) == "group" {
			deepest = max(deepest, nesting(s, id))
		}
	}
	for class, want := range map[string]int{"user": n * 60 / 100, "computer": n * 30 / 100, "group": n * 8 / 100} {
		if got := count[class]; got < want || got > want*105/100+40 {
			t.Errorf("%d objects of class %s, want about %d", got, class, want)
		}
	}
	if mean := aces / s.Len(); mean < 25 || mean > 40 {
		t.Errorf("%d entries per descriptor", mean)
	}
	if d := s.NumDescriptors(); d < n/100 || d > n/20 {
		t.Errorf("%d distinct descriptors", d)
	}
	if deepest < 5 || deepest > depth+2 {
		t.Errorf("groups nested %d deep", deepest)
	}
	if d := s.Domains(); len(d) != 1 || d[0].DNS != DNS || !d[0].Root || d[0].SID.IsZero() {
		t.Errorf("domains %+v", d)
	}
	if c := s.Schema().Class("USER"); c == nil || s.Schema().NameOf(c.GUID) != "user" {
		t.Error("schema lacks user")
	}
	if f := s.File(DNS, "Policies/"+policyID(0)+"/Machine/Microsoft/Windows NT/SecEdit/GptTmpl.inf"); !bytes.Contains(f.Data, utf16le("SeDenyNetworkLogonRight")[2:]) {
		t.Errorf("template of policy 0: %q", f.Data)
	}
	for _, id := range s.With(forest.Member) {
		if out := s.LinksOutside(id, forest.Member); len(out) > 0 {
			t.Fatalf("%s has members that do not exist: %v", s.DN(id), out)
		}
	}
}

// nesting returns the length of the longest chain of groups below id.
func nesting(s *forest.Snapshot, id forest.ID) int {
	longest := 0
	members, _ := s.Links(id, forest.Member)
	for _, m := range members {
		if s.Class(m) == "group" {
			longest = max(longest, nesting(s, m))
		}
	}
	return 1 + longest
}

func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{20_000, 200_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var file bytes.Buffer
			if err := Generate(1, n).Write(&file); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ReportMetric(float64(file.Len())/1e6, "MB")
			for b.Loop() {
				s, err := forest.Read(bytes.NewReader(file.Bytes()))
				if err != nil || s.Len() < n*9/10 {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkGenerate(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Generate(1, 20_000)
	}
}

func BenchmarkWrite(b *testing.B) {
	s := Generate(1, 200_000)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Write(&bytes.Buffer{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	s := Generate(1, 200_000)
	names := make([]string, 0, 1000)
	for i := range 1000 {
		names = append(names, s.DN(forest.ID(i*s.Len()/1000)))
	}
	s.Lookup(names[0]) // builds the index
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if s.Lookup(names[i%len(names)]) == forest.None {
			b.Fatal(names[i%len(names)])
		}
		i++
	}
}

func BenchmarkDN(b *testing.B) {
	s := Generate(1, 200_000)
	b.ReportAllocs()
	i := forest.ID(0)
	for b.Loop() {
		if s.DN(i) == "" {
			b.Fatal(i)
		}
		i = (i + 7919) % forest.ID(s.Len())
	}
}
