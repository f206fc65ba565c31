//go:build linux

package apply

import (
	"context"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	ldap "github.com/go-ldap/ldap/v3"

	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/plan"
	"github.com/leastwise/leastwise/lab/labtest"
)

// BenchmarkMember adds and removes one member: by bare requests over one connection
// with TLS, by the Writer, which reads back, and by a Run with a journal on disk, which
// also reads before.
func BenchmarkMember(b *testing.B) {
	y := newYard(b, labtest.Start(b, labtest.Options{}))
	g, anna := y.group("g"), y.user("anna")
	b.Run("bare", func(b *testing.B) {
		for b.Loop() {
			for _, op := range []func(*ldap.ModifyRequest){
				func(r *ldap.ModifyRequest) { r.Add("member", []string{"<GUID=" + anna.GUID.String() + ">"}) },
				func(r *ldap.ModifyRequest) { r.Delete("member", []string{"<GUID=" + anna.GUID.String() + ">"}) },
			} {
				r := ldap.NewModifyRequest("<GUID="+g.GUID.String()+">", nil)
				op(r)
				if err := y.conn.Modify(r); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	d, err := Open(b.Context(), y.config(y.lab.Admin))
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	b.Run("writer", func(b *testing.B) {
		m := dc.Member{GUID: anna.GUID, SID: anna.SID}
		for b.Loop() {
			for _, w := range []dc.Write{d.w.AddMember(b.Context(), g.GUID, m, 0), d.w.RemoveMember(b.Context(), g.GUID, m)} {
				if w.Outcome != dc.Done || !w.Verified {
					b.Fatalf("%+v", w)
				}
			}
		}
	})
	b.Run("many", func(b *testing.B) { // removals only
		var members []plan.Target
		var dns []string
		for i := range 100 {
			m := y.group("many" + strconv.Itoa(i))
			members, dns = append(members, m), append(dns, m.DN)
		}
		for b.Loop() {
			y.modify(g.DN, "member", dns...)
			began := time.Now()
			for _, r := range d.RemoveMembers(b.Context(), g, members) {
				if r.Result != Done {
					b.Fatalf("%+v", r)
				}
			}
			ours := time.Since(began)
			y.modify(g.DN, "member", dns...)
			began = time.Now()
			for _, m := range members {
				r := ldap.NewModifyRequest("<GUID="+g.GUID.String()+">", nil)
				r.Delete("member", []string{"<GUID=" + m.GUID.String() + ">"})
				if err := y.conn.Modify(r); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(time.Since(began))/float64(ours), "of-bare-rate")
		}
	})
	b.Run("run", func(b *testing.B) {
		n := 0
		for b.Loop() {
			n++
			p, err := plan.New(y.lab.Domain, "", time.Now(), []plan.Change{
				{Kind: plan.AddMember, Object: g, Member: &anna}, {Kind: plan.RemoveMember, Object: g, Member: &anna},
			})
			if err != nil {
				b.Fatal(err)
			}
			j, err := OpenFile(filepath.Join(b.TempDir(), "journal"))
			if err != nil {
				b.Fatal(err)
			}
			r := &Run{Directory: d, Journal: j, Now: time.Now}
			if rep, err := r.Apply(context.Background(), p, p.Digest()); err != nil || rep.Count(Done) != 2 {
				b.Fatalf("%v %+v", err, rep)
			}
			j.Close()
		}
	})
}
