package forest

import (
	"cmp"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// A Domain is one domain of the forest, from its cross-reference and its head.
type Domain struct {
	Head    ID          // the domain's root object; None if the domain was not read
	DN      string      // DC=contoso,DC=test
	DNS     string      // contoso.test
	NetBIOS string      // CONTOSO; without the configuration partition a guess from DNS
	SID     secdesc.SID // S-1-5-21-…; zero if the domain was not read
	Root    bool        // forest root domain
}

// crNTDSDomain marks the cross-reference of a domain ([MS-ADTS] 6.1.1.2.1.1.1,
// FLAG_CR_NTDS_DOMAIN in systemFlags).
const crNTDSDomain = 2

// findDomains lists the domains from their cross-references ([MS-ADTS]
// 6.1.1.2.1.1), or, in a snapshot without configuration partition, from their
// root objects.
func findDomains(s *Snapshot) []Domain {
	var out []Domain
	seen, isHead := map[ID]bool{}, headClasses(s)
	for _, ref := range s.With(NETBIOSName) {
		if flags, st := s.Int(ref, SystemFlags); !s.IsA(ref, "crossRef") || st == Known && flags&crNTDSDomain == 0 {
			continue
		}
		d := domainFromRef(s, ref)
		if d.Head != None {
			seen[d.Head] = true
		}
		out = append(out, d)
	}
	for id := range ID(s.Len()) {
		if isHead[s.class[id]] && strings.EqualFold(s.Class(id), "domainDNS") && !s.sid[id].IsZero() && !seen[id] {
			out = addHead(out, domainFromHead(s, id, len(out) == 0))
		}
	}
	slices.SortStableFunc(out, func(a, b Domain) int {
		return cmp.Or(boolFirst(a.Root, b.Root), strings.Compare(a.DNS, b.DNS))
	})
	return out
}

// addHead adds a domain that was found by its head alone. If its cross-reference
// is there too, but not the nCName that ties the two together, they meet by the
// DNS name, from which that of the head is derived ([MS-ADTS] 3.1.1.1.5).
func addHead(out []Domain, d Domain) []Domain {
	i := slices.IndexFunc(out, func(x Domain) bool { return x.Head == None && strings.EqualFold(x.DNS, d.DNS) })
	if i < 0 {
		return append(out, d)
	}
	out[i].Head, out[i].DN, out[i].SID = d.Head, d.DN, d.SID
	return out
}

// headClasses says which of the class lists are those of roots of naming contexts.
func headClasses(s *Snapshot) []bool {
	out := make([]bool, len(s.classes))
	for i, c := range s.classes {
		if len(c) == 0 {
			continue
		}
		switch strings.ToLower(c[len(c)-1]) {
		case "configuration", "dmd", "domaindns":
			out[i] = true
		}
	}
	return out
}

func domainFromRef(s *Snapshot, ref ID) Domain {
	d := Domain{Head: None}
	d.NetBIOS, _ = s.Str(ref, NETBIOSName)
	d.DNS, _ = s.Str(ref, DNSRoot)
	if heads, _ := s.Links(ref, NCName); len(heads) > 0 {
		d.Head = heads[0]
		d.DN, d.SID = s.DN(d.Head), s.SID(d.Head)
	} else if dns := s.LinksOutside(ref, NCName); len(dns) > 0 {
		d.DN = dns[0]
	} else if d.DNS != "" { // nCName was not read
		d.DN = "DC=" + strings.ReplaceAll(d.DNS, ".", ",DC=")
	}
	// CN=X,CN=Partitions,CN=Configuration,<forest root domain>: unlike an empty
	// trustParent, this also tells the roots of further trees apart.
	key, _ := dnKey(d.DN)
	refKey := s.key(ref)
	d.Root = key != "" && refKey[:max(0, len(refKey)-len(lastComponents(refKey, 3)))] == key
	return d
}

// lastComponents returns the last n components of a key.
func lastComponents(key string, n int) string {
	i := len(key)
	for ; n > 0 && i > 0; n-- {
		i = strings.LastIndexByte(key[:i-1], 0) + 1
	}
	return key[i:]
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

// An ncHead is the root object of a naming context.
type ncHead struct {
	id     ID
	domain int // index into Snapshot.domains, -1 for other partitions
	outer  int // index of the head whose subtree holds this one, -1 if none
}

// findHeads lists the roots of naming contexts in ID order: heads of domains,
// what cross-references name, what instanceType says ([MS-ADTS] 2.2.9, bit 0)
// and, where that was not collected, objects of the classes of heads.
func findHeads(s *Snapshot) []ncHead {
	domain := map[ID]int{}
	if l := s.links[NCName]; l != nil {
		for _, to := range l.to {
			domain[to] = -1
		}
	}
	for _, id := range s.With(InstanceType) {
		if v, st := s.Int(id, InstanceType); st == Known && v&1 != 0 {
			domain[id] = -1
		}
	}
	isHead := headClasses(s)
	for id := range ID(s.Len()) {
		if isHead[s.class[id]] {
			domain[id] = -1
		}
	}
	for i, d := range s.domains {
		if d.Head != None {
			domain[d.Head] = i
		}
	}
	heads := make([]ncHead, 0, len(domain))
	for id, d := range domain {
		heads = append(heads, ncHead{id: id, domain: d, outer: -1})
	}
	slices.SortFunc(heads, func(a, b ncHead) int { return cmp.Compare(a.id, b.id) })
	for i := range heads {
		for o := i - 1; o >= 0; o = heads[o].outer {
			if heads[i].id < s.end[heads[o].id] {
				heads[i].outer = o
				break
			}
		}
	}
	return heads
}
