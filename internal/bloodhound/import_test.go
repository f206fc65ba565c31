package bloodhound

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

var testInfo = forest.Info{Tool: "test", Started: time.Unix(1.7e9, 0), Finished: time.Unix(1.7e9, 0)}

const domainSID = "S-1-5-21-1111111111-2222222222-3333333333"

// example returns the files of the collection in examples/.
func example(t testing.TB) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	names, err := filepath.Glob("../../examples/bloodhound/*.json")
	if err != nil || len(names) == 0 {
		t.Fatal("no example", err)
	}
	for _, n := range names {
		data, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(n)] = data
	}
	return out
}

// snapshotOf reads files, which must be readable.
func snapshotOf(t testing.TB, files map[string][]byte) *forest.Snapshot {
	t.Helper()
	c := NewCollection()
	for _, n := range sortedKeys(files) {
		if err := c.AddJSON(n, bytes.NewReader(files[n])); err != nil {
			t.Fatal(err)
		}
	}
	s, err := c.Snapshot(testInfo)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func find(t testing.TB, s *forest.Snapshot, dn string) forest.ID {
	t.Helper()
	id := s.Lookup(dn)
	if id == forest.None {
		t.Fatalf("no %s", dn)
	}
	return id
}

// The rights in words come out as entries, and everything else as the directory has it.
func TestExample(t *testing.T) {
	s := snapshotOf(t, example(t))
	ben := find(t, s, "CN=Ben,CN=Users,DC=contoso,DC=com")
	d, st := s.Descriptor(ben)
	if st != forest.Known {
		t.Fatal("no descriptor of ben")
	}
	const want = "O:" + domainSID + "-512D:AI(A;;CCDCLCSWRPWPDTLOCRSDRCWDWO;;;" + domainSID + "-512)" +
		"(OA;;CR;00299570-246d-11d0-a768-00aa006e0529;;" + domainSID + "-1110)" +
		"(A;ID;CCDCLCSWRPWPDTLOCRSDRCWDWO;;;" + domainSID + "-519)(A;ID;WD;;;BA)(A;ID;WO;;;BA)"
	wanted, err := secdesc.ParseSDDL(want, secdesc.SID{}, secdesc.SID{})
	if err != nil {
		t.Fatal(err)
	}
	if got := d; !got.DACL.Equal(wanted.DACL) || got.Owner != wanted.Owner {
		t.Errorf("descriptor of ben\n got %s\nwant %s", got.SDDL(secdesc.SID{}), want)
	}
	text := func(dn string, a forest.Attr) string {
		v, _ := s.Strs(find(t, s, dn), a)
		return strings.Join(v, " ")
	}
	if got := text("OU=Servers,DC=contoso,DC=com", forest.GPLink); got != "[LDAP://CN={7E5C7D0E-3F0B-4E0E-9C8D-2B1A7C6D5E4F},CN=POLICIES,CN=SYSTEM,DC=CONTOSO,DC=COM;2]" {
		t.Errorf("gPLink %q", got)
	}
	ca := "CN=CONTOSO-CA,CN=Enrollment Services,CN=Public Key Services,CN=Services,CN=Configuration,DC=contoso,DC=com"
	if got := text(ca, forest.CertificateTemplates); got != "WEBSERVERLEGACY" {
		t.Errorf("certificateTemplates %q", got)
	}
	tmpl := find(t, s, "CN=WebServerLegacy,CN=Certificate Templates,CN=Public Key Services,CN=Services,CN=Configuration,DC=contoso,DC=com")
	if v, _ := s.Int(tmpl, forest.MsPKICertificateNameFlag); v != 1 {
		t.Errorf("name flags %#x", v)
	}
	if v, _ := s.Int(tmpl, forest.MsPKIEnrollmentFlag); v != 9 {
		t.Errorf("enrollment flags %#x", v)
	}
	if _, st := s.Str(find(t, s, ca), forest.CACertificate); st != forest.Unreadable {
		t.Errorf("a thumbprint passes for a certificate: %v", st)
	}
	// A well-known principal is what stands for it in the directory, a stranger a gap.
	pre := find(t, s, "CN=Pre-Windows 2000 Compatible Access,CN=Builtin,DC=contoso,DC=com")
	if m, _ := s.Links(pre, forest.Member); len(m) != 1 || s.SID(m[0]).String() != "S-1-5-11" || s.Class(m[0]) != "foreignSecurityPrincipal" {
		t.Errorf("members of Pre-Windows 2000: %v", m)
	}
	if out := s.LinksOutside(find(t, s, "CN=Web Admins,CN=Users,DC=contoso,DC=com"), forest.Member); len(out) != 1 || !strings.Contains(out[0], "S-1-5-21-9-9-9-1200") {
		t.Errorf("members from elsewhere: %v", out)
	}
	// Known to be none, and not known, are different.
	if _, st := s.Str(ben, forest.ServicePrincipalName); st != forest.Absent {
		t.Errorf("servicePrincipalName of ben is %v", st)
	}
	if _, st := s.Str(ben, forest.UserPrincipalName); st != forest.Unreadable {
		t.Errorf("userPrincipalName of ben is %v", st)
	}
	if _, st := s.Int(pre, forest.UserAccountControl); st != forest.Unreadable {
		t.Errorf("userAccountControl of a group is %v: it was not asked for", st)
	}
	gmsa := find(t, s, "CN=gmsa-web$,CN=Users,DC=contoso,DC=com")
	if r, st := s.Desc(gmsa, forest.MsDSGroupMSAMembership); st != forest.Known || len(r.DACL.ACEs) != 1 {
		t.Errorf("readers of the service account: %v", st)
	}
}

// What a collection cannot carry is stated.
func TestExampleCoverage(t *testing.T) {
	s := snapshotOf(t, example(t))
	for _, subject := range []string{forest.SubjectDescriptor, forest.SubjectSchema, "groupType", "msLAPS-PasswordExpirationTime"} {
		if _, ok := s.Assumed(subject); !ok {
			t.Errorf("%s is not said to be assumed", subject)
		}
	}
	if _, ok := s.Assumed("userAccountControl"); ok {
		t.Error("version 6 has userAccountControl; nothing is assumed")
	}
	got := map[string]forest.Coverage{}
	for _, c := range s.Coverage() {
		if c.Complete() {
			t.Errorf("%+v says complete", c)
		}
		got[c.Subject] = c
	}
	if c := got["right ManageCA"]; c.Count != 1 {
		t.Errorf("ManageCA: %+v", c)
	}
	if c := got["sessions, local groups, user rights"]; c.Count != 2 || c.Area != forest.AreaHost {
		t.Errorf("host facts: %+v", c)
	}
	if c := got["SYSVOL"]; c.State != "not collected" {
		t.Errorf("SYSVOL: %+v", c)
	}
	// It survives the file.
	var b bytes.Buffer
	if err := s.Write(&b); err != nil {
		t.Fatal(err)
	}
	again, err := forest.Read(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := again.Assumed(forest.SubjectDescriptor); !ok {
		t.Error("the file forgets what is assumed")
	}
}

// Who reaches Tier 0 by which first step; dora needs a smart card and carl is
// disabled, so that a new password gives nobody their identity.
func TestExampleReach(t *testing.T) {
	s := snapshotOf(t, example(t))
	g := reach.NewGraph(reach.New(s), nil)
	admins := find(t, s, "CN=Domain Admins,CN=Users,DC=contoso,DC=com")
	r := g.WhoCan([]forest.ID{admins})
	for name, want := range map[string]bool{"anna": true, "ben": true, "svc-sql": true, "old-admin": true, "carl": false} {
		id := find(t, s, "CN="+name+",CN=Users,DC=contoso,DC=com")
		p := r.Path(id)
		direct := len(p) > 0 && !slices.ContainsFunc(p, func(h reach.Hop) bool { return h.Kind == reach.Enrolls })
		if direct != want {
			t.Errorf("%s reaches Domain Admins without certificates: %v, want %v (%v)", name, direct, want, p)
		}
	}
	anna := find(t, s, "CN=anna,CN=Users,DC=contoso,DC=com")
	gained := g.Gains(anna, false)
	has := func(dn string) bool {
		id := find(t, s, dn)
		for _, x := range gained {
			if x == id {
				return true
			}
		}
		return false
	}
	if !has("CN=SQL01,OU=Servers,DC=contoso,DC=com") {
		t.Error("anna reads the password of SQL01 as a member of Help Desk")
	}
}

// Every right in words stands for entries on definitions that the schema has.
func TestRightsAreInTheSchema(t *testing.T) {
	files := example(t)
	schema := snapshotOf(t, files).Schema()
	for word, g := range grants {
		for _, ty := range g.types {
			if schema.NameOf(ty) == "" {
				t.Errorf("%s: the schema has no %s", word, ty)
			}
		}
		if g.mask == 0 {
			t.Errorf("%s grants nothing", word)
		}
	}
}

// Version 5 lacks what version 6 has; it is put together, or not known.
func TestVersion5(t *testing.T) {
	files := map[string][]byte{
		"users.json": []byte(`{"data":[{"ObjectIdentifier":"S-1-5-21-1-2-3-1103","PrimaryGroupSID":"S-1-5-21-1-2-3-513","Properties":{"name":"ANNA@A.TEST","domain":"A.TEST",
			"distinguishedname":"CN=ANNA,CN=USERS,DC=A,DC=TEST","enabled":false,"dontreqpreauth":true,"samaccountname":"anna","serviceprincipalnames":[]},"Aces":[]}],"meta":{"methods":0,"type":"users","count":1,"version":5}}`),
		"domains.json": []byte("\ufeff" + `{"meta":{"type":"domains","count":1,"version":5},"data":[{"ObjectIdentifier":"S-1-5-21-1-2-3","Properties":{"name":"A.TEST","domain":"A.TEST","distinguishedname":"DC=A,DC=TEST","functionallevel":"2012 R2"},
			"Trusts":[{"TargetDomainSid":"S-1-5-21-4-5-6","TargetDomainName":"B.TEST","IsTransitive":false,"TrustDirection":2,"TrustType":3,"SidFilteringEnabled":true}],
			"Aces":[{"PrincipalSID":"A.TEST-S-1-5-32-544","PrincipalType":"Group","RightName":"Owns","IsInherited":false}]}]}`),
	}
	s := snapshotOf(t, files)
	anna := find(t, s, "CN=ANNA,CN=USERS,DC=A,DC=TEST")
	if v, _ := s.Int(anna, forest.UserAccountControl); v != 0x400202 {
		t.Errorf("userAccountControl %#x", v)
	}
	if _, ok := s.Assumed("userAccountControl"); !ok {
		t.Error("userAccountControl is not said to be assumed")
	}
	if _, st := s.Descriptor(anna); st != forest.Unreadable {
		t.Errorf("the descriptor of anna is %v: no right was collected", st)
	}
	id := find(t, s, "CN=b.test,CN=System,DC=A,DC=TEST")
	if v, _ := s.Int(id, forest.TrustDirection); v != 2 {
		t.Errorf("trustDirection %d", v)
	}
	if v, _ := s.Int(id, forest.TrustAttributes); v != 5 {
		t.Errorf("trustAttributes %#x", v)
	}
	if d, _ := s.Descriptor(find(t, s, "DC=A,DC=TEST")); d.Owner != secdesc.Administrators {
		t.Errorf("owner of the domain %s", d.Owner)
	}
	if v, _ := s.Int(s.Domains()[0].Head, forest.MsDSBehaviorVersion); v != 6 {
		t.Errorf("functional level %d", v)
	}
}

const oneDomain = `{"ObjectIdentifier":"S-1-5-21-1-2-3","Properties":{"domain":"A.TEST","distinguishedname":"DC=A,DC=TEST"},"Aces":[]}`

// Files that are not what they seem are refused, with the place.
func TestRefused(t *testing.T) {
	domain := `{"meta":{"type":"domains","count":1,"version":6},"data":[` + oneDomain + `]}`
	for name, c := range map[string]struct {
		files []string
		want  error
		text  string
	}{
		"cut":         {[]string{domain[:60]}, forest.ErrTruncated, "offset "},
		"count":       {[]string{strings.Replace(domain, `"count":1`, `"count":7`, 1)}, forest.ErrTruncated, "holds 7 domains, and holds 1"},
		"version 4":   {[]string{strings.Replace(domain, `"version":6`, `"version":4`, 1)}, ErrCollection, "meta version 4"},
		"azure":       {[]string{strings.Replace(domain, `"domains"`, `"azure"`, 1)}, ErrCollection, `meta type "azure"; known are aiacas`},
		"OpenGraph":   {[]string{`{"graph":{"nodes":[]}}`}, ErrCollection, "OpenGraph"},
		"no meta":     {[]string{`{"data":[]}`}, ErrCollection, `no "meta"`},
		"no data":     {[]string{`{"meta":{"type":"users","version":6}}`}, ErrCollection, `no "data"`},
		"type":        {[]string{strings.Replace(domain, `"Aces":[]`, `"Aces":[{"RightName":7}]`, 1)}, ErrCollection, "RightName is of JSON type number"},
		"syntax":      {[]string{strings.Replace(domain, `"Aces":[]`, `"Aces":[}`, 1)}, ErrCollection, fmt.Sprintf("offset %d: not a SharpHound collection: JSON", strings.Index(domain, `{"Obj`))},
		"more":        {[]string{domain + "{}"}, ErrCollection, "something follows"},
		"name":        {[]string{strings.Replace(domain, `DC=A,DC=TEST`, `=,`, 1)}, ErrCollection, "distinguishedname of S-1-5-21-1-2-3"},
		"UTF-16":      {[]string{"\xff\xfe{\x00"}, ErrCollection, "UTF-16"},
		"Latin-1":     {[]string{strings.Replace(domain, `A.TEST`, "\xe9.TEST", 1)}, ErrCollection, "not UTF-8"},
		"two meta":    {[]string{`{"meta":{"type":"users","version":6},"meta":{"type":"users","version":6},"data":[]}`}, ErrCollection, `second "meta"`},
		"array":       {[]string{`[]`}, ErrCollection, "begins with [ instead of an object"},
		"empty":       {[]string{`{}`}, ErrCollection, `no "meta"`},
		"meta":        {[]string{`{"meta":[]}`}, ErrCollection, "offset 8: not a SharpHound collection: what stands there is of JSON type array"},
		"conflict":    {[]string{domain, strings.Replace(domain, `"Aces":[]`, `"Aces":[],"IsDeleted":false`, 1)}, ErrConflict, "is in f0 too"},
		"versions":    {[]string{domain, `{"meta":{"type":"users","count":0,"version":5},"data":[]}`}, ErrConflict, "version 5, and f0 has 6"},
		"two forests": {[]string{domain, strings.NewReplacer("1-2-3", "4-5-6", "A.TEST", "B.TEST", "DC=A", "DC=B").Replace(domain)}, ErrConflict, "one forest"},
		"no domain":   {[]string{`{"meta":{"type":"users","count":0,"version":6},"data":[]}`}, ErrIncomplete, "no domain is among"},
	} {
		t.Run(name, func(t *testing.T) {
			col, err := NewCollection(), error(nil)
			for i, f := range c.files {
				if err == nil {
					err = col.AddJSON("f"+string(rune('0'+i)), strings.NewReader(f))
				}
			}
			if err == nil {
				_, err = col.Snapshot(testInfo)
			}
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v, want %v with %q", err, c.want, c.text)
			}
		})
	}
}

// The same file twice is one.
func TestSameFileTwice(t *testing.T) {
	files := example(t)
	files["again_users.json"] = files["users.json"]
	if a, b := snapshotOf(t, files), snapshotOf(t, example(t)); a.Len() != b.Len() {
		t.Errorf("%d objects, want %d", a.Len(), b.Len())
	}
}

// archive makes a zip file.
func archive(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range sortedKeys(files) {
		f, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestZip(t *testing.T) {
	files := example(t)
	files["notes.txt"] = []byte("x")
	data := archive(t, files)
	c := NewCollection()
	if err := c.AddZip("all.zip", bytes.NewReader(data), int64(len(data))); err != nil {
		t.Fatal(err)
	}
	s, err := c.Snapshot(testInfo)
	if err != nil {
		t.Fatal(err)
	}
	if want := snapshotOf(t, example(t)); s.Len() != want.Len() {
		t.Errorf("%d objects, want %d", s.Len(), want.Len())
	}
	bomb := append([]byte(`{"x":"`), bytes.Repeat([]byte("a"), freeBytes*10)...)
	encrypted := archive(t, map[string][]byte{"users.json": []byte("{}")})
	for _, at := range []int{6, bytes.Index(encrypted, []byte("PK\x01\x02")) + 8} {
		encrypted[at] |= 1
	}
	damaged := bytes.Clone(data)
	copy(damaged[60:], bytes.Repeat([]byte{0xFF}, 40)) // in what the first file packs to
	spoilt := stored(t, "users.json", files["users.json"])
	spoilt[bytes.Index(spoilt, []byte(`"data"`))] = '?' // no JSON any more, but by damage
	length := bytes.Clone(data)
	copy(length[bytes.Index(length, []byte("PK\x07\x08"))+4:], "....") // the first file's own checksum
	for name, c := range map[string]struct {
		data []byte
		want error
		text string
	}{
		"spoilt":    {spoilt, ErrDamaged, "users.json: the archive is damaged: "},
		"checksum":  {length, ErrDamaged, "aiacas.json: the archive is damaged: "},
		"bomb":      {archive(t, map[string][]byte{"users.json": bomb}), ErrLimit, "more than is plausible"},
		"nested":    {archive(t, map[string][]byte{"more.zip": data}), ErrCollection, "archive within an archive"},
		"empty":     {archive(t, map[string][]byte{"a.txt": nil}), ErrCollection, "holds no JSON"},
		"cut":       {data[:len(data)/2], forest.ErrTruncated, "does not end with the list of its files"},
		"damaged":   {damaged, ErrDamaged, "aiacas.json: "},
		"encrypted": {encrypted, ErrCollection, "users.json: not a SharpHound collection: it is encrypted"},
		"place":     {archive(t, map[string][]byte{"users.json": []byte(`{"meta":7}`)}), ErrCollection, "users.json: offset "},
	} {
		err := NewCollection().AddZip("x.zip", bytes.NewReader(c.data), int64(len(c.data)))
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %v with %q", name, err, c.want, c.text)
		}
	}
}

// Whatever the bytes are, there is a snapshot or an error of a known kind.
func FuzzCollection(f *testing.F) {
	files := example(f)
	for _, name := range sortedKeys(files) {
		f.Add(files[name])
	}
	f.Add([]byte(`{"meta":{"type":"domains","version":5},"data":[` + oneDomain + `]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := NewCollection()
		if err := c.AddJSON("x_domains.json", bytes.NewReader([]byte(`{"meta":{"type":"domains","count":1,"version":6},"data":[`+oneDomain+`]}`))); err != nil {
			t.Fatal(err)
		}
		if err := c.AddJSON("x", bytes.NewReader(data)); err != nil {
			if !errors.Is(err, ErrCollection) && !errors.Is(err, ErrLimit) && !errors.Is(err, ErrConflict) && !errors.Is(err, forest.ErrTruncated) {
				t.Errorf("an error of no kind: %v", err)
			}
			return
		}
		// As Snapshot does, but for the schema, which would be all that takes time.
		_, err := c.rootDomain()
		if err == nil {
			b := forest.NewBuilder(testInfo)
			c.resolve()
			if err = c.build(b); err == nil {
				c.cover(b)
				_, err = b.Build()
			}
		}
		if err != nil && !errors.Is(err, ErrConflict) && !errors.Is(err, ErrCollection) && !errors.Is(err, ErrIncomplete) && !errors.Is(err, forest.ErrDuplicate) {
			t.Errorf("read, but no snapshot: %v", err)
		}
	})
}

// stored packs one file without compressing it.
func stored(t *testing.T, name string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
	if err == nil {
		_, err = f.Write(data)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
