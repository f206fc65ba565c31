package dc

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

type credentialKind uint8

const (
	credCCache credentialKind = iota
	credKeytab
	credPassword
)

// Credentials say who reads the directory. The zero value is the default
// credential cache. Whatever prints a Credentials sees its kind and principal,
// never a secret.
type Credentials struct {
	kind      credentialKind
	principal string // user, user@domain or DOMAIN\user; empty: from cache or keytab
	path      string
	secret    string
}

// CCache returns credentials held in a Kerberos credential cache file. An empty
// path means KRB5CCNAME, else /tmp/krb5cc_UID.
func CCache(path string) Credentials { return Credentials{kind: credCCache, path: path} }

// Keytab returns credentials held in a keytab file. An empty principal means
// the first one in the file.
func Keytab(principal, path string) Credentials {
	return Credentials{kind: credKeytab, principal: principal, path: path}
}

// Password returns a user name (user, user@domain or DOMAIN\user) and password.
func Password(principal, password string) Credentials {
	return Credentials{kind: credPassword, principal: principal, secret: password}
}

// Principal returns the user name as it was given; it is empty when the
// credential cache or keytab decides.
func (c Credentials) Principal() string { return c.principal }

// String describes the credentials without their secret.
func (c Credentials) String() string {
	switch c.kind {
	case credKeytab:
		return fmt.Sprintf("keytab %s %s", c.path, c.principal)
	case credPassword:
		return "password of " + c.principal
	default:
		return "credential cache " + ccachePath(c.path)
	}
}

// GoString is String: %#v must not show the secret either.
func (c Credentials) GoString() string { return "dc.Credentials{" + c.String() + "}" }

// Format writes String for every verb.
func (c Credentials) Format(f fmt.State, verb rune) {
	if verb == 'v' && f.Flag('#') {
		_, _ = f.Write([]byte(c.GoString()))
		return
	}
	_, _ = f.Write([]byte(c.String()))
}

// MarshalText writes String, so that JSON and YAML never carry the secret.
func (c Credentials) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// in returns the credentials with the realm of domain in the user name, if it names
// none: the account belongs there, whatever domain it is used in.
func (c Credentials) in(domain string) Credentials {
	if c.principal != "" {
		user, realm := splitPrincipal(c.principal, domain)
		c.principal = user + "@" + realm
	}
	return c
}

// ccachePath returns the path of the credential cache file that is meant.
func ccachePath(path string) string {
	if path == "" {
		path = os.Getenv("KRB5CCNAME")
	}
	if path == "" {
		path = "/tmp/krb5cc_" + strconv.Itoa(os.Getuid())
	}
	return strings.TrimPrefix(path, "FILE:")
}

// splitPrincipal returns user and realm of a user name in one of its three
// spellings. The realm is upper case; it is fallback where the name has none or
// only a NetBIOS domain name, which is no realm.
func splitPrincipal(name, fallback string) (user, realm string) {
	if _, u, ok := strings.Cut(name, `\`); ok {
		return u, strings.ToUpper(fallback)
	}
	if i := strings.LastIndexByte(name, '@'); i >= 0 {
		return name[:i], strings.ToUpper(name[i+1:])
	}
	return name, strings.ToUpper(fallback)
}
