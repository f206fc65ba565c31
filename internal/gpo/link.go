package gpo

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// ErrSyntax reports an attribute or file of a policy that does not have its
// format; the text says where.
var ErrSyntax = errors.New("malformed policy data")

// Limits on what is taken from a directory or a share.
const (
	maxLinks      = 10_000
	maxExtensions = 1_000
)

// LinkFlags are the options of a link ([MS-GPOL] 2.2.2).
type LinkFlags uint32

// Link options. A link that is disabled and enforced is disabled.
const (
	LinkFlagDisabled LinkFlags = 1
	LinkFlagEnforced LinkFlags = 2
)

// A LinkEntry is one element of a gPLink attribute.
type LinkEntry struct {
	DN    string // of the policy, as written, without LDAP://
	Flags LinkFlags
}

// ParseLinks splits a gPLink attribute ([MS-GPOL] 2.2.2). The entries keep the
// order of the text: the last one has link order 1.
//
// Which end wins: the text of [MS-GPOL] 3.2.5.1.5 prepends the links of a
// container to the list of normal policies but appends them to the list of
// enforced ones, so read literally the left-most normal link and the right-most
// enforced link would win. Windows does not behave so: its tools number the
// right-most entry 1, a new link is inserted at the left with the largest
// number, and number 1 wins in both lists. This package follows Windows.
func ParseLinks(s string) ([]LinkEntry, error) {
	var out []LinkEntry
	for pos := 0; pos < len(s); {
		if s[pos] == ' ' || s[pos] == 0 { // Windows leaves a single space where all links were removed
			pos++
			continue
		}
		end := strings.IndexByte(s[pos:], ']')
		if s[pos] != '[' || end < 0 {
			return nil, fmt.Errorf("%w: gPLink at offset %d: no [entry]", ErrSyntax, pos)
		}
		e, err := parseLink(s[pos+1 : pos+end])
		if err != nil {
			return nil, fmt.Errorf("%w: gPLink at offset %d: %w", ErrSyntax, pos, err)
		}
		if len(out) == maxLinks {
			return nil, fmt.Errorf("%w: gPLink has more than %d links", ErrSyntax, maxLinks)
		}
		out = append(out, e)
		pos += end + 1
	}
	return out, nil
}

func parseLink(s string) (LinkEntry, error) {
	i := strings.LastIndexByte(s, ';')
	if i < 0 {
		return LinkEntry{}, errors.New("no options")
	}
	flags, err := strconv.ParseUint(strings.TrimSpace(s[i+1:]), 10, 32)
	if err != nil {
		return LinkEntry{}, fmt.Errorf("options %q", s[i+1:])
	}
	dn := s[:i]
	if len(dn) < 7 || !strings.EqualFold(dn[:7], "LDAP://") {
		return LinkEntry{}, fmt.Errorf("%q does not begin with LDAP://", dn)
	}
	if dn = dn[7:]; dn == "" {
		return LinkEntry{}, errors.New("no distinguished name")
	}
	if slash := strings.IndexByte(dn, '/'); slash >= 0 && strings.IndexByte(dn[:slash], '=') < 0 {
		dn = dn[slash+1:] // LDAP://server/DN
	}
	return LinkEntry{DN: dn, Flags: LinkFlags(flags)}, nil
}

// FormatLinks writes a gPLink attribute.
func FormatLinks(links []LinkEntry) string {
	var b strings.Builder
	for _, l := range links {
		fmt.Fprintf(&b, "[LDAP://%s;%d]", l.DN, l.Flags)
	}
	return b.String()
}

// Extensions is a parsed gPCMachineExtensionNames attribute: for each
// client-side extension the administration tools that use it.
type Extensions []Extension

// An Extension is one element of gPCMachineExtensionNames.
type Extension struct {
	CSE   secdesc.GUID
	Tools []secdesc.GUID
}

// Client-side extensions that this package knows.
var (
	cseRegistry = secdesc.MustGUID("35378eac-683f-11d2-a89a-00c04fbbcfa2") // [MS-GPREG] 1.9
	cseSecurity = secdesc.MustGUID("827d319e-6eac-11d2-a4ea-00c04f79f83a") // [MS-GPSB] 1.9
	cseGroups   = secdesc.MustGUID("17d89fec-5c44-4972-b12d-241caef74509") // [MS-GPPREF] 1.9
	cseAudit    = secdesc.MustGUID("f3ccc681-b74c-4060-9f26-cd84525dca2a") // [MS-GPAC] 1.9
)

// ParseExtensions splits a gPCMachineExtensionNames attribute ([MS-GPOL] 2.2.4).
func ParseExtensions(s string) (Extensions, error) {
	var out Extensions
	for pos := 0; pos < len(s); {
		if s[pos] == ' ' || s[pos] == 0 {
			pos++
			continue
		}
		end := strings.IndexByte(s[pos:], ']')
		if s[pos] != '[' || end < 0 {
			return nil, fmt.Errorf("%w: extension names at offset %d: no [entry]", ErrSyntax, pos)
		}
		body := s[pos+1 : pos+end]
		if len(body) == 0 || len(body)%38 != 0 {
			return nil, fmt.Errorf("%w: extension names at offset %d: not a list of GUIDs in braces", ErrSyntax, pos)
		}
		var e Extension
		for i := 0; i < len(body); i += 38 {
			g, err := secdesc.ParseGUID(body[i : i+38])
			if err != nil || body[i] != '{' {
				return nil, fmt.Errorf("%w: extension names at offset %d: %q is not a GUID in braces", ErrSyntax, pos+1+i, body[i:i+38])
			}
			if i == 0 {
				e.CSE = g
			} else {
				e.Tools = append(e.Tools, g)
			}
		}
		if len(out) == maxExtensions {
			return nil, fmt.Errorf("%w: more than %d extensions", ErrSyntax, maxExtensions)
		}
		out = append(out, e)
		pos += end + 1
	}
	return out, nil
}

// String writes the attribute as Windows does, in upper case.
func (x Extensions) String() string {
	var b strings.Builder
	for _, e := range x {
		b.WriteString("[{" + strings.ToUpper(e.CSE.String()) + "}")
		for _, t := range e.Tools {
			b.WriteString("{" + strings.ToUpper(t.String()) + "}")
		}
		b.WriteByte(']')
	}
	return b.String()
}

// Runs reports whether clients run extension cse for the policy. Processing ends
// at the first extension out of ascending order ([MS-GPOL] 2.2.4).
func (x Extensions) Runs(cse secdesc.GUID) bool {
	last := ""
	for _, e := range x {
		g := e.CSE.String()
		if g < last {
			return false
		}
		if e.CSE == cse {
			return true
		}
		last = g
	}
	return false
}

// A WQLFilter is a parsed gPCWQLFilter attribute ([MS-GPOL] 2.2.4).
type WQLFilter struct {
	Domain string
	ID     string // common name of the filter below CN=SOM,CN=WMIPolicy,CN=System
}

// ParseWQLFilter splits a gPCWQLFilter attribute: [domain;id;flags]. An empty or
// blank attribute has no filter: the ID is empty.
func ParseWQLFilter(s string) (WQLFilter, error) {
	t := strings.TrimSpace(s)
	if t == "" {
		return WQLFilter{}, nil
	}
	body, ok1 := strings.CutPrefix(t, "[")
	body, ok2 := strings.CutSuffix(body, "]")
	parts := strings.Split(body, ";")
	if !ok1 || !ok2 || len(parts) < 2 || parts[1] == "" {
		return WQLFilter{}, fmt.Errorf("%w: gPCWQLFilter %q is not [domain;id;flags]", ErrSyntax, s)
	}
	return WQLFilter{Domain: strings.Trim(parts[0], `"`), ID: strings.Trim(parts[1], `"`)}, nil
}

// splitSysPath takes \\server\sysvol\domain\Policies\{…} apart into the domain
// and the path below its folder, with slashes.
func splitSysPath(unc string) (domain, path string, err error) {
	parts := strings.Split(strings.ReplaceAll(unc, "/", `\`), `\`)
	if len(parts) < 6 || parts[0] != "" || parts[1] != "" || !strings.EqualFold(parts[3], "sysvol") {
		return "", "", fmt.Errorf("%w: gPCFileSysPath %q is not below \\\\domain\\sysvol\\domain", ErrSyntax, unc)
	}
	for _, p := range parts[4:] {
		if p == "" || p == "." || p == ".." {
			return "", "", fmt.Errorf("%w: gPCFileSysPath %q has an empty or relative part", ErrSyntax, unc)
		}
	}
	return parts[4], strings.Join(parts[5:], "/"), nil
}
