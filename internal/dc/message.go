package dc

import (
	"fmt"
	"strings"

	ldap "github.com/go-ldap/ldap/v3"
)

// Tags of the protocol operations that this package sends or receives
// (RFC 4511 4.1.1).
const (
	opBindRequest      = 0x60
	opBindResponse     = 0x61
	opUnbindRequest    = 0x42
	opSearchRequest    = 0x63
	opSearchEntry      = 0x64
	opSearchDone       = 0x65
	opSearchReference  = 0x73
	opModifyRequest    = 0x66
	opModifyResponse   = 0x67
	opAddRequest       = 0x68
	opAddResponse      = 0x69
	opDelRequest       = 0x4a
	opDelResponse      = 0x6b
	opExtendedRequest  = 0x77
	opExtendedResponse = 0x78
	tagControls        = 0xa0
)

// Controls, [MS-ADTS] 3.1.1.3.4.1.
const (
	oidPaging       = "1.2.840.113556.1.4.319"
	oidSDFlags      = "1.2.840.113556.1.4.801"
	oidShowDeleted  = "1.2.840.113556.1.4.417"
	oidShowRecycled = "1.2.840.113556.1.4.2064"
	oidExtendedDN   = "1.2.840.113556.1.4.529"
	oidLinkTTL      = "1.2.840.113556.1.4.2309"
	oidStartTLS     = "1.3.6.1.4.1.1466.20037"
)

// Result codes, RFC 4511 appendix A.
const (
	resultSuccess            = 0
	resultTimeLimit          = 3
	resultSizeLimit          = 4
	resultStrongAuthRequired = 8
	resultReferral           = 10
	resultAdminLimit         = 11
	resultCriticalExtension  = 12
	resultConfidentiality    = 13
	resultSaslInProgress     = 14
	resultNoSuchAttribute    = 16
	resultConstraint         = 19
	resultValueExists        = 20
	resultInvalidSyntax      = 21
	resultNoSuchObject       = 32
	resultInvalidDN          = 34
	resultInvalidCredentials = 49
	resultAccessDenied       = 50
	resultBusy               = 51
	resultUnavailable        = 52
	resultUnwilling          = 53
	resultNamingViolation    = 64
	resultObjectClass        = 65
	resultEntryExists        = 68
)

// A message is one decoded LDAPMessage; its parts alias the frame.
type message struct {
	id       int64
	op       byte
	body     []byte
	controls []byte
}

// parseMessage splits a frame.
func parseMessage(frame []byte) (message, error) {
	var m message
	d := berDecoder(frame)
	seq, err := d.expect(0x30)
	if err != nil {
		return m, fmt.Errorf("message: %w", err)
	}
	d = seq
	if m.id, err = d.integer(0x02); err != nil {
		return m, fmt.Errorf("message ID: %w", err)
	}
	if m.op, m.body, err = d.next(); err != nil {
		return m, fmt.Errorf("protocol operation: %w", err)
	}
	for len(d) > 0 {
		tag, c, err := d.next()
		if err != nil {
			return m, fmt.Errorf("controls: %w", err)
		}
		if tag == tagControls {
			m.controls = c
		}
	}
	return m, nil
}

// control returns the value of the control with the given identifier.
func (m message) control(oid string) (value []byte, found bool, err error) {
	for d := berDecoder(m.controls); len(d) > 0; {
		seq, err := d.expect(0x30)
		if err != nil {
			return nil, false, fmt.Errorf("control: %w", err)
		}
		in := berDecoder(seq)
		name, err := in.expect(0x04)
		if err != nil {
			return nil, false, fmt.Errorf("control type: %w", err)
		}
		if string(name) != oid {
			continue
		}
		for len(in) > 0 {
			tag, c, err := in.next()
			if err != nil {
				return nil, false, fmt.Errorf("control %s: %w", oid, err)
			}
			if tag == 0x04 {
				value = c
			}
		}
		return value, true, nil
	}
	return nil, false, nil
}

// A result is an LDAPResult, with the credentials of a BindResponse.
type result struct {
	code      int64
	text      string
	referrals []string
	sasl      []byte
}

func parseResult(body []byte) (result, error) {
	var r result
	d := berDecoder(body)
	var err error
	if r.code, err = d.integer(0x0a); err != nil {
		return r, fmt.Errorf("result code: %w", err)
	}
	if _, err = d.expect(0x04); err != nil {
		return r, fmt.Errorf("matched DN: %w", err)
	}
	text, err := d.expect(0x04)
	if err != nil {
		return r, fmt.Errorf("diagnostic message: %w", err)
	}
	r.text = strings.TrimRight(string(text), "\x00\n ")
	for len(d) > 0 {
		tag, c, err := d.next()
		if err != nil {
			return r, fmt.Errorf("result: %w", err)
		}
		switch tag {
		case 0xa3:
			if r.referrals, err = parseURIs(c); err != nil {
				return r, err
			}
		case 0x87:
			r.sasl = c
		}
	}
	return r, nil
}

// parseURIs reads the body of a SearchResultReference or a Referral.
func parseURIs(body []byte) ([]string, error) {
	var uris []string
	for d := berDecoder(body); len(d) > 0; {
		u, err := d.expect(0x04)
		if err != nil {
			return nil, fmt.Errorf("referral: %w", err)
		}
		uris = append(uris, string(u))
	}
	return uris, nil
}

// An Attribute is one attribute of an entry as the server sent it.
type Attribute struct {
	Name   string   // as the server spells it, without a range option
	Values [][]byte // raw; they belong to the receiver and are never reused
}

// An Entry is one object as the server sent it.
type Entry struct {
	DN         string
	Attributes []Attribute
}

// Values returns the values of the named attribute (any case), nil if the
// server sent none: absent and unreadable look the same over LDAP.
func (e Entry) Values(name string) [][]byte {
	for i := range e.Attributes {
		a := &e.Attributes[i]
		if len(a.Values) > 0 && strings.EqualFold(a.Name, name) {
			return a.Values
		}
	}
	return nil
}

// Value returns the first value of the named attribute as a string, empty if
// there is none.
func (e Entry) Value(name string) string {
	if v := e.Values(name); len(v) > 0 {
		return string(v[0])
	}
	return ""
}

// names interns attribute names: a scan sees the same few dozen a million times.
type names map[string]string

func (n names) intern(b []byte) string {
	if s, ok := n[string(b)]; ok { // does not allocate
		return s
	}
	s := string(b)
	if len(n) < 4096 {
		n[s] = s
	}
	return s
}

// parseEntry reads the body of a SearchResultEntry (RFC 4511 4.5.2). Values
// alias body. It counts first, so that an entry costs three allocations however
// many attributes it has.
func parseEntry(body []byte, n names) (Entry, error) {
	d := berDecoder(body)
	dn, err := d.expect(0x04)
	if err != nil {
		return Entry{}, fmt.Errorf("entry DN: %w", err)
	}
	list, err := d.expect(0x30)
	if err != nil {
		return Entry{}, fmt.Errorf("entry %s: attributes: %w", dn, err)
	}
	attrs, values, err := countValues(list)
	if err != nil {
		return Entry{}, fmt.Errorf("entry %s: %w", dn, err)
	}
	e := Entry{DN: string(dn), Attributes: make([]Attribute, 0, attrs)}
	pool := make([][]byte, 0, values)
	for d = list; len(d) > 0; {
		// countValues has checked every element below.
		_, seq, _ := d.next()
		in := berDecoder(seq)
		_, name, _ := in.next()
		_, set, _ := in.next()
		first := len(pool)
		for in = set; len(in) > 0; {
			_, v, _ := in.next()
			pool = append(pool, v)
		}
		e.Attributes = append(e.Attributes, Attribute{Name: n.intern(name), Values: pool[first:len(pool):len(pool)]})
	}
	return e, nil
}

// countValues validates a PartialAttributeList and counts what is in it.
func countValues(list []byte) (attrs, values int, err error) {
	for d := berDecoder(list); len(d) > 0; attrs++ {
		seq, err := d.expect(0x30)
		if err != nil {
			return 0, 0, fmt.Errorf("attribute %d: %w", attrs, err)
		}
		in := berDecoder(seq)
		name, err := in.expect(0x04)
		if err != nil {
			return 0, 0, fmt.Errorf("attribute %d: name: %w", attrs, err)
		}
		set, err := in.expect(0x31)
		if err != nil {
			return 0, 0, fmt.Errorf("attribute %s: %w", name, err)
		}
		for in = set; len(in) > 0; values++ {
			if _, err := in.expect(0x04); err != nil {
				return 0, 0, fmt.Errorf("attribute %s: value %d: %w", name, values, err)
			}
		}
	}
	return attrs, values, nil
}

// encodeMessage returns an LDAPMessage.
func encodeMessage(id int64, op []byte, controls []byte) []byte {
	if len(controls) == 0 {
		return tlv(0x30, berInt(0x02, id), op)
	}
	return tlv(0x30, berInt(0x02, id), op, tlv(tagControls, controls))
}

// encodeControl returns one control; a nil value is left out.
func encodeControl(oid string, critical bool, value []byte) []byte {
	parts := [][]byte{berString(0x04, oid)}
	if critical {
		parts = append(parts, berBool(true))
	}
	if value != nil {
		parts = append(parts, tlv(0x04, value))
	}
	return tlv(0x30, parts...)
}

func encodePaging(size int, cookie []byte) []byte {
	return encodeControl(oidPaging, true, tlv(0x30, berInt(0x02, int64(size)), tlv(0x04, cookie)))
}

// parsePaging returns the cookie of a paging control's value.
func parsePaging(value []byte) (cookie []byte, err error) {
	d := berDecoder(value)
	seq, err := d.expect(0x30)
	if err != nil {
		return nil, fmt.Errorf("paging control: %w", err)
	}
	d = seq
	if _, err := d.integer(0x02); err != nil {
		return nil, fmt.Errorf("paging control: size: %w", err)
	}
	if cookie, err = d.expect(0x04); err != nil {
		return nil, fmt.Errorf("paging control: cookie: %w", err)
	}
	return cookie, nil
}

// encodeFilter compiles a filter in its text form (RFC 4515).
func encodeFilter(filter string) ([]byte, error) {
	p, err := ldap.CompileFilter(filter)
	if err != nil {
		return nil, &Error{Kind: ErrConfig, Op: fmt.Sprintf("compiling filter %q", filter), Err: err}
	}
	return p.Bytes(), nil
}

// encodeSearch returns a SearchRequest (RFC 4511 4.5.1).
func encodeSearch(q Request, filter []byte) []byte {
	var attrs []byte
	for _, a := range q.Attributes {
		attrs = appendTLV(attrs, 0x04, []byte(a))
	}
	return tlv(opSearchRequest,
		berString(0x04, q.Base),
		berInt(0x0a, int64(q.Scope)),
		berInt(0x0a, 0), // never dereference aliases
		berInt(0x02, int64(q.SizeLimit)),
		berInt(0x02, 0),
		berBool(q.TypesOnly),
		filter,
		tlv(0x30, attrs))
}
