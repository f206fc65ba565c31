package bloodhound

import (
	"strconv"
	"strings"

	"github.com/leastwise/leastwise/internal/forest"
)

// Flags of certificate templates by the names of SharpHound ([MS-CRTD] 2.26, 2.27).
var (
	enrollmentFlags = map[string]int64{
		"NONE": 0, "INCLUDE_SYMMETRIC_ALGORITHMS": 0x1, "PEND_ALL_REQUESTS": 0x2, "PUBLISH_TO_KRA_CONTAINER": 0x4,
		"PUBLISH_TO_DS": 0x8, "AUTO_ENROLLMENT_CHECK_USER_DS_CERTIFICATE": 0x10, "AUTO_ENROLLMENT": 0x20,
		"PREVIOUS_APPROVAL_VALIDATE_REENROLLMENT": 0x40, "CT_FLAG_DOMAIN_AUTHENTICATION_NOT_REQUIRED": 0x80,
		"USER_INTERACTION_REQUIRED": 0x100, "ADD_TEMPLATE_NAME": 0x200, "REMOVE_INVALID_CERTIFICATE_FROM_PERSONAL_STORE": 0x400,
		"ALLOW_ENROLL_ON_BEHALF_OF": 0x800, "ADD_OCSP_NOCHECK": 0x1000, "ENABLE_KEY_REUSE_ON_NT_TOKEN_KEYSET_STORAGE_FULL": 0x2000,
		"NOREVOCATIONINFOINISSUEDCERTS": 0x4000, "INCLUDE_BASIC_CONSTRAINTS_FOR_EE_CERTS": 0x8000,
		"ALLOW_PREVIOUS_APPROVAL_KEYBASEDRENEWAL_VALIDATE_REENROLLMENT": 0x10000, "ISSUANCE_POLICIES_FROM_REQUEST": 0x20000,
		"SKIP_AUTO_RENEWAL": 0x40000, "NO_SECURITY_EXTENSION": 0x80000,
	}
	nameFlags = map[string]int64{
		"NONE": 0, "ENROLLEE_SUPPLIES_SUBJECT": 0x1, "ADD_EMAIL": 0x2, "ADD_OBJ_GUID": 0x4, "OLD_CERT_SUPPLIES_SUBJECT_AND_ALT_NAME": 0x8,
		"ADD_DIRECTORY_PATH": 0x100, "ENROLLEE_SUPPLIES_SUBJECT_ALT_NAME": 0x10000, "SUBJECT_ALT_REQUIRE_DOMAIN_DNS": 0x400000,
		"SUBJECT_ALT_REQUIRE_SPN": 0x800000, "SUBJECT_ALT_REQUIRE_DIRECTORY_GUID": 0x1000000, "SUBJECT_ALT_REQUIRE_UPN": 0x2000000,
		"SUBJECT_ALT_REQUIRE_EMAIL": 0x4000000, "SUBJECT_ALT_REQUIRE_DNS": 0x8000000, "SUBJECT_REQUIRE_DNS_AS_CN": 0x10000000,
		"SUBJECT_REQUIRE_EMAIL": 0x20000000, "SUBJECT_REQUIRE_COMMON_NAME": 0x40000000, "SUBJECT_REQUIRE_DIRECTORY_PATH": 0x80000000,
	}
)

// flags reads a set of flags: a number, or names with commas between them. ok is
// false if it is missing or has a name that is not known.
func flags(p properties, name string, known map[string]int64) (sum int64, ok bool) {
	if n, ok := p.number(name); ok {
		return n, true
	}
	words, ok := p.text(name)
	if list, isList := p.list(name); isList {
		words, ok = strings.Join(list, ","), true
	}
	if !ok || words == "" {
		return 0, false
	}
	for word := range strings.SplitSeq(words, ",") {
		bit, ok := known[strings.ToUpper(strings.TrimSpace(word))]
		if !ok {
			return 0, false
		}
		sum |= bit
	}
	return sum, true
}

// certificates takes what templates and authorities have. Of certificates there are
// thumbprints only; they stand for them, so that it can be seen which are the same.
func (c *Collection) certificates(it *item, o *object, k kind) {
	switch k {
	case templateKind:
		it.template(o)
	case issuanceKind:
		if oid, ok := o.Properties.text("certtemplateoid"); ok {
			it.text("msPKI-Cert-Template-OID", oid)
		}
		if to := o.GroupLink.ObjectIdentifier; to != "" {
			it.refs = append(it.refs, reference{forest.MsDSOIDToGroupLink, to})
		}
		it.asked[forest.MsDSOIDToGroupLink] = true
	default:
		it.thumbprints(o)
	}
	if k == authorityKind {
		for _, t := range o.EnabledTemplates {
			it.refs = append(it.refs, reference{forest.CertificateTemplates, t.ObjectIdentifier})
		}
		if o.EnabledTemplates != nil {
			it.asked[forest.CertificateTemplates] = true
		}
		if host, ok := o.Properties.text("dnshostname"); ok {
			it.text("dNSHostName", host)
		}
	}
}

func (it *item) thumbprints(o *object) {
	list, _ := o.Properties.list("certthumbprints")
	if one, ok := o.Properties.text("certthumbprint"); ok && one != "" {
		list = append(list, one)
	}
	var values []string
	for _, s := range list {
		if b, ok := thumbprint(s); ok {
			values = append(values, b)
		}
	}
	if values != nil {
		it.set("cACertificate", values...)
		it.partial[forest.CACertificate] = "the collection has the thumbprint only, which stands here for the certificate"
	}
}

func (it *item) template(o *object) {
	p := o.Properties
	if n, ok := flags(p, "enrollmentflag", enrollmentFlags); ok {
		it.set("msPKI-Enrollment-Flag", strconv.FormatInt(n, 10))
	}
	if n, ok := flags(p, "certificatenameflag", nameFlags); ok {
		it.set("msPKI-Certificate-Name-Flag", strconv.FormatInt(n, 10))
	}
	for _, v := range []struct{ name, attr string }{
		{"schemaversion", "msPKI-Template-Schema-Version"}, {"authorizedsignatures", "msPKI-RA-Signature"},
	} {
		if n, ok := p.number(v.name); ok {
			it.set(v.attr, strconv.FormatInt(n, 10))
		}
	}
	if oid, ok := p.text("oid"); ok {
		it.text("msPKI-Cert-Template-OID", oid)
	}
	for _, v := range []struct{ name, attr string }{
		{"ekus", "pKIExtendedKeyUsage"},
		{"certificateapplicationpolicy", "msPKI-Certificate-Application-Policy"},
		{"certificatepolicy", "msPKI-Certificate-Policy"},
		{"applicationpolicies", "msPKI-RA-Application-Policies"},
	} {
		if list, ok := p.list(v.name); ok {
			it.set(v.attr, list...)
		}
	}
}
