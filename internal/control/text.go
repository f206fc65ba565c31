package control

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// entryTexts are the compiled templates of an entry.
type entryTexts struct {
	detail, fix, each, verify *text
	changes                   []*text
}

// A text is a template. One without actions is filled once, and its findings
// share the result; one with nothing but plain fields is put together without the
// template, because a large forest fills it very often.
type text struct {
	*template.Template
	fixed bool
	value string     // if fixed
	parts []textPart // if the template is nothing but these
}

// A textPart is literal text, or a field of the note.
type textPart struct {
	literal string
	field   func(*note) string
}

// plainFields are the fields that need no template.
var plainFields = map[string]func(*note) string{
	"Subject.Name":   func(n *note) string { return n.Subject.Name },
	"Subject.DN":     func(n *note) string { return n.Subject.DN },
	"Subject.SID":    func(n *note) string { return n.Subject.SID },
	"Subject.Domain": func(n *note) string { return n.Subject.Domain },
	"Item.Name":      func(n *note) string { return n.Item.Name },
	"Item.DN":        func(n *note) string { return n.Item.DN },
	"Item.SID":       func(n *note) string { return n.Item.SID },
}

func newText(t *template.Template) *text {
	x := &text{Template: t, fixed: true}
	simple := true
	for _, n := range t.Root.Nodes {
		p, ok := newTextPart(n)
		simple = simple && ok
		x.fixed = x.fixed && ok && p.field == nil
		x.parts = append(x.parts, p)
	}
	if !simple {
		x.parts = nil
	}
	if x.fixed {
		x.value = strings.TrimSpace(t.Root.String())
	}
	return x
}

// newTextPart takes a node of a template; ok is false if it is more than a part.
func newTextPart(n parse.Node) (p textPart, ok bool) {
	switch n := n.(type) {
	case *parse.TextNode:
		return textPart{literal: string(n.Text)}, true
	case *parse.ActionNode:
		if len(n.Pipe.Cmds) == 1 && len(n.Pipe.Decl) == 0 {
			p.field = plainField(n.Pipe.Cmds[0].Args)
		}
	}
	return p, p.field != nil
}

// plainField takes a field, an option, or the names or days of plain arguments; nil
// for anything else.
func plainField(args []parse.Node) func(*note) string {
	of, ok := args[0].(*parse.FieldNode)
	switch {
	case ok && len(args) > 1:
		return nil
	case ok && len(of.Ident) == 2 && of.Ident[0] == "Options":
		return func(n *note) string { return fmt.Sprint(n.Options[of.Ident[1]]) }
	case ok:
		return plainFields[strings.Join(of.Ident, ".")]
	}
	switch words := fmt.Sprint(args); {
	case words == "[names .Offenders]":
		return func(n *note) string { return names(n.Offenders) }
	case strings.HasPrefix(words, "[days .Subject ") && len(args) == 3:
		if attr, ok := args[2].(*parse.StringNode); ok {
			return func(n *note) string { return strconv.Itoa(days(n.Subject, attr.Text)) }
		}
	}
	return nil
}

// An item is an element that made a subject fail, as texts see it.
type item struct {
	Name, DN, SID, Why string
	What               string // of an access control entry: what it says

	entry bool // Why is an access control entry
}

// note is what templates are filled with.
type note struct {
	Subject   subjectNote
	Offenders []item // elements of every that failed
	Denied    []item // principals for which the condition failed
	Open      []item // of Denied: for which the lesser condition does not hold either
	Covered   []item // of Denied: for which it does; Why is through what
	Item      item   // in change_each
	Options   map[string]any
}

type subjectNote struct {
	Subject
	id forest.ID
	w  *world
}

// textFuncs are the functions of templates.
var textFuncs = template.FuncMap{
	"count": func(n int, one, many string) string {
		if n == 1 {
			return "1 " + one
		}
		return strconv.Itoa(n) + " " + many
	},
	"names": names,
	"days":  days,
	"flag": func(s subjectNote, name string) bool {
		if s.w == nil || s.id == forest.None {
			return false
		}
		v, _ := s.w.s.Int(s.id, forest.UserAccountControl)
		return v&accountFlags[name] != 0
	},
}

// names lists the first of the items. A trustee with several access control entries
// is named once, with what they say.
func names(items []item) string {
	const most = 8
	var list [][]item
	for _, it := range items {
		i := slices.IndexFunc(list, func(x []item) bool { return it.entry && x[0].entry && x[0].Name == it.Name })
		if i < 0 {
			list = append(list, []item{it})
		} else {
			list[i] = append(list[i], it)
		}
	}
	var out []string
	for i, entries := range list {
		if i == most {
			return strings.Join(out, ", ") + fmt.Sprintf(" and %d more", len(list)-most)
		}
		out = append(out, entries[0].Name+differences(entries))
	}
	return strings.Join(out, ", ")
}

// differences says what several entries of one trustee say; "" of a single one.
func differences(entries []item) string {
	const most = 3
	if len(entries) == 1 {
		return ""
	}
	var what []string
	for _, it := range entries {
		if !slices.Contains(what, it.What) {
			what = append(what, it.What)
		}
	}
	text := fmt.Sprintf(" (%d entries: ", len(entries)) + strings.Join(what[:min(most, len(what))], "; ")
	if len(what) > most {
		text += fmt.Sprintf("; and %d more", len(what)-most)
	}
	return text + ")"
}

// days is the age of a date of the subject, 0 if it is not known.
func days(s subjectNote, name string) int {
	a, ok := forest.AttrByName(name)
	if !ok || s.w == nil || s.id == forest.None {
		return 0
	}
	if d, st := s.w.days(s.id, a); st == forest.Known {
		return d
	}
	return 0
}

// parseTexts compiles the templates and fills each once, so that a mistake shows
// when the catalogue is read.
func (e *Entry) parseTexts() error {
	var err error
	one := func(field, source string) *text {
		if err != nil {
			return nil
		}
		var t *template.Template
		if t, err = template.New(field).Option("missingkey=error").Funcs(textFuncs).Parse(source); err == nil {
			err = t.Execute(&strings.Builder{}, note{Options: DefaultOptions().variables()})
		}
		if err != nil {
			return nil
		}
		return newText(t)
	}
	e.texts = entryTexts{detail: one("detail", e.Detail), fix: one("fix", e.Fix), verify: one("verify", e.Verify)}
	if e.ChangeEach != "" {
		e.texts.each = one("change_each", e.ChangeEach)
	}
	for _, c := range e.Changes {
		e.texts.changes = append(e.texts.changes, one("changes", c))
	}
	if err != nil {
		return e.errorf("%v", err)
	}
	return nil
}

func fill(t *text, n *note) string {
	if t == nil {
		return ""
	}
	if t.fixed {
		return t.value
	}
	var b strings.Builder
	for _, p := range t.parts {
		if p.field != nil {
			b.WriteString(p.field(n))
		} else {
			b.WriteString(p.literal)
		}
	}
	if t.parts == nil {
		if err := t.Execute(&b, n); err != nil {
			return err.Error()
		}
	}
	return strings.TrimSpace(b.String())
}

// changes returns the concrete changes of a failure.
func (e *Entry) changes(n *note) []string {
	out := []string{}
	for _, t := range e.texts.changes {
		if text := fill(t, n); text != "" {
			out = append(out, text)
		}
	}
	if e.texts.each == nil {
		return out
	}
	items := n.Offenders
	if e.Principals != "" {
		items = n.Denied
	}
	for _, it := range items {
		n.Item = it
		out = append(out, fill(e.texts.each, n))
	}
	return out
}

// An offender is an element of every for which the condition was false.
type offender struct {
	element ref.Val
}

func (ev *evaluation) offend(element ref.Val) {
	ev.offenders = append(ev.offenders, offender{element})
	switch x := element.(type) {
	case object:
		if x.group != forest.None && x.id != forest.None {
			ev.facts = append(ev.facts, fact{kind: memberFact, id: x.id, other: x.group})
		}
	case ace:
		ev.facts = append(ev.facts, fact{kind: aceFact, id: x.owner, index: x.index, list: x.list})
	case holder:
		e := sourceEvidence(x.source)
		e.Value, e.Text = x.p.Raw, "entry "+x.p.Raw
		if e.Policy == "" {
			e.Kind = "attribute"
		}
		ev.saw(e)
	}
}

// item puts an offender into words.
func (w *world) item(o offender) item {
	switch x := o.element.(type) {
	case object:
		if x.id == forest.None {
			return item{Name: "somebody unknown (" + x.why + ")"}
		}
		it := item{Name: w.accountName(x.id), DN: w.s.DN(x.id), SID: w.s.SID(x.id).String()}
		if x.group != forest.None {
			it.Why = w.chainText(x.id, x.group)
		}
		return it
	case ace:
		return item{Name: w.trusteeName(x.ace.SID), SID: x.ace.SID.String(), Why: x.ace.SDDL(secdesc.SID{}), What: w.aceWords(x.ace), entry: true}
	case holder:
		name := x.p.Raw
		if !x.p.SID.IsZero() {
			name = w.trusteeName(x.p.SID)
		}
		it := item{Name: name, SID: x.p.SID.String()}
		if x.p.ID != forest.None && int(x.p.ID) < w.s.Len() {
			it.DN = w.s.DN(x.p.ID)
		}
		if x.source.Policy != nil {
			it.Why = "policy " + x.source.Policy.String()
		}
		return it
	case link:
		if x.container == forest.None {
			return item{Name: "a container that is not known (" + x.why + ")"}
		}
		return item{Name: w.accountName(x.container), DN: w.s.DN(x.container)}
	case types.String:
		return item{Name: string(x), Why: string(x)}
	}
	return item{Name: fmt.Sprint(o.element)}
}

func (w *world) chainText(member, group forest.ID) string {
	names := w.chain(member, group)
	if len(names) <= 2 {
		return "direct member"
	}
	return "through " + strings.Join(names[1:len(names)-1], " > ")
}

// chain returns the names from member to group that prove the membership.
func (w *world) chain(member, group forest.ID) []string {
	steps := w.reach.Chain(member, group)
	if len(steps) == 0 {
		return nil
	}
	out := []string{w.qualified(steps[0].From)}
	for _, s := range steps {
		out = append(out, w.qualified(s.To))
	}
	return out
}

// evidence puts the facts of an evaluation into words, each once.
func (ev *evaluation) evidence() []Evidence {
	out := make([]Evidence, 0, len(ev.facts))
	for i, f := range ev.facts {
		if f.kind != readyFact && slices.Contains(ev.facts[:i], f) {
			continue
		}
		for _, e := range ev.w.words(f) {
			if !slices.ContainsFunc(out, func(x Evidence) bool { return saysSame(x, e) }) {
				out = append(out, e)
			}
		}
	}
	if len(out) == 0 && ev.searched != nil {
		out = append(out, *ev.searched)
	}
	return out
}

// saysSame reports whether a reader would take two facts for one.
func saysSame(a, b Evidence) bool {
	if a.Kind != b.Kind || a.DN != b.DN || a.Attr != b.Attr || a.Value != b.Value || a.Text != b.Text ||
		a.File != b.File || a.Line != b.Line || !slices.Equal(a.Chain, b.Chain) || (a.ACE == nil) != (b.ACE == nil) {
		return false
	}
	return a.ACE == nil || a.ACE.Index == b.ACE.Index && a.ACE.List == b.ACE.List
}

func (w *world) words(f fact) []Evidence {
	switch f.kind {
	case attrFact:
		return []Evidence{w.attrEvidence(f.id, f.attr)}
	case memberFact:
		return w.chainEvidence(f.id, f.other)
	case directFact:
		return w.directEvidence(f.id, f.other)
	case aceFact:
		d, st := w.s.Descriptor(f.id)
		acl := (*secdesc.ACL)(nil)
		if st == forest.Known {
			if acl = d.DACL; f.list == "sacl" {
				acl = d.SACL
			}
		}
		if acl == nil || f.index >= len(acl.ACEs) {
			return []Evidence{{Kind: "descriptor", DN: w.s.DN(f.id), Text: "a NULL DACL, which gives everyone full control"}}
		}
		return []Evidence{w.aceEvidence(f.id, f.list, f.index, acl.ACEs[f.index], "")}
	}
	return []Evidence{*f.ready}
}

func (w *world) changed(id forest.ID, a forest.Attr) *Changed {
	if c, ok := w.s.LastChange(id, a); ok {
		return &Changed{c.Time, c.Version, c.Server}
	}
	return nil
}

func (w *world) attrEvidence(id forest.ID, a forest.Attr) Evidence {
	e := Evidence{Kind: "attribute", DN: w.s.DN(id), Attr: a.String(), Changed: w.changed(id, a)}
	e.Value = w.valueText(id, a)
	switch {
	case e.Value != "":
		e.Text = a.String() + " is " + e.Value
	case w.s.Why(id, a) != "":
		e.Text = a.String() + " could not be read: " + w.s.Why(id, a)
	default:
		e.Text = a.String() + " has no value"
	}
	return e
}

func (w *world) valueText(id forest.ID, a forest.Attr) string {
	s := w.s
	switch a.Syntax() {
	case forest.Link:
		ids, _ := s.Links(id, a)
		var out []string
		for _, t := range ids {
			out = append(out, s.DN(t))
		}
		return strings.Join(append(out, s.LinksOutside(id, a)...), "; ")
	case forest.Text:
		vals, _ := s.Strs(id, a)
		return strings.Join(vals, "; ")
	case forest.Octets:
		vals, _ := s.Strs(id, a)
		var out []string
		for _, v := range vals {
			if sid, err := secdesc.SIDFromBytes([]byte(v)); a == forest.SIDHistory && err == nil {
				out = append(out, sid.String())
				continue
			}
			out = append(out, fmt.Sprintf("%d bytes", len(v)))
		}
		return strings.Join(out, "; ")
	case forest.Descriptor:
		return ""
	}
	v, st := s.Int(id, a)
	if st != forest.Known {
		return ""
	}
	return w.numberText(id, a, v)
}

func (w *world) numberText(id forest.ID, a forest.Attr, v int64) string {
	switch {
	case a == forest.UserAccountControl:
		return "0x" + strings.ToUpper(strconv.FormatUint(uint64(v), 16)) + " (" + strings.Join(flagNames(v), ", ") + ")"
	case a.Syntax() == forest.Boolean:
		return strings.ToUpper(fmt.Sprint(v != 0))
	case a.Syntax() == forest.Time || isTimestamp[a]:
		if t, st := w.s.Time(id, a); st == forest.Known {
			return t.Format("2006-01-02 15:04:05Z")
		}
		return "never"
	}
	return fmt.Sprint(v)
}

// flagNames lists the flags that are set, lowest bit first.
func flagNames(v int64) []string {
	var out []string
	for _, f := range flagOrder {
		if v&f.bit != 0 {
			out = append(out, f.name)
		}
	}
	return out
}

// A namedBit is a bit of userAccountControl with its name.
type namedBit struct {
	bit  int64
	name string
}

// flagOrder has accountFlags ordered by bit.
var flagOrder = func() []namedBit {
	out := make([]namedBit, 0, len(accountFlags))
	for name, bit := range accountFlags {
		out = append(out, namedBit{bit, name})
	}
	slices.SortFunc(out, func(a, b namedBit) int { return cmp.Compare(a.bit, b.bit) })
	return out
}()

// chainEvidence gives the chain of a membership, or says that there is none.
func (w *world) chainEvidence(member, group forest.ID) []Evidence {
	e := Evidence{Kind: "member", DN: w.s.DN(member), Chain: w.chain(member, group)}
	if e.Chain == nil {
		e.Text = fmt.Sprintf("%s is not a member of %s", w.qualified(member), w.qualified(group))
		return []Evidence{e}
	}
	e.Text = fmt.Sprintf("%s is an effective member of %s: %s", w.qualified(member), w.qualified(group), strings.Join(e.Chain, " > "))
	steps := w.reach.Chain(member, group)
	last := steps[len(steps)-1]
	if c, ok := w.s.LastLinkChange(last.To, forest.Member, last.From); ok {
		e.Changed = &Changed{c.Time, c.Version, c.Server}
	}
	for _, s := range steps {
		if !s.Expires.IsZero() {
			e.Text += ", until " + s.Expires.Format("2006-01-02 15:04:05Z")
		}
	}
	return []Evidence{e}
}

func (w *world) directEvidence(member, group forest.ID) []Evidence {
	e := Evidence{Kind: "member", DN: w.s.DN(group), Attr: forest.Member.String(), Value: w.s.DN(member)}
	e.Text = fmt.Sprintf("%s is not a direct member of %s", w.qualified(member), w.qualified(group))
	for _, m := range w.reach.DirectMembers(group) {
		if m == member {
			e.Text = fmt.Sprintf("%s is a direct member of %s", w.qualified(member), w.qualified(group))
		}
	}
	return []Evidence{e}
}

func (w *world) aceEvidence(id forest.ID, list string, index int, e secdesc.ACE, prefix string) Evidence {
	trustee := w.trusteeName(e.SID)
	return Evidence{
		Kind: "ace", DN: w.s.DN(id), Text: prefix + trustee + ": " + w.aceWords(e),
		ACE: &ACERef{SDDL: e.SDDL(secdesc.SID{}), Index: index, List: list, Trustee: trustee},
	}
}

// aceWords says what an entry does, without its trustee.
func (w *world) aceWords(e secdesc.ACE) string {
	what := e.Type.String() + " " + e.Mask.String()
	if name := w.s.Schema().NameOf(e.ObjectType); name != "" && !e.ObjectType.IsZero() {
		what += " on " + name
	}
	return what
}
