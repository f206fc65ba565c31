package configmgr

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// A DirectoryACE is an access control entry that the account gets on a directory object.
// The account has no SID before it is made: SDDL has {SID} in its place.
type DirectoryACE struct {
	DN   string `json:"dn"`
	SDDL string `json:"sddl"`

	dsacls string // permission in the form of dsacls, without the trustee
	below  bool   // objects below only

	rights, inherit string // names of .NET
	object, class   secdesc.GUID
}

// Classes, property sets, validated writes and rights ([MS-ADSC] 2.27, [MS-ADTS] 3.1.1.2.3.3 and 5.1.3.2.1).
var (
	classComputer      = secdesc.MustGUID("bf967a86-0de6-11d0-a285-00aa003049e2")
	rightResetPassword = secdesc.MustGUID("00299570-246d-11d0-a768-00aa006e0529")
	setAccountLimits   = secdesc.MustGUID("4c164200-20c0-11d0-a768-00aa006e0529")
	validatedDNSName   = secdesc.MustGUID("72e39547-7b18-11d1-adef-00c04fd8d5cd")
	validatedSPN       = secdesc.MustGUID("f3a64788-5306-11d1-a9c5-0000f80367c1")
)

// An aceForm is a right that plans grant on directory objects.
type aceForm struct {
	what    string
	mask    secdesc.Mask
	object  secdesc.GUID // zero: no object type
	class   secdesc.GUID // zero: every class below
	below   bool         // not on the object itself
	rights  string       // ActiveDirectoryRights of .NET
	dsacls  string
	inherit string // ActiveDirectorySecurityInheritance of .NET
}

// The rights that plans grant.
var (
	readAll = aceForm{
		what: "read all properties of the object and what is below it",
		mask: secdesc.ListContents | secdesc.ReadProperty | secdesc.ReadControl | secdesc.ListObject, rights: "GenericRead", dsacls: "GR", inherit: "All",
	}
	fullControl = aceForm{
		what: "have full control of the object and what is below it",
		mask: secdesc.FullControl, rights: "GenericAll", dsacls: "GA", inherit: "All",
	}
	publishHealth = aceForm{
		what: "read, write and create below the object",
		mask: secdesc.ListContents | secdesc.ReadProperty | secdesc.ReadControl | secdesc.ListObject | secdesc.WriteProperty | secdesc.CreateChild, rights: "GenericRead, WriteProperty, CreateChild", dsacls: "GRWPCC", inherit: "All",
	}
)

// joinForms are the rights that joining needs, by the names of the parameter joinACEKinds.
func joinForms() map[string]aceForm {
	return map[string]aceForm{
		"create-child-computer":   {what: "create computers", mask: secdesc.CreateChild, object: classComputer, rights: "CreateChild", dsacls: "CC;computer", inherit: "All"},
		"delete-child-computer":   {what: "delete computers", mask: secdesc.DeleteChild, object: classComputer, rights: "DeleteChild", dsacls: "DC;computer", inherit: "All"},
		"reset-password":          {what: "reset passwords of computers", mask: secdesc.ControlAccess, object: rightResetPassword, class: classComputer, below: true, rights: "ExtendedRight", dsacls: "CA;Reset Password;computer", inherit: "Descendents"},
		"account-restrictions":    {what: "write the account restrictions of computers", mask: secdesc.ReadProperty | secdesc.WriteProperty, object: setAccountLimits, class: classComputer, below: true, rights: "ReadProperty, WriteProperty", dsacls: "RPWP;Account Restrictions;computer", inherit: "Descendents"},
		"validated-dns-host-name": {what: "write validated DNS host names of computers", mask: secdesc.SelfWrite, object: validatedDNSName, class: classComputer, below: true, rights: "Self", dsacls: "WS;Validated write to DNS host name;computer", inherit: "Descendents"},
		"validated-spn":           {what: "write validated service principal names of computers", mask: secdesc.SelfWrite, object: validatedSPN, class: classComputer, below: true, rights: "Self", dsacls: "WS;Validated write to service principal name;computer", inherit: "Descendents"},
	}
}

// on makes the entry for one object.
func (f aceForm) on(dn string) *DirectoryACE {
	ace := secdesc.ACE{Type: secdesc.Allow, Flags: secdesc.ContainerInherit, Mask: f.mask, ObjectType: f.object, InheritedObjectType: f.class}
	if f.below {
		ace.Flags |= secdesc.InheritOnly
	}
	if !f.object.IsZero() || !f.class.IsZero() {
		ace.Type = secdesc.AllowObject
	}
	const place = "S-1-5-21-0-0-0-0"
	ace.SID = secdesc.MustSID(place)
	return &DirectoryACE{
		DN: dn, SDDL: strings.ReplaceAll(ace.SDDL(secdesc.SID{}), place, "{SID}"),
		dsacls: f.dsacls, below: f.below, rights: f.rights, inherit: f.inherit, object: f.object, class: f.class,
	}
}

// planning makes the actions of a plan.
type planning struct {
	entry *Entry
	site  *Site
	plan  *Provision
}

func (pl *planning) add(a Action) { pl.plan.Actions = append(pl.plan.Actions, a) }

func (pl *planning) missing(what, param string) {
	pl.plan.Incomplete = append(pl.plan.Incomplete, fmt.Sprintf("%s: give %s", what, param))
}

// account plans the account itself, unless it exists.
func (pl *planning) account() {
	p, e := pl.plan, pl.entry
	if strings.HasSuffix(e.Default.Identity, "computer-account") || strings.HasPrefix(e.Default.Identity, "site-server-computer") {
		p.Notes = append(p.Notes, fmt.Sprintf("Without an account the slot acts as %s, which stores no password: make one only where that does not work.", e.Default.Identity))
	}
	for _, t := range e.Allowed {
		if strings.HasSuffix(t.Type, "local-user") {
			p.Notes = append(p.Notes, strings.TrimSpace("The slot takes a local account too, of which leastwise makes no plan. "+t.Note))
		}
	}
	if p.Exists {
		p.Notes = append(p.Notes, "The account exists: only its rights are planned.")
		return
	}
	control := newAccountControl
	expires := "$false"
	if slices.ContainsFunc(e.Forbidden, func(f Forbidden) bool { return f.Right == "password-expiry" }) {
		control |= neverExpires
		expires = "$true"
		p.Notes = append(p.Notes, "Its password must not expire; rotate it by the procedure of the slot.")
	}
	about := fmt.Sprintf("Configuration Manager %s: %s", pl.site.Code, e.ID)
	upn := p.Account + "@" + p.Domain
	pl.add(Action{
		Kind: MakeAccount,
		Do:   fmt.Sprintf("Create the user %s, not delegable, with AES keys only, without group but Domain Users; set a random password of 25 or more characters without %% and enable it.", p.DN),
		Undo: fmt.Sprintf("Disable %s, set a random password that nobody keeps, and delete it after 14 days without a logon.", p.DN),
		script: []string{
			"New-ADUser -Name " + psLiteral(p.Account) + " -SamAccountName " + psLiteral(p.Account) + " -UserPrincipalName " + psLiteral(upn) +
				" -Path " + psLiteral(p.OU) + " -Description " + psLiteral(about) + " -AccountPassword $Password -AccountNotDelegated $true" +
				" -PasswordNeverExpires " + expires + " -KerberosEncryptionType 'AES128,AES256' -Enabled $true -Server $Server",
		},
		undoScript: []string{
			"Disable-ADAccount -Identity " + psLiteral(p.DN) + " -Server $Server",
			"Set-ADAccountPassword -Identity " + psLiteral(p.DN) + " -Reset -NewPassword (New-RandomPassword) -Server $Server",
			"Write-Warning ('After 14 days without a logon: Remove-ADUser -Identity ' + " + psLiteral(psLiteral(p.DN)) + ")",
		},
		ldif: ldifLine("dn", p.DN) + "changetype: add\nobjectClass: user\n" + ldifLine("sAMAccountName", p.Account) + ldifLine("userPrincipalName", upn) +
			ldifLine("description", about) + ldifLine("userAccountControl", strconv.Itoa(control)) + ldifLine("msDS-SupportedEncryptionTypes", strconv.Itoa(newAccountEncryption)),
		undoLDIF: ldifLine("dn", p.DN) + "changetype: delete\n",
	})
}

// denials plans the logons that no service account needs.
func (pl *planning) denials() {
	p, e := pl.plan, pl.entry
	rights := []string{"SeDenyInteractiveLogonRight", "SeDenyRemoteInteractiveLogonRight", "SeDenyBatchLogonRight", "SeDenyServiceLogonRight"}
	if slices.ContainsFunc(e.Required, func(r Right) bool { return slices.Contains(r.Permissions, "SeInteractiveLogonRight") }) {
		p.Notes = append(p.Notes, "It logs on interactively where it works: deny that everywhere else, and keep it out of a group that is denied everywhere.")
		rights = rights[1:]
	}
	settings := make([]string, 0, len(rights))
	for _, r := range rights {
		settings = append(settings, r+" += "+p.qualified())
	}
	pl.add(Action{
		Kind:     SetPolicy,
		Do:       "Deny these logons to the account by policy on servers and clients. A policy that sets a right replaces the list of those before it: add to the list that is in force.",
		Undo:     "Take the account off the lists.",
		Settings: settings,
	})
	if p.DenyGroup == "" || len(rights) < 4 {
		if len(rights) == 4 {
			pl.missing("the group that policies deny logons", "its DN, so that the account becomes a member")
		}
		return
	}
	pl.add(Action{
		Kind:       JoinGroup,
		Do:         fmt.Sprintf("Add %s to %s, which policies deny those logons.", p.qualified(), p.DenyGroup),
		Undo:       fmt.Sprintf("Remove %s from %s.", p.qualified(), p.DenyGroup),
		script:     []string{"Add-ADGroupMember -Identity " + psLiteral(p.DenyGroup) + " -Members " + psLiteral(p.DN) + " -Server $Server"},
		undoScript: []string{"Remove-ADGroupMember -Identity " + psLiteral(p.DenyGroup) + " -Members " + psLiteral(p.DN) + " -Server $Server -Confirm:$false"},
		ldif:       ldifLine("dn", p.DenyGroup) + "changetype: modify\nadd: member\n" + ldifLine("member", p.DN) + "-\n",
		undoLDIF:   ldifLine("dn", p.DenyGroup) + "changetype: modify\ndelete: member\n" + ldifLine("member", p.DN) + "-\n",
	})
}

// right plans what one required right of the catalogue asks for.
func (pl *planning) right(r Right) {
	switch r.Target {
	case OnContainer:
		pl.container(r)
	case InForest:
		pl.forest(r)
	case InDomain:
		pl.join()
	case InLocalGroup:
		if r.When == "" {
			pl.localGroup(localGroupOf(r))
		}
	case InWSUS:
		pl.localGroup("WSUS Administrators")
	case AsUserRight:
		pl.userRight(r)
	case OnShare, OnFolder:
		pl.share(r)
	case OnDatabase:
		pl.database(r)
	default:
		if r.When == "" {
			pl.byHand(r)
		}
	}
}

func localGroupOf(r Right) string {
	if slices.Contains(r.Permissions, "member-of-sms-admins") {
		return "SMS Admins"
	}
	return "Administrators"
}

// container grants rights on directory containers: System Management for publishing and
// health states, else the places that are discovered.
func (pl *planning) container(r Right) {
	form := readAll
	if slices.Contains(r.Permissions, "full-control") {
		form = fullControl
	}
	if len(pl.plan.Locations) == 0 {
		pl.missing(r.Where, "the DNs of the locations (domains, if it publishes)")
		return
	}
	for _, dn := range pl.plan.Locations {
		if strings.Contains(r.Path, "CN=System Management") {
			dn = systemManagement(dn)
		}
		pl.directory(form, dn)
	}
}

// systemManagement is the container of a domain, or the name itself if it is the container.
func systemManagement(dn string) string {
	if strings.HasPrefix(strings.ToUpper(dn), "DC=") {
		return "CN=System Management,CN=System," + dn
	}
	return dn
}

// forest plans rights within a forest: to read it nothing is granted, because
// Authenticated Users already do; health states are written to System Management.
func (pl *planning) forest(r Right) {
	if !slices.Contains(r.Permissions, "write") {
		pl.plan.Notes = append(pl.plan.Notes, "Sites and subnets of a forest are readable to every account of the forest unless that was taken away: nothing is granted for discovery.")
		return
	}
	if len(pl.plan.Locations) == 0 {
		pl.missing(r.Where, "the DN of the domain that holds System Management")
		return
	}
	for _, dn := range pl.plan.Locations {
		pl.directory(publishHealth, systemManagement(dn))
	}
}

// join delegates what joining computers needs on the given units, never on the domain.
func (pl *planning) join() {
	p := pl.plan
	if len(p.JoinOUs) == 0 {
		pl.missing("where computers are joined", "the DNs of the organizational units")
		return
	}
	forms := joinForms()
	for _, dn := range p.JoinOUs {
		if !strings.HasPrefix(strings.ToUpper(dn), "OU=") {
			p.Notes = append(p.Notes, dn+" is not an organizational unit: delegate on a unit for new computers only.")
		}
		for _, kind := range []string{"create-child-computer", "reset-password", "account-restrictions", "validated-dns-host-name", "validated-spn"} {
			pl.directory(forms[kind], dn)
		}
	}
	p.Notes = append(p.Notes, "Deleting computers is left out: a machine that is imaged again is reset, not deleted. The machine account quota of the domain should be 0.",
		"Computers that it creates belong to it, and an owner may give itself every right: create them in advance, or give them another owner after the build.")
}

func (pl *planning) directory(f aceForm, dn string) {
	ace := f.on(dn)
	who := psLiteral(pl.plan.Account)
	call := func(verb string) string {
		return fmt.Sprintf("%s-LeastwiseAce -Account %s -Object %s -Rights %s -ObjectType %s -Inheritance %s -InheritedObjectType %s",
			verb, who, psLiteral(dn), psLiteral(ace.rights), psLiteral(ace.object.String()), psLiteral(ace.inherit), psLiteral(ace.class.String()))
	}
	pl.add(Action{
		Kind: GrantDirectory, ACE: ace,
		Do:         fmt.Sprintf("Let %s %s: %s.", pl.plan.qualified(), f.what, dn),
		Undo:       fmt.Sprintf("Remove this entry of %s from %s.", pl.plan.qualified(), dn),
		script:     []string{call("Add")},
		undoScript: []string{call("Remove")},
	})
}

// Dsacls is the command that sets the entry, for a trustee such as EXAMPLE\name. Its
// arguments are literals of PowerShell.
func (a *DirectoryACE) Dsacls(trustee string) string {
	scope := "/I:T"
	if a.below {
		scope = "/I:S"
	}
	return strings.Join([]string{"dsacls.exe", psLiteral(a.DN), psLiteral(scope), psLiteral("/G"), psLiteral(trustee + ":" + a.dsacls)}, " ")
}

func (pl *planning) localGroup(group string) {
	p := pl.plan
	if pl.entry.ID == entryPush {
		pl.add(Action{
			Kind: SetPolicy,
			Do:   "Make it a member of Administrators on the push targets by policy (Group Policy Preferences, add, not replace), on units without domain controllers and without servers of Tier 0.",
			Undo: "Remove the item; the policy takes the membership back if it is set to be removed with it.",
		})
		return
	}
	if len(p.Hosts) == 0 {
		pl.missing("computers on which it becomes a member of "+group, "the hosts")
		return
	}
	for _, h := range p.Hosts {
		call := func(verb string) string {
			return "Invoke-Command -ComputerName " + psLiteral(h) + " -ScriptBlock { param($Group, $Member) " + verb + "-LocalGroupMember -Group $Group -Member $Member } -ArgumentList " +
				psLiteral(group) + ", " + psLiteral(p.qualified())
		}
		pl.add(Action{
			Kind:       JoinLocalGroup,
			Do:         fmt.Sprintf("Add %s to %s of %s.", p.qualified(), group, h),
			Undo:       fmt.Sprintf("Remove %s from %s of %s.", p.qualified(), group, h),
			script:     []string{call("Add")},
			undoScript: []string{call("Remove")},
		})
	}
}

func (pl *planning) userRight(r Right) {
	settings := make([]string, 0, len(r.Permissions))
	for _, right := range r.Permissions {
		settings = append(settings, right+" += "+pl.plan.qualified())
	}
	pl.add(Action{
		Kind:     SetPolicy,
		Do:       fmt.Sprintf("Grant by policy on: %s. The last policy that sets a right replaces the list: add to the list that is in force.", r.Where),
		Undo:     "Take the account off the lists.",
		Settings: settings,
	})
}

// share grants rights on the folders behind shares. The share itself is not changed: its
// permissions are usually wide and the folder decides.
func (pl *planning) share(r Right) {
	p := pl.plan
	if pl.entry.ID == entryPush || r.When != "" {
		return // comes with the membership, or with access lists of packages
	}
	if len(p.Shares) == 0 {
		pl.missing(r.Where, `the shares (\\host\share\folder)`)
		return
	}
	rights := "ReadAndExecute, Synchronize"
	if slices.Contains(r.Permissions, "write") {
		rights = "Modify, Synchronize"
	}
	for _, s := range p.Shares {
		call := func(verb string) string {
			return fmt.Sprintf("%s-LeastwiseFolderAccess -Path %s -Member %s -Rights %s", verb, psLiteral(s), psLiteral(p.qualified()), psLiteral(rights))
		}
		a := Action{
			Kind:       GrantShare,
			Do:         fmt.Sprintf("Give %s %s on the folder %s; the permissions of the share must not be narrower.", p.qualified(), rights, s),
			Undo:       fmt.Sprintf("Remove the entry of %s from %s.", p.qualified(), s),
			script:     []string{call("Add")},
			undoScript: []string{call("Remove")},
		}
		if !slices.ContainsFunc(p.Actions, func(o Action) bool { return o.Do == a.Do }) {
			pl.add(a)
		}
	}
}

// database plans login, user and roles. What the site grants by itself is left to it.
func (pl *planning) database(r Right) {
	p := pl.plan
	if r.Automatic {
		p.Notes = append(p.Notes, fmt.Sprintf("The site grants %s by itself once the account is set: nothing is planned in the database.", what(r)))
		return
	}
	if p.Server == "" || p.Database == "" {
		pl.missing(r.Where, "server and name of the database")
		return
	}
	login, user := sqlName(p.qualified()), sqlName(p.qualified())
	do := []string{"USE " + sqlName(p.Database), "CREATE LOGIN " + login + " FROM WINDOWS", "CREATE USER " + user + " FOR LOGIN " + login}
	var undo []string
	for _, role := range r.Roles {
		do = append(do, "ALTER ROLE "+sqlName(role)+" ADD MEMBER "+user)
		undo = append([]string{"ALTER ROLE " + sqlName(role) + " DROP MEMBER " + user}, undo...)
	}
	if len(r.Roles) == 0 {
		for _, perm := range r.Permissions {
			right := map[string]string{"read": "SELECT", "execute": "EXECUTE"}[perm]
			if right == "" {
				pl.byHand(r)
				return
			}
			do = append(do, "GRANT "+right+" TO "+user)
			undo = append([]string{"REVOKE " + right + " FROM " + user}, undo...)
		}
	}
	undo = append(append([]string{"USE " + sqlName(p.Database)}, undo...), "DROP USER "+user, "DROP LOGIN "+login)
	query := func(lines []string) []string {
		return []string{"Invoke-Sqlcmd -ServerInstance " + psLiteral(p.Server) + " -Query " + psLiteral(strings.Join(lines, "; "))}
	}
	pl.add(Action{
		Kind:       GrantDatabase,
		Do:         fmt.Sprintf("Give %s a login and a user in %s on %s, in %s. The site does this for computer accounts; look first whether it did for this one.", p.qualified(), p.Database, p.Server, what(r)),
		Undo:       fmt.Sprintf("Take %s out of %s on %s.", p.qualified(), p.Database, p.Server),
		SQL:        do,
		UndoSQL:    undo,
		script:     query(do),
		undoScript: query(undo),
	})
}

// what names the roles, or the permissions, of a right.
func what(r Right) string {
	if len(r.Roles) > 0 {
		return strings.Join(r.Roles, ", ")
	}
	return "no role, with " + strings.Join(r.Permissions, ", ")
}

// byHand plans what leastwise knows no command for.
func (pl *planning) byHand(r Right) {
	text := fmt.Sprintf("Grant %s: %s.", strings.Join(r.Permissions, ", "), r.Where)
	if r.Note != "" {
		text += " " + r.Note
	}
	pl.add(Action{Kind: ByHand, Do: text, Undo: "Take it back."})
}

// rest adds what the reference asks for beside rights.
func (pl *planning) rest() {
	p := pl.plan
	for _, s := range p.Separation {
		if s.Rule == MustAlsoBe {
			pl.add(Action{Kind: ByHand, Do: "Put the account on the list of " + s.Other + " before computers are provisioned.", Undo: "Take it off the list and update the firmware."})
		}
	}
	pl.add(Action{
		Kind: ByHand,
		Do:   fmt.Sprintf(`Enter %s\%s at %s of site %s; the name with the DNS domain lets Kerberos be used.`, p.Domain, p.Account, p.Title, p.Slot.Site),
		Undo: "Clear the slot, then remove the account from Administration > Security > Accounts.",
	})
}
