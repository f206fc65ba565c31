package configmgr

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ErrClass reports rows of a class that leastwise does not read.
var ErrClass = errors.New("class is not one that is read")

// A RowError says which row of which class cannot be read and why. It never holds a
// value of the row, since that might be a secret.
type RowError struct {
	Class  string
	Row    int    // from 1, among the rows of the class
	Column string // "" if the row as a whole is meant
	Why    string
}

// Error implements error.
func (e *RowError) Error() string {
	if e.Column == "" {
		return fmt.Sprintf("row %d of %s: %s", e.Row, e.Class, e.Why)
	}
	return fmt.Sprintf("row %d of %s, column %s: %s", e.Row, e.Class, e.Column, e.Why)
}

// A Provenance says where rows come from.
type Provenance struct {
	Source    Source
	Collector string    // of the catalogue: adminservice, cmdlet
	File      string    // name of the file, if any
	Site      string    // site code of rows that carry none
	At        time.Time // when they were read
}

// A Notice is something that a reader met and that a person should know: a label that
// is not known, a value that was cut, an account whose name was refused.
type Notice struct {
	Class  string
	Row    int    // from 1; 0 if no single row is meant
	Column string // or property
	Text   string
	Times  int // how many rows it holds for; Row is the first of them
}

// String returns the notice as one line.
func (n Notice) String() string {
	where := n.Class
	if n.Row > 0 {
		where = fmt.Sprintf("row %d of %s", n.Row, n.Class)
	}
	if n.Column != "" {
		where += ", " + n.Column
	}
	if n.Times > 1 {
		return fmt.Sprintf("%s: %s (and %d more rows)", where, n.Text, n.Times-1)
	}
	return where + ": " + n.Text
}

// A Builder makes a Document of rows of the SMS Provider, whether the AdminService
// sent them or a cmdlet wrote them. It is used by one goroutine. It keeps what Reduce
// leaves of a row and nothing else.
//
// A class whose rows were added but for which Done was not called counts as not read:
// its facts are in the document, its reading is not.
type Builder struct {
	origin  Provenance
	sites   map[string]*Site // by code
	doc     Document
	count   map[string]int // rows added, by class
	done    []reach
	notices []Notice
	noted   map[[3]string]int // class, column and text → index of the notice
	proxies []proxyUse
	forests []SiteForest
	cut     map[string]string // why values of a class are missing

	packages, sequences map[string]int // id → index in the document
}

// reach is how far a class was read.
type reach struct{ class, scope, part, missing string }

// NewBuilder returns a Builder for rows of one origin.
func NewBuilder(o Provenance) *Builder {
	return &Builder{origin: o, sites: map[string]*Site{}, count: map[string]int{}, noted: map[[3]string]int{}, cut: map[string]string{}, packages: map[string]int{}, sequences: map[string]int{}}
}

// Add takes rows of a class. It returns ErrClass for a class that is not read and a
// *RowError for the first row that lacks a column without which it says nothing; rows
// before it have been taken.
func (b *Builder) Add(class string, rows ...Row) error {
	ask, ok := askFor(class)
	if !ok {
		return fmt.Errorf("%w: %q", ErrClass, clipName(class))
	}
	add := b.reader(ask.Class)
	for _, row := range rows {
		b.count[ask.Class]++
		row = Reduce(ask.Class, row)
		err := checkSiteCodes(row)
		if err == nil {
			err = add(row)
		}
		if err != nil {
			var re *RowError
			if errors.As(err, &re) {
				re.Class, re.Row = ask.Class, b.count[ask.Class]
			}
			return err
		}
	}
	return nil
}

// reader returns what takes rows of a class.
func (b *Builder) reader(class string) func(Row) error {
	switch class {
	case smsSite:
		return b.addSite
	case sciSite:
		return b.addDefinition
	case sciReserved:
		return b.addStored
	case sciSysResUse:
		return b.addRole
	case sciClientComp:
		return b.addClientComponent
	case sciComponent:
		return b.addComponent
	case sciProperty:
		return b.addProperty
	case sciPropertyList:
		return b.addPropertyList
	case sciAddress:
		return b.addRoute
	case smsForest:
		return b.addForest
	case smsMigration:
		return b.addMigration
	case smsAdmin:
		return b.addAdmin
	case smsRole:
		return b.addSecurityRole
	case smsPackage:
		return b.addPackage
	case smsAccess:
		return b.addAccess
	case smsSequence:
		return b.addSequence
	case smsStep:
		return b.addStep
	case smsVariable:
		return b.addVariable
	}
	return b.addClientSettings
}

// Done says that all rows of a class have been added for the scope (a site code, or ""
// for the hierarchy). missing is why there may be more; "" says that the class was
// read completely, even if it has no rows. A part is a role or component, if rows of
// no other were read.
func (b *Builder) Done(class, scope, part, missing string) error {
	ask, ok := askFor(class)
	if !ok {
		return fmt.Errorf("%w: %q", ErrClass, clipName(class))
	}
	b.done = append(b.done, reach{ask.Class, scope, part, missing})
	return nil
}

// Notices returns what a person should know of the rows, in their order.
func (b *Builder) Notices() []Notice { return b.notices }

// Document returns what the rows say. The Builder must not be used any more.
func (b *Builder) Document() *Document {
	b.assignProxies()
	d := &b.doc
	d.Version = DocumentVersion
	for _, code := range sortedKeys(b.sites) {
		s := b.sites[code]
		s.Forests = b.forests
		d.Sites = append(d.Sites, *s)
	}
	d.Readings = b.readings()
	for i := range d.Assignments {
		d.Assignments[i].Source = b.origin.Source
		d.Assignments[i].FirstSeen, d.Assignments[i].LastSeen = b.origin.At, b.origin.At
	}
	d.normalize()
	d.derive()
	return d
}

// readings tells how completely each class of facts was read. A class of facts that
// several provider classes feed is complete if all of them were.
func (b *Builder) readings() []Reading {
	type key struct {
		facts       Class
		scope, part string
	}
	missing := map[key][]string{}
	seen := map[key]map[string]bool{}
	for _, r := range b.done {
		ask, _ := askFor(r.class)
		k := key{ask.Facts, r.scope, r.part}
		if seen[k] == nil {
			seen[k] = map[string]bool{}
		}
		seen[k][r.class] = true
		if r.missing == "" {
			r.missing = b.cut[r.class]
		}
		if r.missing != "" {
			missing[k] = append(missing[k], r.class+": "+r.missing)
		}
	}
	var out []Reading
	for k, classes := range seen {
		part := k.part
		if part == "" {
			missing[k] = append(missing[k], notRead(k.facts, classes)...)
			if k.facts == ClassSequences && !classes[smsStep] {
				part = PartSequences // the provider's list does not tell the accounts of steps
			}
		}
		out = append(out, Reading{
			Source: b.origin.Source, Collector: b.origin.Collector, Class: k.facts, Scope: k.scope, Part: part,
			At: b.origin.At, File: b.origin.File, Missing: strings.Join(missing[k], "; "),
		})
	}
	slices.SortFunc(out, compareReadings)
	return out
}

func compareReadings(x, y Reading) int {
	return cmp.Or(strings.Compare(string(x.Class), string(y.Class)), strings.Compare(x.Scope, y.Scope), strings.Compare(x.Part, y.Part),
		strings.Compare(string(x.Source), string(y.Source)), strings.Compare(x.Collector, y.Collector), x.At.Compare(y.At), strings.Compare(x.File, y.File))
}

// notRead names the provider classes of a class of facts that were not read although
// the facts need them.
func notRead(facts Class, read map[string]bool) []string {
	var out []string
	for _, a := range asks() {
		if a.Facts != facts || read[a.Class] || a.Optional {
			continue
		}
		if stands := standIn(a.Class); stands != "" && read[stands] {
			continue
		}
		out = append(out, a.Class+": not read")
	}
	return out
}

// standIn names the class that tells the same as another, if there is one.
func standIn(class string) string {
	switch class {
	case smsSite:
		return sciSite
	case sciSite:
		return smsSite
	case sciProperty, sciPropertyList:
		return sciComponent
	}
	return ""
}

// site returns the site of a code, new if it was not met before. What belongs to no
// site is kept in one that the document does not get.
func (b *Builder) site(code string) *Site {
	if !siteCodeForm.MatchString(code) {
		return &Site{}
	}
	if b.sites[code] == nil {
		b.sites[code] = &Site{Code: code}
	}
	return b.sites[code]
}

// checkSiteCodes refuses a row that names a site by what is no code: without it, the row
// would count for every site.
func checkSiteCodes(row Row) error {
	for _, column := range []string{"SiteCode", "DestinationSiteCode"} {
		if code := strings.ToUpper(row.text(column)); code != "" && !siteCodeForm.MatchString(code) {
			return &RowError{Column: column, Why: "is no site code"}
		}
	}
	return nil
}

// siteCode returns the site code of a row, that of all rows if it has none; "" if there
// is none either, which is noted.
func (b *Builder) siteCode(class string, row Row) string {
	code := strings.ToUpper(cmp.Or(row.text("SiteCode"), b.origin.Site))
	if code == "" {
		b.note(class, "SiteCode", "neither the row nor --site-code tells the site: what it says counts for every site")
	}
	return code
}

func (b *Builder) set(code, key string, value any) {
	s := b.site(code)
	if s.Settings == nil {
		s.Settings = map[string]any{}
	}
	s.Settings[key] = value
}

// assign adds an assignment unless its name cannot be one, which is noted.
func (b *Builder) assign(class, column string, a Assignment) {
	if strings.TrimSpace(a.Name) == "" {
		return
	}
	name, ok := accountName(a.Name)
	if !ok {
		b.refuseName(class, column)
		return
	}
	if !siteCodeForm.MatchString(a.Site) {
		a.Site = ""
	}
	a.Name = name
	b.doc.Assignments = append(b.doc.Assignments, a)
}

func (b *Builder) note(class, column, text string) {
	key := [3]string{class, column, text}
	if i, ok := b.noted[key]; ok {
		b.notices[i].Times++
		return
	}
	b.noted[key] = len(b.notices)
	b.notices = append(b.notices, Notice{class, b.count[class], column, text, 1})
}

// valuesCut is why a class is not complete of which values are missing.
const valuesCut = "values were cut short when it was written"

// cutNote remembers that a value of a class was cut.
func (b *Builder) cutNote(class, column string) {
	b.cut[class] = valuesCut
	b.note(class, column, "holds only the name of a type: write it with ConvertTo-Json -Depth 5 or use the export script")
}

// refuseName remembers that a class named somebody whose name cannot be kept, so that who
// fills its slots is not known to the end.
func (b *Builder) refuseName(class, column string) {
	if b.cut[class] == "" {
		b.cut[class] = "a value that is no account name was dropped"
	}
	b.note(class, column, "the value is no account name and was dropped: who it names is not known")
}

func lacks(column string) error { return &RowError{Column: column, Why: "missing or empty"} }

// clipName shortens a name that came from outside for an error.
func clipName(s string) string {
	if len(s) > 80 {
		s = s[:80] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
