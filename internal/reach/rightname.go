package reach

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A RightNames finds rights by the names that people give them. Make one with
// [NewRightNames]. It is safe for concurrent use.
type RightNames struct {
	schema  *forest.Schema
	attrs   []string
	classes []string
	rights  map[string]*forest.RightDef // by cn, display name and the name that Windows shows; in lower case
	shown   []string                    // as written: keys of rights
}

// shownNames are what the security dialog of Windows calls rights whose cn says
// something else ([MS-ADTS] 5.1.3.2.1).
var shownNames = map[string]string{
	"00299570-246d-11d0-a768-00aa006e0529": "Reset Password",
	"ab721a53-1e2f-11d0-9819-00aa0040529b": "Change Password",
	"1131f6aa-9c07-11d1-f79f-00c04fc2dcd2": "Replicating Directory Changes",
	"1131f6ad-9c07-11d1-f79f-00c04fc2dcd2": "Replicating Directory Changes All",
	"89e95b76-444d-4c62-991a-0facbeda640c": "Replicating Directory Changes In Filtered Set",
	"edacfd8f-ffb3-11d1-b41d-00a0c968f939": "Apply Group Policy",
	"68b1d179-0d15-4d4f-ab71-46152e79a7bc": "Allowed to Authenticate",
	"bf9679c0-0de6-11d0-a285-00aa003049e2": "Add/Remove self as member",
	"f3a64788-5306-11d1-a9c5-0000f80367c1": "Validated write to service principal name",
	"72e39547-7b18-11d1-adef-00c04fd8d5cd": "Validated write to DNS host name",
}

// plainRights are names of rights that need no schema.
var plainRights = map[string]Verb{
	"write-dacl": ChangeDACL, "write-dac": ChangeDACL, "writedacl": ChangeDACL, "writedac": ChangeDACL, "wd": ChangeDACL, "modify-permissions": ChangeDACL,
	"write-owner": ChangeOwner, "writeowner": ChangeOwner, "wo": ChangeOwner, "modify-owner": ChangeOwner, "take-ownership": ChangeOwner,
	"delete": DeleteObject, "sd": DeleteObject, "delete-tree": DeleteSubtree, "deletetree": DeleteSubtree, "dt": DeleteSubtree, "delete-subtree": DeleteSubtree,
	"read-control": ReadDescriptor, "readcontrol": ReadDescriptor, "rc": ReadDescriptor, "read-permissions": ReadDescriptor,
}

// NewRightNames collects the names of the forest of s.
func NewRightNames(s *forest.Snapshot) *RightNames {
	n := &RightNames{schema: s.Schema(), rights: map[string]*forest.RightDef{}}
	add := func(name string, def *forest.RightDef) {
		key := strings.ToLower(name)
		if name == "" || def == nil || n.rights[key] != nil {
			return
		}
		n.rights[key] = def
		n.shown = append(n.shown, name)
	}
	ids := s.With(forest.RightsGUID)
	guidOf := func(id forest.ID) secdesc.GUID {
		text, _ := s.Str(id, forest.RightsGUID)
		g, _ := secdesc.ParseGUID(text) // malformed is none
		return g
	}
	for _, id := range ids {
		add(s.Name(id), n.schema.Right(guidOf(id)))
	}
	for _, id := range ids {
		def := n.schema.Right(guidOf(id))
		display, _ := s.Str(id, forest.DisplayName)
		add(display, def)
		if def != nil {
			add(shownNames[def.GUID.String()], def)
		}
	}
	for _, id := range s.With(forest.LDAPDisplayName) {
		name, _ := s.Str(id, forest.LDAPDisplayName)
		switch {
		case n.schema.Attr(name) != nil:
			n.attrs = append(n.attrs, name)
		case n.schema.Class(name) != nil:
			n.classes = append(n.classes, name)
		}
	}
	slices.Sort(n.attrs)
	slices.Sort(n.classes)
	slices.Sort(n.shown)
	return n
}

// Find reads a right as people write it: a plain one (WRITE_DAC, write owner,
// delete), a verb with a name (write member, read ms-Mcs-AdmPwd, create user,
// delete-child computer), or an extended right or validated write by its cn, its
// display name or its GUID (Reset Password). Between words may stand spaces, colons,
// hyphens and underscores. An error names what is similar, or what the words of other
// tools (GenericAll, DCSync) stand for, or is ErrNoSchema.
func (n *RightNames) Find(text string) (Action, error) {
	a, err := n.find(text)
	if err == nil {
		return a, nil
	}
	if hint, ok := foreignRight(text); ok {
		return a, fmt.Errorf("right %q: no right has that name: %s", text, hint)
	}
	if len(n.attrs) == 0 || len(n.classes) == 0 || len(n.shown) == 0 {
		return a, fmt.Errorf("right %q: %w", text, ErrNoSchema)
	}
	return a, err
}

// ErrNoSchema reports the name of a right that was not found, and may be that of
// one, for the definitions of a kind are not in the snapshot.
var ErrNoSchema = errors.New("nothing of that name was found, and the schema or the extended rights of the forest were not read")

func (n *RightNames) find(text string) (Action, error) {
	text = strings.TrimSpace(text)
	plain := strings.ToLower(strings.NewReplacer("_", "-", " ", "-").Replace(text))
	if v, ok := plainRights[plain]; ok {
		return Action{Verb: v}, nil
	}
	if r := n.rightNamed(text); r != nil {
		return Action{verbOf(r), r.GUID}, nil
	}
	verbs := []Verb{DeleteChildOf, WriteAttribute, ValidatedWrite, ReadAttribute, CreateChildOf, UseRight}
	for _, v := range verbs {
		if name, ok := cutWord(text, v, "-_"); ok { // may as well be within the name of something else
			if g, ok := n.typeNamed(v, name); ok {
				return Action{v, g}, nil
			}
		}
	}
	for _, v := range verbs {
		name, ok := cutVerb(text, v)
		if !ok {
			continue
		}
		if g, ok := n.typeNamed(v, name); ok {
			return Action{v, g}, nil
		}
		return Action{}, fmt.Errorf("right %q: the schema of the forest has no %s %q%s", text, nounOf(v), name, didYouMean(name, n.namesFor(v)))
	}
	switch {
	case n.schema.Attr(text) != nil:
		return Action{}, fmt.Errorf("right %q: it is an attribute; say \"write %s\" or \"read %s\"", text, text, text)
	case n.schema.Class(text) != nil:
		return Action{}, fmt.Errorf("right %q: it is a class; say \"create %s\" or \"delete-child %s\"", text, text, text)
	}
	all := slices.Clone(n.shown)
	for name := range plainRights {
		all = append(all, name)
	}
	for _, a := range n.attrs {
		if len(a) > 3 { // everything short is like everything else that is
			all = append(all, "write "+a)
		}
	}
	return Action{}, fmt.Errorf("right %q: there is none of that name in this forest%s", text, didYouMean(text, all))
}

// cutVerb takes the verb off the front of text.
func cutVerb(text string, v Verb) (name string, ok bool) {
	return cutWord(text, v, ": ")
}

// cutWord takes the verb off the front of text, with one of the characters that may
// stand between words.
func cutWord(text string, v Verb, between string) (name string, ok bool) {
	for _, verb := range []string{v.String(), strings.ReplaceAll(v.String(), "-", " "), strings.ReplaceAll(v.String(), "-", "_")} {
		if len(text) > len(verb) && strings.EqualFold(text[:len(verb)], verb) && strings.ContainsRune(between, rune(text[len(verb)])) {
			return strings.TrimSpace(text[len(verb)+1:]), true
		}
	}
	return "", false
}

func (n *RightNames) rightNamed(name string) *forest.RightDef {
	if g, err := secdesc.ParseGUID(strings.Trim(name, "{}")); err == nil {
		return n.schema.Right(g)
	}
	name = strings.ToLower(name)
	for _, between := range []string{" ", "-"} {
		if r := n.rights[strings.NewReplacer("_", between, "-", between, " ", between).Replace(name)]; r != nil {
			return r
		}
	}
	return n.rights[name]
}

// verbOf is what is done with a right: property sets are written.
func verbOf(r *forest.RightDef) Verb {
	switch {
	case r.ValidAccesses&int64(secdesc.ControlAccess) != 0:
		return UseRight
	case r.ValidAccesses&int64(secdesc.SelfWrite) != 0:
		return ValidatedWrite
	}
	return WriteAttribute
}

func (n *RightNames) typeNamed(v Verb, name string) (secdesc.GUID, bool) {
	if g, ok := typeNamed(n.schema, v, strings.Trim(name, "{}")); ok {
		return g, true
	}
	r := n.rightNamed(name)
	if r == nil {
		return secdesc.GUID{}, false
	}
	sets := v == WriteAttribute || v == ReadAttribute
	if sets == (verbOf(r) == WriteAttribute) && v != CreateChildOf && v != DeleteChildOf {
		return r.GUID, true
	}
	return secdesc.GUID{}, false
}

// nounOf says what a verb is about.
func nounOf(v Verb) string {
	switch v {
	case WriteAttribute, ReadAttribute:
		return "attribute or property set"
	case CreateChildOf, DeleteChildOf:
		return "class"
	case ValidatedWrite:
		return "validated write"
	}
	return "extended right"
}

func (n *RightNames) namesFor(v Verb) []string {
	switch v {
	case WriteAttribute, ReadAttribute:
		return n.attrs
	case CreateChildOf, DeleteChildOf:
		return n.classes
	}
	return n.shown
}

// Names lists what Find understands, for completion: plain rights, extended rights,
// validated writes and property sets, and verbs with the names that begin as prefix.
func (n *RightNames) Names(prefix string) []string {
	out := []string{"WRITE_DAC", "WRITE_OWNER", "DELETE", "delete-tree", "read-permissions"}
	for _, v := range []Verb{WriteAttribute, ReadAttribute, CreateChildOf, DeleteChildOf} {
		if name, ok := cutVerb(prefix, v); ok || strings.EqualFold(prefix, v.String()+":") {
			for _, x := range n.namesFor(v) {
				if len(x) >= len(name) && strings.EqualFold(x[:len(name)], name) {
					out = append(out, v.String()+":"+x)
				}
			}
		}
	}
	return append(out, n.shown...)
}

// didYouMean names up to three of the names that are most like what was written.
func didYouMean(text string, names []string) string {
	type near struct {
		name string
		far  int
	}
	var list []near
	low := strings.ToLower(text)
	for _, name := range names {
		far := distance(low, strings.ToLower(name))
		if strings.Contains(strings.ToLower(name), low) && len(low) > 2 {
			far = min(far, 2)
		}
		if far <= max(2, len(low)/3) {
			list = append(list, near{name, far})
		}
	}
	if len(list) == 0 {
		return ""
	}
	slices.SortFunc(list, func(a, b near) int {
		return cmp.Or(cmp.Compare(a.far, b.far), cmp.Compare(len(a.name), len(b.name)), strings.Compare(a.name, b.name))
	})
	var out []string
	for _, x := range list[:min(3, len(list))] {
		out = append(out, x.name)
	}
	return "; similar: " + strings.Join(out, ", ")
}

// distance is how many letters must be changed, added or taken away to make b of a;
// anything beyond 16 counts as 16 or more.
func distance(a, b string) int {
	const most = 64
	if len(a) > most || len(b) > most || len(a)-len(b) > 16 || len(b)-len(a) > 16 {
		return 16 + most
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			next := diagonal
			if a[i] != b[j] {
				next = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}

// OriginOf returns the object from which the entry with that index of the DACL of id
// is inherited; ok is false if it is the object's own, or not known.
func OriginOf(s *forest.Snapshot, id forest.ID, index int) (origin forest.ID, ok bool) {
	var chain []secdesc.Link
	var at []forest.ID
	for o := id; o != forest.None; o = s.Parent(o) {
		d, st := s.Descriptor(o)
		if st != forest.Known {
			break
		}
		link := secdesc.Link{Descriptor: d}
		if c := s.Schema().Class(s.Class(o)); c != nil {
			link.Classes = []secdesc.GUID{c.GUID}
		}
		chain, at = append(chain, link), append(at, o)
	}
	level, _, ok := secdesc.Origin(chain, index)
	if !ok || level == 0 {
		return forest.None, false
	}
	return at[level], true
}
