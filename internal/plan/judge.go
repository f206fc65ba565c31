package plan

import (
	"fmt"
	"strings"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// A Presence is a fact that is true or false, or was not read.
type Presence string

// Presences; the zero value is the one that knows nothing.
const (
	NotRead Presence = ""
	Absent  Presence = "absent"
	Present Presence = "present"
)

// Known returns the presence of what was read.
func Known(there bool) Presence {
	if there {
		return Present
	}
	return Absent
}

// Facts are what was read of a change's objects right before it, on one domain
// controller. A nil pointer or empty text was not read.
type Facts struct {
	Server      string      `json:"server,omitempty"`  // that they were read from
	Deleted     bool        `json:"deleted,omitempty"` // the object is among the deleted ones
	DN          string      `json:"dn,omitempty"`      // of the object, as it is called now
	SID         secdesc.SID `json:"sid,omitzero"`      // of the object
	MemberDN    string      `json:"member_dn,omitempty"`
	MemberSID   secdesc.SID `json:"member_sid,omitzero"`
	Membership  Presence    `json:"membership,omitempty"`
	TimeBound   bool        `json:"time_bound,omitempty"` // the membership may end by the directory's own clock
	Flags       *uint32     `json:"flags,omitempty"`
	Expires     *int64      `json:"expires,omitempty"` // accountExpires, as stored
	PasswordSet *int64      `json:"password_set,omitempty"`
	Entry       Presence    `json:"entry,omitempty"`
	WhenChanged string      `json:"when_changed,omitempty"`
	USNChanged  int64       `json:"usn_changed,omitempty"`
	ChildThere  Presence    `json:"child_there,omitempty"` // there is an object with the new one's name
	Child       *Child      `json:"child,omitempty"`
}

// A Verdict says what a change is for the directory as it was read.
type Verdict uint8

// Verdicts; the zero value refuses.
const (
	Refused Verdict = iota // a precondition is not true, or could not be read
	Fits                   // to be carried out
	Already                // the directory is so without it
)

// Judge says whether a change may be carried out on what was read, and why not. The
// object's identity and the explicit conditions come first: an object that is another
// than was shown is not left alone silently.
func (c Change) Judge(f Facts) (Verdict, string) {
	if f.Deleted {
		if c.toggles() && !c.gives() { // what is taken away is gone with its object
			return Already, ""
		}
		return Refused, "the object " + c.Object.GUID.String() + " was deleted"
	}
	if why := c.mistaken(f); why != "" {
		return Refused, why
	}
	already, why := c.already(f)
	switch {
	case why != "":
		return Refused, why
	case already:
		return Already, ""
	}
	if why := c.Require.unmet(f); why != "" {
		return Refused, why
	}
	return Fits, ""
}

// mistaken says that the objects are not those that were shown.
func (c Change) mistaken(f Facts) string {
	if !c.Object.SID.IsZero() && f.SID != c.Object.SID {
		return fmt.Sprintf("the object %s has the SID %s now, not %s as shown", c.Object.GUID, sidText(f.SID), c.Object.SID)
	}
	gone := c.Kind == RemoveMember && f.Membership == Absent // whoever it is now
	if c.Member != nil && !gone && !c.Member.SID.IsZero() && !c.Member.GUID.IsZero() && f.MemberSID != c.Member.SID {
		return fmt.Sprintf("the member %s has the SID %s now, not %s as shown", c.Member.GUID, sidText(f.MemberSID), c.Member.SID)
	}
	return ""
}

func sidText(s secdesc.SID) string {
	if s.IsZero() {
		return "(none that may be read)"
	}
	return s.String()
}

// already reports whether the fact is as the change wants it.
func (c Change) already(f Facts) (bool, string) {
	presence := func(p Presence, what string) (bool, string) {
		if p == NotRead {
			return false, what + " could not be read"
		}
		return (p == Present) == c.gives(), ""
	}
	switch c.Kind {
	case AddMember, RemoveMember:
		return presence(f.Membership, "the membership")
	case GrantEntry, RevokeEntry:
		return presence(f.Entry, "the permissions")
	case CreateObject, DeleteObject:
		return c.created(f)
	case EnableAccount, DisableAccount:
		if f.Flags == nil {
			return false, "userAccountControl could not be read"
		}
		return (*f.Flags&AccountDisabled == 0) == c.gives(), ""
	case SetExpiry:
		if f.Expires == nil {
			return false, "accountExpires could not be read"
		}
		return SameExpiry(*f.Expires, c.Expires.FileTime()), ""
	case ResetPassword:
	}
	return false, ""
}

// unmet names the first condition that is not true.
func (r Require) unmet(f Facts) string {
	if why := r.unmetFlags(f); why != "" {
		return why
	}
	switch {
	case r.Expires != nil && f.Expires == nil:
		return "accountExpires could not be read"
	case r.Expires != nil && !SameExpiry(*f.Expires, r.Expires.FileTime()):
		return fmt.Sprintf("accountExpires is %d, not %d (%s) as required", *f.Expires, r.Expires.FileTime(), r.Expires)
	case r.PasswordSet != nil && f.PasswordSet == nil:
		return "pwdLastSet could not be read"
	case r.PasswordSet != nil && *f.PasswordSet != *r.PasswordSet:
		return "the password was set by somebody else meanwhile"
	case r.WhenChanged != "" && f.WhenChanged != r.WhenChanged:
		return fmt.Sprintf("the object was changed meanwhile: whenChanged is %q, not %q", f.WhenChanged, r.WhenChanged)
	case r.USNChanged != 0 && !strings.EqualFold(r.Server, f.Server):
		return fmt.Sprintf("uSNChanged is required as on %s, but the object is written through %s", r.Server, f.Server)
	case r.USNChanged != 0 && f.USNChanged != r.USNChanged:
		return fmt.Sprintf("the object was changed meanwhile: uSNChanged is %d, not %d", f.USNChanged, r.USNChanged)
	}
	return ""
}

func (r Require) unmetFlags(f Facts) string {
	if r.Flags == nil && r.FlagsSet == 0 && r.FlagsClear == 0 {
		return ""
	}
	switch {
	case f.Flags == nil:
		return "userAccountControl could not be read"
	case r.Flags != nil && *f.Flags != *r.Flags:
		return fmt.Sprintf("userAccountControl is %d, not %d as required", *f.Flags, *r.Flags)
	case *f.Flags&r.FlagsSet != r.FlagsSet:
		return fmt.Sprintf("userAccountControl %d lacks the required bits %#x", *f.Flags, r.FlagsSet&^*f.Flags)
	case *f.Flags&r.FlagsClear != 0:
		return fmt.Sprintf("userAccountControl %d has the forbidden bits %#x", *f.Flags, *f.Flags&r.FlagsClear)
	}
	return ""
}

// Inverse returns the change that takes c back, where f is what was read before c was
// carried out. It requires that nobody else has changed the fact in between, as far as
// the fact can tell.
func (c Change) Inverse(f Facts) (Change, error) {
	irreversible := func(format string, args ...any) (Change, error) {
		return Change{}, fmt.Errorf("%s: %w: "+format, append([]any{c.Text(), ErrIrreversible}, args...)...)
	}
	back := c
	back.Require, back.Seconds = Require{}, 0
	switch c.Kind {
	case AddMember:
		back.Kind = RemoveMember
	case RemoveMember:
		if f.TimeBound {
			return irreversible("the membership may have been time-bound, and must not become permanent")
		}
		back.Kind = AddMember
	case EnableAccount, DisableAccount:
		back.Kind = map[Kind]Kind{EnableAccount: DisableAccount, DisableAccount: EnableAccount}[c.Kind]
		if f.Flags != nil {
			now := *f.Flags ^ AccountDisabled
			back.Require.Flags = &now
		}
	case GrantEntry:
		back.Kind = RevokeEntry
	case RevokeEntry:
		back.Kind = GrantEntry
	case CreateObject:
		back.Kind = DeleteObject
	case DeleteObject:
		return irreversible("a deleted object does not come back as it was")
	case SetExpiry:
		if f.Expires == nil {
			return irreversible("what was there before was not read")
		}
		was, err := expiryOf(*f.Expires)
		if err != nil {
			return irreversible("%v", err)
		}
		now := *c.Expires
		back.Expires, back.Require.Expires = &was, &now
	case ResetPassword:
		return irreversible("nobody knows the password that was there before")
	}
	return back, nil
}

// expiryOf reads a value of accountExpires.
func expiryOf(v int64) (Expiry, error) {
	switch {
	case isNever(v):
		return Expiry{}, nil
	case v < 0 || v%ticksPerSecond != 0:
		return Expiry{}, fmt.Errorf("accountExpires was %d, which is no whole second", v)
	}
	return At(unix(v/ticksPerSecond - secondsTo1970)), nil
}
