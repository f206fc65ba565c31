package configmgr

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// WriteText writes the plan for people, with its inverse if undo is true.
func (p *Provision) WriteText(w io.Writer, undo bool) error {
	b := &strings.Builder{}
	what := "Plan"
	if undo {
		what = "Inverse of the plan"
	}
	fmt.Fprintf(b, "%s for %s (%s) at site %s: %s\n", what, p.Title, p.Slot.Entry, p.Slot.Site, printable(p.DN))
	if !undo {
		list(b, "Incomplete", p.Incomplete)
		list(b, "To weigh", p.Notes)
		list(b, "Never", p.Forbidden)
		var apart []string
		for _, s := range p.Separation {
			apart = append(apart, strings.TrimSpace(fmt.Sprintf("%s %s %s", s.Rule, s.Other, s.Text)))
		}
		list(b, "Rules between slots", apart)
	}
	for i, a := range p.ordered(undo) {
		text, sql := a.Do, a.SQL
		if undo {
			text, sql = a.Undo, a.UndoSQL
		}
		fmt.Fprintf(b, "%2d. [%s] %s\n", i+1, a.Kind, printable(text))
		for _, s := range a.Settings {
			fmt.Fprintf(b, "      %s\n", printable(s))
		}
		if a.ACE != nil {
			fmt.Fprintf(b, "      SDDL    %s\n", a.ACE.SDDL)
			if !undo {
				fmt.Fprintf(b, "      dsacls  %s\n", printable(a.ACE.Dsacls(p.qualified())))
			}
		}
		for _, s := range sql {
			fmt.Fprintf(b, "      SQL     %s\n", printable(s))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// ordered are the actions in the order in which they are done, or undone.
func (p *Provision) ordered(undo bool) []Action {
	out := slices.Clone(p.Actions)
	if undo {
		slices.Reverse(out)
	}
	return out
}

// WriteLDIF writes what LDIF (RFC 2849) can say, without the line "version: 1", which some
// tools refuse: the account, disabled and without a password, and
// memberships of domain groups. The rest stands there as comments: an access control
// entry cannot be added by LDIF without writing the whole descriptor.
func (p *Provision) WriteLDIF(w io.Writer, undo bool) error {
	b := &strings.Builder{}
	for _, a := range p.ordered(undo) {
		text, record := a.Do, a.ldif
		if undo {
			text, record = a.Undo, a.undoLDIF
		}
		fmt.Fprintf(b, "\n# [%s] %s\n", a.Kind, printable(text))
		if record == "" {
			b.WriteString("# not to be said in LDIF\n")
		}
		for _, s := range a.Settings {
			fmt.Fprintf(b, "#   %s\n", printable(s))
		}
		if a.ACE != nil {
			fmt.Fprintf(b, "#   %s\n", a.ACE.SDDL)
		}
		b.WriteString(record)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WritePowerShell writes the plan as a script for Windows PowerShell 5.1 with the module
// ActiveDirectory. Every value is a literal; the password is a parameter and read from
// the console, never part of the script. What the script cannot do it names.
func (p *Provision) WritePowerShell(w io.Writer, undo bool) error {
	b := &strings.Builder{}
	fmt.Fprintf(b, "#Requires -Version 5.1\n#Requires -Modules ActiveDirectory\n# %s at site %s\n", p.Slot.Entry, printable(p.Slot.Site))
	password := "[Parameter(Mandatory = $true)][securestring] $Password, "
	if undo || p.Exists {
		password = ""
	}
	fmt.Fprintf(b, "param(%s[string] $Server = %s)\n", password, psLiteral(p.Domain))
	b.WriteString("Set-StrictMode -Version 3.0\n$ErrorActionPreference = 'Stop'\n")
	actions := p.ordered(undo)
	has := func(kind ActionKind) bool {
		return slices.ContainsFunc(actions, func(a Action) bool { return a.Kind == kind })
	}
	if has(GrantDirectory) {
		b.WriteString(aceFunctions)
	}
	if has(GrantShare) {
		b.WriteString(folderFunctions)
	}
	if undo && has(MakeAccount) {
		b.WriteString(passwordFunction)
	}
	for _, a := range actions {
		text, script := a.Do, a.script
		if undo {
			text, script = a.Undo, a.undoScript
		}
		fmt.Fprintf(b, "\n# [%s] %s\n", a.Kind, printable(text))
		for _, line := range script {
			b.WriteString(line + "\n")
		}
		if len(script) == 0 {
			fmt.Fprintf(b, "Write-Warning %s\n", psLiteral("By hand: "+printable(text)))
		}
		for _, s := range a.Settings {
			fmt.Fprintf(b, "#   %s\n", printable(s))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// SecretAlphabet holds the characters of the secrets that the scripts of a plan make: those
// of base64 (RFC 4648, 4) and of secretSuffix. CMX-25 judges it.
const SecretAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=" + secretSuffix

// secretSuffix ends every secret, so that it has characters of all the classes that a
// password policy may demand.
const secretSuffix = "aA1!"

// Functions of the scripts.
const (
	aceFunctions = `
function New-LeastwiseAce($Account, $Rights, $ObjectType, $Inheritance, $InheritedObjectType) {
  $sid = (Get-ADUser -Identity $Account -Server $Server).SID
  New-Object System.DirectoryServices.ActiveDirectoryAccessRule($sid, $Rights, 'Allow', [guid] $ObjectType, $Inheritance, [guid] $InheritedObjectType)
}
function Open-LeastwiseObject($Object) {
  $path = 'LDAP://' + $Server + '/' + $Object.Replace('/', '\/')
  $entry = New-Object System.DirectoryServices.DirectoryEntry($path)
  $entry.Options.SecurityMasks = 'Dacl'
  $entry
}
function Add-LeastwiseAce($Account, $Object, $Rights, $ObjectType, $Inheritance, $InheritedObjectType) {
  $entry = Open-LeastwiseObject $Object
  $entry.ObjectSecurity.AddAccessRule((New-LeastwiseAce $Account $Rights $ObjectType $Inheritance $InheritedObjectType))
  $entry.CommitChanges()
}
function Remove-LeastwiseAce($Account, $Object, $Rights, $ObjectType, $Inheritance, $InheritedObjectType) {
  $entry = Open-LeastwiseObject $Object
  $entry.ObjectSecurity.RemoveAccessRuleSpecific((New-LeastwiseAce $Account $Rights $ObjectType $Inheritance $InheritedObjectType))
  $entry.CommitChanges()
}
`
	folderFunctions = `
function New-LeastwiseFolderRule($Member, $Rights) {
  New-Object System.Security.AccessControl.FileSystemAccessRule($Member, $Rights, 'ContainerInherit, ObjectInherit', 'None', 'Allow')
}
function Add-LeastwiseFolderAccess($Path, $Member, $Rights) {
  $acl = Get-Acl -LiteralPath $Path
  $acl.AddAccessRule((New-LeastwiseFolderRule $Member $Rights))
  Set-Acl -LiteralPath $Path -AclObject $acl
}
function Remove-LeastwiseFolderAccess($Path, $Member, $Rights) {
  $acl = Get-Acl -LiteralPath $Path
  $null = $acl.RemoveAccessRule((New-LeastwiseFolderRule $Member $Rights))
  Set-Acl -LiteralPath $Path -AclObject $acl
}
`
	passwordFunction = `
function New-RandomPassword {
  $bytes = New-Object byte[] 48
  $random = [System.Security.Cryptography.RandomNumberGenerator]::Create()
  $random.GetBytes($bytes)
  ConvertTo-SecureString -String ([Convert]::ToBase64String($bytes) + '` + secretSuffix + `') -AsPlainText -Force
}
`
)
