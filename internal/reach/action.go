package reach

import (
	"fmt"
	"strings"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A Verb is a kind of things that can be done to an object.
type Verb uint8

// Verbs. The zero value is none.
const (
	_              Verb = iota
	WriteAttribute      // write any value of the attribute Type
	ValidatedWrite      // write what the validated write Type admits ([MS-ADTS] 3.1.1.5.3.1)
	ReadAttribute       // read the attribute Type; of a confidential one, too
	CreateChildOf       // create an object of the class Type below it
	DeleteChildOf       // delete an object of the class Type below it
	UseRight            // the extended right Type
	ChangeDACL
	ChangeOwner
	DeleteObject
	DeleteSubtree
	ReadDescriptor
	numVerbs
)

// verbs are what verbs are called, and the access that they need.
var verbs = [numVerbs]struct {
	name  string
	mask  secdesc.Mask
	typed bool // Action.Type says what
}{
	WriteAttribute: {"write", secdesc.WriteProperty, true},
	ValidatedWrite: {"validated", secdesc.SelfWrite, true},
	ReadAttribute:  {"read", secdesc.ReadProperty, true},
	CreateChildOf:  {"create", secdesc.CreateChild, true},
	DeleteChildOf:  {"delete-child", secdesc.DeleteChild, true},
	UseRight:       {"use", secdesc.ControlAccess, true},
	ChangeDACL:     {"write-dacl", secdesc.WriteDAC, false},
	ChangeOwner:    {"write-owner", secdesc.WriteOwner, false},
	DeleteObject:   {"delete", secdesc.Delete, false},
	DeleteSubtree:  {"delete-tree", secdesc.DeleteTree, false},
	ReadDescriptor: {"read-permissions", secdesc.ReadControl, false},
}

// String returns the name that [ParseAction] understands.
func (v Verb) String() string {
	if v >= numVerbs {
		return ""
	}
	return verbs[v].name
}

// An Action is something that can be done to an object.
type Action struct {
	Verb Verb
	Type secdesc.GUID // attribute, class or right; zero for verbs that need none
}

func (a Action) mask() secdesc.Mask {
	if a.Verb >= numVerbs {
		return 0
	}
	return verbs[a.Verb].mask
}

// ParseAction reads an action as people write it: a verb such as write-dacl, or a
// verb, a colon and the name that the forest's schema has for an attribute, class
// or right, or its GUID: write:member, create:user,
// use:User-Force-Change-Password, validated:Self-Membership, read:ms-Mcs-AdmPwd.
func ParseAction(schema *forest.Schema, text string) (Action, error) {
	verb, name, typed := strings.Cut(text, ":")
	for v := range numVerbs {
		if v.String() == "" || !strings.EqualFold(v.String(), verb) {
			continue
		}
		if verbs[v].typed != typed {
			return Action{}, fmt.Errorf("right %q: %s takes %s", text, v, map[bool]string{true: "a colon and a name", false: "no name"}[verbs[v].typed])
		}
		if !typed {
			return Action{Verb: v}, nil
		}
		g, ok := typeNamed(schema, v, name)
		if !ok {
			return Action{}, fmt.Errorf("right %q: the schema of the forest has no %q for %s", text, name, v)
		}
		return Action{v, g}, nil
	}
	return Action{}, fmt.Errorf("right %q: not a right that is known; write one like write:member, create:user, use:User-Force-Change-Password, write-dacl", text)
}

// typeNamed finds what a verb is about.
func typeNamed(schema *forest.Schema, v Verb, name string) (secdesc.GUID, bool) {
	if g, err := secdesc.ParseGUID(name); err == nil {
		return g, true
	}
	switch v {
	case WriteAttribute, ReadAttribute:
		if a := schema.Attr(name); a != nil {
			return a.GUID, true
		}
	case CreateChildOf, DeleteChildOf:
		if c := schema.Class(name); c != nil {
			return c.GUID, true
		}
	default:
		if r := schema.RightNamed(name); r != nil {
			return r.GUID, true
		}
	}
	return secdesc.GUID{}, false
}

// kindOf returns what the schema says of the class of an object.
func (e *Effective) kindOf(object forest.ID) *classPowers {
	i := e.x.s.ClassIndex(object)
	e.mu.Lock()
	defer e.mu.Unlock()
	if k, ok := e.classes[i]; ok {
		return k
	}
	k := newClassPowers(e.x.s.Schema(), e.x.s.Classes(object))
	e.classes[i] = k
	return k
}

func newClassPowers(schema *forest.Schema, classes []string) *classPowers {
	k := &classPowers{barred: map[secdesc.GUID]string{}}
	if len(classes) == 0 {
		return k
	}
	class := classes[len(classes)-1]
	if c := schema.Class(class); c != nil {
		k.guid = c.GUID
	}
	for _, a := range schema.AllowedAttributes(classes) {
		if why := barOf(a); why != "" {
			k.barred[a.GUID] = why
		} else {
			k.attributes = append(k.attributes, a)
		}
	}
	k.children = schema.AllowedChildren(class)
	k.rights = schema.RightsFor(k.guid)
	return k
}

// barOf says why no right lets a client write an attribute ([MS-ADTS] 3.1.1.5.3.2);
// "" if one does.
func barOf(a *forest.AttrDef) string {
	switch {
	case a.Constructed:
		return a.Name + " is computed when it is read"
	case a.IsBackLink():
		return a.Name + " is kept by the directory: it is the other end of a link"
	case a.SystemOnly && !writtenByClients(a):
		return a.Name + " is written by the system only"
	}
	return ""
}

// writtenByClients reports whether clients write an attribute although the schema
// says that only the system does: the exceptions of [MS-ADTS] 3.1.1.5.3.2, and the
// attribute of resource-based delegation, which is published as system-only
// ([MS-ADA2]) and yet is how Windows' own tools (Set-ADComputer
// -PrincipalsAllowedToDelegateToAccount) set it, with the rights of who runs them.
func writtenByClients(a *forest.AttrDef) bool {
	switch a.Name {
	case "msDS-AdditionalDnsHostName", "wellKnownObjects", "msDS-AllowedToActOnBehalfOfOtherIdentity":
		return true
	}
	return false
}

// bar says why an action is impossible on objects of the class; "" if it is not
// known to be.
func (k *classPowers) bar(schema *forest.Schema, act Action) string {
	switch act.Verb {
	case WriteAttribute:
		return k.barred[act.Type]
	case CreateChildOf:
		for _, c := range k.children {
			if c.GUID == act.Type {
				return ""
			}
		}
		if c := schema.ClassByGUID(act.Type); c != nil && len(schema.PossibleSuperiors(c)) > 0 {
			return "objects of class " + c.Name + " cannot be created there"
		}
	}
	return ""
}

// request returns the access check for an action ([MS-ADTS] 5.1.3.3.3 to 5.1.3.3.5).
// The path in the tree of types begins at the class of the object, for children at
// theirs; rights that are checked by their GUID alone have no class.
func (e *Effective) request(k *classPowers, act Action) secdesc.Request {
	r := secdesc.Request{Mask: act.mask()}
	switch act.Verb {
	case WriteAttribute, ReadAttribute:
		r.Types = []secdesc.GUID{k.guid}
		if a := e.x.s.Schema().AttrByGUID(act.Type); a != nil {
			r.Types = append(r.Types, typesOf(a)...)
			if a.Confidential() && act.Verb == ReadAttribute {
				r.Mask |= secdesc.ControlAccess
			}
		} else {
			r.Types = append(r.Types, act.Type)
		}
	case CreateChildOf, DeleteChildOf, UseRight, ValidatedWrite:
		r.Types = []secdesc.GUID{act.Type}
	default:
		r.Types = []secdesc.GUID{k.guid}
	}
	return r
}
