package forest

import (
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
}

// A ClassDef is a class of the schema.
type ClassDef struct {
	Name      string // lDAPDisplayName
	GUID      secdesc.GUID
	SuperName string // subClassOf
	DefaultSD string // defaultSecurityDescriptor, SDDL
	Auxiliary []string
	Superiors []string
}

// An AttrDef is an attribute of the schema.
type AttrDef struct {
	Name        string // lDAPDisplayName
	GUID        secdesc.GUID
	PropertySet secdesc.GUID // attributeSecurityGUID, zero if none
	SearchFlags int64
	LinkID      int64
}

// Confidential reports whether reading needs CONTROL_ACCESS too ([MS-ADTS] 3.1.1.4.4).
func (a *AttrDef) Confidential() bool { return a.SearchFlags&0x80 != 0 }

// A RightDef is an extended right, a property set or a validated write.
type RightDef struct {
	Name          string // cn of the controlAccessRight object
	DisplayName   string
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
	out.classes[strings.ToLower(c.Name)] = c
	out.name(c.GUID, c.Name)
}

func (out *Schema) addAttr(s *Snapshot, id ID) {
	a := &AttrDef{GUID: guidValue(s, id, SchemaIDGUID), PropertySet: guidValue(s, id, AttributeSecurityGUID)}
	a.Name, _ = s.Str(id, LDAPDisplayName)
	a.SearchFlags, _ = s.Int(id, SearchFlags)
	a.LinkID, _ = s.Int(id, LinkID)
	out.attrs[strings.ToLower(a.Name)] = a
	out.name(a.GUID, a.Name)
}

func (out *Schema) addRight(s *Snapshot, id ID) {
	text, _ := s.Str(id, RightsGUID)
	g, err := secdesc.ParseGUID(text)
	if err != nil {
		return
	}
	r := &RightDef{Name: s.Name(id), GUID: g}
	r.DisplayName, _ = s.Str(id, DisplayName)
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

func bothStrs(s *Snapshot, id ID, a, b Attr) []string {
	x, _ := s.Strs(id, a)
	y, _ := s.Strs(id, b)
	return append(x, y...)
}
