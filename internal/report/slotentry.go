package report

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/leastwise/leastwise/internal/configmgr"
)

// SlotEntry is what the catalogue says about one group or account of Configuration
// Manager, in a form for reading and for JSON. Make one with NewSlotEntry.
type SlotEntry struct {
	Version      int             `json:"version"` // 1; grows when a field changes its meaning or goes away
	ID           string          `json:"id"`
	Name         string          `json:"name"`
	Kind         string          `json:"kind"`
	Purpose      SlotFact        `json:"purpose"`
	Releases     []string        `json:"releases"`     // of the 2012 family
	Current      string          `json:"current"`      // what became of it in the current branch
	CurrentNote  string          `json:"current_note"` // "" if nothing is to be said
	MergedInto   string          `json:"merged_into,omitempty"`
	Default      *SlotFact       `json:"default,omitempty"` // who acts if nobody is configured
	Explicit     []SlotFact      `json:"explicit_when"`
	Optional     []SlotFact      `json:"optional_when"`
	Allowed      []SlotFact      `json:"allowed"`
	Disallowed   []SlotFact      `json:"disallowed"`
	Multiplicity SlotFact        `json:"multiplicity"`
	Required     []SlotRight     `json:"required"`
	Related      []SlotRight     `json:"related"`
	Forbidden    []SlotFact      `json:"forbidden"`
	Separation   []SlotRelation  `json:"separation"`
	Secrets      []SlotFact      `json:"secrets"`
	Rotation     SlotRotation    `json:"rotation"`
	Cleanup      []SlotFact      `json:"cleanup"`
	Discovery    []string        `json:"discovery"`
	Techniques   []SlotTechnique `json:"techniques"`
	Controls     []SlotControl   `json:"controls"` // its own, then the cross-cutting ones that concern it
	Uncertain    []string        `json:"uncertain"`
}

// SlotOrigin says where a fact comes from: kinds of sources, lines of the reference,
// and names of techniques, documents and guides.
type SlotOrigin struct {
	Kinds []string `json:"kinds"`
	Lines []int    `json:"lines,omitempty"`
	Refs  []string `json:"refs,omitempty"`
}

// SlotFact is a statement with its origin.
type SlotFact struct {
	Text   string     `json:"text"`
	Origin SlotOrigin `json:"origin"`
}

// SlotRight is what an account needs.
type SlotRight struct {
	Target      string     `json:"target"` // kind of thing
	Where       string     `json:"where,omitempty"`
	Permissions []string   `json:"permissions"`
	Path        string     `json:"path,omitempty"`
	When        string     `json:"when,omitempty"`
	Note        string     `json:"note,omitempty"`
	Origin      SlotOrigin `json:"origin"`
}

// SlotRelation is a rule between two slots.
type SlotRelation struct {
	Rule   string     `json:"rule"`
	Other  string     `json:"other"`
	Text   string     `json:"text,omitempty"`
	Origin SlotOrigin `json:"origin"`
}

// SlotRotation is how the secret is changed.
type SlotRotation struct {
	Strategy string       `json:"strategy"`
	Steps    []RotateStep `json:"steps"`
	Never    string       `json:"never,omitempty"`
	Caution  string       `json:"caution,omitempty"`
	Origin   SlotOrigin   `json:"origin"`
}

// RotateStep is one step, done when its gate is open.
type RotateStep struct {
	Do   string `json:"do"`
	Each string `json:"each,omitempty"` // what it is repeated for
	Gate string `json:"gate,omitempty"`
	See  string `json:"see,omitempty"` // how the gate is observed
}

// SlotTechnique is a published attack or defence.
type SlotTechnique struct {
	ID      string `json:"id"`
	Kind    string `json:"kind"`
	Summary string `json:"summary"`
}

// SlotControl is a rule of the catalogue.
type SlotControl struct {
	ID          string         `json:"id"`
	Title       string         `json:"title"`
	Severity    string         `json:"severity"`
	Scope       string         `json:"scope"`
	When        string         `json:"when,omitempty"`
	Condition   string         `json:"condition"`
	Evidence    []SlotEvidence `json:"evidence"`
	Remediation string         `json:"remediation"`
	Note        string         `json:"note,omitempty"`
	Cross       bool           `json:"cross,omitempty"`
	Origin      SlotOrigin     `json:"origin"`
}

// SlotEvidence is what a control looks at, and with what rights that is read.
type SlotEvidence struct {
	Collector string `json:"collector"`
	Tier      string `json:"tier"`
	Needs     string `json:"needs"`
	Query     string `json:"query"`
}

// NewSlotEntry puts an entry of the catalogue into words.
func NewSlotEntry(c *configmgr.Catalogue, e *configmgr.Entry) *SlotEntry {
	out := &SlotEntry{
		Version: 1, ID: e.ID, Name: e.Name, Kind: string(e.Kind), Purpose: slotFact(e.Purpose.Text, e.Purpose.Origin), Releases: list(e.Releases),
		Current: string(e.Current), CurrentNote: e.CurrentNote, MergedInto: e.MergedInto,
		Explicit: slotFacts(e.Explicit), Optional: slotFacts(e.Optional), Cleanup: slotFacts(e.Cleanup),
		Allowed: accountTypes(e.Allowed), Disallowed: accountTypes(e.Disallowed), Multiplicity: multiplicity(e.Multiplicity),
		Required: slotRights(e.Required), Related: slotRights(e.Related), Forbidden: []SlotFact{}, Separation: []SlotRelation{}, Secrets: []SlotFact{},
		Rotation:  SlotRotation{string(e.Rotation.Strategy), []RotateStep{}, e.Rotation.Never, e.Rotation.Caution, slotOrigin(e.Rotation.Origin)},
		Discovery: []string{}, Techniques: []SlotTechnique{}, Controls: []SlotControl{}, Uncertain: list(e.Uncertain),
	}
	if d := e.Default; d.Identity != "" {
		f := slotFact(joined(d.Identity, d.Note), d.Origin)
		out.Default = &f
	}
	for _, f := range e.Forbidden {
		out.Forbidden = append(out.Forbidden, slotFact(f.Right+": "+f.Text, f.Origin))
	}
	for _, s := range e.Separation {
		out.Separation = append(out.Separation, SlotRelation{string(s.Rule), s.Other, s.Text, slotOrigin(s.Origin)})
	}
	for _, s := range e.Secrets {
		out.Secrets = append(out.Secrets, slotFact(s.Where+" ("+s.Confidence+")", s.Origin))
	}
	for _, s := range e.Rotation.Steps {
		out.Rotation.Steps = append(out.Rotation.Steps, RotateStep{s.Do, string(s.Each), s.Gate, s.See})
	}
	for _, d := range e.Discovery {
		out.Discovery = append(out.Discovery, d.How+" ("+d.Confidence+")")
	}
	for _, t := range e.Techniques {
		out.Techniques = append(out.Techniques, SlotTechnique{t, c.Techniques[t].Kind, c.Techniques[t].Summary})
	}
	for _, ctl := range e.Controls {
		out.Controls = append(out.Controls, slotControl(c, ctl))
	}
	for _, id := range e.CrossControls {
		out.Controls = append(out.Controls, slotControl(c, c.Control(id)))
	}
	return out
}

func slotFact(text string, o configmgr.Origin) SlotFact { return SlotFact{text, slotOrigin(o)} }

func slotOrigin(o configmgr.Origin) SlotOrigin {
	out := SlotOrigin{Kinds: []string{}, Lines: slices.Clone(o.Lines), Refs: slices.Clone(o.Refs)}
	for _, k := range o.Kinds {
		out.Kinds = append(out.Kinds, string(k))
	}
	return out
}

func slotFacts(in []configmgr.Fact) []SlotFact {
	out := []SlotFact{}
	for _, f := range in {
		out = append(out, slotFact(f.Text, f.Origin))
	}
	return out
}

func accountTypes(in []configmgr.AccountType) []SlotFact {
	out := []SlotFact{}
	for _, t := range in {
		out = append(out, slotFact(joined(t.Type, t.Note), t.Origin))
	}
	return out
}

// joined is a word with a note to it.
func joined(text, note string) string {
	if note == "" {
		return text
	}
	return text + ": " + note
}

func multiplicity(m configmgr.Multiplicity) SlotFact {
	text := "per " + m.Per
	if m.Per == "" {
		text = "not known"
	}
	if m.Max > 0 {
		text += ", at most " + strconv.Itoa(m.Max)
	}
	releases := make([]string, 0, len(m.ByRelease))
	for r, n := range m.ByRelease {
		releases = append(releases, fmt.Sprintf("%d from %s on", n, r))
	}
	slices.Sort(releases)
	if len(releases) > 0 {
		text += " (" + strings.Join(releases, ", ") + ")"
	}
	if m.Ordered {
		text += ", tried in order"
	}
	for _, more := range []string{m.Selection, m.Note} {
		if more != "" {
			text += "; " + more
		}
	}
	return slotFact(text, m.Origin)
}

func slotRights(in []configmgr.Right) []SlotRight {
	out := []SlotRight{}
	for _, r := range in {
		out = append(out, SlotRight{string(r.Target), r.Where, list(r.Permissions), r.Path, r.When, r.Note, slotOrigin(r.Origin)})
	}
	return out
}

func slotControl(c *configmgr.Catalogue, ctl *configmgr.Control) SlotControl {
	out := SlotControl{
		ID: ctl.ID, Title: ctl.Title, Severity: ctl.Severity, Scope: string(ctl.Scope), When: ctl.When, Condition: ctl.Condition,
		Evidence: []SlotEvidence{}, Remediation: ctl.Remediation, Note: ctl.Note, Cross: ctl.Entry == nil, Origin: slotOrigin(ctl.Origin),
	}
	for _, n := range ctl.Evidence {
		col := c.Collectors[n.Collector]
		out.Evidence = append(out.Evidence, SlotEvidence{n.Collector, col.Tier, col.Needs, n.Query})
	}
	return out
}

// words is the origin in a few words.
func (o SlotOrigin) words() string {
	var parts []string
	if n := len(o.Lines); n > 0 {
		text := make([]string, n)
		for i, l := range o.Lines {
			text[i] = strconv.Itoa(l)
		}
		parts = append(parts, pick(n == 1, "reference line ", "reference lines ")+strings.Join(text, ", "))
	}
	for _, k := range o.Kinds {
		if name := originNames[k]; name != "" {
			parts = append(parts, name)
		}
	}
	return strings.Join(append(parts, o.Refs...), "; ")
}

// originNames are the kinds of sources in words; the reference is named by its lines.
var originNames = map[string]string{
	"current-docs": "documentation of the current branch", "mm": "Misconfiguration Manager", "guide": "least-privilege guide",
	"product-ui": "console", "product-model": "classes of the provider", "derived": "concluded", "inferred": "inferred, not confirmed",
}

// JSON writes the entry as indented JSON.
func (e *SlotEntry) JSON(w io.Writer) error {
	if err := writeJSON(w, e); err != nil {
		return fmt.Errorf("writing the slot as JSON: %w", err)
	}
	return nil
}

// Text writes the entry for reading in a terminal.
func (e *SlotEntry) Text(w io.Writer, s Screen) error {
	g := &page{screen: s}
	g.line("%s", g.strong(e.Name))
	g.line("%s, %s", e.ID, slotKind(e.Kind))
	g.fact("", e.Purpose)
	g.heading("Releases")
	g.line("  2012 family: %s", orDash(strings.Join(e.Releases, ", ")))
	text := currentWords(e.Current)
	if e.MergedInto != "" {
		text += " into " + e.MergedInto
	}
	g.line("  current branch: %s", joined(text, e.CurrentNote))
	if e.Default != nil {
		g.heading("If nobody is configured")
		g.fact("  ", *e.Default)
	}
	g.facts("An account must be configured when", e.Explicit)
	g.facts("An account may be configured when", e.Optional)
	g.facts("Takes", e.Allowed)
	g.facts("Does not take", e.Disallowed)
	g.heading("How many")
	g.fact("  ", e.Multiplicity)
	g.slotRights("Needs", e.Required)
	g.slotRights("Related rights", e.Related)
	g.facts("Must not have", e.Forbidden)
	g.relations(e.Separation)
	g.facts("Where the secret rests", e.Secrets)
	g.rotation(e.Rotation)
	g.facts("Clean-up", e.Cleanup)
	g.words("How it is learned who fills it", e.Discovery)
	g.techniques(e.Techniques)
	g.slotControls(e.Controls)
	g.words("Not certain", e.Uncertain)
	return g.flush(w, "the slot")
}

// slotKind is the kind of an entry in words.
func slotKind(kind string) string {
	switch configmgr.EntryKind(kind) {
	case configmgr.WindowsGroup:
		return "Windows group"
	case configmgr.WindowsAccount:
		return "Windows account"
	case configmgr.AccountList:
		return "list of accounts and groups"
	case configmgr.FirmwareAccount:
		return "account of AMT firmware, without SID"
	}
	return kind
}

// currentWords says what became of an entry.
func currentWords(status string) string {
	switch configmgr.CurrentStatus(status) {
	case configmgr.CurrentListed:
		return "there, as in 2012"
	case configmgr.CurrentChanged:
		return "there, changed"
	case configmgr.CurrentMerged:
		return "merged"
	case configmgr.CurrentRemoved:
		return "removed"
	case configmgr.CurrentUnsupported:
		return "no longer supported"
	case configmgr.CurrentRetired:
		return "its role is retired"
	case configmgr.CurrentAdded:
		return "added"
	}
	return status
}

func (p *page) fact(indent string, f SlotFact) {
	p.line("%s%s%s", indent, visible(f.Text), p.from(f.Origin))
}

// from is an origin in brackets.
func (p *page) from(o SlotOrigin) string {
	if w := o.words(); w != "" {
		return " " + p.ink(gray, "["+w+"]")
	}
	return ""
}

func (p *page) facts(title string, facts []SlotFact) {
	if len(facts) == 0 {
		return
	}
	p.heading(title)
	for _, f := range facts {
		p.fact("  - ", f)
	}
}

func (p *page) words(title string, words []string) {
	if len(words) == 0 {
		return
	}
	p.heading(title)
	for _, t := range words {
		p.line("  - %s", visible(t))
	}
}

func (p *page) slotRights(title string, rights []SlotRight) {
	if len(rights) == 0 {
		return
	}
	p.heading(title)
	for _, r := range rights {
		text := r.Target + ": " + strings.Join(r.Permissions, ", ")
		for _, more := range []string{r.Path, r.Where} {
			if more != "" {
				text += ", " + more
			}
		}
		if r.When != "" {
			text += " (when " + r.When + ")"
		}
		if r.Note != "" {
			text += "; " + r.Note
		}
		p.line("  - %s%s", visible(text), p.from(r.Origin))
	}
}

func (p *page) relations(all []SlotRelation) {
	if len(all) == 0 {
		return
	}
	p.heading("Beside other slots")
	for _, s := range all {
		p.line("  - %s%s", visible(joined(strings.ReplaceAll(s.Rule, "-", " ")+" "+s.Other, s.Text)), p.from(s.Origin))
	}
}

func (p *page) rotation(r SlotRotation) {
	p.heading("Rotation: " + strings.ReplaceAll(r.Strategy, "-", " "))
	if o := r.Origin.words(); o != "" {
		p.line("  %s", p.ink(gray, "["+o+"]"))
	}
	p.gated(r.Steps)
	if r.Never != "" {
		p.line("  %s %s", p.ink(red, "Never:"), r.Never)
	}
	if r.Caution != "" {
		p.line("  %s %s", p.ink(yellow, "Caution:"), r.Caution)
	}
}

// gated writes numbered steps with their gates.
func (p *page) gated(steps []RotateStep) {
	for i, s := range steps {
		each := ""
		if s.Each != "" {
			each = " (for each " + s.Each + ")"
		}
		p.line("  %d. %s%s", i+1, visible(s.Do), each)
		if s.Gate != "" {
			p.line("     %s %s", p.ink(yellow, "until:"), visible(s.Gate))
			p.line("     seen by: %s", visible(s.See))
		}
	}
}

func (p *page) techniques(all []SlotTechnique) {
	if len(all) == 0 {
		return
	}
	p.heading("Known attacks and defences (Misconfiguration Manager)")
	for _, t := range all {
		p.line("  - %s (%s): %s", t.ID, t.Kind, t.Summary)
	}
}

func (p *page) slotControls(all []SlotControl) {
	p.heading(plural(len(all), "control", "controls"))
	var rows [][]cellInk
	for _, c := range all {
		rows = append(rows, []cellInk{{c.ID, ""}, {c.Severity, slotSeverityInk(c.Severity)}, {strings.Join(c.tiers(), " "), gray}, {c.Title, ""}, {c.Origin.words(), gray}})
	}
	p.grid([]string{"Control", "Severity", "Tier", "Title", "Origin"}, rows)
	if !p.screen.Evidence {
		return
	}
	for _, c := range all {
		p.heading(c.ID + "  " + c.Title)
		if c.When != "" {
			p.line("  when: %s", c.When)
		}
		p.line("  passes if: %s", c.Condition)
		for _, e := range c.Evidence {
			p.line("  looks at: %s (%s, %s): %s", e.Collector, e.Tier, e.Needs, e.Query)
		}
		p.line("  remedy: %s", c.Remediation)
		if c.Note != "" {
			p.line("  note: %s", c.Note)
		}
	}
}

// tiers lists the tiers of the evidence of a control.
func (c SlotControl) tiers() []string {
	var out []string
	for _, e := range c.Evidence {
		if !slices.Contains(out, e.Tier) {
			out = append(out, e.Tier)
		}
	}
	slices.Sort(out)
	return out
}

// slotSeverityInk is the colour of a severity of the catalogue of Configuration Manager.
func slotSeverityInk(severity string) string {
	switch severity {
	case "critical", "high":
		return red
	case "medium":
		return yellow
	}
	return blue
}
