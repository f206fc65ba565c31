package forest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// classSchema makes the definition of a class; more are further attributes.
func classSchema(name, super string, category int, more ...string) Entry {
	return entry("CN="+name+",CN=Schema,CN=Configuration,DC=a", append([]string{
		"objectClass", "classSchema", "lDAPDisplayName", name, "subClassOf", super, "objectClassCategory", fmt.Sprint(category),
	}, more...)...)
}

func TestSchemaClasses(t *testing.T) {
	guid := secdesc.MustGUID("bf9679c0-0de6-11d0-a285-00aa003049e2")
	entries := []Entry{
		classSchema("top", "top", 2, "systemMustContain", "objectClass", "systemMayContain", "memberOf"),
		classSchema("folder", "top", 1, "systemPossSuperiors", "folder"),
		classSchema("special", "folder", 1), // below folders, and everything that goes into folders goes into it
		classSchema("person", "top", 0, "possSuperiors", "folder", "auxiliaryClass", "mail"),
		classSchema("user", "person", 1, "mayContain", "info"), // the possible superiors of person are its own
		classSchema("mail", "addressed", 3, "mustContain", "address", "possSuperiors", "folder"),
		classSchema("addressed", "top", 3, "mayContain", "street"),
		classSchema("abstract", "top", 2, "possSuperiors", "folder"),
		classSchema("internal", "top", 1, "possSuperiors", "folder", "systemOnly", "TRUE"),
		classSchema("loop", "knot", 1, "mayContain", "info"),
		classSchema("knot", "loop", 1, "auxiliaryClass", "loop"),
		classSchema("lost", "nowhere", 1, "possSuperiors", "nowhere"),
	}
	for _, a := range []string{"objectClass", "memberOf", "info", "address", "street"} {
		e := entry("CN=a-"+a+",CN=Schema,CN=Configuration,DC=a", "objectClass", "attributeSchema", "lDAPDisplayName", a)
		switch a {
		case "memberOf":
			e = entry(e.DN, "objectClass", "attributeSchema", "lDAPDisplayName", a, "linkID", "3", "systemFlags", "17", "systemOnly", "TRUE")
		case "info":
			e = entry(e.DN, "objectClass", "attributeSchema", "lDAPDisplayName", a, "systemFlags", "20", "schemaIDGUID", string(guid[:]))
		}
		entries = append(entries, e)
	}
	s := build(t, entries...).Schema()
	for class, want := range map[string]string{
		"folder": "folder person special user", "special": "folder person special user", "user": "", "nothing": "", "loop": "",
	} {
		var got []string
		for _, c := range s.AllowedChildren(class) {
			got = append(got, c.Name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("below %s: %v, want %s", class, got, want)
		}
	}
	for class, want := range map[string]string{
		"top user": "address info memberOf objectClass street", "folder": "memberOf objectClass", "knot": "info", "nothing": "",
	} {
		var got []string
		for _, a := range s.AllowedAttributes(strings.Fields(class)) {
			got = append(got, a.Name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("of %s: %v, want %s", class, got, want)
		}
	}
	if m := s.Attr("memberOf"); !m.IsBackLink() || !m.SystemOnly || m.Constructed || s.Attr("street").IsBackLink() {
		t.Errorf("%+v", m)
	}
	if a := s.AttrByGUID(guid); a == nil || a.Name != "info" || !a.Constructed {
		t.Errorf("%+v", a)
	}
	if got := s.PossibleSuperiors(s.Class("user")); !slices.Equal(got, []string{"folder"}) {
		t.Errorf("%v", got)
	}
}
