package dc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// An Outcome says what became of a write. The zero value is uncertainty, so that a
// forgotten outcome never looks like success.
type Outcome uint8

const (
	// Uncertain: the request was sent and no answer came. It may have been carried
	// out, may be carried out any moment, or never.
	Uncertain Outcome = iota
	// Done: the domain controller said that it did it.
	Done
	// Already: there was nothing to do; the directory was so before this write.
	Already
	// NotDone: refused, or never sent. Write.Err says why.
	NotDone
)

// String returns the outcome in a word.
func (o Outcome) String() string {
	switch o {
	case Done:
		return "done"
	case Already:
		return "already"
	case NotDone:
		return "not done"
	case Uncertain:
	}
	return "uncertain"
}

// A Write is what is known of one write.
type Write struct {
	Outcome Outcome
	Server  Server // that was asked
	// Verified says that reading on the same domain controller showed the wanted
	// state afterwards. It is false after Done if the account may not read what it
	// wrote; Unread then says so.
	Verified bool
	Unread   error // why reading did not show it
	Err      error // why it is not Done or Already; an *Error
}

// modOp is the operation of one modification (RFC 4511 4.6).
type modOp uint8

const (
	modAdd modOp = iota
	modDelete
	modReplace
)

// A modification changes one attribute.
type modification struct {
	op     modOp
	name   string
	values [][]byte
}

// encodeModify returns a ModifyRequest (RFC 4511 4.6).
func encodeModify(dn string, mods ...modification) []byte {
	var list []byte
	for _, m := range mods {
		var values []byte
		for _, v := range m.values {
			values = appendTLV(values, 0x04, v)
		}
		list = appendTLV(list, 0x30, berInt(0x0a, int64(m.op)), tlv(0x30, berString(0x04, m.name), tlv(0x31, values)))
	}
	return tlv(opModifyRequest, berString(0x04, dn), tlv(0x30, list))
}

// answers are the answers to the requests that write.
var answers = map[byte]byte{opModifyRequest: opModifyResponse, opAddRequest: opAddResponse, opDelRequest: opDelResponse}

// change sends one request that writes. sent is false if not a byte of it can have
// reached the server.
func (c *conn) change(ctx context.Context, doing string, op, controls []byte) (r result, sent bool, err error) {
	defer c.watch(ctx)()
	server := c.server.String()
	if ctx.Err() != nil {
		return r, false, ioError(ctx, doing, server, ctx.Err())
	}
	id, err := c.send(ctx, op, controls)
	if err != nil {
		return r, true, ioError(ctx, doing, server, err)
	}
	m, err := c.receive(ctx, id)
	if err != nil {
		return r, true, ioError(ctx, doing, server, err)
	}
	if m.op != answers[op[0]] {
		return r, true, c.protocolError(doing, fmt.Errorf("answer has tag %#02x", m.op))
	}
	if r, err = parseResult(m.body); err != nil {
		return r, true, c.protocolError(doing, err)
	}
	return r, true, nil
}

// Texts in which servers say that a value to be taken away is not there: Windows
// with ERROR_MEMBER_NOT_IN_GROUP, Samba in words. Both use the code of unwillingness,
// which has many other reasons.
var goneTexts = [...]string{"00000561:", "already deleted for target GUID"}

// writeError turns the result code of a write into an error.
func writeError(doing, server string, r result) *Error {
	e := resultError(doing, server, r)
	switch r.code {
	case resultNoSuchAttribute:
		e.Kind = ErrNoSuchValue
	case resultValueExists, resultEntryExists:
		e.Kind = ErrExists
	case resultConstraint, resultInvalidSyntax, resultInvalidDN, resultNamingViolation, resultObjectClass:
		e.Kind = ErrConstraint
	case resultReferral:
		e.Kind = ErrReadOnly
	case resultUnwilling:
		e.Kind = ErrUnwilling
		for _, t := range goneTexts {
			if strings.Contains(r.text, t) {
				e.Kind = ErrNoSuchValue
			}
		}
	case resultAccessDenied:
		e.Advice = "the account that writes lacks the right to change this attribute of this object"
	}
	if e.Kind != ErrServer && e.Kind != ErrReadOnly {
		e.Detail = r.text
	}
	return e
}

// A job is one write and how to see afterwards whether it is so.
type job struct {
	flight flight
	doing  string
	mods   []modification
	// prepare makes mods of what it reads, on the connection that is written to and
	// while no other write of this Writer to the object is in flight; nil: they are made.
	prepare func(ctx context.Context, c *conn) ([]modification, error)
	// request makes another request than a modification, as prepare makes mods; nil:
	// there is none.
	request  func(ctx context.Context, c *conn) ([]byte, error)
	controls []byte
	// shows reads whether the object is as wanted.
	shows func(ctx context.Context, c *conn) (bool, error)
	// repeats: being as wanted is no reason to be refused, so a refusal is one.
	repeats bool
	later   bool // the caller reads back, for many at once
	// notAfter is when the request must not be sent any more, by the monotonic clock;
	// zero: at any time.
	notAfter time.Time
}

// run carries a job out on the domain controller of its object, alone for its flight.
func (w *Writer) run(ctx context.Context, j job) Write {
	end, err := w.begin(ctx, j.flight)
	if err != nil {
		return Write{Outcome: NotDone, Err: err}
	}
	defer end()
	return w.carry(ctx, j)
}

// carry is run for who has begun the flight.
func (w *Writer) carry(ctx context.Context, j job) Write {
	l, c, err := w.acquire(ctx, j.flight.object)
	if err != nil {
		return Write{Outcome: NotDone, Server: w.serverOf(l), Err: err}
	}
	if j.prepare != nil {
		if j.mods, err = j.prepare(ctx, c); err != nil {
			w.put(l, c)
			return Write{Outcome: NotDone, Server: c.server, Err: err}
		}
	}
	if !j.notAfter.IsZero() && time.Now().After(j.notAfter) {
		w.put(l, c)
		return Write{Outcome: NotDone, Server: c.server, Err: &Error{Kind: ErrCanceled, Op: j.doing, Server: c.server.String(), Detail: "the moment after which it was not to be sent has passed"}}
	}
	op := encodeModify(guidDN(j.flight.object), j.mods...)
	if j.request != nil {
		if op, err = j.request(ctx, c); err != nil {
			w.put(l, c)
			return Write{Outcome: NotDone, Server: c.server, Err: err}
		}
	}
	r, sent, err := c.change(ctx, j.doing, op, j.controls)
	clear(op) // it may hold a password
	out := Write{Server: c.server}
	switch {
	case err != nil && sent:
		w.put(l, c)
		out.Err = &Error{Kind: ErrUncertain, Op: j.doing, Server: c.server.String(), Err: err}
		return out
	case err != nil:
		w.put(l, c)
		out.Outcome, out.Err = NotDone, err
		return out
	}
	switch {
	case r.code != resultSuccess:
		refused(ctx, c, j, r, &out)
	case j.later:
		out.Outcome = Done
	default:
		out.Outcome = Done
		out.Verified, out.Unread = j.seen(ctx, c)
	}
	w.put(l, c)
	return out
}

// seen reads whether the object is as wanted.
func (j job) seen(ctx context.Context, c *conn) (bool, error) {
	ok, err := j.shows(ctx, c)
	if err == nil && !ok {
		err = &Error{Kind: ErrAccessDenied, Op: j.doing, Server: c.server.String(), Detail: "reading does not show it: the account may write this attribute but not read it, or it was changed again at once"}
	}
	return ok, err
}

// refused decides whether a refusal means that there was nothing to do. The code
// alone counts where it says so; any other refusal but of rights or for the moment
// counts if reading shows that the object is as wanted.
func refused(ctx context.Context, c *conn, j job, r result, out *Write) {
	e := writeError(j.doing, c.server.String(), r)
	out.Outcome, out.Err = NotDone, e
	switch e.Kind {
	case ErrBusy, ErrUnavailable, ErrAdminLimit, ErrTimeLimit, ErrAccessDenied, ErrReadOnly, ErrStrongAuthRequired:
		return
	}
	if j.repeats {
		return
	}
	ok, err := j.seen(ctx, c)
	if ok {
		out.Outcome, out.Err, out.Verified = Already, nil, true
		return
	}
	out.Unread = err
}

// A Member names who is in a group: by objectGUID, or by SID for a principal of
// another forest, which has no object here.
type Member struct {
	GUID secdesc.GUID
	SID  secdesc.SID
}

// dn is the member as a value of a link ([MS-ADTS] 3.1.1.3.1.2.4).
func (m Member) dn() string {
	if m.GUID.IsZero() {
		return "<SID=" + m.SID.String() + ">"
	}
	return guidDN(m.GUID)
}

func (m Member) String() string {
	if m.GUID.IsZero() {
		return m.SID.String()
	}
	return m.GUID.String()
}

// key is the member's part of a flight. Two SIDs may share one, which only makes
// their writes wait for each other.
func (m Member) key() secdesc.GUID {
	if m.GUID.IsZero() && !m.SID.IsZero() {
		var g secdesc.GUID
		b := m.SID.Bytes()
		copy(g[:], b[max(0, len(b)-len(g)):])
		return g
	}
	return m.GUID
}

// ttlValue is a link that the directory ends by itself ([MS-ADTS] 3.1.1.3.4.1.41,
// LDAP_SERVER_LINK_TTL_OID): whole seconds, at least one.
func (m Member) ttlValue(ttl time.Duration) string {
	name := m.dn()
	if !m.SID.IsZero() { // the form that Microsoft documents
		name = "<SID=" + m.SID.String() + ">"
	}
	return fmt.Sprintf("<TTL=%d,%s>", max(1, int64((ttl+time.Second-1)/time.Second)), name)
}

// memberFilter finds an object that has the member.
func (m Member) filter() string { return "(member=" + m.dn() + ")" }

// AddMember adds one value to the member attribute of a group. With a ttl the
// directory itself takes it away again; that needs a forest with the feature (see
// [Writer.TimeBoundLinks]) and is refused with [ErrUnsupported] elsewhere. A member
// that was there before is Already, and its time to live is not changed.
func (w *Writer) AddMember(ctx context.Context, group secdesc.GUID, m Member, ttl time.Duration) Write {
	value, err := w.memberValue(ctx, group, m, ttl)
	if err != nil {
		return Write{Outcome: NotDone, Server: w.ServerFor(group), Err: err}
	}
	return w.run(ctx, w.addition(group, m, value))
}

// memberValue is what is written for a member.
func (w *Writer) memberValue(ctx context.Context, group secdesc.GUID, m Member, ttl time.Duration) (string, error) {
	if ttl <= 0 {
		return m.dn(), nil
	}
	on, err := w.TimeBoundLinks(ctx, group)
	if err == nil && !on {
		err = &Error{Kind: ErrUnsupported, Op: "adding a time-bound member", Server: w.ServerFor(group).String(), Detail: "the Privileged Access Management feature is not enabled in this forest"}
	}
	return m.ttlValue(ttl), err
}

// addition is the job of adding a member, written as value.
func (w *Writer) addition(group secdesc.GUID, m Member, value string) job {
	return job{
		flight: flight{group, m.key()},
		doing:  fmt.Sprintf("adding %s to the group %s", m, group),
		mods:   []modification{{modAdd, "member", [][]byte{[]byte(value)}}},
		shows:  func(ctx context.Context, c *conn) (bool, error) { return c.fits(ctx, group, m.filter()) },
	}
}

// A MemberWrite adds one value to the member attribute of a group, or removes it, for a
// caller who keeps the books himself.
type MemberWrite struct {
	Group  secdesc.GUID
	Member Member
	Add    bool
	TTL    time.Duration // of an addition, see [Writer.AddMember]
	// NotAfter is the moment after which it is not sent any more. A time of this process's
	// clock is compared by its monotonic reading: setting the clock changes nothing.
	NotAfter time.Time
	Unread   bool // do not read back: the caller does
}

// WriteMember is [Writer.AddMember], or [Writer.RemoveMember], with more to say.
func (w *Writer) WriteMember(ctx context.Context, m MemberWrite) Write {
	j := w.removal(m.Group, m.Member)
	if m.Add {
		value, err := w.memberValue(ctx, m.Group, m.Member, m.TTL)
		if err != nil {
			return Write{Outcome: NotDone, Server: w.ServerFor(m.Group), Err: err}
		}
		j = w.addition(m.Group, m.Member, value)
	}
	j.notAfter, j.later = m.NotAfter, m.Unread
	return w.run(ctx, j)
}

// RemoveMember takes exactly one value from the member attribute of a group.
func (w *Writer) RemoveMember(ctx context.Context, group secdesc.GUID, m Member) Write {
	return w.run(ctx, w.removal(group, m))
}

func (w *Writer) removal(group secdesc.GUID, m Member) job {
	return job{
		flight: flight{group, m.key()},
		doing:  fmt.Sprintf("removing %s from the group %s", m, group),
		mods:   []modification{{modDelete, "member", [][]byte{[]byte(m.dn())}}},
		shows:  func(ctx context.Context, c *conn) (bool, error) { return c.fits(ctx, group, "(!"+m.filter()+")") },
	}
}

// RemoveTogether takes values from the member attribute of a group that nobody else writes
// meanwhile, in one request. A domain controller carries out all of a request or nothing,
// so when it refuses one because of a value, the halves are sent by themselves, until it is
// known of each value what became of it. Nothing is sent after notAfter, and nothing is read
// back: the caller does that. What became of a request whose answer was lost is uncertain for
// all of its values.
func (w *Writer) RemoveTogether(ctx context.Context, group secdesc.GUID, members []Member, notAfter time.Time) []Write {
	out := make([]Write, len(members))
	order := make([]int, len(members))
	for i := range order {
		order[i] = i
	}
	// Everybody begins flights in one order, so that nobody waits for another in a circle.
	slices.SortStableFunc(order, func(a, b int) int {
		x, y := members[a].key(), members[b].key()
		return bytes.Compare(x[:], y[:])
	})
	var mine []int
	for n, i := range order {
		if n > 0 && members[i].key() == members[order[n-1]].key() {
			out[i] = Write{Outcome: NotDone, Server: w.ServerFor(group), Err: &Error{Kind: ErrCanceled, Op: "removing " + members[i].String(), Detail: "it is among those to be removed twice"}}
			continue
		}
		end, err := w.begin(ctx, flight{group, members[i].key()})
		if err != nil {
			out[i] = Write{Outcome: NotDone, Server: w.ServerFor(group), Err: err}
			continue
		}
		defer end()
		mine = append(mine, i)
	}
	w.removeSome(ctx, removing{group, members, notAfter, out}, mine)
	return out
}

// removing is what RemoveTogether works on.
type removing struct {
	group    secdesc.GUID
	members  []Member
	notAfter time.Time
	out      []Write
}

// removeSome removes those of some members, by their numbers.
func (w *Writer) removeSome(ctx context.Context, r removing, which []int) {
	if len(which) == 0 {
		return
	}
	j := w.removal(r.group, r.members[which[0]])
	if len(which) > 1 {
		var values [][]byte
		for _, i := range which {
			values = append(values, []byte(r.members[i].dn()))
		}
		j.doing = fmt.Sprintf("removing %d members from the group %s", len(which), r.group)
		j.mods = []modification{{modDelete, "member", values}}
		j.repeats = true // each by itself is looked at
	}
	j.later, j.notAfter = true, r.notAfter
	done := w.carry(ctx, j)
	if len(which) > 1 && done.Outcome == NotDone && aboutValues(done.Err) {
		w.removeSome(ctx, r, which[:len(which)/2])
		w.removeSome(ctx, r, which[len(which)/2:])
		return
	}
	for _, i := range which {
		r.out[i] = done
	}
}

// aboutValues reports whether a refusal may be for one of several values: not if it is for
// the moment, for the account's rights, or was none.
func aboutValues(err error) bool {
	switch KindOf(err) {
	case ErrNoSuchValue, ErrNoSuchObject, ErrConstraint, ErrUnwilling, ErrServer, ErrAdminLimit, ErrExists:
		return true
	}
	return false
}

// readTogether is how many removals one search reads back.
const readTogether = 100

// RemoveMembers is RemoveMember for many members of one group, one request each, in
// order. They are read back together, so that many cost little more than their
// requests. It returns what became of each, also when ctx ends in between.
func (w *Writer) RemoveMembers(ctx context.Context, group secdesc.GUID, members []Member) []Write {
	out := make([]Write, len(members))
	for first := 0; first < len(members); first += readTogether {
		last := min(first+readTogether, len(members))
		for i, m := range members[first:last] {
			j := w.removal(group, m)
			j.later = true
			out[first+i] = w.run(ctx, j)
		}
		w.readBack(ctx, group, members[first:last], out[first:last])
	}
	return out
}

// readBack verifies removals by one search; if that does not show all of them, each by
// its own.
func (w *Writer) readBack(ctx context.Context, group secdesc.GUID, members []Member, out []Write) {
	var all strings.Builder
	for i, m := range members {
		if out[i].Outcome == Done {
			all.WriteString("(!" + m.filter() + ")")
		}
	}
	if all.Len() == 0 {
		return
	}
	l, c, err := w.acquire(ctx, group)
	gone := false
	if err == nil {
		gone, err = c.fits(ctx, group, "(&"+all.String()+")")
	}
	for i, m := range members {
		switch {
		case out[i].Outcome != Done:
		case gone:
			out[i].Verified = true
		case err != nil:
			out[i].Unread = err
		default:
			out[i].Verified, out[i].Unread = w.removal(group, m).seen(ctx, c)
		}
	}
	if c != nil {
		w.put(l, c)
	}
}

// fits reports whether an object, which must exist, matches a filter.
func (c *conn) fits(ctx context.Context, object secdesc.GUID, filter string) (bool, error) {
	_, err := c.readObject(ctx, object, Request{Filter: filter, Attributes: []string{"objectGUID"}})
	if err == nil {
		return true, nil
	}
	if KindOf(err) == ErrNoSuchObject {
		if _, err = c.readObject(ctx, object, Request{Attributes: []string{"objectGUID"}}); err == nil {
			return false, nil
		}
	}
	return false, err
}

// IsMember reports whether the member attribute of a group has the value, on the
// domain controller through which the group is written. An account that may not read
// the attribute is told false.
func (w *Writer) IsMember(ctx context.Context, group secdesc.GUID, m Member) (bool, Server, error) {
	l, c, err := w.acquire(ctx, group)
	if err != nil {
		return false, w.serverOf(l), err
	}
	in, err := c.fits(ctx, group, m.filter())
	w.put(l, c)
	return in, c.server, err
}

// ReplaceInt gives a single-valued integer attribute a new value if it still has the
// old one, and is refused as [ErrNoSuchValue] otherwise. It reads first, and the request
// takes the old value away and adds the new one, which Windows refuses when another has
// written in between. Samba does not compare the old value of userAccountControl; there
// only the reading guards.
func (w *Writer) ReplaceInt(ctx context.Context, object secdesc.GUID, attribute string, before, after int64) Write {
	text := func(v int64) [][]byte { return [][]byte{[]byte(strconv.FormatInt(v, 10))} }
	doing := fmt.Sprintf("setting %s of %s from %d to %d", attribute, object, before, after)
	read := func(ctx context.Context, c *conn) (string, error) {
		e, err := c.readObject(ctx, object, Request{Attributes: []string{attribute}})
		return e.Value(attribute), err
	}
	return w.run(ctx, job{
		flight: flight{object: object},
		doing:  doing,
		prepare: func(ctx context.Context, c *conn) ([]modification, error) {
			now, err := read(ctx, c)
			if err == nil && now != strconv.FormatInt(before, 10) {
				err = &Error{Kind: ErrNoSuchValue, Op: doing, Server: c.server.String(), Detail: fmt.Sprintf("it is %q now", now)}
			}
			return []modification{{modDelete, attribute, text(before)}, {modAdd, attribute, text(after)}}, err
		},
		shows: func(ctx context.Context, c *conn) (bool, error) {
			now, err := read(ctx, c)
			return err == nil && now == strconv.FormatInt(after, 10), err
		},
	})
}

// ResetPassword sets the password of an account without knowing the old one. The
// password is UTF-8; the caller keeps it and wipes it. What shows that it was done is
// pwdLastSet, which must be another than before.
func (w *Writer) ResetPassword(ctx context.Context, object secdesc.GUID, password []byte) Write {
	doing := "resetting the password of " + object.String()
	value, err := quotedUTF16(password)
	if err != nil {
		return Write{Outcome: NotDone, Server: w.ServerFor(object), Err: &Error{Kind: ErrConstraint, Op: doing, Err: err}}
	}
	defer clear(value)
	before := ""
	if e, _, err := w.Read(ctx, object, Request{Attributes: []string{"pwdLastSet"}}); err == nil {
		before = e.Value("pwdLastSet")
	}
	return w.run(ctx, job{
		flight:  flight{object: object},
		doing:   doing,
		mods:    []modification{{modReplace, "unicodePwd", [][]byte{value}}},
		repeats: true,
		shows: func(ctx context.Context, c *conn) (bool, error) {
			e, err := c.readObject(ctx, object, Request{Attributes: []string{"pwdLastSet"}})
			now := e.Value("pwdLastSet")
			return err == nil && before != "" && now != "" && now != before, err
		},
	})
}

// errPassword reports a password that cannot be sent; it does not show it.
var errPassword = errors.New("the password is empty or not valid UTF-8")

// quotedUTF16 is the form in which unicodePwd takes a password: in quotation marks,
// UTF-16, little-endian ([MS-ADTS] 3.1.1.3.1.5.1).
func quotedUTF16(password []byte) ([]byte, error) {
	if len(password) == 0 || !utf8.Valid(password) {
		return nil, errPassword
	}
	out := make([]byte, 0, 2*len(password)+4)
	put := func(r rune) {
		if a, b := utf16.EncodeRune(r); a != utf8.RuneError {
			out = append(out, byte(a), byte(a>>8), byte(b), byte(b>>8))
			return
		}
		out = append(out, byte(r), byte(r>>8))
	}
	put('"')
	for rest := password; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		put(r)
		rest = rest[n:]
	}
	put('"')
	return out, nil
}

// ReadDACL reads the descriptor of an object with owner and DACL but without SACL.
func (w *Writer) ReadDACL(ctx context.Context, object secdesc.GUID) (*secdesc.Descriptor, Server, error) {
	e, s, err := w.Read(ctx, object, dacl)
	if err != nil {
		return nil, s, err
	}
	d, err := descriptorOf(e, s)
	return d, s, err
}

var dacl = Request{Attributes: []string{"nTSecurityDescriptor"}, SDFlags: SDOwner | SDGroup | SDDACL}

func descriptorOf(e Entry, s Server) (*secdesc.Descriptor, error) {
	raw := e.Values("nTSecurityDescriptor")
	if len(raw) != 1 {
		return nil, &Error{Kind: ErrAccessDenied, Op: "reading the permissions of " + strconv.Quote(e.DN), Server: s.String(), Detail: "the account may not read them"}
	}
	d, err := secdesc.Parse(raw[0])
	if err != nil {
		return nil, &Error{Kind: ErrProtocol, Op: "reading the permissions of " + strconv.Quote(e.DN), Server: s.String(), Err: err}
	}
	return d, nil
}

// dacControl are the bits of a descriptor's control that belong to the DACL.
const dacControl = secdesc.DACLPresent | secdesc.DACLDefaulted | secdesc.DACLAutoInheritReq | secdesc.DACLAutoInherited | secdesc.DACLProtected

// ChangeDACL reads the descriptor of an object and writes the DACL of what change makes
// of it; owner, group and SACL are not sent. The directory works out inherited entries
// by itself. shows says whether a descriptor that is read afterwards is as wanted. Other
// writes of this Writer to the object wait; another program that writes the same DACL
// between the reading and the writing loses its change, which no directory prevents.
func (w *Writer) ChangeDACL(ctx context.Context, object secdesc.GUID, change func(*secdesc.Descriptor) (*secdesc.Descriptor, error), shows func(*secdesc.Descriptor) bool) Write {
	doing := "writing the permissions of " + object.String()
	read := func(ctx context.Context, c *conn) (*secdesc.Descriptor, error) {
		e, err := c.readObject(ctx, object, dacl)
		if err != nil {
			return nil, err
		}
		return descriptorOf(e, c.server)
	}
	return w.run(ctx, job{
		flight:   flight{object: object},
		doing:    doing,
		controls: encodeControl(oidSDFlags, true, tlv(0x30, berInt(0x02, int64(SDDACL)))),
		prepare: func(ctx context.Context, c *conn) ([]modification, error) {
			d, err := read(ctx, c)
			if err != nil {
				return nil, err
			}
			if d, err = change(d); err == nil {
				d = &secdesc.Descriptor{Control: d.Control & dacControl, DACL: d.DACL}
				err = d.Check()
			}
			if err != nil {
				return nil, &Error{Kind: ErrConstraint, Op: doing, Server: c.server.String(), Err: err}
			}
			return []modification{{modReplace, "nTSecurityDescriptor", [][]byte{d.Bytes()}}}, nil
		},
		shows: func(ctx context.Context, c *conn) (bool, error) {
			d, err := read(ctx, c)
			return err == nil && shows(d), err
		},
	})
}
