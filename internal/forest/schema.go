package forest

import (
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// A Schema holds the classes, attributes and extended rights of a forest, as read
// from its schema and configuration partitions. GUIDs come from here and not from
// constants, because some (legacy LAPS) differ from forest to forest.
type Schema struct {
	classes map[string]*ClassDef // by lower-case lDAPDisplayName
	attrs   map[string]*AttrDef
	rights  map[secdesc.GUID]*RightDef
	byGUID  map[secdesc.GUID]string
	attrOf  map[secdesc.GUID]*AttrDef
	classOf map[secdesc.GUID]*ClassDef
}

// A ClassDef is a class of the schema.
type ClassDef struct {
	Name      string // lDAPDisplayName
	GUID      secdesc.GUID
	SuperName string // subClassOf
	DefaultSD string // defaultSecurityDescriptor, SDDL
	Auxiliary []string
	Superiors []string

	Category   ClassCategory
	SystemOnly bool     // no client may create objects of it
	Attributes []string // those that the class itself says its objects must or may have
}

// A ClassCategory is the objectClassCategory of a class ([MS-ADTS] 3.1.1.2.4.1).
type ClassCategory int64

// Categories of classes. The zero value is that of old definitions, which count
// as structural ones.
const (
	Class88 ClassCategory = iota
	StructuralClass
	AbstractClass
	AuxiliaryOnlyClass
)

// An AttrDef is an attribute of the schema.
type AttrDef struct {
	Name        string // lDAPDisplayName
	GUID        secdesc.GUID
	PropertySet secdesc.GUID // attributeSecurityGUID, zero if none
	SearchFlags int64
	LinkID      int64
	SystemOnly  bool // no client may write it
	Constructed bool // computed when it is read: nobody can write it
}

// IsBackLink reports whether the directory keeps the attribute by itself, as the
// other end of a link.
func (a *AttrDef) IsBackLink() bool { return a.LinkID%2 != 0 }

// Confidential reports whether reading needs CONTROL_ACCESS too ([MS-ADTS] 3.1.1.4.4).
func (a *AttrDef) Confidential() bool { return a.SearchFlags&0x80 != 0 }

// A RightDef is an extended right, a property set or a validated write.
type RightDef struct {
	Name          string // cn of the controlAccessRight object
	GUID          secdesc.GUID
	ValidAccesses int64 // 0x100 extended right, 0x30 property set, 0x8 validated write
	AppliesTo     []secdesc.GUID
}

// Class finds a class by lDAPDisplayName, ignoring case; nil if there is none.
func (s *Schema) Class(name string) *ClassDef { return s.classes[strings.ToLower(name)] }

// Attr finds an attribute by lDAPDisplayName, ignoring case; nil if there is none.
func (s *Schema) Attr(name string) *AttrDef { return s.attrs[strings.ToLower(name)] }

// Right finds an extended right, property set or validated write by its GUID.
func (s *Schema) Right(g secdesc.GUID) *RightDef { return s.rights[g] }

// RightNamed finds an extended right, property set or validated write by its name,
// ignoring case; nil if there is none.
func (s *Schema) RightNamed(name string) *RightDef {
	for _, r := range s.rights {
		if strings.EqualFold(r.Name, name) {
			return r
		}
	}
	return nil
}

// RightsFor returns the extended rights, property sets and validated writes that
// apply to objects of a class, by name.
func (s *Schema) RightsFor(class secdesc.GUID) []*RightDef {
	var out []*RightDef
	for _, r := range s.rights {
		if slices.Contains(r.AppliesTo, class) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *RightDef) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// AttrByGUID finds an attribute by its schemaIDGUID; nil if there is none.
func (s *Schema) AttrByGUID(g secdesc.GUID) *AttrDef { return s.attrOf[g] }

// ClassByGUID finds a class by its schemaIDGUID; nil if there is none.
func (s *Schema) ClassByGUID(g secdesc.GUID) *ClassDef { return s.classOf[g] }

// NameOf returns the name that a GUID in an access control entry has: class,
// attribute, property set or right; "" if the forest does not know it.
func (s *Schema) NameOf(g secdesc.GUID) string { return s.byGUID[g] }

// readSchema collects the definitions among the objects of s.
func readSchema(s *Snapshot) *Schema {
	out := &Schema{
		classes: map[string]*ClassDef{},
		attrs:   map[string]*AttrDef{},
		rights:  map[secdesc.GUID]*RightDef{},
		byGUID:  map[secdesc.GUID]string{},
		attrOf:  map[secdesc.GUID]*AttrDef{},
		classOf: map[secdesc.GUID]*ClassDef{},
	}
	for _, id := range s.With(LDAPDisplayName) {
		if dead, _ := s.Bool(id, IsDefunct); dead {
			continue // its name and GUID may belong to a successor ([MS-ADTS] 3.1.1.2.3)
		}
		switch {
		case s.IsA(id, "classSchema"):
			out.addClass(s, id)
		case s.IsA(id, "attributeSchema"):
			out.addAttr(s, id)
		}
	}
	for _, id := range s.With(RightsGUID) {
		out.addRight(s, id)
	}
	return out
}

func (out *Schema) addClass(s *Snapshot, id ID) {
	c := &ClassDef{GUID: guidValue(s, id, SchemaIDGUID)}
	c.Name, _ = s.Str(id, LDAPDisplayName)
	c.SuperName, _ = s.Str(id, SubClassOf)
	c.DefaultSD, _ = s.Str(id, DefaultSecurityDescriptor)
	c.Auxiliary = bothStrs(s, id, AuxiliaryClass, SystemAuxiliaryClass)
	c.Superiors = bothStrs(s, id, PossSuperiors, SystemPossSuperiors)
	category, _ := s.Int(id, ObjectClassCategory)
	c.Category = ClassCategory(category)
	c.SystemOnly, _ = s.Bool(id, SystemOnly)
	c.Attributes = append(bothStrs(s, id, MustContain, SystemMustContain), bothStrs(s, id, MayContain, SystemMayContain)...)
	out.classes[strings.ToLower(c.Name)] = c
	if !c.GUID.IsZero() {
		out.classOf[c.GUID] = c
	}
	out.name(c.GUID, c.Name)
}

func (out *Schema) addAttr(s *Snapshot, id ID) {
	a := &AttrDef{GUID: guidValue(s, id, SchemaIDGUID), PropertySet: guidValue(s, id, AttributeSecurityGUID)}
	a.Name, _ = s.Str(id, LDAPDisplayName)
	a.SearchFlags, _ = s.Int(id, SearchFlags)
	a.LinkID, _ = s.Int(id, LinkID)
	a.SystemOnly, _ = s.Bool(id, SystemOnly)
	flags, _ := s.Int(id, SystemFlags)
	a.Constructed = flags&flagAttrIsConstructed != 0
	out.attrs[strings.ToLower(a.Name)] = a
	if !a.GUID.IsZero() {
		out.attrOf[a.GUID] = a
	}
	out.name(a.GUID, a.Name)
}

func (out *Schema) addRight(s *Snapshot, id ID) {
	text, _ := s.Str(id, RightsGUID)
	g, err := secdesc.ParseGUID(text)
	if err != nil {
		return
	}
	r := &RightDef{Name: s.Name(id), GUID: g}
	r.ValidAccesses, _ = s.Int(id, ValidAccesses)
	applies, _ := s.Strs(id, AppliesTo)
	for _, t := range applies {
		if c, err := secdesc.ParseGUID(t); err == nil {
			r.AppliesTo = append(r.AppliesTo, c)
		}
	}
	out.rights[g] = r
	out.name(g, r.Name)
}

// name gives g a name unless it has one: validated writes share the GUID of their
// attribute. A definition whose GUID could not be read has none.
func (out *Schema) name(g secdesc.GUID, name string) {
	if _, taken := out.byGUID[g]; !taken && !g.IsZero() {
		out.byGUID[g] = name
	}
}

// guidValue returns an octet attribute that holds a GUID; zero if absent or malformed.
func guidValue(s *Snapshot, id ID, a Attr) secdesc.GUID {
	v, _ := s.Str(id, a)
	g, err := secdesc.GUIDFromBytes([]byte(v))
	if err != nil {
		return secdesc.GUID{}
	}
	return g
}

// flagAttrIsConstructed is a bit of systemFlags ([MS-ADTS] 2.2.10).
const flagAttrIsConstructed = 0x4

func bothStrs(s *Snapshot, id ID, a, b Attr) []string {
	x, _ := s.Strs(id, a)
	y, _ := s.Strs(id, b)
	return append(x, y...)
}
