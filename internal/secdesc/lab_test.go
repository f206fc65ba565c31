package secdesc

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/lab/need"
)

// The oracle of these tests is Samba: its NDR, its SDDL, its rules of
// inheritance and its access checks, on the database of a real domain controller.
// LEASTWISE_LAB names the folders of running labs; without it the tests provision
// a domain of their own, which nothing serves and which vanishes with the test.

// labPython is Debian's interpreter: only that one has python3-samba.
const labPython = "/usr/bin/python3"

type labJob struct {
	Conf       string      `json:"conf"`
	SamDB      string      `json:"samdb"`
	Texts      []string    `json:"texts"`
	Create     []labObject `json:"create"`
	Change     []labChange `json:"change"`
	Access     []string    `json:"access"` // descriptors in hexadecimal
	Attributes []string    `json:"attributes"`
}

type labObject struct {
	RDN    string `json:"rdn"`
	Class  string `json:"class"`
	Parent int    `json:"parent"` // 0: the test's own OU, else the index of an object plus one
	As     string `json:"as"`     // user or admin
	SD     string `json:"sd"`     // asked for, in hexadecimal
}

type labChange struct {
	Object int    `json:"object"`
	SD     string `json:"sd"`
}

type labAnswer struct {
	Domain     string            `json:"domain"`
	Dump       map[string]string `json:"dump"`
	Sysvol     map[string]string `json:"sysvol"`
	Texts      []labText         `json:"texts"`
	Classes    map[string]labClass
	Attributes map[string]labAttribute
	Token      []string
	Created    []struct{ Parent, Got string }
	Changed    [][]string
	Effective  []labEffective
}

type labText struct{ Hex, Text string }

type labClass struct {
	GUID, SDDL, Text string
	Refused          bool // Samba cannot read the text
}

type labAttribute struct{ GUID, Set string }

type labEffective struct {
	SD       string
	Visible  bool
	Readable []string
	Writable []string
	SDRights int
}

// A labDatabase is that of one domain controller, with its smb.conf.
type labDatabase struct{ name, samdb, conf string }

// labDatabases finds the databases of the first domain controllers of all labs that
// LEASTWISE_LAB names, or makes one.
func labDatabases(t *testing.T) []labDatabase {
	t.Helper()
	need.Python(t, "samba.samdb")
	if os.Geteuid() != 0 {
		need.Missing(t, errors.New("reading the database of a domain controller needs root"))
	}
	var out []labDatabase
	for _, dir := range filepath.SplitList(os.Getenv("LEASTWISE_LAB")) {
		found, _ := filepath.Glob(filepath.Join(dir, "*/private/sam.ldb"))
		if len(found) == 0 {
			t.Fatalf("LEASTWISE_LAB names %s, which has no domain controller's private/sam.ldb", dir)
		}
		out = append(out, labDatabase{name: filepath.Base(dir), samdb: found[0], conf: filepath.Join(filepath.Dir(filepath.Dir(found[0])), "etc", "smb.conf")})
	}
	if len(out) > 0 {
		return out
	}
	need.Long(t) // provisioning a domain
	tool, err := exec.LookPath("samba-tool")
	if err != nil {
		need.Missing(t, fmt.Errorf("there is no samba-tool (Debian: samba samba-ad-dc samba-ad-provision): %w", err))
	}
	dir := filepath.Join(t.TempDir(), "dc1")
	said, err := exec.Command(tool, "domain", "provision", "--realm=CONTOSO.TEST", "--domain=CONTOSO", "--server-role=dc",
		"--dns-backend=SAMBA_INTERNAL", "--host-name=dc1", "--host-ip=127.0.20.1", "--targetdir="+dir,
		"--option=interfaces=127.0.20.1/8", "--option=bind interfaces only=yes").CombinedOutput()
	if err != nil {
		t.Fatalf("provisioning a domain: %v\n%s", err, said)
	}
	return []labDatabase{{"own", filepath.Join(dir, "private", "sam.ldb"), filepath.Join(dir, "etc", "smb.conf")}}
}

// askOracle runs one job.
func askOracle(t *testing.T, job labJob) labAnswer {
	t.Helper()
	in, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(labPython, "testdata/oracle.py")
	cmd.Stdin = bytes.NewReader(in)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("asking Samba: %v\n%s", err, stderr.String())
	}
	var a labAnswer
	if err := json.Unmarshal(out, &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// generator draws descriptors that Samba has a text form for.
type generator struct {
	*rand.Rand
	sids   []SID
	owners []SID
	guids  []GUID // object types
	heirs  []GUID // inherited object types
	audit  bool   // draw audit entries
	// masks are drawn from; no control access in entries with an object type,
	// where Samba's access check goes its own way.
	masks []Mask
}

func pick[T any](g generator, from []T) T { return from[g.IntN(len(from))] }

func (g generator) ace() ACE {
	types := []ACEType{Allow, Allow, Deny, AllowObject, AllowObject, DenyObject}
	if g.audit {
		types = []ACEType{Audit, AuditObject}
	}
	a := ACE{Type: pick(g, types), SID: pick(g, g.sids), Mask: pick(g, g.masks)}
	a.Flags = ACEFlags(g.IntN(0x20))
	if g.IntN(2) == 0 {
		a.Flags = pick(g, []ACEFlags{0, ContainerInherit, ContainerInherit | InheritOnly})
	}
	if g.audit {
		a.Flags |= pick(g, []ACEFlags{SuccessfulAccess, FailedAccess, SuccessfulAccess | FailedAccess})
	}
	if a.Type.IsObject() {
		if g.IntN(4) > 0 {
			a.ObjectType = pick(g, g.guids)
		}
		if g.IntN(2) == 0 {
			a.InheritedObjectType = pick(g, g.heirs)
		}
	}
	return a
}

func (g generator) acl(n int) *ACL {
	a := &ACL{Revision: ACLRevisionDS}
	for range n {
		a.ACEs = append(a.ACEs, g.ace())
	}
	return a
}

// descriptor draws owner, group and both lists.
func (g generator) descriptor() *Descriptor {
	d := &Descriptor{Control: SelfRelative | DACLPresent, Owner: pick(g, g.owners), Group: pick(g, g.owners), DACL: g.acl(g.IntN(7))}
	d.Control |= pick(g, []Control{0, 0, DACLProtected, DACLAutoInherited, DACLAutoInheritReq, DACLProtected | DACLAutoInherited})
	if g.IntN(3) == 0 {
		h := g
		h.audit, h.masks = true, []Mask{WriteProperty, WriteDAC | WriteOwner, ControlAccess}
		d.SACL = h.acl(g.IntN(3))
		d.Control |= SACLPresent | pick(g, []Control{0, SACLProtected, SACLAutoInherited})
	}
	return d
}

func (d *Descriptor) hex() string { return hex.EncodeToString(d.Bytes()) }

func parseHex(t *testing.T, s string) *Descriptor {
	t.Helper()
	d, err := Parse(unhex(t, s))
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return d
}

// masksOf are drawn for inheritance and text; those of access checks leave out
// control access and generic rights that contain it.
var masksOf = []Mask{
	ReadProperty, WriteProperty, ReadProperty | WriteProperty, ControlAccess, CreateChild | DeleteChild, GenericAll, GenericRead,
	GenericWrite | Delete, GenericExecute, FullControl, WriteDAC | WriteOwner, Delete | DeleteTree, ListContents | ListObject | ReadControl, 0x1F01FF, 0,
}

func newGenerator(seed uint64, domain SID) generator {
	g := generator{Rand: rand.New(rand.NewPCG(seed, 0)), masks: masksOf}
	for _, s := range []string{"DA", "EA", "BA", "SY", "AU", "WD", "CO", "CG", "PS", "OW", "AO", "RU", "LA", "DC"} {
		sid, err := ParseSIDSDDL(s, domain, domain)
		if err != nil {
			panic(err)
		}
		g.sids = append(g.sids, sid)
	}
	g.sids = append(g.sids, domain.Child(1104))
	g.owners = slices.DeleteFunc(slices.Clone(g.sids), func(s SID) bool { return s == CreatorOwner || s == CreatorGroup })
	for _, s := range []string{
		"bf967aba-0de6-11d0-a285-00aa003049e2", // user
		"bf967a9c-0de6-11d0-a285-00aa003049e2", // group
		"bf967a86-0de6-11d0-a285-00aa003049e2", // computer
		"bf967aa5-0de6-11d0-a285-00aa003049e2", // organizationalUnit
	} {
		g.heirs = append(g.heirs, MustGUID(s))
	}
	g.guids = append(slices.Clone(g.heirs), attrMember,
		MustGUID("77b5b886-944a-11d1-aebd-0000f80367c1"), // Personal-Information
		MustGUID("bf967950-0de6-11d0-a285-00aa003049e2"), // description
	)
	return g
}

// labTree draws objects below the test's OU: organizational units within each
// other, and things within them.
func labTree(g generator) []labObject {
	var out []labObject
	ous := []int{0}
	for i := range 120 {
		o := labObject{Parent: pick(g, ous), As: "admin", Class: pick(g, []string{"organizationalUnit", "user", "group", "computer"})}
		kind := "CN"
		if o.Class == "organizationalUnit" {
			kind = "OU"
			ous = append(ous, i+1)
		}
		o.RDN = fmt.Sprintf("%s=o%d", kind, i)
		switch g.IntN(4) {
		case 0: // whatever the class gives
		case 1:
			if o.Parent == 0 {
				o.As = "user" // who may create children there
				break
			}
			fallthrough
		default:
			o.SD = g.descriptor().hex()
		}
		out = append(out, o)
	}
	return out
}

// TestLabOracle compares everything in this package with Samba: bytes and text of
// every descriptor of the directory and of SYSVOL, thousands of texts, the
// descriptors of new and changed objects and of their children, and what a user
// may read and write.
func TestLabOracle(t *testing.T) {
	for i, db := range labDatabases(t) {
		t.Run(db.name, func(t *testing.T) {
			a := askOracle(t, labJob{Conf: db.conf, SamDB: db.samdb})
			domain := MustSID(a.Domain)
			t.Run("directory", func(t *testing.T) { checkDump(t, domain, a.Dump, 50) })
			t.Run("sysvol", func(t *testing.T) { checkDump(t, domain, a.Sysvol, 1) })
			if i == 0 { // other tests compare what the further labs hold
				compareWithOracle(t, db.samdb, db.conf, domain)
			}
		})
	}
}

// compareWithOracle makes objects in the directory, and removes them.
func compareWithOracle(t *testing.T, samdb, conf string, domain SID) {
	t.Helper()
	job := labJob{Conf: conf, SamDB: samdb, Attributes: []string{
		"description", "telephoneNumber", "givenName", "mail", "info", "displayName", "scriptPath", "streetAddress",
	}}
	g := newGenerator(1, domain)
	for len(job.Texts) < 4000 {
		d := g.descriptor()
		if len(d.DACL.ACEs) == 0 && d.SACL != nil {
			continue // Samba takes the S of "D:AIS:" for a flag
		}
		job.Texts = append(job.Texts, d.SDDL(domain))
	}
	job.Create = labTree(g)
	for range 25 {
		job.Change = append(job.Change, labChange{Object: 1 + g.IntN(len(job.Create)), SD: g.descriptor().hex()})
	}
	job.Access = labAccess(newGenerator(2, domain), domain)
	a := askOracle(t, job)

	t.Run("classes", func(t *testing.T) { checkClasses(t, domain, a.Classes) })
	t.Run("texts", func(t *testing.T) { checkTexts(t, domain, job.Texts, a.Texts) })
	t.Run("created", func(t *testing.T) { checkCreated(t, domain, job.Create, a) })
	t.Run("changed", func(t *testing.T) { checkChanged(t, domain, job, a) })
	t.Run("access", func(t *testing.T) { checkAccess(t, domain, job.Attributes, a) })
}

func checkDump(t *testing.T, domain SID, dump map[string]string, atLeast int) {
	if len(dump) < atLeast {
		t.Fatalf("only %d descriptors", len(dump))
	}
	for h, want := range dump {
		d := parseHex(t, h)
		if got := d.hex(); got != h {
			t.Errorf("bytes changed from %s to %s", h, got)
		}
		if got := d.SDDL(domain); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	t.Logf("%d distinct descriptors", len(dump))
}

// checkClasses reads every defaultSecurityDescriptor of the schema.
func checkClasses(t *testing.T, domain SID, classes map[string]labClass) {
	n := 0
	for name, c := range classes {
		if c.SDDL == "" {
			continue
		}
		n++
		d, err := ParseSDDL(c.SDDL, domain, domain)
		if c.Refused {
			t.Logf("%s: Samba refuses %s; here %v", name, c.SDDL, err)
		} else if err != nil {
			t.Errorf("%s: %s: %v", name, c.SDDL, err)
		} else if got := d.SDDL(domain); got != c.Text {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, c.Text)
		}
	}
	if n < 100 {
		t.Errorf("only %d classes have a descriptor", n)
	}
}

// checkTexts compares both readers of SDDL by their bytes and texts. Samba gives
// all lists revision 4.
func checkTexts(t *testing.T, domain SID, texts []string, answers []labText) {
	for i, s := range texts {
		d, err := ParseSDDL(s, domain, domain)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		for _, a := range []*ACL{d.DACL, d.SACL} {
			if a != nil {
				a.Revision = ACLRevisionDS
			}
		}
		theirs := parseHex(t, answers[i].Hex)
		if theirs.hex() != answers[i].Hex || !theirs.Equal(d) {
			t.Errorf("%s:\ngot  %s\nwant %s", s, d.hex(), answers[i].Hex)
		}
		if got := d.SDDL(domain); got != answers[i].Text || got != s {
			t.Errorf("got  %s\nwant %s\nfrom %s", got, answers[i].Text, s)
		}
	}
}

// labDefaults are what the class and the creator give to a new object.
func labDefaults(t *testing.T, domain SID, o labObject, a labAnswer) (Defaults, []GUID) {
	t.Helper()
	c := a.Classes[o.Class]
	d, err := ParseSDDL(c.SDDL, domain, domain)
	if err != nil {
		t.Fatal(err)
	}
	def := Defaults{Descriptor: d}
	token := func(SID) bool { return true } // the session of the domain's Administrator
	if o.As == "user" {
		held := a.Token
		token = func(s SID) bool { return slices.Contains(held, s.String()) }
		def.User, def.PrimaryGroup = MustSID(held[0]), MustSID(held[1])
	}
	def.Administrators = DefaultAdministrators(DomainNC, domain, domain, token)
	return def, []GUID{MustGUID(c.GUID)}
}

// forgetAudit clears the audit flags of entries where Samba lost them: it clears
// all flags of an entry that it expands, and so makes an audit entry that no
// longer audits. Windows clears only those of inheritance, and so do we.
func forgetAudit(got, samba *Descriptor) *Descriptor {
	if got.SACL == nil || samba.SACL == nil || len(got.SACL.ACEs) != len(samba.SACL.ACEs) {
		return got
	}
	got = got.Clone()
	for i, a := range samba.SACL.ACEs {
		if a.Type.IsAudit() && a.Flags&(SuccessfulAccess|FailedAccess) == 0 {
			got.SACL.ACEs[i].Flags &^= SuccessfulAccess | FailedAccess
		}
	}
	return got
}

func requested(t *testing.T, sd string) *Descriptor {
	t.Helper()
	if sd == "" {
		return nil
	}
	return parseHex(t, sd)
}

func checkCreated(t *testing.T, domain SID, objects []labObject, a labAnswer) {
	for i, o := range objects {
		def, classes := labDefaults(t, domain, o, a)
		parent, want := parseHex(t, a.Created[i].Parent), parseHex(t, a.Created[i].Got)
		asked := requested(t, o.SD)
		if got := forgetAudit(Create(parent, asked, classes, def), want); !got.Equal(want) {
			t.Errorf("%s of class %s by %s\nparent %s\ngot    %04x %s\nwant   %04x %s", o.RDN, o.Class, o.As,
				parent.SDDL(domain), got.Control, got.SDDL(domain), want.Control, want.SDDL(domain))
			if asked != nil {
				t.Logf("asked  %s", asked.SDDL(domain))
			}
		}
	}
}

// checkChanged follows each change of a descriptor down the tree.
func checkChanged(t *testing.T, domain SID, job labJob, a labAnswer) {
	now := []*Descriptor{parseHex(t, a.Created[0].Parent)}
	for _, c := range a.Created {
		now = append(now, parseHex(t, c.Got))
	}
	moved := 0
	for n, change := range job.Change {
		for i := 1; i < len(now); i++ {
			o := job.Create[i-1]
			def, classes := labDefaults(t, domain, o, a)
			got := Propagate(now[o.Parent], now[i], classes)
			if i == change.Object {
				got = Create(now[o.Parent], parseHex(t, change.SD), classes, def)
			}
			if !got.Equal(now[i]) && i != change.Object {
				moved++
			}
			want := parseHex(t, a.Changed[n][i])
			if got = forgetAudit(got, want); !got.Equal(want) {
				t.Errorf("change %d of %d: object %d\ngot  %04x %s\nwant %04x %s", n, change.Object, i,
					got.Control, got.SDDL(domain), want.Control, want.SDDL(domain))
			}
			now[i] = want
		}
	}
	if moved < 10 {
		t.Errorf("only %d descriptors changed because of their parent's", moved)
	}
}

// labAccess draws descriptors of objects that the test's user asks about. Some
// are owned by a group that it is in.
func labAccess(g generator, domain SID) []string {
	g.masks = []Mask{
		ReadProperty, WriteProperty, ReadProperty | WriteProperty, GenericRead, WriteDAC, WriteOwner,
		ReadProperty | WriteProperty | WriteDAC, ListObject, ReadControl,
	}
	g.sids = []SID{Everyone, AuthenticatedUsers, domain.Child(RIDDomainUsers), domain.Child(RIDDomainAdmins), Self, Users}
	g.guids = []GUID{
		classUser,
		MustGUID("bf967950-0de6-11d0-a285-00aa003049e2"), // description
		MustGUID("bf967a49-0de6-11d0-a285-00aa003049e2"), // telephoneNumber
		MustGUID("77b5b886-944a-11d1-aebd-0000f80367c1"), // Personal-Information
		MustGUID("e48d0154-bcf8-11d1-8702-00c04fb96050"), // Public-Information
		MustGUID("59ba2f42-79a2-11d0-9020-00c04fc2d3cf"), // General-Information
		MustGUID("bf9679a8-0de6-11d0-a285-00aa003049e2"), // scriptPath
	}
	var out []string
	for range 120 {
		d := &Descriptor{
			Control: SelfRelative | DACLPresent | DACLProtected,
			Owner:   domain.Child(RIDDomainAdmins), Group: domain.Child(RIDDomainAdmins),
			DACL: g.acl(1 + g.IntN(8)),
		}
		if g.IntN(5) == 0 {
			d.Owner = domain.Child(RIDDomainUsers)
		}
		out = append(out, d.hex())
	}
	return out
}

func checkAccess(t *testing.T, domain SID, names []string, a labAnswer) {
	token := func(s SID) bool { return slices.Contains(a.Token, s.String()) }
	readable, writable := 0, 0
	if len(a.Effective) > 0 && a.Effective[0].Readable == nil {
		t.Log("READING NOT COMPARED: no server runs on this database (set LEASTWISE_LAB)")
	}
	for _, e := range a.Effective {
		if !e.Visible {
			t.Errorf("the object was not visible")
			continue
		}
		d := parseHex(t, e.SD)
		for _, name := range names {
			target := ReadTarget{Classes: []GUID{classUser}, Attribute: MustGUID(a.Attributes[name].GUID)}
			types := []GUID{classUser, target.Attribute}
			if set := a.Attributes[name].Set; set != "" {
				target.PropertySet = MustGUID(set)
				types = append(types, target.PropertySet)
			}
			got, by := CanRead(d, token, target)
			if want := slices.Contains(e.Readable, name); e.Readable != nil && got != want {
				t.Errorf("reading %s: got %v by %v, want %v: %s", name, got, by, want, d.SDDL(domain))
			}
			r := d.Access(token, Request{Mask: WriteProperty, Types: types})
			if want := slices.Contains(e.Writable, name); (r.Outcome == Granted) != want {
				t.Errorf("writing %s: got %+v, want %v: %s", name, r, want, d.SDDL(domain))
			}
			readable += btoi(got)
			writable += btoi(r.Outcome == Granted)
		}
		for right, bit := range map[Mask]int{WriteOwner: 1, WriteDAC: 4} {
			r := d.Access(token, Request{Mask: right, Types: []GUID{classUser}})
			if want := e.SDRights&bit != 0; (r.Outcome == Granted) != want {
				t.Errorf("%v: got %+v, want %v: %s", right, r, want, d.SDDL(domain))
			}
		}
	}
	if n := len(a.Effective) * len(names); readable < n/10 || readable > n*9/10 || writable < n/20 {
		t.Errorf("of %d questions only %d and %d were granted: that shows little", n, readable, writable)
	}
}
