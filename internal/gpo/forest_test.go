package gpo_test

import (
	"crypto/md5"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// caseForest is the forest of one case: objects and files, ready to be built
// offline or loaded into a domain controller.
type caseForest struct {
	c         *policyCase
	dns, base string
	domainSID secdesc.SID
	objects   []caseObject
	files     map[string][]byte // below the domain's SYSVOL folder
	unreadF   map[string]string
	dn        map[string]string // by name in the case
	sids      map[string]secdesc.SID
	guid      map[string]string // of policies
}

type caseObject struct {
	name   string // in the case; empty for scaffolding
	dn     string
	class  []string
	attrs  map[string][]string
	sid    secdesc.SID
	sddl   string
	unread []string
}

// defaultPolicySDDL is what a new policy's descriptor amounts to: full control for
// administrators, Read and Apply-Group-Policy for Authenticated Users, Read for
// Enterprise Domain Controllers.
const defaultPolicySDDL = "O:BAG:SYD:PAI(A;CI;RPWPCCDCLCLORCWOWDSDDTSW;;;BA)(A;CI;RPWPCCDCLCLORCWOWDSDDTSW;;;SY)" +
	"(A;CI;RPLCLORC;;;AU)(OA;CI;CR;edacfd8f-ffb3-11d1-b41d-00a0c968f939;;AU)(A;CI;RPLCLORC;;;ED)"

var braces = regexp.MustCompile(`\{[A-Za-z0-9-]+\}`)

func newCaseForest(c *policyCase, dns string, sid secdesc.SID) *caseForest {
	w := &caseForest{
		c: c, dns: dns, base: "DC=" + strings.ReplaceAll(dns, ".", ",DC="), domainSID: sid,
		files: map[string][]byte{}, unreadF: map[string]string{}, dn: map[string]string{},
		sids: map[string]secdesc.SID{}, guid: map[string]string{},
	}
	w.dn["domain"] = w.base
	for i, p := range c.pols {
		sum := md5.Sum([]byte(c.name + " " + p.name))
		w.guid[p.name] = strings.ToUpper(fmt.Sprintf("{%08x-0000-4000-8000-%012x}", i+1, sum[:6]))
		w.dn[p.name] = "CN=" + w.guid[p.name] + ",CN=Policies,CN=System," + w.base
	}
	for _, o := range c.ous {
		if o.in != "" {
			w.dn[o.name] = "OU=" + o.name + " " + c.name + "," + w.container(o.in)
		}
	}
	for _, s := range c.sites {
		w.dn[s] = "CN=" + s + "-" + c.name + ",CN=Sites,CN=Configuration," + w.base
	}
	return w
}

func (w *caseForest) container(name string) string {
	if dn, ok := w.dn[name]; ok {
		return dn
	}
	if name == "Computers" {
		return "CN=Computers," + w.base
	}
	panic("case " + w.c.name + ": no container " + name)
}

// own adds an object of the case that has a SID.
func (w *caseForest) own(rid uint32, o caseObject) {
	if s, ok := w.sids[o.name]; ok {
		o.sid = s
	} else {
		o.sid = w.domainSID.Child(rid)
		w.sids[o.name] = o.sid
	}
	w.dn[o.name] = o.dn
	w.objects = append(w.objects, o)
}

// accounts adds groups, users and computers.
func (w *caseForest) accounts() {
	rid := uint32(1100)
	member := map[string][]string{}
	for i, g := range w.c.groups {
		dn := "CN=" + g.name + " " + w.c.name + "," + w.base
		w.own(rid+uint32(i), caseObject{name: g.name, dn: dn, class: []string{"top", "group"}, attrs: map[string][]string{
			"sAMAccountName": {g.name + "-" + w.c.name}, "groupType": {"-2147483646"},
		}})
	}
	rid += 100
	for i, u := range w.c.users {
		dn := "CN=" + u + " " + w.c.name + "," + w.base
		w.own(rid+uint32(i), caseObject{name: u, dn: dn, class: []string{"top", "person", "organizationalPerson", "user"}, attrs: map[string][]string{
			"sAMAccountName": {u}, "userAccountControl": {"514"}, "primaryGroupID": {"513"},
		}})
	}
	rid += 100
	for i, h := range w.c.hosts {
		dn := "CN=" + h.name + " " + w.c.name + "," + w.container(h.in)
		uac, primary := "4096", "515"
		if h.dc {
			uac, primary = "532480", "516"
		}
		sam := h.name + strconv.Itoa(w.c.line) + "$"
		w.own(rid+uint32(i), caseObject{name: h.name, dn: dn, class: []string{"top", "person", "organizationalPerson", "user", "computer"}, attrs: map[string][]string{
			"sAMAccountName": {sam}, "userAccountControl": {uac}, "primaryGroupID": {primary},
		}})
		for _, g := range h.groups {
			member[g] = append(member[g], dn)
		}
	}
	for _, g := range w.c.groups {
		for _, up := range g.groups {
			member[up] = append(member[up], w.dn[g.name])
		}
	}
	for i := range w.objects {
		if m := member[w.objects[i].name]; len(m) > 0 {
			w.objects[i].attrs["member"] = m
		}
	}
}

// names replaces {name} by the policy's name in link texts, and by the SID of a
// group or computer in descriptors and files.
func (w *caseForest) names(s string) string {
	s = strings.ReplaceAll(s, "{D}", w.domainSID.String())
	return braces.ReplaceAllStringFunc(s, func(m string) string {
		if sid, ok := w.sids[m[1:len(m)-1]]; ok {
			return sid.String()
		}
		return m
	})
}

// attributesOf the containers that carry links or block inheritance.
func (w *caseForest) somAttributes() map[string]map[string][]string {
	out := map[string]map[string][]string{}
	at := func(name string) map[string][]string {
		if out[name] == nil {
			out[name] = map[string][]string{}
		}
		return out[name]
	}
	for _, l := range w.c.links {
		at(l.at)["gPLink"] = []string{braces.ReplaceAllStringFunc(l.text, func(m string) string {
			if dn, ok := w.dn[m[1:len(m)-1]]; ok {
				return dn
			}
			return m
		})}
	}
	for _, o := range w.c.ous {
		if o.gpOptions != "" {
			at(o.name)["gPOptions"] = []string{o.gpOptions}
		}
	}
	return out
}

func (w *caseForest) build() {
	w.accounts()
	soms := w.somAttributes()
	for _, o := range w.c.ous {
		if o.in == "" {
			continue
		}
		w.objects = append(w.objects, caseObject{name: o.name, dn: w.dn[o.name], class: []string{"top", "organizationalUnit"}, attrs: soms[o.name]})
	}
	for _, s := range w.c.sites {
		w.objects = append(w.objects, caseObject{name: s, dn: w.dn[s], class: []string{"top", "site"}, attrs: soms[s]})
	}
	for _, p := range w.c.pols {
		w.addPolicy(p)
	}
	for i := range w.objects {
		for _, u := range w.c.unread {
			if w.objects[i].name == u[0] {
				w.objects[i].unread = append(w.objects[i].unread, u[1])
			}
		}
	}
}

func (w *caseForest) addPolicy(p *casePolicy) {
	opt := func(key, def string) string {
		if v, ok := p.opt[key]; ok {
			return v
		}
		return def
	}
	version := opt("version", "3")
	ext := w.extensions(p)
	if v, ok := p.opt["ext"]; ok {
		ext = v
	}
	folder := "Policies/" + w.guid[p.name]
	attrs := map[string][]string{
		"displayName": {w.c.name + " " + p.name}, "flags": {opt("flags", "0")}, "versionNumber": {version},
		"gPCFunctionalityVersion": {opt("func", "2")},
		"gPCFileSysPath":          {`\\` + w.dns + `\sysvol\` + w.dns + `\Policies\` + w.guid[p.name]},
	}
	if _, bare := p.opt["bare"]; bare {
		attrs = nil
	}
	if v := opt("path", ""); v != "" {
		attrs["gPCFileSysPath"] = []string{v}
	}
	if ext != "" && attrs != nil {
		attrs["gPCMachineExtensionNames"] = []string{ext}
	}
	if v := opt("wmi", ""); v != "" {
		attrs["gPCWQLFilter"] = []string{"[" + w.dns + ";{" + v + "};0]"}
	}
	sddl := defaultPolicySDDL
	if v := opt("sd", ""); v != "" {
		sddl = "O:BAG:SYD:PAI" + w.names(v)
	}
	if _, gone := p.opt["no-object"]; !gone {
		w.objects = append(w.objects, caseObject{
			name: p.name, dn: w.dn[p.name], class: []string{"top", "container", "groupPolicyContainer"},
			attrs: attrs, sddl: sddl,
		})
	}
	if _, gone := p.opt["no-files"]; !gone {
		w.policyFiles(p, folder, opt("filever", version))
	}
	if v := opt("unread", ""); v != "" {
		w.unreadF[folder+"/"+v] = "access denied"
		delete(w.files, folder+"/"+v)
	}
}

const (
	extSecurity = "[{827D319E-6EAC-11D2-A4EA-00C04F79F83A}{803E14A0-B4FB-11D0-A0D0-00A0C90F574B}]"
	extRegistry = "[{35378EAC-683F-11D2-A89A-00C04FBBCFA2}{D02B1F72-3407-48AE-BA88-E8213C6761F1}]"
	extGroups   = "[{17D89FEC-5C44-4972-B12D-241CAEF74509}{79F92669-4224-476C-9C5C-6EFB4D87DF4A}]"
	extAudit    = "[{F3CCC681-B74C-4060-9F26-CD84525DCA2A}{0F3F3735-573D-9804-99E4-AB2A69BA5FD4}]"
)

// extensions lists the extensions that the policy's files need, in their order.
func (w *caseForest) extensions(p *casePolicy) string {
	out := ""
	if p.groups != "" {
		out += extGroups
	}
	if p.pol != nil {
		out += extRegistry
	}
	if p.template != nil {
		out += extSecurity
	}
	if p.audit != nil {
		out += extAudit
	}
	return out
}

func (w *caseForest) policyFiles(p *casePolicy, folder, version string) {
	if version != "none" {
		w.files[folder+"/GPT.INI"] = []byte("[General]\r\nVersion=" + version + "\r\n")
	}
	if p.template != nil {
		text, section := "[Unicode]\r\nUnicode=yes\r\n[Version]\r\nsignature=\"$CHICAGO$\"\r\nRevision=1\r\n", ""
		for _, l := range p.template {
			sec := "[Privilege Rights]"
			if strings.HasPrefix(l, "[") {
				i := strings.IndexByte(l, ']') + 1
				sec, l = l[:i], strings.TrimSpace(l[i:])
			}
			if key, value, ok := strings.Cut(l, "="); ok {
				l = rightName(strings.TrimSpace(key)) + " =" + value
			}
			if sec != section {
				text += sec + "\r\n"
				section = sec
			}
			text += w.names(l) + "\r\n"
		}
		w.files[folder+"/Machine/Microsoft/Windows NT/SecEdit/GptTmpl.inf"] = utf16le(text)
	}
	if p.pol != nil {
		w.files[folder+"/Machine/Registry.pol"] = gpo.FormatRegistryPol(p.pol)
	}
	if p.groups != "" {
		w.files[folder+"/Machine/Preferences/Groups/Groups.xml"] = []byte(`<?xml version="1.0" encoding="utf-8"?>` + "\r\n" +
			`<Groups clsid="{3125E937-EB16-4b4c-9934-544FC6D24D26}">` + "\r\n" + w.names(p.groups) + "</Groups>\r\n")
	}
	if p.audit != nil {
		text := "Machine Name,Policy Target,Subcategory,Subcategory GUID,Inclusion Setting,Exclusion Setting,Setting Value\r\n"
		for _, a := range p.audit {
			g, v, _ := strings.Cut(a, "=")
			text += ",System,Some Subcategory,{" + strings.TrimSpace(g) + "},Text for people,," + strings.TrimSpace(v) + "\r\n"
		}
		w.files[folder+"/Machine/Microsoft/Windows NT/Audit/audit.csv"] = []byte(text)
	}
}

func utf16le(s string) []byte {
	out := []byte{0xFF, 0xFE}
	for _, u := range utf16.Encode([]rune(s)) {
		out = append(out, byte(u), byte(u>>8))
	}
	return out
}

// scaffold is what every forest has: the domain, its well-known groups, the
// partition with sites.
func (w *caseForest) scaffold() []caseObject {
	soms := w.somAttributes()
	conf := "CN=Configuration," + w.base
	head := caseObject{name: "domain", dn: w.base, class: []string{"top", "domain", "domainDNS"}, sid: w.domainSID, attrs: soms["domain"]}
	if head.attrs == nil {
		head.attrs = map[string][]string{}
	}
	head.attrs["instanceType"] = []string{"5"}
	container := func(dn string) caseObject {
		return caseObject{dn: dn, class: []string{"top", "container"}}
	}
	group := func(name string, sid secdesc.SID) caseObject {
		return caseObject{
			dn: "CN=" + name + ",CN=Users," + w.base, sid: sid, class: []string{"top", "group"},
			attrs: map[string][]string{"sAMAccountName": {name}, "groupType": {"-2147483646"}},
		}
	}
	out := []caseObject{
		head, container("CN=Users," + w.base), container("CN=Computers," + w.base), container("CN=System," + w.base),
		container("CN=Policies,CN=System," + w.base),
		group("Domain Admins", w.domainSID.Child(512)), group("Domain Users", w.domainSID.Child(513)),
		group("Domain Computers", w.domainSID.Child(515)), group("Domain Controllers", w.domainSID.Child(516)),
		group("Enterprise Admins", w.domainSID.Child(519)),
		{
			dn: "CN=Administrator,CN=Users," + w.base, sid: w.domainSID.Child(500), class: []string{"top", "person", "organizationalPerson", "user"},
			attrs: map[string][]string{"sAMAccountName": {"Administrator"}, "userAccountControl": {"512"}, "primaryGroupID": {"513"}},
		},
		{
			dn: "CN=" + strings.ToUpper(strings.Split(w.dns, ".")[0]) + ",CN=Partitions," + conf, class: []string{"top", "crossRef"},
			attrs: map[string][]string{"nETBIOSName": {"CONTOSO"}, "dnsRoot": {w.dns}, "nCName": {w.base}},
		},
	}
	if w.c.noSites {
		return out
	}
	out = append(out, container("CN=Sites,"+conf))
	site := caseObject{name: "default-site", dn: "CN=Default-First-Site-Name,CN=Sites," + conf, class: []string{"top", "site"}, attrs: soms["default-site"]}
	return append(out, site)
}

// snapshot builds the forest of the case offline.
func (w *caseForest) snapshot(t testing.TB) *forest.Snapshot {
	t.Helper()
	w.dn["default-site"] = "CN=Default-First-Site-Name,CN=Sites,CN=Configuration," + w.base
	w.build()
	b := forest.NewBuilder(forest.Info{Source: "case", Domain: w.dns})
	for a := range forest.Attr(forest.NumAttrs) {
		if a.String() != "" {
			b.Collected(a)
		}
	}
	for _, o := range w.scaffold() {
		w.addTo(t, b, o)
	}
	for _, o := range w.objects {
		w.addTo(t, b, o)
	}
	for _, h := range w.c.hosts { // where domain controllers are
		if h.dc && h.site != "" {
			w.addTo(t, b, caseObject{
				dn: "CN=" + h.name + ",CN=Servers," + w.dn[h.site], class: []string{"top", "server"},
				attrs: map[string][]string{"serverReference": {w.dn[h.name]}},
			})
			w.addTo(t, b, caseObject{dn: "CN=Servers," + w.dn[h.site], class: []string{"top", "serversContainer"}})
		}
	}
	for _, path := range slices.Sorted(maps.Keys(w.files)) {
		b.AddFile(forest.File{Domain: w.dns, Path: path, Data: w.files[path], State: forest.Known})
	}
	for path, why := range w.unreadF {
		b.AddFile(forest.File{Domain: w.dns, Path: path, State: forest.Unreadable, Reason: why})
	}
	b.Cover(forest.Coverage{Area: forest.AreaFile, Subject: w.dns, State: "complete", Count: len(w.files)})
	s, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (w *caseForest) addTo(t testing.TB, b *forest.Builder, o caseObject) {
	t.Helper()
	e := forest.Entry{DN: o.dn}
	put := func(name string, vals ...string) {
		v := forest.Values{Name: name}
		for _, x := range vals {
			v.Vals = append(v.Vals, []byte(x))
		}
		e.Attrs = append(e.Attrs, v)
	}
	put("objectClass", o.class...)
	for _, name := range slices.Sorted(maps.Keys(o.attrs)) {
		if !slices.Contains(o.unread, name) {
			put(name, o.attrs[name]...)
		}
	}
	if !o.sid.IsZero() {
		put("objectSid", string(o.sid.Bytes()))
	}
	if o.sddl != "" && !slices.Contains(o.unread, "nTSecurityDescriptor") {
		d, err := secdesc.ParseSDDL(o.sddl, w.domainSID, w.domainSID)
		if err != nil {
			t.Fatalf("%s: %v", o.sddl, err)
		}
		put("nTSecurityDescriptor", string(d.Bytes()))
	}
	if err := b.Add(e); err != nil {
		t.Fatal(err)
	}
	for _, u := range o.unread {
		if a, ok := forest.AttrByName(u); ok {
			b.MarkUnreadable(a, "access denied")
		}
	}
}
