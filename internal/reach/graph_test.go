package reach_test

import (
	"os"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/forest/forestgen"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/reach"
)

func TestDraftContoso(t *testing.T) {
	f, err := os.Open("../../examples/contoso.lws")
	if err != nil {
		t.Fatal(err)
	}
	s, err := forest.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	x := reach.New(s)
	g := reach.NewGraph(x, gpo.New(s, x))
	r := g.WhoCan(g.Resolve(reach.TierZero()))
	p := r.Certain()
	t.Logf("%d principals of %d objects", len(p), s.Len())
	long := 0
	for _, id := range p {
		path := r.Path(id)
		if len(path) > 3 && long < 5 {
			long++
			for _, h := range path {
				t.Logf("   %s %s %s %+v", h.From.Name, h.Kind.Info().Text, h.To.Name, h.Evidence)
			}
			t.Log("--")
		}
	}
	t.Logf("%d unread", len(r.Unread()))

	t.Logf("%d possible principals", len(r.Possible()))
	for _, id := range r.Possible() {
		path := r.Path(id)
		if len(path) > 1 && !path.Certain() && long < 20 {
			long++
			for _, h := range path {
				t.Logf("   %s %s %s %+v %s", h.From.Name, h.Kind.Info().Text, h.To.Name, h.Evidence, h.If)
			}
			t.Log("--")
		}
	}
}

func TestDraftScale(t *testing.T) {
	n := 100000
	s := forestgen.Generate(1, n)
	at := time.Now()
	x := reach.New(s)
	t.Logf("index %v", time.Since(at))
	at = time.Now()
	g := reach.NewGraph(x, gpo.New(s, x))
	t.Logf("graph %v", time.Since(at))
	at = time.Now()
	r := g.WhoCan(g.Resolve(reach.TierZero()))
	t.Logf("search %v", time.Since(at))
	t.Logf("%d principals of %d", len(r.Certain()), s.Len())
}
