package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/delegation"
	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// ErrPrivileged reports that leastwise's own account holds power that it must not have,
// or that it could not be found out.
var ErrPrivileged = errors.New("leastwise's own account must be an ordinary one")

// Duties are the objects that leastwise's own account works on: it writes the members of
// groups, or enables, resets and disables the management accounts that do (guide, app. I).
type Duties struct {
	Groups []Duty // whose members are written
	// Accounts are the management accounts; those that a Duty goes through are among them.
	Accounts []grant.Ref
}

// A Duty is one group whose members are written.
type Duty struct {
	Group   grant.Ref
	Through grant.Ref // management account that writes; empty: leastwise's own account
}

// DutiesOf returns what policies of grants ask for. A policy about a role names no group
// yet, and is left out.
func DutiesOf(p *grant.Policies) Duties {
	var d Duties
	for _, x := range p.Policies {
		if x.Group != "" {
			d.Add(Duty{x.Group, x.Through})
		}
	}
	return d
}

// Add adds a duty, once.
func (d *Duties) Add(v Duty) {
	if !slices.Contains(d.Groups, v) {
		d.Groups = append(d.Groups, v)
	}
	if v.Through != "" && !slices.Contains(d.Accounts, v.Through) {
		d.Accounts = append(d.Accounts, v.Through)
	}
}

// An Identity compares the rights that leastwise's own account has with those that it
// needs. It is made of a few reads, whatever the size of the domain: of the account's
// token and of the objects that count. Doctor looks at all objects.
type Identity struct {
	Account string      `json:"account"`
	DN      string      `json:"dn,omitempty"`
	SID     secdesc.SID `json:"sid,omitzero"`
	// Powers are the privileged groups in the account's token: direct, nested or
	// primary. Where there is one, Refusal refuses.
	Powers []HeldGroup `json:"powers,omitempty"`
	// Protected says that adminCount of the account is set: it is, or was, a member of
	// a protected group.
	Protected bool           `json:"protected,omitempty"`
	Missing   []MissingRight `json:"missing,omitempty"`
	Surplus   []SurplusRight `json:"surplus,omitempty"`
	Unread    []string       `json:"unread,omitempty"` // what could not be found out, and why

	token map[secdesc.SID]bool
	works map[string]bool // distinguished names of the objects of its duties
}

// A HeldGroup is a privileged group.
type HeldGroup struct {
	SID  secdesc.SID `json:"sid"`
	Name string      `json:"name"` // distinguished name, else the SID
}

// A MissingRight is a right that the account needs and does not have.
type MissingRight struct {
	Object  string `json:"object"`
	Account string `json:"account"` // that lacks it: leastwise's, or a management account
	Right   string `json:"right"`
	Effect  string `json:"effect"`          // what cannot be done
	Entry   string `json:"entry,omitempty"` // that would give it, in SDDL
	Why     string `json:"why,omitempty"`   // the entry that denies it, or what is the matter with the object
}

// A SurplusRight is a right that the account has and does not need.
type SurplusRight struct {
	Object  string      `json:"object"`
	Trustee secdesc.SID `json:"trustee,omitzero"`
	Right   string      `json:"right"`
	Entry   string      `json:"entry,omitempty"` // in SDDL
	Index   int         `json:"index"`           // of the entry in the DACL; -1: by ownership, or because there is no DACL
}

// String is the right in a line.
func (m MissingRight) String() string {
	s := fmt.Sprintf("%s cannot %s of %s, so %s", m.Account, m.Right, m.Object, m.Effect)
	if m.Why != "" {
		s += " (" + m.Why + ")"
	}
	return s
}

// String is the right in a line.
func (r SurplusRight) String() string {
	if r.Index < 0 {
		return fmt.Sprintf("%s: %s", r.Object, r.Right)
	}
	return fmt.Sprintf("%s: %s by entry %d %s", r.Object, r.Right, r.Index, r.Entry)
}

// Refusal says why a server must not start under this identity; nil if it may. The error
// is [ErrPrivileged]. Who overrides it must say so loudly, in the log and the audit log.
func (i *Identity) Refusal() error {
	var why []string
	for _, p := range i.Powers {
		why = append(why, "is a member of "+p.Name)
	}
	if i.Protected && len(i.Powers) == 0 {
		why = append(why, "has adminCount 1: it is or was in a protected group; if it no longer is, clear adminCount and let its permissions be inherited again")
	}
	if len(i.token) == 0 {
		why = append(why, "did not tell its groups, so that nobody knows what it may do")
	}
	if len(why) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s %s", ErrPrivileged, i.Account, strings.Join(why, ", "))
}

// holds is the token as package secdesc asks for it. Self is no part: the account's own
// object is no duty.
func (i *Identity) holds(sid secdesc.SID) bool { return i.token[sid] }

// CompareIdentity asks the directory, signed in as leastwise's own account, what that
// account may do on the objects of its duties. Errors mean that the directory could not be asked at
// all; what could not be read of an object is in Unread.
func CompareIdentity(ctx context.Context, cfg dc.Config, duties Duties) (*Identity, error) {
	r, err := dc.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	return compareIdentity(ctx, r, duties)
}

func compareIdentity(ctx context.Context, r *dc.Reader, duties Duties) (*Identity, error) {
	q := &inquiry{r: r, id: &Identity{token: map[secdesc.SID]bool{}, works: map[string]bool{}}}
	if err := q.account(ctx); err != nil {
		return nil, fmt.Errorf("comparing the rights of leastwise's own account: %w", err)
	}
	managers := map[grant.Ref]*found{}
	for _, ref := range duties.Accounts {
		managers[ref] = q.manager(ctx, ref)
	}
	for _, v := range duties.Groups {
		q.group(ctx, v, managers[v.Through])
	}
	for _, dn := range []string{q.root, "CN=AdminSDHolder,CN=System," + q.root} {
		o, err := q.read(ctx, dn, dc.ScopeBase, "(objectClass=*)")
		if err != nil {
			q.unread("the permissions of %s: %v", dn, err)
			continue
		}
		q.surplus(o)
	}
	q.powers(ctx)
	return q.id, nil
}

// An inquiry is a comparison in progress.
type inquiry struct {
	r       *dc.Reader
	id      *Identity
	root    string // distinguished name of the domain
	netbios string
}

// found is an object as the account sees it.
type found struct {
	dn         string
	sid        secdesc.SID
	classes    []string
	adminCount bool
	descriptor *secdesc.Descriptor // nil: not readable
}

func (q *inquiry) unread(format string, args ...any) {
	q.id.Unread = append(q.id.Unread, fmt.Sprintf(format, args...))
}

// account reads who is signed in, and its token.
func (q *inquiry) account(ctx context.Context) error {
	who, err := q.r.WhoAmI(ctx)
	if err != nil {
		return err
	}
	q.root = q.r.Root().DefaultNC
	q.id.Account, q.id.DN = who.Principal, who.DN
	q.id.SID, _ = secdesc.SIDFromBytes(who.SID)
	for _, raw := range who.TokenGroups {
		sid, err := secdesc.SIDFromBytes(raw)
		if err != nil {
			q.unread("a group in the token of %s: %v", who.Principal, err)
			continue
		}
		q.id.token[sid] = true
	}
	if len(q.id.token) > 0 && !q.id.SID.IsZero() {
		q.id.token[q.id.SID] = true
	}
	if who.DN == "" {
		q.unread("the object of %s: it was not found in %s", who.Principal, q.root)
		return nil
	}
	o, err := q.read(ctx, who.DN, dc.ScopeBase, "(objectClass=*)")
	if err != nil {
		q.unread("the object of %s: %v", who.Principal, err)
		return nil
	}
	q.id.Protected = o.adminCount
	return nil
}

// powers names the privileged groups of the token.
func (q *inquiry) powers(ctx context.Context) {
	for sid := range q.id.token {
		if !reach.PrivilegedName(sid) {
			continue
		}
		p := HeldGroup{SID: sid, Name: sid.String()}
		if o, err := q.read(ctx, "<SID="+sid.String()+">", dc.ScopeBase, "(objectClass=*)"); err == nil {
			p.Name = o.dn
		}
		q.id.Powers = append(q.id.Powers, p)
	}
	slices.SortFunc(q.id.Powers, func(a, b HeldGroup) int { return a.SID.Compare(b.SID) })
}

// manager compares the rights on a management account.
func (q *inquiry) manager(ctx context.Context, ref grant.Ref) *found {
	o, ok := q.find(ctx, ref, delegation.WriteFlags, "the groups that are written through it cannot be written")
	if !ok {
		return nil
	}
	q.needs(o, delegation.WriteFlags, "no group can be written through it", q.id.Account, q.id.holds)
	q.needs(o, delegation.ResetPassword, "no group can be written through it", q.id.Account, q.id.holds)
	q.surplus(o, delegation.WriteFlags, delegation.ResetPassword)
	return o
}

// group compares the rights on a group whose members are written.
func (q *inquiry) group(ctx context.Context, v Duty, manager *found) {
	const effect = "nobody can be given or taken its membership"
	o, ok := q.find(ctx, v.Group, delegation.WriteMembers, effect)
	if !ok {
		return
	}
	if v.Through == "" {
		q.needs(o, delegation.WriteMembers, effect, q.id.Account, q.id.holds)
		q.surplus(o, delegation.WriteMembers)
		return
	}
	q.surplus(o)
	if manager != nil {
		q.needs(o, delegation.WriteMembers, effect, manager.dn, func(sid secdesc.SID) bool {
			return sid == manager.sid || sid == secdesc.Everyone || sid == secdesc.AuthenticatedUsers
		})
	}
}

// find is object, and notes what is the matter if there is none.
func (q *inquiry) find(ctx context.Context, ref grant.Ref, right delegation.Right, effect string) (*found, bool) {
	o, err := q.object(ctx, ref)
	switch {
	case err != nil:
		q.unread("%s: %v", ref, err)
	case o == nil:
		q.id.Missing = append(q.id.Missing, MissingRight{
			Object: string(ref), Account: q.id.Account, Right: right.Name, Effect: effect, Why: "there is no such object, or it may not be seen",
		})
	}
	if o != nil {
		q.id.works[o.dn] = true
	}
	return o, o != nil
}

// needs notes a right that is missing.
func (q *inquiry) needs(o *found, right delegation.Right, effect, account string, token func(secdesc.SID) bool) {
	if o.descriptor == nil {
		q.unread("whether %s may %s: the permissions of %s may not be read", account, right.Name, o.dn)
		return
	}
	d := right.Check(o.descriptor, token)
	if d.Outcome == secdesc.Granted {
		return
	}
	m := MissingRight{Object: o.dn, Account: account, Right: right.Name, Effect: effect}
	if d.ACE != nil && d.ACE.Type.IsDeny() {
		m.Why = fmt.Sprintf("entry %d denies it: %s", d.Index, d.ACE.SDDL(secdesc.SID{}))
	}
	q.id.Missing = append(q.id.Missing, m)
}

// surplus notes the rights on an object beyond those that are needed. What everybody in
// the domain has is no matter of this account.
func (q *inquiry) surplus(o *found, needed ...delegation.Right) {
	if o.descriptor == nil {
		q.unread("what else %s may do: the permissions of %s may not be read", q.id.Account, o.dn)
		return
	}
	for _, x := range delegation.Surplus(o.descriptor, q.id.holds, needed...) {
		if delegation.Broad(x.ACE.SID) {
			continue
		}
		if r := surplusRight(o.dn, x); !slices.Contains(q.id.Surplus, r) {
			q.id.Surplus = append(q.id.Surplus, r)
		}
	}
}

// object finds what a policy names; nil if there is none.
func (q *inquiry) object(ctx context.Context, ref grant.Ref) (*found, error) {
	name := string(ref)
	if sid, err := secdesc.ParseSID(name); err == nil {
		return absent(q.read(ctx, "<SID="+sid.String()+">", dc.ScopeBase, "(objectClass=*)"))
	}
	if strings.HasPrefix(name, "<GUID=") || strings.Contains(name, "=") && strings.Contains(name, ",") {
		return absent(q.read(ctx, name, dc.ScopeBase, "(objectClass=*)"))
	}
	if domain, account, ok := strings.Cut(name, `\`); ok {
		if own, err := q.ownName(ctx); err != nil || !strings.EqualFold(domain, own) {
			return nil, errors.Join(err, fmt.Errorf("it belongs to another domain than %s", q.root))
		}
		return absent(q.read(ctx, q.root, dc.ScopeSubtree, "(sAMAccountName="+escapeFilter(account)+")"))
	}
	return absent(q.read(ctx, q.root, dc.ScopeSubtree, "(userPrincipalName="+escapeFilter(name)+")"))
}

func absent(o *found, err error) (*found, error) {
	if dc.KindOf(err) == dc.ErrNoSuchObject {
		return nil, nil
	}
	return o, err
}

// ownName is the NetBIOS name of the domain.
func (q *inquiry) ownName(ctx context.Context) (string, error) {
	if q.netbios != "" {
		return q.netbios, nil
	}
	req := dc.Request{
		Base: "CN=Partitions," + q.r.Root().ConfigurationNC, Scope: dc.ScopeSubtree, Attributes: []string{"nETBIOSName"},
		Filter: "(&(objectClass=crossRef)(nCName=" + escapeFilter(q.root) + "))",
	}
	_, err := q.r.Search(ctx, req, func(e dc.Entry) error {
		q.netbios = e.Value("nETBIOSName")
		return nil
	})
	if err == nil && q.netbios == "" {
		err = fmt.Errorf("the NetBIOS name of %s cannot be read", q.root)
	}
	return q.netbios, err
}

// read reads one object; of kind dc.ErrNoSuchObject if there is none.
func (q *inquiry) read(ctx context.Context, base string, scope dc.Scope, filter string) (*found, error) {
	var list []*found
	req := dc.Request{
		Base: base, Scope: scope, Filter: filter, SDFlags: dc.SDOwner | dc.SDGroup | dc.SDDACL,
		Attributes: []string{"objectSid", "objectClass", "adminCount", "nTSecurityDescriptor"},
	}
	_, err := q.r.Search(ctx, req, func(e dc.Entry) error {
		o := &found{dn: e.DN, adminCount: e.Value("adminCount") == "1"}
		o.sid, _ = secdesc.SIDFromBytes([]byte(e.Value("objectSid"))) // zero: it has none that may be read
		for _, c := range e.Values("objectClass") {
			o.classes = append(o.classes, string(c))
		}
		if raw := e.Values("nTSecurityDescriptor"); len(raw) == 1 {
			d, err := secdesc.Parse(raw[0])
			if err != nil {
				return fmt.Errorf("reading the permissions of %s: %w", e.DN, err)
			}
			o.descriptor = d
		}
		list = append(list, o)
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case len(list) == 0:
		return nil, &dc.Error{Kind: dc.ErrNoSuchObject, Op: "reading " + base}
	case len(list) > 1:
		return nil, fmt.Errorf("%d objects fit %s", len(list), filter)
	}
	return list[0], nil
}

// escapeFilter writes a value as filters want it (RFC 4515 3).
func escapeFilter(value string) string {
	return strings.NewReplacer(`\`, `\5c`, `*`, `\2a`, `(`, `\28`, `)`, `\29`, "\x00", `\00`).Replace(value)
}

// ReadPolicies reads a file of policies of grants.
func ReadPolicies(name string) (*grant.Policies, error) {
	b, err := ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading the policies %s: %w", name, err)
	}
	return grant.ParsePolicies(name, b)
}
