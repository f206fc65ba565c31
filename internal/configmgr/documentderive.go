package configmgr

import (
	"reflect"
	"slices"
)

// derive fills the settings of sites that follow from other facts of the document, where
// no source gave them: that nothing answers network boots where there is no distribution
// point, the accounts of file replication routes, whether there is a migration, and remote tools as far as all client settings agree.
func (d *Document) derive() {
	if len(d.Sites) == 0 {
		return
	}
	for i := range d.Sites {
		d.deriveBoot(i)
	}
	if _, ok := d.Read(ClassRoutes, "", ""); ok {
		for i := range d.Sites {
			d.deriveSetting(i, "replication.accounts", d.routeAccounts(d.Sites[i].Code))
		}
	}
	if _, ok := d.Read(ClassMigration, "", ""); ok {
		active := slices.ContainsFunc(d.Sites, func(s Site) bool { return s.Settings["migration.active"] == true })
		for i := range d.Sites {
			d.deriveSetting(i, "migration.active", active)
		}
	}
	if _, ok := d.Read(ClassClient, "", ""); !ok {
		return
	}
	viewers := []string{}
	for _, name := range sortedKeys(d.Client) {
		list, _ := d.Client[name]["RemoteTools.PermittedViewers"].([]string)
		viewers = union(viewers, list)
	}
	for i := range d.Sites {
		d.deriveSetting(i, "RemoteTools.PermittedViewers", viewers)
		for _, key := range []string{"RemoteTools.Enabled", "RemoteTools.PermissionRequired"} {
			if v, ok := d.agreed(key); ok {
				d.deriveSetting(i, key, v)
			}
		}
	}
}

// deriveBoot says of a site without distribution points, all of whose roles were read,
// that nothing of it answers network boots.
func (d *Document) deriveBoot(i int) {
	if _, ok := d.Read(ClassSiteRoles, d.Sites[i].Code, ""); !ok || len(d.Sites[i].Systems) == 0 {
		return
	}
	for _, x := range d.Sites[i].Systems {
		if slices.Contains(x.Roles, roleDistribution) {
			return
		}
	}
	d.deriveSetting(i, "pxe.hosts", []string{})
	d.deriveSetting(i, "pxe.password_hosts", []string{})
}

// deriveSetting sets a setting that a site does not have yet. The map is copied first,
// since it may be another document's.
func (d *Document) deriveSetting(i int, key string, v any) {
	s := &d.Sites[i]
	if _, ok := s.Settings[key]; !ok {
		s.Settings = mergeMap(s.Settings, map[string]any{key: v})
	}
}

// routeAccounts lists the accounts that log on to a site to replicate files.
func (d *Document) routeAccounts(site string) []string {
	out := []string{}
	for _, a := range d.Assignments {
		if a.Entry == entrySiteToSite && a.Site == site && a.Removed.IsZero() && a.Source != Directory && !slices.Contains(out, a.Name) {
			out = append(out, a.Name)
		}
	}
	return out
}

// agreed returns the value of a client setting if all sets of settings that have it
// have the same; which set applies to which computer is not known.
func (d *Document) agreed(key string) (v any, ok bool) {
	for _, name := range sortedKeys(d.Client) {
		one, has := d.Client[name][key]
		switch {
		case !has:
		case !ok:
			v, ok = one, true
		case !reflect.DeepEqual(v, one):
			return nil, false
		}
	}
	return v, ok
}
