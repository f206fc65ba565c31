package cli

import (
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

const nameHint = `name it as in Active Directory: anna, CONTOSO\anna, anna@contoso.com, a SID, a GUID or a distinguished name`

// findObject resolves what a person types for an object: its distinguished name,
// SID or GUID, or the name of an account, group or policy, with or without its
// domain.
func findObject(s *forest.Snapshot, name string) (forest.ID, error) {
	if id := s.Lookup(name); id != forest.None {
		return id, nil
	}
	if sid, err := secdesc.ParseSID(name); err == nil {
		if id := s.BySID(sid); id != forest.None {
			return id, nil
		}
	}
	if g, err := secdesc.ParseGUID(strings.Trim(name, "{}")); err == nil {
		if id := s.ByGUID(g); id != forest.None {
			return id, nil
		}
	}
	found := objectsNamed(s, name)
	switch len(found) {
	case 0:
		if sid, ok := secdesc.WellKnownSIDByName(name); ok { // Everyone, NT AUTHORITY\Authenticated Users
			if id := s.BySID(sid); id != forest.None {
				return id, nil
			}
		}
		return forest.None, usagef(nameHint, "there is no object %s in this forest", quoted(name))
	case 1:
		return found[0], nil
	}
	return forest.None, usagef("use the distinguished name", "%d objects are named %s: %s and %s", len(found), quoted(name), s.DN(found[0]), s.DN(found[1]))
}

// findIdentity resolves the SID or well-known name of a principal that has no object
// in the forest.
func findIdentity(name string) (secdesc.SID, bool) {
	if sid, err := secdesc.ParseSID(name); err == nil {
		return sid, true
	}
	return secdesc.WellKnownSIDByName(name)
}

// objectsNamed lists the accounts and groups with an account name, the accounts
// with a user principal name or DNS name, and the policies with a display name.
func objectsNamed(s *forest.Snapshot, name string) []forest.ID {
	account, domain := name, ""
	if before, after, ok := strings.Cut(name, `\`); ok {
		domain, account = before, after
	}
	var found []forest.ID
	for _, id := range s.BySAMAccountName(account) {
		if domain == "" || isOfDomain(s, id, domain) {
			found = append(found, id)
		}
	}
	if len(found) > 0 {
		return found
	}
	found = computersNamed(s, name)
	for _, id := range s.With(forest.UserPrincipalName) {
		if upn, _ := s.Str(id, forest.UserPrincipalName); strings.EqualFold(upn, name) {
			found = append(found, id)
		}
	}
	for _, id := range s.With(forest.GPCFileSysPath) {
		if shown, _ := s.Str(id, forest.DisplayName); strings.EqualFold(shown, name) {
			found = append(found, id)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// domainOfDN finds the domain that a distinguished name lies in, the longest that fits.
func domainOfDN(s *forest.Snapshot, dn string) (forest.Domain, bool) {
	var found forest.Domain
	for _, d := range s.Domains() {
		if strings.HasSuffix(strings.ToLower(","+dn), strings.ToLower(","+d.DN)) && len(d.DN) > len(found.DN) {
			found = d
		}
	}
	return found, found.DN != ""
}
