package dc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	ldap "github.com/go-ldap/ldap/v3"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// A Via says through which domain controller something is read: the one that Object is
// written through or, if Server is set, that one, by the name that [Writer.Servers] gives.
type Via struct {
	Object secdesc.GUID
	Server string
}

// acquireVia is acquire for what is only read.
func (w *Writer) acquireVia(ctx context.Context, v Via) (*lane, *conn, error) {
	if v.Server == "" {
		return w.acquire(ctx, v.Object)
	}
	w.mu.Lock()
	l := w.named(v.Server)
	w.mu.Unlock()
	if l == nil {
		return w.lanes[serverKey(w.servers[0])], nil, &Error{Kind: ErrConfig, Op: "choosing a domain controller", Server: v.Server, Detail: "it is none of those that may be written to"}
	}
	c, err := w.take(ctx, l)
	return l, c, err
}

// named finds a lane by DNS name or address; w.mu is held.
func (w *Writer) named(server string) *lane {
	for key, l := range w.lanes {
		if strings.EqualFold(key, server) || strings.EqualFold(l.server.Name, server) || l.server.Addr.String() == server {
			return l
		}
	}
	return nil
}

// Time returns the time of a domain controller, in whole seconds as its rootDSE tells it.
func (w *Writer) Time(ctx context.Context, v Via) (time.Time, Server, error) {
	l, c, err := w.acquireVia(ctx, v)
	if err != nil {
		return time.Time{}, w.serverOf(l), err
	}
	defer w.put(l, c)
	t, err := c.time(ctx)
	return t, c.server, err
}

// time reads the time of the domain controller.
func (c *conn) time(ctx context.Context) (time.Time, error) {
	const doing = "reading the time"
	entries, r, err := c.lookup(ctx, Request{Attributes: []string{"currentTime"}}, nil)
	switch {
	case err != nil:
		return time.Time{}, err
	case r.code != resultSuccess:
		return time.Time{}, resultError(doing, c.server.String(), r)
	case len(entries) != 1:
		return time.Time{}, c.protocolError(doing, fmt.Errorf("%d entries", len(entries)))
	}
	t, err := time.Parse("20060102150405.0Z", entries[0].Value("currentTime"))
	if err != nil {
		return time.Time{}, &Error{Kind: ErrProtocol, Op: doing, Server: c.server.String(), Err: err}
	}
	return t, nil
}

// Root returns what a domain controller says about itself, as read when it was last
// connected to.
func (w *Writer) Root(ctx context.Context, v Via) (RootDSE, error) {
	l, c, err := w.acquireVia(ctx, v)
	if err != nil {
		return RootDSE{}, err
	}
	w.put(l, c)
	w.mu.Lock()
	defer w.mu.Unlock()
	return l.root, nil
}

// maxFound bounds what Find returns.
const maxFound = 1000

// Find searches for objects that are few. More than a thousand are an error, as is any
// answer that is not complete.
func (w *Writer) Find(ctx context.Context, v Via, q Request) ([]Entry, Server, error) {
	l, c, err := w.acquireVia(ctx, v)
	if err != nil {
		return nil, w.serverOf(l), err
	}
	defer w.put(l, c)
	q.SizeLimit = maxFound
	var controls []byte
	if q.ShowDeleted {
		controls = encodeControl(oidShowDeleted, true, nil)
	}
	entries, r, err := c.lookup(ctx, q, controls)
	if err == nil && r.code != resultSuccess {
		err = resultError(fmt.Sprintf("searching %q", q.Base), c.server.String(), r)
	}
	if err != nil {
		return nil, c.server, err
	}
	return entries, c.server, nil
}

// ByGUID returns a filter that objects with one of some GUIDs fit.
func ByGUID(list ...secdesc.GUID) string {
	var b strings.Builder
	b.WriteString("(|")
	for _, g := range list {
		b.WriteString("(objectGUID=" + escapeBytes(g[:]) + ")")
	}
	return b.String() + ")"
}

// EscapeFilter writes a text as the value of a filter (RFC 4515).
func EscapeFilter(s string) string { return ldap.EscapeFilter(s) }

// A Link is a membership as a domain controller holds it.
type Link struct {
	Expires time.Duration // what is left of its time to live; 0: it has none
	// Stamp tells it from an earlier or later one between the same two objects: version,
	// origin and number of its last change. Empty where the domain controller tells no
	// such metadata (Samba).
	Stamp   string
	Created time.Time // by the domain controller that made it; zero: not told
}

// fewMembers are asked for one by one; for more the whole attribute is read.
const fewMembers = 3

// Links returns which of some accounts are direct members of a group, on the domain
// controller through which the group is written. That the account may not read who is a
// member is an error of kind [ErrAccessDenied]: it never looks like "not a member".
func (w *Writer) Links(ctx context.Context, group secdesc.GUID, members []secdesc.GUID) (map[secdesc.GUID]Link, Server, error) {
	l, c, err := w.acquire(ctx, group)
	if err != nil {
		return nil, w.serverOf(l), err
	}
	defer w.put(l, c)
	out, err := w.linksOn(ctx, l, c, Members{group, members})
	return out, c.server, err
}

// Members are some accounts that may be members of a group.
type Members struct {
	Group   secdesc.GUID
	Members []secdesc.GUID
}

// LinksOf is Links for several groups, all of which are written through one domain
// controller. Where that tells nothing of a link but whether it is there, groups of which
// one account is asked for are read together.
func (w *Writer) LinksOf(ctx context.Context, list []Members) (map[secdesc.GUID]map[secdesc.GUID]Link, Server, error) {
	if len(list) == 0 {
		return nil, Server{}, nil
	}
	l, c, err := w.acquire(ctx, list[0].Group)
	if err != nil {
		return nil, w.serverOf(l), err
	}
	defer w.put(l, c)
	w.mu.Lock()
	base, plain := l.root.DefaultNC, l.bare && !l.root.Supports(oidLinkTTL)
	w.mu.Unlock()
	out := make(map[secdesc.GUID]map[secdesc.GUID]Link, len(list))
	if plain && len(list) > 1 {
		if err := c.singleLinks(ctx, base, list, out); err != nil {
			return nil, c.server, err
		}
	}
	for _, m := range list {
		if len(out[m.Group]) > 0 {
			continue
		}
		if out[m.Group], err = w.linksOn(ctx, l, c, m); err != nil {
			return nil, c.server, err
		}
	}
	return out, c.server, nil
}

// singleLinks finds, by few searches, those groups of which one account is asked for that
// have it. What is not found is not known not to be there.
func (c *conn) singleLinks(ctx context.Context, base string, list []Members, out map[secdesc.GUID]map[secdesc.GUID]Link) error {
	wanted := map[secdesc.GUID]secdesc.GUID{}
	var terms []string
	for _, m := range list {
		if len(m.Members) == 1 {
			wanted[m.Group] = m.Members[0]
			terms = append(terms, "(&(objectGUID="+escapeBytes(m.Group[:])+")"+Member{GUID: m.Members[0]}.filter()+")")
		}
	}
	for some := range slices.Chunk(terms, 32) {
		q := Request{Base: base, Scope: ScopeSubtree, Filter: "(|" + strings.Join(some, "") + ")", Attributes: []string{"objectGUID"}, SizeLimit: maxFound}
		entries, r, err := c.lookup(ctx, q, nil)
		if err == nil && r.code != resultSuccess {
			err = resultError("reading who is a member of several groups", c.server.String(), r)
		}
		if err != nil {
			return err
		}
		for _, e := range entries {
			g, err := secdesc.GUIDFromBytes([]byte(e.Value("objectGUID")))
			if err != nil {
				return c.protocolError("reading who is a member of several groups", err)
			}
			if m, ok := wanted[g]; ok {
				out[g] = map[secdesc.GUID]Link{m: {}}
			}
		}
	}
	return nil
}

// linksOn is Links on a connection.
func (w *Writer) linksOn(ctx context.Context, l *lane, c *conn, m Members) (out map[secdesc.GUID]Link, err error) {
	w.mu.Lock()
	ttl, bare := l.root.Supports(oidLinkTTL), l.bare
	w.mu.Unlock()
	if len(m.Members) <= fewMembers && !ttl {
		out, err = c.fewLinks(ctx, m.Group, m.Members)
	} else {
		out, err = c.manyLinks(ctx, m.Group, m.Members, ttl)
	}
	if err != nil || len(out) == 0 || bare {
		return out, err
	}
	told, err := c.stampLinks(ctx, m.Group, out)
	if err == nil && !told {
		w.mu.Lock()
		l.bare = true
		w.mu.Unlock()
	}
	return out, err
}

// fewLinks asks for each account.
func (c *conn) fewLinks(ctx context.Context, group secdesc.GUID, members []secdesc.GUID) (map[secdesc.GUID]Link, error) {
	out := map[secdesc.GUID]Link{}
	for _, g := range members {
		in, err := c.fits(ctx, group, Member{GUID: g}.filter())
		if err != nil {
			return nil, err
		}
		if in {
			out[g] = Link{}
		}
	}
	if len(out) > 0 || len(members) == 0 {
		return out, nil
	}
	return out, c.readable(ctx, group)
}

// What a right to read the members of a group may be given on ([MS-ADA1], [MS-ADSC]): the
// class, the property set Membership, the attribute.
var memberTypes = []secdesc.GUID{
	secdesc.MustGUID("bf967a9c-0de6-11d0-a285-00aa003049e2"),
	secdesc.MustGUID("bc0ac240-79a9-11d0-9020-00c04fc2d4cf"),
	secdesc.MustGUID("bf9679c0-0de6-11d0-a285-00aa003049e2"),
}

// readable returns nil if the account may read who is a member of a group, so that what
// is not shown is not there. A member that is shown proves it. Of a group that shows none,
// the permissions must say so: domain controllers hide what may not be read, and a filter
// on it counts as false (Samba) or undefined ([MS-ADTS] 3.1.1.3.1.3.1).
func (c *conn) readable(ctx context.Context, group secdesc.GUID) error {
	if some, err := c.fits(ctx, group, "(member=*)"); err != nil || some {
		return err
	}
	denied := func(why string) error {
		return &Error{
			Kind: ErrAccessDenied, Op: fmt.Sprintf("reading who is a member of the group %s", group), Server: c.server.String(),
			Detail: why, Advice: "allow leastwise's account to read the attribute member of the group, and its permissions",
		}
	}
	q := dacl
	q.Attributes = []string{"nTSecurityDescriptor"}
	e, err := c.readObject(ctx, group, q)
	if err != nil {
		return err
	}
	sd, err := descriptorOf(e, c.server)
	if KindOf(err) == ErrAccessDenied {
		return denied("it shows no member, and its permissions, which would say whether that is so, may not be read")
	}
	if err != nil {
		return err
	}
	entries, r, err := c.lookup(ctx, Request{Attributes: []string{"tokenGroups"}}, nil)
	if err != nil {
		return err
	}
	if r.code != resultSuccess || len(entries) != 1 || len(entries[0].Values("tokenGroups")) == 0 {
		return denied("it shows no member, and the domain controller does not say in which groups leastwise's account is")
	}
	token := map[string]bool{"S-1-1-0": true, "S-1-5-11": true}
	for _, b := range entries[0].Values("tokenGroups") {
		sid, err := secdesc.SIDFromBytes(b)
		if err != nil {
			return c.protocolError("reading the own groups", err)
		}
		token[sid.String()] = true
	}
	access := sd.Access(func(s secdesc.SID) bool { return token[s.String()] }, secdesc.Request{Mask: secdesc.ReadProperty, Types: memberTypes})
	if access.Outcome != secdesc.Granted {
		return denied("the account may not read the attribute member")
	}
	return nil
}

// manyLinks reads all values.
func (c *conn) manyLinks(ctx context.Context, group secdesc.GUID, members []secdesc.GUID, ttl bool) (map[secdesc.GUID]Link, error) {
	values, err := c.rangedValues(ctx, group, "member", ttl)
	if err != nil {
		return nil, err
	}
	wanted := make(map[secdesc.GUID]bool, len(members))
	for _, g := range members {
		wanted[g] = true
	}
	out := map[secdesc.GUID]Link{}
	for _, v := range values {
		g, left, err := parseLinkValue(string(v))
		if err != nil {
			return nil, c.protocolError("reading the members of "+group.String(), err)
		}
		if wanted[g] {
			out[g] = Link{Expires: left}
		}
	}
	if len(values) == 0 { // empty, or not to be read?
		return out, c.readable(ctx, group)
	}
	return out, nil
}

// rangedValues reads all values of an attribute of one object, however many answers the
// domain controller needs for them ([MS-ADTS] 3.1.1.3.1.3.3).
func (c *conn) rangedValues(ctx context.Context, object secdesc.GUID, name string, ttl bool) ([][]byte, error) {
	controls := encodeControl(oidExtendedDN, true, tlv(0x30, berInt(0x02, 1)))
	if ttl {
		controls = append(controls, encodeControl(oidLinkTTL, true, nil)...)
	}
	doing := fmt.Sprintf("reading %s of %s", name, object)
	var out [][]byte
	for asked := name; ; {
		entries, r, err := c.lookup(ctx, Request{Base: guidDN(object), Scope: ScopeBase, Attributes: []string{asked}}, controls)
		switch {
		case err != nil:
			return nil, err
		case r.code != resultSuccess:
			return nil, resultError(doing, c.server.String(), r)
		case len(entries) != 1:
			return nil, &Error{Kind: ErrNoSuchObject, Op: doing, Server: c.server.String()}
		}
		last := -1
		for _, a := range entries[0].Attributes {
			base, first, to, ranged := rangeOption(a.Name)
			if len(a.Values) == 0 || !strings.EqualFold(base, name) {
				continue
			}
			if ranged && first != len(out) {
				return nil, &Error{Kind: ErrTruncated, Op: doing, Server: c.server.String(), Detail: fmt.Sprintf("values from %d on instead of %d", first, len(out))}
			}
			out = append(out, a.Values...)
			if ranged {
				last = to
			}
		}
		if last < 0 {
			return out, nil
		}
		asked = fmt.Sprintf("%s;range=%d-*", name, len(out))
	}
}

// errLinkValue reports a value of a link that is not what the controls ask for.
var errLinkValue = errors.New("not a distinguished name with a GUID")

// parseLinkValue reads a value such as <TTL=60>,<GUID=…>;<SID=…>;CN=… ([MS-ADTS]
// 3.1.1.3.4.1.5 and 3.1.1.3.4.1.41).
func parseLinkValue(v string) (g secdesc.GUID, left time.Duration, err error) {
	if rest, ok := strings.CutPrefix(v, "<TTL="); ok {
		seconds, tail, ok := strings.Cut(rest, ">,")
		n, err := strconv.ParseInt(seconds, 10, 32)
		if !ok || err != nil || n < 0 {
			return g, 0, fmt.Errorf("%w: %.60q", errLinkValue, v)
		}
		left, v = max(time.Second, time.Duration(n)*time.Second), tail
	}
	rest, ok := strings.CutPrefix(v, "<GUID=")
	text, _, closed := strings.Cut(rest, ">")
	if !ok || !closed {
		return g, 0, fmt.Errorf("%w: %.60q", errLinkValue, v)
	}
	if g, err = secdesc.ParseGUID(text); err != nil {
		return g, 0, fmt.Errorf("%w: %.60q: %w", errLinkValue, v, err)
	}
	return g, left, nil
}

// stampLinks adds the replication metadata of links, if the domain controller tells any.
func (c *conn) stampLinks(ctx context.Context, group secdesc.GUID, links map[secdesc.GUID]Link) (told bool, err error) {
	values, err := c.rangedValues(ctx, group, "msDS-ReplValueMetaData", false)
	if err != nil || len(values) == 0 {
		return false, err
	}
	names := map[string]secdesc.GUID{}
	for g := range links {
		dn, err := c.memberDN(ctx, Member{GUID: g})
		if err != nil {
			return true, err
		}
		names[strings.ToLower(dn)] = g
	}
	for _, v := range values {
		meta, err := parseValueMeta(v)
		if err != nil {
			return true, c.protocolError("reading replication metadata", err)
		}
		g, ok := names[strings.ToLower(meta.Object)]
		if !ok || !strings.EqualFold(meta.Attribute, "member") {
			continue
		}
		l := links[g]
		l.Stamp = fmt.Sprintf("%d/%s/%d", meta.Version, meta.DSA, meta.USN)
		l.Created, _ = time.Parse(time.RFC3339, meta.Created)
		links[g] = l
	}
	return true, nil
}
