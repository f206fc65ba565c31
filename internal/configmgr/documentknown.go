package configmgr

import (
	"fmt"
	"strings"
)

// Parts of ClassComponents.
const (
	PartPush   = "SMS_CLIENT_CONFIG_MANAGER"
	PartAccess = "Software Distribution" // the network access accounts
	PartMail   = "e-mail notification"
)

// Parts of ClassSequences: the list of task sequences with their times, and the
// accounts that their steps name.
const (
	PartSequences = "sequences"
	PartSteps     = "steps"
)

// Read tells whether a class of facts was read completely for a scope (a site code, a
// host, a database; "" is the hierarchy) and, if part is not "", for that role or
// component. If it was not, missing says why, in words for a person.
//
// One complete reading is enough, whatever source it is of: another that was cut short
// takes nothing away from it. A reading of the hierarchy covers each site.
func (d *Document) Read(class Class, scope, part string) (missing string, ok bool) {
	var why []string
	for _, r := range d.Readings {
		if r.Class != class || r.Scope != "" && !strings.EqualFold(r.Scope, scope) {
			continue
		}
		if r.Part != "" && r.Part != part {
			continue
		}
		if r.Missing == "" {
			return "", true
		}
		why = append(why, r.Missing)
	}
	if len(why) > 0 {
		return strings.Join(why, "; "), false
	}
	if scope != "" {
		return fmt.Sprintf("no source has read %s of %s", class, scope), false
	}
	return fmt.Sprintf("no source has read %s", class), false
}

// Filled tells whether it is known who fills a slot at a site: that a source which
// names all of its principals was read completely. If it was not, an empty list of
// assignments says nothing, and missing says what was not read.
func (d *Document) Filled(entry, site string) (missing string, ok bool) {
	if _, ok := d.Read(ClassAssignments, site, entry); ok {
		return "", true
	}
	for _, t := range tellers(entry) {
		why, ok := d.Read(t.class, site, t.part)
		if ok {
			return "", true
		}
		if missing == "" {
			missing = why
		}
	}
	if missing == "" {
		missing = "only a declared file can name it: " + entry
	}
	return missing, false
}

// A teller is a class of facts that names every principal of a slot.
type teller struct {
	class Class
	part  string
}

// tellers lists what tells who fills a slot; any one of them is enough.
func tellers(entry string) []teller {
	switch entry {
	case entrySiteSystem, entryUpdateProxy, entryAssetsProxy, entryExchangeProxy:
		return []teller{{ClassSiteRoles, roleSiteSystem}}
	case entryManagementPoint:
		return []teller{{ClassSiteRoles, roleManagementPoint}}
	case entrySoftwareUpdate:
		return []teller{{ClassSiteRoles, roleSoftwareUpdate}}
	case entryReporting:
		return []teller{{ClassSiteRoles, roleReporting}}
	case entryMulticast:
		return []teller{{ClassSiteRoles, roleMulticast}}
	case entryEnrollment:
		return []teller{{ClassSiteRoles, roleEnrollment}}
	case entryCertificate:
		return []teller{{ClassSiteRoles, roleCertificate}}
	case entryNetworkAccess:
		return []teller{{ClassAccounts, ""}, {ClassComponents, PartAccess}}
	case entryPush:
		return []teller{{ClassAccounts, ""}, {ClassComponents, PartPush}}
	case entrySystemDiscovery, entryUserDiscovery, entryGroupDiscovery:
		return []teller{{ClassAccounts, ""}}
	case entryMail:
		return []teller{{ClassComponents, PartMail}}
	case entryForest:
		return []teller{{ClassForests, ""}}
	case entrySource, entrySourceDatabase:
		return []teller{{ClassMigration, ""}}
	case entryPackage:
		return []teller{{ClassPackages, ""}}
	case entryViewers:
		return []teller{{ClassClient, ""}}
	case entryCapture, entryJoin, entryFolder, entryRunAs:
		return []teller{{ClassSequences, PartSteps}}
	}
	return nil
}
