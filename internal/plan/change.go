package plan

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// Errors that callers may test for.
var (
	ErrPlan         = errors.New("the plan cannot be used")
	ErrIrreversible = errors.New("the change cannot be taken back")
)

func badPlan(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrPlan}, args...)...)
}

// A Kind says what a [Change] does.
type Kind string

// Kinds of changes, with the fields that they use beside Object and Require.
const (
	AddMember      Kind = "add-member"      // Object: group; Member; Seconds
	RemoveMember   Kind = "remove-member"   // Object: group; Member
	EnableAccount  Kind = "enable-account"  // Object: account
	DisableAccount Kind = "disable-account" // Object: account
	ResetPassword  Kind = "reset-password"  // Object: account; the value is given when it is carried out
	SetExpiry      Kind = "set-expiry"      // Object: account; Expires
	GrantEntry     Kind = "grant-entry"     // Object; Entry
	RevokeEntry    Kind = "revoke-entry"    // Object; Entry
	CreateObject   Kind = "create-object"   // Object: container; New
	DeleteObject   Kind = "delete-object"   // Object: container; New: takes CreateObject back
)

// Kinds returns all kinds in the order in which [Arrange] puts them.
func Kinds() []Kind {
	return []Kind{CreateObject, GrantEntry, SetExpiry, ResetPassword, EnableAccount, AddMember, RemoveMember, DisableAccount, RevokeEntry, DeleteObject}
}

// A Target is an object. Only GUID decides; the others are for people, and SID as a
// safeguard. A member from another forest has a SID and no GUID.
type Target struct {
	GUID secdesc.GUID `json:"guid,omitzero"`
	DN   string       `json:"dn"`
	SID  secdesc.SID  `json:"sid,omitzero"`
}

// Name is what people call the target: its distinguished name, else SID or GUID.
func (t Target) Name() string {
	switch {
	case t.DN != "":
		return t.DN
	case !t.SID.IsZero():
		return t.SID.String()
	}
	return "{" + t.GUID.String() + "}"
}

// key identifies the target.
func (t Target) key() string {
	if t.GUID.IsZero() {
		return t.SID.String()
	}
	return t.GUID.String()
}

// An Expiry is when an account expires; the zero value is never. The directory counts
// in 100 nanoseconds since 1601; this has whole seconds.
type Expiry struct{ at time.Time }

// At returns an expiry; the zero time means never.
func At(t time.Time) Expiry {
	if t.IsZero() {
		return Expiry{}
	}
	return Expiry{t.UTC().Truncate(time.Second)}
}

// Time returns when; zero if never.
func (e Expiry) Time() time.Time { return e.at }

// Values of accountExpires ([MS-ADTS] 2.2.1, attribute accountExpires of [MS-ADA1]).
const (
	neverExpires    = math.MaxInt64
	ticksPerSecond  = 10_000_000
	secondsTo1970   = 11_644_473_600
	greatestSeconds = math.MaxInt64/ticksPerSecond - secondsTo1970 - 1
)

// FileTime is the expiry as the directory stores it.
func (e Expiry) FileTime() int64 {
	if e.at.IsZero() {
		return neverExpires
	}
	return (e.at.Unix() + secondsTo1970) * ticksPerSecond
}

// SameExpiry reports whether two values of accountExpires mean the same: 0 and the
// greatest number both mean never.
func SameExpiry(a, b int64) bool { return a == b || isNever(a) && isNever(b) }

func isNever(v int64) bool { return v == 0 || v == neverExpires }

// String returns the time in RFC 3339, or "never".
func (e Expiry) String() string {
	if e.at.IsZero() {
		return "never"
	}
	return e.at.Format(time.RFC3339)
}

// MarshalText writes String.
func (e Expiry) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (e *Expiry) UnmarshalText(b []byte) error {
	if string(b) == "never" {
		*e = Expiry{}
		return nil
	}
	t, err := time.Parse(time.RFC3339, string(b))
	if err != nil || t.Unix() < -secondsTo1970 || t.Unix() > greatestSeconds {
		return badPlan("%q is neither a time as in 2026-01-31T18:00:00Z nor never", b)
	}
	*e = At(t)
	return nil
}

// An Entry is one access control entry that is written to the object itself.
type Entry struct{ secdesc.ACE }

// MarshalText writes the entry in SDDL, with whole SIDs.
func (e Entry) MarshalText() ([]byte, error) { return []byte(e.SDDL(secdesc.SID{})), nil }

// UnmarshalText reads an entry in SDDL with whole SIDs.
func (e *Entry) UnmarshalText(b []byte) error {
	ace, err := secdesc.ParseACE(string(b), secdesc.SID{}, secdesc.SID{})
	if err != nil {
		return badPlan("entry %q: %v", b, err)
	}
	e.ACE = ace
	return nil
}

// A Require is what must be true of the object right before the change, beyond what its
// kind says: a membership that is added must be absent, an account that is enabled must
// be disabled, and so on. A fact that cannot be read counts as not true.
type Require struct {
	Flags       *uint32 `json:"flags,omitempty"`        // userAccountControl, exactly
	FlagsSet    uint32  `json:"flags_set,omitempty"`    // bits of it that must be set
	FlagsClear  uint32  `json:"flags_clear,omitempty"`  // bits of it that must not
	Expires     *Expiry `json:"expires,omitempty"`      // when the account expires now
	PasswordSet *int64  `json:"password_set,omitempty"` // pwdLastSet
	WhenChanged string  `json:"when_changed,omitempty"` // whenChanged, as the directory writes it
	// USNChanged is the object's uSNChanged on Server, which means nothing on
	// another domain controller.
	USNChanged int64  `json:"usn_changed,omitempty"`
	Server     string `json:"server,omitempty"`
	// Made is the GUID of the object that is to be deleted.
	Made secdesc.GUID `json:"made,omitzero"`
}

// A Change is one change of one fact of one object.
type Change struct {
	Kind    Kind       `json:"kind"`
	Object  Target     `json:"object"`
	Member  *Target    `json:"member,omitempty"`
	Entry   *Entry     `json:"entry,omitempty"`
	Expires *Expiry    `json:"expires,omitempty"`
	Seconds int64      `json:"ttl_seconds,omitempty"` // time to live of a member, by the directory's own means; 0: none
	New     *NewObject `json:"new,omitempty"`
	Require Require    `json:"require,omitzero"`
}

// AccountDisabled is the bit of userAccountControl that disables an account
// ([MS-ADTS] 2.2.16).
const AccountDisabled uint32 = 0x2

// Validate says what is wrong with a change, by itself.
func (c Change) Validate() error {
	member := c.Kind == AddMember || c.Kind == RemoveMember
	entry := c.Kind == GrantEntry || c.Kind == RevokeEntry
	object := c.Kind == CreateObject || c.Kind == DeleteObject
	switch {
	case !known(c.Kind):
		return badPlan("there is no change of kind %q", c.Kind)
	case c.Object.GUID.IsZero():
		return badPlan("%s of %s: the object has no GUID", c.Kind, c.Object.Name())
	case member != (c.Member != nil), entry != (c.Entry != nil), object != (c.New != nil), (c.Kind == SetExpiry) != (c.Expires != nil),
		!c.Require.Made.IsZero() && c.Kind != DeleteObject:
		return badPlan("%s of %s: it needs other parts, or has too many", c.Kind, c.Object.Name())
	case member && c.Member.GUID.IsZero() && c.Member.SID.IsZero():
		return badPlan("%s of %s: the member has neither GUID nor SID", c.Kind, c.Object.Name())
	case member && c.Member.GUID == c.Object.GUID:
		return badPlan("%s of %s: a group is no member of itself", c.Kind, c.Object.Name())
	case c.Seconds != 0 && c.Kind != AddMember || c.Seconds < 0 || c.Seconds > math.MaxInt32:
		return badPlan("%s of %s: a time to live of %d seconds is not possible", c.Kind, c.Object.Name(), c.Seconds)
	case (c.Require.USNChanged != 0) != (c.Require.Server != ""):
		return badPlan("%s of %s: usn_changed and server belong together", c.Kind, c.Object.Name())
	case c.Require.FlagsSet&c.Require.FlagsClear != 0:
		return badPlan("%s of %s: flags are required to be both set and clear", c.Kind, c.Object.Name())
	}
	switch {
	case entry:
		return c.validateEntry()
	case object:
		return c.New.validate()
	}
	return nil
}

func (c Change) validateEntry() error {
	a := c.Entry.ACE
	const generic = 0xf0000000
	switch {
	case !a.Type.Known() || !a.Type.IsAllow() && !a.Type.IsDeny():
		return badPlan("%s of %s: only entries that allow or deny are changed", c.Kind, c.Object.Name())
	case a.Flags.Has(secdesc.Inherited):
		return badPlan("%s of %s: an inherited entry is changed where it comes from", c.Kind, c.Object.Name())
	case uint32(a.Mask)&generic != 0 || a.Mask == 0:
		return badPlan("%s of %s: name the rights one by one: generic ones are stored otherwise", c.Kind, c.Object.Name())
	case a.SID.IsZero():
		return badPlan("%s of %s: the entry has no trustee", c.Kind, c.Object.Name())
	}
	return nil
}

func known(k Kind) bool {
	for _, o := range Kinds() {
		if k == o {
			return true
		}
	}
	return false
}

// Subject identifies the one fact that a change changes.
func (c Change) Subject() string {
	switch c.Kind {
	case AddMember, RemoveMember:
		return "member " + c.Object.key() + " " + c.Member.key()
	case EnableAccount, DisableAccount:
		return "enabled " + c.Object.key()
	case GrantEntry, RevokeEntry:
		text, _ := c.Entry.MarshalText() // never fails
		return "entry " + c.Object.key() + " " + string(text)
	case CreateObject, DeleteObject:
		return "object " + c.Object.key() + " " + strings.ToLower(c.New.Name)
	case ResetPassword, SetExpiry:
	}
	return string(c.Kind) + " " + c.Object.key()
}

// gives reports whether the change makes its fact true rather than false.
func (c Change) gives() bool {
	return c.Kind == AddMember || c.Kind == EnableAccount || c.Kind == GrantEntry || c.Kind == CreateObject
}

// toggles reports whether the change's fact is one that is true or false.
func (c Change) toggles() bool { return c.Kind != ResetPassword && c.Kind != SetExpiry }

// Attribute is the attribute that the change writes, in the directory's spelling.
func (c Change) Attribute() string {
	switch c.Kind {
	case AddMember, RemoveMember:
		return "member"
	case EnableAccount, DisableAccount:
		return "userAccountControl"
	case ResetPassword:
		return "unicodePwd"
	case SetExpiry:
		return "accountExpires"
	case CreateObject, DeleteObject:
		return "objectClass"
	case GrantEntry, RevokeEntry:
	}
	return "nTSecurityDescriptor"
}

// Text says what the change does, in a line.
func (c Change) Text() string {
	object := quote(c.Object.Name())
	switch c.Kind {
	case AddMember:
		if c.Seconds > 0 {
			return fmt.Sprintf("add member %s to group %s, for %s by the directory's own clock", quote(c.Member.Name()), object, time.Duration(c.Seconds)*time.Second)
		}
		return fmt.Sprintf("add member %s to group %s", quote(c.Member.Name()), object)
	case RemoveMember:
		return fmt.Sprintf("remove member %s from group %s", quote(c.Member.Name()), object)
	case EnableAccount:
		return "enable account " + object
	case DisableAccount:
		return "disable account " + object
	case ResetPassword:
		return "reset the password of account " + object
	case SetExpiry:
		return fmt.Sprintf("let account %s expire: %s", object, c.Expires)
	case GrantEntry:
		return fmt.Sprintf("grant on %s the entry %s", object, c.Entry.SDDL(secdesc.SID{}))
	case RevokeEntry:
		return fmt.Sprintf("revoke on %s the entry %s", object, c.Entry.SDDL(secdesc.SID{}))
	case CreateObject, DeleteObject:
	}
	if c.New != nil {
		verb := map[Kind]string{CreateObject: "create", DeleteObject: "delete"}[c.Kind]
		return fmt.Sprintf("%s %s %s", verb, map[string]string{ClassGroup: "group", ClassUser: "account"}[c.New.Class], quote(c.New.DN(c.Object.Name())))
	}
	return string(c.Kind) + " " + object
}

// Conditions says, each in a line, what must be true right before.
func (c Change) Conditions() []string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	switch c.Kind {
	case AddMember:
		add("it is not a member yet, or nothing is done")
	case RemoveMember:
		add("it is a direct member, or nothing is done")
	case EnableAccount:
		add("the account is disabled, or nothing is done")
	case DisableAccount:
		add("the account is enabled, or nothing is done")
	case GrantEntry:
		add("the entry is not there yet, or nothing is done")
	case RevokeEntry:
		add("the entry is there and not inherited, or nothing is done")
	case CreateObject:
		add("there is no object of that name; one of the same class and account name: nothing is done")
	case DeleteObject:
		add("it is there, without members if a group, disabled if an account")
	case ResetPassword, SetExpiry:
	}
	r := c.Require
	if r.Flags != nil {
		add("userAccountControl is %d", *r.Flags)
	}
	if r.FlagsSet != 0 {
		add("userAccountControl has the bits %#x", r.FlagsSet)
	}
	if r.FlagsClear != 0 {
		add("userAccountControl has none of the bits %#x", r.FlagsClear)
	}
	if r.Expires != nil {
		add("the account expires: %s", r.Expires)
	}
	if r.PasswordSet != nil {
		add("pwdLastSet is %d", *r.PasswordSet)
	}
	if r.WhenChanged != "" {
		add("whenChanged is %s", r.WhenChanged)
	}
	if !r.Made.IsZero() {
		add("its GUID is %s", r.Made)
	}
	if r.USNChanged != 0 {
		add("uSNChanged is %d on %s", r.USNChanged, r.Server)
	}
	return out
}

// quote puts a name in quotation marks and makes what a terminal would act on visible.
func quote(name string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range name {
		if r < 0x20 || r == 0x7f || r >= 0x80 && r < 0xa0 || isBidi(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
			continue
		}
		b.WriteRune(r)
	}
	b.WriteByte('"')
	return b.String()
}

// isBidi reports whether a rune changes the direction or visibility of text.
func isBidi(r rune) bool {
	return r >= 0x200b && r <= 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0xfeff || r == 0x2028 || r == 0x2029
}
