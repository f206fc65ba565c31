package judge

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/leastwise/leastwise/internal/configmgr"
	"github.com/leastwise/leastwise/internal/forest"
)

const delegations = `
ous:
  - {name: Twin 1, permissions: ["(A;CI;WP;;;{g-push})"]}
  - {name: Twin 2, permissions: ["(A;CI;WP;;;{g-push})"]}
  - {name: Denied, permissions: ["(OD;CI;CC;bf967a86-0de6-11d0-a285-00aa003049e2;;{g-smtp})", "(A;CI;CC;;;{g-smtp})"]}
  - {name: Denied all, permissions: ["(D;CI;WP;;;{g-eps})", "(A;CI;WP;;;{g-eps})"]}
  - {name: Denied to another, permissions: ["(D;CI;WP;;;{bob})", "(A;CI;WP;;;{g-setup})"]}
  - {name: For users, permissions: ["(OA;CIIO;CR;00299570-246d-11d0-a768-00aa006e0529;bf967aba-0de6-11d0-a285-00aa003049e2;{g-mp})"]}
  - {name: For computers, permissions: ["(OA;CIIO;CR;00299570-246d-11d0-a768-00aa006e0529;bf967a86-0de6-11d0-a285-00aa003049e2;{g-multicast})"]}
  - {name: Flat, permissions: ["(OA;;CC;bf967a86-0de6-11d0-a285-00aa003049e2;;{g-folder})"]}
  - {name: Below, in: Flat}
`

// Denials take rights away, wholly or so that it is not certain what is left, and
// containers with the same descriptor are all told.
func TestWritesInTheDirectory(t *testing.T) {
	w := testWorld(t, delegations, &configmgr.Document{})
	for name, want := range map[string]string{
		"g-push":  "[write-all-properties on OU=Twin 1,DC=contoso,DC=test, write-all-properties on OU=Twin 2,DC=contoso,DC=test]",
		"g-smtp":  "[perhaps more]",
		"g-eps":   "[]",
		"g-setup": "[write-all-properties on OU=Denied to another,DC=contoso,DC=test]",
	} {
		if got := w.writeACEs(w.principal(`CONTOSO\`+name, nil, "")).text(); got != want {
			t.Errorf("%s writes %s, want %s", name, got, want)
		}
	}
	p := w.principal(`CONTOSO\g-smtp`, nil, "")
	w.want(t, "joining where a part is denied", w.joins(p), "unknown: denies")
	w.want(t, "delegation where a part is denied", w.joinDelegated(p, []string{"OU=Denied,DC=contoso,DC=test"}), "unknown: denies")
}

// A right over users is none over computers, and one that is not inherited ends where
// it stands.
func TestJoinsByClass(t *testing.T) {
	w := testWorld(t, delegations, &configmgr.Document{})
	w.want(t, "resetting passwords of users", w.joins(w.principal(`CONTOSO\g-mp`, nil, "")), "false")
	w.want(t, "resetting passwords of computers", w.joins(w.principal(`CONTOSO\g-multicast`, nil, "")), "true")
	p := w.principal(`CONTOSO\g-folder`, nil, "")
	w.want(t, "delegation on the container", w.joinDelegated(p, []string{"OU=Flat,DC=contoso,DC=test"}), "true")
	w.want(t, "delegation below it", w.joinDelegated(p, []string{"OU=Below,OU=Flat,DC=contoso,DC=test"}), "false")
}

// Full control that is denied in part below is none.
func TestFullControlWithDenials(t *testing.T) {
	w := testWorld(t, `
ous:
  - {name: Whole, permissions: ["(A;CI;GA;;;{g-push})"]}
  - {name: Part, permissions: ["(D;CIIO;SD;;;{g-push})", "(A;CI;GA;;;{g-push})"]}
`, &configmgr.Document{})
	p := w.principal(`CONTOSO\g-push`, nil, "")
	for ou, want := range map[string]string{"Whole": "true", "Part": "false"} {
		w.want(t, "full control of "+ou, w.adRightInherits(p, "OU="+ou+",DC=contoso,DC=test", "this-and-all-descendants"), want)
	}
}

// Who may write what is published below System Management writes there too; an entry
// for an attribute that nothing there has lets nobody write.
func TestWritersOfPublished(t *testing.T) {
	w := testWorld(t, `
containers:
  - {name: Published, permissions: ["(A;CIIO;GA;;;{bob})", "(A;CI;GA;;;{g-push})", "(OA;CIIO;GA;;bf967aba-0de6-11d0-a285-00aa003049e2;{alice})", "(D;CI;GA;;;{mallory})", "(A;CI;GA;;;{mallory})"]}
`, &configmgr.Document{})
	id, _ := w.object("CN=Published,DC=contoso,DC=test")
	got := w.writersOf(id, false).(*list).text()
	for name, want := range map[string]bool{"bob": true, "g-push": true, "alice": false, "mallory": false} {
		if strings.Contains(got, `CONTOSO\`+name) != want {
			t.Errorf("%s writes: %v, want %v: %s", name, !want, want, got)
		}
	}
}

// wholeSite makes a document with one site of which everything was read.
func wholeSite(s configmgr.Site, more ...configmgr.Assignment) *configmgr.Document {
	d := &configmgr.Document{Sites: []configmgr.Site{s}, Assignments: more}
	for _, c := range []configmgr.Class{
		configmgr.ClassAccounts, configmgr.ClassSiteRoles, configmgr.ClassSites, configmgr.ClassComponents, configmgr.ClassPackages, configmgr.ClassGroups,
		configmgr.ClassShares, configmgr.ClassAssignments, configmgr.ClassUserRights, configmgr.ClassClient, configmgr.ClassSequences,
	} {
		d.Readings = append(d.Readings, read(c, ""))
	}
	return d
}

// sharedRules are the rules of the built-in catalogue, compiled once, and sharedSnapshot
// the directory of the cases; nothing changes them.
var (
	sharedRules = sync.OnceValue(func() *Rules {
		c, err := configmgr.Load()
		if err != nil {
			panic(err)
		}
		r, err := Compile(c)
		if err != nil {
			panic(err)
		}
		return r
	})
	shared struct {
		sync.Once
		s *forest.Snapshot
	}
)

func sharedSnapshot(t *testing.T) *forest.Snapshot {
	t.Helper()
	shared.Do(func() { shared.s = caseSnapshot(t, testCase{}) })
	return shared.s
}

// outcome judges a document and returns what became of a control at a site.
func outcome(t *testing.T, d *configmgr.Document, site, id string) Outcome {
	t.Helper()
	a, err := sharedRules().Judge(Input{Snapshot: sharedSnapshot(t), Document: d, Now: testNow})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range a.Sites {
		if i := slices.IndexFunc(s.Outcomes, func(o Outcome) bool { return o.ID == id }); s.Code == site {
			return s.Outcomes[i]
		}
	}
	t.Fatalf("no site %s", site)
	return Outcome{}
}

// What holds of no host is no pass: not applicable where there is none, unknown where
// none is known.
func TestNoHostIsNoPass(t *testing.T) {
	naa := configmgr.Assignment{Entry: "network-access", Site: "P01", Name: `CONTOSO\g-naa`, Source: configmgr.Collected}
	d := wholeSite(configmgr.Site{Code: "P01", Server: "gs1.contoso.test", Domain: "contoso.test", Settings: map[string]any{"pxe.hosts": []any{}, "pxe.password_hosts": []any{}}}, naa)
	for id, want := range map[string]string{"CMA-NAA-06": "there is no distribution point", "CMA-PKG-06": "there is no distribution point", "CMX-22": "no distribution point of the site answers PXE requests"} {
		if o := outcome(t, d, "P01", id); o.Verdict != NotApplicable || o.Reason != want {
			t.Errorf("%s is %s (%s)", id, o.Verdict, o.Reason)
		}
	}
	install := configmgr.Assignment{Entry: "site-system-installation", Site: "P01", Name: `CONTOSO\g-install`, Source: configmgr.Collected}
	if o := outcome(t, wholeSite(d.Sites[0], install), "P01", "CMA-SSI-02"); o.Verdict != Unknown {
		t.Errorf("an account of no known site system: %s", o.Verdict)
	}
	if o := outcome(t, wholeSite(configmgr.Site{Code: "P01"}), "P01", "CMX-16"); o.Verdict != Unknown {
		t.Errorf("a site of no known host: %s", o.Verdict)
	}
}

// Computers that are not there keep a control over computers from passing.
func TestNoComputerIsNoPass(t *testing.T) {
	w := testWorld(t, "", &configmgr.Document{Sites: []configmgr.Site{{Code: "P01"}}})
	w.classes = func() computers { return computers{} }
	ev := &evaluation{w: w, site: &w.doc.Sites[0]}
	for kind := range emptySets {
		if l := ev.hostsOfKind(kind).(*list); l.gap == nil || len(l.known) > 0 {
			t.Errorf("%s: %s", kind, l.text())
		}
	}
}

// Accounts that must differ do so at whatever sites of the hierarchy they are used: it is
// the secret of one purpose that gives what the other may do.
func TestDifferAcrossSites(t *testing.T) {
	for _, x := range []struct{ id, entry, other string }{
		{"CMA-EXP-02", "exchange-connector-proxy", "exchange-server-connection"},
		{"CMA-SUP-02", "software-update-point-proxy", "software-update-point-connection"},
		{"CMA-HSP-01", "health-state-reference-publishing", "health-state-reference-querying"},
		{"CMA-HSQ-03", "health-state-reference-querying", "health-state-reference-publishing"},
	} {
		d := wholeSite(configmgr.Site{Code: "P01", Kind: configmgr.PrimarySite, Release: "2012-R2", Domain: "contoso.test"},
			configmgr.Assignment{Entry: x.entry, Site: "P01", Name: `CONTOSO\g-naa`, Source: configmgr.Collected},
			configmgr.Assignment{Entry: x.other, Site: "P02", Name: `CONTOSO\g-naa`, Source: configmgr.Collected})
		d.Sites = append(d.Sites, configmgr.Site{Code: "P02", Kind: configmgr.PrimarySite, Release: "2012-R2", Domain: "contoso.test"})
		if o := outcome(t, d, "P01", x.id); o.Verdict != Fail {
			t.Errorf("%s: one account for both at two sites: %s, %+v", x.id, o.Verdict, o.Instances)
		}
		d.Assignments[1].Name = `CONTOSO\g-install`
		if o := outcome(t, d, "P01", x.id); o.Verdict != Pass {
			t.Errorf("%s: two accounts: %s, %+v", x.id, o.Verdict, o.Instances)
		}
		for i := range d.Readings {
			d.Readings[i].Scope = "P01"
		}
		if o := outcome(t, d, "P01", x.id); o.Verdict != Unknown {
			t.Errorf("%s: the other site was not read: %s, %+v", x.id, o.Verdict, o.Instances)
		}
	}
}

// A slot of which more principals may be there is not judged by those that are known.
func TestPartlyKnownSlot(t *testing.T) {
	d := wholeSite(configmgr.Site{Code: "P01", Domain: "contoso.test"}, configmgr.Assignment{Entry: "network-access", Site: "P01", Name: `CONTOSO\g-naa`, Source: configmgr.Collected})
	if o := outcome(t, d, "P01", "CMA-NAA-09"); o.Verdict != Pass || len(o.Instances) != 1 {
		t.Errorf("all read: %s, %d instances", o.Verdict, len(o.Instances))
	}
	d.Readings = nil
	if o := outcome(t, d, "P01", "CMA-NAA-09"); o.Verdict != Unknown || len(o.Instances) != 2 || o.Instances[0].Verdict != Pass {
		t.Errorf("nothing read: %s, %+v", o.Verdict, o.Instances)
	}
}

// Clients are judged on their site; where that is not said, on the only primary site.
func TestClientsOfSites(t *testing.T) {
	viewers := map[string]any{"RemoteTools.Enabled": true, "RemoteTools.PermittedViewers": []any{`CONTOSO\Remote Helpers`}}
	d := wholeSite(configmgr.Site{Code: "CAS", Kind: configmgr.CentralSite, Settings: map[string]any{"RemoteTools.Enabled": true, "RemoteTools.PermittedViewers": []any{}}})
	d.Sites = append(d.Sites, configmgr.Site{Code: "P01", Kind: configmgr.PrimarySite, Parent: "CAS", Settings: viewers})
	d.Hosts = []configmgr.Host{{Name: "ws1.contoso.test", Groups: map[string][]configmgr.Member{"ConfigMgr Remote Control Users": {member(`CONTOSO\Remote Helpers`)}}}}
	want := func(site string, v Verdict) {
		t.Helper()
		if o := outcome(t, d, site, "CMG-RCU-01"); o.Verdict != v {
			t.Errorf("%s: %s (%s), want %s", site, o.Verdict, o.Reason, v)
		}
	}
	want("CAS", NotApplicable)
	want("P01", Pass)
	d.Sites = append(d.Sites, configmgr.Site{Code: "P02", Kind: configmgr.PrimarySite, Parent: "CAS", Settings: map[string]any{"RemoteTools.Enabled": true, "RemoteTools.PermittedViewers": []any{}}})
	d.Hosts[0].Site = "p02"
	want("P01", Unknown)
	want("P02", Fail)
}

// Two databases of one name are told apart by their sites.
func TestDatabasesOfOneName(t *testing.T) {
	d := wholeSite(configmgr.Site{Code: "P01"})
	d.Readings = append(d.Readings, read(configmgr.ClassDatabase, ""))
	d.Sites = append(d.Sites, configmgr.Site{Code: "P02"}, configmgr.Site{Code: "P03"})
	roles := func(name string) map[string][]configmgr.Member {
		return map[string][]configmgr.Member{name: {member(`CONTOSO\g-mp`)}}
	}
	d.Databases = []configmgr.Database{{Name: "CM", Site: "P01", Roles: roles("one")}, {Name: "CM", Site: "P02", Roles: roles("two"), Rights: []configmgr.Access{{Member: member(`CONTOSO\g-mp`), Rights: []string{"SELECT"}}}}}
	w := testWorld(t, "", d)
	p := w.principal(`CONTOSO\g-mp`, nil, "")
	for i, want := range []string{"['one']", "['two']", "[perhaps more]"} {
		ev := &evaluation{w: w, site: &w.doc.Sites[i]}
		got := ev.sqlList("CM", func(d *configmgr.Database) *list { return w.rolesIn(p, d.Roles, "") })
		if textOf(got) != want {
			t.Errorf("site %s: %s, want %s", ev.site.Code, textOf(got), want)
		}
	}
	for i, want := range []string{"false", "true"} {
		w.want(t, "reading through a right on the database", (&evaluation{w: w, site: &w.doc.Sites[i]}).canSelect(p, "CM", []string{"SC_UserAccount"}), want)
	}
}

// An administrative user without a role was not read to the end: everybody has one.
func TestAdministratorsWithoutRoles(t *testing.T) {
	d := wholeSite(configmgr.Site{Code: "P01"})
	d.Readings = append(d.Readings, read(configmgr.ClassAdmins, ""), read(configmgr.ClassRoles, ""))
	d.Admins = []configmgr.Admin{{Name: `CONTOSO\alice`}}
	if o := outcome(t, d, "P01", "CMG-SMA-06"); o.Verdict != Unknown {
		t.Errorf("few Full Administrators: %s", o.Verdict)
	}
}

// The object of another management point is not that of a host whose name ends its name.
func TestHostOfManagementPoint(t *testing.T) {
	for name, want := range map[string]string{"SMS-MP-P01-WEB-CM01": "WEB-CM01", "sms-mp-p01-cm01.contoso.test": "cm01.contoso.test", "SMS-Site-P01": ""} {
		if got := hostOfPoint(name); got != want {
			t.Errorf("%s is of %q, want %q", name, got, want)
		}
	}
}
