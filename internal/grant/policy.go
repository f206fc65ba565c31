package grant

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/leastwise/leastwise/internal/control"
)

// ErrPolicies reports a policy file that cannot be used. The text names file and line.
var ErrPolicies = errors.New("policies of grants")

// PoliciesVersion is the version of the form of policy files.
const PoliciesVersion = 1

// Limits of a policy file.
const (
	maxPolicies    = 1000
	maxRefs        = 200
	maxPattern     = 200 // characters of a regular expression
	maxText        = 2000
	longestLimit   = 90 * 24 * time.Hour
	defaultOnWait  = 8 * time.Hour  // to approve, to activate
	defaultReview  = 24 * time.Hour // to review
	maxApprovers   = 10
	maxWindowItems = 50
)

// Policies is a policy file.
type Policies struct {
	Version         int      `yaml:"grants" json:"grants"`
	PersonAttribute string   `yaml:"person-attribute" json:"person-attribute,omitempty"` // its value is the same on all accounts of one person
	People          []Person `yaml:"people" json:"people,omitempty"`                     // accounts of one person, declared
	Security        []Ref    `yaml:"security-team" json:"security-team,omitempty"`       // told loudly, may revoke anything
	Policies        []Policy `yaml:"policies" json:"policies"`
}

// A Person has several accounts.
type Person struct {
	Name     string `yaml:"name" json:"name"`
	Accounts []Ref  `yaml:"accounts" json:"accounts"`
}

// A Policy says who may have one membership, and how.
type Policy struct {
	Name       string     `yaml:"name" json:"name"`   // lower-case letters, digits and hyphens
	Title      string     `yaml:"title" json:"title"` // for people
	Group      Ref        `yaml:"group" json:"group,omitempty"`
	Role       string     `yaml:"role" json:"role,omitempty"` // instead of group: the role's group
	Requesters []Ref      `yaml:"requesters" json:"requesters"`
	Duration   Durations  `yaml:"duration" json:"duration"`
	Approval   Consent    `yaml:"approval" json:"approval"`
	Observer   Watch      `yaml:"observer" json:"observer"`
	Reason     Text       `yaml:"reason" json:"reason"`
	Ticket     Text       `yaml:"ticket" json:"ticket"`
	Windows    []Window   `yaml:"windows" json:"windows,omitempty"`     // it may be active only then; empty: always
	Schedules  []Schedule `yaml:"schedules" json:"schedules,omitempty"` // approved beforehand
	Emergency  Emergency  `yaml:"emergency" json:"emergency"`
	Extension  Prolong    `yaml:"extension" json:"extension"`
	Ahead      Span       `yaml:"start-ahead" json:"start-ahead,omitempty"`         // how far in the future a start may lie; 0: no scheduled start
	Activation string     `yaml:"activation" json:"activation,omitempty"`           // at-approval (default) or by-holder
	Within     Span       `yaml:"activate-within" json:"activate-within,omitempty"` // after approval or start; 8h if absent
	Revokers   []Ref      `yaml:"revokers" json:"revokers,omitempty"`               // beside approvers and the security team
	Through    Ref        `yaml:"through" json:"through,omitempty"`                 // management account that is enabled for the writes
	Native     bool       `yaml:"expiring-links" json:"expiring-links,omitempty"`   // use them, in addition, where the forest has them
}

// Durations bounds how long a grant lasts.
type Durations struct {
	Longest Span `yaml:"longest" json:"longest"`
	Usual   Span `yaml:"usual" json:"usual,omitempty"` // if the request names none; the longest if absent
}

// Consent says who approves.
type Consent struct {
	Needed int   `yaml:"needed" json:"needed"` // different persons, never the requester or holder
	From   []Ref `yaml:"from" json:"from,omitempty"`
	Within Span  `yaml:"within" json:"within,omitempty"` // else the request expires; 8h if absent
}

// What happens when the last observer leaves.
const (
	LeavingEnds  = "ends"
	LeavingGrace = "grace"
	LeavingNoted = "noted"
)

// Watch says whether a second person observes.
type Watch struct {
	Needed bool   `yaml:"needed" json:"needed,omitempty"`
	From   []Ref  `yaml:"from" json:"from,omitempty"`
	Leaves string `yaml:"leaves" json:"leaves,omitempty"` // ends (default if needed), grace, noted
	Grace  Span   `yaml:"grace" json:"grace,omitempty"`   // until another one joins
}

// Text bounds what people write.
type Text struct {
	Needed   bool   `yaml:"needed" json:"needed,omitempty"`
	Shortest int    `yaml:"shortest" json:"shortest,omitempty"` // characters
	Pattern  string `yaml:"pattern" json:"pattern,omitempty"`   // regular expression (RE2) for the whole text
}

// Schedule is a window in which nobody needs to approve.
type Schedule struct {
	Name    string   `yaml:"name" json:"name"`
	Windows []Window `yaml:"windows" json:"windows"`
	For     []Ref    `yaml:"for" json:"for"`
	Longest Span     `yaml:"longest" json:"longest,omitempty"` // the policy's if absent
}

// Emergency is the path without approval: immediate, loud, reviewed afterwards.
type Emergency struct {
	From    []Ref `yaml:"from" json:"from,omitempty"` // empty: there is none
	Longest Span  `yaml:"longest" json:"longest,omitempty"`
	Review  []Ref `yaml:"review" json:"review,omitempty"`
	Within  Span  `yaml:"review-within" json:"review-within,omitempty"` // 24h if absent
}

// Prolong bounds extensions.
type Prolong struct {
	Times    int    `yaml:"times" json:"times,omitempty"` // 0: none
	Longest  Span   `yaml:"longest" json:"longest,omitempty"`
	Approval string `yaml:"approval" json:"approval,omitempty"` // again (default) or none
}

// Values of Policy.Activation and Prolong.Approval.
const (
	AtApproval   = "at-approval"
	ByHolder     = "by-holder"
	ApprovalNone = "none"
	ApprovalAnew = "again"
)

// A Ref names an account or group: DOMAIN\name, a SID, a distinguished name, or
// user@domain. Who asks the directory resolves it.
type Ref string

// A Span is a duration as policies write it: 90m, 1h30m, 7d.
type Span time.Duration

var spanForm = regexp.MustCompile(`^(?:(\d{1,4})d)?(?:(\d{1,5})h)?(?:(\d{1,6})m)?(?:(\d{1,7})s)?$`)

// ParseSpan reads a span.
func ParseSpan(s string) (Span, error) {
	m := spanForm.FindStringSubmatch(s)
	if m == nil || s == "" {
		return 0, fmt.Errorf("%q is no duration such as 30m, 1h30m or 7d", s)
	}
	var total time.Duration
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
		n, _ := strconv.Atoi("0" + m[i+1]) // digits only, few enough
		total += time.Duration(n) * unit
	}
	return Span(total), nil
}

// String returns the form that policies write.
func (s Span) String() string {
	if s == 0 {
		return "0s"
	}
	var b strings.Builder
	rest := time.Duration(s)
	for _, u := range []struct {
		d    time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if n := rest / u.d; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			rest %= u.d
		}
	}
	return b.String()
}

// MarshalText implements encoding.TextMarshaler.
func (s Span) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Span) UnmarshalText(b []byte) (err error) {
	*s, err = ParseSpan(string(b))
	return err
}

// UnmarshalYAML implements yaml.NodeUnmarshaler, so that errors tell the line.
func (s *Span) UnmarshalYAML(n ast.Node) error {
	v, ok := n.(ast.ScalarNode)
	if !ok {
		return &yaml.SyntaxError{Message: "should be a duration such as 30m, 1h30m or 7d", Token: n.GetToken()}
	}
	got, err := ParseSpan(fmt.Sprint(v.GetValue()))
	if err != nil {
		return &yaml.SyntaxError{Message: err.Error(), Token: n.GetToken()}
	}
	*s = got
	return nil
}

// ParsePolicies reads a policy file. The name is for errors, which are ErrPolicies with
// the line.
func ParsePolicies(name string, data []byte) (p *Policies, err error) {
	if err := control.CheckYAML(name, data); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPolicies, err)
	}
	defer func() {
		// The YAML library panics on a few malformed documents.
		if r := recover(); r != nil {
			p, err = nil, fmt.Errorf("%w: %s: not YAML: %v", ErrPolicies, name, r)
		}
	}()
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrPolicies, yamlFault(name, err))
	}
	if len(file.Docs) > 1 {
		return nil, fmt.Errorf("%w: %s: holds more than one document", ErrPolicies, name)
	}
	p = &Policies{}
	if err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(p); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: %s", ErrPolicies, yamlFault(name, err))
	}
	p.complete()
	if f := p.check(); f != nil {
		return nil, fmt.Errorf("%w: %s:%d: %s: %s", ErrPolicies, name, lineOf(file, f.path), strings.TrimPrefix(f.path, "$."), f.text)
	}
	return p, nil
}

// yamlFault says on which line a file is wrong, in one line.
func yamlFault(name string, err error) string {
	var e yaml.Error
	if errors.As(err, &e) && e.GetToken() != nil {
		return fmt.Sprintf("%s:%d: %s", name, e.GetToken().Position.Line, e.GetMessage())
	}
	return fmt.Sprintf("%s: %s", name, strings.ReplaceAll(err.Error(), "\n", " "))
}

// lineOf returns the line of the node at a path, or of the nearest node above it that
// the file has.
func lineOf(file *ast.File, path string) int {
	for path != "" {
		if p, err := yaml.PathString(path); err == nil {
			if node, err := p.FilterFile(file); err == nil && node != nil && node.GetToken() != nil {
				return node.GetToken().Position.Line
			}
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			break
		}
		path = path[:cut]
	}
	return 1
}

// Policy returns the policy with a name.
func (p *Policies) Policy(name string) (*Policy, bool) {
	i := slices.IndexFunc(p.Policies, func(x Policy) bool { return x.Name == name })
	if i < 0 {
		return nil, false
	}
	return &p.Policies[i], true
}

// Target is the group that a policy is about: its name, or that of the role.
func (p *Policy) Target() Ref {
	if p.Role != "" {
		return Ref("role:" + p.Role)
	}
	return p.Group
}

// complete fills in what a file may leave out.
func (p *Policies) complete() {
	for i := range p.Policies {
		x := &p.Policies[i]
		orElse(&x.Duration.Usual, x.Duration.Longest)
		orElse(&x.Approval.Within, Span(defaultOnWait))
		orElse(&x.Within, Span(defaultOnWait))
		orElse(&x.Activation, AtApproval)
		if x.Observer.Needed || len(x.Observer.From) > 0 {
			orElse(&x.Observer.Leaves, LeavingEnds)
		}
		if len(x.Emergency.From) > 0 {
			orElse(&x.Emergency.Within, Span(defaultReview))
			orElse(&x.Emergency.Longest, x.Duration.Longest)
		}
		if x.Extension.Times > 0 {
			orElse(&x.Extension.Approval, ApprovalAnew)
		}
		for j := range x.Schedules {
			orElse(&x.Schedules[j].Longest, x.Duration.Longest)
		}
	}
}

func orElse[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}
