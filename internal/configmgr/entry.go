package configmgr

import "slices"

// A Catalogue is the groups and accounts that Configuration Manager uses, with the
// rules for each. It is read once and not changed.
type Catalogue struct {
	Entries    []*Entry             // those of the reference in its order, groups first; then the added ones
	Cross      []*Control           // controls that concern many entries
	Collectors map[string]Collector // by name
	Parameters Parameters           // defaults
	Settings   map[string]string    // names of settings, with what they mean
	Techniques map[string]Technique // attacks and defences that entries and controls name
	Lines      []Line               // what the reference says, by line
	Headings   []int                // lines of the reference that only head or introduce others

	entries  map[string]*Entry
	controls map[string]*Control
}

// Entry finds an entry by ID; nil if there is none.
func (c *Catalogue) Entry(id string) *Entry { return c.entries[id] }

// Control finds a control by ID, cross-cutting or not; nil if there is none.
func (c *Catalogue) Control(id string) *Control { return c.controls[id] }

// Controls lists every control: those of the entries in their order, then the
// cross-cutting ones.
func (c *Catalogue) Controls() []*Control {
	var out []*Control
	for _, e := range c.Entries {
		out = append(out, e.Controls...)
	}
	return append(out, c.Cross...)
}

// Concerned lists the entries that a control is about: its own, or those that name a
// cross-cutting one.
func (c *Catalogue) Concerned(ctl *Control) []*Entry {
	if ctl.Entry != nil {
		return []*Entry{ctl.Entry}
	}
	var out []*Entry
	for _, e := range c.Entries {
		if slices.Contains(e.CrossControls, ctl.ID) {
			out = append(out, e)
		}
	}
	return out
}

// InReference says whether the reference describes the entry. Those that it lacks were
// added by the current branch.
func (e *Entry) InReference() bool { return e.Span[0] > 0 }

// An Entry is one group or account, a slot that principals fill.
type Entry struct {
	ID            string        `yaml:"id"`
	Name          string        `yaml:"name"`
	Kind          EntryKind     `yaml:"kind"`
	Purpose       Fact          `yaml:"purpose"`
	Releases      []string      `yaml:"releases"`      // of the 2012 family
	Current       CurrentStatus `yaml:"current"`       // in the current branch
	CurrentNote   string        `yaml:"current_note"`  // what changed
	MergedInto    string        `yaml:"merged_into"`   // id, if Current is merged
	Span          [2]int        `yaml:"span"`          // first and last line in the reference; 0, 0 for entries it lacks
	Pattern       string        `yaml:"pattern"`       // regular expression of a group's name
	Location      Fact          `yaml:"location"`      // of a group
	Lifecycle     Lifecycle     `yaml:"lifecycle"`     // of a group
	Default       Identity      `yaml:"default"`       // who it is if nobody is configured
	Explicit      []Fact        `yaml:"explicit_when"` // when an account must be configured
	Optional      []Fact        `yaml:"optional_when"`
	Allowed       []AccountType `yaml:"allowed"`
	Disallowed    []AccountType `yaml:"disallowed"`
	Multiplicity  Multiplicity  `yaml:"multiplicity"`
	Required      []Right       `yaml:"required"`
	Related       []Right       `yaml:"related"`
	Forbidden     []Forbidden   `yaml:"forbidden"`
	Separation    []Separation  `yaml:"separation"`
	Secrets       []Secret      `yaml:"secrets"`
	Rotation      Rotation      `yaml:"rotation"`
	Cleanup       []Fact        `yaml:"cleanup"`
	Discovery     []Discovery   `yaml:"discovery"`
	Techniques    []string      `yaml:"techniques"`
	Controls      []*Control    `yaml:"controls"`
	CrossControls []string      `yaml:"cross"`
	Uncertain     []string      `yaml:"uncertain"`
}

// An EntryKind is what fills a slot.
type EntryKind string

// The kinds of entries.
const (
	WindowsGroup    EntryKind = "windows-group"
	WindowsAccount  EntryKind = "windows-account"
	AccountList     EntryKind = "list-of-accounts"
	FirmwareAccount EntryKind = "amt-firmware-account" // has no SID
)

// A CurrentStatus is what became of an entry in the current branch.
type CurrentStatus string

// What became of entries.
const (
	CurrentListed      CurrentStatus = "current"
	CurrentChanged     CurrentStatus = "changed"
	CurrentMerged      CurrentStatus = "merged"
	CurrentRemoved     CurrentStatus = "removed"
	CurrentUnsupported CurrentStatus = "deprecated-unsupported"
	CurrentRetired     CurrentStatus = "current-role-retired"
	CurrentAdded       CurrentStatus = "added" // unknown to the reference
)

// An Origin says where a fact comes from: lines of the reference of 2015, current
// documentation, a hardening source, or our own conclusion.
type Origin struct {
	Kinds []OriginKind `yaml:"origin"`
	Lines []int        `yaml:"lines"` // of the reference, from 1
	Refs  []string     `yaml:"refs"`  // technique, memdocs:PATH, memdocs#ISSUE, guide:LINES, tool:NAME
}

// An OriginKind is a kind of source of a fact.
type OriginKind string

// The kinds of sources.
const (
	FromReference   OriginKind = "reference"     // the reference of 2015, by line
	FromCurrentDocs OriginKind = "current-docs"  // documentation of the current branch
	FromHardening   OriginKind = "mm"            // Misconfiguration Manager
	FromGuide       OriginKind = "guide"         // the least-privilege guide
	FromInterface   OriginKind = "product-ui"    // what the console offers
	FromModel       OriginKind = "product-model" // what classes of the provider hold
	FromDerivation  OriginKind = "derived"       // our conclusion from the above
	FromInference   OriginKind = "inferred"      // plausible, not confirmed
)

// A Fact is a statement with its origin.
type Fact struct {
	Text   string `yaml:"text"`
	Origin `yaml:",inline"`
}

// A Lifecycle tells how a group comes, is filled and goes.
type Lifecycle struct {
	CreatedBy Fact   `yaml:"created_by"`
	ManagedBy string `yaml:"managed_by"`
	Members   Fact   `yaml:"members"`
	Removed   *bool  `yaml:"removed_at_uninstall"` // nil: not known
}

// A Line is one line of the reference, in our words, with what follows from it: controls,
// fields of entries (such as network-access#rotation), or why nothing is to be checked.
type Line struct {
	Line     int      `yaml:"line"`
	Says     string   `yaml:"says"`
	Controls []string `yaml:"controls"`
	Fields   []string `yaml:"fields"`
	Why      string   `yaml:"why"`
}

// An Identity is who acts if no account is configured.
type Identity struct {
	Identity string `yaml:"identity"`
	Note     string `yaml:"note"`
	Origin   `yaml:",inline"`
}

// An AccountType is a type of account that a slot takes, or does not.
type AccountType struct {
	Type   string `yaml:"type"`
	Note   string `yaml:"note"`
	Origin `yaml:",inline"`
}

// A Multiplicity says how many principals fill a slot. Max is 0 where there is no limit
// or none is known.
type Multiplicity struct {
	Per       string         `yaml:"per"`
	Max       int            `yaml:"max"`
	ByRelease map[string]int `yaml:"max_by_release"` // by first release to which it applies
	Selection string         `yaml:"selection"`
	Ordered   bool           `yaml:"ordered"`
	Note      string         `yaml:"note"`
	Origin    `yaml:",inline"`
}

// A Right is what an account needs.
type Right struct {
	Target      Target   `yaml:"target"`
	Where       string   `yaml:"where"`
	Permissions []string `yaml:"permissions"`
	Roles       []string `yaml:"roles"`     // database roles that carry the permissions in the current branch
	Automatic   bool     `yaml:"automatic"` // the site grants it by itself once the account is set
	Path        string   `yaml:"path"`
	When        string   `yaml:"when"`
	Note        string   `yaml:"note"`
	Origin      `yaml:",inline"`
}

// A Forbidden right or membership.
type Forbidden struct {
	Right  string `yaml:"right"`
	Text   string `yaml:"text"`
	Origin `yaml:",inline"`
}

// A Separation is a rule between two entries.
type Separation struct {
	Rule   SeparationRule `yaml:"rule"`
	Other  string         `yaml:"other"` // id of an entry, or what else is meant
	Text   string         `yaml:"text"`
	Origin `yaml:",inline"`
}

// A SeparationRule is how the principals of two slots relate.
type SeparationRule string

// The rules of separation.
const (
	MustDiffer   SeparationRule = "must-differ"
	MustMatch    SeparationRule = "must-match"
	MustAlsoBe   SeparationRule = "must-also-be"
	MayShare     SeparationRule = "may-share"
	OnePer       SeparationRule = "one-per"
	Requires     SeparationRule = "requires"
	Supersedes   SeparationRule = "supersedes"
	SupersededBy SeparationRule = "superseded-by"
	Related      SeparationRule = "related" // no restriction: stands beside, is equivalent to, …
)

// A Secret is where the password of a slot rests.
type Secret struct {
	Where      string `yaml:"where"`
	Confidence string `yaml:"confidence"`
	Origin     `yaml:",inline"`
}

// A Rotation is how the secret of a slot is changed.
type Rotation struct {
	Strategy Strategy       `yaml:"strategy"`
	Steps    []RotationStep `yaml:"steps"`
	Never    string         `yaml:"never"` // what must not be done, and why
	Caution  string         `yaml:"caution"`
	Origin   `yaml:",inline"`
}

// A RotationStep is done when its gate is open.
type RotationStep struct {
	Do   string `yaml:"do"`
	Each Each   `yaml:"each"` // what it is done for, one by one; "" for a step that is done once
	Gate string `yaml:"gate"` // what must have happened before the next step; "" if nothing
	See  string `yaml:"see"`  // how that is observed
}

// Each is a thing of a site for which a step is repeated.
type Each string

// The things for which steps are repeated.
const (
	EachHost     Each = "host"
	EachPackage  Each = "package"
	EachSequence Each = "sequence"
	EachLocation Each = "location" // forest, discovery location, source site
)

// A Discovery is how it can be learned who fills a slot.
type Discovery struct {
	How        string `yaml:"how"`
	Confidence string `yaml:"confidence"`
}

// A Control is a rule with a condition that yields pass, fail or unknown.
type Control struct {
	ID          string   `yaml:"id"`
	Title       string   `yaml:"title"`
	Severity    string   `yaml:"severity"` // critical, high, medium, low, info
	Scope       Scope    `yaml:"scope"`    // what it is asked about
	When        string   `yaml:"when"`     // CEL; if false the control is not applicable
	Condition   string   `yaml:"condition"`
	Evidence    []Needed `yaml:"evidence"`
	Remediation string   `yaml:"remediation"`
	Note        string   `yaml:"note"`
	Concerns    string   `yaml:"concerns"` // of a cross-cutting control: what, in words; the entries name it
	Origin      `yaml:",inline"`
	Entry       *Entry `yaml:"-"` // nil for a cross-cutting control
}

// A Scope is what a control is asked about once each.
type Scope string

// The scopes of controls.
const (
	PerAssignment Scope = "assignment" // a
	PerGroup      Scope = "group"      // g: the group on a host
	PerSite       Scope = "site"
	PerHierarchy  Scope = "hierarchy"
	PerDomain     Scope = "domain"
	PerStored     Scope = "stored"   // a: a stored account, used or not
	PerIdentity   Scope = "identity" // a: an assignment, or who acts where nobody is configured
)

// Needed is evidence that a control looks at.
type Needed struct {
	Collector string `yaml:"collector"`
	Query     string `yaml:"query"`
}

// A Collector supplies evidence.
type Collector struct {
	Tier  string `yaml:"tier"` // T0, T1, T2, T3, M; "-" for what leastwise keeps itself
	Needs string `yaml:"needs"`
}

// A Technique is a published attack or defence.
type Technique struct {
	Kind    string `yaml:"kind"` // attack or defence
	Summary string `yaml:"summary"`
}

// A Target is a kind of thing on which rights are needed.
type Target string

// The kinds of things.
const (
	OnFolder        Target = "folder"            // of a host's file system
	OnShare         Target = "share"             // of a host
	InLocalGroup    Target = "local-group"       // of a host
	InDomainGroup   Target = "domain-group"      // of a domain
	AsUserRight     Target = "user-right"        // privilege or logon right on a host
	OnContainer     Target = "ad-container"      // of Active Directory
	InForest        Target = "ad-forest"         // somewhere in a forest
	InDomain        Target = "ad-domain"         // somewhere in a domain
	OnDatabase      Target = "site-database"     // role or right of SQL Server
	OnNamespace     Target = "wmi-namespace"     // of a host
	OnActivation    Target = "dcom"              // of a host
	OnRole          Target = "role-permission"   // permission that a security role carries
	OnClass         Target = "configmgr-class"   // class of securable objects of a site
	OnObjects       Target = "configmgr-objects" // all securable objects of a site
	AsSetting       Target = "configmgr-setting" // configured in the console
	InExchange      Target = "exchange-rbac"     // management role of Exchange
	AtProxy         Target = "proxy"             // proxy server or firewall
	AtMailServer    Target = "smtp"              // mail server
	InWSUS          Target = "wsus"              // of the update server
	OnFirmware      Target = "amt-firmware"      // of AMT
	OnFirmwareList  Target = "amt-acl"           // access list of AMT
	AsFirmwareState Target = "amt-setting"       // state of AMT
	OnClient        Target = "client"            // whatever a command needs
	OnNetwork       Target = "network"           // whatever a command needs
)

// A Strategy is how a secret is changed.
type Strategy string

// The strategies.
const (
	RotateReplace Strategy = "create-new-then-replace"      // the old account is never reset while it is in use
	RotateReset   Strategy = "reset-then-update-references" // reset, then tell whoever stores the secret
	RotateList    Strategy = "change-list"                  // names without secrets: edit the list
	RotateSelf    Strategy = "set-by-configmgr"             // the site sets it
	RotateNothing Strategy = "not-applicable"               // there is no secret
)
