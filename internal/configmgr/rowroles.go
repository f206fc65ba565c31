package configmgr

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The roles of site systems that matter here, as SMS_SCI_SysResUse names them.
const (
	roleSiteServer      = "SMS Site Server"
	roleSiteSystem      = "SMS Site System"
	roleManagementPoint = "SMS Management Point"
	roleSoftwareUpdate  = "SMS Software Update Point"
	roleReporting       = "SMS SRS Reporting Point"
	roleMulticast       = "SMS Multicast Service Point"
	roleEnrollment      = "SMS Enrollment Server"
	roleCertificate     = "SMS Certificate Registration Point"
	roleDistribution    = "SMS Distribution Point"
	roleSQL             = "SMS SQL Server"
	roleAssets          = "AI Update Service Point"
	roleProvider        = "SMS Provider"
)

// Ids of the catalogue that readers assign to.
const (
	entrySiteSystem      = "site-system-installation"
	entryManagementPoint = "management-point-connection"
	entrySoftwareUpdate  = "software-update-point-connection"
	entryReporting       = "reporting-services-point"
	entryMulticast       = "multicast-connection"
	entryEnrollment      = "enrollment-point-connection"
	entryCertificate     = "certificate-registration-point"
	entryNetworkAccess   = "network-access"
	entryPush            = "client-push-installation"
	entrySystemDiscovery = "ad-system-discovery"
	entryUserDiscovery   = "ad-user-discovery"
	entryGroupDiscovery  = "ad-group-discovery"
	entryForest          = "ad-forest"
	entrySource          = "source-site"
	entrySourceDatabase  = "source-site-database"
	entryMail            = "smtp-server-connection"
	entryPackage         = "package-access"
	entryViewers         = "remote-tools-permitted-viewers"
	entryCapture         = "capture-os-image"
	entryJoin            = "ts-domain-joining"
	entryFolder          = "ts-network-folder-connection"
	entryRunAs           = "ts-run-as"
	entrySiteToSite      = "sms-sitetositeconnection"
	entryUpdateProxy     = "software-update-point-proxy"
	entryAssetsProxy     = "ai-sync-point-proxy"
	entryExchangeProxy   = "exchange-connector-proxy"
)

func (b *Builder) addSite(row Row) error {
	code := strings.ToUpper(row.text("SiteCode"))
	if code == "" {
		return lacks("SiteCode")
	}
	s := b.site(code)
	fill(&s.Name, row.text("SiteName"))
	fill(&s.Parent, parentCode(row.text("ReportingSiteCode")))
	fill(&s.Server, hostName(row.text("ServerName")))
	if n, ok := row.number("Type"); ok {
		b.setKind(s, n)
	}
	if n, ok := row.number("BuildNumber"); ok && n > 0 && n < 1<<20 {
		b.setBuild(s, int(n))
	}
	if v := row.text("Version"); v != "" {
		b.setVersion(s, v)
	}
	return nil
}

func (b *Builder) addDefinition(row Row) error {
	code := strings.ToUpper(row.text("SiteCode"))
	if code == "" {
		return lacks("SiteCode")
	}
	s := b.site(code)
	fill(&s.Name, row.text("SiteName"))
	fill(&s.Parent, parentCode(row.text("ParentSiteCode")))
	fill(&s.Server, hostName(row.text("SiteServerName")))
	fill(&s.Domain, strings.ToLower(row.text("SiteServerDomain")))
	if n, ok := row.number("SiteType"); ok {
		b.setKind(s, n)
	}
	server := row.property("SQLServerFQDN", "Value1")
	if server == "" {
		server = row.text("SQLServerName")
	}
	if db := row.text("SQLDatabaseName"); server != "" && db != "" {
		s.Database = strings.ToLower(server) + `\` + db
		b.doc.Databases = append(b.doc.Databases, Database{Name: s.Database, Site: code, Host: hostName(server)})
	}
	if v := row.property("Full Version", "Value1"); v != "" {
		b.setVersion(s, v)
	}
	if n, ok := row.propertyNumber("IsEnhancedHTTPEnabled"); ok {
		b.set(code, "https_or_ehttp", n == 1)
	}
	if isCut(row.get("Props")) {
		b.cutNote(sciSite, "Props")
	}
	return nil
}

// parentCode returns a site code, "" for what is none.
func parentCode(s string) string {
	if s = strings.ToUpper(s); siteCodeForm.MatchString(s) {
		return s
	}
	return ""
}

func (b *Builder) setKind(s *Site, n int64) {
	switch n {
	case 1:
		s.Kind = SecondarySite
	case 2:
		s.Kind = PrimarySite
	case 4:
		s.Kind = CentralSite
	default:
		b.note(smsSite, "Type", "site type "+strconv.FormatInt(n, 10)+" is not known")
	}
}

var siteVersion = regexp.MustCompile(`^\d\.0*(\d+)\.(\d{4,5})\.(\d+)`)

func (b *Builder) setVersion(s *Site, v string) {
	if m := siteVersion.FindStringSubmatch(v); m != nil {
		n, err := strconv.Atoi(m[2])
		if err == nil {
			b.setBuild(s, n)
		}
	}
}

func (b *Builder) setBuild(s *Site, build int) {
	s.Build = build
	s.Release = ReleaseOfBuild(build)
}

// ReleaseOfBuild returns the release that a build number belongs to: 2012, 2012-SP1,
// 2012-R2, 2012-SP2 (which 2012-R2-SP1 shares its build with), current-branch; "" if
// the build is older.
func ReleaseOfBuild(build int) string {
	switch {
	case build >= 8325:
		return "current-branch"
	case build >= 8239:
		return "2012-SP2" // also 2012 R2 SP1: one build, told apart by what it was upgraded from
	case build >= 7958:
		return "2012-R2"
	case build >= 7804:
		return "2012-SP1"
	case build >= 7711:
		return "2012"
	}
	return ""
}

// usageEntries tells the slot of a label of AccountUsage. Both accounts of a migration
// have one label; SMS_MigrationSiteMapping tells them apart.
func usageEntry(label string) (entry string, known bool) {
	switch strings.ToLower(label) {
	case "software distribution":
		return entryNetworkAccess, true
	case "sms_client_config_manager":
		return entryPush, true
	case "sms_ad_system_discovery_agent":
		return entrySystemDiscovery, true
	case "sms_ad_user_discovery_agent":
		return entryUserDiscovery, true
	case "sms_ad_security_group_discovery_agent":
		return entryGroupDiscovery, true
	case "migration manager":
		return "", true
	}
	return "", false
}

func (b *Builder) addStored(row Row) error {
	name := row.text("UserName")
	if name == "" {
		return lacks("UserName")
	}
	if isCut(row.get("AccountUsage")) {
		b.cutNote(sciReserved, "AccountUsage")
	}
	usage := slices.DeleteFunc(row.texts("AccountUsage"), func(s string) bool { return isCut(s) })
	a := Assignment{Site: b.siteCode(sciReserved, row), Name: name, Usage: usage, Stored: true}
	b.site(a.Site)
	slots := 0
	for _, label := range usage {
		entry, known := usageEntry(label)
		if !known {
			b.note(sciReserved, "AccountUsage", "label "+strconv.Quote(clipName(label))+" is not known")
		}
		if entry != "" {
			slots++
			a.Entry = entry
			b.assign(sciReserved, "UserName", a)
		}
	}
	if slots == 0 {
		a.Entry = ""
		b.assign(sciReserved, "UserName", a)
	}
	return nil
}

func (b *Builder) addRole(row Row) error {
	role := row.text("RoleName")
	if role == "" {
		return lacks("RoleName")
	}
	host := hostName(row.text("NetworkOSPath"))
	if host == "" {
		return lacks("NetworkOSPath")
	}
	code := b.siteCode(sciSysResUse, row)
	s := b.site(code)
	i := slices.IndexFunc(s.Systems, func(x SiteSystem) bool { return x.Host == host })
	if i < 0 {
		s.Systems = append(s.Systems, SiteSystem{Host: host})
		i = len(s.Systems) - 1
	}
	if !slices.Contains(s.Systems[i].Roles, role) {
		s.Systems[i].Roles = append(s.Systems[i].Roles, role)
	}
	if len(keptProperties(sciSysResUse, role)) == 0 {
		return nil
	}
	if v := row.get("Props"); v == nil || isCut(v) {
		if v != nil {
			b.cutNote(sciSysResUse, "Props")
			return nil
		}
		b.cut[sciSysResUse] = valuesCut
		b.note(sciSysResUse, "Props", "missing: the accounts of "+clipName(role)+" are not known")
		return nil
	}
	b.addRoleAccount(row, Assignment{Site: code, Host: host})
	return nil
}

// addRoleAccount assigns the account of a role.
func (b *Builder) addRoleAccount(row Row, a Assignment) {
	var property string
	switch row.text("RoleName") {
	case roleSiteSystem:
		b.addProxy(row, a, "")
		if n, ok := row.propertyNumber("UseMachineAccount"); ok && n == 1 {
			return
		}
		a.Entry, property = entrySiteSystem, "UserName"
	case roleManagementPoint:
		a.Entry, property = entryManagementPoint, "UserName"
	case roleSoftwareUpdate:
		b.addProxy(row, a, entryUpdateProxy)
		a.Entry, property = entrySoftwareUpdate, "WSUSAccessAccount"
	case roleReporting:
		a.Entry, property = entryReporting, "Username"
	case roleMulticast:
		if n, ok := row.propertyNumber("AuthType"); ok && n != 1 {
			return
		}
		a.Entry, property = entryMulticast, "UserName"
	case roleEnrollment:
		a.Entry, property = entryEnrollment, "UserName"
	case roleCertificate:
		a.Entry, property = entryCertificate, "UserName"
	case roleDistribution:
		b.addDistribution(row, a)
		return
	case roleSQL:
		if name, ok := accountName(row.property("SQL Server Service Logon Account", "Value2", "Value1")); ok {
			b.set(a.Site, "database.serviceAccount", name)
		}
		return
	default:
		return
	}
	a.Name = row.property(property, propertySlots(row.text("RoleName"), property)...)
	b.assign(sciSysResUse, property, a)
}

// propertySlots returns the values of a property in the order in which they are read.
func propertySlots(role, property string) []string {
	for _, k := range roleProperties(role) {
		if k.name == property {
			return k.slots
		}
	}
	return nil
}

// addDistribution notes what of a distribution point concerns accounts.
func (b *Builder) addDistribution(row Row, a Assignment) {
	for _, one := range []struct{ property, key string }{
		{"IsPXE", "pxe.hosts"},
		{propPXEPassword, "pxe.password_hosts"},
	} {
		s := b.site(a.Site)
		list, _ := s.Settings[one.key].([]string)
		if list == nil {
			list = []string{} // known to be none
		}
		if n, ok := row.propertyNumber(one.property); ok && n != 0 && !slices.Contains(list, a.Host) {
			list = append(list, a.Host)
		}
		b.set(a.Site, one.key, list)
	}
}

// proxyUse is the account of a site system for its proxy, which all roles on it share
// in the current branch.
type proxyUse struct {
	at    Assignment
	entry string // "" until the roles of the host are known
}

func (b *Builder) addProxy(row Row, a Assignment, entry string) {
	if n, ok := row.propertyNumber("UseProxy"); ok && n == 0 {
		return
	}
	a.Name = row.property("ProxyUserName", "Value2", "Value1")
	if a.Name != "" {
		b.proxies = append(b.proxies, proxyUse{a, entry})
	}
}

// assignProxies assigns the proxy accounts to the slots of the roles that their hosts
// have: in the current branch one account of a site system serves all of them.
func (b *Builder) assignProxies() {
	for _, p := range b.proxies {
		entries := []string{p.entry}
		if p.entry == "" {
			entries = b.proxyEntries(p.at.Site, p.at.Host)
		}
		for _, e := range entries {
			p.at.Entry = e
			b.assign(sciSysResUse, "ProxyUserName", p.at)
		}
	}
}

func (b *Builder) proxyEntries(code, host string) []string {
	var out []string
	for _, s := range b.site(code).Systems {
		if s.Host != host {
			continue
		}
		for _, pair := range [][2]string{{roleSoftwareUpdate, entryUpdateProxy}, {roleAssets, entryAssetsProxy}, {roleSiteServer, entryExchangeProxy}} {
			if slices.Contains(s.Roles, pair[0]) {
				out = append(out, pair[1])
			}
		}
	}
	if len(out) == 0 {
		// A role that only came with the current branch, such as the service connection
		// point: the merged account stands under the update point's entry.
		out = []string{entryUpdateProxy}
	}
	return out
}

// hostName returns the DNS or NetBIOS name of a server from a UNC path, a NAL path or
// a plain name, in lower case.
func hostName(s string) string {
	if i := strings.LastIndex(s, `]`); i >= 0 {
		s = s[i+1:]
	}
	s = strings.Trim(strings.TrimSpace(s), `\`)
	if i := strings.IndexByte(s, '\\'); i >= 0 {
		s = s[:i]
	}
	return strings.ToLower(strings.TrimSuffix(s, "."))
}

func fill(to *string, with string) {
	if *to == "" {
		*to = with
	}
}
