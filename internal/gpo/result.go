package gpo

import (
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A Truth is an answer with three values. The zero value is Unknown.
type Truth uint8

// Answers.
const (
	Unknown Truth = iota
	No
	Yes
)

// String returns "unknown", "no" or "yes".
func (t Truth) String() string { return [...]string{"unknown", "no", "yes"}[t] }

// A State says what policy does to a setting. The zero value is Undecided.
type State uint8

// States of a setting.
const (
	Undecided  State = iota // depends on something unknown: Setting.Outcomes, Setting.Reasons
	NotDefined              // no policy defines it: the host's own value stays
	Defined                 // Setting.Value and Setting.Principals are in force
)

// String returns "undecided", "not defined" or "defined".
func (s State) String() string { return [...]string{"undecided", "not defined", "defined"}[s] }

// A Policy is one group policy object, as far as it was read.
type Policy struct {
	ID       forest.ID // forest.None if the object is not part of the snapshot
	DN       string
	GUID     secdesc.GUID // from its common name; zero if that is not a GUID
	Name     string       // displayName, or the common name if unknown
	Domain   string       // DNS name of its domain
	Folder   string       // below the domain's SYSVOL folder: Policies/{GUID}
	Version  int64        // versionNumber: user half << 16 | computer half
	FileVer  int64        // Version of GPT.INI
	Problems []Problem    // version mismatch, missing files, parse errors, secrets found, …

	flags  int64
	wmi    string // gPCWQLFilter, resolved to a name if possible
	ext    Extensions
	denied *Rejected // not applied to any computer, whatever the link
	maybe  []string  // conditions that cannot be decided for any computer
	filter *filter
	data   *content
}

// A Problem is something wrong with a policy or its files.
type Problem struct {
	Kind ProblemKind
	Text string
}

// A ProblemKind tells problems apart.
type ProblemKind uint8

// Kinds of problems.
const (
	Damaged         ProblemKind = iota // missing, malformed or ignored by clients
	VersionMismatch                    // versionNumber and GPT.INI differ
	StoredSecret                       // a file holds a password; the text does not
	Unseen                             // the policy was not read: what is wrong with it, if anything, is not known
)

// String returns the text.
func (p Problem) String() string { return p.Text }

// String returns the display name and the GUID, which is the name, too, of a
// policy whose display name was not read.
func (p *Policy) String() string {
	if p.GUID.IsZero() || strings.EqualFold(strings.Trim(p.Name, "{}"), p.GUID.String()) {
		return p.Name
	}
	return p.Name + " {" + strings.ToUpper(p.GUID.String()) + "}"
}

// A Level is the kind of container that a link stands on.
type Level uint8

// Levels, in the order in which their policies are applied.
const (
	SiteLevel Level = iota + 1
	DomainLevel
	OULevel
)

// String returns "site", "domain" or "organizational unit".
func (l Level) String() string {
	return [...]string{"", "site", "domain", "organizational unit"}[l]
}

// A Link is one entry of the gPLink attribute of a container.
type Link struct {
	Container forest.ID
	DN        string // of the container
	Level     Level
	Order     int // link order as Windows shows it: 1 is applied last and wins
	Enforced  bool
	Disabled  bool
}

// A Source says where a value was set.
type Source struct {
	Policy *Policy // nil: policies that could not be read (Outcome.When says which)
	Link   Link
	File   string // below the domain's SYSVOL folder, with slashes
	Line   int    // from 1; 0 for files without lines
}

// A PrincipalKind says how an entry of a list was understood.
type PrincipalKind uint8

// Kinds of principals.
const (
	UnresolvedName PrincipalKind = iota // the name means nothing to this forest: Principal.Note
	BySID                               // written as a SID
	WellKnown                           // name of a well-known or built-in principal
	HostAccount                         // account of each host's own database, by RID
	DomainAccount                       // name of an account of a domain of the forest
)

// A Principal is one entry of a list in a policy file.
type Principal struct {
	Raw  string // as written, without quotes
	Kind PrincipalKind
	SID  secdesc.SID // zero for HostAccount and UnresolvedName
	ID   forest.ID   // object in the snapshot, or forest.None
	RID  uint32      // HostAccount: relative to the host's own account domain; 500 is its Administrator
	Note string      // what a reader must know: unresolved, renamed, ambiguous
}

// Is reports whether p is the principal with this SID.
func (p Principal) Is(sid secdesc.SID) bool { return !sid.IsZero() && p.SID == sid }

// IsHostAdministrator reports whether p covers the built-in Administrator of
// each host: its name, or the identifiers S-1-5-113 (local account) and
// S-1-5-114 (local account and member of Administrators).
func (p Principal) IsHostAdministrator() bool {
	return p.Kind == HostAccount && p.RID == 500 || p.SID == localAccount || p.SID == localAdminAccount
}

var (
	localAccount      = secdesc.MustSID("S-1-5-113")
	localAdminAccount = secdesc.MustSID("S-1-5-114")
)

// A Loser is a policy that would have set a value and was overridden.
type Loser struct {
	Source
	Value      string
	Principals []Principal
	Why        string
}

// An Outcome is one value that an undecided setting may have.
type Outcome struct {
	Defined    bool        // false: no policy defines it in this case
	Readable   bool        // false: a policy that could not be read may define it, with any value
	Value      string      // as written
	Principals []Principal // rights only
	Source     Source
	When       []string // what must hold for this outcome; empty: what is left if the others do not hold
}

// A Setting is the resultant of one setting that policies replace wholesale.
type Setting struct {
	Name       string // SeDenyNetworkLogonRight, MinimumPasswordLength, MACHINE\…, …
	State      State
	Value      string      // Defined: as written
	Principals []Principal // Defined rights: who holds it; empty means nobody
	Winner     Source      // Defined
	Losers     []Loser     // highest precedence first; also of undecided settings
	Outcomes   []Outcome   // highest precedence first; of a decided setting all have its value
	Reasons    []string    // Undecided: what would have to be known
}

// Holds tells whether policy puts a principal that match accepts on the list of
// a user right. It is Yes or No if all possible outcomes agree. A right that no
// policy defines counts as not holding it: what the host's own policy says is
// not known to this package.
func (s Setting) Holds(match func(Principal) bool) Truth {
	out, first := Unknown, true
	for _, o := range s.Outcomes {
		t := No
		switch {
		case o.Defined && !o.Readable:
			t = Unknown
		case slices.ContainsFunc(o.Principals, match):
			t = Yes
		}
		if t == Unknown || !first && t != out {
			return Unknown
		}
		out, first = t, false
	}
	return out
}

// A Reason says why a policy is not applied.
type Reason uint8

// Reasons.
const (
	LinkDisabled        Reason = iota + 1 // the link is disabled
	Blocked                               // inheritance is blocked below the link
	PolicyDisabled                        // the computer half of the policy is disabled
	FilteredNoApply                       // nothing grants the computer Apply-Group-Policy
	FilteredDenied                        // an entry denies the computer Apply-Group-Policy or Read
	FilteredNoRead                        // nothing grants the computer Read
	EmptyPolicy                           // both versions of the computer half are 0
	MissingPolicy                         // the link names a policy that does not exist
	FunctionalityTooNew                   // gPCFunctionalityVersion is not 2
	NoExtensions                          // gPCMachineExtensionNames lists nothing
)

// A Rejected is a policy that is linked in a scope and not applied.
type Rejected struct {
	Policy *Policy
	Link   Link
	Reason Reason
	Text   string // the reason in words
	ACE    int    // FilteredDenied: index of the entry in the DACL of the policy; else -1
}

// An Applied is a policy that is, or may be, applied in a scope.
type Applied struct {
	Policy *Policy // nil: whatever policies an unreadable container links
	Link   Link
	When   []string // what must hold for it to be applied; empty: it is applied
}

// A ScopeID numbers the distinct scopes of an Engine from 0.
type ScopeID int

// A Result is the resultant set of policy of one scope. It is immutable.
type Result struct {
	Scope     ScopeID
	Container forest.ID // domain or organizational unit that holds the computers
	Domain    forest.Domain
	DC        bool      // the computers are domain controllers
	Site      forest.ID // forest.None if unknown
	Policies  []Applied // in order of application: the last one wins
	Rejected  []Rejected
	Problems  []string // what is wrong or unread, of the scope as a whole

	settings map[string]*Setting // by lower-case section and name
	names    map[section][]string
	entries  []entry // of Policies, in order of application
	groups   []LocalGroup
}

// section tells apart settings of the same name.
type section uint8

const (
	rightsSection section = iota + 1
	systemSection
	auditSection
	advancedAuditSection
	membersSection
	memberOfSection
)

// settingKey is equal for spellings of one setting: of a restricted group, its
// English name and its SID.
func settingKey(sec section, name string) string {
	name = strings.ToLower(name)
	if sec == membersSection || sec == memberOfSection {
		if sid, ok := wellKnown[strings.TrimPrefix(name, `builtin\`)]; ok {
			name = "*" + strings.ToLower(sid)
		}
	}
	return string(rune('a'+sec)) + name
}

// setting returns the resultant of a name in a section.
func (r *Result) setting(sec section, name string) Setting {
	if s, ok := r.settings[settingKey(sec, name)]; ok {
		return *s
	}
	return r.undefined(sec, name)
}

func (r *Result) all(sec section) []Setting {
	out := make([]Setting, 0, len(r.names[sec]))
	for _, n := range r.names[sec] {
		out = append(out, r.setting(sec, n))
	}
	return out
}

// Right returns the resultant of a user right by its constant name
// ([MS-GPSB] 2.2.6), ignoring case.
func (r *Result) Right(name string) Setting { return r.setting(rightsSection, name) }

// Rights returns the rights that a policy of the scope defines or may define,
// ordered by name.
func (r *Result) Rights() []Setting { return r.all(rightsSection) }

// SystemAccess returns the resultant of a key of [System Access] ([MS-GPSB]
// 2.2.1): NewAdministratorName, EnableAdminAccount, MinimumPasswordLength, …
func (r *Result) SystemAccess(key string) Setting { return r.setting(systemSection, key) }

// AuditCategory returns the resultant of a key of [Event Audit] ([MS-GPSB]
// 2.2.4): AuditAccountManage, … Its value is 0 none, 1 success, 2 failure, 3
// both. Subcategories, where defined, override categories on the host.
func (r *Result) AuditCategory(key string) Setting { return r.setting(auditSection, key) }

// AuditSubcategory returns the resultant system audit setting of a subcategory
// ([MS-GPAC] 2.2.1), whose value is 0 unchanged, 1 success, 2 failure, 3 both, 4
// none.
func (r *Result) AuditSubcategory(g secdesc.GUID) Setting {
	return r.setting(advancedAuditSection, g.String())
}

// A LocalGroup is the resultant membership of one group of the hosts' own
// database, as far as policy determines it.
type LocalGroup struct {
	Group    Principal
	Exact    Truth    // Yes: policy sets the list and removes everyone else
	Members  []Member // ordered by name
	Problems []string // why Members may be incomplete
}

// A Member is a member of a local group.
type Member struct {
	Principal
	In      Truth    // Yes: policy puts it there; No: policy takes it out
	Default bool     // it is there because Windows puts it there on joining, not by policy; hosts may differ
	Source  Source   // what decided; zero for defaults
	Reasons []string // In is Unknown: what would have to be known
}

// Groups returns the local groups whose membership a policy of the scope
// determines or may determine, and Administrators always. Domain controllers
// have no local groups of their own: for them it holds what policies do to the
// domain's built-in groups.
func (r *Result) Groups() []LocalGroup { return r.groups }

// Group finds a local group by SID, for example S-1-5-32-544.
func (r *Result) Group(sid secdesc.SID) (LocalGroup, bool) {
	for _, g := range r.groups {
		if g.Group.Is(sid) {
			return g, true
		}
	}
	return LocalGroup{}, false
}

// Contains tells whether m is in the group by policy or by default.
func (g LocalGroup) Contains(match func(Principal) bool) (Member, Truth) {
	for _, m := range g.Members {
		if match(m.Principal) {
			return m, m.In
		}
	}
	if g.Exact == Yes && len(g.Problems) == 0 {
		return Member{}, No
	}
	return Member{}, Unknown
}
