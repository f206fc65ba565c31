package forestgen

import (
	"slices"
	"strconv"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// schemaClasses are classes with their GUID and the class they derive from.
var schemaClasses = [][3]string{
	{"top", "bf967ab7-0de6-11d0-a285-00aa003049e2", "top"},
	{"person", "bf967aa7-0de6-11d0-a285-00aa003049e2", "top"},
	{"organizationalPerson", "bf967aa4-0de6-11d0-a285-00aa003049e2", "person"},
	{"user", "bf967aba-0de6-11d0-a285-00aa003049e2", "organizationalPerson"},
	{"computer", "bf967a86-0de6-11d0-a285-00aa003049e2", "user"},
	{"group", "bf967a9c-0de6-11d0-a285-00aa003049e2", "top"},
	{"container", "bf967a8b-0de6-11d0-a285-00aa003049e2", "top"},
	{"organizationalUnit", "bf967aa5-0de6-11d0-a285-00aa003049e2", "top"},
	{"domain", "19195a5a-6da0-11d0-afd3-00c04fd930c9", "top"},
	{"domainDNS", "19195a5b-6da0-11d0-afd3-00c04fd930c9", "domain"},
	{"groupPolicyContainer", "f30e3bc2-9ff0-11d1-b603-0000f80367c1", "container"},
	{"foreignSecurityPrincipal", "89e31c12-8530-11d0-afda-00c04fd930c9", "top"},
	{"inetOrgPerson", "4828cc14-1437-45bc-9b07-ad6f015e5f28", "user"},
	{"msDS-GroupManagedServiceAccount", "7b8b558a-93a5-4af7-adca-c017e67f1057", "computer"},
}

// schemaAttributes are attributes with their GUID, property set and linkID.
var schemaAttributes = [][4]string{
	{"member", "bf9679c0-0de6-11d0-a285-00aa003049e2", "bc0ac240-79a9-11d0-9020-00c04fc2d4cf", "2"},
	{"servicePrincipalName", "f3a64788-5306-11d1-a9c5-0000f80367c1", "", ""},
	{"pwdLastSet", "bf967a0a-0de6-11d0-a285-00aa003049e2", "4c164200-20c0-11d0-a768-00aa006e0529", ""},
	{"userAccountControl", "bf967a68-0de6-11d0-a285-00aa003049e2", "4c164200-20c0-11d0-a768-00aa006e0529", ""},
	{"lockoutTime", "28630ebf-41d5-11d1-a9c1-0000f80367c1", "", ""},
	{"description", "bf967950-0de6-11d0-a285-00aa003049e2", "e48d0154-bcf8-11d1-8702-00c04fb96050", ""},
	{"displayName", "bf967953-0de6-11d0-a285-00aa003049e2", "e48d0154-bcf8-11d1-8702-00c04fb96050", ""},
	{"sAMAccountName", "3e0abfd0-126a-11d0-a060-00aa006c33ed", "59ba2f42-79a2-11d0-9020-00c04fc2d3cf", ""},
	{"dNSHostName", "72e39547-7b18-11d1-adef-00c04fd8d5cd", "", ""},
	{"gPLink", "f30e3bbe-9ff0-11d1-b603-0000f80367c1", "", ""},
	{"gPOptions", "f30e3bbf-9ff0-11d1-b603-0000f80367c1", "", ""},
	{"msDS-KeyCredentialLink", "5b47d60f-6090-40b2-9f37-2a4de88f3063", "", ""},
	{"msDS-AllowedToActOnBehalfOfOtherIdentity", "3f78c3e5-f79a-46bd-a0b8-9d18116ddc79", "", ""},
	{"tokenGroups", "b7c69e6d-2cc7-11d2-854e-00a0c983f608", "", ""},
}

// extendedRights are rights with their GUID and validAccesses.
var extendedRights = [][3]string{
	{"User-Force-Change-Password", "00299570-246d-11d0-a768-00aa006e0529", "256"},
	{"User-Change-Password", "ab721a53-1e2f-11d0-9819-00aa0040529b", "256"},
	{"Send-To", "ab721a55-1e2f-11d0-9819-00aa0040529b", "256"},
	{"DS-Replication-Get-Changes", "1131f6aa-9c07-11d1-f79f-00c04fc2dcd2", "256"},
	{"DS-Replication-Get-Changes-All", "1131f6ad-9c07-11d1-f79f-00c04fc2dcd2", "256"},
	{"Apply-Group-Policy", "edacfd8f-ffb3-11d1-b41d-00a0c968f939", "256"},
	{"Self-Membership", "bf9679c0-0de6-11d0-a285-00aa003049e2", "8"},
	{"Validated-SPN", "f3a64788-5306-11d1-a9c5-0000f80367c1", "8"},
	{"Validated-DNS-Host-Name", "72e39547-7b18-11d1-adef-00c04fd8d5cd", "8"},
	{"Personal-Information", "77b5b886-944a-11d1-aebd-0000f80367c1", "48"},
	{"Public-Information", "e48d0154-bcf8-11d1-8702-00c04fb96050", "48"},
	{"User-Account-Restrictions", "4c164200-20c0-11d0-a768-00aa006e0529", "48"},
	{"General-Information", "59ba2f42-79a2-11d0-9020-00c04fc2d3cf", "48"},
	{"User-Logon", "5f202010-79a5-11d0-9020-00c04fc2d4cf", "48"},
	{"Membership", "bc0ac240-79a9-11d0-9020-00c04fc2d4cf", "48"},
}

func guid(text string) string {
	g := secdesc.MustGUID(text)
	return string(g[:])
}

func (g *generator) schema() {
	sd := g.descriptor(sdKey{kind: kindOther})
	g.add(DomainDN, []string{"top", "domain", "domainDNS"}, attrs{
		"objectSid", wire(g.domain), "instanceType", "5", "gPLink", g.gpLink(0), "msDS-Behavior-Version", "7",
		"ms-DS-MachineAccountQuota", "10", "minPwdLength", "8", "lockoutThreshold", "0", "nTMixedDomain", "0",
		"maxPwdAge", "-36288000000000", "pwdProperties", "1",
	}, g.headDescriptor(sd))
	g.add(configDN, []string{"top", "configuration"}, attrs{"instanceType", "13"}, sd)
	g.add(schemaDN, []string{"top", "dMD"}, attrs{"instanceType", "13", "objectVersion", "88"}, sd)
	for i, c := range schemaClasses {
		g.add("CN=Class "+strconv.Itoa(i)+","+schemaDN, []string{"top", "classSchema"}, attrs{
			"lDAPDisplayName", c[0], "schemaIDGUID", guid(c[1]), "subClassOf", c[2], "objectClassCategory", "1",
			"defaultSecurityDescriptor", "D:(A;;RPWPCRCCDCLCLORCWOWDSDDTSW;;;DA)(A;;RPWPCRCCDCLCLORCWOWDSDDTSW;;;SY)(A;;RPLCLORC;;;AU)",
		}, sd)
	}
	attributes := schemaAttributes
	if g.power != nil {
		attributes = slices.Concat(attributes, moreAttributes)
	}
	for i, a := range attributes {
		v := attrs{"lDAPDisplayName", a[0], "schemaIDGUID", guid(a[1]), "searchFlags", "0"}
		if a[2] != "" {
			v = append(v, "attributeSecurityGUID", guid(a[2]))
		}
		if a[3] != "" {
			v = append(v, "linkID", a[3])
		}
		g.add("CN=Attribute "+strconv.Itoa(i)+","+schemaDN, []string{"top", "attributeSchema"}, v, sd)
	}
}

func (g *generator) configuration() {
	sd := g.descriptor(sdKey{kind: kindOther})
	g.add("CN=Partitions,"+configDN, []string{"top", "crossRefContainer"}, attrs{"msDS-Behavior-Version", "7"}, sd)
	crossRef := []string{"top", "crossRef"}
	g.add("CN=CONTOSO,CN=Partitions,"+configDN, crossRef, attrs{"nCName", DomainDN, "dnsRoot", DNS, "nETBIOSName", "CONTOSO", "systemFlags", "3"}, sd)
	g.add("CN=Enterprise Configuration,CN=Partitions,"+configDN, crossRef, attrs{"nCName", configDN, "dnsRoot", DNS, "systemFlags", "1"}, sd)
	g.add("CN=Enterprise Schema,CN=Partitions,"+configDN, crossRef, attrs{"nCName", schemaDN, "dnsRoot", DNS, "systemFlags", "1"}, sd)
	for _, dn := range []string{"CN=Services,", "CN=Windows NT,CN=Services,"} {
		g.add(dn+configDN, classContainer, nil, sd)
	}
	g.add("CN=Directory Service,CN=Windows NT,CN=Services,"+configDN, []string{"top", "nTDSService"}, attrs{"tombstoneLifetime", "180"}, sd)
	g.add("CN=Sites,"+configDN, []string{"top", "sitesContainer"}, nil, sd)
	g.add("CN=Default-First-Site-Name,CN=Sites,"+configDN, []string{"top", "site"}, nil, sd)
	g.add("CN=Extended-Rights,"+configDN, classContainer, nil, sd)
	for _, r := range extendedRights {
		g.add("CN="+r[0]+",CN=Extended-Rights,"+configDN, []string{"top", "controlAccessRight"}, attrs{
			"rightsGuid", r[1], "displayName", r[0], "validAccesses", r[2],
			"appliesTo", "bf967aba-0de6-11d0-a285-00aa003049e2", "appliesTo", "bf967a9c-0de6-11d0-a285-00aa003049e2",
		}, sd)
	}
}
