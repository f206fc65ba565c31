package bloodhound

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A kind is what an object is.
type kind uint8

const (
	_ kind = iota
	userKind
	groupKind
	computerKind
	domainKind
	ouKind
	containerKind
	policyKind
	templateKind
	authorityKind
	rootKind
	ntAuthKind
	issuerKind
	issuanceKind
)

// classes are the values of objectClass that each kind stands for.
var classes = map[kind][]string{
	userKind:      {"top", "person", "organizationalPerson", "user"},
	groupKind:     {"top", "group"},
	computerKind:  {"top", "person", "organizationalPerson", "user", "computer"},
	domainKind:    {"top", "domain", "domainDNS"},
	ouKind:        {"top", "organizationalUnit"},
	containerKind: {"top", "container"},
	policyKind:    {"top", "container", "groupPolicyContainer"},
	templateKind:  {"top", "pKICertificateTemplate"},
	authorityKind: {"top", "pKIEnrollmentService"},
	rootKind:      {"top", "certificationAuthority"},
	ntAuthKind:    {"top", "certificationAuthority"},
	issuerKind:    {"top", "certificationAuthority"},
	issuanceKind:  {"top", "msPKI-Enterprise-Oid"},
}

var (
	groupManagedClasses = []string{"top", "person", "organizationalPerson", "user", "computer", "msDS-GroupManagedServiceAccount"}
	foreignClasses      = []string{"top", "foreignSecurityPrincipal"}
	trustedClasses      = []string{"top", "leaf", "trustedDomain"}
)

// kindNames lists the types of files.
func kindNames() []string {
	var out []string
	for name := range kinds {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// An item is an object in the form of the directory, but for references to other
// objects, which are resolved when all of them are there.
type item struct {
	kind    kind
	entry   forest.Entry
	asked   map[forest.Attr]bool // known attributes: with values, or known to have none
	partial map[forest.Attr]string
	refs    []reference
	domain  string // distinguished name of the domain
	sid     secdesc.SID
	root    string   // domains: SID of the forest's root domain, if the collection says it
	kin     []string // domains: SIDs of domains of the same forest
	links   []gpLink
}

// A reference is a value that names another object.
type reference struct {
	attr forest.Attr
	to   string // identifier as the collection has it
}

// add takes an object over. Objects that were collected twice alike count once.
func (c *Collection) add(file string, k kind, o *object, raw []byte) error {
	id := strings.ToUpper(o.ObjectIdentifier)
	if id == "" {
		return fmt.Errorf("%w: an object without ObjectIdentifier", ErrCollection)
	}
	hash := sha256.Sum256(raw)
	if was, again := c.seen[id]; again {
		if was.hash != hash {
			return fmt.Errorf("%w: %s is in %s too, with other content: import one collection of a domain", ErrConflict, clip(o.ObjectIdentifier), was.file)
		}
		return nil
	}
	c.seen[id] = origin{file, hash}
	if o.IsDeleted {
		c.stats.skipped["deleted objects"]++
		return nil
	}
	it := item{kind: k, asked: map[forest.Attr]bool{}, partial: map[forest.Attr]string{}}
	it.sid, _ = parseSID(o.ObjectIdentifier)
	dn, _ := o.Properties.text("distinguishedname")
	if dn == "" {
		dn = c.foreignName(o, it.sid)
		it.kind = 0
	}
	if dn == "" {
		c.stats.skipped["objects without a distinguished name"]++
		return nil
	}
	if o.hostFacts() {
		c.stats.hosts++
	}
	if _, err := forest.ParseDN(dn); err != nil {
		return fmt.Errorf("%w: distinguishedname of %s: %w", ErrCollection, clip(o.ObjectIdentifier), err)
	}
	it.entry.DN, it.domain = dn, domainOf(dn)
	c.names[id], c.dns[strings.ToUpper(dn)] = dn, true
	c.fill(&it, o, k)
	c.list = append(c.list, it)
	return nil
}

// foreignName returns the name of a well-known principal, for which the directory
// has a stand-in in the domain; "" if o is not one.
func (c *Collection) foreignName(o *object, sid secdesc.SID) string {
	name, _ := o.Properties.text("domain")
	if sid.IsZero() || sid.IsDomainRelative() || name == "" {
		return ""
	}
	return "CN=" + sid.String() + ",CN=ForeignSecurityPrincipals,DC=" + strings.ReplaceAll(strings.ToUpper(name), ".", ",DC=")
}

// domainOf returns the domain components at the end of a distinguished name.
func domainOf(dn string) string {
	upper := strings.ToUpper(dn)
	if strings.HasPrefix(upper, "DC=") {
		return dn
	}
	if i := strings.Index(upper, ",DC="); i >= 0 {
		return dn[i+1:]
	}
	return ""
}

func (it *item) set(name string, values ...string) {
	if a, ok := forest.AttrByName(name); ok {
		it.asked[a] = true
	}
	if len(values) == 0 {
		return
	}
	v := forest.Values{Name: name}
	for _, s := range values {
		v.Vals = append(v.Vals, []byte(s))
	}
	it.entry.Attrs = append(it.entry.Attrs, v)
}

// fill turns what the collection says of an object into attributes.
func (c *Collection) fill(it *item, o *object, k kind) {
	list := classes[it.kind]
	d := c.describe(k, o)
	managed, _ := o.Properties.flag("gmsa")
	switch {
	case it.kind == 0:
		list = foreignClasses
	case k == userKind && (d.readers != nil || managed):
		list = groupManagedClasses
	}
	it.set("objectClass", list...)
	if !it.sid.IsZero() {
		it.set("objectSid", string(it.sid.Bytes()))
	} else if g, err := secdesc.ParseGUID(o.ObjectIdentifier); err == nil {
		it.set("objectGUID", string(g[:]))
	}
	if d.d != nil && d.d.Check() == nil {
		it.set("nTSecurityDescriptor", string(d.d.Bytes()))
		c.stats.described++
	} else {
		c.stats.bare++
	}
	if d.readers != nil {
		it.set("msDS-GroupMSAMembership", string(d.readers.Bytes()))
	}
	it.common(o)
	switch k {
	case userKind, computerKind:
		c.account(it, o, k)
	case groupKind:
		c.group(it, o)
	case domainKind, ouKind:
		c.container(it, o)
	case policyKind:
		if path, ok := o.Properties.text("gpcpath"); ok && path != "" {
			it.set("gPCFileSysPath", path)
		}
		if name, ok := o.Properties.text("name"); ok {
			name, _, _ = strings.Cut(name, "@")
			it.set("displayName", name)
		}
	case templateKind, authorityKind, rootKind, ntAuthKind, issuerKind, issuanceKind:
		c.certificates(it, o, k)
	}
	if k == domainKind {
		c.domain(it, o)
	}
}

// texts are attributes whose values collections have as text.
var texts = map[string]string{
	"description": "description", "displayname": "displayName", "samaccountname": "sAMAccountName", "email": "mail",
	"logonscript": "scriptPath", "profilepath": "profilePath", "operatingsystem": "operatingSystem",
}

// common takes the properties that any kind may have. One that is not there was not
// collected; one that is null or empty has no value.
func (it *item) common(o *object) {
	for _, name := range sortedKeys(texts) {
		if name == "displayname" && it.kind == policyKind {
			continue
		}
		if v, ok := o.Properties.text(name); ok {
			it.text(texts[name], v)
		}
	}
	if on, ok := o.Properties.flag("admincount"); ok {
		it.choice("adminCount", on, "1")
	}
	if t, ok := o.Properties.number("whencreated"); ok && t > 0 && t <= lastSecond {
		it.set("whenCreated", time.Unix(t, 0).UTC().Format("20060102150405.0Z"))
	}
}

// listed says that an attribute is known if the collection has its list, be it empty.
func (it *item) listed(a forest.Attr, has bool) {
	if has {
		it.asked[a] = true
	}
}

// text sets an attribute to a text; the empty one is none.
func (it *item) text(attr, v string) {
	if v == "" {
		it.set(attr)
		return
	}
	it.set(attr, v)
}

// choice sets an attribute that has one value or none.
func (it *item) choice(attr string, on bool, value string) {
	if on {
		it.set(attr, value)
		return
	}
	it.set(attr)
}

func sortedKeys[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// Bits of userAccountControl ([MS-ADTS] 2.2.16) under the names of collections. The
// ones that are for accounts of other kinds are added apart.
var accountFlags = map[string]int64{
	"passwordnotreqd": 0x20, "encryptedtextpwdallowed": 0x80, "pwdneverexpires": 0x10000, "smartcardrequired": 0x40000,
	"unconstraineddelegation": 0x80000, "sensitive": 0x100000, "usedeskeyonly": 0x200000, "dontreqpreauth": 0x400000, "trustedtoauth": 0x1000000,
}

const (
	accountDisabled = 0x2
	normalAccount   = 0x200
	workstation     = 0x1000
	serverTrust     = 0x2000
)

// lastSecond is the end of the year 9999. What lies behind it is no time.
const lastSecond = 253402300799

// filetime turns seconds since 1970 into ticks since 1601.
func filetime(seconds int64) string {
	return strconv.FormatInt((seconds+11644473600)*10_000_000, 10)
}

// account takes what only users and computers have.
func (c *Collection) account(it *item, o *object, k kind) {
	c.accountControl(it, o, k)
	if sid, ok := parseSID(o.PrimaryGroupSID); ok {
		if rid, ok := sid.RID(); ok {
			it.set("primaryGroupID", strconv.FormatUint(uint64(rid), 10))
		}
	}
	for name, attr := range map[string]string{"pwdlastset": "pwdLastSet", "lastlogontimestamp": "lastLogonTimestamp"} {
		switch t, ok := o.Properties.number(name); {
		case !ok, t > lastSecond:
		case t < 0:
			it.set(attr)
		case t == 0:
			it.set(attr, "0")
		default:
			it.set(attr, filetime(t))
		}
	}
	for _, p := range []struct{ name, attr string }{
		{"serviceprincipalnames", "servicePrincipalName"}, {"allowedtodelegate", "msDS-AllowedToDelegateTo"},
	} {
		if list, ok := o.Properties.list(p.name); ok {
			it.set(p.attr, list...)
		}
	}
	c.history(it, o)
	if k != computerKind {
		return
	}
	if host, ok := o.Properties.text("name"); ok && strings.Contains(host, ".") {
		it.set("dNSHostName", strings.ToLower(host))
	}
	if laps, ok := o.Properties.flag("haslaps"); ok {
		it.choice("msLAPS-PasswordExpirationTime", laps, "1")
		it.set("ms-Mcs-AdmPwdExpirationTime")
		c.stats.laps = c.stats.laps || laps
	}
	var readers []secdesc.ACE
	for _, p := range o.AllowedToAct {
		sid, ok := parseSID(p.ObjectIdentifier)
		if !ok {
			c.stats.outside++
			continue
		}
		readers = append(readers, secdesc.ACE{Type: secdesc.Allow, Mask: secdesc.FullControl, SID: sid})
	}
	if readers != nil {
		it.set("msDS-AllowedToActOnBehalfOfOtherIdentity", string(readersDescriptor(readers).Bytes()))
	}
	it.listed(forest.MsDSAllowedToActOnBehalfOfOtherIdentity, o.AllowedToAct != nil)
	for _, p := range o.DumpSMSAPassword {
		it.refs = append(it.refs, reference{forest.MsDSHostServiceAccount, p.ObjectIdentifier})
	}
	it.listed(forest.MsDSHostServiceAccount, o.DumpSMSAPassword != nil)
}

// history takes the SID history, from the attribute or from the list of objects.
func (c *Collection) history(it *item, o *object) {
	list, ok := o.Properties.list("sidhistory")
	if !ok && len(o.HasSIDHistory) == 0 {
		return
	}
	for _, p := range o.HasSIDHistory {
		if !slices.Contains(list, p.ObjectIdentifier) {
			list = append(list, p.ObjectIdentifier)
		}
	}
	var sids []string
	for _, s := range list {
		sid, ok := parseSID(s)
		if !ok {
			c.stats.outside++
			continue
		}
		sids = append(sids, string(sid.Bytes()))
	}
	it.set("sIDHistory", sids...)
}

// accountControl takes userAccountControl as it is, or puts it together from flags,
// of which version 5 has not all.
func (c *Collection) accountControl(it *item, o *object, k kind) {
	if v, ok := o.Properties.number("useraccountcontrol"); ok && v == int64(int32(v)) {
		it.set("userAccountControl", strconv.FormatInt(v, 10))
		return
	}
	enabled, ok := o.Properties.flag("enabled")
	if !ok {
		return
	}
	v := int64(normalAccount)
	if k == computerKind {
		v = workstation
		if isDC, _ := o.Properties.flag("isdc"); o.IsDC || isDC {
			v = serverTrust
		}
	}
	if !enabled {
		v |= accountDisabled
	}
	for name, bit := range accountFlags {
		if on, _ := o.Properties.flag(name); on {
			v |= bit
		}
	}
	it.set("userAccountControl", strconv.FormatInt(v, 10))
	c.stats.flags++
}

// Types of groups ([MS-ADTS] 2.2.12).
const (
	globalGroup    = "-2147483646"
	localGroup     = "-2147483644"
	builtinGroup   = "-2147483643"
	universalGroup = "-2147483640"
)

// groupType returns the type that a well-known group has, and universal for others,
// whose members then count everywhere.
func groupType(sid secdesc.SID) string {
	rid, _ := sid.RID()
	switch {
	case sid.Domain() == secdesc.Administrators.Domain():
		return builtinGroup
	case slices.Contains([]uint32{498, 518, 519, 527}, rid):
		return universalGroup
	case slices.Contains([]uint32{517, 553, 571, 572}, rid):
		return localGroup
	case rid < 1000:
		return globalGroup
	}
	return universalGroup
}

func (c *Collection) group(it *item, o *object) {
	if it.kind == 0 {
		return // a well-known identity is no group of the directory
	}
	it.set("groupType", groupType(it.sid))
	c.stats.groups++
	for _, m := range o.Members {
		it.refs = append(it.refs, reference{forest.Member, m.ObjectIdentifier})
	}
	it.listed(forest.Member, o.Members != nil)
	c.history(it, o)
}

// container takes links to policies.
func (c *Collection) container(it *item, o *object) {
	it.links = o.Links
	it.listed(forest.GPLink, o.Links != nil)
	if on, ok := o.Properties.flag("blocksinheritance"); ok {
		it.choice("gPOptions", on, "1")
	}
}

// numbers are attributes whose values collections have as numbers.
var numbers = map[string]string{
	"machineaccountquota": "ms-DS-MachineAccountQuota", "minpwdlength": "minPwdLength", "pwdproperties": "pwdProperties",
	"pwdhistorylength": "pwdHistoryLength", "lockoutthreshold": "lockoutThreshold",
}

// levels are the functional levels under BloodHound's names.
var levels = []string{"2000 Mixed/Native", "2003 Interim", "2003", "2008", "2008 R2", "2012", "2012 R2", "2016", "", "", "2025"}

func (c *Collection) domain(it *item, o *object) {
	it.root = strings.ToUpper(o.ForestRootID)
	for _, name := range sortedKeys(numbers) {
		if n, ok := o.Properties.number(name); ok {
			it.set(numbers[name], strconv.FormatInt(n, 10))
		}
	}
	level, _ := o.Properties.text("functionallevel")
	if i := slices.Index(levels, level); i >= 0 && level != "" {
		it.set("msDS-Behavior-Version", strconv.Itoa(i))
	}
	for i := range o.Trusts {
		t := &o.Trusts[i]
		if withinForest(t) {
			it.kin = append(it.kin, strings.ToUpper(t.TargetDomainSid))
		}
		if e := c.trusted(it, t); e != nil {
			c.list = append(c.list, *e)
		}
	}
}

// Attributes of trusts ([MS-ADTS] 6.1.6.7.9).
const (
	trustNonTransitive = 0x1
	trustQuarantined   = 0x4
	trustForest        = 0x8
	trustWithinForest  = 0x20
)

// withinForest reports whether a trust is one between domains of a forest.
func withinForest(t *trust) bool {
	if n, ok := number(t.TrustAttributes); ok {
		return n&trustWithinForest != 0
	}
	word := strings.ToLower(strings.Trim(string(t.TrustType), `"`))
	return word == "parentchild" || word == "0" || word == "crosslink" || word == "1"
}

// trusted makes the object of a trust.
func (c *Collection) trusted(dom *item, t *trust) *item {
	name := strings.ToLower(t.TargetDomainName)
	if name == "" || strings.ContainsAny(name, `,=+"\<>;#`) {
		c.stats.skipped["trusts without a name"]++
		return nil
	}
	it := &item{asked: map[forest.Attr]bool{}, domain: dom.domain}
	it.entry.DN = "CN=" + name + ",CN=System," + dom.domain
	if c.dns[strings.ToUpper(it.entry.DN)] {
		return nil
	}
	c.dns[strings.ToUpper(it.entry.DN)] = true
	it.set("objectClass", trustedClasses...)
	it.set("trustPartner", name)
	it.set("trustType", "2")
	if d, ok := direction(t); ok {
		it.set("trustDirection", strconv.FormatInt(d, 10))
	}
	if sid, ok := parseSID(t.TargetDomainSid); ok {
		it.set("securityIdentifier", string(sid.Bytes()))
	}
	n, ok := number(t.TrustAttributes)
	if !ok {
		n = composedTrust(t)
		c.stats.trusts++
	}
	it.set("trustAttributes", strconv.FormatInt(n, 10))
	return it
}

// direction reads the name or number of a direction.
func direction(t *trust) (int64, bool) {
	if n, ok := number(t.TrustDirection); ok && n >= 0 && n <= 3 {
		return n, true
	}
	word := strings.ToLower(strings.Trim(string(t.TrustDirection), `"`))
	i := slices.Index([]string{"disabled", "inbound", "outbound", "bidirectional"}, word)
	return int64(i), i >= 0
}

// composedTrust puts trustAttributes together where only words were collected.
func composedTrust(t *trust) int64 {
	var n int64
	if !t.IsTransitive {
		n |= trustNonTransitive
	}
	word := strings.ToLower(strings.Trim(string(t.TrustType), `"`))
	switch {
	case withinForest(t):
		n |= trustWithinForest
		if t.SidFilteringEnabled {
			n |= trustQuarantined
		}
	case word == "forest" || word == "2":
		n |= trustForest
	case t.SidFilteringEnabled:
		n |= trustQuarantined
	}
	return n
}

// thumbprint reads a SHA-1 thumbprint in hexadecimal.
func thumbprint(s string) (string, bool) {
	b, err := hex.DecodeString(s)
	return string(b), err == nil && len(b) == 20
}
