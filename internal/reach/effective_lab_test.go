//go:build linux

package reach_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
	"golang.org/x/sync/errgroup"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
	"github.com/leastwise/leastwise/lab/labtest"
	"github.com/leastwise/leastwise/lab/samba"
)

// envOracle set to "full" makes the tests of this file compare ten random forests
// and perform at least 200 operations of each kind; otherwise they take a sample.
const envOracle = "LEASTWISE_ORACLE"

func fullOracle() bool { return os.Getenv(envOracle) == "full" }

// The directory itself computes for whoever asks what they may write, create and
// change. In random forests, for every pair of a user and an object, its answers
// must be ours; and what we say can be done, and cannot, is done, or refused.
func TestDirectoryAgrees(t *testing.T) {
	lab := labtest.Start(t, labtest.Options{Single: true, Fresh: true}) // nobody else wants its schema, and nobody cleans it up
	n := 2
	if fullOracle() {
		n = 10
	}
	w := newWoods(t, lab, n)
	t.Run("constructed attributes", w.compare)
	t.Run("operations", w.perform)
}

// woods are random forests in a lab, and what we read of them.
type woods struct {
	samba  sync.Map // by index of descriptor: as Samba reads it
	lab    *labtest.Lab
	groves []*grove
	s      *forest.Snapshot
	e      *reach.Effective
	secret string // file with the password of all actors
}

// A deviation is a rule that Samba follows and Windows does not, as a change of the
// descriptor after which the rules of the specification give Samba's answer.
type deviation struct {
	name, why string
	apply     func(d *secdesc.Descriptor, schema *forest.Schema)
}

var deviations = []deviation{
	{
		"owner rights",
		"Samba before 4.18 gives the owner READ_CONTROL and WRITE_DAC whatever entries say of owners, " +
			"and overlooks those entries (libcli/security/access_check.c, sec_access_check_ds); [MS-DTYP] 2.5.3.2 lets them decide",
		func(d *secdesc.Descriptor, _ *forest.Schema) {
			d.DACL.ACEs = slices.DeleteFunc(d.DACL.ACEs, func(a secdesc.ACE) bool { return a.SID == secdesc.OwnerRights })
		},
	},
	{
		"control access",
		"an object entry that allows control access to something in the tree of types grants whatever is asked of it " +
			"(check_object_specific_access); [MS-ADTS] 5.1.3.3.4 lets it grant control access only",
		func(d *secdesc.Descriptor, _ *forest.Schema) {
			for i := range d.DACL.ACEs {
				if a := &d.DACL.ACEs[i]; a.IsAllow() && a.Type.IsObject() && a.Mask.MapGeneric()&secdesc.ControlAccess != 0 {
					a.Mask |= secdesc.FullControl
				}
			}
		},
	},
	{
		"descriptor as attribute",
		"WRITE_DAC and WRITE_OWNER are checked as writes of the attribute nTSecurityDescriptor, so that entries for that attribute count " +
			"(acl_sDRightsEffective, acl_modify); [MS-ADTS] 3.1.1.5.3.1 asks for the right on the object",
		func(d *secdesc.Descriptor, schema *forest.Schema) {
			const both = secdesc.WriteDAC | secdesc.WriteOwner
			attr := schema.Attr("nTSecurityDescriptor")
			var out []secdesc.ACE
			for _, a := range d.DACL.ACEs {
				if named := a.ObjectType == attr.GUID || !attr.PropertySet.IsZero() && a.ObjectType == attr.PropertySet; a.IsObject() && named && a.Mask&both != 0 {
					b := a
					b.Mask, b.ObjectType = a.Mask&both, secdesc.GUID{}
					out = append(out, b)
				}
				out = append(out, a)
			}
			d.DACL.ACEs = out
		},
	},
}

// A mutation breaks a rule of evaluation, as a change of the descriptor after which
// the whole rules give what the broken ones would.
type mutation struct {
	name string
	drop func(a secdesc.ACE, m mutated) bool // entries that the broken rules overlook
	edit func(d *secdesc.Descriptor)         // instead of drop
}

// mutated is what a mutation may look at.
type mutated struct {
	class  secdesc.GUID
	group  bool
	schema *forest.Schema
}

var mutations = []mutation{
	{name: "denies are ignored", drop: func(a secdesc.ACE, _ mutated) bool { return a.IsDeny() }},
	{name: "denies come first", edit: func(d *secdesc.Descriptor) {
		slices.SortStableFunc(d.DACL.ACEs, func(a, b secdesc.ACE) int {
			rank := map[bool]int{true: 0, false: 1}
			return rank[a.IsDeny()] - rank[b.IsDeny()]
		})
	}},
	{name: "inherit-only entries count", edit: func(d *secdesc.Descriptor) {
		for i := range d.DACL.ACEs {
			d.DACL.ACEs[i].Flags &^= secdesc.InheritOnly
		}
	}},
	{name: "object types are ignored", edit: func(d *secdesc.Descriptor) {
		for i := range d.DACL.ACEs {
			d.DACL.ACEs[i].ObjectType = secdesc.GUID{}
		}
	}},
	{name: "object entries are ignored", drop: func(a secdesc.ACE, _ mutated) bool { return a.Type.IsObject() }},
	{name: "property sets are ignored", drop: func(a secdesc.ACE, m mutated) bool {
		r := m.schema.Right(a.ObjectType)
		return a.IsObject() && r != nil && r.ValidAccesses&int64(secdesc.WriteProperty) != 0
	}},
	{name: "the root of the tree of types is ignored", drop: func(a secdesc.ACE, m mutated) bool { return a.ObjectType == m.class }},
	{name: "inherited object types count on the object itself", drop: func(a secdesc.ACE, m mutated) bool {
		return !a.InheritedObjectType.IsZero() && a.InheritedObjectType != m.class
	}},
	{name: "SELF is nobody", drop: func(a secdesc.ACE, _ mutated) bool { return a.SID == secdesc.Self }},
	{name: "SELF is not the members of a group", drop: func(a secdesc.ACE, m mutated) bool { return a.SID == secdesc.Self && m.group }},
	{name: "owners have no rights of their own", edit: func(d *secdesc.Descriptor) { d.Owner = secdesc.SID{} }},
}

// countMutations notes which broken rules the directory's answers would reveal.
func (w *woods) countMutations(account *reach.Account, id forest.ID, d *secdesc.Descriptor, theirs []string, c *tally) {
	if d.DACL == nil {
		return
	}
	m := mutated{group: w.s.IsA(id, "group"), schema: w.s.Schema()}
	if class := m.schema.Class(w.s.Class(id)); class != nil {
		m.class = class.GUID
	}
	for _, mu := range mutations {
		broken := d.Clone()
		if mu.edit != nil {
			mu.edit(broken)
		} else {
			broken.DACL.ACEs = slices.DeleteFunc(broken.DACL.ACEs, func(a secdesc.ACE) bool { return mu.drop(a, m) })
		}
		if !broken.Equal(d) && !slices.Equal(theirs, w.ourAnswers(account, id, broken)) {
			c.mu.Lock()
			c.revealed[mu.name]++
			c.mu.Unlock()
		}
	}
}

// asSamba returns d as Samba reads it, and d itself if it reads it like Windows.
func asSamba(d *secdesc.Descriptor, schema *forest.Schema, which ...deviation) *secdesc.Descriptor {
	if d.DACL == nil {
		return d
	}
	c := d.Clone()
	for _, dev := range which {
		dev.apply(c, schema)
	}
	if c.Equal(d) {
		return d
	}
	return c
}

// asSamba returns the descriptor of id with all deviations.
func (w *woods) asSamba(id forest.ID) *secdesc.Descriptor {
	i, _ := w.s.DescriptorIndex(id)
	if d, ok := w.samba.Load(i); ok {
		return d.(*secdesc.Descriptor)
	}
	d, _ := w.s.Descriptor(id)
	like := asSamba(d, w.s.Schema(), deviations...)
	w.samba.Store(i, like)
	return like
}

const plantGroves = `
import base64, json, os, sys
import ldb
from samba.auth import system_session
from samba.param import LoadParm
from samba.samdb import SamDB
host = json.load(open(os.environ["LAB_FILE"]))["hosts"][0]
lp = LoadParm()
lp.load(host["smb_conf"])
sam = SamDB(url=host["dir"] + "/private/sam.ldb", session_info=system_session(), lp=lp, options=["batch_mode:1"])
sam.transaction_start()
for c in json.load(sys.stdin):
    m = ldb.Message(ldb.Dn(sam, c["dn"]))
    flag = ldb.FLAG_MOD_ADD if c["new"] else ldb.FLAG_MOD_REPLACE
    for k, vs in c["attrs"].items():
        m[k] = ldb.MessageElement([base64.b64decode(v) for v in vs], flag, k)
    try:
        if c["new"]:
            sam.add(m)
        else:
            sam.modify(m, controls=["sd_flags:1:5"])
    except ldb.LdbError as e:
        raise SystemExit("%s: %s" % (c["dn"], e))
sam.transaction_commit()
`

// likeWindows gives the lab the attribute msDS-KeyCredentialLink of Windows Server
// 2016 ([MS-ADA2]), which Samba's schema of 2012 R2 lacks, and lets clients write the
// attribute of resource-based delegation, as Windows does.
const likeWindows = `
import json, os, uuid
import ldb
from samba.auth import system_session
from samba.param import LoadParm
from samba.samdb import SamDB
host = json.load(open(os.environ["LAB_FILE"]))["hosts"][0]
lp = LoadParm()
lp.load(host["smb_conf"])
lp.set("dsdb:schema update allowed", "yes")
sam = SamDB(url=host["dir"] + "/private/sam.ldb", session_info=system_session(), lp=lp)
schema = str(sam.get_schema_basedn())
if not sam.search(base=schema, scope=ldb.SCOPE_ONELEVEL, expression="(lDAPDisplayName=msDS-KeyCredentialLink)", attrs=["cn"]):
    sam.add({"dn": "CN=ms-DS-Key-Credential-Link," + schema, "objectClass": "attributeSchema",
        "lDAPDisplayName": "msDS-KeyCredentialLink", "attributeID": "1.2.840.113556.1.4.2328",
        "attributeSyntax": "2.5.5.7", "oMSyntax": "127", "oMObjectClass": b"\x2a\x86\x48\x86\xf7\x14\x01\x01\x01\x0b",
        "isSingleValued": "FALSE", "systemOnly": "FALSE", "searchFlags": "0", "linkID": "2220",
        "schemaIDGUID": uuid.UUID("5b47d60f-6090-40b2-9f37-2a4de88f3063").bytes_le,
        "attributeSecurityGUID": uuid.UUID("9b026da6-0d3c-465c-8bee-5199d7165cba").bytes_le})
    sam.set_schema_update_now()
    for cls in ("CN=User,", "CN=Computer,"):
        sam.modify(ldb.Message.from_dict(sam, {"dn": cls + schema, "mayContain": ["msDS-KeyCredentialLink"]}, ldb.FLAG_MOD_ADD))
    acting = "CN=ms-DS-Allowed-To-Act-On-Behalf-Of-Other-Identity," + schema
    sam.modify(ldb.Message.from_dict(sam, {"dn": acting, "systemOnly": ["FALSE"]}, ldb.FLAG_MOD_REPLACE), controls=["relax:0"])
    sam.set_schema_update_now()
`

func newWoods(t *testing.T, lab *labtest.Lab, n int) *woods {
	t.Helper()
	w := &woods{lab: lab, secret: filepath.Join(t.TempDir(), "password")}
	password := "Lw1-" + rand.Text()
	if err := os.WriteFile(w.secret, []byte(password), 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	said := func(what string) { t.Logf("%5.1fs %s", time.Since(began).Seconds(), what) }
	lab.Python(likeWindows, nil)
	admin := dial(t, lab, 0)
	before := scan(t, lab, 0)
	said("the schema is read")
	base := "OU=groves," + lab.BaseDN
	changes := []groveChange{groveAdd(base, "organizationalUnit")}
	for i := range n {
		g := newGrove(i, base, before.Schema(), before.Domains()[0].SID)
		w.groves = append(w.groves, g)
		changes = append(changes, g.plant(password)...)
	}
	w.write(t, changes)
	said("the users and groups are there")
	sids := sidsBelow(t, admin, base)
	changes = nil
	for _, g := range w.groves {
		var of []secdesc.SID
		for _, p := range g.people {
			of = append(of, sids[strings.ToLower(p.dn)])
		}
		changes = append(changes, g.grow(of)...)
	}
	w.write(t, changes)
	said("the objects are there")
	w.s = scan(t, lab, 0)
	w.e = reach.NewEffective(reach.New(w.s))
	said("all is read")
	return w
}

func (w *woods) write(t *testing.T, changes []groveChange) {
	t.Helper()
	b, err := json.Marshal(changes)
	if err != nil {
		t.Fatal(err)
	}
	w.lab.Python(plantGroves, b)
}

// sidsBelow returns the SIDs of the objects below base by their names in lower case.
func sidsBelow(t *testing.T, c *ldap.Conn, base string) map[string]secdesc.SID {
	t.Helper()
	res, err := c.SearchWithPaging(ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false,
		"(objectSid=*)", []string{"objectSid"}, nil), 500)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]secdesc.SID{}
	for _, e := range res.Entries {
		if out[strings.ToLower(e.DN)], err = secdesc.SIDFromBytes(e.GetRawAttributeValue("objectSid")); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// actor returns an account of a grove and a connection as it.
func (w *woods) actor(ctx context.Context, name string) (*reach.Account, *ldap.Conn, error) {
	ids := w.s.BySAMAccountName(name)
	if len(ids) != 1 {
		return nil, nil, fmt.Errorf("%d accounts are called %s", len(ids), name)
	}
	var c *ldap.Conn
	var err error
	for range 5 { // a process of the server answers nobody while it computes
		if c, err = w.lab.Dial(ctx, w.lab.DCs()[0], samba.Account{Name: name, PasswordFile: w.secret}); err == nil {
			c.SetTimeout(5 * time.Minute)
			return w.e.Account(ids[0]), c, nil
		}
	}
	return nil, nil, err
}

// A tally counts what was compared.
type tally struct {
	mu             sync.Mutex
	pairs, answers int
	granted        map[string]int // answers by what is granted
	deviating      map[string]int // pairs by the deviations that explain them
	revealed       map[string]int // of a part of the pairs: those that reveal a mutation
	unexplained    []string
}

func (w *woods) compare(t *testing.T) {
	c := &tally{granted: map[string]int{}, deviating: map[string]int{}, revealed: map[string]int{}}
	eg, ctx := errgroup.WithContext(t.Context())
	eg.SetLimit(2)
	for _, g := range w.groves {
		for _, name := range g.actors {
			eg.Go(func() error { return w.compareActor(ctx, g, name, c) })
		}
	}
	if err := eg.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d pairs, %d single rights that are granted: %v", c.pairs, c.answers, c.granted)
	t.Logf("pairs in which Samba deviates: %v", c.deviating)
	if want := len(w.groves) * 2000; c.pairs < want {
		t.Errorf("only %d pairs were compared, not %d", c.pairs, want)
	}
	for _, m := range mutations {
		if c.revealed[m.name] == 0 {
			t.Errorf("nothing would show if %s", m.name)
		}
	}
	t.Logf("of every %d. pair, those that would differ with a broken rule: %v", len(w.groves), c.revealed)
	for i, d := range c.unexplained {
		if i < 20 {
			t.Error(d)
		}
	}
	if len(c.unexplained) > 0 {
		t.Errorf("%d pairs differ", len(c.unexplained))
	}
}

// compareActor reads what the directory says to one user of every object.
func (w *woods) compareActor(ctx context.Context, g *grove, name string, c *tally) error {
	account, conn, err := w.actor(ctx, name)
	if err != nil {
		return err
	}
	defer conn.Close()
	res, err := conn.Search(ldap.NewSearchRequest(g.root, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false,
		"(objectClass=*)", []string{"allowedAttributesEffective", "allowedChildClassesEffective", "sDRightsEffective", "unixUserPassword"}, nil))
	if err != nil {
		return fmt.Errorf("reading as %s: %w", name, err)
	}
	for i, e := range res.Entries {
		id := w.s.Lookup(e.DN)
		if id == forest.None {
			return fmt.Errorf("%s is not in the snapshot", e.DN)
		}
		if err := w.comparePair(account, id, e, c); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if d := w.asSamba(id); (i+int(name[len(name)-1]))%len(w.groves) == 0 {
			w.countMutations(account, id, d, theirAnswers(e), c)
		}
	}
	return nil
}

func (w *woods) comparePair(account *reach.Account, id forest.ID, e *ldap.Entry, c *tally) error {
	d, st := w.s.Descriptor(id)
	if st != forest.Known {
		return fmt.Errorf("the descriptor of %s is %v", w.s.DN(id), st)
	}
	theirs := theirAnswers(e)
	ours := w.ourAnswers(account, id, d)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pairs++
	for _, a := range theirs {
		kind, _, _ := strings.Cut(a, " ")
		c.granted[kind]++
		c.answers++
	}
	like := w.asSamba(id)
	if like == d {
		if !slices.Equal(theirs, ours) {
			c.unexplained = append(c.unexplained, w.describe(account, id, theirs, ours))
		}
		return nil
	}
	// With all deviations, the answer must be the directory's, whether or not they
	// make a difference here: they are no broader than they say.
	if as := w.ourAnswers(account, id, like); !slices.Equal(theirs, as) {
		c.unexplained = append(c.unexplained, "with deviations: "+w.describe(account, id, theirs, as))
	} else if !slices.Equal(theirs, ours) {
		var why []string
		for i, dev := range deviations {
			if !slices.Equal(theirs, w.ourAnswers(account, id, asSamba(d, w.s.Schema(), slices.Delete(slices.Clone(deviations), i, i+1)...))) {
				why = append(why, dev.name)
			}
		}
		if len(why) == 0 {
			why = []string{"several, each of which explains it"}
		}
		c.deviating[strings.Join(why, " and ")]++
	}
	return nil
}

// theirAnswers lists what the directory grants, in order.
func theirAnswers(e *ldap.Entry) []string {
	var out []string
	for _, a := range e.GetAttributeValues("allowedAttributesEffective") {
		out = append(out, "write "+a)
	}
	for _, a := range e.GetAttributeValues("allowedChildClassesEffective") {
		out = append(out, "create "+a)
	}
	bits, _ := strconv.Atoi(e.GetAttributeValue("sDRightsEffective"))
	for bit, name := range map[int]string{1: "owner", 2: "group", 4: "dacl", 8: "sacl"} {
		if bits&bit != 0 {
			out = append(out, name)
		}
	}
	if len(e.GetAttributeValues("unixUserPassword")) > 0 {
		out = append(out, "secret")
	}
	slices.Sort(out)
	return out
}

// ourAnswers lists what we say is granted, in order.
func (w *woods) ourAnswers(account *reach.Account, id forest.ID, d *secdesc.Descriptor) []string {
	p := account.PowersUnder(id, d)
	var out []string
	for _, a := range p.Attributes {
		// Samba's allowedAttributesEffective leaves out what the schema calls system-only,
		// also where clients may write it ([MS-ADTS] 3.1.1.4.5.7 leaves out nothing of it).
		if a.Name != "msDS-AdditionalDnsHostName" && a.Name != "wellKnownObjects" {
			out = append(out, "write "+a.Name)
		}
	}
	for _, a := range p.Children {
		out = append(out, "create "+a.Name)
	}
	for _, a := range p.Standard {
		switch a.Action.Verb {
		case reach.ChangeDACL:
			out = append(out, "dacl")
		case reach.ChangeOwner:
			out = append(out, "owner", "group")
		}
	}
	secret := reach.Action{Verb: reach.ReadAttribute, Type: w.s.Schema().Attr("unixUserPassword").GUID}
	if w.s.IsA(id, "user") && !w.s.IsA(id, "computer") && !strings.Contains(w.s.DN(id), "OU=people,") &&
		account.MayUnder(id, d, secret).Outcome == secdesc.Granted {
		out = append(out, "secret")
	}
	slices.Sort(out)
	return out
}

func (w *woods) describe(account *reach.Account, id forest.ID, theirs, ours []string) string {
	d, _ := w.s.Descriptor(id)
	more := func(a, b []string) []string {
		has := map[string]bool{}
		for _, x := range b {
			has[x] = true
		}
		return slices.DeleteFunc(slices.Clone(a), func(x string) bool { return has[x] })
	}
	return fmt.Sprintf("%s on %s (%s)\n\tonly the directory: %.300v\n\tonly we: %.300v\n\t%s\n\ttoken %v", w.s.Name(account.ID()), w.s.DN(id), w.s.Class(id),
		more(theirs, ours), more(ours, theirs), d.SDDL(w.s.Domains()[0].SID), text(reach.New(w.s).Token(account.ID())))
}
