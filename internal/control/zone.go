package control

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// ErrZones reports a file of zones that cannot be used.
var ErrZones = errors.New("zones")

// Limits of a file of zones.
const (
	maxZones     = 100
	maxZoneItems = 10_000 // of each list of a zone
	maxLevel     = 99
)

// DefaultZones is the file of zones that holds where none is given: Tier 0.
//
//go:embed zones.yaml
var DefaultZones []byte

// A Zone is a set of objects that is worth the same protection.
type Zone struct {
	Name     string   `yaml:"name"`     // lower-case letters, digits and hyphens
	Title    string   `yaml:"title"`    // for people
	Level    int      `yaml:"level"`    // 0 is the highest
	RIDs     []uint32 `yaml:"rids"`     // relative identifiers in every domain
	SIDs     []string `yaml:"sids"`     // SIDs; built-in groups count in every domain
	Objects  []string `yaml:"objects"`  // distinguished names, with {domain}, {config} and {schema}, account names or GUIDs
	Subtrees []string `yaml:"subtrees"` // distinguished names: the accounts, groups and containers below, and they themselves
	Members  []string `yaml:"members"`  // groups: they, and who is in them, directly or not
}

// zoneName is the form of names.
var zoneName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// ParseZones reads a file of zones: a list under the key "zones". The name is for
// errors, which are ErrZones with the line or the zone.
func ParseZones(name string, data []byte) ([]Zone, error) {
	if err := CheckYAML(name, data); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrZones, err)
	}
	var f struct {
		Zones []Zone `yaml:"zones"`
	}
	dec := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict())
	if err := dec.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: %s", ErrZones, yamlFault(name, err))
	}
	if err := dec.Decode(&struct{}{}); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: %s: holds more than one document", ErrZones, name)
	}
	if len(f.Zones) == 0 || len(f.Zones) > maxZones {
		return nil, fmt.Errorf("%w: %s: %d zones; there must be 1 to %d", ErrZones, name, len(f.Zones), maxZones)
	}
	seen := map[string]bool{}
	for i := range f.Zones {
		z := &f.Zones[i]
		if err := z.check(); err != nil {
			return nil, fmt.Errorf("%w: %s: zone %d (%s): %w", ErrZones, name, i+1, clipZone(z.Name), err)
		}
		if seen[z.Name] {
			return nil, fmt.Errorf("%w: %s: zone %d: a second zone is named %s", ErrZones, name, i+1, z.Name)
		}
		seen[z.Name] = true
		if z.Title == "" {
			z.Title = z.Name
		}
	}
	return f.Zones, nil
}

func clipZone(s string) string { return strings.ToValidUTF8(s[:min(len(s), 60)], "") }

// check refuses what cannot be meant.
func (z *Zone) check() error {
	if !zoneName.MatchString(z.Name) {
		return errors.New("name must be lower-case letters, digits and hyphens, at most 40")
	}
	if z.Level < 0 || z.Level > maxLevel {
		return fmt.Errorf("level %d: 0 (the highest) to %d", z.Level, maxLevel)
	}
	if len(z.RIDs)+len(z.SIDs)+len(z.Objects)+len(z.Subtrees)+len(z.Members) == 0 {
		return errors.New("it holds nothing: give it rids, sids, objects, subtrees or members")
	}
	for _, list := range [][]string{z.SIDs, z.Objects, z.Subtrees, z.Members} {
		if len(list) > maxZoneItems {
			return fmt.Errorf("%d entries in one list; %d are the most", len(list), maxZoneItems)
		}
		if slices.Contains(list, "") {
			return errors.New("an entry is empty")
		}
	}
	if len(z.RIDs) > maxZoneItems {
		return fmt.Errorf("%d rids; %d are the most", len(z.RIDs), maxZoneItems)
	}
	for _, s := range z.SIDs {
		if _, err := secdesc.ParseSID(s); err != nil {
			return fmt.Errorf("sids: %q is no SID", clipZone(s))
		}
	}
	for _, dn := range z.Subtrees {
		if _, err := forest.ParseDN(expandDN(dn, "DC=x")); err != nil {
			return fmt.Errorf("subtrees: %q is no distinguished name", clipZone(dn))
		}
	}
	return nil
}

// expandDN puts the naming contexts of a domain in the place of their names.
func expandDN(dn, domain string) string {
	config := "CN=Configuration," + domain
	return strings.NewReplacer("{domain}", domain, "{config}", config, "{schema}", "CN=Schema,"+config).Replace(dn)
}

// Resolve returns the objects of the zone that the snapshot of g has, in ID order,
// and the entries of the zone that name nothing in it. Relative identifiers that no
// domain has, and names with placeholders, are not reported: not every forest has
// them.
func (z *Zone) Resolve(g *reach.Graph, x *reach.Index, s *forest.Snapshot) (ids []forest.ID, unknown []string) {
	r := reach.Zone{Name: z.Title, RIDs: z.RIDs}
	for _, text := range z.SIDs {
		sid, _ := secdesc.ParseSID(text) // checked
		r.SIDs = append(r.SIDs, sid)
	}
	for _, o := range z.Objects {
		if expandDN(o, "DC=x") != o {
			r.Objects = append(r.Objects, o)
			continue
		}
		id := objectNamed(s, o)
		if id == forest.None {
			unknown = append(unknown, o)
			continue
		}
		ids = append(ids, id)
	}
	ids = append(ids, g.Resolve(r)...)
	for i, sid := range r.SIDs {
		if id := s.BySID(sid); id != forest.None {
			ids = append(ids, id)
		} else {
			unknown = append(unknown, z.SIDs[i])
		}
	}
	for _, dn := range z.Subtrees {
		below := subtree(s, dn)
		if below == nil {
			unknown = append(unknown, dn)
		}
		ids = append(ids, below...)
	}
	for _, name := range z.Members {
		group := objectNamed(s, name)
		if group == forest.None {
			unknown = append(unknown, name)
			continue
		}
		ids = append(append(append(ids, group), x.Nested(group)...), x.Members(group)...)
	}
	slices.Sort(ids)
	return slices.Compact(ids), unknown
}

// subtree returns what a name with placeholders contains, itself included; nil if
// there is nothing of that name.
func subtree(s *forest.Snapshot, dn string) []forest.ID {
	var out []forest.ID
	for _, d := range s.Domains() {
		top := s.Lookup(expandDN(dn, d.DN))
		if top == forest.None || slices.Contains(out, top) {
			continue
		}
		for id := top; id < s.SubtreeEnd(top); id++ {
			if !s.SID(id).IsZero() || s.IsA(id, "container") || s.IsA(id, "organizationalUnit") {
				out = append(out, id)
			}
		}
	}
	return out
}

// objectNamed finds an object by distinguished name, SID, GUID or account name, with
// its domain before it where several have it; None if there is none, or several.
func objectNamed(s *forest.Snapshot, name string) forest.ID {
	if id := s.Lookup(name); id != forest.None {
		return id
	}
	if sid, err := secdesc.ParseSID(name); err == nil {
		return s.BySID(sid)
	}
	if g, err := secdesc.ParseGUID(strings.Trim(name, "{}")); err == nil {
		return s.ByGUID(g)
	}
	domain, account, ok := strings.Cut(name, `\`)
	if !ok {
		domain, account = "", name
	}
	found := forest.None
	for _, id := range s.BySAMAccountName(account) {
		d, inDomain := s.DomainOf(id)
		if domain != "" && (!inDomain || !strings.EqualFold(d.NetBIOS, domain) && !strings.EqualFold(d.DNS, domain)) {
			continue
		}
		if found != forest.None {
			return forest.None
		}
		found = id
	}
	return found
}
