package grant

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// fault is what is wrong with a policy file, and where.
type fault struct{ path, text string }

var (
	policyName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)
	attrName   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{0,63}$`)
)

// checker collects the first fault.
type checker struct{ fault *fault }

func (c *checker) fail(path, format string, args ...any) {
	if c.fault == nil {
		c.fault = &fault{path, fmt.Sprintf(format, args...)}
	}
}

func (c *checker) must(ok bool, path, format string, args ...any) {
	if !ok {
		c.fail(path, format, args...)
	}
}

// check returns the first thing that is wrong, or nil.
func (p *Policies) check() *fault {
	c := &checker{}
	c.must(p.Version == PoliciesVersion, "$.grants", "should be %d, the version of the format", PoliciesVersion)
	c.must(p.PersonAttribute == "" || attrName.MatchString(p.PersonAttribute), "$.person-attribute", "%q is no name of an attribute", p.PersonAttribute)
	c.refs("$.security-team", p.Security, false)
	for i, x := range p.People {
		at := fmt.Sprintf("$.people[%d]", i)
		c.text(at+".name", x.Name)
		c.refs(at+".accounts", x.Accounts, true)
	}
	c.must(len(p.Policies) > 0, "$.policies", "there is none")
	c.must(len(p.Policies) <= maxPolicies, "$.policies", "more than %d", maxPolicies)
	seen := map[string]bool{}
	for i := range p.Policies {
		at := fmt.Sprintf("$.policies[%d]", i)
		x := &p.Policies[i]
		c.must(policyName.MatchString(x.Name), at+".name", "%q should be lower-case letters, digits and hyphens, 40 at most", x.Name)
		c.must(!seen[x.Name], at+".name", "%q is there twice", x.Name)
		seen[x.Name] = true
		c.policy(at, x, len(p.Security) > 0)
	}
	return c.fault
}

func (c *checker) policy(at string, x *Policy, security bool) {
	c.text(at+".title", x.Title)
	switch {
	case x.Role != "" && x.Group != "":
		c.fail(at+".role", "either group or role, not both")
	case x.Role != "":
		c.must(policyName.MatchString(x.Role), at+".role", "%q should be lower-case letters, digits and hyphens", x.Role)
	default:
		c.ref(at+".group", x.Group)
	}
	c.refs(at+".requesters", x.Requesters, len(x.Emergency.From) == 0 && len(x.Schedules) == 0)
	c.span(at+".duration.longest", x.Duration.Longest, time.Minute, longestLimit)
	c.span(at+".duration.usual", x.Duration.Usual, time.Minute, time.Duration(x.Duration.Longest))
	c.approval(at+".approval", x)
	c.observer(at+".observer", x.Observer)
	c.pattern(at+".reason", x.Reason)
	c.pattern(at+".ticket", x.Ticket)
	c.windows(at+".windows", x.Windows)
	c.must(len(x.Schedules) <= maxWindowItems, at+".schedules", "more than %d", maxWindowItems)
	for i, s := range x.Schedules {
		here := fmt.Sprintf("%s.schedules[%d]", at, i)
		c.must(policyName.MatchString(s.Name), here+".name", "%q should be lower-case letters, digits and hyphens", s.Name)
		c.must(len(s.Windows) > 0, here+".windows", "a schedule needs a window: without one everything would be approved")
		c.windows(here+".windows", s.Windows)
		c.refs(here+".for", s.For, true)
		c.span(here+".longest", s.Longest, time.Minute, time.Duration(x.Duration.Longest))
	}
	c.emergency(at+".emergency", x.Emergency, security)
	c.extension(at+".extension", x.Extension)
	c.span(at+".start-ahead", x.Ahead, 0, 366*24*time.Hour)
	c.must(x.Activation == AtApproval || x.Activation == ByHolder, at+".activation", "%q is neither %s nor %s", x.Activation, AtApproval, ByHolder)
	c.span(at+".activate-within", x.Within, time.Minute, longestLimit)
	c.refs(at+".revokers", x.Revokers, false)
	if x.Through != "" {
		c.ref(at+".through", x.Through)
	}
}

func (c *checker) approval(at string, x *Policy) {
	a := x.Approval
	c.must(a.Needed >= 0 && a.Needed <= maxApprovers, at+".needed", "should be 0 to %d", maxApprovers)
	c.refs(at+".from", a.From, a.Needed > 0)
	c.span(at+".within", a.Within, time.Minute, longestLimit)
}

func (c *checker) observer(at string, o Watch) {
	c.refs(at+".from", o.From, o.Needed)
	switch o.Leaves {
	case "":
	case LeavingEnds, LeavingNoted:
		c.must(o.Grace == 0, at+".grace", "means something only where leaves is %s", LeavingGrace)
	case LeavingGrace:
		c.span(at+".grace", o.Grace, time.Second, 24*time.Hour)
	default:
		c.fail(at+".leaves", "%q is none of %s, %s, %s", o.Leaves, LeavingEnds, LeavingGrace, LeavingNoted)
	}
}

func (c *checker) emergency(at string, e Emergency, security bool) {
	if len(e.From) == 0 {
		c.must(e.Longest == 0 && len(e.Review) == 0 && e.Within == 0, at, "from is missing: who may use the emergency path")
		return
	}
	c.refs(at+".from", e.From, true)
	c.refs(at+".review", e.Review, true)
	c.must(security, at, "security-team at the top of the file is missing: an emergency must be loud")
	c.span(at+".longest", e.Longest, time.Minute, longestLimit)
	c.span(at+".review-within", e.Within, time.Minute, longestLimit)
}

func (c *checker) extension(at string, x Prolong) {
	c.must(x.Times >= 0 && x.Times <= 100, at+".times", "should be 0 to 100")
	if x.Times == 0 {
		c.must(x.Longest == 0 && x.Approval == "", at, "times is missing: how often a grant may be extended")
		return
	}
	c.span(at+".longest", x.Longest, time.Minute, longestLimit)
	c.must(x.Approval == ApprovalAnew || x.Approval == ApprovalNone, at+".approval", "%q is neither %s nor %s", x.Approval, ApprovalAnew, ApprovalNone)
}

func (c *checker) pattern(at string, t Text) {
	c.must(t.Shortest >= 0 && t.Shortest <= maxText, at+".shortest", "should be 0 to %d", maxText)
	if utf8.RuneCountInString(t.Pattern) > maxPattern {
		c.fail(at+".pattern", "longer than %d characters", maxPattern)
		return
	}
	if _, err := regexp.Compile(t.Pattern); err != nil {
		c.fail(at+".pattern", "%v", err)
	}
}

func (c *checker) windows(at string, list []Window) {
	c.must(len(list) <= maxWindowItems, at, "more than %d", maxWindowItems)
	for i, w := range list {
		if path, err := w.check(); err != nil {
			c.fail(fmt.Sprintf("%s[%d]%s", at, i, path), "%v", err)
		}
	}
}

func (c *checker) span(at string, s Span, least, most time.Duration) {
	c.must(time.Duration(s) >= least && time.Duration(s) <= most, at, "%s should be %s to %s", s, Span(least), Span(most))
}

func (c *checker) refs(at string, refs []Ref, needed bool) {
	c.must(!needed || len(refs) > 0, at, "nobody is named")
	c.must(len(refs) <= maxRefs, at, "more than %d", maxRefs)
	for i, r := range refs {
		c.ref(fmt.Sprintf("%s[%d]", at, i), r)
	}
	for i, r := range refs {
		again := slices.IndexFunc(refs[:i], func(o Ref) bool { return strings.EqualFold(string(o), string(r)) })
		c.must(again < 0, fmt.Sprintf("%s[%d]", at, i), "%q is there twice", r)
	}
}

// ref checks the form of a name; whether it exists is the directory's to say.
func (c *checker) ref(at string, r Ref) {
	s := string(r)
	switch {
	case strings.TrimSpace(s) == "":
		c.fail(at, "a name is missing")
	case utf8.RuneCountInString(s) > 512 || strings.ContainsFunc(s, unicode.IsControl):
		c.fail(at, "no name of an account or group")
	case strings.HasPrefix(s, "S-1-"):
		_, err := secdesc.ParseSID(s)
		c.must(err == nil, at, "%v", err)
	case strings.HasPrefix(s, "role:"):
		c.fail(at, "write a role under the key role")
	case !strings.ContainsAny(s, `\@=`):
		c.fail(at, `%q could be in any domain: write DOMAIN\name, a SID, user@domain or a distinguished name`, s)
	}
}

func (c *checker) text(at, s string) {
	c.must(strings.TrimSpace(s) != "", at, "is missing")
	c.must(utf8.RuneCountInString(s) <= 200 && !strings.ContainsFunc(s, unicode.IsControl), at, "should be one line of 200 characters at most")
}

// accepts says what is wrong with a text that somebody wrote, empty if nothing.
func (t Text) accepts(what, s string) string {
	n := utf8.RuneCountInString(strings.TrimSpace(s))
	switch {
	case !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r' }):
		return what + " holds characters that are no text"
	case n > maxText:
		return fmt.Sprintf("%s is longer than %d characters", what, maxText)
	case n == 0 && t.Needed:
		return what + " is missing"
	case n == 0:
		return ""
	case n < t.Shortest:
		return fmt.Sprintf("%s is shorter than %d characters", what, t.Shortest)
	case t.Pattern != "" && !wholeMatch(t.Pattern, strings.TrimSpace(s)):
		return fmt.Sprintf("%s does not have the form %s", what, t.Pattern)
	}
	return ""
}

// wholeMatch matches a pattern that was checked against a whole text. Its time is
// linear in the text (RE2).
func wholeMatch(pattern, s string) bool {
	re, err := regexp.Compile(`^(?:` + pattern + `)$`)
	return err == nil && re.MatchString(s)
}
