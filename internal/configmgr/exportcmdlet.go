package configmgr

import (
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A cmdletOutput is what a cmdlet writes: rows of a class, or of a part of it.
type cmdletOutput struct{ cmdlet, class, part string }

// cmdlets lists the cmdlets whose output is understood. Those that list everything of
// their class have no part.
func cmdlets() []cmdletOutput {
	return []cmdletOutput{
		{"Get-CMAccount", sciReserved, ""},
		{"Get-CMSite", smsSite, ""},
		{"Get-CMSiteDefinition", sciSite, ""},
		{"Get-CMSiteRole", sciSysResUse, ""},
		{"Get-CMSiteSystemServer", sciSysResUse, roleSiteSystem},
		{"Get-CMManagementPoint", sciSysResUse, roleManagementPoint},
		{"Get-CMSoftwareUpdatePoint", sciSysResUse, roleSoftwareUpdate},
		{"Get-CMReportingServicePoint", sciSysResUse, roleReporting},
		{"Get-CMMulticastServicePoint", sciSysResUse, roleMulticast},
		{"Get-CMEnrollmentPoint", sciSysResUse, roleEnrollment},
		{"Get-CMCertificateRegistrationPoint", sciSysResUse, roleCertificate},
		{"Get-CMDistributionPoint", sciSysResUse, roleDistribution},
		{"Get-CMAssetIntelligenceSynchronizationPoint", sciSysResUse, roleAssets},
		{"Get-CMClientPushInstallation", sciComponent, PartPush},
		{"Get-CMEmailNotificationComponent", sciComponent, PartMail},
		{"Get-CMDiscoveryMethod", sciComponent, "discovery"},
		{"Get-CMSoftwareDistributionComponent", sciClientComp, PartAccess},
		{"Get-CMActiveDirectoryForest", smsForest, ""},
		{"Get-CMMigrationSource", smsMigration, ""},
		{"Get-CMFileReplicationRoute", sciAddress, ""},
		{"Get-CMAdministrativeUser", smsAdmin, ""},
		{"Get-CMSecurityRole", smsRole, ""},
		{"Get-CMPackage", smsPackage, PartPackages},
		{"Get-CMAccessAccount", smsAccess, ""},
		{"Get-CMTaskSequence", smsSequence, PartSequences},
		{"Get-CMTaskSequenceStep", smsStep, PartSteps},
		{"Get-CMClientSetting", smsClient, ""},
		{"Get-CMCollectionVariable", smsVariable, ""},
		{"Get-CMDeviceCollectionVariable", smsVariable, ""},
	}
}

// Cmdlets returns the names of the cmdlets whose output can be imported.
func Cmdlets() []string {
	var out []string
	for _, c := range cmdlets() {
		out = append(out, c.cmdlet)
	}
	return out
}

// PartPackages is the list of packages without their access lists.
const PartPackages = "packages"

// recognise finds out which class the rows of a table are of, and which part of it.
// known says that it was told, by the caller or the file, what wrote the file.
func recognise(x Export, t *table) (known bool, err error) {
	if x.Cmdlet != "" {
		return true, t.told(x)
	}
	if t.whole {
		return true, nil
	}
	if len(t.rows) == 0 {
		if x.Cmdlet = emptyCmdlet(x.Name); x.Cmdlet != "" {
			return true, t.told(x)
		}
		return false, &ImportError{File: x.Name, Why: emptyText(x.Name)}
	}
	if class := classOfRow(t.rows[0]); class != "" {
		t.class = class
	}
	if t.class == "" {
		t.class = classByColumns(t.rows[0])
	}
	if t.class == "" {
		return false, &ImportError{File: x.Name, Row: 1, Line: first(t.lines), Why: strange(t.rows[0])}
	}
	return false, nil
}

// nothingRead says what it may mean that a cmdlet returned nothing: the provider leaves
// out, without an error, what an administrative user may not read.
const nothingRead = "there is none, or whoever ran it may not read them"

// emptyText says of a file without rows what it means and what to do.
func emptyText(file string) string {
	name := fileCmdlet(file)
	if name != "" {
		return "holds no rows, and every site has some for " + name + ": whoever ran it may not read them. Run it as an administrative user who may read the whole site, in all scopes"
	}
	return "holds no rows: the cmdlet returned nothing, which means that " + nothingRead +
		". If there is none, name the file after the cmdlet, such as Get-CMMigrationSource.json, with [] in it, so that it can be told what there is none of; else run the cmdlet as an administrative user who may read the whole site"
}

// fileCmdlet returns the cmdlet after which a file is named, as it was written; "" if
// it is named after none that is read.
func fileCmdlet(file string) string {
	name, _, _ := strings.Cut(path.Base(strings.ReplaceAll(file, `\`, "/")), ".")
	for _, c := range cmdlets() {
		if strings.EqualFold(c.cmdlet, name) {
			return c.cmdlet
		}
	}
	return ""
}

// emptyCmdlet returns the cmdlet after which a file without rows is named, "" if it is
// named after none, or after one that finds something on every site.
func emptyCmdlet(file string) string {
	name := fileCmdlet(file)
	for _, c := range cmdlets() {
		if c.cmdlet == name && c.class != smsSite && c.class != sciSite && (c.class != sciSysResUse || c.part != "") {
			return c.cmdlet
		}
	}
	return ""
}

func first(list []int) int {
	if len(list) == 0 {
		return 0
	}
	return list[0]
}

// told takes class and part from what the caller says wrote the file.
func (t *table) told(x Export) error {
	if ask, ok := askFor(x.Cmdlet); ok {
		t.class = ask.Class
		return nil
	}
	list := cmdlets()
	i := slices.IndexFunc(list, func(c cmdletOutput) bool { return strings.EqualFold(c.cmdlet, x.Cmdlet) })
	if i < 0 {
		return &ImportError{File: x.Name, Why: strconv.Quote(clipName(x.Cmdlet)) + " is no cmdlet or class that is read: " + strings.Join(Cmdlets(), ", ")}
	}
	t.class, t.part = list[i].class, list[i].part
	if len(t.rows) > 0 {
		if class := classOfRow(t.rows[0]); class != "" && class != t.class {
			return &ImportError{File: x.Name, Row: 1, Why: "the row says that it is of " + class + ", and " + list[i].cmdlet + " writes " + t.class}
		}
	}
	return nil
}

// classOfRow returns the class that a row itself names.
func classOfRow(row Row) string {
	for _, column := range []string{"ObjectClass", "__CLASS", "@odata.type", "OverridingObjectClass", "SmsProviderObjectPath"} {
		if class := classWithin(row.text(column)); class != "" {
			return class
		}
	}
	return ""
}

var classWord = regexp.MustCompile(`\bSMS_[A-Za-z_]+`)

// classWithin returns the first class that a text names and that is read. Steps of
// task sequences have a class each.
func classWithin(s string) string {
	for _, word := range classWord.FindAllString(s, 4) {
		if ask, ok := askFor(word); ok {
			return ask.Class
		}
		if entry, _ := stepAccount(word); entry != "" {
			return smsStep
		}
	}
	return ""
}

// marks lists, by class, the columns that together only rows of that class have, the
// most telling first.
func marks() []struct {
	class   string
	columns []string
} {
	return []struct {
		class   string
		columns []string
	}{
		{sciReserved, []string{"UserName", "AccountUsage"}},
		{sciSysResUse, []string{"RoleName", "NetworkOSPath"}},
		{sciPropertyList, []string{"PropertyListName", "Values"}},
		{sciProperty, []string{"PropertyName", "Value", "ItemType"}},
		{sciSite, []string{"SiteCode", "SiteServerName", "ParentSiteCode"}},
		{smsSite, []string{"SiteCode", "ServerName", "ReportingSiteCode"}},
		{smsForest, []string{"ForestFQDN", "Account"}},
		{smsMigration, []string{"Account", "AccountForSql"}},
		{sciAddress, []string{"DesSiteCode", "Props"}},
		{smsAdmin, []string{"LogonName", "RoleNames"}},
		{smsRole, []string{"RoleID", "RoleName"}},
		{smsAccess, []string{"PackageID", "UserName", "Access"}},
		{smsStep, []string{"PackageID", "StepClass"}},
		{smsSequence, []string{"PackageID", "Name", "LastRefreshTime"}},
		{smsClient, []string{"PermittedViewers", "PermissionRequired"}},
		{sciClientComp, []string{"ClientComponentName", "PropLists"}},
		{sciComponent, []string{"ComponentName", "Props"}},
		{smsPackage, []string{"PackageID", "Name", "PkgSourcePath"}},
		{smsVariable, []string{"CollectionID", "Name"}},
	}
}

func classByColumns(row Row) string {
	for _, m := range marks() {
		if !slices.ContainsFunc(m.columns, func(c string) bool { return !row.has(c) }) {
			return m.class
		}
	}
	return ""
}

// strange explains why a row is of no class: which class it is nearest to, and what it
// lacks of that.
func strange(row Row) string {
	best, most := "", 0
	var lacking []string
	for _, m := range marks() {
		var miss []string
		for _, c := range m.columns {
			if !row.has(c) {
				miss = append(miss, c)
			}
		}
		if n := len(m.columns) - len(miss); n > most {
			best, most, lacking = m.class, n, miss
		}
	}
	why := "the columns (" + strings.Join(columnNames(row), ", ") + ") are not those of a cmdlet that is read"
	if best != "" {
		why += "; for " + best + " it lacks " + strings.Join(lacking, ", ") + ". Columns must keep their names; or name the cmdlet"
	}
	return why
}

// unfold makes embedded objects of what PowerShell wrote of them as text: below its
// depth, ConvertTo-Json writes an embedded property as MOF.
func unfold(row Row) Row {
	var out Row
	for _, column := range []string{"Props", "PropLists", "AgentConfigurations", "Permissions", "Operations"} {
		list := row.list(column)
		changed := false
		for i, e := range list {
			s, ok := e.(string)
			if !ok || !strings.Contains(s, "instance of SMS_") {
				continue
			}
			if !changed {
				list, changed = slices.Clone(list), true
			}
			list[i] = mofObject(s)
		}
		if !changed {
			continue
		}
		if out == nil {
			out = Row{}
			for k, v := range row {
				out[k] = v
			}
		}
		for k := range out {
			if strings.EqualFold(k, column) {
				delete(out, k)
			}
		}
		out[column] = list
	}
	if out == nil {
		return row
	}
	return out
}

var mofLine = regexp.MustCompile(`(?m)^\s*(\w+) = (?:"((?:[^"\\]|\\.)*)"|\{([^}]*)\}|([^";{}]+));\s*$`)

var mofText = regexp.MustCompile(`"((?:[^"\\]|\\.)*)"`)

// mofObject reads one instance in MOF ([DSP0221] 7.6.3): texts, numbers, booleans and
// lists of texts.
func mofObject(s string) map[string]any {
	out := map[string]any{}
	for _, m := range mofLine.FindAllStringSubmatch(s, 64) {
		switch {
		case m[3] != "":
			var list []any
			for _, t := range mofText.FindAllStringSubmatch(m[3], -1) {
				list = append(list, mofString(t[1]))
			}
			out[m[1]] = list
		case m[4] != "":
			out[m[1]] = strings.TrimSpace(m[4])
		default:
			out[m[1]] = mofString(m[2])
		}
	}
	return out
}

func mofString(s string) string {
	return strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\t`, "\t", `\n`, "\n", `\r`, "\r").Replace(s)
}
