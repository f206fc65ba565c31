package configmgr

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// ErrSlot reports a slot that does not exist: an unknown entry, site or principal.
var ErrSlot = errors.New("no such slot")

// A Slot is an entry of the catalogue at a site, and one of its principals if Name is
// not empty.
type Slot struct {
	Entry string `json:"entry"`
	Site  string `json:"site,omitempty"` // site code
	Name  string `json:"name,omitempty"` // as configured; the SID as text is taken as well
}

// A Procedure is how the secret of a slot is changed at a site. It is advice: nothing
// here carries it out.
type Procedure struct {
	Slot
	Title    string          `json:"title"` // name of the entry
	Strategy Strategy        `json:"strategy"`
	Accounts []string        `json:"accounts"` // the principals that it is for, one after the other
	Steps    []ProcedureStep `json:"steps"`
	Never    string          `json:"never,omitempty"`
	Caution  string          `json:"caution,omitempty"`
	Before   []string        `json:"before,omitempty"`  // what has to be settled first
	Also     []Slot          `json:"also,omitempty"`    // other slots of the same principals: their references change too
	Unknown  []string        `json:"unknown,omitempty"` // what was not read, so that something may be missing
	Nothing  string          `json:"nothing,omitempty"` // why there is nothing to rotate; no steps then
}

// A ProcedureStep is one step with the things of the site that it is done for.
type ProcedureStep struct {
	Do    string   `json:"do"`
	Each  Each     `json:"each,omitempty"`
	Items []string `json:"items,omitempty"` // hosts, packages, sequences or locations, sorted
	Gate  string   `json:"gate,omitempty"`
	See   string   `json:"see,omitempty"`
}

// Rotate gives the procedure that changes the secret of a slot, with the hosts, packages,
// task sequences and locations that the document knows of. What the document does not
// know is listed as unknown, never left out. The error is ErrSlot.
func (c *Catalogue) Rotate(doc *Document, slot Slot) (*Procedure, error) {
	e := c.Entry(slot.Entry)
	if e == nil {
		return nil, fmt.Errorf("%w: the catalogue has no entry %q", ErrSlot, slot.Entry)
	}
	site := doc.site(slot.Site)
	if site == nil {
		return nil, fmt.Errorf("%w: the documents have no site %q", ErrSlot, slot.Site)
	}
	slot.Site = site.Code
	ids := c.merged(e)
	held := inForce(doc.Assignments, slot, ids)
	if slot.Name != "" && len(held) == 0 {
		return nil, fmt.Errorf("%w: %q does not fill %s at site %s", ErrSlot, slot.Name, slot.Entry, slot.Site)
	}
	p := &Procedure{
		Slot:     slot,
		Title:    e.Name,
		Strategy: e.Rotation.Strategy,
		Accounts: names(held),
		Never:    e.Rotation.Never,
		Caution:  e.Rotation.Caution,
	}
	for _, id := range ids {
		if missing, ok := doc.Filled(id, site.Code); !ok {
			p.Unknown = append(p.Unknown, fmt.Sprintf("whether these are all the accounts of the slot: %s", missing))
			break
		}
	}
	if p.Nothing = nothingToRotate(e, held, len(p.Unknown) == 0); p.Nothing != "" {
		return p, nil
	}
	r := rotating{doc: doc, site: site, entry: e, held: held, procedure: p}
	r.steps()
	r.before()
	p.Also = others(doc.Assignments, ids, site.Code, held)
	return p, nil
}

// merged lists the entries whose assignments belong to an entry: those that the current
// branch merged into it, for importers know an account by the role that uses it, and
// else the entry itself.
func (c *Catalogue) merged(e *Entry) []string {
	var out []string
	for _, o := range c.Entries {
		if o.MergedInto == e.ID {
			out = append(out, o.ID)
		}
	}
	if len(out) == 0 {
		return []string{e.ID}
	}
	return out
}

// nothingToRotate says why a slot has no secret that people change; "" if it has one.
func nothingToRotate(e *Entry, held []Assignment, known bool) string {
	if e.Rotation.Strategy == RotateNothing {
		return "a group has no secret; its members have"
	}
	if len(held) == 0 {
		if known && e.Default.Identity != "" {
			return "nobody is configured at this site; it acts as: " + e.Default.Identity
		}
		return ""
	}
	if !slices.ContainsFunc(held, func(a Assignment) bool { return a.Kind != "computer" && a.Kind != "gmsa" }) {
		return "computer and group-managed accounts change their passwords themselves"
	}
	return ""
}

// rotating gathers what a procedure needs of one site.
type rotating struct {
	doc       *Document
	site      *Site
	entry     *Entry
	held      []Assignment
	procedure *Procedure
}

func (r *rotating) steps() {
	for _, s := range r.entry.Rotation.Steps {
		step := ProcedureStep{Do: s.Do, Each: s.Each, Gate: s.Gate, See: s.See}
		var missing string
		switch s.Each {
		case EachHost:
			step.Items, missing = r.hosts()
		case EachPackage:
			step.Items, missing = r.packages()
		case EachSequence:
			step.Items, missing = r.sequences()
		case EachLocation:
			step.Items, missing = r.locations()
		}
		if missing != "" {
			missing = fmt.Sprintf("whether each %s is listed: %s", s.Each, missing)
			if !slices.Contains(r.procedure.Unknown, missing) {
				r.procedure.Unknown = append(r.procedure.Unknown, missing)
			}
		}
		r.procedure.Steps = append(r.procedure.Steps, step)
	}
}

// hosts are those of the assignments; if the slot is of no host, the distribution points
// of the site, on which its accounts have access.
func (r *rotating) hosts() (items []string, missing string) {
	for _, a := range r.held {
		if a.Host != "" {
			items = append(items, a.Host)
		}
	}
	role := ""
	for _, t := range tellers(r.entry.ID) {
		if t.class == ClassSiteRoles {
			role = t.part
		}
	}
	if r.entry.ID == entryNetworkAccess || r.entry.ID == entryPackage {
		role = roleDistribution
		for _, s := range r.site.Systems {
			if slices.Contains(s.Roles, role) {
				items = append(items, s.Host)
			}
		}
	}
	missing, _ = r.doc.Read(ClassSiteRoles, r.site.Code, role)
	return sorted(items), missing
}

// packages are those whose access list names one of the accounts.
func (r *rotating) packages() (items []string, missing string) {
	for _, p := range r.doc.Packages {
		for _, x := range p.Entries {
			if r.holds(x.Member) {
				items = append(items, titled(p.ID, p.Name))
			}
		}
	}
	missing, _ = r.doc.Read(ClassPackages, "", "")
	return sorted(items), missing
}

// sequences are those with a step that names one of the accounts for this slot.
func (r *rotating) sequences() (items []string, missing string) {
	for _, s := range r.doc.Sequences {
		for _, step := range s.Accounts {
			if step.Entry == r.entry.ID && (len(r.held) == 0 || r.holds(Member{Name: step.Name})) {
				items = append(items, titled(s.ID, s.Name))
			}
		}
	}
	missing, _ = r.doc.Read(ClassSequences, "", PartSteps)
	return sorted(items), missing
}

// locations are those of the assignments: forests, places of discovery, source sites.
func (r *rotating) locations() (items []string, missing string) {
	for _, a := range r.held {
		if a.Location != "" {
			items = append(items, a.Location)
		} else {
			missing = fmt.Sprintf("the documents do not say where %s is used", a.Name)
		}
	}
	return sorted(items), missing
}

func (r *rotating) holds(m Member) bool {
	return slices.ContainsFunc(r.held, func(a Assignment) bool { return same(a, m) })
}

// before lists what stands in the way of the procedure.
func (r *rotating) before() {
	p := r.procedure
	if limit := r.entry.Multiplicity.limit(r.site.Release); limit > 0 && r.entry.Multiplicity.Per == "site" && p.Strategy == RotateReplace {
		n := len(p.Accounts)
		switch {
		case r.site.Release == "" && len(r.entry.Multiplicity.ByRelease) > 0:
			p.Unknown = append(p.Unknown, "the release of the site, on which it depends how many accounts the slot takes")
		case limit == 1:
			p.Before = append(p.Before, "The slot takes one account at this site: the new one takes the place of the old one, and both stay enabled until the gates are open.")
		case n >= limit:
			p.Before = append(p.Before, fmt.Sprintf("The slot already has %d of at most %d accounts: remove one that is not used before the new one is added.", n, limit))
		}
	}
	if len(p.Accounts) > 1 && p.Strategy != RotateList {
		p.Before = append(p.Before, fmt.Sprintf("The slot has %d accounts: take one at a time through all steps.", len(p.Accounts)))
	}
	for _, a := range r.held {
		switch {
		case a.Unsolved != "":
			p.Before = append(p.Before, fmt.Sprintf("%s was not found: %s. Settle who it is before its rights are copied.", a.Name, a.Unsolved))
		case a.Kind == "local":
			p.Before = append(p.Before, fmt.Sprintf("%s is a local account: create it on each computer; there is no replication to wait for.", a.Name))
		}
	}
	p.Before = unique(p.Before)
}

// limit is how many principals fill the slot at a site of a release; 0 if there is no
// limit or none is known.
func (m Multiplicity) limit(release string) int {
	limit, best := m.Max, -1
	at := slices.Index(releaseNames, release)
	for first, n := range m.ByRelease {
		if i := slices.Index(releaseNames, first); i <= at && i > best {
			limit, best = n, i
		}
	}
	return limit
}

// others lists the other slots that the given principals fill.
func others(all []Assignment, ids []string, site string, held []Assignment) []Slot {
	var out []Slot
	for _, a := range all {
		if a.Entry == "" || !a.Removed.IsZero() || slices.Contains(ids, a.Entry) && strings.EqualFold(a.Site, site) {
			continue
		}
		if slices.ContainsFunc(held, func(h Assignment) bool { return same(h, Member{a.Name, a.SID}) }) {
			out = append(out, Slot{a.Entry, a.Site, a.Name})
		}
	}
	slices.SortFunc(out, compareSlots)
	return slices.Compact(out)
}

func compareSlots(x, y Slot) int {
	return strings.Compare(x.Entry+"\x00"+x.Site+"\x00"+x.Name, y.Entry+"\x00"+y.Site+"\x00"+y.Name)
}

// inForce lists the assignments to a slot that were not removed.
func inForce(all []Assignment, slot Slot, ids []string) []Assignment {
	var out []Assignment
	for _, a := range all {
		if a.Entry != slot.Entry && !slices.Contains(ids, a.Entry) || !a.Removed.IsZero() || a.Site != "" && !strings.EqualFold(a.Site, slot.Site) {
			continue
		}
		if slot.Name == "" || strings.EqualFold(a.Name, slot.Name) || a.SID != nil && a.SID.String() == slot.Name {
			out = append(out, a)
		}
	}
	return out
}

// same tells whether an assignment and a member are one principal: by SID if both are
// known, else by name.
func same(a Assignment, m Member) bool {
	if a.SID != nil && m.SID != nil {
		return *a.SID == *m.SID
	}
	return a.Name != "" && strings.EqualFold(a.Name, m.Name)
}

// site finds a site by its code; nil if there is none.
func (d *Document) site(code string) *Site {
	for i := range d.Sites {
		if strings.EqualFold(d.Sites[i].Code, code) {
			return &d.Sites[i]
		}
	}
	return nil
}

func names(list []Assignment) []string {
	var out []string
	for _, a := range list {
		if !slices.ContainsFunc(out, func(n string) bool { return strings.EqualFold(n, a.Name) }) {
			out = append(out, a.Name)
		}
	}
	return sorted(out)
}

func titled(id, name string) string {
	if name == "" {
		return id
	}
	return id + " " + name
}

func sorted(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}

// unique drops what is said twice and keeps the order.
func unique(list []string) []string {
	var out []string
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// WriteText writes the procedure for people.
func (p *Procedure) WriteText(w io.Writer) error {
	b := &strings.Builder{}
	fmt.Fprintf(b, "Rotation of %s (%s) at site %s\n", p.Title, p.Entry, p.Site)
	for _, a := range p.Accounts {
		fmt.Fprintf(b, "  account  %s\n", printable(a))
	}
	if len(p.Accounts) == 0 {
		b.WriteString("  account  none is known\n")
	}
	if p.Nothing != "" {
		fmt.Fprintf(b, "Nothing to rotate: %s.\n", p.Nothing)
	}
	list(b, "Not known", p.Unknown)
	list(b, "Before", p.Before)
	var also []string
	for _, s := range p.Also {
		also = append(also, fmt.Sprintf("%s at site %s (%s)", s.Entry, s.Site, s.Name))
	}
	list(b, "The same account also fills", also)
	if p.Never != "" {
		fmt.Fprintf(b, "Never: %s\n", p.Never)
	}
	if p.Caution != "" {
		fmt.Fprintf(b, "Caution: %s\n", p.Caution)
	}
	for i, s := range p.Steps {
		fmt.Fprintf(b, "%2d. %s\n", i+1, s.Do)
		for _, item := range s.Items {
			fmt.Fprintf(b, "      [ ] %s %s\n", s.Each, printable(item))
		}
		if s.Each != "" && len(s.Items) == 0 {
			fmt.Fprintf(b, "      no %s is known\n", s.Each)
		}
		if s.Gate != "" {
			fmt.Fprintf(b, "      go on when: %s\n      seen in: %s\n", s.Gate, s.See)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func list(b *strings.Builder, head string, items []string) {
	if len(items) == 0 {
		return
	}
	b.WriteString(head + ":\n")
	for _, i := range items {
		b.WriteString("  - " + printable(i) + "\n")
	}
}

// printable replaces what would move the cursor or forge a line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' {
			return '\ufffd'
		}
		return r
	}, s)
}
