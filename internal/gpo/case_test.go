package gpo_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A policyCase is one entry of testdata/cases.txt: a small forest and what policy
// must do to its computers. The head of that file describes the form.
type policyCase struct {
	name    string
	line    int
	offline string // why it cannot be loaded into a domain controller
	ous     []caseOU
	groups  []caseGroup
	hosts   []caseHost
	sites   []string
	links   []caseLink
	pols    []*casePolicy
	unread  [][2]string // object, attribute
	wants   []caseWant
	users   []string
	noSites bool
}

type (
	caseOU   struct{ name, in, gpOptions string }
	caseHost struct {
		name, in string
		groups   []string
		dc       bool
		site     string
	}
	caseGroup struct {
		name   string
		groups []string
	}
	caseLink   struct{ at, text string }
	casePolicy struct {
		name     string
		opt      map[string]string
		template []string
		pol      []gpo.RegistryEntry
		groups   string
		audit    []string
	}
	caseWant struct {
		line  int
		verb  string
		host  string
		words []string
	}
)

// readCases parses the table.
func readCases(t testing.TB) []*policyCase {
	t.Helper()
	raw, err := os.ReadFile("testdata/cases.txt")
	if err != nil {
		t.Fatal(err)
	}
	var out []*policyCase
	for i, line := range strings.Split(string(raw), "\n") {
		line = strings.TrimRight(line, " \t\r")
		if strings.TrimSpace(line) == "" || strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		f := strings.Fields(line)
		if f[0] == "case" {
			out = append(out, &policyCase{name: f[1], line: i + 1})
			continue
		}
		if err := out[len(out)-1].add(i+1, f, line); err != nil {
			t.Fatalf("cases.txt:%d: %v", i+1, err)
		}
	}
	return out
}

// shift removes "in X" and returns X.
func after(f []string, word string) (string, bool) {
	if i := slices.Index(f, word); i >= 0 && i+1 < len(f) {
		return f[i+1], true
	}
	return "", false
}

func (c *policyCase) add(line int, f []string, text string) error {
	rest := func(n int) string { // what follows the first n words, spaces kept
		s := strings.TrimSpace(text)
		for range n {
			_, s, _ = strings.Cut(s, " ")
			s = strings.TrimLeft(s, " ")
		}
		return s
	}
	switch f[0] {
	case "offline":
		c.offline = rest(1)
	case "no-sites":
		c.noSites = true
	case "ou":
		o := caseOU{name: f[1], in: "domain"}
		if in, ok := after(f, "in"); ok {
			o.in = in
		}
		if slices.Contains(f, "block") {
			o.gpOptions = "1"
		}
		c.ous = append(c.ous, o)
	case "block":
		c.ous = append(c.ous, caseOU{name: f[1], in: "", gpOptions: "1"})
	case "site":
		c.sites = append(c.sites, f[1])
	case "user":
		c.users = append(c.users, f[1])
	case "group":
		g := caseGroup{name: f[1]}
		if in, ok := after(f, "member-of"); ok {
			g.groups = strings.Split(in, ",")
		}
		c.groups = append(c.groups, g)
	case "computer":
		h := caseHost{name: f[1], in: "domain", dc: slices.Contains(f, "dc")}
		if in, ok := after(f, "in"); ok {
			h.in = in
		}
		if in, ok := after(f, "member-of"); ok {
			h.groups = strings.Split(in, ",")
		}
		h.site, _ = after(f, "site")
		c.hosts = append(c.hosts, h)
	case "policy":
		p := &casePolicy{name: f[1], opt: map[string]string{}}
		for _, o := range f[2:] {
			k, v, _ := strings.Cut(o, "=")
			p.opt[k] = strings.ReplaceAll(v, `\u0020`, " ")
		}
		c.pols = append(c.pols, p)
	case "set":
		p := c.policy(f[1])
		p.template = append(p.template, rest(2))
	case "pol":
		p := c.policy(f[1])
		parts := strings.Split(strings.ReplaceAll(rest(2), `\x20`, " "), "|")
		typ, _ := strconv.Atoi(parts[2])
		p.pol = append(p.pol, gpo.RegistryEntry{Key: parts[0], Value: parts[1], Type: uint32(typ), Data: regData(uint32(typ), parts[3])})
	case "xml":
		c.policy(f[1]).groups += rest(2) + "\n"
	case "audit":
		p := c.policy(f[1])
		p.audit = append(p.audit, rest(2))
	case "link", "raw-link":
		l := caseLink{at: f[1], text: strings.ReplaceAll(rest(2), `\x20`, " ")}
		if f[0] == "link" {
			l.text = ""
			for _, p := range f[2:] {
				name, flags, _ := strings.Cut(p, ":")
				n := map[string]int{"": 0, "disabled": 1, "enforced": 2, "both": 3}[flags]
				l.text += fmt.Sprintf("[LDAP://{%s};%d]", name, n)
			}
		}
		c.links = append(c.links, l)
	case "unread":
		c.unread = append(c.unread, [2]string{f[1], f[2]})
	case "right", "access", "auditcat", "auditsub", "registry", "member", "exact", "loses", "rejected", "applied", "problem", "scopes", "reason", "note":
		w := caseWant{line: line, verb: f[0], host: f[1], words: f[2:]}
		c.wants = append(c.wants, w)
	default:
		return fmt.Errorf("unknown word %q", f[0])
	}
	return nil
}

func regData(typ uint32, text string) []byte {
	if typ == 4 {
		n, _ := strconv.Atoi(text)
		return []byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}
	}
	var b []byte
	for _, r := range text {
		b = append(b, byte(r), byte(r>>8))
	}
	return append(b, 0, 0)
}

func (c *policyCase) policy(name string) *casePolicy {
	for _, p := range c.pols {
		if p.name == name {
			return p
		}
	}
	panic("case " + c.name + ": no policy " + name)
}

func TestCases(t *testing.T) {
	cases := readCases(t)
	if len(cases) < 60 {
		t.Errorf("%d cases; the table must have at least 60", len(cases))
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newCaseForest(c, "contoso.test", secdesc.MustSID("S-1-5-21-1-2-3"))
			s := w.snapshot(t)
			e := gpo.New(s, reach.New(s))
			c.check(t, s, e, w)
		})
	}
}

// check compares what the engine says with what the case wants.
func (c *policyCase) check(t *testing.T, s *forest.Snapshot, e *gpo.Engine, w *caseForest) {
	t.Helper()
	for _, want := range c.wants {
		fail := func(format string, args ...any) {
			t.Helper()
			t.Errorf("cases.txt:%d: %s %s %s: "+format, append([]any{want.line, want.verb, want.host, strings.Join(want.words, " ")}, args...)...)
		}
		if want.verb == "scopes" {
			if got := c.countScopes(s, e, w); strconv.Itoa(got) != want.host {
				fail("got %d", got)
			}
			continue
		}
		if want.verb == "problem" {
			if msg := c.checkProblem(e, want); msg != "" {
				fail("%s", msg)
			}
			continue
		}
		id := s.Lookup(w.dn[want.host])
		if id == forest.None {
			fail("no object %s", w.dn[want.host])
			continue
		}
		scope, ok := e.ScopeOf(id)
		if !ok {
			fail("the computer has no scope")
			continue
		}
		if msg := w.checkOne(e.Result(scope), want); msg != "" {
			fail("%s", msg)
		}
	}
}

func (c *policyCase) countScopes(s *forest.Snapshot, e *gpo.Engine, w *caseForest) int {
	seen := map[gpo.ScopeID]bool{}
	for _, h := range c.hosts {
		if sc, ok := e.ScopeOf(s.Lookup(w.dn[h.name])); ok {
			seen[sc] = true
		}
	}
	return len(seen)
}

func (c *policyCase) checkProblem(e *gpo.Engine, want caseWant) string {
	text := strings.Join(want.words, " ")
	for _, p := range e.Policies() {
		if p.Name == c.name+" "+want.host {
			for _, pr := range p.Problems {
				if strings.Contains(pr.Text, text) {
					return ""
				}
			}
			return fmt.Sprintf("problems are %q", p.Problems)
		}
	}
	return "the policy is not linked"
}

// polName is the name of a policy within its case.
func polName(p *gpo.Policy) string {
	if p == nil {
		return "?"
	}
	_, name, ok := strings.Cut(p.Name, " ")
	if !ok {
		return p.Name
	}
	return name
}

func (w *caseForest) checkOne(r *gpo.Result, want caseWant) string {
	f := want.words
	switch want.verb {
	case "right":
		return w.compare(r.Right(rightName(f[0])), f[1:])
	case "access":
		return w.compare(r.SystemAccess(f[0]), f[1:])
	case "auditcat":
		return w.compare(r.AuditCategory(f[0]), f[1:])
	case "auditsub":
		return w.compare(r.AuditSubcategory(secdesc.MustGUID(f[0])), f[1:])
	case "registry":
		i := strings.LastIndexByte(f[0], '\\')
		return w.compare(r.Registry(f[0][:i], f[0][i+1:]), f[1:])
	case "loses":
		return w.checkLoser(r.Right(rightName(f[0])), f[1], strings.Join(f[2:], " "))
	case "reason":
		all := strings.Join(r.Right(rightName(f[0])).Reasons, "; ")
		if !strings.Contains(all, strings.Join(f[1:], " ")) {
			return "reasons are " + all
		}
	case "note":
		for _, p := range r.Right(rightName(f[0])).Principals {
			if strings.Contains(p.Note, strings.Join(f[1:], " ")) {
				return ""
			}
		}
		return fmt.Sprintf("principals are %+v", r.Right(rightName(f[0])).Principals)
	case "rejected":
		return w.checkRejected(r, f)
	case "applied":
		var got []string
		for _, a := range r.Policies {
			n := polName(a.Policy)
			if len(a.When) > 0 {
				n += "?"
			}
			got = append(got, n)
		}
		if strings.Join(got, " ") != strings.Join(f, " ") {
			return "got " + strings.Join(got, " ")
		}
	case "exact":
		g, _ := r.Group(secdesc.MustSID(f[0]))
		if g.Exact.String() != f[1] {
			return "got " + g.Exact.String()
		}
	case "member":
		return w.checkMember(r, f)
	}
	return ""
}

func rightName(short string) string {
	if n, ok := map[string]string{
		"R1": "SeDenyNetworkLogonRight", "R2": "SeDenyBatchLogonRight", "R3": "SeDenyServiceLogonRight",
		"R4": "SeDenyInteractiveLogonRight", "R5": "SeDenyRemoteInteractiveLogonRight",
	}[short]; ok {
		return n
	}
	return short
}

var rejectReasons = map[string]gpo.Reason{
	"link-disabled": gpo.LinkDisabled, "blocked": gpo.Blocked, "disabled": gpo.PolicyDisabled, "no-apply": gpo.FilteredNoApply,
	"denied": gpo.FilteredDenied, "no-read": gpo.FilteredNoRead, "empty": gpo.EmptyPolicy, "missing": gpo.MissingPolicy,
	"functionality": gpo.FunctionalityTooNew, "no-extensions": gpo.NoExtensions,
}

func (w *caseForest) checkRejected(r *gpo.Result, f []string) string {
	want, ok := rejectReasons[f[1]]
	if !ok {
		return "unknown reason"
	}
	for _, x := range r.Rejected {
		if (polName(x.Policy) == f[0] || w.guid[f[0]] == x.Policy.Name) && x.Reason == want && x.Text != "" {
			if len(f) > 2 && f[2] != "ace="+strconv.Itoa(x.ACE) {
				return fmt.Sprintf("entry is %d", x.ACE)
			}
			return ""
		}
	}
	return fmt.Sprintf("rejected are %+v", r.Rejected)
}

func (w *caseForest) checkLoser(s gpo.Setting, policy, why string) string {
	for _, l := range s.Losers {
		if polName(l.Policy) == policy && strings.Contains(l.Why, why) {
			return ""
		}
	}
	return fmt.Sprintf("losers are %+v", s.Losers)
}

// checkMember checks: GROUP PRINCIPAL yes|no|unknown|absent [default] [by POLICY].
func (w *caseForest) checkMember(r *gpo.Result, f []string) string {
	g, ok := r.Group(secdesc.MustSID(f[0]))
	if !ok {
		return "no such group"
	}
	for _, m := range g.Members {
		if w.principal(m.Principal) != f[1] {
			continue
		}
		got := m.In.String()
		if m.Default {
			got += " default"
		}
		if m.Source.Policy != nil && slices.Contains(f, "by") {
			got += " by " + polName(m.Source.Policy)
		}
		if got != strings.Join(f[2:], " ") {
			return "got " + got
		}
		if m.In == gpo.Unknown && len(m.Reasons) == 0 {
			return "unknown without a reason"
		}
		return ""
	}
	if f[2] == "absent" {
		return ""
	}
	return fmt.Sprintf("not among the members %+v", g.Members)
}

// compare checks a setting. want is one of
//
//	undefined
//	= VALUE… by POLICY[:LINE]
//	undecided OUTCOME | OUTCOME …     with - for "not defined" and ? for "unreadable"
func (w *caseForest) compare(s gpo.Setting, want []string) string {
	got := w.render(s)
	if exp := strings.Join(want, " "); got != exp {
		return "got " + got + fmt.Sprintf(" (reasons %q)", s.Reasons)
	}
	if s.State == gpo.Undecided && len(s.Reasons) == 0 {
		return "undecided without a reason"
	}
	return ""
}

func (w *caseForest) render(s gpo.Setting) string {
	switch s.State {
	case gpo.NotDefined:
		return "undefined"
	case gpo.Defined:
		out := "= " + w.value(s.Name, s.Value, s.Principals) + " by " + polName(s.Winner.Policy)
		return out
	}
	var parts []string
	for _, o := range s.Outcomes {
		switch {
		case !o.Readable:
			parts = append(parts, "?")
		case !o.Defined:
			parts = append(parts, "-")
		default:
			parts = append(parts, w.value(s.Name, o.Value, o.Principals))
		}
	}
	return "undecided " + strings.Join(parts, " | ")
}

func (w *caseForest) value(name, raw string, list []gpo.Principal) string {
	if !strings.HasPrefix(strings.ToLower(name), "se") {
		return raw
	}
	if len(list) == 0 {
		return "nobody"
	}
	var out []string
	for _, p := range list {
		out = append(out, w.principal(p))
	}
	return strings.Join(out, ",")
}

// principal writes a principal as the table does: host:500, ?name, the name of a
// case's own object, a SID, or D-512 for a SID of the domain.
func (w *caseForest) principal(p gpo.Principal) string {
	switch p.Kind {
	case gpo.HostAccount:
		return "host:" + strconv.Itoa(int(p.RID))
	case gpo.UnresolvedName:
		return "?" + strings.ReplaceAll(p.Raw, " ", "_")
	}
	for name, sid := range w.sids {
		if sid == p.SID {
			return name
		}
	}
	if p.SID.Domain() == w.domainSID {
		rid, _ := p.SID.RID()
		return "D-" + strconv.Itoa(int(rid))
	}
	return p.SID.String()
}
