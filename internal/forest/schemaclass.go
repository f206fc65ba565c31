package forest

import (
	"maps"
	"slices"
	"strings"
)

// SuperClasses returns the classes that a class derives from, nearest first, up to
// top: SUPCLASSES of [MS-ADTS] 3.1.1.4.2. Classes that the schema does not have
// are left out.
func (s *Schema) SuperClasses(class string) []*ClassDef {
	var out []*ClassDef
	c := s.Class(class)
	for c != nil {
		up := s.Class(c.SuperName)
		if up == nil || up == c || slices.Contains(out, up) {
			break
		}
		out = append(out, up)
		c = up
	}
	return out
}

// AllowedAttributes returns the attributes that objects with these values of
// objectClass can have, by name: the constructed attribute allowedAttributes of
// [MS-ADTS] 3.1.1.4.5.6. It is empty where the schema was read without what
// classes contain: see [Snapshot.Collected] of [MayContain].
func (s *Schema) AllowedAttributes(classes []string) []*AttrDef {
	seen := map[*ClassDef]bool{}
	found := map[*AttrDef]bool{}
	for _, c := range classes {
		s.contained(s.Class(c), seen, found)
	}
	return slices.SortedFunc(maps.Keys(found), func(a, b *AttrDef) int { return strings.Compare(a.Name, b.Name) })
}

// contained collects CLASSATTS of [MS-ADTS] 3.1.1.4.2: the attributes of a class,
// of those it derives from and of their auxiliary classes.
func (s *Schema) contained(c *ClassDef, seen map[*ClassDef]bool, found map[*AttrDef]bool) {
	if c == nil || seen[c] {
		return
	}
	seen[c] = true
	for _, name := range c.Attributes {
		if a := s.Attr(name); a != nil {
			found[a] = true
		}
	}
	s.contained(s.Class(c.SuperName), seen, found)
	for _, aux := range c.Auxiliary {
		s.contained(s.Class(aux), seen, found)
	}
}

// PossibleSuperiors returns the names of the classes below whose objects, or those of
// classes that derive from them, objects of class c can be: its own and those of
// the classes that it derives from ([MS-ADTS] 3.1.1.4.2, POSSSUP_NOSUBCLASSES). It is
// empty where the schema was read without them: every class has some.
func (s *Schema) PossibleSuperiors(c *ClassDef) []string {
	out := slices.Clone(c.Superiors)
	for _, up := range s.SuperClasses(c.Name) {
		out = append(out, up.Superiors...)
	}
	return out
}

// AllowedChildren returns the classes of which objects can be created below an
// object of a class, by name: the constructed attribute allowedChildClasses of
// [MS-ADTS] 3.1.1.4.5.3 for an object whose most specific class it is. Abstract and
// auxiliary classes are not among them, nor those that only the system creates.
func (s *Schema) AllowedChildren(class string) []*ClassDef {
	own := s.Class(class)
	if own == nil {
		return nil
	}
	holders := map[*ClassDef]bool{own: true}
	for _, c := range s.SuperClasses(class) {
		holders[c] = true
	}
	var out []*ClassDef
	for _, c := range s.classes {
		if c.SystemOnly || c.Category == AbstractClass || c.Category == AuxiliaryOnlyClass {
			continue
		}
		if slices.ContainsFunc(s.PossibleSuperiors(c), func(name string) bool { return holders[s.Class(name)] }) {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *ClassDef) int { return strings.Compare(a.Name, b.Name) })
	return out
}
