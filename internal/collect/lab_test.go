//go:build linux

package collect_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/leastwise/leastwise/internal/collect"
	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
	"github.com/leastwise/leastwise/lab/labtest"
	"github.com/leastwise/leastwise/lab/samba"
)

func scan(t *testing.T, lab *labtest.Lab, who samba.Account, sacl bool) *forest.Snapshot {
	t.Helper()
	password, err := who.Password()
	if err != nil {
		t.Fatal(err)
	}
	r, err := dc.Open(t.Context(), dc.Config{
		Domain: lab.Domain, DNS: lab.DNS, Server: lab.DCs()[0].FQDN, Credentials: dc.Password(who.Name, password),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	vol, err := r.Sysvol(t.Context(), dc.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer vol.Close()
	s, err := collect.Scan(t.Context(), r, collect.Options{Tool: "test", SACL: sacl, Files: vol, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What is hidden from the reader is Unreadable and covered, never Absent; what is
// merely not set is Absent; the administrator sees all of it.
func TestHiddenIsNotAbsent(t *testing.T) {
	lab := labtest.Start(t, labtest.Options{Single: true})
	w := newOU(t, lab, "hidden things")
	w.add("OU=closed,"+w.dn, "organizationalUnit")
	w.add("CN=inside,OU=closed,"+w.dn, "user", "sAMAccountName", "hid-inside")
	w.add("CN=veiled,"+w.dn, "group", "sAMAccountName", "hid-veiled", "member", "CN=plain,"+w.dn)
	w.add("CN=empty,"+w.dn, "group", "sAMAccountName", "hid-empty")
	w.add("CN=sealed,"+w.dn, "user", "sAMAccountName", "hid-sealed")
	reader := w.sidOf(lab.Reader.Name)
	w.deny("OU=closed,"+w.dn, "(D;;LC;;;"+reader+")")
	w.deny("CN=veiled,"+w.dn, "(OD;;RP;bf9679c0-0de6-11d0-a285-00aa003049e2;;"+reader+")")
	w.deny("CN=sealed,"+w.dn, "(D;;RC;;;"+reader+")")

	s := scan(t, lab, lab.Reader, true)
	at := func(rdn string) forest.ID {
		id := s.Lookup(rdn + "," + w.dn)
		if id == forest.None {
			t.Fatalf("%s is missing", rdn)
		}
		return id
	}
	if _, st := s.Links(at("CN=veiled"), forest.Member); st != forest.Unreadable {
		t.Errorf("hidden members are %v, want unreadable", st)
	}
	if _, st := s.Links(at("CN=empty"), forest.Member); st != forest.Absent {
		t.Errorf("no members are %v, want absent", st)
	}
	if _, st := s.Descriptor(at("CN=sealed")); st != forest.Unreadable {
		t.Errorf("a hidden descriptor is %v, want unreadable", st)
	}
	if s.Lookup("CN=inside,OU=closed,"+w.dn) != forest.None {
		t.Error("the directory showed what is inside a closed container: the test proves nothing")
	}
	covered(t, s, forest.AreaContainer, "OU=closed,"+w.dn, "unreadable")
	covered(t, s, forest.AreaAttribute, "member", "partial")
	covered(t, s, forest.AreaDescriptor, "nTSecurityDescriptor", "partial")
	covered(t, s, forest.AreaSACL, "nTSecurityDescriptor", "unreadable")

	all := scan(t, lab, lab.Admin, true)
	if m, st := all.Links(all.Lookup("CN=veiled,"+w.dn), forest.Member); st != forest.Known || len(m) != 1 {
		t.Errorf("the administrator sees members %v %v", m, st)
	}
	if all.Lookup("CN=inside,OU=closed,"+w.dn) == forest.None {
		t.Error("the administrator does not see inside the container")
	}
	for _, c := range all.Coverage() {
		if c.State == "partial" || c.State == "unreadable" {
			t.Errorf("the administrator lacks %+v", c)
		}
	}
}

// A hardened domain, where Pre-Windows 2000 Compatible Access is empty, hides some
// property sets of users; the grants of docs/OPERATIONS.md show them.
func TestDocumentedGrantsCloseGaps(t *testing.T) {
	lab := labtest.Start(t, labtest.Options{Single: true})
	w := newOU(t, lab, "grants")
	dn := "CN=hardened," + w.dn
	w.add(dn, "user", "sAMAccountName", "grant-hardened")
	const hardened = "D:P(A;;GA;;;DA)(A;;LCRC;;;AU)(OA;;RP;59ba2f42-79a2-11d0-9020-00c04fc2d3cf;;AU)" +
		"(OA;;RP;e48d0154-bcf8-11d1-8702-00c04fb96050;;AU)(OA;;RP;77b5b886-944a-11d1-aebd-0000f80367c1;;AU)"
	w.setDACL(dn, hardened)
	hidden := []forest.Attr{forest.UserAccountControl, forest.PwdLastSet, forest.LastLogonTimestamp, forest.AdminCount, forest.UserParameters}
	state := func(s *forest.Snapshot, a forest.Attr) (st forest.State) {
		if _, st = s.Int(s.Lookup(dn), a); a.Syntax() == forest.Octets {
			_, st = s.Str(s.Lookup(dn), a)
		}
		return st
	}
	s := scan(t, lab, lab.Reader, false)
	for _, a := range hidden {
		if st := state(s, a); st != forest.Unreadable {
			t.Errorf("%s of a hardened user is %v, want unreadable", a, st)
		}
	}
	if _, st := s.Int(s.Lookup(dn), forest.PrimaryGroupID); st != forest.Known {
		t.Errorf("primaryGroupID is %v, want known", st)
	}
	reader := w.sidOf(lab.Reader.Name)
	w.setDACL(dn, hardened+"(OA;;RP;4c164200-20c0-11d0-a768-00aa006e0529;;"+reader+")"+ // Account Restrictions
		"(OA;;RP;5f202010-79a5-11d0-9020-00c04fc2d4cf;;"+reader+")"+ // Logon Information
		"(OA;;RP;bf967918-0de6-11d0-a285-00aa003049e2;;"+reader+")") // adminCount
	s = scan(t, lab, lab.Reader, false)
	for _, a := range hidden {
		if st := state(s, a); st == forest.Unreadable {
			t.Errorf("%s is unreadable after the grant", a)
		}
	}
}

// Replication metadata must be that of the directory: a change is seen with its
// version and about its time.
func TestMetadataOfDirectory(t *testing.T) {
	lab := labtest.Start(t, labtest.Options{Single: true})
	w := newOU(t, lab, "metadata")
	dn := "CN=changed," + w.dn
	before := time.Now().Add(-2 * time.Second)
	w.add(dn, "user", "sAMAccountName", "meta-changed")
	for _, uac := range []string{"546", "544"} {
		req := ldap.NewModifyRequest(dn, nil)
		req.Replace("userAccountControl", []string{uac})
		if err := w.conn.Modify(req); err != nil {
			t.Fatal(err)
		}
	}
	s := scan(t, lab, lab.Reader, false)
	c, ok := s.LastChange(s.Lookup(dn), forest.UserAccountControl)
	if !ok || c.Version < 2 || c.Time.Before(before) || c.Time.After(time.Now().Add(2*time.Second)) || c.DSA.IsZero() {
		t.Errorf("last change of userAccountControl: %+v %v", c, ok)
	}
}

// An ou is an organizational unit of a test, removed with the test.
type ou struct {
	t    *testing.T
	conn *ldap.Conn
	base string
	dn   string
}

func newOU(t *testing.T, lab *labtest.Lab, name string) *ou {
	t.Helper()
	conn, err := lab.Dial(t.Context(), lab.DCs()[0], lab.Admin)
	if err != nil {
		t.Fatal(err)
	}
	w := &ou{t: t, conn: conn, base: lab.BaseDN, dn: "OU=" + name + "," + lab.BaseDN}
	w.add(w.dn, "organizationalUnit")
	t.Cleanup(func() {
		defer conn.Close()
		c, err := lab.Dial(context.Background(), lab.DCs()[0], lab.Admin)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		if err := c.Del(ldap.NewDelRequest(w.dn, []ldap.Control{ldap.NewControlSubtreeDelete()})); err != nil {
			t.Errorf("removing %s: %v", w.dn, err)
		}
	})
	return w
}

func (w *ou) add(dn, class string, attrs ...string) {
	w.t.Helper()
	req := ldap.NewAddRequest(dn, nil)
	req.Attribute("objectClass", []string{class})
	for i := 0; i < len(attrs); i += 2 {
		if attrs[i] == "member" && !w.exists(attrs[i+1]) {
			w.add(attrs[i+1], "user", "sAMAccountName", "hid-plain")
		}
		req.Attribute(attrs[i], []string{attrs[i+1]})
	}
	if err := w.conn.Add(req); err != nil {
		w.t.Fatalf("adding %s: %v", dn, err)
	}
}

func (w *ou) read(base, filter, attr string, scope int) [][]byte {
	w.t.Helper()
	res, err := w.conn.Search(ldap.NewSearchRequest(base, scope, ldap.NeverDerefAliases, 0, 0, false, filter, []string{attr},
		[]ldap.Control{&ldap.ControlMicrosoftSDFlags{ControlValue: 7}}))
	if err != nil || len(res.Entries) == 0 {
		return nil
	}
	return res.Entries[0].GetRawAttributeValues(attr)
}

func (w *ou) exists(dn string) bool {
	return w.read(dn, "(objectClass=*)", "objectClass", ldap.ScopeBaseObject) != nil
}

func (w *ou) sidOf(account string) string {
	w.t.Helper()
	v := w.read(w.base, "(sAMAccountName="+ldap.EscapeFilter(account)+")", "objectSid", ldap.ScopeWholeSubtree)
	if len(v) != 1 {
		w.t.Fatalf("no SID of %s", account)
	}
	sid, err := secdesc.SIDFromBytes(v[0])
	if err != nil {
		w.t.Fatal(err)
	}
	return sid.String()
}

// deny puts an entry in front of the DACL of dn.
func (w *ou) deny(dn, entry string) {
	w.t.Helper()
	raw := w.read(dn, "(objectClass=*)", "nTSecurityDescriptor", ldap.ScopeBaseObject)
	if len(raw) != 1 {
		w.t.Fatalf("no descriptor of %s", dn)
	}
	d, err := secdesc.Parse(raw[0])
	if err != nil {
		w.t.Fatal(err)
	}
	d = d.Clone()
	d.DACL.ACEs = slices.Insert(d.DACL.ACEs, 0, w.parse("D:"+entry).DACL.ACEs...)
	d.DACL.Revision = 4
	w.write(dn, d)
}

// setDACL replaces the DACL of dn.
func (w *ou) setDACL(dn, sddl string) {
	w.t.Helper()
	w.write(dn, w.parse(sddl))
}

func (w *ou) parse(sddl string) *secdesc.Descriptor {
	w.t.Helper()
	domain, err := secdesc.SIDFromBytes(w.read(w.base, "(objectClass=*)", "objectSid", ldap.ScopeBaseObject)[0])
	if err != nil {
		w.t.Fatal(err)
	}
	d, err := secdesc.ParseSDDL(sddl, domain, domain)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

func (w *ou) write(dn string, d *secdesc.Descriptor) {
	w.t.Helper()
	req := ldap.NewModifyRequest(dn, []ldap.Control{&ldap.ControlMicrosoftSDFlags{ControlValue: 4}})
	req.Replace("nTSecurityDescriptor", []string{string(d.Bytes())})
	if err := w.conn.Modify(req); err != nil {
		w.t.Fatalf("changing the permissions of %s: %v", dn, err)
	}
}
