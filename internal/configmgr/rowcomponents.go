package configmgr

import (
	"slices"
	"strings"
)

func (b *Builder) addClientComponent(row Row) error {
	name := row.text("ItemName")
	if name == "" {
		name = row.text("ClientComponentName")
	}
	if !strings.EqualFold(name, "Software Distribution") {
		return nil
	}
	if v := row.get("PropLists"); isCut(v) {
		b.cutNote(sciClientComp, "PropLists")
		return nil
	}
	code := b.siteCode(sciClientComp, row)
	names, _ := row.embeddedList(listAccess)
	for _, n := range names {
		b.assign(sciClientComp, listAccess, Assignment{Entry: entryNetworkAccess, Site: code, Name: n})
	}
	b.site(code)
	return nil
}

// addComponent takes a component of the site control file: push, discovery agents,
// mail. Only listed properties are there after reduction.
func (b *Builder) addComponent(row Row) error {
	name := row.text("ComponentName")
	if name == "" {
		name, _, _ = strings.Cut(row.text("ItemName"), "|")
	}
	if name == "" {
		return lacks("ComponentName")
	}
	code := b.siteCode(sciComponent, row)
	if isCut(row.get("Props")) || isCut(row.get("PropLists")) {
		b.cutNote(sciComponent, "Props")
		return nil
	}
	switch strings.ToUpper(name) {
	case "SMS_DISCOVERY_DATA_MANAGER", PartPush:
		// One object of Get-CMClientPushInstallation may have both the settings of the
		// one component and the accounts of the other.
		if names, ok := row.embeddedList(listPush); ok {
			b.addPush(sciComponent, code, names)
		}
		for _, p := range pushProperties() {
			n, ok := row.propertyNumber(p)
			b.pushSetting(code, p, n, ok, row.property(p, "Value1"))
		}
	}
	if n, ok := row.propertyNumber("EnableSmtpSetting"); ok {
		b.addMail(row, code, n == 1)
	}
	return nil
}

func (b *Builder) addMail(row Row, code string, enabled bool) {
	b.set(code, "smtp.enabled", enabled)
	if !enabled {
		return
	}
	method, ok := row.propertyNumber("AuthenticationMethod")
	if !ok || method < 0 || method > 1<<31 {
		return
	}
	b.set(code, "smtp.auth", method)
	if method == 2 { // neither anonymous nor the site server's own account
		b.assign(sciComponent, "UserName", Assignment{Entry: entryMail, Site: code, Name: row.property("UserName", "Value1")})
	}
}

func (b *Builder) addProperty(row Row) error {
	name := row.text("PropertyName")
	if name == "" {
		return lacks("PropertyName")
	}
	if t := row.text("ItemType"); t != "" && !strings.EqualFold(t, "SMS_DISCOVERY_DATA_MANAGER") {
		return nil
	}
	n, ok := row.number("Value")
	b.pushSetting(b.siteCode(sciProperty, row), name, n, ok, row.text("Value1"))
	return nil
}

// pushSetting keeps a setting of client push: FILTERS and ENABLEKERBEROSCHECK are
// numbers (docs/CONFIGMGR.md lists them), SETTINGS is a word.
func (b *Builder) pushSetting(code, property string, n int64, ok bool, word string) {
	switch strings.ToUpper(property) {
	case "SETTINGS":
		switch strings.ToUpper(word) {
		case "ACTIVE":
			b.set(code, "push.automatic", true)
		case "INACTIVE":
			b.set(code, "push.automatic", false)
		case "":
		default:
			b.note(sciProperty, "SETTINGS", "neither ACTIVE nor INACTIVE: automatic push is not known")
		}
	case "ENABLEKERBEROSCHECK":
		if ok && n >= 0 && n < 1<<31 {
			b.set(code, "push.kerberos_check", n)
			if n != 2 && n != 3 {
				b.note(sciProperty, "ENABLEKERBEROSCHECK", "neither 2 (no fallback to NTLM) nor 3 (fallback)")
			}
		}
	case "FILTERS":
		if ok && n >= 0 && n < 1<<31 {
			b.set(code, "push.filters", n)
			if n < 0 || n > 7 {
				b.note(sciProperty, "FILTERS", "outside 0 to 7: which computers are pushed to is not known")
			}
		}
	}
}

func (b *Builder) addPropertyList(row Row) error {
	list := row.text("PropertyListName")
	if list == "" {
		return lacks("PropertyListName")
	}
	if isCut(row.get("Values")) {
		b.cutNote(sciPropertyList, "Values")
		return nil
	}
	code := b.siteCode(sciPropertyList, row)
	switch {
	case strings.EqualFold(list, listPush):
		if t := row.text("ItemType"); t != "" && !strings.EqualFold(t, "SMS_CLIENT_CONFIG_MANAGER") && !strings.EqualFold(t, "SMS_DISCOVERY_DATA_MANAGER") {
			return nil
		}
		b.addPush(sciPropertyList, code, row.texts("Values"))
	case strings.EqualFold(list, listAccess):
		for _, n := range row.texts("Values") {
			b.assign(sciPropertyList, listAccess, Assignment{Entry: entryNetworkAccess, Site: code, Name: n})
		}
	}
	return nil
}

func (b *Builder) addPush(class, code string, names []string) {
	for _, n := range names {
		b.assign(class, "Values", Assignment{Entry: entryPush, Site: code, Name: n})
	}
	b.site(code)
}

func (b *Builder) addRoute(row Row) error {
	code, to := b.siteCode(sciAddress, row), strings.ToUpper(row.text("DesSiteCode"))
	if to == "" {
		return lacks("DesSiteCode")
	}
	if n, ok := row.number("DestinationType"); ok && n == 1 {
		return nil // to a distribution point, which has no group of its own
	}
	if isCut(row.get("Props")) {
		b.cutNote(sciAddress, "Props")
		return nil
	}
	if !siteCodeForm.MatchString(to) {
		return &RowError{Column: "DesSiteCode", Why: "is no site code"}
	}
	// The account logs on to the destination, where it must be in the group.
	b.assign(sciAddress, "LAN Login", Assignment{Entry: entrySiteToSite, Site: to, Location: code, Name: row.property("LAN Login", "Value2", "Value1")})
	return nil
}

func (b *Builder) addForest(row Row) error {
	name := strings.ToLower(row.text("ForestFQDN"))
	if name == "" {
		return lacks("ForestFQDN")
	}
	discovery, _ := row.truth("EnableDiscovery")
	status, _ := row.number("PublishingStatus")
	b.forests = append(b.forests, SiteForest{Name: name, Discovery: discovery, Publishing: status != 0 || row.text("PublishingPath") != ""})
	b.assign(smsForest, "Account", Assignment{Entry: entryForest, Location: name, Name: row.text("Account")})
	return nil
}

func (b *Builder) addMigration(row Row) error {
	from := strings.ToLower(row.text("SourceSiteFQDN"))
	if from == "" {
		from = row.text("SourceSiteCode")
	}
	if from == "" {
		return lacks("SourceSiteFQDN")
	}
	if gone, _ := row.truth("IsDeleted"); gone {
		return nil
	}
	a := Assignment{Site: strings.ToUpper(row.text("DestinationSiteCode")), Location: from}
	if done, _ := row.truth("IsDecommissioned"); !done && siteCodeForm.MatchString(a.Site) {
		b.set(a.Site, "migration.active", true)
	}
	a.Entry, a.Name = entrySource, row.text("Account")
	b.assign(smsMigration, "Account", a)
	a.Entry, a.Name = entrySourceDatabase, row.text("AccountForSql")
	b.assign(smsMigration, "AccountForSql", a)
	return nil
}

// addClientSettings takes client settings: a row of the class with its agents, or the
// remote tools as Get-CMClientSetting prints them.
func (b *Builder) addClientSettings(row Row) error {
	found := row.has("PermittedViewers") || row.has("PermissionRequired")
	if found {
		b.addRemoteTools(row, row)
	}
	if v := row.get("AgentConfigurations"); isCut(v) {
		b.cutNote(smsClient, "AgentConfigurations")
		return nil
	}
	for _, e := range row.list("AgentConfigurations") {
		if m, ok := e.(map[string]any); ok && Row(m).has("PermittedViewers") {
			b.addRemoteTools(row, m)
		}
	}
	return nil
}

func (b *Builder) addRemoteTools(of, tools Row) {
	where := of.text("Name")
	if isCut(tools.get("PermittedViewers")) {
		b.cutNote(smsClient, "PermittedViewers")
		return
	}
	for _, n := range tools.texts("PermittedViewers") {
		b.assign(smsClient, "PermittedViewers", Assignment{Entry: entryViewers, Location: where, Name: n})
	}
	settings := map[string]any{"RemoteTools.PermittedViewers": tools.texts("PermittedViewers")}
	for _, one := range []struct{ column, key string }{
		{"PermissionRequired", "RemoteTools.PermissionRequired"},
		{"AllowLocalAdminToDoRemoteControl", "RemoteTools.AllowLocalAdmin"},
		{"EnableRemoteTools", "RemoteTools.Enabled"},
	} {
		if v, ok := tools.truth(one.column); ok {
			settings[one.key] = v
		}
	}
	if s := strings.ToLower(tools.text("FirewallExceptionProfiles")); s != "" {
		settings["RemoteTools.Enabled"] = s != "disabled"
	}
	if n, ok := tools.number("AccessLevel"); ok && n >= 0 && n < 1<<31 {
		settings["RemoteTools.AccessLevel"] = n
	}
	b.client(where, settings)
}

// client keeps client settings in every site: they are the hierarchy's. Several sets
// of settings are several answers, so that a setting on which they differ is a list.
func (b *Builder) client(name string, settings map[string]any) {
	if b.doc.Client == nil {
		b.doc.Client = map[string]map[string]any{}
	}
	if name == "" {
		name = "Default Client Agent Settings"
	}
	kept := b.doc.Client[name]
	if kept == nil {
		kept = map[string]any{}
		b.doc.Client[name] = kept
	}
	for _, k := range sortedKeys(settings) {
		kept[k] = settings[k]
	}
}

// sameFold reports whether two texts are equal without regard to case.
func sameFold(list []string, s string) bool {
	return slices.ContainsFunc(list, func(x string) bool { return strings.EqualFold(x, s) })
}
