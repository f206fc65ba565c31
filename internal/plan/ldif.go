package plan

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

func unix(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }

// LDIF writes the plan as change records of RFC 2849, for people who know them and for
// ldapmodify. Objects go by GUID. What LDIF cannot say stands in comments: passwords,
// which no plan holds, and entries, which are merged into the DACL that is there then.
func (p *Plan) LDIF(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "version: 1\n# plan %s\n# for %s\n", p.Digest(), p.Domain)
	for _, c := range p.Changes {
		fmt.Fprintf(&b, "\n# %s\n", c.Text())
		c.ldif(&b)
	}
	_, err := w.Write(b.Bytes())
	return err
}

func (c Change) ldif(b *bytes.Buffer) {
	record := func(lines ...string) {
		fmt.Fprintf(b, "dn: <GUID=%s>\nchangetype: modify\n", c.Object.GUID)
		for _, l := range lines {
			b.WriteString(l + "\n")
		}
		b.WriteString("-\n")
	}
	switch c.Kind {
	case AddMember:
		value := c.Member.link()
		if c.Seconds > 0 {
			value = fmt.Sprintf("<TTL=%d,%s>", c.Seconds, value)
		}
		record("add: member", ldifLine("member", value))
	case RemoveMember:
		record("delete: member", ldifLine("member", c.Member.link()))
	case EnableAccount, DisableAccount:
		if c.Require.Flags == nil {
			fmt.Fprintf(b, "# the bit 0x2 of userAccountControl of <GUID=%s>; its other bits stay as they are then\n", c.Object.GUID)
			return
		}
		swap(record, "userAccountControl", int64(*c.Require.Flags), int64(*c.Require.Flags^AccountDisabled))
	case SetExpiry:
		if c.Require.Expires == nil {
			record("replace: accountExpires", "accountExpires: "+strconv.FormatInt(c.Expires.FileTime(), 10))
			return
		}
		swap(record, "accountExpires", c.Require.Expires.FileTime(), c.Expires.FileTime())
	case CreateObject:
		fmt.Fprintf(b, "%s\nchangetype: add\n", ldifLine("dn", c.New.DN(c.Object.DN)))
		for _, a := range c.New.Attributes() {
			b.WriteString(ldifLine(a[0], a[1]) + "\n")
		}
		if c.New.Permissions != nil {
			fmt.Fprintf(b, "nTSecurityDescriptor:: %s\n", base64.StdEncoding.EncodeToString(c.New.Permissions.Bytes()))
		}
	case DeleteObject:
		fmt.Fprintf(b, "%s\nchangetype: delete\n", ldifLine("dn", c.New.DN(c.Object.DN)))
	case ResetPassword:
		fmt.Fprintf(b, "# unicodePwd of <GUID=%s>; the value is given when the plan is carried out\n", c.Object.GUID)
	case GrantEntry, RevokeEntry:
		fmt.Fprintf(b, "# nTSecurityDescriptor of <GUID=%s>, with control 1.2.840.113556.1.4.801 for the DACL only\n", c.Object.GUID)
	}
}

func swap(record func(...string), name string, before, after int64) {
	record("delete: "+name, fmt.Sprintf("%s: %d", name, before), "-", "add: "+name, fmt.Sprintf("%s: %d", name, after))
}

// link is the target as a value of a link.
func (t Target) link() string {
	if t.GUID.IsZero() {
		return "<SID=" + t.SID.String() + ">"
	}
	return "<GUID=" + t.GUID.String() + ">"
}

// ldifLine writes an attribute line; a value that may not begin as it does goes in
// base64 (RFC 2849: SAFE-INIT-CHAR excludes "<").
func ldifLine(name, value string) string {
	plain := !strings.ContainsFunc(value, func(r rune) bool { return r < 0x20 || r > 0x7e }) && !strings.HasSuffix(value, " ")
	if plain && value != "" && value[0] != '<' && value[0] != ':' && value[0] != ' ' {
		return name + ": " + value
	}
	return name + ":: " + base64.StdEncoding.EncodeToString([]byte(value))
}
