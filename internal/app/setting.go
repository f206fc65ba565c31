package app

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/leastwise/leastwise/internal/control"
)

// ErrConfig reports a setting that is unknown or has a value that does not fit.
var ErrConfig = errors.New("configuration")

// EnvPrefix begins the names of environment variables that hold settings.
const EnvPrefix = "LEASTWISE_"

// A Kind is the type of a setting's value.
type Kind uint8

// Kinds of settings.
const (
	String   Kind = iota
	List          // several strings; in the environment and in flags separated by ";"
	Bool          // true, false
	Int           // decimal, at least 1
	Duration      // Go syntax: 30s, 5m
)

// A Setting is one thing that can be configured: in the file under Name, in the
// environment as LEASTWISE_NAME (dashes become underscores), as a flag --Name.
type Setting struct {
	Name    string
	Kind    Kind
	Group   string // commands take whole groups: directory, database, key, witness, mirror, serve, scan, client, controls, assess
	Default string
	Help    string
	Values  []string // the only values allowed, if any
}

// Env returns the name of the setting's environment variable.
func (s Setting) Env() string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_"))
}

// Settings returns all settings, in the order of the documentation.
func Settings() []Setting {
	return []Setting{
		{Name: "domain", Group: "directory", Help: "DNS name of the domain"},
		{Name: "server", Group: "directory", Help: "domain controller, by DNS name or address; default: found through DNS"},
		{Name: "dns", Group: "directory", Help: "DNS server of the domain, host[:port]; default: the system's"},
		{Name: "site", Group: "directory", Help: "site whose domain controllers are tried first"},
		{Name: "transport", Group: "directory", Default: "sealed", Values: []string{"sealed", "ldaps", "starttls"}, Help: "how LDAP is encrypted: Kerberos on port 389, TLS on port 636, or TLS on port 389"},
		{Name: "bind", Group: "directory", Default: "kerberos", Values: []string{"kerberos", "simple"}, Help: "how to authenticate; simple only inside TLS"},
		{Name: "user", Group: "directory", Help: "account that reads: user, user@domain or DOMAIN\\user; its password comes from --password-file, LEASTWISE_PASSWORD or a prompt"},
		{Name: "password-file", Group: "directory", Help: "file with the password of --user; - reads standard input"},
		{Name: "keytab", Group: "directory", Help: "Kerberos keytab to authenticate with"},
		{Name: "ccache", Group: "directory", Help: "Kerberos credential cache; default: KRB5CCNAME, else the system's"},
		{Name: "ca", Group: "directory", Help: "PEM file with further root certificates"},
		{Name: "timeout", Kind: Duration, Group: "directory", Default: "30s", Help: "how long to wait for a connection or an answer"},
		{Name: "page-size", Kind: Int, Group: "directory", Default: "1000", Help: "objects per page of LDAP results"},
		{Name: "no-failover", Kind: Bool, Group: "directory", Default: "false", Help: "do not begin again on another domain controller when one fails"},
		{Name: "sacl", Kind: Bool, Group: "directory", Default: "true", Help: "read audit entries where the account may"},

		{Name: "database", Group: "database", Default: "leastwise.db", Help: "database of the server: an SQLite file, or postgres://user@host/name without a password"},
		{Name: "database-password-file", Group: "database", Help: "file with the password of PostgreSQL; else PGPASSWORD or the passfile"},
		{Name: "audit-key", Group: "key", Default: "audit.key", Help: "file with the secret key that signs checkpoints of the audit log"},
		{Name: "audit-earlier-keys", Kind: List, Group: "key", Help: "public keys, or files with them, that signed the audit log before the present key did"},
		{Name: "witness", Group: "witness", Help: "file, best on another machine, that every new checkpoint is appended to, and that the log is held to"},
		{Name: "witness-url", Group: "mirror", Help: "webhook, https, that every new checkpoint is posted to, signed"},
		{Name: "witness-key-file", Group: "mirror", Help: "file with the key that signs what --witness-url is sent, at least 32 bytes"},

		{Name: "listen", Group: "serve", Default: "127.0.0.1:8443", Help: "address and port that the server listens on"},
		{Name: "names", Kind: List, Group: "serve", Help: "DNS names and addresses that clients call the server by; its own authority issues for them, and the first one is its Kerberos name; default: the machine's name and localhost"},
		{Name: "tls-folder", Group: "serve", Default: "tls", Help: "folder of the server's own authority, which is made at the first start: give its ca.pem to the clients"},
		{Name: "certificate", Group: "serve", Help: "PEM file with a certificate and its chain to use instead of an own authority's"},
		{Name: "certificate-key", Group: "serve", Help: "PEM file with the key of --certificate"},
		{Name: "plain-http", Kind: Bool, Group: "serve", Default: "false", Help: "serve without TLS; on a loopback address only"},
		{Name: "grant-policies", Group: "serve", Default: "grants.yaml", Help: "file of the policies of grants"},
		{Name: "operator-policies", Group: "serve", Help: "Cedar file of what operators may do; default: the built-in policies"},
		{Name: "operator-keys", Group: "serve", Default: "operator.keys", Help: "file with the keys that seal second factors; made at the first start"},
		{Name: "service-keytab", Group: "serve", Help: "keytab of HTTP/NAME, which clients get Kerberos tickets for; default: no sign-in with Kerberos"},
		{Name: "loose-tickets", Kind: Bool, Group: "serve", Default: "false", Help: "take Kerberos tickets that are not tied to the TLS connection, too, such as those of browsers that cannot"},
		{Name: "client-ca", Group: "serve", Help: "PEM file with the authorities that are trusted to say by a client certificate who somebody is"},
		{Name: "client-crl", Kind: List, Group: "serve", Help: "files with the lists of revoked certificates of those authorities; where one is given, each needs one, and they must be current"},
		{Name: "client-mappings", Group: "serve", Help: "file that says which client certificate belongs to which account, beside the SID that the authority put into it"},
		{Name: "enrolment-codes", Kind: Bool, Group: "serve", Default: "false", Help: "the first second factor of every account needs a code of an administrator, not only after a recovery"},
		{Name: "power-snapshot", Group: "serve", Help: "snapshot that tells approvers what the power of a group is; read again when it changes"},
		{Name: "scan-every", Kind: Duration, Group: "scan", Help: "how often the server scans the domain and keeps the run; default: never"},
		{Name: "scan-at", Group: "scan", Help: "time of day, HH:MM in UTC, from which --scan-every counts; default: 00:00, and the first scan at once"},
		{Name: "scan-snapshot", Group: "scan", Help: "file that each scheduled scan is written to, such as that of --power-snapshot"},
		{Name: "notify", Group: "serve", Help: "file of who is told of grants, and how: mail, webhooks, syslog; default: nobody"},
		{Name: "checkpoint-every", Kind: Duration, Group: "serve", Default: "1h", Help: "how often the audit log is signed"},
		{Name: "allow-privileged-identity", Kind: Bool, Group: "serve", Default: "false", Help: "start although leastwise's own account holds power that it must not have; said loudly at every start"},
		{Name: "log-level", Group: "serve", Default: "info", Values: []string{"debug", "info", "warn", "error"}, Help: "what the server logs to standard error, as lines of JSON"},

		{Name: "url", Group: "client", Help: "address of the server, such as https://leastwise.contoso.com:8443"},
		{Name: "sign-in", Group: "client", Default: "kerberos", Values: []string{"kerberos", "password", "token"}, Help: "how to sign in to the server"},
		{Name: "token-file", Group: "client", Help: "file with an API token, for --sign-in token; - reads standard input"},
		{Name: "code-file", Group: "client", Help: "file with the present code of the authenticator app, where the server asks for one; default: a prompt"},

		{Name: "catalogue", Kind: List, Group: "controls", Help: "further catalogue files of controls"},
		{Name: "exceptions", Group: "assess", Help: "file of accepted findings: control, subject, owner, reason, expiry"},
		{Name: "exempt", Kind: List, Group: "assess", Help: "DNs of containers whose computers the deny rights do not concern (jump servers)"},
		{Name: "servers", Kind: List, Group: "assess", Help: "DNs of containers whose computers count as servers whatever their operating system"},
		{Name: "workstations", Kind: List, Group: "assess", Help: "DNs of containers whose computers count as workstations whatever their operating system"},
		{Name: "admin-groups", Kind: List, Group: "assess", Help: "groups beside the protected ones whose members are administrative accounts: sAMAccountName, DN or SID"},
		{Name: "vip-groups", Kind: List, Group: "assess", Help: "groups whose members are held to the standard of administrators"},
		{Name: "management-groups", Kind: List, Group: "assess", Help: "groups whose members are management accounts (guide, app. I)"},
		{Name: "stale-days", Kind: Int, Group: "assess", Default: "90", Help: "days without logon after which an enabled account is stale"},
		{Name: "password-days", Kind: Int, Group: "assess", Default: "365", Help: "age in days from which a password is old"},
		{Name: "krbtgt-days", Kind: Int, Group: "assess", Default: "180", Help: "age in days from which the password of krbtgt is old"},
		{Name: "max-privileged", Kind: Int, Group: "assess", Default: "5", Help: "how many accounts may stand in Enterprise Admins, Domain Admins and Administrators together"},
		{Name: "refuse-time-bound", Kind: Bool, Group: "assess", Default: "false", Help: "time-bound members of those groups fail like standing ones"},
	}
}

// A Value is a setting's value and where it came from.
type Value struct {
	Setting Setting
	Text    string // a List has its elements separated by ";"
	Source  string // "default", "FILE:line", "environment LEASTWISE_…", "flag --…"
}

// A Config is the value of every setting.
type Config struct{ values map[string]Value }

// NewConfig returns the defaults.
func NewConfig() *Config {
	c := &Config{map[string]Value{}}
	for _, s := range Settings() {
		c.values[s.Name] = Value{s, s.Default, "default"}
	}
	return c
}

// Set gives a setting a value.
func (c *Config) Set(name, text, source string) error {
	v, ok := c.values[name]
	if !ok {
		return fmt.Errorf("%w: %s: there is no setting %q", ErrConfig, source, name)
	}
	if err := check(v.Setting, text); err != nil {
		return fmt.Errorf("%w: %s: %s: %w", ErrConfig, source, name, err)
	}
	v.Text, v.Source = text, source
	c.values[name] = v
	return nil
}

func check(s Setting, text string) error {
	if len(s.Values) > 0 && !slices.Contains(s.Values, text) {
		return fmt.Errorf("%q is none of %s", text, strings.Join(s.Values, ", "))
	}
	switch s.Kind {
	case Bool:
		if text != "true" && text != "false" {
			return fmt.Errorf("%q is neither true nor false", text)
		}
	case Int:
		if n, err := strconv.Atoi(text); err != nil || n < 1 {
			return fmt.Errorf("%q is not a positive whole number", text)
		}
	case Duration:
		if d, err := time.ParseDuration(text); err != nil || d <= 0 {
			return fmt.Errorf("%q is not a duration such as 30s or 5m", text)
		}
	case String, List:
	}
	return nil
}

// ReadEnv takes settings from environment variables (NAME=value). A variable with
// our prefix that names no setting is an error, except LEASTWISE_PASSWORD and
// those in other.
func (c *Config) ReadEnv(environ []string, other ...string) error {
	names := map[string]string{}
	for _, s := range Settings() {
		names[s.Env()] = s.Name
	}
	for _, kv := range environ {
		key, val, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(key, EnvPrefix) || key == PasswordVariable || slices.Contains(other, key) {
			continue
		}
		name, ok := names[key]
		if !ok {
			return fmt.Errorf("%w: environment variable %s names no setting", ErrConfig, key)
		}
		if err := c.Set(name, val, "environment "+key); err != nil {
			return err
		}
	}
	return nil
}

// ReadYAML takes settings from a configuration file: a mapping of setting names
// to scalars, or to sequences for lists; see [control.CheckYAML] for its limits.
func (c *Config) ReadYAML(file string, data []byte) error {
	if err := control.CheckYAML(file, data); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	f, err := parser.ParseBytes(data, 0)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, syntaxError(file, err))
	}
	for _, doc := range f.Docs {
		if doc.Body == nil {
			continue
		}
		m, ok := doc.Body.(ast.MapNode)
		if !ok {
			return fmt.Errorf("%w: %s: not a mapping of settings", ErrConfig, file)
		}
		for it := m.MapRange(); it.Next(); {
			name, source := keyText(it.Key()), fmt.Sprintf("%s:%d", file, it.Key().GetToken().Position.Line)
			text, err := nodeText(it.Value())
			if err != nil {
				return fmt.Errorf("%w: %s: %s: %w", ErrConfig, source, name, err)
			}
			if err := c.Set(name, text, source); err != nil {
				return err
			}
		}
	}
	return nil
}

// syntaxError says on which line a file is no YAML, without quoting it.
func syntaxError(file string, err error) error {
	var e yaml.Error
	if errors.As(err, &e) && e.GetToken() != nil {
		return fmt.Errorf("%s:%d: not YAML: %s", file, e.GetToken().Position.Line, e.GetMessage())
	}
	return fmt.Errorf("%s: not YAML: %w", file, err)
}

// nodeText returns a scalar as text, and a sequence of scalars joined by ";". An
// element must be one to List as well.
func nodeText(n ast.Node) (string, error) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		return scalarText(n)
	}
	parts := make([]string, len(seq.Values))
	for i, v := range seq.Values {
		t, err := scalarText(v)
		if err != nil {
			return "", err
		}
		if one := splitList(t + ";"); t != "" && !slices.Equal(one, []string{strings.TrimSpace(t)}) {
			return "", fmt.Errorf("%q is not one element of a list: put a backslash before its semicolons, and none at its end", t)
		}
		parts[i] = t
	}
	return strings.Join(parts, ";"), nil
}

// scalarText returns a scalar as text, "" for null.
func scalarText(n ast.Node) (string, error) {
	switch n := n.(type) {
	case *ast.NullNode:
		return "", nil
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode: // | and >
		return strings.TrimSuffix(n.Value.Value, "\n"), nil
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		return "", errors.New("anchors, aliases and tags are not understood in the configuration")
	case ast.ScalarNode: // numbers and truth values, as they are written
		return n.GetToken().Value, nil
	}
	return "", errors.New("neither a value nor a list of values")
}

// keyText returns the name of a setting; quotes are not part of it.
func keyText(n ast.MapKeyNode) string {
	if s, ok := n.(*ast.StringNode); ok {
		return s.Value
	}
	return n.String()
}

// Values returns all settings with their values, in the order of Settings.
func (c *Config) Values() []Value {
	var out []Value
	for _, s := range Settings() {
		out = append(out, c.values[s.Name])
	}
	return out
}

// Value returns a setting with where its value came from.
func (c *Config) Value(name string) Value { return c.values[name] }

// Text returns the value of a setting as text.
func (c *Config) Text(name string) string { return c.values[name].Text }

// List returns the elements of a List setting. A semicolon behind a backslash
// belongs to its element.
func (c *Config) List(name string) []string { return splitList(c.Text(name)) }

func splitList(text string) []string {
	var out []string
	start := 0
	for i := range len(text) + 1 {
		switch {
		case i < len(text) && text[i] != ';', i < len(text) && escaped(text, i):
			continue
		}
		if p := strings.TrimSpace(text[start:i]); p != "" {
			out = append(out, p)
		}
		start = i + 1
	}
	return out
}

// escaped reports whether a backslash takes its meaning from text[i], as in the
// distinguished name OU=a\;b (RFC 4514).
func escaped(text string, i int) bool {
	n := 0
	for i > n && text[i-n-1] == '\\' {
		n++
	}
	return n%2 == 1
}

// Bool returns the value of a Bool setting.
func (c *Config) Bool(name string) bool { return c.Text(name) == "true" }

// Int returns the value of an Int setting.
func (c *Config) Int(name string) int {
	n, _ := strconv.Atoi(c.Text(name)) // checked by Set
	return n
}

// Duration returns the value of a Duration setting.
func (c *Config) Duration(name string) time.Duration {
	d, _ := time.ParseDuration(c.Text(name)) // checked by Set
	return d
}
