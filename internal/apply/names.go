package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// errName reports a name that this directory cannot say anything about.
var errName = errors.New("the name cannot be looked up here")

// Flags of accounts and groups ([MS-ADTS] 2.2.16, 2.2.12).
const (
	accountDisabled = 0x2
	securityGroup   = 0x80000000
)

// Everybody who signs in, as SIDs of no object ([MS-DTYP] 2.4.2.4).
const (
	everyone      = "S-1-1-0"
	authenticated = "S-1-5-11"
)

// attributes of accounts and groups that are read.
func (d *Grants) attributes() []string {
	list := []string{"objectGUID", "objectSid", "sAMAccountName", "userPrincipalName", "userAccountControl", "groupType", "isDeleted"}
	if p := d.opt.Person(); p != "" {
		list = append(list, p)
	}
	return list
}

// objects reads objects by GUID. One that is not found is looked for among the deleted
// ones; if it is not there either, it is gone for good, or hidden from leastwise's account:
// Object.Missing says so.
func (d *Grants) objects(ctx context.Context, a asking, list ...secdesc.GUID) (map[secdesc.GUID]grant.Object, error) {
	q := dc.Request{Base: a.h.base, Scope: dc.ScopeSubtree, Filter: dc.ByGUID(list...), Attributes: d.attributes()}
	entries, _, err := a.w.Find(ctx, a.via, q)
	if err != nil {
		return nil, err
	}
	out := make(map[secdesc.GUID]grant.Object, len(list))
	for _, e := range entries {
		o, err := d.objectOf(a, e)
		if err != nil {
			return nil, err
		}
		out[o.GUID] = o
	}
	var missing []secdesc.GUID
	for _, g := range list {
		if _, ok := out[g]; !ok && !slices.Contains(missing, g) {
			missing = append(missing, g)
		}
	}
	if len(missing) == 0 {
		return out, nil
	}
	q.ShowDeleted, q.Filter = true, dc.ByGUID(missing...)
	if entries, _, err = a.w.Find(ctx, a.via, q); err != nil {
		return nil, err
	}
	for _, g := range missing {
		out[g] = grant.Object{GUID: g, Missing: "it is not there, or is hidden from leastwise's account"}
	}
	for _, e := range entries {
		o, err := d.objectOf(a, e)
		if err != nil {
			return nil, err
		}
		o.Exists = e.Value("isDeleted") != "TRUE"
		out[o.GUID] = o
	}
	return out, nil
}

// objectOf makes an object of what was read of it.
func (d *Grants) objectOf(a asking, e dc.Entry) (grant.Object, error) {
	g, err := secdesc.GUIDFromBytes([]byte(e.Value("objectGUID")))
	if err != nil {
		return grant.Object{}, fmt.Errorf("reading %s: its objectGUID: %w", e.DN, err)
	}
	o := grant.Object{GUID: g, SID: sidOf(e), DN: e.DN, Exists: true, Domain: a.h.domain}
	if name := e.Value("sAMAccountName"); name != "" {
		o.Name = a.h.netbios + `\` + name
	} else {
		o.Missing = "its name may not be read"
	}
	if v := number(e, "userAccountControl"); v != nil {
		o.Disabled = *v&accountDisabled != 0
	}
	if v := number(e, "groupType"); v != nil {
		o.Group = uint32(*v)&securityGroup != 0
	} else if o.SID.IsZero() {
		o.Missing = "its security identifier may not be read"
	}
	if p := d.opt.Person(); p != "" {
		o.Person = e.Value(p)
	}
	return o, nil
}

// Find implements [grant.Directory].
func (d *Grants) Find(ctx context.Context, ref grant.Ref) (grant.Object, error) {
	found, err := d.resolve(ctx, []grant.Ref{ref})
	if err != nil {
		return grant.Object{}, fmt.Errorf("finding %s: %w", ref, err)
	}
	return found[ref], nil
}

// resolve finds what names stand for. One that stands for nothing has an object that does
// not exist.
func (d *Grants) resolve(ctx context.Context, refs []grant.Ref) (map[grant.Ref]grant.Object, error) {
	out := make(map[grant.Ref]grant.Object, len(refs))
	now := d.opt.Clock().Mono
	var ask []grant.Ref
	d.mu.Lock()
	for _, r := range refs {
		if n, ok := d.names[r]; ok && now-n.at < namesKept && now >= n.at {
			out[r] = n.object
		} else {
			ask = append(ask, r)
		}
	}
	d.mu.Unlock()
	if len(ask) == 0 {
		return out, nil
	}
	err := d.anywhere(ctx, func(ctx context.Context, a asking) error {
		found, err := d.lookUp(ctx, a, ask)
		for r, o := range found {
			out[r] = o
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.names) > 10*maxNames {
		clear(d.names)
	}
	for _, r := range ask {
		if out[r].Exists {
			d.names[r] = named{out[r], now}
		}
	}
	return out, nil
}

// maxNames bounds the names of one search.
const maxNames = 200

// lookUp is one search for several names.
func (d *Grants) lookUp(ctx context.Context, a asking, refs []grant.Ref) (map[grant.Ref]grant.Object, error) {
	var filter strings.Builder
	for _, r := range refs {
		part, err := a.h.filter(r)
		if err != nil {
			return nil, err
		}
		filter.WriteString(part)
	}
	entries, _, err := a.w.Find(ctx, a.via, dc.Request{
		Base: a.h.base, Scope: dc.ScopeSubtree, Filter: "(|" + filter.String() + ")", Attributes: d.attributes(),
	})
	if err != nil {
		return nil, err
	}
	out := make(map[grant.Ref]grant.Object, len(refs))
	for _, r := range refs {
		out[r] = grant.Object{}
		for _, e := range entries {
			if !a.h.stands(r, e) {
				continue
			}
			if out[r].Exists {
				return nil, fmt.Errorf("%w: %s could be %s or %s: name it by its SID", errName, r, out[r].DN, e.DN)
			}
			if out[r], err = d.objectOf(a, e); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// filter is the part of a search that finds what a name stands for.
func (h home) filter(r grant.Ref) (string, error) {
	s := string(r)
	domain, account, backslash := strings.Cut(s, `\`)
	switch {
	case strings.HasPrefix(s, "role:"):
		return "", fmt.Errorf("%w: %s is a role, and no roles are configured", errName, r)
	case strings.HasPrefix(s, "S-1-"):
		sid, err := secdesc.ParseSID(s)
		if err != nil {
			return "", fmt.Errorf("%w: %w", errName, err)
		}
		return "(objectSid=" + dc.EscapeFilter(sid.String()) + ")", nil
	case isDN(s):
		if !strings.HasSuffix(strings.ToLower(s), strings.ToLower(h.base)) {
			return "", fmt.Errorf("%w: %s is not in %s, and a server serves one domain", errName, r, h.domain)
		}
		return "(distinguishedName=" + dc.EscapeFilter(s) + ")", nil
	case backslash && sameName(domain, h.netbios):
		return "(sAMAccountName=" + dc.EscapeFilter(account) + ")", nil
	case backslash:
		return "", fmt.Errorf("%w: %s is not of the domain %s, and a server serves one domain", errName, r, h.netbios)
	}
	account, domain, at := cutLast(s, "@")
	if !at {
		return "", fmt.Errorf("%w: %s is neither DOMAIN\\name, a SID, user@domain nor a distinguished name", errName, r)
	}
	part := "(userPrincipalName=" + dc.EscapeFilter(s) + ")"
	if sameName(domain, h.domain) {
		part += "(sAMAccountName=" + dc.EscapeFilter(account) + ")"
	}
	return part, nil
}

// stands reports whether a name stands for an object that was found.
func (h home) stands(r grant.Ref, e dc.Entry) bool {
	s := string(r)
	_, account, backslash := strings.Cut(s, `\`)
	switch {
	case strings.HasPrefix(s, "S-1-"):
		return sidOf(e).String() == s
	case isDN(s):
		return sameName(e.DN, s)
	case backslash:
		return sameName(e.Value("sAMAccountName"), account)
	}
	account, domain, _ := cutLast(s, "@")
	return sameName(e.Value("userPrincipalName"), s) || sameName(domain, h.domain) && sameName(e.Value("sAMAccountName"), account)
}

// isDN reports whether a name is a distinguished one: it begins with an attribute.
func isDN(s string) bool {
	attribute, _, ok := strings.Cut(s, "=")
	return ok && !strings.ContainsAny(attribute, `\@,`) && strings.Contains(strings.ToUpper(s), "DC=")
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// Within implements [grant.Directory]: the domain controller itself computes the account's
// groups, nested ones and the primary one among them, as it would for a ticket now
// (tokenGroups, [MS-ADTS] 3.1.1.4.5.19). Distribution groups are not among them.
func (d *Grants) Within(ctx context.Context, account secdesc.GUID, refs []grant.Ref) (bool, error) {
	if len(refs) == 0 {
		return false, nil
	}
	in, err := d.within(ctx, account, refs)
	if err != nil {
		return false, fmt.Errorf("asking whether %s is among those named: %w", account, err)
	}
	return in, nil
}

func (d *Grants) within(ctx context.Context, account secdesc.GUID, refs []grant.Ref) (bool, error) {
	sids, failed := d.sids(ctx, refs)
	if len(sids) == 0 && failed != nil {
		return false, failed
	}
	var in bool
	err := d.anywhere(ctx, func(ctx context.Context, a asking) error {
		entries, _, err := a.w.Find(ctx, a.via, dc.Request{
			Base: fmt.Sprintf("<GUID=%x>", account[:]), Scope: dc.ScopeBase, Attributes: []string{"objectSid", "tokenGroups"},
		})
		if dc.KindOf(err) == dc.ErrNoSuchObject || err == nil && len(entries) == 0 {
			return nil // who does not exist is in nothing
		}
		if err != nil {
			return err
		}
		in, err = contains(entries[0], sids)
		return err
	})
	if err == nil && !in {
		err = failed // not in those that could be looked up; in the others, who knows
	}
	return in, err
}

// sids returns the SIDs that names stand for, and why some could not be looked up. A name
// that stands for nothing holds nobody.
func (d *Grants) sids(ctx context.Context, refs []grant.Ref) (out map[string]bool, failed error) {
	out = map[string]bool{}
	var names []grant.Ref
	for _, r := range refs {
		if strings.HasPrefix(string(r), "S-1-") {
			out[string(r)] = true
		} else {
			names = append(names, r)
		}
	}
	if len(names) == 0 {
		return out, nil
	}
	found, err := d.resolve(ctx, names)
	if errors.Is(err, errName) && len(names) > 1 { // one of them is at fault: the others count
		found = map[grant.Ref]grant.Object{}
		for _, r := range names {
			one, err := d.resolve(ctx, []grant.Ref{r})
			if err != nil {
				failed = errors.Join(failed, err)
				continue
			}
			found[r] = one[r]
		}
		err = nil
	}
	for _, o := range found {
		if o.Exists && !o.SID.IsZero() {
			out[o.SID.String()] = true
		}
	}
	return out, errors.Join(failed, err)
}

// contains reports whether an account, or one of its groups, has one of some SIDs.
func contains(e dc.Entry, sids map[string]bool) (bool, error) {
	if sids[sidOf(e).String()] || sids[everyone] || sids[authenticated] {
		return true, nil
	}
	groups := e.Values("tokenGroups")
	if len(groups) == 0 {
		// Every account has a primary group.
		return false, fmt.Errorf("the groups of %s (tokenGroups) may not be read: allow leastwise's account to, by the group Windows Authorization Access Group", e.DN)
	}
	for _, b := range groups {
		sid, err := secdesc.SIDFromBytes(b)
		if err != nil {
			return false, fmt.Errorf("reading the groups of %s: %w", e.DN, err)
		}
		if sids[sid.String()] {
			return true, nil
		}
	}
	return false, nil
}
