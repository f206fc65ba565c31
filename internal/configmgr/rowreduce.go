package configmgr

import (
	"slices"
	"strings"
)

// Reduce returns a copy of a row that holds the listed columns of its class and, of
// its embedded properties, the listed ones; nil for a class that is not read. Nothing
// else of a row is ever kept, logged or put in an error.
func Reduce(class string, row Row) Row {
	ask, ok := askFor(class)
	if !ok {
		return nil
	}
	out := make(Row, len(ask.Columns))
	for _, column := range ask.Columns {
		if !row.has(column) && column != "Props" && column != "PropLists" {
			continue
		}
		switch column {
		case "Props":
			if v, ok := reduceProperties(ask.Class, row); ok {
				out[column] = v
			}
		case "PropLists":
			if v, ok := reduceLists(ask.Class, row); ok {
				out[column] = v
			}
		case "Permissions":
			out[column] = keepFields(row.get(column), permissionFields()...)
		case "Operations":
			out[column] = keepFields(row.get(column), operationFields()...)
		case "AgentConfigurations":
			out[column] = keepFields(row.get(column), clientColumns()...)
		default:
			out[column] = plain(row.get(column))
		}
	}
	if ask.Class == sciProperty && !slices.ContainsFunc(pushProperties(), func(p string) bool { return strings.EqualFold(p, out.text("PropertyName")) }) {
		delete(out, "Value")
		delete(out, "Value1")
	}
	if list := out.text("PropertyListName"); ask.Class == sciPropertyList && !strings.EqualFold(list, listPush) && !strings.EqualFold(list, listAccess) {
		delete(out, "Values")
	}
	return out
}

func pushProperties() []string { return []string{"SETTINGS", "ENABLEKERBEROSCHECK", "FILTERS"} }

func permissionFields() []string { return []string{"RoleID", "CategoryID", "CategoryTypeID"} }

func operationFields() []string { return []string{"ObjectTypeID", "GrantedOperations"} }

// clientColumns lists the columns of the remote tools within client settings.
func clientColumns() []string {
	return []string{"AgentID", "PermittedViewers", "PermissionRequired", "AccessLevel", "AllowLocalAdminToDoRemoteControl", "EnableRemoteTools", "FirewallExceptionProfiles"}
}

// plain returns a value if it is a scalar or a list of scalars: maps have no place in
// a plain column and are dropped.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if isWrapped(v) {
			return plain(listOf(v))
		}
		if t, ok := timeOf(v); ok {
			return t.Format("2006-01-02T15:04:05Z")
		}
		return nil
	case []any:
		out := make([]any, 0, len(v))
		for _, e := range v {
			switch e.(type) {
			case map[string]any, []any:
			default:
				out = append(out, e)
			}
		}
		return out
	case string:
		if len(v) > maxText {
			return "" // no column that is read is that long
		}
	}
	return v
}

func isWrapped(m map[string]any) bool {
	_, ok := m["value"].([]any)
	return ok && m["Count"] != nil
}

// keepFields returns the elements of a list with the fields named.
func keepFields(v any, fields ...string) any {
	if isCut(v) {
		return v
	}
	var out []any
	for _, e := range listOf(v) {
		m, ok := e.(map[string]any)
		if !ok {
			if isCut(e) {
				return e
			}
			continue
		}
		kept := map[string]any{}
		for _, f := range fields {
			if Row(m).has(f) {
				kept[f] = plain(Row(m).get(f))
			}
		}
		out = append(out, kept)
	}
	return out
}

// reduceProperties returns the embedded properties that are kept. Rows of cmdlets have
// them a second time, as the map EmbeddedProperties, which is taken if Props was cut.
func reduceProperties(class string, row Row) (any, bool) {
	raw, ok := embedded(row, "Props", "EmbeddedProperties")
	if !ok || isCut(raw) {
		return raw, ok
	}
	kept := keptProperties(class, row.text("RoleName"))
	var out []any
	for _, e := range listOf(raw) {
		m, ok := e.(map[string]any)
		if !ok {
			if isCut(e) {
				return e, true
			}
			continue
		}
		p := Row(m)
		name := p.text("PropertyName")
		i := slices.IndexFunc(kept, func(k keptProperty) bool { return strings.EqualFold(k.name, name) })
		if i < 0 {
			continue
		}
		out = append(out, reduceProperty(kept[i], p))
	}
	return out, true
}

func reduceProperty(k keptProperty, p Row) map[string]any {
	one := map[string]any{"PropertyName": k.name}
	if k.name == propPXEPassword {
		n, _ := p.number("Value")
		there, _ := p.truth("Value") // of a row that was reduced before
		one["Value"] = n != 0 || there || p.text("Value1") != "" || p.text("Value2") != ""
		return one
	}
	for _, slot := range k.slots {
		v := plain(p.get(slot))
		if s, ok := v.(string); ok && s != "" {
			// A name, a version or a state: never a long opaque text.
			if _, fine := accountName(s); !fine {
				v = ""
			}
		}
		one[slot] = v
	}
	return one
}

// reduceLists returns the embedded lists that are kept.
func reduceLists(class string, row Row) (any, bool) {
	raw, ok := embedded(row, "PropLists", "EmbeddedPropertyLists")
	if !ok || isCut(raw) {
		return raw, ok
	}
	kept := keptLists(class)
	var out []any
	for _, e := range listOf(raw) {
		m, ok := e.(map[string]any)
		if !ok {
			if isCut(e) {
				return e, true
			}
			continue
		}
		name := Row(m).text("PropertyListName")
		if slices.ContainsFunc(kept, func(k string) bool { return strings.EqualFold(k, name) }) {
			out = append(out, map[string]any{"PropertyListName": name, "Values": plain(Row(m).get("Values"))})
		}
	}
	return out, true
}

// embedded returns a list of embedded objects from its column or, where that was not
// written or was cut, from the map that cmdlets add.
func embedded(row Row, column, spare string) (v any, ok bool) {
	v = row.get(column)
	if v != nil && !isCut(v) && !hasCut(v) {
		return v, true
	}
	if m, is := row.get(spare).(map[string]any); is {
		var out []any
		for _, name := range sortedKeys(m) {
			if !isCut(m[name]) {
				out = append(out, m[name])
			}
		}
		if len(out) > 0 || len(m) == 0 {
			return out, true
		}
	}
	return v, row.has(column)
}

func hasCut(v any) bool { return slices.ContainsFunc(listOf(v), isCut) }

// property returns an embedded property of a reduced row: the first of its values that
// is not empty.
func (r Row) property(name string, slots ...string) string {
	for _, e := range r.list("Props") {
		m, ok := e.(map[string]any)
		if !ok || !strings.EqualFold(Row(m).text("PropertyName"), name) {
			continue
		}
		for _, slot := range slots {
			if s := Row(m).text(slot); s != "" {
				return s
			}
		}
	}
	return ""
}

// propertyNumber returns the number of an embedded property.
func (r Row) propertyNumber(name string) (int64, bool) {
	s := r.property(name, "Value")
	if s == "" {
		return 0, false
	}
	if t, ok := truthOf(s); ok {
		if t {
			return 1, true
		}
		return 0, true
	}
	return numberOf(s)
}

// embeddedList returns the values of an embedded list of a reduced row.
func (r Row) embeddedList(name string) (values []string, ok bool) {
	for _, e := range r.list("PropLists") {
		if m, is := e.(map[string]any); is && strings.EqualFold(Row(m).text("PropertyListName"), name) {
			values, ok = append(values, Row(m).texts("Values")...), true
		}
	}
	return values, ok
}
