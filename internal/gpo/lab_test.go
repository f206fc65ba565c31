//go:build linux

package gpo_test

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
	"github.com/leastwise/leastwise/lab/labtest"
	"github.com/leastwise/leastwise/lab/need"
)

// TestCasesInLab loads the table into a real domain controller over LDAP, reads
// everything back from it, and wants the same answers as offline. Samba stores
// and serves policies but does not enforce user rights, so the directory is the
// oracle for what is read, not for the resultant set.
func TestCasesInLab(t *testing.T) {
	need.Long(t)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	l := labtest.Start(t, labtest.Options{Single: true, Fresh: true}) // the test removes its policies
	dc := l.DCs()[0]
	conn, err := l.Dial(ctx, dc, l.Admin)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	x := &labCases{t: t, conn: conn, l: l, sysvol: filepath.Join(dc.Dir, "state", "sysvol", l.Domain)}
	x.head(t)
	ran := 0
	for _, c := range readCases(t) {
		if c.offline != "" {
			continue
		}
		ran++
		t.Run(c.name, func(t *testing.T) { x.run(t, c) })
	}
	if ran < 60 {
		t.Errorf("%d cases ran in the lab; at least 60 must", ran)
	}
}

// labCases loads cases into one domain, one after the other.
type labCases struct {
	t      *testing.T
	conn   *ldap.Conn
	l      *labtest.Lab
	sysvol string
	sid    secdesc.SID
	site   string
	static []*ldap.Entry // what no case changes
}

func (x *labCases) head(t *testing.T) {
	t.Helper()
	e := x.search(t, x.l.BaseDN, ldap.ScopeBaseObject)
	sid, err := secdesc.SIDFromBytes(e[0].GetRawAttributeValue("objectSid"))
	if err != nil {
		t.Fatal(err)
	}
	x.modify(t, x.l.BaseDN, "gPLink", nil) // the default policy: cases start without any
	x.sid, x.site = sid, "CN=Default-First-Site-Name,CN=Sites,CN=Configuration,"+x.l.BaseDN
	conf := "CN=Configuration," + x.l.BaseDN
	for _, base := range []string{x.l.BaseDN, "CN=Sites," + conf, "CN=Partitions," + conf} {
		for _, e := range x.search(t, base, ldap.ScopeWholeSubtree) {
			if !strings.EqualFold(e.DN, x.l.BaseDN) && !strings.EqualFold(e.DN, x.site) {
				x.static = append(x.static, e)
			}
		}
	}
}

func (x *labCases) search(t *testing.T, base string, scope int) []*ldap.Entry {
	t.Helper()
	flags := &ldap.ControlMicrosoftSDFlags{ControlValue: 7}
	req := ldap.NewSearchRequest(base, scope, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"*", "nTSecurityDescriptor"}, []ldap.Control{flags})
	res, err := x.conn.SearchWithPaging(req, 500)
	if err != nil {
		t.Fatalf("reading %s: %v", base, err)
	}
	return res.Entries
}

func (x *labCases) run(t *testing.T, c *policyCase) {
	w := newCaseForest(c, x.l.Domain, x.sid)
	w.dn["default-site"] = x.site
	var made []string
	defer func() { x.clean(t, made) }()
	add := func(o caseObject) {
		t.Helper()
		x.add(t, w, o)
		made = append(made, o.dn)
	}
	w.accounts()
	accounts := w.objects
	soms := w.somAttributes()
	for _, o := range c.ous {
		if o.in != "" {
			add(caseObject{dn: w.dn[o.name], class: []string{"top", "organizationalUnit"}})
		}
	}
	for _, s := range c.sites {
		add(caseObject{dn: w.dn[s], class: []string{"top", "site"}})
	}
	for _, o := range accounts {
		plain := o
		plain.attrs = maps.Clone(o.attrs)
		delete(plain.attrs, "member")
		delete(plain.attrs, "primaryGroupID") // the controller sets it
		add(plain)
		e := x.search(t, o.dn, ldap.ScopeBaseObject)
		sid, err := secdesc.SIDFromBytes(e[0].GetRawAttributeValue("objectSid"))
		if err != nil {
			t.Fatal(err)
		}
		w.sids[o.name] = sid
	}
	for _, o := range accounts {
		if m := o.attrs["member"]; len(m) > 0 {
			x.modify(t, o.dn, "member", m)
		}
	}
	w.objects = nil
	for _, p := range c.pols {
		w.addPolicy(p)
	}
	for _, o := range w.objects {
		add(o)
	}
	for name, attrs := range soms {
		for a, v := range attrs {
			x.modify(t, w.dn[name], a, v)
			if name == "domain" || name == "default-site" {
				defer x.modify(t, w.dn[name], a, nil)
			}
		}
	}
	x.writeFiles(t, w)
	s := x.snapshot(t, w, slices.Clone(made))
	c.check(t, s, gpo.New(s, reach.New(s)), w)
}

func (x *labCases) add(t *testing.T, w *caseForest, o caseObject) {
	t.Helper()
	req := ldap.NewAddRequest(o.dn, nil)
	req.Attribute("objectClass", o.class)
	for _, a := range slices.Sorted(maps.Keys(o.attrs)) {
		req.Attribute(a, o.attrs[a])
	}
	if o.sddl != "" {
		d, err := secdesc.ParseSDDL(o.sddl, w.domainSID, w.domainSID)
		if err != nil {
			t.Fatal(err)
		}
		req.Attribute("nTSecurityDescriptor", []string{string(d.Bytes())})
	}
	if err := x.conn.Add(req); err != nil {
		t.Fatalf("adding %s: %v", o.dn, err)
	}
}

func (x *labCases) modify(t *testing.T, dn, attr string, vals []string) {
	t.Helper()
	req := ldap.NewModifyRequest(dn, nil)
	req.Replace(attr, vals)
	if err := x.conn.Modify(req); err != nil {
		t.Fatalf("setting %s of %s: %v", attr, dn, err)
	}
}

// clean removes what a case added, inner objects first.
func (x *labCases) clean(t *testing.T, made []string) {
	t.Helper()
	for _, dn := range slices.Backward(made) {
		if err := x.conn.Del(ldap.NewDelRequest(dn, nil)); err != nil {
			t.Errorf("removing %s: %v", dn, err)
		}
	}
}

// writeFiles puts the files of the case's policies in SYSVOL.
func (x *labCases) writeFiles(t *testing.T, w *caseForest) {
	t.Helper()
	for path, data := range w.files {
		full := filepath.Join(x.sysvol, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// snapshot reads what the case made, and what it may have changed, back.
func (x *labCases) snapshot(t *testing.T, w *caseForest, made []string) *forest.Snapshot {
	t.Helper()
	b := forest.NewBuilder(forest.Info{Source: "lab", Domain: w.dns})
	for a := range forest.Attr(forest.NumAttrs) {
		if a.String() != "" {
			b.Collected(a)
		}
	}
	entries := slices.Clone(x.static)
	for _, dn := range append(made, x.l.BaseDN, x.site) {
		entries = append(entries, x.search(t, dn, ldap.ScopeBaseObject)...)
	}
	for _, e := range entries {
		entry := forest.Entry{DN: e.DN}
		for _, a := range e.Attributes {
			entry.Attrs = append(entry.Attrs, forest.Values{Name: a.Name, Vals: a.ByteValues})
		}
		if err := b.Add(entry); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	err := filepath.WalkDir(filepath.Join(x.sysvol, "Policies"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(x.sysvol, path)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(slices.Collect(maps.Values(w.guid)), func(g string) bool { return strings.Contains(rel, g) }) {
			return nil
		}
		data, err := os.ReadFile(path)
		n++
		b.AddFile(forest.File{Domain: w.dns, Path: filepath.ToSlash(rel), Data: data, State: forest.Known})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	b.Cover(forest.Coverage{Area: forest.AreaFile, Subject: w.dns, State: "complete", Count: n})
	s, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return s
}
