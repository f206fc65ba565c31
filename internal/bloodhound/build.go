package bloodhound

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/forest/fixture"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// stats is what coverage will say.
type stats struct {
	described int            // objects with rights
	bare      int            // objects without
	groups    int            // whose type is assumed
	flags     int            // accounts whose userAccountControl was put together
	trusts    int            // whose trustAttributes were put together
	hosts     int            // with sessions, local groups or user rights
	laps      bool           // a computer keeps its password in the directory
	rights    map[string]int // rights in words that are not known, and how often
	skipped   map[string]int // what was left out
	without   map[string]int // methods that were not used, and for how many objects
	outside   int            // references to objects that were not collected
}

// Snapshot makes the snapshot. The Collection must not be used afterwards. Errors
// are ErrIncomplete if no domain is among the objects, ErrConflict if domains of
// several forests are, and those of a [forest.Builder].
func (c *Collection) Snapshot(info forest.Info) (*forest.Snapshot, error) {
	root, err := c.rootDomain()
	if err != nil {
		return nil, err
	}
	info.Source, info.Domain = "bloodhound", strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(strings.ToUpper(root), "DC="), ",DC=", "."))
	b := forest.NewBuilder(info)
	c.resolve()
	if err := c.build(b); err != nil {
		return nil, err
	}
	if err := c.addSchema(b, c.configuration(root)); err != nil {
		return nil, err
	}
	c.cover(b)
	return b.Build()
}

// rootDomain returns the distinguished name of the forest's root domain, and
// refuses domains of which nothing shows that they are of one forest.
func (c *Collection) rootDomain() (string, error) {
	var domains []*item
	for i := range c.list {
		if c.list[i].kind == domainKind {
			domains = append(domains, &c.list[i])
		}
	}
	if len(domains) == 0 {
		return "", fmt.Errorf("%w: no domain is among the objects: import its domains file (…_domains.json) too", ErrIncomplete)
	}
	slices.SortFunc(domains, func(a, b *item) int {
		return cmp.Or(cmp.Compare(len(a.entry.DN), len(b.entry.DN)), strings.Compare(a.entry.DN, b.entry.DN))
	})
	for _, d := range domains { // the collection may say which it is
		for _, r := range domains {
			if d.root != "" && strings.EqualFold(r.sid.String(), d.root) {
				domains[0], domains[slices.Index(domains, r)] = r, domains[0]
			}
		}
	}
	reached := []*item{domains[0]}
	rest := domains[1:]
	for i := 0; i < len(reached); i++ {
		var left []*item
		for _, d := range rest {
			if related(reached[i], d) {
				reached = append(reached, d)
			} else {
				left = append(left, d)
			}
		}
		rest = left
	}
	if len(rest) > 0 {
		return "", fmt.Errorf("%w: nothing shows that %s and %s are of one forest: import each forest by itself", ErrConflict, domains[0].entry.DN, rest[0].entry.DN)
	}
	return domains[0].entry.DN, nil
}

// related reports whether two domains are seen to be of one forest.
func related(a, b *item) bool {
	x, y := strings.ToUpper(a.entry.DN), strings.ToUpper(b.entry.DN)
	return strings.HasSuffix(y, ","+x) || strings.HasSuffix(x, ","+y) ||
		a.root != "" && a.root == b.root ||
		slices.Contains(a.kin, b.sid.String()) || slices.Contains(b.kin, a.sid.String())
}

// configuration returns the name of the configuration partition: that of an object
// in it, or the usual one.
func (c *Collection) configuration(root string) string {
	const head = "CN=CONFIGURATION,"
	for i := range c.list {
		dn := c.list[i].entry.DN
		if at := strings.Index(strings.ToUpper(dn), ","+head); at >= 0 {
			return dn[at+1:]
		}
	}
	return "CN=Configuration," + root
}

// resolve turns references into distinguished names, and adds the stand-ins of
// well-known principals that are members of groups.
func (c *Collection) resolve() {
	n := len(c.list)
	for i := range n {
		it := &c.list[i]
		values := map[forest.Attr][]string{}
		for _, r := range it.refs {
			dn := c.nameOf(r.to, it.domain)
			if dn == "" {
				continue
			}
			if r.attr == forest.CertificateTemplates {
				dn = relativeName(dn)
			}
			values[r.attr] = append(values[r.attr], dn)
		}
		for _, a := range []forest.Attr{forest.Member, forest.MsDSHostServiceAccount, forest.MsDSOIDToGroupLink, forest.CertificateTemplates} {
			if len(values[a]) > 0 {
				slices.Sort(values[a])
				c.list[i].set(a.String(), slices.Compact(values[a])...)
			}
		}
		if link := c.gpLinkOf(it.links); link != "" {
			c.list[i].set("gPLink", link)
		}
		c.list[i].refs = nil
	}
}

// nameOf returns the distinguished name of what id names, as seen from a domain. An
// object that was not collected gets the name of a stand-in for its SID.
func (c *Collection) nameOf(id, domain string) string {
	if dn, ok := c.names[strings.ToUpper(id)]; ok {
		return dn
	}
	sid, ok := parseSID(id)
	if !ok {
		c.stats.outside++
		if _, err := forest.ParseDN(id); err == nil && strings.Contains(id, "=") {
			return id
		}
		return ""
	}
	dn := "CN=" + sid.String() + ",CN=ForeignSecurityPrincipals," + domain
	if sid.IsDomainRelative() || sid.Domain() == secdesc.Administrators.Domain() {
		c.stats.outside++
		return dn
	}
	if !c.dns[strings.ToUpper(dn)] {
		c.dns[strings.ToUpper(dn)] = true
		it := item{asked: map[forest.Attr]bool{}, sid: sid, domain: domain}
		it.entry.DN = dn
		it.set("objectClass", foreignClasses...)
		it.set("objectSid", string(sid.Bytes()))
		c.list = append(c.list, it)
		c.stats.bare++
	}
	return dn
}

// relativeName returns the value of the first component of a name.
func relativeName(dn string) string {
	parts, err := forest.ParseDN(dn)
	if err != nil || len(parts) == 0 {
		return dn
	}
	return parts[0].Value
}

// gpLinkOf writes links to policies as the attribute has them ([MS-GPOL] 2.2.2).
// Links to policies that were not collected are left out and counted.
func (c *Collection) gpLinkOf(links []gpLink) string {
	var out strings.Builder
	for _, l := range links {
		dn, ok := c.names[strings.ToUpper(l.GUID)]
		if !ok {
			c.stats.outside++
			continue
		}
		option := "0"
		if l.IsEnforced {
			option = "2"
		}
		out.WriteString("[LDAP://" + dn + ";" + option + "]")
	}
	return out.String()
}

// build adds the objects, in parts of which the same attributes were collected.
func (c *Collection) build(b *forest.Builder) error {
	parts := map[string][]int{}
	for i := range c.list {
		key := attrKey(c.list[i].asked)
		parts[key] = append(parts[key], i)
	}
	for _, key := range sortedKeys(parts) {
		rows := parts[key]
		var asked []forest.Attr
		for a := range c.list[rows[0]].asked {
			asked = append(asked, a)
		}
		err := b.Part(asked, func() error {
			for _, i := range rows {
				it := &c.list[i]
				if err := b.Add(it.entry); err != nil {
					return err
				}
				for a, why := range it.partial {
					b.MarkUnreadable(a, why)
				}
				it.entry = forest.Entry{DN: it.entry.DN}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func attrKey(asked map[forest.Attr]bool) string {
	var names []string
	for a := range asked {
		names = append(names, a.String())
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// addSchema adds the definitions that rights are judged by.
func (c *Collection) addSchema(b *forest.Builder, conf string) error {
	extra := []struct {
		name string
		guid secdesc.GUID
	}{{"ms-DS-Key-Credential-Link", attrKeyCredential}}
	display := map[string]string{"ms-DS-Key-Credential-Link": "msDS-KeyCredentialLink", "ms-LAPS-Password": "msLAPS-Password"}
	if c.stats.laps {
		extra = append(extra, struct {
			name string
			guid secdesc.GUID
		}{"ms-LAPS-Password", attrLAPSPlaceholder})
	}
	return b.Part(nil, func() error {
		if err := fixture.AddStandardSchema(b, conf, func(dn string) bool { return c.dns[strings.ToUpper(dn)] }); err != nil {
			return err
		}
		for _, x := range extra {
			flags := "0"
			if x.guid == attrLAPSPlaceholder {
				flags = "904" // confidential, as Microsoft publishes it
			}
			e := forest.Entry{DN: "CN=" + x.name + ",CN=Schema," + conf, Attrs: []forest.Values{
				{Name: "objectClass", Vals: [][]byte{[]byte("top"), []byte("attributeSchema")}},
				{Name: "lDAPDisplayName", Vals: [][]byte{[]byte(display[x.name])}},
				{Name: "schemaIDGUID", Vals: [][]byte{x.guid[:]}},
				{Name: "searchFlags", Vals: [][]byte{[]byte(flags)}},
			}}
			if err := b.Add(e); err != nil {
				return err
			}
		}
		return nil
	})
}
