package configmgr

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Merge returns one document that says what all of them say. Assignments of different
// sources stand side by side (see Drift); those that one source names in several
// documents are joined, first seen at the earliest time and last seen at the latest.
// Of sites, hosts and the like, what an earlier document says of a field wins over
// what a later one says, and a setting that two sources give differently is drift.
func Merge(docs ...*Document) *Document {
	out := &Document{Version: DocumentVersion}
	for _, d := range docs {
		if d == nil {
			continue
		}
		fill(&out.Hierarchy, d.Hierarchy)
		out.Readings = append(out.Readings, d.Readings...)
		out.Assignments = append(out.Assignments, d.Assignments...)
		out.mergeSites(d)
		out.Sightings = mergeBy(out.Sightings, d.Sightings, func(x Sighting) string { return x.Kind + "\x00" + x.Domain + "\x00" + strings.ToLower(x.Name) }, nil)
		out.Admins = mergeBy(out.Admins, d.Admins, func(a Admin) string { return strings.ToLower(a.Name) }, mergeAdmin)
		out.Roles = mergeBy(out.Roles, d.Roles, func(r Role) string { return r.ID }, mergeRole)
		out.Hosts = mergeBy(out.Hosts, d.Hosts, func(h Host) string { return strings.ToLower(h.Name) }, mergeHost)
		out.Databases = mergeBy(out.Databases, d.Databases, func(b Database) string { return strings.ToLower(b.Name) }, mergeDatabase)
		out.Packages = mergeBy(out.Packages, d.Packages, func(p Package) string { return p.ID }, mergePackage)
		out.Sequences = mergeBy(out.Sequences, d.Sequences, func(s Sequence) string { return s.ID }, mergeSequence)
		out.Variables = mergeBy(out.Variables, d.Variables, func(v Variable) string { return v.Of + "\x00" + v.Name }, nil)
		out.Principals = mergeBy(out.Principals, d.Principals, func(p Principal) string { return strings.ToLower(p.Name) + p.sidText() }, mergePrincipal)
		out.Attestations = append(out.Attestations, d.Attestations...)
		out.Exceptions = append(out.Exceptions, d.Exceptions...)
		out.mergeClient(d)
		if out.Parameters == nil {
			out.Parameters = d.Parameters
		}
	}
	out.Readings = distinct(out.Readings)
	out.Attestations, out.Exceptions = distinct(out.Attestations), distinct(out.Exceptions)
	out.nameSites()
	out.normalize()
	out.derive()
	return out
}

// nameSites adds the sites that only assignments name, of which nothing else is known: a
// site that is not listed would not be judged.
func (d *Document) nameSites() {
	known := make(map[string]bool, len(d.Sites))
	for _, s := range d.Sites {
		known[s.Code] = true
	}
	for _, a := range d.Assignments {
		if a.Site != "" && a.Removed.IsZero() && !known[a.Site] {
			known[a.Site] = true
			d.Sites = append(d.Sites, Site{Code: a.Site})
		}
	}
}

// distinct drops elements that are there already.
func distinct[T comparable](list []T) []T {
	seen := make(map[T]bool, len(list))
	return slices.DeleteFunc(list, func(e T) bool {
		had := seen[e]
		seen[e] = true
		return had
	})
}

func (m Member) sidText() string {
	if m.SID == nil {
		return ""
	}
	return m.SID.String()
}

// mergeBy adds the elements of more to those of list, joining what has one key.
func mergeBy[T any](list, more []T, key func(T) string, merge func(*T, T)) []T {
	at := make(map[string]int, len(list))
	for i, e := range list {
		at[key(e)] = i
	}
	out := slices.Clone(list)
	for _, e := range more {
		i, ok := at[key(e)]
		switch {
		case !ok:
			at[key(e)] = len(out)
			out = append(out, e)
		case merge != nil:
			merge(&out[i], e)
		}
	}
	return out
}

func (d *Document) mergeSites(from *Document) {
	d.Sites = mergeBy(d.Sites, from.Sites, func(s Site) string { return s.Code }, func(to *Site, s Site) {
		fill(&to.Name, s.Name)
		to.Kind = cmp.Or(to.Kind, s.Kind)
		fill(&to.Parent, s.Parent)
		fill(&to.Release, s.Release)
		to.Build = cmp.Or(to.Build, s.Build)
		fill(&to.Server, s.Server)
		fill(&to.Passive, s.Passive)
		fill(&to.Domain, s.Domain)
		fill(&to.Database, s.Database)
		to.Systems = mergeBy(to.Systems, s.Systems, func(x SiteSystem) string { return strings.ToLower(x.Host) }, func(to *SiteSystem, x SiteSystem) {
			to.Roles = union(to.Roles, x.Roles)
		})
		to.Settings = mergeMap(to.Settings, s.Settings)
		to.Forests = mergeBy(to.Forests, s.Forests, func(f SiteForest) string { return f.Name }, func(to *SiteForest, f SiteForest) {
			to.Publishing, to.Discovery = to.Publishing || f.Publishing, to.Discovery || f.Discovery
		})
	})
}

func (d *Document) mergeClient(from *Document) {
	for _, name := range sortedKeys(from.Client) {
		if d.Client == nil {
			d.Client = map[string]map[string]any{}
		}
		d.Client[name] = mergeMap(d.Client[name], from.Client[name])
	}
}

// mergeMap returns a map with the keys of both; the first wins.
func mergeMap[V any](to, from map[string]V) map[string]V {
	if len(from) == 0 {
		return to
	}
	out := maps.Clone(from)
	maps.Copy(out, to)
	return out
}

func union[T comparable](a, b []T) []T {
	out := slices.Clone(a)
	for _, e := range b {
		if !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	return out
}

func mergeAdmin(to *Admin, a Admin) {
	if to.SID == nil {
		to.SID = a.SID
	}
	to.Group = to.Group || a.Group
	to.Roles, to.Scopes = union(to.Roles, a.Roles), union(to.Scopes, a.Scopes)
}

func mergeRole(to *Role, r Role) {
	fill(&to.Name, r.Name)
	to.Permissions = mergeMap(to.Permissions, r.Permissions)
}

func mergeHost(to *Host, h Host) {
	fill(&to.Site, h.Site)
	to.Groups, to.UserRights = mergeMap(to.Groups, h.Groups), mergeMap(to.UserRights, h.UserRights)
	to.Shares, to.Folders, to.WMI = firstOf(to.Shares, h.Shares), firstOf(to.Folders, h.Folders), firstOf(to.WMI, h.WMI)
	to.Activation = firstOf(to.Activation, h.Activation)
	to.Registry = mergeMap(to.Registry, h.Registry)
	to.Targeted = to.Targeted || h.Targeted
}

func firstOf[T any](a, b []T) []T {
	if len(a) > 0 {
		return a
	}
	return b
}

func mergeDatabase(to *Database, b Database) {
	fill(&to.Site, b.Site)
	fill(&to.Host, b.Host)
	to.ServerRoles, to.Roles = mergeMap(to.ServerRoles, b.ServerRoles), mergeMap(to.Roles, b.Roles)
	to.Selectable = mergeMap(to.Selectable, b.Selectable)
	to.Rights = firstOf(to.Rights, b.Rights)
}

func mergePackage(to *Package, p Package) {
	fill(&to.Name, p.Name)
	to.Tags = union(to.Tags, p.Tags)
	to.Entries = firstOf(to.Entries, p.Entries)
}

func mergeSequence(to *Sequence, s Sequence) {
	fill(&to.Name, s.Name)
	if s.Modified.After(to.Modified) {
		to.Modified = s.Modified
	}
	to.Accounts = union(to.Accounts, s.Accounts)
	to.Targets = union(to.Targets, s.Targets)
}

func mergePrincipal(to *Principal, p Principal) {
	to.MailboxRights, to.ExchangeCmdlets = firstOf(to.MailboxRights, p.MailboxRights), firstOf(to.ExchangeCmdlets, p.ExchangeCmdlets)
	to.LogonSources = union(to.LogonSources, p.LogonSources)
	if to.Lockouts == nil {
		to.Lockouts = p.Lockouts
	}
	to.SourceRights, to.SourceRoles = firstOf(to.SourceRights, p.SourceRights), firstOf(to.SourceRoles, p.SourceRoles)
	if p.ExposedAt.After(to.ExposedAt) {
		to.ExposedAt = p.ExposedAt
	}
}
