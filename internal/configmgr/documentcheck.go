package configmgr

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Check reports the first thing in a document that cannot be: a version that is not
// known, a site code that is none, an assignment without a name. With a catalogue,
// entries and settings must be of it too. Errors wrap ErrDocument and name the path.
func (d *Document) Check(c *Catalogue) error {
	if d.Version != DocumentVersion {
		return wrong("$.version", "is %d; this leastwise reads version %d", d.Version, DocumentVersion)
	}
	for _, check := range []func(*Catalogue) error{d.checkReadings, d.checkSites, d.checkAssignments, d.checkPeople, d.checkOthers} {
		if err := check(c); err != nil {
			return err
		}
	}
	return nil
}

func wrong(path, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", ErrDocument, path, fmt.Sprintf(format, args...))
}

var siteCodeForm = regexp.MustCompile(`^[A-Z0-9]{3}$`)

// SiteCode returns the code of a site in the spelling of documents; ok is false for what
// is none.
func SiteCode(s string) (code string, ok bool) {
	code = strings.ToUpper(strings.TrimSpace(s))
	return code, siteCodeForm.MatchString(code)
}

func sources() []Source { return []Source{Declared, Imported, Collected, Directory, Attested} }

// Classes returns the classes of facts.
func Classes() []Class {
	return []Class{
		ClassAccounts, ClassSiteRoles, ClassSites, ClassComponents, ClassForests, ClassMigration, ClassRoutes, ClassAdmins, ClassRoles,
		ClassPackages, ClassSequences, ClassVariables, ClassClient, ClassExchange, ClassGroups, ClassUserRights, ClassShares, ClassFolders,
		ClassWMI, ClassRegistry, ClassLogons, ClassDatabase, ClassFirmware, ClassAssignments,
	}
}

func (d *Document) checkReadings(*Catalogue) error {
	for i, r := range d.Readings {
		at := fmt.Sprintf("$.readings[%d]", i)
		if !slices.Contains(sources(), r.Source) {
			return wrong(at+".source", "%q is no source: it is one of %v", clipName(string(r.Source)), sources())
		}
		if !slices.Contains(Classes(), r.Class) {
			return wrong(at+".class", "%q is no class of facts", clipName(string(r.Class)))
		}
	}
	return nil
}

func (d *Document) checkSites(c *Catalogue) error {
	seen := map[string]bool{}
	for i, s := range d.Sites {
		at := fmt.Sprintf("$.sites[%d]", i)
		if !siteCodeForm.MatchString(s.Code) {
			return wrong(at+".code", "%q is no site code: three capital letters or digits", clipName(s.Code))
		}
		if seen[s.Code] {
			return wrong(at+".code", "%s is there twice", s.Code)
		}
		seen[s.Code] = true
		if s.Parent != "" && !siteCodeForm.MatchString(s.Parent) {
			return wrong(at+".parent", "%q is no site code", clipName(s.Parent))
		}
		if s.Kind != "" && s.Kind != CentralSite && s.Kind != PrimarySite && s.Kind != SecondarySite {
			return wrong(at+".kind", "%q is not central, primary or secondary", clipName(string(s.Kind)))
		}
		if s.Release != "" && !slices.Contains(releases(), s.Release) {
			return wrong(at+".release", "%q is no release: it is one of %v", clipName(s.Release), releases())
		}
		if err := checkSettings(c, at+".settings", s.Settings); err != nil {
			return err
		}
	}
	return nil
}

func releases() []string {
	return []string{"2012", "2012-SP1", "2012-SP2", "2012-R2", "2012-R2-SP1", "current-branch"}
}

func checkSettings(c *Catalogue, at string, settings map[string]any) error {
	if c == nil || len(c.Settings) == 0 {
		return nil
	}
	for _, key := range sortedKeys(settings) {
		if _, ok := c.Settings[key]; !ok && !ownSetting(key) {
			return wrong(joinPath(at, key), "is no setting that any rule asks for%s", nearest(key, sortedKeys(c.Settings)))
		}
	}
	return nil
}

// ownSetting reports whether readers keep a setting that no rule asks for, since it
// tells a person something.
func ownSetting(key string) bool {
	return slices.Contains([]string{"database.serviceAccount", "smtp.enabled", "RemoteTools.AllowLocalAdmin", "RemoteTools.AccessLevel"}, key)
}

func (d *Document) checkAssignments(c *Catalogue) error {
	for i, a := range d.Assignments {
		at := fmt.Sprintf("$.assignments[%d]", i)
		if a.Name == "" && a.SID == nil {
			return wrong(at+".name", "is missing, and there is no sid: nobody is assigned")
		}
		if len(a.Name) > maxName {
			return wrong(at+".name", "is longer than %d bytes", maxName)
		}
		if a.Entry == "" && !a.Stored {
			return wrong(at+".entry", "is missing")
		}
		if c != nil && a.Entry != "" && c.Entry(a.Entry) == nil {
			return wrong(at+".entry", "%q is no group or account of Configuration Manager", clipName(a.Entry))
		}
		if a.Site != "" && !siteCodeForm.MatchString(a.Site) {
			return wrong(at+".site", "%q is no site code", clipName(a.Site))
		}
		if !slices.Contains(sources(), a.Source) {
			return wrong(at+".source", "%q is no source: it is one of %v", clipName(string(a.Source)), sources())
		}
		if !a.Removed.IsZero() && a.Removed.Before(a.FirstSeen) {
			return wrong(at+".removed", "is before it was first seen")
		}
	}
	return nil
}

func (d *Document) checkPeople(*Catalogue) error {
	for i, a := range d.Attestations {
		at := fmt.Sprintf("$.attestations[%d]", i)
		switch {
		case strings.TrimSpace(a.Topic) == "":
			return wrong(at+".topic", "is missing")
		case strings.TrimSpace(a.Owner) == "":
			return wrong(at+".owner", "is missing: somebody must answer for a statement")
		case a.Made.IsZero():
			return wrong(at+".made", "is missing")
		case a.Site != "" && !siteCodeForm.MatchString(strings.ToUpper(a.Site)):
			return wrong(at+".site", "%q is no site code", clipName(a.Site))
		case !a.Expires.After(a.Made):
			return wrong(at+".expires", "is not after it was made: a statement holds for a time")
		}
	}
	for i, e := range d.Exceptions {
		at := fmt.Sprintf("$.exceptions[%d]", i)
		switch {
		case strings.TrimSpace(e.Topic) == "":
			return wrong(at+".topic", "is missing")
		case strings.TrimSpace(e.Name) == "":
			return wrong(at+".name", "is missing: an exception is for one principal")
		case strings.TrimSpace(e.Owner) == "" || strings.TrimSpace(e.Reason) == "":
			return wrong(at, "has no owner or no reason")
		case e.Expires.IsZero():
			return wrong(at+".expires", "is missing: an exception holds for a time")
		}
	}
	for i, a := range d.Admins {
		if a.Name == "" && a.SID == nil {
			return wrong(fmt.Sprintf("$.admins[%d].name", i), "is missing")
		}
	}
	return nil
}

func (d *Document) checkOthers(c *Catalogue) error {
	for i, h := range d.Hosts {
		if h.Name == "" {
			return wrong(fmt.Sprintf("$.hosts[%d].name", i), "is missing")
		}
	}
	for i, r := range d.Roles {
		if r.ID == "" {
			return wrong(fmt.Sprintf("$.roles[%d].id", i), "is missing")
		}
	}
	for i, p := range d.Packages {
		if p.ID == "" {
			return wrong(fmt.Sprintf("$.packages[%d].id", i), "is missing")
		}
	}
	for i, s := range d.Sequences {
		if s.ID == "" {
			return wrong(fmt.Sprintf("$.taskSequences[%d].id", i), "is missing")
		}
		for j, step := range s.Accounts {
			if c != nil && c.Entry(step.Entry) == nil {
				return wrong(fmt.Sprintf("$.taskSequences[%d].accounts[%d].entry", i, j), "%q is no account of Configuration Manager", clipName(step.Entry))
			}
		}
	}
	for _, name := range sortedKeys(d.Client) {
		if err := checkSettings(c, joinPath("$.clientSettings", name), d.Client[name]); err != nil {
			return err
		}
	}
	return nil
}
