package gpo_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// bigForest has computers in 300 organizational units three deep, 300 policies,
// every fifth filtered by one of 50 groups, and group members all over.
func bigForest(t testing.TB, computers int) *forest.Snapshot {
	t.Helper()
	c := &policyCase{name: "big"}
	w := newCaseForest(c, "contoso.test", secdesc.MustSID("S-1-5-21-1-2-3"))
	for i := range 50 {
		c.groups = append(c.groups, caseGroup{name: fmt.Sprintf("G%d", i)})
	}
	for i := range 300 {
		o := caseOU{name: fmt.Sprintf("U%d", i), in: "domain"}
		if i >= 10 {
			o.in = fmt.Sprintf("U%d", i%10)
		}
		if i >= 100 {
			o.in = fmt.Sprintf("U%d", 10+i%90)
		}
		w.dn[o.name] = "OU=" + o.name + "," + w.container(o.in)
		c.ous = append(c.ous, o)
		p := &casePolicy{name: fmt.Sprintf("P%d", i), opt: map[string]string{}, template: []string{"R1 = *{D}-512", "R2 = *{D}-519,*{D}-512", "R3 = *{D}-500"}}
		if i%5 == 0 {
			p.opt["sd"] = fmt.Sprintf("(A;;RPLCLORC;;;AU)(OA;;CR;edacfd8f-ffb3-11d1-b41d-00a0c968f939;;{G%d})", i/6%50)
		}
		w.guid[p.name] = fmt.Sprintf("{%08X-0000-4000-8000-000000000000}", i)
		w.dn[p.name] = "CN=" + w.guid[p.name] + ",CN=Policies,CN=System," + w.base
		c.pols = append(c.pols, p)
		c.links = append(c.links, caseLink{o.name, "[LDAP://{" + p.name + "};0]"})
	}
	for i := range computers {
		h := caseHost{name: fmt.Sprintf("H%d", i), in: fmt.Sprintf("U%d", i%300)}
		if i%7 == 0 {
			h.groups = []string{fmt.Sprintf("G%d", i/7%50)}
		}
		c.hosts = append(c.hosts, h)
	}
	return w.snapshot(t)
}

func TestManyComputers(t *testing.T) {
	n := 120_000
	if testing.Short() {
		n = 12_000
	}
	s := bigForest(t, n)
	tokens := reach.New(s)
	start := time.Now()
	e := gpo.New(s, tokens)
	took := time.Since(start)
	total := 0
	for id := range gpo.ScopeID(e.Scopes()) {
		total += len(e.Computers(id))
	}
	if total != n {
		t.Errorf("%d computers in scopes, want %d", total, n)
	}
	t.Logf("%d computers, %d scopes, %v", n, e.Scopes(), took)
	if took > 10*time.Second { // a loaded machine; the benchmark has the figure
		t.Errorf("scoping took %v", took)
	}
	start = time.Now()
	for id := range gpo.ScopeID(e.Scopes()) {
		e.Result(id)
	}
	t.Logf("all results: %v", time.Since(start))
}

func BenchmarkNew(b *testing.B) {
	s := bigForest(b, 120_000)
	tokens := reach.New(s)
	b.ResetTimer()
	for b.Loop() {
		gpo.New(s, tokens)
	}
}

func BenchmarkResults(b *testing.B) {
	s := bigForest(b, 12_000)
	tokens := reach.New(s)
	for b.Loop() {
		e := gpo.New(s, tokens)
		for id := range gpo.ScopeID(e.Scopes()) {
			e.Result(id)
		}
	}
}
