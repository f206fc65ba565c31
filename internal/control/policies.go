package control

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
)

// policyFacts is what is asked of one group policy object by itself.
type policyFacts struct {
	policy     *gpo.Policy
	rights     map[string]gpo.Item // by name, of GptTmpl.inf
	unread     string              // why rights may be incomplete
	unsearched string              // why passwords may be incomplete
	passwords  []Evidence
	links      []link
	unseen     string // why files of the policy may be damaged without its being known
}

// readPolicies collects the facts of every policy in the order of the engine.
func (w *world) readPolicies() []*policyFacts {
	links := w.policyLinks()
	var out []*policyFacts
	for _, p := range w.gpo.Policies() {
		f := &policyFacts{policy: p, rights: map[string]gpo.Item{}}
		if p.ID != forest.None {
			f.links = links[p.ID]
		}
		f.readTemplate(w)
		f.readPasswords(w)
		f.findUnseen(w)
		out = append(out, f)
	}
	return out
}

// policyLinks lists who links each policy.
func (w *world) policyLinks() map[forest.ID][]link {
	out := map[forest.ID][]link{}
	for _, c := range w.s.With(forest.GPLink) {
		text, _ := w.s.Str(c, forest.GPLink)
		entries, err := gpo.ParseLinks(text)
		if err != nil {
			continue // linkGaps names it
		}
		for _, e := range entries {
			if p := w.s.Lookup(e.DN); p != forest.None {
				out[p] = append(out[p], link{container: c, enabled: e.Flags&gpo.LinkFlagDisabled == 0, enforced: e.Flags&gpo.LinkFlagEnforced != 0})
			}
		}
	}
	return out
}

// findLinkGaps says why links of policies may be missing.
func (w *world) findLinkGaps() []string {
	var out []string
	if !w.s.Collected(forest.GPLink) {
		out = append(out, "gPLink is not part of this snapshot")
	}
	if flawed := w.s.Flawed(forest.GPLink); len(flawed) > 0 {
		out = append(out, "gPLink of "+counted(len(flawed), w.s.DN(flawed[0]), "containers")+": "+w.s.Why(flawed[0], forest.GPLink))
	}
	for _, c := range w.s.With(forest.GPLink) {
		text, _ := w.s.Str(c, forest.GPLink)
		if _, err := gpo.ParseLinks(text); err != nil {
			out = append(out, "the links of "+w.s.DN(c)+": "+err.Error())
		}
	}
	for _, texts := range w.listing().accounts {
		out = append(out, texts...)
	}
	return append(out, w.listing().forest...)
}

func (f *policyFacts) readTemplate(w *world) {
	file := w.s.File(f.policy.Domain, f.policy.Folder+"/Machine/Microsoft/Windows NT/SecEdit/GptTmpl.inf")
	switch file.State {
	case forest.Absent:
		return
	case forest.Unreadable:
		f.unread = file.Reason
		return
	}
	t, err := gpo.ParseTemplate(file.Data)
	if err != nil {
		f.unread = err.Error()
		return
	}
	for _, it := range t.Items("Privilege Rights") {
		f.rights[strings.ToLower(it.Key)] = it
	}
}

// partsOfPolicy are the files of a policy that the program understands.
var partsOfPolicy = []string{
	"GPT.INI", "Machine/Microsoft/Windows NT/SecEdit/GptTmpl.inf", "Machine/Registry.pol",
	"Machine/Preferences/Groups/Groups.xml", "Machine/Microsoft/Windows NT/Audit/audit.csv",
}

// findUnseen says which part of the policy could not be read.
func (f *policyFacts) findUnseen(w *world) {
	for _, p := range f.policy.Problems {
		if p.Kind == gpo.Unseen {
			f.unseen = p.Text
			return
		}
	}
	for _, part := range partsOfPolicy {
		if file := w.s.File(f.policy.Domain, f.policy.Folder+"/"+part); file.State == forest.Unreadable {
			f.unseen = part + " of " + f.policy.String() + ": " + file.Reason
			return
		}
	}
}

// readPasswords looks for cpassword in the preference files of the policy.
func (f *policyFacts) readPasswords(w *world) {
	if gpt := w.s.File(f.policy.Domain, f.policy.Folder+"/GPT.INI"); gpt.State == forest.Unreadable {
		f.unsearched = gpt.Reason
	}
	prefix := strings.ToLower(f.policy.Folder) + "/"
	files := w.s.Files()
	for i := range files {
		file := &files[i]
		if !strings.EqualFold(file.Domain, f.policy.Domain) || !strings.HasPrefix(strings.ToLower(file.Path), prefix) || !strings.HasSuffix(strings.ToLower(file.Path), ".xml") {
			continue
		}
		if file.State == forest.Unreadable {
			f.unsearched = file.Path + ": " + file.Reason
			continue
		}
		for _, line := range passwordLines(file.Data) {
			f.passwords = append(f.passwords, Evidence{
				Kind: "file", Policy: f.policy.String(), File: file.Path, Line: line,
				Text: "a cpassword attribute with a value",
			})
		}
	}
}

// passwordLines returns the lines of elements with a non-empty cpassword. Values
// are not kept. A file that is not XML is searched as text, one in UTF-16 as what it
// says.
func passwordLines(data []byte) []int {
	if text, err := gpo.Text(data); err == nil {
		data = []byte(text)
	} else {
		data = bytes.ReplaceAll(data, []byte{0}, nil) // UTF-16 that was cut short
	}
	if !bytes.Contains(bytes.ToLower(data), []byte("cpassword")) {
		return nil
	}
	var out []int
	dec := xml.NewDecoder(bytes.NewReader(data))
	dec.Strict = false
	dec.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	for {
		line, _ := dec.InputPos()
		tok, err := dec.Token()
		if err != nil {
			if !errors.Is(err, io.EOF) && len(out) == 0 {
				return []int{1}
			}
			return out
		}
		if start, ok := tok.(xml.StartElement); ok {
			for _, a := range start.Attr {
				if strings.EqualFold(a.Name.Local, "cpassword") && a.Value != "" {
					out = append(out, line)
				}
			}
		}
	}
}

func (w *world) policyOf(id forest.ID) *policyFacts {
	for _, f := range w.policies() {
		if f.policy.ID == id {
			return f
		}
	}
	return nil
}

func onPolicy(name string, args []*cel.Type, out *cel.Type, doc string, f func(o object, p *policyFacts, args []ref.Val) ref.Val) method {
	return onObject(name, args, out, doc, func(o object, args []ref.Val) ref.Val {
		p := o.ev.w.policyOf(o.id)
		if p == nil {
			return types.NewErr("%s is no policy", o.ev.w.s.DN(o.id))
		}
		return f(o, p, args)
	})
}

func policyMethods() []method {
	return []method{
		onPolicy("definesRight", one(strList), cel.BoolType, "whether GptTmpl.inf of the policy defines one of the user rights", func(o object, p *policyFacts, args []ref.Val) ref.Val {
			for _, r := range texts(args[0]) {
				if it, ok := p.rights[strings.ToLower(r)]; ok {
					o.ev.sawItem(p, it)
					return types.True
				}
			}
			if p.unread != "" {
				return o.ev.unknown("file", "GptTmpl.inf of "+p.policy.String()+": "+p.unread)
			}
			return types.False
		}),
		onPolicy("emptiesRight", one(cel.StringType), cel.BoolType, "whether the policy defines a user right with nobody in it", func(o object, p *policyFacts, args []ref.Val) ref.Val {
			it, ok := p.rights[strings.ToLower(str(args[0]))]
			if !ok && p.unread != "" {
				return o.ev.unknown("file", "GptTmpl.inf of "+p.policy.String()+": "+p.unread)
			}
			if !ok || len(gpo.SplitList(it.Value)) > 0 {
				return types.False
			}
			o.ev.sawItem(p, it)
			return types.True
		}),
		onPolicy("versionsAgree", none(), cel.BoolType, "whether GPT.INI and versionNumber are equal", versionsAgree),
		onPolicy("problems", none(), strList, "what is missing or malformed in the files of the policy", func(o object, p *policyFacts, _ []ref.Val) ref.Val {
			var out []string
			for _, t := range p.policy.Problems {
				if t.Kind == gpo.Damaged { // the other kinds have functions of their own
					out = append(out, t.Text)
					o.ev.saw(Evidence{Kind: "file", Policy: p.policy.String(), File: p.policy.Folder, Text: t.Text})
				}
			}
			if len(out) == 0 && p.unseen != "" {
				return o.ev.unknown("file", p.unseen)
			}
			return types.NewStringList(types.DefaultTypeAdapter, out)
		}),
		onPolicy("passwords", none(), strList, "files and lines with a cpassword", func(o object, p *policyFacts, _ []ref.Val) ref.Val {
			var out []ref.Val
			for _, e := range p.passwords {
				o.ev.saw(e)
				out = append(out, types.String(fmt.Sprintf("%s:%d", e.File, e.Line)))
			}
			if p.unsearched != "" && len(out) == 0 {
				return o.ev.unknown("file", p.unsearched)
			}
			return types.NewRefValList(types.DefaultTypeAdapter, out)
		}),
		onPolicy("links", none(), cel.ListType(linkType), "where the policy is linked", func(o object, p *policyFacts, _ []ref.Val) ref.Val {
			out := make([]ref.Val, 0, len(p.links))
			for _, l := range p.links {
				l.base = o.base
				o.ev.saw(Evidence{
					Kind: "link", DN: o.ev.w.s.DN(l.container), Policy: p.policy.String(),
					Text: map[bool]string{true: "linked", false: "linked, but the link is disabled"}[l.enabled],
				})
				out = append(out, l)
			}
			for _, why := range o.ev.w.linkGaps() {
				out = append(out, link{base: o.base, container: forest.None, why: why})
			}
			return types.NewRefValList(types.DefaultTypeAdapter, out)
		}),
		onPolicy("computerHalfEnabled", none(), cel.BoolType, "whether flags leave the computer half on", func(o object, _ *policyFacts, _ []ref.Val) ref.Val {
			o.ev.sawAttr(o.id, forest.Flags)
			v, st := o.ev.w.s.Int(o.id, forest.Flags)
			if st == forest.Unreadable {
				return o.ev.unreadable(o.id, forest.Flags)
			}
			return types.Bool(v&2 == 0)
		}),
		{linkType, "enabled", none(), cel.BoolType, "whether the link is on", func(args []ref.Val) ref.Val {
			l := args[0].(link)
			if l.why != "" {
				return l.ev.unknown("attribute", l.why)
			}
			return types.Bool(l.enabled)
		}},
		{linkType, "target", none(), objectType, "the container that links the policy", func(args []ref.Val) ref.Val {
			l := args[0].(link)
			if l.why != "" {
				return l.ev.unknown("attribute", l.why)
			}
			return l.ev.object(l.container)
		}},
	}
}

func versionsAgree(o object, p *policyFacts, _ []ref.Val) ref.Val {
	file := o.ev.w.s.File(p.policy.Domain, p.policy.Folder+"/GPT.INI")
	if file.State == forest.Unreadable {
		return o.ev.unknown("file", "GPT.INI of "+p.policy.String()+": "+file.Reason)
	}
	o.ev.sawAttr(o.id, forest.VersionNumber)
	dir, st := o.ev.w.s.Int(o.id, forest.VersionNumber)
	if st == forest.Unreadable {
		return o.ev.unreadable(o.id, forest.VersionNumber)
	}
	if file.State == forest.Absent {
		return types.Bool(true) // control L-02-well-formed reports the missing file
	}
	v, err := gpo.ParseGPTINI(file.Data)
	if err != nil {
		return types.Bool(true) // reported as malformed
	}
	o.ev.saw(Evidence{Kind: "file", Policy: p.policy.String(), File: file.Path, Value: fmt.Sprint(uint32(v)), Text: "Version of GPT.INI"})
	return types.Bool(int64(uint32(v)) == dir)
}

// sawItem records a line of GptTmpl.inf.
func (ev *evaluation) sawItem(p *policyFacts, it gpo.Item) {
	ev.saw(Evidence{
		Kind: "policy", Policy: p.policy.String(), File: p.policy.Folder + "/Machine/Microsoft/Windows NT/SecEdit/GptTmpl.inf",
		Line: it.Line, Attr: it.Key, Value: it.Value, Text: it.Key + " is set by the policy",
	})
}

// sawSetting records a resultant with winner and losers.
func (ev *evaluation) sawSetting(what string, s gpo.Setting) {
	switch s.State {
	case gpo.NotDefined:
		ev.saw(Evidence{Kind: "policy", Attr: s.Name, Text: what + " is not defined by any policy"})
	case gpo.Defined:
		e := sourceEvidence(s.Winner)
		e.Attr, e.Value, e.Text = s.Name, s.Value, what+" is decided by this policy"
		if len(s.Principals) == 0 && s.Value == "" {
			e.Text += ", with nobody in it"
		}
		ev.saw(e)
	default:
		ev.saw(Evidence{Kind: "policy", Attr: s.Name, Text: what + " is not decided: " + reasons(s.Reasons)})
	}
	for _, l := range s.Losers {
		e := sourceEvidence(l.Source)
		e.Attr, e.Value, e.Text = s.Name, l.Value, what+" of this policy is overridden: "+l.Why
		ev.saw(e)
	}
}

func sourceEvidence(src gpo.Source) Evidence {
	e := Evidence{Kind: "policy", DN: src.Link.DN, File: src.File, Line: src.Line}
	if src.Policy != nil {
		e.Policy = src.Policy.String()
	}
	return e
}

func (ev *evaluation) sawMember(g gpo.LocalGroup, m gpo.Member) {
	e := sourceEvidence(m.Source)
	e.Value, e.Text = m.Raw, "member of local "+g.Group.Raw
	ev.saw(e)
}

// forestMethods are the questions about the forest as a whole.
func forestMethods() []method {
	on := func(name string, args []*cel.Type, out *cel.Type, doc string, f func(ev *evaluation, args []ref.Val) ref.Val) method {
		return method{forestType, name, args, out, doc, func(args []ref.Val) ref.Val {
			return f(args[0].(forestVal).ev, args[1:])
		}}
	}
	return []method{
		on("evidence", one(cel.StringType), cel.BoolType, "always unknown: evidence that a snapshot does not hold", func(ev *evaluation, args []ref.Val) ref.Val {
			return ev.unknown(str(args[0]), "")
		}),
		on("heuristic", one(cel.IntType), cel.StringType, "a character of dSHeuristics, counted from 1; 0 if it is shorter", func(ev *evaluation, args []ref.Val) ref.Val {
			char, id, st := ev.w.heuristic(int(args[0].(types.Int)))
			if st != forest.Known {
				return ev.unknown("attribute", "dSHeuristics of the directory service was not read")
			}
			ev.sawAttr(id, forest.DSHeuristics)
			return types.String(char)
		}),
		on("hasSchema", one(strList), cel.BoolType, "whether the schema has one of the attributes", func(ev *evaluation, args []ref.Val) ref.Val {
			if ev.w.s.Schema().Attr("objectClass") == nil && ev.w.s.Schema().Attr("member") == nil {
				return ev.unknown("attribute", "the schema is not part of this snapshot")
			}
			return types.Bool(slices.ContainsFunc(texts(args[0]), func(n string) bool { return ev.w.s.Schema().Attr(n) != nil }))
		}),
		on("managementAccounts", none(), objList, "management accounts of appendix I: whom AdminSDHolder lets write members", func(ev *evaluation, _ []ref.Val) ref.Val {
			m := ev.w.management()
			if why := slices.Concat(m.unread...); len(why) > 0 && len(m.accounts) == 0 {
				return ev.unknown("dacl", why[0])
			}
			names := make([]string, len(m.accounts))
			for i, id := range m.accounts {
				names[i] = ev.w.qualified(id)
			}
			ev.searched = &Evidence{Kind: "member", Text: fmt.Sprintf("AdminSDHolder lets %d management accounts write members: %s", len(names), strings.Join(names, ", "))}
			return ev.objects(m.accounts)
		}),
		on("standingAdministrators", none(), objList, "enabled accounts that stand in Enterprise Admins, Domain Admins or Administrators", func(ev *evaluation, _ []ref.Val) ref.Val {
			return ev.standingAdministrators()
		}),
		on("standingAdministratorsRead", none(), cel.BoolType, "true if nobody can be missing from standingAdministrators, else unknown", func(ev *evaluation, _ []ref.Val) ref.Val {
			return ev.standingAdministratorsRead()
		}),
	}
}

// fullPowerNames are the groups that are one level of power.
func fullPowerNames() []string {
	return []string{"enterprise-admins", "domain-admins", "administrators"}
}

// fullPower lists the groups that are one level of power in all domains.
func (w *world) fullPower() []forest.ID {
	var out []forest.ID
	for d := range w.domains {
		for _, name := range fullPowerNames() {
			if g := w.principalID(d, name); g != forest.None && (!forestWide[name] || d == w.root) {
				out = append(out, g)
			}
		}
	}
	return out
}

func (ev *evaluation) standingAdministratorsRead() ref.Val {
	w := ev.w
	for d := range w.domains {
		for _, name := range fullPowerNames() {
			if gaps := w.principalGaps(name, d); len(gaps) > 0 {
				return ev.unknown("members", gaps[0])
			}
		}
	}
	for _, g := range w.fullPower() {
		if gaps := w.gaps(g); len(gaps) > 0 {
			return ev.unknown("members", gaps[0])
		}
		for _, m := range w.reach.Standing(g) {
			if _, st := w.s.Int(m, forest.UserAccountControl); st == forest.Unreadable && w.kind(m) != "foreign" {
				return ev.unreadable(m, forest.UserAccountControl)
			}
		}
	}
	for _, d := range w.domains {
		if d.Head == forest.None {
			return ev.unknown("members", "the domain "+d.DNS+" is not part of the snapshot")
		}
	}
	return types.True
}

func (ev *evaluation) standingAdministrators() ref.Val {
	w := ev.w
	var ids []forest.ID
	for _, g := range w.fullPower() {
		n := 0
		for _, m := range w.reach.Standing(g) {
			if uac, st := w.s.Int(m, forest.UserAccountControl); st == forest.Known && uac&2 == 0 {
				ids = append(ids, m)
				n++
			}
		}
		ev.saw(Evidence{Kind: "member", DN: w.s.DN(g), Value: fmt.Sprint(n), Text: fmt.Sprintf("enabled accounts that stand in %s: %d", w.qualified(g), n)})
	}
	slices.Sort(ids)
	return ev.objects(slices.Compact(ids))
}
