package judge

import (
	"fmt"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/configmgr"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/forest/forestgen"
	"github.com/leastwise/leastwise/internal/reach"
)

// largeDocument describes a hierarchy whose slots are all filled: one central site and
// its primary sites, with accounts and computers of the snapshot.
func largeDocument(s *forest.Snapshot, c *configmgr.Catalogue, sites int) *configmgr.Document {
	var users, computers []forest.ID
	for id := range forest.ID(s.Len()) {
		switch {
		case s.IsA(id, "computer"):
			computers = append(computers, id)
		case s.Class(id) == "user":
			users = append(users, id)
		}
	}
	d := &configmgr.Document{Version: configmgr.DocumentVersion, Hierarchy: "Large"}
	for _, class := range []configmgr.Class{
		configmgr.ClassSites, configmgr.ClassSiteRoles, configmgr.ClassComponents, configmgr.ClassForests, configmgr.ClassSequences,
		configmgr.ClassAdmins, configmgr.ClassRoles, configmgr.ClassAccounts, configmgr.ClassPackages, configmgr.ClassClient, configmgr.ClassMigration,
	} {
		d.Readings = append(d.Readings, configmgr.Reading{Source: configmgr.Collected, Class: class})
	}
	next := 0
	for i := range sites {
		host := func(n int) string {
			id := computers[(i*7+n)%len(computers)]
			if dns, st := s.Str(id, forest.DNSHostName); st == forest.Known {
				return dns
			}
			return s.Name(id) + "." + forestgen.DNS
		}
		site := configmgr.Site{Code: fmt.Sprintf("P%02d", i), Kind: configmgr.PrimarySite, Release: "2012-R2", Parent: "P00", Server: host(0), Domain: forestgen.DNS}
		if i == 0 {
			site.Kind, site.Parent = configmgr.CentralSite, ""
		}
		for n, role := range []string{roleProvider, roleDatabase, roleManagement, roleDistribution, roleReporting, roleUpdates} {
			site.Systems = append(site.Systems, configmgr.SiteSystem{Host: host(n), Roles: []string{role}})
		}
		d.Sites = append(d.Sites, site)
		for _, e := range c.Entries {
			if e.Kind == configmgr.WindowsGroup {
				continue
			}
			u := users[next*13%len(users)]
			next++
			sam, _ := s.Str(u, forest.SAMAccountName)
			d.Assignments = append(d.Assignments, configmgr.Assignment{Entry: e.ID, Site: site.Code, Host: host(next % 6), Name: `CONTOSO\` + sam, Source: configmgr.Collected})
		}
	}
	return d
}

// BenchmarkJudge decides 40 sites with 42 slots on a snapshot of 200,000 objects, with
// everything that has to be computed on it before.
func BenchmarkJudge(b *testing.B) {
	s := forestgen.Generate(1, 200_000)
	r := builtin(b)
	d := largeDocument(s, r.Catalogue(), 40)
	in := Input{Snapshot: s, Document: d, Now: time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)}
	b.Run("everything", func(b *testing.B) {
		for b.Loop() {
			if _, err := r.Judge(in); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("indexed", func(b *testing.B) {
		in.Graph = reach.Of(s)
		for b.Loop() {
			if _, err := r.Judge(in); err != nil {
				b.Fatal(err)
			}
		}
	})
}
