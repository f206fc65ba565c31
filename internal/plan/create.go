package plan

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A NewObject is what a created group or account is made of. An account is created
// disabled, and without a password.
type NewObject struct {
	Class       string   `json:"class"`   // group or user
	Name        string   `json:"name"`    // cn
	Account     string   `json:"account"` // sAMAccountName
	Description string   `json:"description,omitempty"`
	Flags       uint32   `json:"flags,omitempty"`       // of an account: userAccountControl, AccountDisabled among them
	GroupType   int32    `json:"group_type,omitempty"`  // of a group ([MS-ADTS] 2.2.12)
	Encryption  uint32   `json:"encryption,omitempty"`  // of an account: msDS-SupportedEncryptionTypes ([MS-KILE] 2.2.7)
	NoDialIn    bool     `json:"no_dial_in,omitempty"`  // of an account: msNPAllowDialin is false
	Permissions *Permits `json:"permissions,omitempty"` // nil: the default of its class and what it inherits
}

// Classes of objects that are created.
const (
	ClassGroup = "group"
	ClassUser  = "user"
)

// GlobalSecurityGroup is the usual GroupType.
const GlobalSecurityGroup = -0x7ffffffe

// Permits are the DACL that an object is born with.
type Permits struct{ *secdesc.Descriptor }

// MarshalText writes the DACL in SDDL, with whole SIDs.
func (p Permits) MarshalText() ([]byte, error) { return []byte(p.SDDL(secdesc.SID{})), nil }

// UnmarshalText reads a DACL in SDDL with whole SIDs.
func (p *Permits) UnmarshalText(b []byte) error {
	d, err := secdesc.ParseSDDL(string(b), secdesc.SID{}, secdesc.SID{})
	if err != nil {
		return badPlan("permissions %q: %v", b, err)
	}
	p.Descriptor = d
	return nil
}

// Limits of names ([MS-ADA1] cn, [MS-ADA3] sAMAccountName, [MS-SAMR] 3.1.1.6).
const (
	maxName        = 64
	maxUserAccount = 20
	maxDescription = 1024
)

// validate says what is wrong with a new object.
func (n *NewObject) validate() error {
	limit := maxUserAccount
	if n.Class == ClassGroup {
		limit = maxName
	}
	switch {
	case n.Class != ClassGroup && n.Class != ClassUser:
		return badPlan("an object of class %q is not created, only group and user", n.Class)
	case !printable(n.Name, maxName):
		return badPlan("the name %q has 1 to %d characters, none of them invisible", n.Name, maxName)
	case !printable(n.Account, limit) || strings.ContainsAny(n.Account, `"/\[]:;|=,+*?<>@`) || strings.TrimRight(n.Account, ". ") != n.Account:
		return badPlan("the account name %q is not possible: 1 to %d characters, none of them among \"/\\[]:;|=,+*?<>@", n.Account, limit)
	case n.Description != "" && !printable(n.Description, maxDescription):
		return badPlan("the description of %q has at most %d characters, none of them invisible", n.Name, maxDescription)
	case n.Class == ClassUser && n.Flags&AccountDisabled == 0:
		return badPlan("the account %q is created disabled: its flags lack the bit %#x", n.Name, AccountDisabled)
	case n.Class == ClassUser && n.GroupType != 0, n.Class == ClassGroup && (n.Flags != 0 || n.GroupType == 0 || n.Encryption != 0 || n.NoDialIn):
		return badPlan("the new object %q needs other parts, or has too many", n.Name)
	}
	if p := n.Permissions; p != nil && (p.Descriptor == nil || p.DACL == nil || p.SACL != nil || !p.Owner.IsZero() || !p.Group.IsZero()) {
		return badPlan("the permissions of %q are not a DACL alone", n.Name)
	}
	return nil
}

func printable(s string, limit int) bool {
	return s != "" && utf8.ValidString(s) && utf8.RuneCountInString(s) <= limit && strings.TrimSpace(s) == s && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// DN is the distinguished name of the new object below a container.
func (n *NewObject) DN(container string) string {
	return "CN=" + forest.EscapeRDN(n.Name) + "," + container
}

// A Child is the object that was found under the name of a new one.
type Child struct {
	GUID    secdesc.GUID `json:"guid"`
	DN      string       `json:"dn"`
	Class   string       `json:"class"` // the most special one
	Account string       `json:"account,omitempty"`
	Flags   *uint32      `json:"flags,omitempty"`
	Members bool         `json:"members,omitempty"` // it is a group that has some
}

// created judges the two changes that make an object and take it away.
func (c Change) created(f Facts) (already bool, why string) {
	n := c.New
	switch {
	case f.ChildThere == NotRead, f.ChildThere == Present && f.Child == nil:
		return false, "whether there is an object of that name could not be read"
	case f.ChildThere == Absent:
		return c.Kind == DeleteObject, ""
	case f.Child.Class != n.Class || !strings.EqualFold(f.Child.Account, n.Account):
		return false, fmt.Sprintf("%s is another object: a %s with the account name %q", f.Child.DN, f.Child.Class, f.Child.Account)
	case c.Kind == CreateObject:
		return true, ""
	case !c.Require.Made.IsZero() && c.Require.Made != f.Child.GUID:
		return false, fmt.Sprintf("%s is another object than the one that was created: its GUID is %s, not %s", f.Child.DN, f.Child.GUID, c.Require.Made)
	case f.Child.Members:
		return false, f.Child.DN + " has members"
	case n.Class == ClassUser && (f.Child.Flags == nil || *f.Child.Flags&AccountDisabled == 0):
		return false, f.Child.DN + " is not disabled, or its userAccountControl could not be read"
	}
	return false, ""
}

// details are the lines that show what a new object is made of.
func (n *NewObject) details() []string {
	out := []string{fmt.Sprintf("class %s, sAMAccountName %s", n.Class, quote(n.Account))}
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if n.Description != "" {
		add("description %s", quote(n.Description))
	}
	if n.Class == ClassUser {
		add("userAccountControl %#x, disabled and without a password", n.Flags)
	}
	if n.GroupType != 0 {
		add("groupType %d", n.GroupType)
	}
	if n.Encryption != 0 {
		add("msDS-SupportedEncryptionTypes %d", n.Encryption)
	}
	if n.NoDialIn {
		add("msNPAllowDialin FALSE")
	}
	if n.Permissions != nil {
		add("permissions %s", n.Permissions.SDDL(secdesc.SID{}))
	}
	return out
}

// Attributes are the attributes of the new object beside its name and permissions, in
// the directory's spelling.
func (n *NewObject) Attributes() [][2]string {
	out := [][2]string{{"objectClass", n.Class}, {"sAMAccountName", n.Account}}
	add := func(set bool, name, value string) {
		if set {
			out = append(out, [2]string{name, value})
		}
	}
	add(n.Description != "", "description", n.Description)
	add(n.Class == ClassUser, "userAccountControl", fmt.Sprint(n.Flags))
	add(n.GroupType != 0, "groupType", fmt.Sprint(n.GroupType))
	add(n.Encryption != 0, "msDS-SupportedEncryptionTypes", fmt.Sprint(n.Encryption))
	add(n.NoDialIn, "msNPAllowDialin", "FALSE")
	return out
}
