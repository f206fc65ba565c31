package reach

import (
	"slices"

	"github.com/leastwise/leastwise/internal/forest"
)

// A Blank is an attribute that effective control is decided by and that was not
// read of some objects where it counts: whatever it gives is in no answer, or only
// as possible.
type Blank struct {
	Attr    forest.Attr
	Class   string
	Objects int       // how many objects of the class
	First   forest.ID // one of them
	Why     string    // of that one
}

// decidedBy are the attributes that control is decided by, and of which classes.
var decidedBy = []struct {
	attr    forest.Attr
	classes []string
}{
	{forest.AltSecurityIdentities, []string{"user"}},
	{forest.CACertificate, []string{"certificationAuthority", "pKIEnrollmentService"}},
	{forest.CertificateTemplates, []string{"pKIEnrollmentService"}},
	{forest.DNSHostName, []string{"pKIEnrollmentService", "computer"}},
	{forest.DSHeuristics, []string{"nTDSService"}},
	{forest.GPCFileSysPath, []string{"groupPolicyContainer"}},
	{forest.GPLink, []string{"organizationalUnit", "domainDNS", "site"}},
	{forest.GPOptions, []string{"organizationalUnit", "domainDNS"}},
	{forest.GroupType, []string{"group"}},
	{forest.InstanceType, []string{"domainDNS"}},
	{forest.ManagedBy, []string{"computer"}},
	{forest.Member, []string{"group"}},
	{forest.MsDSAllowedToActOnBehalfOfOtherIdentity, []string{"computer"}},
	{forest.MsDSAllowedToDelegateTo, []string{"user"}},
	{forest.MsDSDelegatedMSAState, []string{"msDS-DelegatedManagedServiceAccount"}},
	{forest.MsDSGroupMSAMembership, []string{"msDS-GroupManagedServiceAccount"}},
	{forest.MsDSHostServiceAccount, []string{"computer"}},
	{forest.MsDSKrbTgtLink, []string{"computer"}},
	{forest.MsDSMachineAccountQuota, []string{"domainDNS"}},
	{forest.MsDSManagedAccountPrecededByLink, []string{"msDS-DelegatedManagedServiceAccount"}},
	{forest.MsDSNeverRevealGroup, []string{"computer"}},
	{forest.MsDSOIDToGroupLink, []string{"msPKI-Enterprise-Oid"}},
	{forest.MsDSRevealOnDemandGroup, []string{"computer"}},
	{forest.MsLAPSPasswordExpirationTime, []string{"computer"}},
	{forest.MsMcsAdmPwdExpirationTime, []string{"computer"}},
	{forest.MsPKICertTemplateOID, []string{"msPKI-Enterprise-Oid"}},
	{forest.MsPKICertificateApplicationPolicy, []string{"pKICertificateTemplate"}},
	{forest.MsPKICertificateNameFlag, []string{"pKICertificateTemplate"}},
	{forest.MsPKICertificatePolicy, []string{"pKICertificateTemplate"}},
	{forest.MsPKIEnrollmentFlag, []string{"pKICertificateTemplate"}},
	{forest.MsPKIRASignature, []string{"pKICertificateTemplate"}},
	{forest.MsPKITemplateSchemaVersion, []string{"pKICertificateTemplate"}},
	{forest.PKIExtendedKeyUsage, []string{"pKICertificateTemplate"}},
	{forest.PrimaryGroupID, []string{"user"}},
	{forest.SecurityIdentifier, []string{"trustedDomain"}},
	{forest.ServicePrincipalName, []string{"user"}},
	{forest.SIDHistory, []string{"user", "group"}},
	{forest.TrustAttributes, []string{"trustedDomain"}},
	{forest.TrustDirection, []string{"trustedDomain"}},
	{forest.TrustPartner, []string{"trustedDomain"}},
	{forest.UserAccountControl, []string{"user"}},
}

// Blanks lists what control is decided by and was not read, by attribute.
func Blanks(s *forest.Snapshot) []Blank {
	is := classTable(s)
	var out []Blank
	for _, d := range decidedBy {
		for _, class := range d.classes {
			b := Blank{Attr: d.attr, Class: class, First: forest.None}
			note := func(id forest.ID, why string) {
				if is(id, class) {
					if b.Objects++; b.Objects == 1 {
						b.First, b.Why = id, why
					}
				}
			}
			for _, id := range unreadOf(s, d.attr) {
				note(id, s.Why(id, d.attr))
			}
			if d.attr.Syntax() == forest.Descriptor && s.Collected(d.attr) {
				for _, id := range s.With(d.attr) {
					if _, st := s.Desc(id, d.attr); st == forest.Unreadable && s.Why(id, d.attr) == "" {
						note(id, "the descriptor in it is malformed")
					}
				}
			}
			if b.Objects > 0 {
				out = append(out, b)
			}
		}
	}
	return out
}

// Unasked lists the attributes that control is decided by and that the snapshot was
// made without, although it holds objects that may have them; those that decide
// about every member and account whatever it holds. An attribute that the forest's
// schema lacks is none of them: no object has it.
func Unasked(s *forest.Snapshot) []forest.Attr {
	always := []forest.Attr{forest.Member, forest.PrimaryGroupID, forest.GroupType, forest.UserAccountControl, forest.GPLink}
	out := slices.DeleteFunc(always, s.Collected)
	for _, b := range Blanks(s) {
		if !s.Collected(b.Attr) && !s.OutsideSchema(b.Attr) && !slices.Contains(out, b.Attr) {
			out = append(out, b.Attr)
		}
	}
	return out
}

// unreadOf lists the objects of which an attribute was not read.
func unreadOf(s *forest.Snapshot, a forest.Attr) []forest.ID {
	if s.Collected(a) {
		return s.Flawed(a)
	}
	out := make([]forest.ID, s.Len())
	for i := range out {
		out[i] = forest.ID(i)
	}
	return out
}

// classTable returns IsA, asked once for every class of object.
func classTable(s *forest.Snapshot) func(forest.ID, string) bool {
	type question struct {
		class int
		of    string
	}
	known := map[question]bool{}
	return func(id forest.ID, class string) bool {
		q := question{s.ClassIndex(id), class}
		yes, ok := known[q]
		if !ok {
			yes = s.IsA(id, class)
			known[q] = yes
		}
		return yes
	}
}
