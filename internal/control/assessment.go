package control

import (
	"time"

	"github.com/leastwise/leastwise/internal/forest"
)

// FormatVersion is the version of the JSON form of an Assessment. It grows when a
// field changes its meaning or goes away; new fields do not change it.
const FormatVersion = 1

// An Outcome is the answer of a control for a subject.
type Outcome string

// Outcomes. A control that does not concern a subject gives no outcome.
const (
	Pass    Outcome = "pass"
	Fail    Outcome = "fail"
	Unknown Outcome = "unknown" // Finding.Missing names the evidence it lacks
)

// A Severity ranks what a failed control means.
type Severity string

// Severities, worst first.
const (
	Critical Severity = "critical" // direct way to power over the forest
	High     Severity = "high"
	Medium   Severity = "medium"
	Low      Severity = "low"
)

// An Assessment is the result of evaluating a catalogue on one snapshot.
type Assessment struct {
	Version    int             `json:"version"` // FormatVersion
	Run        Run             `json:"run"`
	Summary    Summary         `json:"summary"`
	Population []Population    `json:"population"`
	Paths      ControlPaths    `json:"control_paths"`
	Matrix     []MatrixRow     `json:"matrix"`
	Controls   []ControlResult `json:"controls"`
	Findings   []Finding       `json:"findings"`   // fail and unknown, worst first; passes are counted in Controls
	Exceptions []ExceptionUse  `json:"exceptions"` // what became of each exception that was given
}

// Run says what was assessed, when.
type Run struct {
	ID       string            `json:"id"` // of the content: the same snapshot and options have the same ID
	Started  time.Time         `json:"started"`
	Finished time.Time         `json:"finished"`
	Tool     string            `json:"tool"`
	Source   string            `json:"source"` // scan, ldif, fixture, …
	Reader   string            `json:"reader,omitempty"`
	Servers  []string          `json:"servers,omitempty"`
	Domains  []DomainSize      `json:"domain"`
	Coverage []forest.Coverage `json:"coverage"`
}

// DomainSize counts what a domain holds.
type DomainSize struct {
	DNS       string `json:"dns"`
	DN        string `json:"dn"`
	SID       string `json:"sid"`
	Users     int    `json:"users"`
	Computers int    `json:"computers"`
	Groups    int    `json:"groups"`
}

// Summary counts outcomes.
type Summary struct {
	Pass       int              `json:"pass"`
	Fail       int              `json:"fail"`
	Unknown    int              `json:"unknown"`
	Excepted   int              `json:"excepted"`    // failures with a valid exception; not in Fail
	BySeverity map[Severity]int `json:"by_severity"` // failures
	BySection  map[string]Tally `json:"by_section"`
}

// A Tally counts outcomes of subjects.
type Tally struct {
	Pass    int `json:"pass"`
	Fail    int `json:"fail"`
	Unknown int `json:"unknown"`
}

// Population is the membership of one privileged group.
type Population struct {
	Group     string       `json:"group"` // name
	DN        string       `json:"dn"`
	SID       string       `json:"sid"`
	Domain    string       `json:"domain"`
	Direct    int          `json:"direct"`            // direct members of any kind
	Effective int          `json:"effective"`         // distinct accounts, nesting resolved
	Standing  int          `json:"standing"`          // of Effective: not only by time-bound links
	Temporary int          `json:"temporary"`         // of Effective: only by time-bound links
	Control   GroupControl `json:"control"`           // who is no member and can become one
	Members   []Member     `json:"members"`           // of Effective, ordered by name
	Unknown   []string     `json:"unknown,omitempty"` // why the numbers may be too small
}

// A Member is an effective member of a privileged group and the chain that proves it.
type Member struct {
	Name      string   `json:"name"`
	DN        string   `json:"dn"`
	SID       string   `json:"sid"`
	Kind      string   `json:"kind"` // user, computer, gmsa, foreign, …
	Enabled   bool     `json:"enabled"`
	Unsure    bool     `json:"enabled_unknown,omitempty"` // Enabled could not be read, or the account is of another forest
	Temporary bool     `json:"temporary,omitempty"`
	Chain     []string `json:"chain"` // names of the groups from the account to the group, both included
}

// A MatrixRow is one host set × principal of the deny matrix: a heat-map row.
type MatrixRow struct {
	Hosts     Subject            `json:"hosts"`     // a host set
	Role      string             `json:"role"`      // workstation, server, domain-controller, exempt
	Principal string             `json:"principal"` // CONTOSO\Domain Admins, …
	Cells     map[string]Outcome `json:"cells"`     // user right → outcome; a right that is not demanded is missing
}

// ControlResult is a control with what came out.
type ControlResult struct {
	ID       string   `json:"id"`
	Title    string   `json:"title"`
	Section  string   `json:"section"` // guide section, e.g. "app. D"
	Severity Severity `json:"severity"`
	Tally
	Excepted int `json:"excepted"`
}

// A Finding is a control that failed, or could not be decided, for a subject.
type Finding struct {
	Control   string     `json:"control"`
	Title     string     `json:"title"`
	Section   string     `json:"section"`
	Severity  Severity   `json:"severity"`
	Reason    string     `json:"severity_reason"`
	Outcome   Outcome    `json:"outcome"`
	Subject   Subject    `json:"subject"`
	Detail    string     `json:"detail"`    // one sentence about this subject
	Rationale string     `json:"rationale"` // why it matters
	Evidence  []Evidence `json:"evidence"`
	Missing   []string   `json:"missing"` // for Unknown: the evidence that is lacking and what would supply it
	Fix       Fix        `json:"fix"`
	Verify    string     `json:"verify"`
	Exception *Exception `json:"exception,omitempty"`

	offenders []string // who or what failed, by keys that stay the same from scan to scan; see Grown
}

// A Subject is what a finding is about.
type Subject struct {
	Name   string   `json:"name"`
	DN     string   `json:"dn"`
	SID    string   `json:"sid,omitempty"`
	Kind   string   `json:"kind"` // user, computer, group, gpo, container, domain, hosts, forest
	Domain string   `json:"domain"`
	Scope  string   `json:"scope,omitempty"` // for hosts: tells apart host sets of one container
	Hosts  []string `json:"hosts,omitempty"` // for hosts: the DNs of the computers
}

// Evidence is one fact that led to the outcome, as it was read.
type Evidence struct {
	Kind    string   `json:"kind"` // attribute, member, ace, policy, link, file, descriptor, path
	Text    string   `json:"text"` // the fact in words
	DN      string   `json:"dn,omitempty"`
	Attr    string   `json:"attribute,omitempty"`
	Value   string   `json:"value,omitempty"`
	ACE     *ACERef  `json:"ace,omitempty"`
	Policy  string   `json:"policy,omitempty"` // display name and GUID
	File    string   `json:"file,omitempty"`
	Line    int      `json:"line,omitempty"`
	Chain   []string `json:"chain,omitempty"`
	Remove  string   `json:"remove,omitempty"` // of a step of a path: what takes it away
	Changed *Changed `json:"changed,omitempty"`
}

// An ACERef points at one entry of a descriptor.
type ACERef struct {
	SDDL      string `json:"sddl"`
	Index     int    `json:"index"`                    // position in the DACL or SACL, from 0
	List      string `json:"list"`                     // dacl, sacl
	Inherited string `json:"inherited_from,omitempty"` // DN, if known
	Trustee   string `json:"trustee"`
}

// Changed is replication metadata: when a value was last changed, and where.
type Changed struct {
	Time    time.Time `json:"time"`
	Version uint32    `json:"version"`
	Server  string    `json:"server"`
}

// A Fix says how to mend a finding.
type Fix struct {
	Text    string   `json:"text"`
	Changes []string `json:"changes"` // concrete changes, one a line
}

// An Exception accepts a failure for a time.
type Exception struct {
	Control string    `json:"control" yaml:"control"`
	Subject string    `json:"subject" yaml:"subject"` // DN, name, or * with a container
	Owner   string    `json:"owner" yaml:"owner"`
	Reason  string    `json:"reason" yaml:"reason"`
	Expires time.Time `json:"expires" yaml:"expires"` // the last second at which it counts
}

// ExceptionUse says what became of an exception.
type ExceptionUse struct {
	Exception
	State   string `json:"state"` // used, expired, unused
	Matches int    `json:"matches"`
	Why     string `json:"why,omitempty"` // for unused: why it covers nothing
}
