package reach_test

import (
	"strings"
	"testing"
)

// pkiForest has an authority on CA1 that domain controllers trust, and templates
// after the marks: %T are attributes, %P permissions of template T.
const pkiForest = `
ous: [{name: Staff}, {name: Servers}]
users:
  - {name: eve, in: Staff}
  - {name: ann, in: Staff, permissions: [%A]}
computers: [{name: CA1, in: Servers, role: server, permissions: [%H]}]
groups:
  - {name: Enrollers, in: Staff, members: [eve]}
  - {name: Vault, in: Staff, scope: universal}
objects:
  - name: NTAuthCertificates
    in: "CN=Public Key Services,CN=Services,CN=Configuration"
    classes: [top, certificationAuthority]
    attributes: {cACertificate: ["base64:MIIB"], authorityRevocationList: ["base64:AA=="], certificateRevocationList: ["base64:AA=="]}
  - name: Contoso CA
    in: "CN=Enrollment Services,CN=Public Key Services,CN=Services,CN=Configuration"
    classes: [top, pKIEnrollmentService]
    attributes: {cACertificate: ["base64:%C"], dNSHostName: [ca1.contoso.test], certificateTemplates: [%N]}
    permissions: [%S]
  - name: T
    in: "CN=Certificate Templates,CN=Public Key Services,CN=Services,CN=Configuration"
    classes: [top, pKICertificateTemplate]
    attributes: {%T}
    permissions: [%P]
  - name: Issuance
    in: "CN=OID,CN=Public Key Services,CN=Services,CN=Configuration"
    classes: [top, msPKI-Enterprise-Oid]
    attributes: {msPKI-Cert-Template-OID: ["1.2.3.4"]%O}
`

// pki fills in the marks.
func pki(marks map[string]string) string {
	text := pkiForest
	defaults := map[string]string{
		"%N": "T", "%C": "MIIB", "%S": `allow "Authenticated Users" right Certificate-Enrollment`,
		"%P": "allow Enrollers right Certificate-Enrollment", "%T": clientAuth + named2 + free, "%A": "", "%H": "", "%O": "",
	}
	for k, v := range defaults {
		if m, ok := marks[k]; ok {
			v = m
		}
		text = strings.ReplaceAll(text, k, v)
	}
	return text
}

// Attributes of templates.
const (
	clientAuth = `pKIExtendedKeyUsage: ["1.3.6.1.5.5.7.3.2"], msPKI-Certificate-Application-Policy: ["1.3.6.1.5.5.7.3.2"], `
	serverAuth = `pKIExtendedKeyUsage: ["1.3.6.1.5.5.7.3.1"], msPKI-Certificate-Application-Policy: ["1.3.6.1.5.5.7.3.1"], `
	agent      = `pKIExtendedKeyUsage: ["1.3.6.1.4.1.311.20.2.1"], msPKI-Certificate-Application-Policy: ["1.3.6.1.4.1.311.20.2.1"], `
	named2     = `msPKI-Certificate-Name-Flag: ["1"], msPKI-Template-Schema-Version: ["2"], `
	byUPN      = `msPKI-Certificate-Name-Flag: ["33554432"], msPKI-Template-Schema-Version: ["2"], `
	free       = `msPKI-Enrollment-Flag: ["0"], msPKI-RA-Signature: ["0"]`
)

func TestCertificateEdges(t *testing.T) {
	for name, c := range map[string]struct {
		marks map[string]string
		from  string
		want  string
		kinds string
	}{
		"ESC1":                        {nil, "eve", "certain", "member enrolls"},
		"ESC1, not enrolled":          {nil, "ann", "none", ""},
		"ESC1, approval":              {map[string]string{"%T": clientAuth + named2 + `msPKI-Enrollment-Flag: ["2"], msPKI-RA-Signature: ["0"]`}, "eve", "none", ""},
		"ESC1, signature":             {map[string]string{"%T": clientAuth + named2 + `msPKI-Enrollment-Flag: ["0"], msPKI-RA-Signature: ["1"]`}, "eve", "none", ""},
		"ESC1, other usage":           {map[string]string{"%T": serverAuth + named2 + free}, "eve", "none", ""},
		"ESC1, subject from AD":       {map[string]string{"%T": clientAuth + byUPN + free}, "eve", "none", ""},
		"ESC1, not published":         {map[string]string{"%N": "Other"}, "eve", "none", ""},
		"ESC1, authority not trusted": {map[string]string{"%C": "MIIC"}, "eve", "none", ""},
		"ESC1, authority refuses":     {map[string]string{"%S": ""}, "eve", "none", ""},
		"ESC1, denied": {map[string]string{
			"%P": "deny eve right Certificate-Enrollment, allow Enrollers right Certificate-Enrollment",
		}, "eve", "none", ""},
		"ESC1, everybody":           {map[string]string{"%P": `allow "Authenticated Users" right Certificate-Enrollment`}, "ann", "certain", "enrolls"},
		"ESC1, all extended rights": {map[string]string{"%P": "allow Enrollers all-extended-rights"}, "eve", "certain", "member enrolls"},
		"ESC2":                      {map[string]string{"%T": `pKIExtendedKeyUsage: ["2.5.29.37.0"], ` + byUPN + free}, "eve", "possible", "member enrolls"},
		"ESC4, permissions":         {map[string]string{"%T": clientAuth + byUPN + free, "%P": "allow eve write-permissions"}, "eve", "certain", "enrolls"},
		"ESC4, property":            {map[string]string{"%T": clientAuth + byUPN + free, "%P": "allow eve write msPKI-Certificate-Name-Flag"}, "eve", "certain", "enrolls"},
		"ESC4, authority refuses":   {map[string]string{"%T": clientAuth + byUPN + free, "%P": "allow eve full-control", "%S": ""}, "eve", "none", ""},
		"ESC4, not published":       {map[string]string{"%N": "Other", "%P": "allow eve full-control"}, "eve", "none", ""},
		"ESC7, host":                {map[string]string{"%T": clientAuth + byUPN + free, "%H": "allow eve full-control"}, "eve", "certain", "full-control issues-certificates"},
		"ESC7, object":              {map[string]string{"%T": clientAuth + byUPN + free, "%S": "allow eve write-permissions"}, "eve", "possible", "write-dac issues-certificates"},
		"ESC9": {map[string]string{
			"%T": clientAuth + byUPN + `msPKI-Enrollment-Flag: ["524288"], msPKI-RA-Signature: ["0"]`,
			"%P": "allow ann right Certificate-Enrollment", "%A": "allow eve write userPrincipalName",
		}, "eve", "possible", "write-upn writes-identity"},
		"ESC9, cannot enroll": {map[string]string{
			"%T": clientAuth + byUPN + `msPKI-Enrollment-Flag: ["524288"], msPKI-RA-Signature: ["0"]`,
			"%P": "", "%A": "allow eve write userPrincipalName",
		}, "eve", "none", ""},
		"ESC15":                {map[string]string{"%T": serverAuth + `msPKI-Certificate-Name-Flag: ["1"], msPKI-Template-Schema-Version: ["1"], ` + free}, "eve", "possible", "member enrolls"},
		"ESC15, later version": {map[string]string{"%T": serverAuth + `msPKI-Certificate-Name-Flag: ["1"], msPKI-Template-Schema-Version: ["2"], ` + free}, "eve", "none", ""},
	} {
		t.Run(name, func(t *testing.T) { ask(t, pki(c.marks), question{c.from, "tier0", c.want, c.kinds}) })
	}
}

// An enrollment agent needs a template for which it can enroll for others.
func TestEnrollmentAgent(t *testing.T) {
	second := `
  - name: U
    in: "CN=Certificate Templates,CN=Public Key Services,CN=Services,CN=Configuration"
    classes: [top, pKICertificateTemplate]
    attributes: {` + clientAuth + byUPN + `msPKI-Enrollment-Flag: ["0"], msPKI-RA-Signature: ["1"]}
`
	ask(t, pki(map[string]string{"%T": agent + byUPN + free, "%N": "T, U"})+second, question{"eve", "tier0", "possible", "member enrolls"})
	ask(t, pki(map[string]string{"%T": agent + byUPN + free}), question{"eve", "tier0", "none", ""})
}

// An issuance policy may stand for a group: ESC13.
func TestIssuancePolicyGroup(t *testing.T) {
	withPolicy := clientAuth + byUPN + free + `, msPKI-Certificate-Policy: ["1.2.3.4"]`
	linked := `, msDS-OIDToGroupLink: ["CN=Vault,OU=Staff"]`
	ask(t, pki(map[string]string{"%T": withPolicy, "%O": linked}),
		question{"eve", "Vault", "certain", "member enrolls-as-group"}, question{"ann", "Vault", "none", ""}, question{"eve", "tier0", "none", ""})
	ask(t, pki(map[string]string{"%T": withPolicy}), question{"eve", "Vault", "none", ""})
}

// A certificate mapped by subject or address can be had by others: ESC14.
func TestWeakMapping(t *testing.T) {
	for mapping, want := range map[string]string{
		"X509:<RFC822>ann@contoso.test":           "possible",
		"X509:<I>DC=test,CN=CA<S>CN=ann":          "possible",
		"X509:<I>DC=test,CN=CA<SR>1200000000AC11": "none",
		"X509:<SKI>123456789abcdef":               "none",
		"X509:<SHA1-PUKEY>123456789abcdef":        "none",
		"Kerberos:ann@OTHER.TEST":                 "none",
	} {
		text := replace(pki(map[string]string{"%T": clientAuth + byUPN + free}), "{name: ann, in: Staff,", `{name: ann, in: Staff, attributes: {altSecurityIdentities: ["`+mapping+`"]},`)
		ask(t, text, question{"eve", "ann", want, ""})
	}
}

// Who can make an authority of his own a root, and have its certificates count for
// logging on, needs nothing else: ESC5. One of both depends on the other.
func TestOwnAuthority(t *testing.T) {
	const stores = `
  - name: Root
    in: "CN=Certification Authorities,CN=Public Key Services,CN=Services,CN=Configuration"
    classes: [top, certificationAuthority]
    attributes: {cACertificate: ["base64:MIID"], authorityRevocationList: ["base64:AA=="], certificateRevocationList: ["base64:AA=="]}
    permissions: [%R]
  - name: Middle
    in: "CN=AIA,CN=Public Key Services,CN=Services,CN=Configuration"
    classes: [top, certificationAuthority]
    attributes: {cACertificate: ["base64:MIIE"], authorityRevocationList: ["base64:AA=="], certificateRevocationList: ["base64:AA=="]}
    permissions: [%M]
permissions:
  - {on: "CN=NTAuthCertificates,CN=Public Key Services,CN=Services,CN=Configuration", lines: [%A]}
  - {on: "CN=Certification Authorities,CN=Public Key Services,CN=Services,CN=Configuration", lines: [%Z]}
`
	const write, way = "allow eve write cACertificate", "issues-certificates"
	for name, c := range map[string]struct {
		marks map[string]string
		want  string
		kinds string
	}{
		"both":             {map[string]string{"%A": write, "%R": write}, "certain", ""},
		"by control":       {map[string]string{"%A": "allow Enrollers write-permissions", "%R": "allow eve write-owner"}, "certain", ""},
		"new root":         {map[string]string{"%A": write, "%Z": "allow eve full-control"}, "certain", ""},
		"NTAuth alone":     {map[string]string{"%A": write}, "possible", "write-ca-certificate " + way},
		"root alone":       {map[string]string{"%R": write}, "possible", "write-ca-certificate " + way},
		"of two tokens":    {map[string]string{"%A": "allow ann write cACertificate", "%R": write}, "possible", "write-ca-certificate " + way},
		"no root":          {map[string]string{"%A": write, "%M": "allow eve full-control"}, "possible", ""},
		"another property": {map[string]string{"%A": "allow eve write description", "%R": "allow eve write description"}, "none", ""},
		"denied":           {map[string]string{"%A": write, "%R": "deny eve write cACertificate, " + write}, "possible", ""},
	} {
		text := pki(map[string]string{"%T": clientAuth + byUPN + free, "%P": "", "%A": ""}) + stores
		for _, mark := range []string{"%A", "%R", "%Z", "%M"} {
			text = replace(text, mark, c.marks[mark])
		}
		t.Run(name, func(t *testing.T) { ask(t, text, question{"eve", fixtureBase, c.want, c.kinds}) })
	}
}
