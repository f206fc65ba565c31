//go:build linux

package cli_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"

	ldap "github.com/go-ldap/ldap/v3"

	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/plan"
	"github.com/leastwise/leastwise/lab/samba"
)

type (
	grantRef = grant.Ref
	ctxt     = context.Context
)

// An attempt is one request that is tried.
type attempt struct {
	name string
	do   func(*ldap.Conn) error
}

func replace(dn, attr string, values ...string) attempt {
	return attempt{"replace " + attr + " of " + dn, func(c *ldap.Conn) error {
		r := ldap.NewModifyRequest(dn, nil)
		r.Replace(attr, values)
		return c.Modify(r)
	}}
}

func member(dn, who string, add bool) attempt {
	return attempt{fmt.Sprintf("member %t of %s", add, dn), func(c *ldap.Conn) error {
		r := ldap.NewModifyRequest(dn, nil)
		if add {
			r.Add("member", []string{who})
		} else {
			r.Delete("member", []string{who})
		}
		return c.Modify(r)
	}}
}

// descriptor writes one part of the permissions, without a change: writing is the matter.
func (e *estate) descriptor(dn string, part int) attempt {
	value := string(e.read(dn).GetRawAttributeValue("nTSecurityDescriptor"))
	return attempt{fmt.Sprintf("permissions (%d) of %s", part, dn), func(c *ldap.Conn) error {
		flags := ldap.NewControlString("1.2.840.113556.1.4.801", true, string([]byte{0x30, 0x03, 0x02, 0x01, byte(part)}))
		r := ldap.NewModifyRequest(dn, []ldap.Control{flags})
		r.Replace("nTSecurityDescriptor", []string{value})
		return c.Modify(r)
	}}
}

func remove(dn string) attempt {
	return attempt{"delete " + dn, func(c *ldap.Conn) error { return c.Del(ldap.NewDelRequest(dn, nil)) }}
}

func rename(dn string) attempt {
	return attempt{"rename " + dn, func(c *ldap.Conn) error {
		return c.ModifyDN(ldap.NewModifyDNRequest(dn, "CN=renamed", true, ""))
	}}
}

func create(dn, class string, attrs ...string) attempt {
	return attempt{"create " + class + " " + dn, func(c *ldap.Conn) error {
		r := ldap.NewAddRequest(dn, nil)
		r.Attribute("objectClass", []string{class})
		for i := 0; i+1 < len(attrs); i += 2 {
			r.Attribute(attrs[i], []string{attrs[i+1]})
		}
		return c.Add(r)
	}}
}

// replicate asks for the changes of the domain as a domain controller does, secrets
// included ([MS-ADTS] 3.1.1.3.4.1.3, without LDAP_DIRSYNC_OBJECT_SECURITY).
func (e *estate) replicate() attempt {
	return attempt{"replicate the domain", func(c *ldap.Conn) error {
		r := ldap.NewSearchRequest(e.lab.BaseDN, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=user)", nil,
			[]ldap.Control{ldap.NewRequestControlDirSync(0, 1<<20, nil)})
		_, err := c.Search(r)
		return err
	}}
}

func password(dn string) attempt {
	return replace(dn, "unicodePwd", unicodePwd("Lw1-stolen-Passw0rd"))
}

// common is what neither account may do.
func (e *estate) common() []attempt {
	list := []attempt{
		member(e.other, e.stranger, true), member("CN=Enterprise Admins,CN=Users,"+e.lab.BaseDN, e.stranger, true),
		member("CN=Administrators,CN=Builtin,"+e.lab.BaseDN, e.stranger, true), member(e.managersDN, e.stranger, true),
		password(e.stranger), password("CN=Administrator,CN=Users," + e.lab.BaseDN), password(e.serviceDN), password("CN=krbtgt,CN=Users," + e.lab.BaseDN),
		replace(e.stranger, "userAccountControl", "514"), replace(e.stranger, "description", "x"), replace(e.stranger, "servicePrincipalName", "host/x"),
		replace("CN=Administrator,CN=Users,"+e.lab.BaseDN, "userAccountControl", "514"),
		replace(e.serviceDN, "servicePrincipalName", "host/y"), replace(e.serviceDN, "telephoneNumber", "1"),
		replace(e.holder, "description", "x"), replace(e.lab.BaseDN, "description", "x"), replace(e.lab.BaseDN, "minPwdLength", "1"),
		remove(e.stranger), remove(e.other), remove(e.managersDN), rename(e.other), rename(e.stranger),
		create("CN=new,"+e.ou, "user", "sAMAccountName", "new-"+e.tag), create("CN=new,"+e.ou, "group", "sAMAccountName", "new-"+e.tag),
		create("OU=new,"+e.ou, "organizationalUnit"), create("CN=new,CN=Users,"+e.lab.BaseDN, "user", "sAMAccountName", "new-"+e.tag),
		create("CN=new,"+e.lab.BaseDN, "container"), create("CN={00000000-0000-0000-0000-000000000001},CN=Policies,CN=System,"+e.lab.BaseDN, "groupPolicyContainer"),
		create("CN=new,CN=Services,CN=Configuration,"+e.lab.BaseDN, "container"), create("CN=new,CN=Sites,CN=Configuration,"+e.lab.BaseDN, "site"),
	}
	for _, dn := range []string{
		e.helpers, e.other, e.admins, e.managersDN, e.managerDN, e.serviceDN, e.stranger, e.holder, e.ou, e.lab.BaseDN, "CN=Users," + e.lab.BaseDN,
		"CN=Enterprise Admins,CN=Users," + e.lab.BaseDN, "CN=Administrator,CN=Users," + e.lab.BaseDN,
	} {
		for _, part := range []int{1, 4} { // owner, DACL
			list = append(list, e.descriptor(dn, part))
		}
	}
	for _, dn := range []string{e.helpers, e.admins} {
		list = append(list, rename(dn), remove(dn))
		for attr, value := range map[string]string{
			"description": "x", "managedBy": e.stranger, "groupType": "-2147483640", "sAMAccountName": "x-" + e.tag, "displayName": "x", "mail": "x@contoso.test",
			"adminCount": "0", "info": "x", "sIDHistory": "\x01\x00",
		} {
			list = append(list, replace(dn, attr, value))
		}
	}
	for attr, value := range map[string]string{
		"description": "x", "sAMAccountName": "x-" + e.tag, "userPrincipalName": "administrator@contoso.test", "servicePrincipalName": "host/z", "scriptPath": "x",
		"accountExpires": "0", "pwdLastSet": "0", "lockoutTime": "0", "primaryGroupID": "512", "altSecurityIdentities": "X509:<I>x<S>y", "logonHours": "\x00",
		"msDS-AllowedToDelegateTo": "host/dc1", "msDS-SupportedEncryptionTypes": "4", "userParameters": "x", "displayName": "x", "adminCount": "1", "userWorkstations": "x",
	} {
		list = append(list, replace(e.managerDN, attr, value))
	}
	return append(list, rename(e.managerDN), remove(e.managerDN))
}

// testProof does what the accounts are for, and then tries what they must not do, as the
// service account and as the enabled management account.
func (e *estate) testProof(t *testing.T) {
	service := e.dial(t, e.service)
	do := func(who string, c *ldap.Conn, a attempt) {
		t.Helper()
		if err := a.do(c); err != nil {
			t.Errorf("%s cannot %s: %v", who, a.name, err)
		}
	}
	do("the service account", service, member(e.helpers, e.stranger, true))
	do("the service account", service, member(e.helpers, e.stranger, false))
	e.through(t, plan.AddMember)
	if got := e.read(e.admins).GetAttributeValues("member"); len(got) != 2 {
		t.Errorf("members of Domain Admins: %q", got)
	}
	e.through(t, plan.RemoveMember)
	e.disabled(t)
	do("the service account", service, replace(e.managerDN, "unicodePwd", unicodePwd("Lw1-manager-Passw0rd")))
	do("the service account", service, replace(e.managerDN, "userAccountControl", "1049088"))
	manager := e.dial(t, e.manager)
	do("the management account", manager, member(e.admins, e.stranger, true))
	do("the management account", manager, member(e.admins, e.stranger, false))

	common := e.common()
	before := e.numbers()
	refused := append([]attempt{
		member(e.admins, e.stranger, true), member(e.admins, e.serviceDN, true),
		// The right to write userAccountControl does not reach to what other rights guard.
		replace(e.managerDN, "userAccountControl", strconv.Itoa(0x80200)), replace(e.managerDN, "userAccountControl", strconv.Itoa(0x1000200)),
	}, common...)
	e.refused(t, "the service account", service, refused)
	e.refused(t, "the management account", manager, append([]attempt{
		member(e.helpers, e.stranger, true), password(e.managerDN), replace(e.managerDN, "userAccountControl", "1049090"), replace(e.managerDN, "telephoneNumber", "1"),
	}, common...))
	if err := e.replicate().do(e.admin); err != nil {
		t.Errorf("Administrator cannot replicate, so that refusing it says nothing: %v", err)
	}
	for who, c := range map[string]*ldap.Conn{"service": service, "management": manager} {
		if err := e.replicate().do(c); err == nil { // Samba refuses with operationsError
			t.Errorf("the %s account replicates the domain", who)
		}
	}
	for dn, was := range before {
		if now := e.read(dn).GetAttributeValue("uSNChanged"); now != was {
			t.Errorf("%s was changed", dn)
		}
	}
	do("the service account", service, replace(e.managerDN, "userAccountControl", "1049090"))
	e.disabled(t)
	t.Logf("%d requests were tried and refused", len(refused)+len(common)+4)
}

func (e *estate) dial(t *testing.T, a samba.Account) *ldap.Conn {
	t.Helper()
	c, err := e.lab.Dial(t.Context(), e.lab.DCs()[0], a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func (e *estate) disabled(t *testing.T) {
	t.Helper()
	if got := e.read(e.managerDN).GetAttributeValue("userAccountControl"); got != "1049090" {
		t.Errorf("userAccountControl of the management account is %s", got)
	}
}

// numbers are the uSNChanged of everything that is tried upon.
func (e *estate) numbers() map[string]string {
	out := map[string]string{}
	for _, dn := range []string{e.helpers, e.other, e.admins, e.managersDN, e.managerDN, e.serviceDN, e.stranger, e.holder, e.ou, e.lab.BaseDN} {
		out[dn] = e.read(dn).GetAttributeValue("uSNChanged")
	}
	return out
}

// refused tries each; whatever is done, or refused for another reason than that the
// account lacks the right, is a failure.
func (e *estate) refused(t *testing.T, who string, c *ldap.Conn, list []attempt) {
	t.Helper()
	for _, a := range list {
		err := a.do(c)
		if !ldap.IsErrorWithCode(err, ldap.LDAPResultInsufficientAccessRights) {
			t.Errorf("%s: %s: %v", who, a.name, err)
		}
	}
}
