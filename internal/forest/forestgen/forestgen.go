// Package forestgen makes synthetic forests for benchmarks and for tests of
// scale: one domain with the proportions of a large company, the same for the
// same seed and size.
//
// Of the objects about 60 % are users, 30 % computers and 8 % groups, nested up to
// eight deep, with sizes that follow Zipf's law; the rest are organizational
// units, policies and what every forest has. Descriptors have 25 to 40 entries,
// and some 25,000 of a million are distinct. The forest has flaws of every common
// kind but is no test of the controls: fixtures say what is right, this does not.
//
// It refuses nothing and cannot fail: an error of the Builder is a bug here and
// panics.
package forestgen

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Names of the generated forest.
const (
	DomainDN = "DC=contoso,DC=test"
	DNS      = "contoso.test"
	configDN = "CN=Configuration," + DomainDN
	schemaDN = "CN=Schema," + configDN
	systemDN = "CN=System," + DomainDN
)

// Finished is the time at which generated snapshots were read.
var finished = time.Date(2026, 1, 15, 8, 0, 0, 0, time.UTC)

// depth is how deep groups are nested.
const depth = 8

// A generator makes one forest.
type generator struct {
	b       *forest.Builder
	r       *rand.Rand
	objects int
	domain  secdesc.SID
	rid     uint32
	ous     []unit
	groups  []string // names of the groups that were placed, for memberships
	users   []string
	sds     map[sdKey][]byte
	guids   uint64
	seed    uint64
	power   *power // of Control; nil for Generate
}

// A unit is a department: an organizational unit with one each for users,
// computers, servers and groups below it.
type unit struct {
	dn    string
	admin secdesc.SID // the group to which it is delegated
}

// Generate returns a forest of about the given number of objects, at least some
// 250. The same arguments give equal snapshots.
func Generate(seed uint64, objects int) *forest.Snapshot {
	return newGenerator(seed, objects).run()
}

func newGenerator(seed uint64, objects int) *generator {
	g := &generator{
		b: forest.NewBuilder(forest.Info{
			Source: "synthetic", Tool: "forestgen", Started: finished.Add(-time.Minute), Finished: finished,
			Domain: DNS, Servers: []string{DomainDN + " = dc1." + DNS}, Reader: `CONTOSO\scanner`,
		}),
		r:       rand.New(rand.NewPCG(seed, uint64(objects))),
		objects: objects,
		seed:    seed,
		rid:     1103,
		sds:     map[sdKey][]byte{},
	}
	g.domain = secdesc.MustSID(fmt.Sprintf("S-1-5-21-%d-%d-%d", g.r.Uint32(), g.r.Uint32(), g.r.Uint32()))
	return g
}

func (g *generator) run() *forest.Snapshot {
	g.b.Collected(forest.Attrs()...)
	g.schema()
	g.configuration()
	g.wellKnown()
	g.policies()
	g.units()
	g.plan()
	g.accounts()
	g.nestedGroups()
	g.special()
	g.coverage()
	s, err := g.b.Build()
	if err != nil {
		panic("forestgen: " + err.Error())
	}
	return s
}

// attrs are the attributes of an object by pairs of name and value; a repeated
// name adds a value.
type attrs []string

func (g *generator) add(dn string, classes []string, pairs attrs, sd []byte) {
	e := forest.Entry{DN: dn, Attrs: make([]forest.Values, 0, len(pairs)/2+4)}
	e.Attrs = append(e.Attrs, forest.Values{Name: "objectClass", Vals: bytesOf(classes)})
	for i := 0; i < len(pairs); i += 2 {
		val := []byte(pairs[i+1])
		if n := len(e.Attrs); e.Attrs[n-1].Name == pairs[i] {
			e.Attrs[n-1].Vals = append(e.Attrs[n-1].Vals, val)
			continue
		}
		e.Attrs = append(e.Attrs, forest.Values{Name: pairs[i], Vals: [][]byte{val}})
	}
	g.guids++
	guid := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, g.guids), g.seed^0x9E3779B97F4A7C15)
	e.Attrs = append(
		e.Attrs,
		forest.Values{Name: "objectGUID", Vals: [][]byte{guid}},
		forest.Values{Name: "nTSecurityDescriptor", Vals: [][]byte{sd}},
		forest.Values{Name: "whenCreated", Vals: [][]byte{[]byte(g.past(15 * 365).Format("20060102150405.0Z"))}},
		forest.Values{Name: "whenChanged", Vals: [][]byte{[]byte(g.past(30).Format("20060102150405.0Z"))}},
	)
	if err := g.b.Add(e); err != nil {
		panic("forestgen: " + err.Error())
	}
}

func bytesOf(list []string) [][]byte {
	out := make([][]byte, len(list))
	for i, s := range list {
		out[i] = []byte(s)
	}
	return out
}

// past returns a time up to the given number of days ago, later ones more often.
func (g *generator) past(days int) time.Time {
	f := g.r.Float64()
	return finished.Add(-time.Duration(f * f * float64(days) * float64(24*time.Hour))).Truncate(time.Second)
}

// filetime is t as ticks since 1601.
func filetime(t time.Time) string {
	return strconv.FormatInt((t.Unix()+11644473600)*1e7, 10)
}

func (g *generator) nextSID() secdesc.SID {
	g.rid++
	return g.domain.Child(g.rid)
}

// one reports true once in n times.
func (g *generator) one(n int) bool { return g.r.IntN(n) == 0 }

func wire(s secdesc.SID) string { return string(s.Bytes()) }

// coverage says that everything was read.
func (g *generator) coverage() {
	for _, dn := range []string{DomainDN, configDN, schemaDN} {
		g.b.Cover(forest.Coverage{Area: forest.AreaPartition, Subject: dn, State: "complete", Count: g.b.Len()})
	}
	g.b.Cover(forest.Coverage{Area: forest.AreaDescriptor, Subject: DomainDN, State: "complete", Count: g.b.Len()})
	g.b.Cover(forest.Coverage{Area: forest.AreaFile, Subject: DNS, State: "complete"})
}
