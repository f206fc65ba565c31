package configmgr

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/leastwise/leastwise/internal/secdesc"
)

func (b *Builder) addAdmin(row Row) error {
	a := Admin{Name: row.text("LogonName")}
	if a.Name == "" {
		return lacks("LogonName")
	}
	name, ok := accountName(a.Name)
	if !ok {
		return &RowError{Column: "LogonName", Why: "is no account name"}
	}
	a.Name = name
	if s := row.text("AdminSid"); s != "" {
		sid, err := secdesc.ParseSID(s)
		if err != nil {
			return &RowError{Column: "AdminSid", Why: "is no SID"}
		}
		a.SID = &sid
	}
	a.Group, _ = row.truth("IsGroup")
	if n, ok := row.number("AccountType"); ok && n == 1 {
		a.Group = true
	}
	a.Roles = adminRoles(row)
	if len(a.Roles) == 0 {
		b.note(smsAdmin, "Roles", "missing or empty: what the administrative user may do is not known")
		b.cut[smsAdmin] = valuesCut
	}
	a.Scopes = append(row.texts("CategoryNames"), row.texts("CollectionNames")...)
	b.doc.Admins = append(b.doc.Admins, a)
	return nil
}

// adminRoles returns the ids of the roles of an administrative user; names stand where
// the row has no ids and the name is not one of the built-in ones.
func adminRoles(row Row) []string {
	var out []string
	add := func(id string) {
		if id != "" && !isCut(id) && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	for _, id := range row.texts("Roles") {
		add(id)
	}
	for _, e := range row.list("Permissions") {
		if m, ok := e.(map[string]any); ok {
			add(Row(m).text("RoleID"))
		}
	}
	if len(out) == 0 {
		for _, name := range row.texts("RoleNames") {
			add(RoleID(name))
		}
	}
	slices.Sort(out)
	return out
}

// RoleID returns the id of a built-in security role of a name, or the name itself.
func RoleID(name string) string {
	if id, ok := builtinRoles()[strings.ToLower(name)]; ok {
		return id
	}
	return name
}

func builtinRoles() map[string]string {
	return map[string]string{
		"full administrator": "SMS0001R", "read-only analyst": "SMS0002R", "remote tools operator": "SMS0003R",
		"asset manager": "SMS0004R", "compliance settings manager": "SMS0006R", "application deployment manager": "SMS0007R",
		"application author": "SMS0008R", "application administrator": "SMS0009R", "operating system deployment manager": "SMS000AR",
		"infrastructure administrator": "SMS000BR", "software update manager": "SMS000CR", "operations administrator": "SMS000ER",
		"security administrator": "SMS000FR", "endpoint protection manager": "SMS000GR", "company resource access manager": "SMS000HR",
	}
}

func (b *Builder) addSecurityRole(row Row) error {
	r := Role{ID: row.text("RoleID"), Name: row.text("RoleName")}
	if r.ID == "" {
		return lacks("RoleID")
	}
	v := row.get("Operations")
	if isCut(v) {
		b.cutNote(smsRole, "Operations")
	}
	for _, e := range row.list("Operations") {
		m, ok := e.(map[string]any)
		if !ok {
			continue
		}
		kind, ok1 := Row(m).number("ObjectTypeID")
		bits, ok2 := Row(m).number("GrantedOperations")
		if !ok1 || !ok2 {
			continue
		}
		if r.Permissions == nil {
			r.Permissions = map[string][]string{}
		}
		class := objectClass(kind)
		r.Permissions[class] = append(r.Permissions[class], operationNames(kind, bits)...)
	}
	b.doc.Roles = append(b.doc.Roles, r)
	return nil
}

// objectClass names the class of an object type of role-based administration; types
// that no rule asks about keep their number.
func objectClass(kind int64) string {
	switch kind {
	case 1:
		return "SMS_Collection"
	case 2:
		return "SMS_Package"
	case 6:
		return "SMS_Site"
	case 20:
		return "SMS_TaskSequencePackage"
	}
	return "type " + strconv.FormatInt(kind, 10)
}

// operationNames names the operations that are granted. Bits without a known name
// keep their number, so that nothing granted is lost.
func operationNames(kind, bits int64) []string {
	var out []string
	for i := range 63 {
		if bits&(1<<i) == 0 {
			continue
		}
		name := operationName(kind, i)
		if name == "" {
			name = "bit " + strconv.Itoa(i)
		}
		out = append(out, name)
	}
	return out
}

// operationName names a bit of GrantedOperations as rules write it; "" for bits that
// are not known or that mean different things in different classes.
func operationName(kind int64, bit int) string {
	if kind == 1 && bit == 11 {
		return "ViewCollectedFile"
	}
	switch bit {
	case 0:
		return "Read"
	case 1:
		return "Modify"
	case 2:
		return "Delete"
	case 3:
		return "CopyToDistributionPoint"
	case 4:
		return "SetSecurityScope"
	case 5:
		return "RemoteControl"
	case 7:
		return "ModifyResource"
	case 9:
		return "DeleteResource"
	case 10:
		return "Create"
	case 12:
		return "ReadResource"
	}
	return ""
}

func (b *Builder) addPackage(row Row) error {
	id := row.text("PackageID")
	if id == "" {
		return lacks("PackageID")
	}
	fill(&b.packageOf(id).Name, row.text("Name"))
	return nil
}

func (b *Builder) packageOf(id string) *Package {
	i, ok := b.packages[id]
	if !ok {
		i = len(b.doc.Packages)
		b.packages[id] = i
		b.doc.Packages = append(b.doc.Packages, Package{ID: id})
	}
	return &b.doc.Packages[i]
}

func (b *Builder) addAccess(row Row) error {
	id := row.text("PackageID")
	if id == "" {
		return lacks("PackageID")
	}
	raw := nalName(row.text("UserName"))
	if raw == "" {
		return lacks("UserName")
	}
	name, ok := accountName(raw)
	if !ok {
		b.refuseName(smsAccess, "UserName")
		return nil
	}
	access := int64(defaultPackageAccess)
	if n, ok := row.number("Access"); ok {
		access = n
	}
	p := b.packageOf(id)
	p.Entries = append(p.Entries, Access{Member: Member{Name: name}, Rights: packageRights(access)})
	if !genericAccess(name) {
		b.assign(smsAccess, "UserName", Assignment{Entry: entryPackage, Location: id, Name: name})
	}
	return nil
}

// defaultPackageAccess is read, execute, view folders and view files.
const defaultPackageAccess = 0x65

// genericAccess reports whether a name is one of the generic access accounts that
// every package starts with and that are no slot.
func genericAccess(name string) bool {
	return sameFold([]string{"Users", "Administrators", "Guests", `BUILTIN\Users`, `BUILTIN\Administrators`, `BUILTIN\Guests`}, name)
}

func packageRights(bits int64) []string {
	var out []string
	for _, one := range []struct {
		mask int64
		name string
	}{{1 << 0, "read"}, {1 << 1, "write"}, {1 << 2, "read-execute"}, {1<<3 | 1<<4 | 1<<8, "change"}, {1 << 5, "list"}, {1 << 7, "full-control"}} {
		if bits&one.mask != 0 {
			out = append(out, one.name)
		}
	}
	return out
}

var nalDisplay = regexp.MustCompile(`Display=([^"]+)"`)

// nalName returns the account of a network abstraction layer path, such as
// ["Display=CONTOSO\user"]MSWINNT:["…"]\\CONTOSO\user; other texts as they are.
func nalName(s string) string {
	s = strings.TrimSpace(s)
	if !strings.HasPrefix(s, "[") {
		return s
	}
	if m := nalDisplay.FindStringSubmatch(s); m != nil {
		return strings.Trim(m[1], `\`)
	}
	return strings.TrimLeft(s[strings.LastIndex(s, "]")+1:], `\`)
}

func (b *Builder) addSequence(row Row) error {
	id := row.text("PackageID")
	if id == "" {
		return lacks("PackageID")
	}
	s := b.sequence(id)
	fill(&s.Name, row.text("Name"))
	if t, ok := timeOf(row.get("LastRefreshTime")); ok {
		s.Modified = t
	} else if row.text("LastRefreshTime") != "" {
		b.note(smsSequence, "LastRefreshTime", "is no time that is understood: write it as ISO 8601")
	}
	return nil
}

func (b *Builder) sequence(id string) *Sequence {
	i, ok := b.sequences[id]
	if !ok {
		i = len(b.doc.Sequences)
		b.sequences[id] = i
		b.doc.Sequences = append(b.doc.Sequences, Sequence{ID: id})
	}
	return &b.doc.Sequences[i]
}

// addStep takes a step of a task sequence: which account it names, never more.
func (b *Builder) addStep(row Row) error {
	id, class := row.text("PackageID"), row.text("StepClass")
	if id == "" {
		return lacks("PackageID")
	}
	if class == "" {
		return lacks("StepClass")
	}
	s := b.sequence(id)
	fill(&s.Name, row.text("TaskSequenceName"))
	entry, column := stepAccount(class)
	if entry == "" {
		b.note(smsStep, "StepClass", "step "+strconv.Quote(clipName(class))+" is not one that names an account")
		return nil
	}
	raw := row.text(column)
	if raw == "" {
		return nil
	}
	name, ok := accountName(raw)
	if !ok {
		b.refuseName(smsStep, column)
		return nil
	}
	step := Step{Entry: entry, Name: name, Share: row.text("NetworkPath")}
	if entry == entryCapture {
		step.Share, step.Writes = row.text("CaptureDestination"), true
	}
	s.Accounts = append(s.Accounts, step)
	b.assign(smsStep, column, Assignment{Entry: entry, Location: id, Name: name})
	return nil
}

// stepAccount tells slot and column of the account of a step's class.
func stepAccount(class string) (entry, column string) {
	switch strings.TrimPrefix(strings.ToLower(class), "sms_tasksequence_") {
	case "capturesystemimageaction":
		return entryCapture, "CaptureUsername"
	case "joindomainworkgroupaction", "applynetworksettingsaction":
		return entryJoin, "DomainUsername"
	case "connectnetworkfolderaction":
		return entryFolder, "UserName"
	case "runcommandlineaction", "runpowershellscriptaction":
		return entryRunAs, "UserName"
	}
	return "", ""
}

func (b *Builder) addVariable(row Row) error {
	v := Variable{Of: row.text("CollectionID"), Name: row.text("Name")}
	if v.Name == "" {
		return lacks("Name")
	}
	b.doc.Variables = append(b.doc.Variables, v)
	return nil
}
