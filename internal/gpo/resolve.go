package gpo

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/forest"
)

// compute makes the result of a scope.
func (e *Engine) compute(id ScopeID, sc *scope) *Result {
	c := sc.plan.chain
	r := &Result{
		Scope: id, Container: c.container(), Domain: c.domain, DC: sc.dc, Site: sc.plan.site,
		Problems: slices.Clone(sc.plan.problems),
		settings: map[string]*Setting{}, names: map[section][]string{},
	}
	for _, x := range sc.plan.entries {
		if x = e.admit(sc, x); x.rejected != nil {
			r.Rejected = append(r.Rejected, *x.rejected)
			continue
		}
		r.entries = append(r.entries, x)
		r.Policies = append(r.Policies, Applied{Policy: x.policy, Link: x.link, When: x.when})
	}
	h := host{domain: c.domain, dc: sc.dc}
	r.resolveAll(systemSection, nil)
	if !sc.dc {
		h.renamed = map[uint32]rename{500: r.renamed("NewAdministratorName", 500), 501: r.renamed("NewGuestName", 501)}
	}
	read := func(value string) []Principal { return e.names.list(value, h) }
	r.resolveAll(rightsSection, read)
	r.resolveAll(auditSection, nil)
	r.resolveAll(advancedAuditSection, nil)
	r.resolveAll(membersSection, read)
	r.resolveAll(memberOfSection, read)
	r.groups = e.groups(r, h)
	return r
}

// admit says of a link of the plan whether the security filter of its policy lets
// the computers of the scope in.
func (e *Engine) admit(sc *scope, x entry) entry {
	if x.rejected != nil || x.policy == nil {
		return x
	}
	v := sc.verdicts[slices.Index(sc.plan.filtered, x.policy)]
	switch v.pass {
	case No:
		x.rejected = &Rejected{Policy: x.policy, Link: x.link, Reason: v.reason, ACE: v.ace, Text: e.filterText(v)}
	case Unknown:
		x.when = append(slices.Clone(x.when), fmt.Sprintf("the security filter of policy %s lets the computer in (%s)", x.policy, v.text))
	}
	return x
}

func (e *Engine) filterText(v verdict) string {
	switch v.reason {
	case FilteredDenied:
		who := v.sid.String()
		if id := e.s.BySID(v.sid); id != forest.None {
			who = e.s.Name(id)
		}
		return fmt.Sprintf("entry %d of its descriptor denies %s", v.ace, who)
	case FilteredNoRead:
		return "nothing in its descriptor lets the computer read it"
	}
	return "nothing in its descriptor grants the computer Apply-Group-Policy"
}

// renamed says what policy calls a host account: the security template, or else
// the preferences, which are processed before it.
func (r *Result) renamed(key string, rid uint32) rename {
	s := r.SystemAccess(key)
	if s.State == NotDefined {
		return r.renamedByPreference(rid)
	}
	name := func(v string) string { return strings.Trim(v, `" `) }
	switch s.State {
	case Defined:
		return rename{name(s.Value), Defined}
	case Undecided:
		for _, o := range s.Outcomes {
			if o.Defined && o.Readable {
				return rename{name(o.Value), Undecided}
			}
		}
		return rename{"", Undecided}
	}
	return rename{"", NotDefined}
}

// renamedByPreference finds the last User item of Groups.xml that renames the
// account; one that may not apply leaves the name undecided.
func (r *Result) renamedByPreference(rid uint32) rename {
	out := rename{"", NotDefined}
	for _, x := range r.entries {
		if x.policy == nil || x.policy.data.ignored[groupsFile] != "" {
			continue
		}
		for _, u := range x.policy.data.users {
			name := strings.ToLower(strings.TrimSuffix(u.Name, " (built-in)"))
			if u.ItemOff || u.NewName == "" || u.Action != Update || u.SubAuth != subAuthority[rid] && (u.SubAuth != "" || hostAccounts[name] != rid) {
				continue
			}
			out = rename{u.NewName, Defined}
			if u.Filter != "" || len(x.when) > 0 {
				out.state = Undecided
			}
		}
	}
	return out
}

// subAuthority is how Groups.xml names the accounts that every host has.
var subAuthority = map[uint32]string{500: "RID_ADMIN", 501: "RID_GUEST"}

// candidate is a policy's say on one setting.
type candidate struct {
	entry   entry
	source  Source
	value   string
	deleted bool     // the policy removes the value
	unread  string   // the policy's file could not be read: it may say anything
	ignored string   // why clients do not heed it
	when    []string // further conditions, beside those of the entry
}

// undefined is the setting of which no policy of the scope can say anything.
func (r *Result) undefined(sec section, name string) Setting {
	return decide(name, r.candidates(sec, name), nil)
}

// resolveAll computes every setting of a section that a policy names.
func (r *Result) resolveAll(sec section, read func(string) []Principal) {
	names := map[string]string{} // settingKey → spelling
	for _, x := range r.entries {
		if x.policy == nil {
			continue
		}
		for _, it := range x.policy.data.items {
			if it.sec != sec {
				continue
			}
			key := settingKey(sec, it.name)
			if old, ok := names[key]; !ok || it.name < old {
				names[key] = it.name
			}
		}
	}
	for key, name := range names {
		s := decide(name, r.candidates(sec, name), read)
		r.settings[key] = &s
		r.names[sec] = append(r.names[sec], name)
	}
	slices.SortFunc(r.names[sec], func(a, b string) int {
		return cmp.Or(strings.Compare(strings.ToLower(a), strings.ToLower(b)), strings.Compare(a, b))
	})
}

// fileOf is the file that holds a section.
func fileOf(sec section) policyFile {
	if sec == advancedAuditSection {
		return auditFile
	}
	return templateFile
}

// candidates lists the policies that define a setting or may do so, highest
// precedence first.
func (r *Result) candidates(sec section, name string) []candidate {
	f, key := fileOf(sec), settingKey(sec, name)
	var out []candidate
	for i := len(r.entries) - 1; i >= 0; i-- {
		x := r.entries[i]
		c := candidate{entry: x, source: x.source(f, 0)}
		switch {
		case x.policy == nil:
			c.unread = strings.Join(x.when, "; ")
		case x.policy.data.unread[f] != "":
			c.unread = x.policy.data.unread[f]
		default:
			it, ok := x.policy.data.items[key]
			if !ok {
				continue
			}
			c.value, c.source.Line, c.ignored = it.value, it.line, x.policy.data.ignored[f]
		}
		out = append(out, c)
	}
	return out
}

func (x entry) source(f policyFile, line int) Source {
	s := Source{Policy: x.policy, Link: x.link, Line: line}
	if x.policy != nil {
		s.File = x.policy.Folder + "/" + policyFiles[f].path
	}
	return s
}

// decide finds the resultant of one setting. Walking from the highest precedence
// down, every policy that may apply is a possible winner, until one that
// certainly applies ends the walk. A policy whose conditions include those of a
// possible winner above it can never win.
func decide(name string, list []candidate, read func(string) []Principal) Setting {
	s := Setting{Name: name}
	certain := false
	for _, c := range list {
		o := Outcome{Defined: !c.deleted, Readable: c.unread == "", Value: c.value, Source: c.source, When: slices.Concat(c.entry.when, c.when)}
		if read != nil && o.Defined && o.Readable {
			o.Principals = read(c.value)
		}
		over := slices.IndexFunc(s.Outcomes, func(p Outcome) bool { return p.Readable && subset(p.When, o.When) })
		switch {
		case !o.Readable && (certain || over >= 0):
		case c.ignored != "":
			s.Losers = append(s.Losers, Loser{Source: c.source, Value: c.value, Principals: o.Principals, Why: c.ignored})
		case over >= 0:
			s.Losers = append(s.Losers, Loser{Source: c.source, Value: c.value, Principals: o.Principals, Why: whyLost(s.Outcomes[over].Source, c.source)})
		default:
			s.Outcomes = append(s.Outcomes, o)
			certain = certain || o.Readable && len(o.When) == 0
			if !o.Readable {
				s.Reasons = append(s.Reasons, c.unread)
			}
		}
	}
	if !certain {
		s.Outcomes = append(s.Outcomes, Outcome{Readable: true})
	}
	s.settle()
	return s
}

// settle decides the setting if all outcomes agree.
func (s *Setting) settle() {
	first := s.Outcomes[0]
	agree := true
	for _, o := range s.Outcomes {
		agree = agree && o.Readable && o.Defined == first.Defined && (!o.Defined || o.sameValue(first))
	}
	switch {
	case !agree:
		s.State = Undecided
		for _, o := range s.Outcomes {
			s.Reasons = append(s.Reasons, o.When...)
		}
		s.Reasons = dedupe(s.Reasons)
		return
	case first.Defined:
		s.State, s.Value, s.Principals = Defined, first.Value, first.Principals
	default:
		s.State = NotDefined
	}
	s.Winner, s.Reasons = first.Source, nil
}

func (o Outcome) sameValue(p Outcome) bool {
	if o.Principals != nil || p.Principals != nil {
		return sameList(o.Principals, p.Principals)
	}
	return strings.EqualFold(strings.TrimSpace(o.Value), strings.TrimSpace(p.Value))
}

func subset(a, b []string) bool {
	for _, x := range a {
		if !slices.Contains(b, x) {
			return false
		}
	}
	return true
}

func dedupe(list []string) []string {
	var out []string
	for _, x := range list {
		if !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	return out
}

// whyLost says why loser is overridden by winner.
func whyLost(winner, loser Source) string {
	by := "a policy that could not be read"
	if winner.Policy != nil {
		by = "policy " + winner.Policy.String()
	}
	w, l := winner.Link, loser.Link
	switch {
	case w == l:
		return "overridden by " + by + ", which is processed later"
	case w.Enforced && !l.Enforced:
		return "overridden by " + by + ", which is enforced on " + w.DN
	case w.Container == l.Container:
		return fmt.Sprintf("overridden by %s, which has link order %d on %s", by, w.Order, w.DN)
	case w.Enforced:
		return "overridden by " + by + ", which is enforced further out, on " + w.DN
	}
	return "overridden by " + by + ", which is linked closer, to " + w.DN
}

// Registry returns the resultant of a registry value below HKEY_LOCAL_MACHINE,
// from Registry.pol and from [Registry Values] of the security template. Key and
// value are written without MACHINE or HKLM and compared ignoring case. A value
// that policy deletes is not defined, with the deleting policy as its winner.
// Preferences (Registry.xml) are not considered.
func (r *Result) Registry(key, value string) Setting {
	k, v := cleanKey(key), strings.ToLower(value)
	// The registry extension runs first, so the security extension wins
	// ([MS-GPOL] 3.2.5.1.10).
	list := append(r.registryCandidates(templateFile, k, v), r.registryCandidates(polFile, k, v)...)
	return decide(key+`\`+value, list, nil)
}

func (r *Result) registryCandidates(f policyFile, key, value string) []candidate {
	var out []candidate
	for i := len(r.entries) - 1; i >= 0; i-- {
		x := r.entries[i]
		c := candidate{entry: x, source: x.source(f, 0)}
		switch {
		case x.policy == nil:
			c.unread = strings.Join(x.when, "; ")
			out = append(out, c)
			continue
		case x.policy.data.unread[f] != "":
			c.unread = x.policy.data.unread[f]
			out = append(out, c)
			continue
		}
		reg := x.policy.data.reg
		for j := len(reg) - 1; j >= 0; j-- {
			if reg[j].file == f && reg[j].match(key, value, &c) {
				c.value, c.source.Line, c.ignored = reg[j].data, reg[j].line, x.policy.data.ignored[f]
				out = append(out, c)
				if len(c.when) == 0 {
					break
				}
				c.when, c.deleted = nil, false
			}
		}
	}
	return out
}

// match reports whether the instruction sets or deletes the value; it notes in c
// what it does beside that.
func (it regItem) match(key, value string, c *candidate) bool {
	list := func(names string) bool {
		for _, n := range strings.Split(strings.ToLower(names), ";") {
			if n = strings.TrimSpace(n); n != "" && n == value {
				return true
			}
		}
		return false
	}
	switch {
	case it.key == key && it.value == value:
		return true
	case it.key == key && it.value == polSoft+value:
		c.when = []string{"the value " + value + " did not exist before"}
		return true
	case it.key == key && it.value == polDel+value,
		it.key == key && it.value == polDelVals,
		it.key == key && it.value == polDeleteValues && list(it.data):
		c.deleted = true
		return true
	case it.value == polDeleteKeys:
		for _, sub := range strings.Split(strings.ToLower(it.data), ";") {
			full := strings.Trim(it.key+`\`+strings.TrimSpace(sub), `\`)
			if strings.TrimSpace(sub) != "" && (key == full || strings.HasPrefix(key, full+`\`)) {
				c.deleted = true
				return true
			}
		}
	}
	return false
}
