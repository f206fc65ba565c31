package collect

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// LDAP leaves out what the reader may not see, exactly as it leaves out what does
// not exist. So for the attributes whose absence engines judge, the descriptor of
// each object is evaluated with the reader's own token ([MS-ADTS] 3.1.1.4.3,
// 3.1.1.4.4), once per distinct (descriptor, class).

// judged lists, by class, the attributes whose absence means something. Computers
// and managed service accounts are users.
var judged = []struct {
	class string
	attrs []forest.Attr
}{
	{"user", []forest.Attr{
		forest.AccountExpires, forest.AdminCount, forest.AltSecurityIdentities, forest.LastLogonTimestamp,
		forest.MsDSAllowedToActOnBehalfOfOtherIdentity, forest.MsDSAllowedToDelegateTo, forest.MsDSAssignedAuthNPolicy,
		forest.MsDSAssignedAuthNPolicySilo, forest.MsDSSupportedEncryptionTypes, forest.PrimaryGroupID, forest.PwdLastSet,
		forest.ServicePrincipalName, forest.SIDHistory, forest.UserAccountControl, forest.UserParameters, forest.UserPrincipalName,
	}},
	{"computer", []forest.Attr{
		forest.DNSHostName, forest.MsLAPSPasswordExpirationTime, forest.MsMcsAdmPwdExpirationTime,
		forest.OperatingSystem, forest.MsDSHostServiceAccount,
	}},
	{"group", []forest.Attr{forest.AdminCount, forest.GroupType, forest.Member, forest.SIDHistory}},
	{"organizationalUnit", []forest.Attr{forest.GPLink, forest.GPOptions}},
	{"domainDNS", []forest.Attr{forest.GPLink, forest.MsDSMachineAccountQuota, forest.MaxPwdAge}},
	{"site", []forest.Attr{forest.GPLink}},
	{"groupPolicyContainer", []forest.Attr{
		forest.Flags, forest.GPCFileSysPath, forest.GPCMachineExtensionNames, forest.GPCWQLFilter, forest.VersionNumber,
	}},
	{"nTDSService", []forest.Attr{forest.DSHeuristics, forest.TombstoneLifetime}},
	{"msDS-AuthNPolicySilo", []forest.Attr{forest.MsDSAuthNPolicySiloEnforced, forest.MsDSAuthNPolicySiloMembers}},
	{"msPKI-Enterprise-Oid", []forest.Attr{forest.MsDSOIDToGroupLink}},
}

// A schemaView is what reading rights and metadata needs of the schema.
type schemaView struct {
	attrs   map[forest.Attr]attrView
	attids  map[uint32]forest.Attr
	classes map[string]secdesc.GUID // by lower-case lDAPDisplayName
	hidden  bool                    // a definition was not readable
}

// whole reports whether an attribute that the view lacks is not in the schema.
// member is in every schema: without it the partition was not listed.
func (v *schemaView) whole() bool {
	_, listed := v.attrs[forest.Member]
	return listed && !v.hidden
}

type attrView struct {
	guid, set    secdesc.GUID
	confidential bool
}

func newSchemaView() *schemaView {
	return &schemaView{attrs: map[forest.Attr]attrView{}, attids: map[uint32]forest.Attr{}, classes: map[string]secdesc.GUID{}}
}

// learn takes an object of the schema partition.
func (v *schemaView) learn(e dc.Entry) {
	name := e.Value("lDAPDisplayName")
	guid, err := secdesc.GUIDFromBytes([]byte(e.Value("schemaIDGUID")))
	if name == "" || err != nil {
		v.hidden = v.hidden || mayDefine(e)
		return
	}
	if e.Value("attributeID") == "" { // a class
		v.classes[strings.ToLower(name)] = guid
		return
	}
	a, ok := forest.AttrByName(name)
	if !ok {
		return
	}
	view := attrView{guid: guid, confidential: hasBit(e.Value("searchFlags"), 0x80)}
	if set, err := secdesc.GUIDFromBytes([]byte(e.Value("attributeSecurityGUID"))); err == nil {
		view.set = set
	}
	v.attrs[a] = view
	if id, ok := attid(e.Value("attributeID"), e.Value("msDS-IntId")); ok {
		v.attids[id] = a
	}
}

// mayDefine reports whether an object of the schema partition can be the
// definition of an attribute or class: not its head, nor its summary (subSchema).
func mayDefine(e dc.Entry) bool {
	classes := e.Values("objectClass")
	if len(classes) == 0 {
		return true
	}
	leaf := strings.ToLower(string(classes[len(classes)-1]))
	return leaf == "attributeschema" || leaf == "classschema"
}

// hasBit reports whether the decimal number s has a bit of mask set.
func hasBit(s string, mask int64) bool {
	var n int64
	_, err := fmt.Sscan(s, &n)
	return err == nil && n&mask != 0
}

// A readerToken holds the SIDs of the account that reads.
type readerToken struct{ sids map[secdesc.SID]bool }

func (t *readerToken) holds(s secdesc.SID) bool { return t.sids[s] }

// readToken asks the domain controller for the SIDs of the session ([MS-ADTS]
// 3.1.1.3.2.22). It is nil if the server does not tell.
func (sc *scan) readToken(ctx context.Context) (*readerToken, error) {
	t := &readerToken{map[secdesc.SID]bool{}}
	_, err := sc.src.Search(ctx, dc.Request{Scope: dc.ScopeBase, Attributes: []string{"tokenGroups"}, Restart: sc.changed}, func(e dc.Entry) error {
		for _, v := range e.Values("tokenGroups") {
			sid, err := secdesc.SIDFromBytes(v)
			if err != nil {
				return err
			}
			t.sids[sid] = true
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the token of the account: %w", err)
	}
	if len(t.sids) == 0 {
		return nil, nil
	}
	return t, nil
}

// A gapCount counts what could not be read.
type gapCount struct {
	descriptors int
	classless   int
	attrs       map[forest.Attr]int
	containers  []container
	cache       map[gapKey]readable
}

// A container may hold more than was read.
type container struct{ dn, why string }

// gapKey names a descriptor by its digest, because there may be many large ones,
// and a class.
type gapKey struct {
	digest [sha256.Size]byte
	class  string
}

func newGapCount() gapCount {
	return gapCount{attrs: map[forest.Attr]int{}, cache: map[gapKey]readable{}}
}

// readable is what the reader may see of objects with one descriptor and class.
type readable struct {
	denied    []forest.Attr
	why       string        // why they count as denied
	undefined []forest.Attr // not in the part of the schema that the reader sees
	unlisted  string        // why contents of the container may be hidden; empty if they are not
}

// markGaps marks the judged attributes of the entry added last that have no value
// and may not be read, and counts them.
func (sc *scan) markGaps(nc string, e dc.Entry) {
	classes := e.Values("objectClass")
	if len(classes) == 0 {
		sc.gaps.classless++
	}
	r := sc.readableOf(nc, e, classes)
	for _, a := range r.denied {
		sc.mark(e, a, r.why)
	}
	for _, a := range r.undefined {
		sc.mark(e, a, "the account may not read its definition in the schema, so a hidden value looks like none")
	}
	if r.unlisted != "" {
		sc.gaps.containers = append(sc.gaps.containers, container{e.DN, r.unlisted})
	}
}

// readableOf tells what of e the reader may see, and counts missing descriptors.
func (sc *scan) readableOf(nc string, e dc.Entry, classes [][]byte) readable {
	raw := e.Values("nTSecurityDescriptor")
	switch {
	case len(raw) == 0:
		sc.gaps.descriptors++
		return unevaluated(classes, "neither the attribute nor the permissions of the object are readable",
			"the permissions of the container are not readable, so it may hold objects that the account does not see")
	case nc == sc.root.SchemaNC || len(classes) == 0:
		return readable{}
	case sc.token == nil:
		return unevaluated(classes, "the domain controller did not tell the account's groups, so a hidden value looks like none",
			"the domain controller did not tell the account's groups, so hidden objects look like none")
	}
	return sc.readable(raw[0], classes)
}

// unevaluated is what the reader may see of objects whose descriptor says nothing.
func unevaluated(classes [][]byte, why, unlisted string) readable {
	r := readable{denied: judgedFor(classes), why: why}
	if len(classes) > 0 && isContainer(string(classes[len(classes)-1])) {
		r.unlisted = unlisted
	}
	return r
}

func (sc *scan) mark(e dc.Entry, a forest.Attr, why string) {
	if len(e.Values(a.String())) == 0 {
		sc.b.MarkUnreadable(a, why)
		sc.gaps.attrs[a]++
	}
}

func judgedFor(classes [][]byte) []forest.Attr {
	var out []forest.Attr
	for _, j := range judged {
		if slices.ContainsFunc(classes, func(c []byte) bool { return strings.EqualFold(string(c), j.class) }) {
			out = append(out, j.attrs...)
		}
	}
	return out
}

// readable evaluates a descriptor for objects of the given classes.
func (sc *scan) readable(raw []byte, classes [][]byte) readable {
	leaf := string(classes[len(classes)-1])
	key := gapKey{sha256.Sum256(raw), leaf}
	r, ok := sc.gaps.cache[key]
	if !ok {
		if d, err := secdesc.Parse(raw); err != nil {
			r = unevaluated(classes, "the permissions of the object are malformed, so a hidden value looks like none",
				"the permissions of the container are malformed, so it may hold objects that the account does not see")
		} else {
			r = sc.evaluate(d, leaf, judgedFor(classes))
		}
		sc.gaps.cache[key] = r
	}
	return r
}

func (sc *scan) evaluate(d *secdesc.Descriptor, leaf string, judged []forest.Attr) readable {
	r := readable{why: "the account that scanned may not read it"}
	target := secdesc.ReadTarget{}
	if g, ok := sc.schema.classes[strings.ToLower(leaf)]; ok { // the root of the tree of types
		target.Classes = []secdesc.GUID{g}
	}
	for _, a := range judged {
		view, ok := sc.schema.attrs[a]
		if !ok {
			if !sc.schema.whole() {
				r.undefined = append(r.undefined, a)
			}
			continue // else the schema does not have it: nobody has a value
		}
		target.Attribute, target.PropertySet, target.Confidential = view.guid, view.set, view.confidential
		if granted, _ := secdesc.CanRead(d, sc.token.holds, target); !granted {
			r.denied = append(r.denied, a)
		}
	}
	list := d.Access(sc.token.holds, secdesc.Request{Mask: secdesc.ListContents, Types: target.Classes})
	if list.Outcome != secdesc.Granted && isContainer(leaf) {
		r.unlisted = "the account may not list what the container holds (LIST_CONTENTS)"
	}
	return r
}

// isContainer reports whether objects of the class are there to hold others. Most
// classes may hold some child; for a user or a service connection point that does
// not matter here.
func isContainer(class string) bool {
	switch strings.ToLower(class) {
	case "domaindns", "organizationalunit", "container", "builtindomain", "configuration", "lostandfound",
		"sitescontainer", "site", "serverscontainer", "subnetcontainer", "grouppolicycontainer",
		"crossrefcontainer", "msds-passwordsettingscontainer", "msds-authnpolicysilos", "msds-authnpolicies":
		return true
	}
	return false
}

// addMetadata records the last changes of the attributes that findings cite.
// Ordinary objects keep that of userAccountControl alone.
func (sc *scan) addMetadata(e dc.Entry, raw []byte) {
	if raw == nil {
		return
	}
	changes, err := parseMetadata(raw)
	if err != nil {
		sc.b.Cover(forest.Coverage{Area: forest.AreaMetadata, Subject: e.DN, State: "unreadable", Reason: err.Error()})
		return
	}
	full := citedInFull(e)
	for _, c := range changes {
		a, ok := sc.schema.attids[c.attid]
		if ok && (full || a == forest.UserAccountControl) && a != forest.WhenCreated && a != forest.InstanceType {
			sc.b.Changed(a, c.change)
		}
	}
}

// citedInFull reports whether findings cite more than the account control of e.
func citedInFull(e dc.Entry) bool {
	if e.Value("adminCount") == "1" || e.Value("gPLink") != "" {
		return true
	}
	classes := e.Values("objectClass")
	if len(classes) == 0 {
		return false
	}
	switch string(classes[len(classes)-1]) {
	case "group", "groupPolicyContainer", "domainDNS", "organizationalUnit":
		return true
	}
	return strings.HasPrefix(strings.ToLower(e.DN), "cn=adminsdholder,")
}

// cover states what was not read, apart from what is stated where it happened.
func (sc *scan) cover() {
	g := sc.gaps
	put := func(area forest.Area, subject, state, reason string, n int) {
		sc.b.Cover(forest.Coverage{Area: area, Subject: subject, State: state, Reason: reason, Count: n})
	}
	if g.descriptors > 0 {
		put(forest.AreaDescriptor, "nTSecurityDescriptor", "partial", "the account may not read the permissions of these objects (READ_CONTROL)", g.descriptors)
	} else {
		put(forest.AreaDescriptor, "nTSecurityDescriptor", "complete", "", 0)
	}
	switch {
	case sc.sacl:
		put(forest.AreaSACL, "nTSecurityDescriptor", "complete", "", 0)
	case sc.opt.SACL:
		put(forest.AreaSACL, "nTSecurityDescriptor", "unreadable", "audit entries need the right to manage auditing (SeSecurityPrivilege) on the domain controller", 0)
	default:
		put(forest.AreaSACL, "nTSecurityDescriptor", "not collected", "audit entries were not asked for", 0)
	}
	if g.classless > 0 {
		put(forest.AreaAttribute, "objectClass", "partial", "the account sees that these objects exist and nothing else", g.classless)
	}
	for _, a := range sortedAttrs(g.attrs) {
		put(forest.AreaAttribute, a.String(), "partial", "the account may not read it on these objects", g.attrs[a])
	}
	for _, c := range g.containers {
		put(forest.AreaContainer, c.dn, "unreadable", c.why, 0)
	}
	if sc.token == nil {
		put(forest.AreaAttribute, "*", "partial", "the domain controller did not tell the account's groups: absent and unreadable attributes cannot be told apart", 0)
	}
	sc.coverOthers(put)
}

// coverOthers states which partitions of the forest were left out.
func (sc *scan) coverOthers(put func(forest.Area, string, string, string, int)) {
	stated := map[string]bool{}
	for _, nc := range sc.read {
		stated[strings.ToLower(nc)] = true
	}
	missing := func(dn, reason string) {
		if key := strings.ToLower(dn); dn != "" && !stated[key] {
			stated[key] = true
			put(forest.AreaPartition, dn, "not collected", reason, 0)
		}
	}
	for _, dn := range sc.other {
		missing(dn, "another domain of the forest: scan it too and assess both")
	}
	for _, nc := range sc.root.NamingContexts {
		missing(nc, forest.ReasonApplication)
	}
	for _, ref := range sc.refs {
		missing(referredTo(ref), "the domain controller referred to it: "+ref)
	}
}

// referredTo returns the name in an LDAP URL (RFC 4516); the URL itself if it has
// none that can be read.
func referredTo(ref string) string {
	u, err := url.Parse(ref)
	if err != nil || strings.Trim(u.Path, "/") == "" {
		return ref
	}
	return strings.Trim(u.Path, "/")
}

func sortedAttrs(m map[forest.Attr]int) []forest.Attr {
	out := make([]forest.Attr, 0, len(m))
	for a := range m {
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b forest.Attr) int { return cmp.Compare(a.String(), b.String()) })
	return out
}

// hasSACL reports whether the descriptor of e came, and with its audit entries.
func hasSACL(e dc.Entry) bool {
	raw := e.Values("nTSecurityDescriptor")
	if len(raw) == 0 {
		return false
	}
	d, err := secdesc.Parse(raw[0])
	return err == nil && d.Control&secdesc.SACLPresent != 0
}
