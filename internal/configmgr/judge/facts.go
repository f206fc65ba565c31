package judge

import (
	"slices"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/leastwise/leastwise/internal/configmgr"
)

// implied are the rights that a right brings along.
var implied = map[string][]string{
	"full-control": {"change", "write", "read-execute", "read", "list"},
	"change":       {"write", "read-execute", "read", "list"},
	"read-execute": {"read", "list"},
	"read":         {"list"},
}

// hasRight reports whether granted rights bring another one.
func hasRight(granted []string, right string) bool {
	return slices.ContainsFunc(granted, func(g string) bool { return g == right || slices.Contains(implied[g], right) })
}

// rightsOn lists what an access list of a host gives p, by name or through groups, as
// the entries write it; what is denied is left out, and of a right that is denied in
// part the rest stays. What may be denied to p may be missing.
func (w *world) rightsOn(p *principal, h *host, acl configmgr.ACL) *list {
	var granted, denied, doubtful []string
	var gap, doubt *types.Unknown
	for _, e := range acl.Entries {
		switch v := w.covers(p, h, []configmgr.Member{e.Member}).(type) {
		case *types.Unknown:
			if e.Deny {
				doubt, doubtful = merge(doubt, v), append(doubtful, e.Rights...)
			} else {
				gap = merge(gap, v)
			}
		case types.Bool:
			if bool(v) && e.Deny {
				denied = append(denied, e.Rights...)
			} else if v {
				granted = append(granted, e.Rights...)
			}
		}
	}
	granted = without(granted, denied)
	sure := without(granted, doubtful)
	if !slices.Equal(sure, granted) {
		gap = merge(gap, doubt)
	}
	return &list{texts(sure), gap}
}

// without takes denied rights out of granted ones, with those that bring them along or
// that they bring along.
func without(granted, denied []string) []string {
	taken := func(r string) bool {
		return slices.ContainsFunc(denied, func(d string) bool { return hasRight([]string{r}, d) || hasRight([]string{d}, r) })
	}
	var out []string
	for _, g := range granted {
		if !taken(g) {
			out = append(out, g)
			continue
		}
		for _, r := range implied[g] {
			if !taken(r) {
				out = append(out, r)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// grants tells whether the rights in a list bring another one.
func (l *list) grants(right string) ref.Val {
	if hasRight(textsOf(l), right) {
		return types.True
	}
	return orUnknown(l.gap, types.False)
}

// Folders of a site server, as what ends their path.
var folders = map[string]string{
	"filecol": `sinv.box\filecol`, "inboxes": `inboxes`, "statmgr.box": `statmgr.box`,
	"osd-boot": `osd\boot`, "osd-bin": `osd\bin`, "despoolr-receive": `despoolr.box\receive`,
}

// endsWithPath reports whether a path is that of a folder, wherever it is installed.
func endsWithPath(path, end string) bool {
	path, end = cleanPath(path), cleanPath(end)
	return path == end || strings.HasSuffix(path, `\`+end)
}

// belowPath reports whether a path is a folder's or below it.
func belowPath(path, folder string) bool {
	return endsWithPath(path, folder) || strings.Contains(`\`+cleanPath(path)+`\`, `\`+cleanPath(folder)+`\`)
}

func cleanPath(p string) string {
	return strings.Trim(strings.ToLower(strings.ReplaceAll(p, "/", `\`)), `\`)
}

// folder finds the access list of a folder of a host.
func (w *world) folder(h *host, end string) (configmgr.ACL, ref.Val) {
	if h.fact != nil {
		for _, f := range h.fact.Folders {
			if endsWithPath(f.Path, end) {
				return f, nil
			}
		}
	}
	if u := w.unread(configmgr.ClassFolders, h.name); u != nil {
		return configmgr.ACL{}, u
	}
	return configmgr.ACL{}, w.lack(Missing{Collector: "host-acl", Class: configmgr.ClassFolders, Scope: h.name, Text: end + " of " + h.name + " was not among the folders that were read"})
}

// share finds the access list of a share of a host.
func (w *world) share(h *host, name string) (acl configmgr.ACL, found bool, u ref.Val) {
	if h.fact != nil {
		for _, s := range h.fact.Shares {
			if strings.EqualFold(strings.Trim(s.Path, `\`), name) {
				return s, true, nil
			}
		}
	}
	return configmgr.ACL{}, false, w.unread(configmgr.ClassShares, h.name)
}

// splitUNC takes \\host\share\… apart.
func splitUNC(unc string) (host, share string, ok bool) {
	rest, ok := strings.CutPrefix(strings.ReplaceAll(unc, "/", `\`), `\\`)
	if !ok {
		return "", "", false
	}
	host, rest, ok = strings.Cut(rest, `\`)
	share, _, _ = strings.Cut(rest, `\`)
	return host, share, ok && host != "" && share != ""
}

// shareRights lists what a share gives p.
func (w *world) shareRights(p *principal, h *host, name string) ref.Val {
	acl, found, u := w.share(h, name)
	switch {
	case found:
		return w.rightsOn(p, h, acl)
	case u != nil:
		return lst(nil, u)
	}
	return lst(nil, nil)
}

// isContent reports whether a share is one of those from which clients take content.
func isContent(share string) bool {
	share = strings.ToLower(strings.Trim(share, `\`))
	for _, p := range []string{"smspkg", "smssig", "sms_dp", "sccmcontentlib"} {
		if strings.HasPrefix(share, p) {
			return true
		}
	}
	return false
}

// sharesOf lists the shares of the hosts of the document that accept takes, as UNC
// paths; hosts of the site whose shares were not read leave a gap.
func (ev *evaluation) sharesOf(accept func(h *host, acl configmgr.ACL) ref.Val) *list {
	var out []ref.Val
	var gap *types.Unknown
	for _, h := range ev.w.factHosts() {
		for _, s := range h.fact.Shares {
			switch v := accept(h, s).(type) {
			case types.Bool:
				if v {
					out = append(out, types.String(uncOf(h, s.Path)))
				}
			case *types.Unknown:
				gap = merge(gap, v)
			}
		}
		if u, ok := ev.w.unread(configmgr.ClassShares, h.name).(*types.Unknown); ok {
			gap = merge(gap, u)
		}
	}
	for _, v := range ev.systems().known {
		h := v.(*host)
		if u, ok := ev.w.unread(configmgr.ClassShares, h.name).(*types.Unknown); ok {
			gap = merge(gap, u)
		}
	}
	return &list{out, merge(gap, ev.systems().gap)}
}

func uncOf(h *host, share string) string {
	return strings.ToLower(`\\` + h.name + `\` + strings.Trim(share, `\`))
}

// normalUNC is a path in the form of uncOf.
func (w *world) normalUNC(unc string) string {
	host, share, ok := splitUNC(unc)
	if !ok {
		return strings.ToLower(unc)
	}
	return uncOf(w.host(host), share)
}

// explicit tells whether an access list names p or one of its own groups: entries for
// everybody do not count.
func (w *world) explicit(p *principal, h *host, acl configmgr.ACL) ref.Val {
	out := ref.Val(types.False)
	for _, e := range acl.Entries {
		q := w.member(e.Member, h.name)
		if e.Deny || w.isCommon(q.sid) {
			continue
		}
		out = or(out, w.covers(p, h, []configmgr.Member{e.Member}))
	}
	return out
}

// database finds what is known of a database by name. Of several with the name, which
// need not tell their instances, it is that of the site; one of another site it is not.
func (ev *evaluation) database(name string) (*configmgr.Database, ref.Val) {
	w := ev.w
	var found *configmgr.Database
	for i := range w.doc.Databases {
		d := &w.doc.Databases[i]
		if !strings.EqualFold(d.Name, name) || name == "" {
			continue
		}
		if own := strings.EqualFold(d.Site, ev.site.Code); own || d.Site == "" && found == nil {
			found = d
		}
	}
	if found != nil {
		return found, w.unread(configmgr.ClassDatabase, found.Name)
	}
	if u := w.unread(configmgr.ClassDatabase, name); u != nil {
		return nil, u
	}
	return nil, w.lack(Missing{Collector: "sql", Class: configmgr.ClassDatabase, Scope: name, Text: "the database " + name + " was not read"})
}

// rolesIn lists the names under which p, or a group that it is in, stands.
func (w *world) rolesIn(p *principal, by map[string][]configmgr.Member, on string) *list {
	var out []ref.Val
	var gap *types.Unknown
	for _, name := range sortedKeys(by) {
		v := w.listed(p, by[name], on)
		if u, ok := v.(*types.Unknown); ok {
			gap = merge(gap, u)
		} else if v == types.True {
			out = append(out, types.String(name))
		}
	}
	return &list{out, gap}
}

// listed tells whether a list names p or a group that it is in.
func (w *world) listed(p *principal, list []configmgr.Member, on string) ref.Val {
	h := &host{w: w, name: on}
	if on != "" {
		h = w.host(on)
	}
	return w.covers(p, h, list)
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// sqlList reads a list of a database, with a gap if it was not read to the end.
func (ev *evaluation) sqlList(db string, read func(d *configmgr.Database) *list) ref.Val {
	d, u := ev.database(db)
	if d == nil {
		return lst(nil, u)
	}
	l := read(d)
	if gap, ok := u.(*types.Unknown); ok {
		l.gap = merge(l.gap, gap)
	}
	return l
}

// about finds what other systems know of p.
func (w *world) about(p *principal) *configmgr.Principal {
	for i := range w.doc.Principals {
		if w.member(w.doc.Principals[i].Member, "").Equal(p) == types.True {
			return &w.doc.Principals[i]
		}
	}
	return nil
}

// aboutList is a list of texts that other systems know of p.
func (ev *evaluation) aboutList(p *principal, class configmgr.Class, get func(*configmgr.Principal) []string) ref.Val {
	gap := ev.w.unread(class, ev.site.Code)
	if x := ev.w.about(p); x != nil {
		return lst(texts(get(x)), gap)
	}
	return lst(nil, gap)
}

// attestation finds the valid statement on a topic for a site, or for all.
func (ev *evaluation) attestation(topic string) *configmgr.Attestation {
	var found *configmgr.Attestation
	for i := range ev.w.doc.Attestations {
		a := &ev.w.doc.Attestations[i]
		if a.Topic != topic || a.Site != "" && !strings.EqualFold(a.Site, ev.site.Code) || a.Expires.Before(ev.w.now) {
			continue
		}
		// One for the site stands before one for all; of the rest the latest.
		if found == nil || found.Site == "" && a.Site != "" || (found.Site == "") == (a.Site == "") && a.Made.After(found.Made) {
			found = a
		}
	}
	return found
}

// attested is the value of a statement; unknown if there is none that is valid.
func (ev *evaluation) attested(topic string) ref.Val {
	if a := ev.attestation(topic); a != nil {
		return types.Bool(a.Value)
	}
	return ev.lack(Missing{Collector: "attestation", Scope: ev.site.Code, Text: "no valid statement on " + topic + ": leastwise configmgr attest"})
}

// stated is whether a statement on a topic is in force; without one it is not.
func (ev *evaluation) stated(topic string) ref.Val {
	a := ev.attestation(topic)
	return types.Bool(a != nil && a.Value)
}

// excepted tells whether a deviation of p is accepted for now.
func (w *world) excepted(p *principal, topic string) bool {
	for _, e := range w.doc.Exceptions {
		if e.Topic == topic && !e.Expires.Before(w.now) && w.principal(e.Name, nil, "").Equal(p) == types.True {
			return true
		}
	}
	return false
}
