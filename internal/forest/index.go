package forest

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// finish derives what is not stored: order of files, domains, schema, indexes.
func (s *Snapshot) finish() {
	slices.SortFunc(s.files, compareFiles)
	slices.SortStableFunc(s.coverage, func(a, b Coverage) int {
		return cmp.Or(cmp.Compare(a.Area, b.Area), cmp.Compare(a.Subject, b.Subject))
	})
	s.domains = findDomains(s)
	s.schema = readSchema(s)
	s.bySID = sync.OnceValue(s.indexSIDs)
	s.byGUID = sync.OnceValue(func() map[secdesc.GUID]ID {
		m := make(map[secdesc.GUID]ID, s.Len())
		for i, g := range s.guid {
			if !g.IsZero() {
				m[g] = ID(i)
			}
		}
		return m
	})
	s.bySAM = sync.OnceValue(func() map[string][]ID { return s.indexText(SAMAccountName) })
	s.bySPN = sync.OnceValue(func() map[string][]ID { return s.indexText(ServicePrincipalName) })
}

func (s *Snapshot) indexSIDs() map[secdesc.SID]ID {
	m := make(map[secdesc.SID]ID, s.Len())
	for i, sid := range s.sid {
		if sid.IsZero() {
			continue
		}
		if old, ok := m[sid]; ok && !s.IsA(old, "foreignSecurityPrincipal") {
			continue
		}
		m[sid] = ID(i)
	}
	return m
}

func (s *Snapshot) indexText(a Attr) map[string][]ID {
	ids := s.With(a)
	m := make(map[string][]ID, len(ids))
	for _, id := range ids {
		vals, _ := s.Strs(id, a)
		for _, v := range vals {
			k := strings.ToLower(v)
			m[k] = append(m[k], id)
		}
	}
	return m
}

func compareFiles(a, b File) int {
	return cmp.Or(strings.Compare(strings.ToLower(a.Domain), strings.ToLower(b.Domain)),
		strings.Compare(strings.ToLower(a.Path), strings.ToLower(b.Path)))
}

func (s *Snapshot) findFile(domain, path string) File {
	want := File{Domain: domain, Path: path}
	if i, ok := slices.BinarySearchFunc(s.files, want, compareFiles); ok {
		return s.files[i]
	}
	for _, c := range s.coverage {
		if c.Area == AreaFile && strings.EqualFold(c.Subject, domain) {
			want.State, want.Reason = Absent, ""
			if !c.Complete() && c.State != "partial" {
				want.State, want.Reason = Unreadable, c.Reason
			}
			return want
		}
	}
	want.Reason = "SYSVOL of " + domain + " is not part of this snapshot"
	return want
}

// findDomains lists the domains from their cross-references ([MS-ADTS]
// 6.1.1.2.1.1), or, in a snapshot without configuration partition, from their
// root objects.
func findDomains(s *Snapshot) []Domain {
	var out []Domain
	seen := map[ID]bool{}
	for _, ref := range s.With(NETBIOSName) {
		if !s.IsA(ref, "crossRef") {
			continue
		}
		d := Domain{Head: None}
		d.NetBIOS, _ = s.Str(ref, NETBIOSName)
		d.DNS, _ = s.Str(ref, DNSRoot)
		if heads, _ := s.Links(ref, NCName); len(heads) > 0 {
			d.Head = heads[0]
			d.DN, d.SID = s.DN(d.Head), s.SID(d.Head)
			seen[d.Head] = true
		} else if dns := s.LinksOutside(ref, NCName); len(dns) > 0 {
			d.DN = dns[0]
		}
		parent, _ := s.Links(ref, TrustParent)
		d.Root = len(parent) == 0 && len(s.LinksOutside(ref, TrustParent)) == 0
		out = append(out, d)
	}
	for id := range ID(s.Len()) {
		if s.Class(id) == "domainDNS" && !s.SID(id).IsZero() && !seen[id] {
			out = append(out, domainFromHead(s, id, len(out) == 0))
		}
	}
	slices.SortStableFunc(out, func(a, b Domain) int {
		return cmp.Or(boolFirst(a.Root, b.Root), strings.Compare(a.DNS, b.DNS))
	})
	return out
}

func domainFromHead(s *Snapshot, id ID, root bool) Domain {
	var labels []string
	parts, _ := ParseDN(s.DN(id)) // well-formed: it is in a snapshot
	for _, p := range parts {
		labels = append(labels, p.Value)
	}
	return Domain{Head: id, DN: s.DN(id), DNS: strings.Join(labels, "."), NetBIOS: strings.ToUpper(labels[0]), SID: s.SID(id), Root: root}
}

func boolFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}
