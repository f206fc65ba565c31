package control

import (
	"testing"

	"github.com/leastwise/leastwise/internal/forest/forestgen"
)

// BenchmarkAssess measures all controls on a synthetic forest.
func BenchmarkAssess(b *testing.B) {
	for _, size := range []struct {
		name    string
		objects int
	}{{"20k", 20_000}, {"200k", 200_000}} {
		b.Run(size.name, func(b *testing.B) {
			s := forestgen.Generate(1, size.objects)
			c := builtinCatalogue(b)
			b.ResetTimer()
			for b.Loop() {
				a, err := c.Assess(Input{Snapshot: s})
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(len(a.Findings)), "findings")
			}
		})
	}
}
