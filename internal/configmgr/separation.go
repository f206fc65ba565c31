package configmgr

import (
	"fmt"
	"slices"
	"strings"
)

// A SeparationFinding is two slots whose principals do not relate as a rule of the
// catalogue demands, may not do so, or share a principal as a rule permits.
type SeparationFinding struct {
	Rule    SeparationRule    `json:"rule"`
	Verdict SeparationVerdict `json:"verdict"`
	A       Slot              `json:"a"`
	B       Slot              `json:"b"`      // Name is "" if the rule misses a principal there
	Reason  string            `json:"reason"` // what is so, or what is not known
	Text    string            `json:"text,omitempty"`
	Lines   []int             `json:"lines,omitempty"` // of the reference
	Refs    []string          `json:"refs,omitempty"`
}

// A SeparationVerdict is the outcome of a rule for two slots. Rules that hold give no
// finding.
type SeparationVerdict string

// The verdicts.
const (
	Violated  SeparationVerdict = "violated"
	Undecided SeparationVerdict = "unknown"
	Shared    SeparationVerdict = "shared" // permitted, but one secret serves two purposes
)

// Separations checks the rules between slots over all sites of the document: an account
// that must not fill two slots must not do so at different sites either, for its secret
// is the same. Principals are one if their SIDs are, or their names where a SID is not
// known; where neither tells, the verdict is unknown.
//
// Removed assignments count for nothing. A rule about a slot that nobody read is unknown
// only where a missing principal would violate it (must-match, must-also-be): whoever is
// not known cannot be compared.
func (c *Catalogue) Separations(doc *Document) []SeparationFinding {
	s := &separating{cat: c, doc: doc, held: map[string][]Assignment{}}
	for _, a := range doc.Assignments {
		if a.Entry == "" || !a.Removed.IsZero() {
			continue
		}
		twice := func(b Assignment) bool { return strings.EqualFold(a.Site, b.Site) && sameness(a, b) == isSame }
		if !slices.ContainsFunc(s.held[a.Entry], twice) { // several sources tell of it, or it has several hosts
			s.held[a.Entry] = append(s.held[a.Entry], a)
		}
	}
	for _, e := range c.Entries {
		for _, rule := range e.Separation {
			switch rule.Rule {
			case MustDiffer, MayShare:
				s.differ(e, rule)
			case MustMatch:
				s.match(e, rule)
			case MustAlsoBe:
				s.alsoBe(e, rule)
			case OnePer:
				s.onePer(e, rule)
			}
		}
	}
	slices.SortFunc(s.found, func(x, y SeparationFinding) int {
		return strings.Compare(string(x.Rule)+slotText(x.A)+slotText(x.B), string(y.Rule)+slotText(y.A)+slotText(y.B))
	})
	return s.found
}

// slotText orders slots and tells them apart.
func slotText(s Slot) string { return s.Entry + "\x00" + s.Site + "\x00" + s.Name + "\x00" }

// separating gathers findings.
type separating struct {
	cat   *Catalogue
	doc   *Document
	held  map[string][]Assignment // by entry
	found []SeparationFinding
}

// add records a finding once, whichever of the two entries stated the rule.
func (s *separating) add(rule Separation, v SeparationVerdict, a, b Slot, reason string) {
	if rule.Rule == MustDiffer || rule.Rule == MayShare {
		if slotText(b) < slotText(a) {
			a, b = b, a
		}
	}
	for i, f := range s.found {
		if f.Rule == rule.Rule && f.A == a && f.B == b {
			lines := sortedInts(append(slices.Clone(f.Lines), rule.Lines...))
			s.found[i].Lines = lines
			return
		}
	}
	s.found = append(s.found, SeparationFinding{
		Rule: rule.Rule, Verdict: v, A: a, B: b, Reason: reason, Text: rule.Text, Lines: sortedInts(slices.Clone(rule.Lines)), Refs: rule.Refs,
	})
}

func sortedInts(list []int) []int {
	slices.Sort(list)
	return slices.Compact(list)
}

func slotOf(a Assignment) Slot { return Slot{a.Entry, a.Site, a.Name} }

// differ compares each principal of one entry with each of the other.
func (s *separating) differ(e *Entry, rule Separation) {
	for _, a := range s.held[e.ID] {
		for _, b := range s.held[rule.Other] {
			switch sameness(a, b) {
			case isSame:
				v := Violated
				if rule.Rule == MayShare {
					v = Shared
				}
				s.add(rule, v, slotOf(a), slotOf(b), fmt.Sprintf("%s fills both", describe(a, b)))
			case mayBeSame:
				if rule.Rule == MustDiffer {
					s.add(rule, Undecided, slotOf(a), slotOf(b), fmt.Sprintf("whether %s and %s are one account is not known: %s", a.Name, b.Name, unresolved(a, b)))
				}
			}
		}
	}
}

// match demands that the principals of both slots of a site are the same.
func (s *separating) match(e *Entry, rule Separation) {
	for _, a := range s.held[e.ID] {
		others := atSite(s.held[rule.Other], a.Site)
		if len(others) == 0 {
			if missing, ok := s.doc.Filled(rule.Other, a.Site); !ok {
				s.add(rule, Undecided, slotOf(a), Slot{Entry: rule.Other, Site: a.Site}, "who fills "+rule.Other+" is not known: "+missing)
			}
			continue
		}
		for _, b := range others {
			switch sameness(a, b) {
			case isDifferent:
				s.add(rule, Violated, slotOf(a), slotOf(b), fmt.Sprintf("%s and %s differ", a.Name, b.Name))
			case mayBeSame:
				s.add(rule, Undecided, slotOf(a), slotOf(b), fmt.Sprintf("whether %s and %s are one account is not known: %s", a.Name, b.Name, unresolved(a, b)))
			}
		}
	}
}

// alsoBe demands that each principal of one slot fills the other at the site too.
func (s *separating) alsoBe(e *Entry, rule Separation) {
	for _, a := range s.held[e.ID] {
		others := atSite(s.held[rule.Other], a.Site)
		best := isDifferent
		for _, b := range others {
			best = max(best, sameness(a, b))
		}
		if best == isSame {
			continue
		}
		to := Slot{Entry: rule.Other, Site: a.Site}
		missing, known := s.doc.Filled(rule.Other, a.Site)
		switch {
		case !known:
			s.add(rule, Undecided, slotOf(a), to, "who fills "+rule.Other+" is not known: "+missing)
		case best == mayBeSame:
			s.add(rule, Undecided, slotOf(a), to, fmt.Sprintf("whether %s is on the list is not known: it was not resolved", a.Name))
		default:
			s.add(rule, Violated, slotOf(a), to, a.Name+" does not fill "+rule.Other)
		}
	}
}

// onePer demands that each task sequence has a principal of its own.
func (s *separating) onePer(e *Entry, rule Separation) {
	for _, a := range s.held[e.ID] {
		var users []string
		for _, q := range s.doc.Sequences {
			if slices.ContainsFunc(q.Accounts, func(st Step) bool {
				return st.Entry == e.ID && sameness(a, Assignment{Name: st.Name}) == isSame
			}) {
				users = append(users, q.ID)
			}
		}
		users = sorted(users)
		if len(users) > 1 {
			s.add(rule, Violated, slotOf(a), Slot{Entry: rule.Other}, fmt.Sprintf("%s runs %d task sequences: %s", a.Name, len(users), strings.Join(users, ", ")))
			continue
		}
		if missing, ok := s.doc.Read(ClassSequences, "", PartSteps); !ok {
			s.add(rule, Undecided, slotOf(a), Slot{Entry: rule.Other}, "which task sequences name the account is not known: "+missing)
		}
	}
}

func atSite(list []Assignment, site string) []Assignment {
	var out []Assignment
	for _, a := range list {
		if site == "" || a.Site == "" || strings.EqualFold(a.Site, site) {
			out = append(out, a)
		}
	}
	return out
}

// A likeness is whether two principals are one; greater is more alike.
type likeness uint8

const (
	isDifferent likeness = iota
	mayBeSame
	isSame
)

// sameness compares two principals. SIDs decide. Without them equal names are one
// account, and names of different users of one form of name are two; DOMAIN\user against
// domain.test\user, or against user@domain.test, stays open.
func sameness(a, b Assignment) likeness {
	if a.SID != nil && b.SID != nil {
		if *a.SID == *b.SID {
			return isSame
		}
		return isDifferent
	}
	if strings.EqualFold(a.Name, b.Name) {
		return isSame
	}
	x, y := splitName(a.Name), splitName(b.Name)
	switch {
	case x.upn != y.upn:
		return mayBeSame // the prefix of a UPN need not be the account's name
	case !strings.EqualFold(x.user, y.user):
		return isDifferent
	case x.domain == "" || y.domain == "" || strings.Contains(x.domain, ".") != strings.Contains(y.domain, "."):
		return mayBeSame
	}
	return isDifferent
}

// A nameParts is a name in its parts.
type nameParts struct {
	domain, user string
	upn          bool
}

func splitName(name string) nameParts {
	if d, u, ok := strings.Cut(name, `\`); ok {
		return nameParts{domain: d, user: u}
	}
	if i := strings.LastIndexByte(name, '@'); i > 0 {
		return nameParts{domain: name[i+1:], user: name[:i], upn: true}
	}
	return nameParts{user: name}
}

func describe(a, b Assignment) string {
	if strings.EqualFold(a.Name, b.Name) {
		return a.Name
	}
	return fmt.Sprintf("one account, written %s and %s,", a.Name, b.Name)
}

func unresolved(a, b Assignment) string {
	for _, x := range []Assignment{a, b} {
		if x.SID == nil {
			if x.Unsolved != "" {
				return x.Name + ": " + x.Unsolved
			}
			return x.Name + " was not resolved to a SID"
		}
	}
	return ""
}
