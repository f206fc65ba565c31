package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// OperatorSettings say how operators are asked of the directory and how they sign in.
type OperatorSettings struct {
	Directory dc.Config // with the server's own credentials
	Keytab    string    // of the service that clients get Kerberos tickets for; empty: no Kerberos
	Bound     bool      // demand that tickets are tied to the TLS connection
}

// Operators asks one domain about the operators of leastwise: it is the membership and
// the authenticator of package operator. Accounts and groups are those of the domain;
// those of others do not exist for it. It is safe for concurrent use.
type Operators struct {
	cfg      dc.Config
	reader   *dc.Reader
	acceptor *dc.Acceptor // nil: no Kerberos
	netbios  string
	now      func() time.Time
	turns    turns    // one password of an account is tried at a time
	primary  *primary // counts wrong passwords of the whole domain
	asking   chan struct{}
}

var (
	_ operator.Membership    = (*Operators)(nil)
	_ operator.Authenticator = (*Operators)(nil)
)

// OpenOperators connects to the domain.
func OpenOperators(ctx context.Context, s OperatorSettings) (_ *Operators, err error) {
	o := &Operators{cfg: s.Directory, now: s.Directory.Now, asking: make(chan struct{}, questionsAtOnce)}
	if o.now == nil {
		o.now = time.Now
	}
	if s.Keytab != "" {
		if o.acceptor, err = dc.NewAcceptor(s.Keytab, s.Bound); err != nil {
			return nil, err
		}
	}
	if o.reader, err = dc.Open(ctx, s.Directory); err != nil {
		return nil, err
	}
	root := o.reader.Root()
	found, err := o.find(ctx, "CN=Partitions,"+root.ConfigurationNC, dc.ScopeOne, "(&(objectClass=crossRef)(nCName="+escapeFilter(root.DefaultNC)+"))", "nETBIOSName")
	if err == nil && (len(found) != 1 || found[0].Value("nETBIOSName") == "") {
		err = fmt.Errorf("the NetBIOS name of %s is not in %s", root.Domain(), root.ConfigurationNC)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading the name of the domain: %w", err), o.reader.Close())
	}
	o.netbios = found[0].Value("nETBIOSName")
	o.primary = &primary{cfg: s.Directory, near: o.reader, now: o.now}
	return o, nil
}

// Close ends the connections.
func (o *Operators) Close() error { return errors.Join(o.reader.Close(), o.primary.close()) }

// find searches, and begins again where a domain controller fails. A crowd waits before
// its time begins to count (see questionsAtOnce).
func (o *Operators) find(ctx context.Context, base string, scope dc.Scope, filter string, attributes ...string) (out []dc.Entry, err error) {
	select {
	case o.asking <- struct{}{}:
		defer func() { <-o.asking }()
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting to ask the directory: %w", context.Cause(ctx))
	}
	_, err = o.reader.Search(ctx, dc.Request{
		Base: base, Scope: scope, Filter: filter, Attributes: attributes,
		Restart: func(dc.Restart) error { out = nil; return nil },
	}, func(e dc.Entry) error {
		out = append(out, e)
		return nil
	})
	if errors.Is(err, dc.ErrNoSuchObject) && scope == dc.ScopeBase {
		return nil, nil
	}
	return out, err
}

// accountTypes chooses users, computers and service accounts, and no accounts of trusts
// (sAMAccountType, [MS-SAMR] 2.2.1.9).
const accountTypes = "(|(sAMAccountType=805306368)(sAMAccountType=805306369))"

var accountAttributes = [...]string{"objectGUID", "objectSid", "sAMAccountName", "userAccountControl", "accountExpires", "objectClass"} //nolint:gochecknoglobals // a constant that Go cannot write

// Account implements [operator.Membership].
func (o *Operators) Account(ctx context.Context, ref operator.AccountRef) (operator.Account, error) {
	base, scope := o.reader.Root().DefaultNC, dc.ScopeSubtree
	var filter string
	switch {
	case !ref.GUID.IsZero():
		base, scope, filter = guidBase(ref.GUID), dc.ScopeBase, accountTypes
	case !ref.SID.IsZero():
		filter = "(&" + accountTypes + "(objectSid=" + escapeRaw(ref.SID.Bytes()) + "))"
	default:
		names, ok := o.nameFilter(ref.Name)
		if !ok {
			return operator.Account{}, nil
		}
		filter = "(&" + accountTypes + names + ")"
	}
	found, err := o.find(ctx, base, scope, filter, accountAttributes[:]...)
	if err != nil {
		return operator.Account{}, fmt.Errorf("looking for an account: %w", err)
	}
	if len(found) != 1 { // two: an account that took another's name as its userPrincipalName
		return operator.Account{}, nil
	}
	return o.account(found[0])
}

func guidBase(g secdesc.GUID) string { return fmt.Sprintf("<GUID=%x>", g[:]) }

// escapeRaw writes bytes as the value of a filter (RFC 4515).
func escapeRaw(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		fmt.Fprintf(&s, `\%02x`, c)
	}
	return s.String()
}

// nameFilter finds the accounts that a typed name may mean; ok is false if none can. A
// name with @ is a userPrincipalName, be it set or implied by name and domain.
func (o *Operators) nameFilter(name string) (filter string, ok bool) {
	if domain, account, is := strings.Cut(name, `\`); is {
		if !strings.EqualFold(domain, o.netbios) && !strings.EqualFold(domain, o.reader.Domain()) || account == "" {
			return "", false
		}
		return "(sAMAccountName=" + escapeFilter(account) + ")", true
	}
	if i := strings.LastIndexByte(name, '@'); i >= 0 {
		filter = "(userPrincipalName=" + escapeFilter(name) + ")"
		if i > 0 && strings.EqualFold(name[i+1:], o.reader.Domain()) {
			filter = "(|" + filter + "(sAMAccountName=" + escapeFilter(name[:i]) + "))"
		}
		return filter, true
	}
	return "(sAMAccountName=" + escapeFilter(name) + ")", name != ""
}

// account reads an entry. What decides whether an account may be used must be readable.
func (o *Operators) account(e dc.Entry) (a operator.Account, err error) {
	bad := func(what string) (operator.Account, error) {
		return operator.Account{}, fmt.Errorf("%s: %s cannot be read: the server's account lacks the right to", e.DN, what)
	}
	if a.GUID, err = secdesc.GUIDFromBytes([]byte(e.Value("objectGUID"))); err != nil {
		return bad("objectGUID")
	}
	if a.SID, err = secdesc.SIDFromBytes([]byte(e.Value("objectSid"))); err != nil {
		return bad("objectSid")
	}
	control, err := strconv.ParseInt(e.Value("userAccountControl"), 10, 64)
	if err != nil {
		return bad("userAccountControl")
	}
	expires, err := strconv.ParseInt(e.Value("accountExpires"), 10, 64)
	if err != nil {
		return bad("accountExpires")
	}
	const disabled = 2 // ADS_UF_ACCOUNTDISABLE ([MS-ADTS] 2.2.16)
	a.Disabled = control&disabled != 0 || expired(expires, o.now())
	a.Exists, a.DN, a.Name, a.Kind = true, e.DN, o.netbios+`\`+e.Value("sAMAccountName"), operator.User
	for _, c := range e.Values("objectClass") {
		switch strings.ToLower(string(c)) {
		case "msds-managedserviceaccount", "msds-groupmanagedserviceaccount":
			a.Kind = operator.Workload
		case "computer":
			if a.Kind == operator.User {
				a.Kind = operator.Computer
			}
		}
	}
	return a, nil
}

// expired reports whether accountExpires has passed; 0 and the greatest number mean
// never ([MS-ADA1], attribute accountExpires).
func expired(v int64, now time.Time) bool {
	const toUnix = 116444736000000000 // 100 ns from 1601 to 1970
	return v > 0 && v != 1<<63-1 && v-toUnix <= now.UnixNano()/100
}

// maxAsked is how many groups one search asks for.
const maxAsked = 100

// Standing implements [operator.Membership]: the groups come from tokenGroups, which the
// domain controller computes when it is asked ([MS-ADTS] 3.1.1.4.5.19).
func (o *Operators) Standing(ctx context.Context, account secdesc.GUID, groups []string) (operator.Standing, error) {
	attributes := accountAttributes[:]
	if len(groups) > 0 {
		attributes = append(slices.Clone(attributes), "tokenGroups")
	}
	found, err := o.find(ctx, guidBase(account), dc.ScopeBase, accountTypes, attributes...)
	if err != nil {
		return operator.Standing{}, fmt.Errorf("reading the groups of an account: %w", err)
	}
	if len(found) == 0 {
		return operator.Standing{}, nil
	}
	st := operator.Standing{}
	if st.Account, err = o.account(found[0]); err != nil || len(groups) == 0 {
		return st, err
	}
	token := map[secdesc.SID]bool{}
	for _, raw := range found[0].Values("tokenGroups") {
		sid, err := secdesc.SIDFromBytes(raw)
		if err != nil {
			return operator.Standing{}, fmt.Errorf("%s: tokenGroups: %w", found[0].DN, err)
		}
		token[sid] = true
	}
	if len(token) == 0 { // the primary group at least is in it
		return operator.Standing{}, fmt.Errorf("%s: tokenGroups cannot be read: the server's account lacks the right to", found[0].DN)
	}
	for part := range slices.Chunk(groups, maxAsked) {
		if err := o.compare(ctx, part, token, &st); err != nil {
			return operator.Standing{}, err
		}
	}
	return st, nil
}

// compare finds out which of the groups are in a token, and which do not exist.
func (o *Operators) compare(ctx context.Context, groups []string, token map[secdesc.SID]bool, st *operator.Standing) error {
	known, err := o.groups(ctx, groups)
	if err != nil {
		return fmt.Errorf("looking for groups: %w", err)
	}
	for _, g := range groups {
		sid, there := known[groupKey(g)]
		if s, err := secdesc.ParseSID(g); err == nil && token[s] {
			sid, there = s, true // of another domain, or well known
		}
		switch {
		case !there:
			st.Absent = append(st.Absent, g)
		case token[sid]:
			st.In = append(st.In, g)
		}
	}
	return nil
}

// groupKey is how a group is found among answers: its name in lower case.
func groupKey(name string) string { return strings.ToLower(name) }

// groups finds groups by SID, objectGUID, DOMAIN\name or name.
func (o *Operators) groups(ctx context.Context, names []string) (map[string]secdesc.SID, error) {
	var filter strings.Builder
	for _, n := range names {
		_, name, isQualified := strings.Cut(n, `\`)
		if sid, err := secdesc.ParseSID(n); err == nil {
			filter.WriteString("(objectSid=" + escapeRaw(sid.Bytes()) + ")")
		} else if guid, err := secdesc.ParseGUID(n); err == nil {
			filter.WriteString("(objectGUID=" + escapeRaw(guid[:]) + ")")
		} else if isQualified {
			filter.WriteString("(sAMAccountName=" + escapeFilter(name) + ")")
		} else {
			filter.WriteString("(sAMAccountName=" + escapeFilter(n) + ")")
		}
	}
	found, err := o.find(ctx, o.reader.Root().DefaultNC, dc.ScopeSubtree, "(&(objectClass=group)(|"+filter.String()+"))", "objectGUID", "objectSid", "sAMAccountName")
	if err != nil {
		return nil, err
	}
	known := map[string]secdesc.SID{}
	for _, e := range found {
		sid, err := secdesc.SIDFromBytes([]byte(e.Value("objectSid")))
		if err != nil {
			return nil, fmt.Errorf("%s: objectSid: %w", e.DN, err)
		}
		guid, err := secdesc.GUIDFromBytes([]byte(e.Value("objectGUID")))
		if err != nil {
			return nil, fmt.Errorf("%s: objectGUID: %w", e.DN, err)
		}
		name := e.Value("sAMAccountName")
		for _, key := range []string{sid.String(), guid.String(), name, o.netbios + `\` + name, o.reader.Domain() + `\` + name} {
			known[groupKey(key)] = sid
		}
	}
	return known, nil
}

// Kerberos implements [operator.Authenticator].
func (o *Operators) Kerberos(_ context.Context, token, endpoint []byte) (operator.Ticket, error) {
	if o.acceptor == nil {
		return operator.Ticket{}, fmt.Errorf("%w: the server has no keytab", operator.ErrSignIn)
	}
	a, err := o.acceptor.Accept(token, endpoint)
	if errors.Is(err, dc.ErrTicket) {
		return operator.Ticket{}, fmt.Errorf("%w: %w", operator.ErrSignIn, err)
	}
	return operator.Ticket{SID: a.SID, Name: a.Client, Reply: a.Reply, Once: a.Once, Until: a.Until}, err
}
