package app

import (
	"fmt"
	"strings"

	"github.com/leastwise/leastwise/internal/control"
	"github.com/leastwise/leastwise/internal/forest"
)

// maxGapObjects is how many objects of a gap the doctor names.
const maxGapObjects = 5

// coverageChecks says of each part of a scan whether the account could read it. Of
// what it could not, each check names the first objects, how many there are, and
// the grant that closes the gap. account is who reads; it may be empty.
func coverageChecks(s *forest.Snapshot, account string) []Check {
	if account == "" {
		account = "ACCOUNT"
	}
	var out []Check
	place := map[string]int{} // of containers and files, which are stated one by one, by reason
	for _, c := range s.Coverage() {
		check := Check{Area: "reading", Name: fmt.Sprintf("%s %s", c.Area, c.Subject), State: CheckOK}
		switch c.State {
		case "complete":
			check.Detail = "complete"
			if c.Count > 0 {
				check.Detail = fmt.Sprintf("complete, %d read", c.Count)
			}
			out = append(out, check)
			continue
		case "not collected":
			check.Detail = c.Reason
			out = append(out, check)
			continue
		}
		check.State = CheckWarn
		check.Detail = c.State + ": " + c.Reason
		objects, single := gapObjects(s, c)
		if !single && objects != nil && len(objects) == 0 {
			check.State, check.Detail = CheckOK, "complete but for what every domain hides from ordinary users: nothing to grant"
			out = append(out, check)
			continue
		}
		if single {
			key := string(c.Area) + c.State + c.Reason
			if i, ok := place[key]; ok {
				extend(&out[i], objects)
				continue
			}
			place[key] = len(out)
			check.Name = string(c.Area)
		}
		extend(&check, objects)
		check.Hint = remedy(s, c, objects, account)
		out = append(out, check)
	}
	return out
}

// extend counts further objects in a check and names those that there is room for.
func extend(c *Check, objects []string) {
	c.Total += len(objects)
	room := min(maxGapObjects-len(c.Objects), len(objects))
	c.Objects = append(c.Objects, objects[:room]...)
}

// gapObjects lists what a gap concerns; single says that it is its subject alone.
func gapObjects(s *forest.Snapshot, c forest.Coverage) (objects []string, single bool) {
	switch c.Area {
	case forest.AreaDescriptor:
		if !ofDirectory(c) {
			return []string{c.Subject}, true
		}
		return objectsWhere(s, func(id forest.ID) bool { _, ok := s.DescriptorIndex(id); return !ok }), false
	case forest.AreaAttribute:
		if strings.EqualFold(c.Subject, "objectClass") {
			return objectsWhere(s, func(id forest.ID) bool { return s.Class(id) == "" }), false
		}
		a, ok := forest.AttrByName(c.Subject)
		if !ok {
			return nil, false
		}
		flawed := s.Flawed(a)
		if len(flawed) == 0 {
			return nil, false
		}
		out := []string{}
		for _, id := range flawed {
			if !control.HiddenByDefault(s, id) {
				out = append(out, s.DN(id))
			}
		}
		return out, false
	case forest.AreaContainer, forest.AreaFile, forest.AreaMetadata:
		return []string{c.Subject}, true
	case forest.AreaPartition, forest.AreaSACL, forest.AreaHost, forest.AreaSnapshot:
	}
	return nil, false
}

// ofDirectory tells a gap in the descriptors of objects from one in those of files.
func ofDirectory(c forest.Coverage) bool { return strings.EqualFold(c.Subject, "nTSecurityDescriptor") }

// objectsWhere names the objects of which is holds, but those that every domain
// hides; nil if there is none at all.
func objectsWhere(s *forest.Snapshot, is func(forest.ID) bool) []string {
	var out []string
	for id := range forest.ID(s.Len()) {
		switch {
		case !is(id):
		case control.HiddenByDefault(s, id):
			if out == nil {
				out = []string{}
			}
		default:
			out = append(out, s.DN(id))
		}
	}
	return out
}

// remedy says what an administrator gives the account to close a gap, as a command
// for the first of its objects. docs/OPERATIONS.md explains each.
func remedy(s *forest.Snapshot, c forest.Coverage, objects []string, account string) string {
	dsacls := func(rights string) string {
		if len(objects) == 0 {
			return ""
		}
		text := fmt.Sprintf(`dsacls "%s" /G "%s:%s"`, objects[0], account, rights)
		if len(objects) > 1 {
			text += ", and so for the others"
		}
		return text
	}
	switch c.Area {
	case forest.AreaDescriptor:
		if !ofDirectory(c) {
			return "grant Read permissions on the files, in the security settings of the SYSVOL folder"
		}
		return "grant Read permissions: " + dsacls("RC")
	case forest.AreaContainer:
		return "grant List contents: " + dsacls("LC")
	case forest.AreaAttribute:
		return attributeGrant(s, c, objects, account, dsacls)
	case forest.AreaSACL:
		return "grant the user right Manage auditing and security log on the domain controllers; it is strong, and most leave the auditing controls unknown instead"
	case forest.AreaFile:
		if c.State == "unreadable" && strings.HasSuffix(c.Subject, "/Policies") { // all of it
			return "check that port 445 (TCP) of the domain controllers answers, and that the account may read their SYSVOL share"
		}
		return "grant Read (without Apply) on the policy to Authenticated Users, in Group Policy Management under Delegation"
	case forest.AreaPartition, forest.AreaMetadata, forest.AreaHost, forest.AreaSnapshot:
	}
	return "see docs/OPERATIONS.md"
}

// attributeGrant prefers one inherited entry to many where the objects are of one
// class and one domain.
func attributeGrant(s *forest.Snapshot, c forest.Coverage, objects []string, account string, dsacls func(string) string) string {
	switch {
	case strings.EqualFold(c.Subject, "objectClass"):
		return "grant Read all properties: " + dsacls("RP")
	case len(objects) == 0:
		return "" // the domain controller did not tell the groups of the account: no grant helps
	case len(objects) == 1:
		return "grant Read on the attribute: " + dsacls("RP;"+c.Subject)
	}
	first := s.Lookup(objects[0])
	if first == forest.None {
		return "grant Read on the attribute: " + dsacls("RP;"+c.Subject)
	}
	d, ok := s.DomainOf(first)
	if !ok {
		return "grant Read on the attribute: " + dsacls("RP;"+c.Subject)
	}
	return fmt.Sprintf(`grant Read on the attribute, inherited from the domain and on CN=AdminSDHolder,CN=System for protected accounts: dsacls "%s" /I:S /G "%s:RP;%s;%s"`,
		d.DN, account, c.Subject, s.Class(first))
}
