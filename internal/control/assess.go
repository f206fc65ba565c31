package control

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"cel.dev/cel-go/common/types/ref"

	"github.com/leastwise/leastwise/internal/forest"
)

// ErrInput reports an input that cannot be assessed.
var ErrInput = errors.New("nothing to assess")

// collapseAbove is how many subjects of a domain may lack the same evidence for
// one control before they are put into one finding.
const collapseAbove = 20

// Assess evaluates every control on the snapshot. The result depends on nothing
// but the input and the catalogue; its order is fixed. An error means that the
// catalogue has a mistake that shows only at evaluation.
func (c *Catalogue) Assess(in Input) (*Assessment, error) {
	if in.Snapshot == nil || in.Snapshot.Len() == 0 {
		return nil, fmt.Errorf("%w: the snapshot has no objects", ErrInput)
	}
	if err := checkExceptions(in.Exceptions); err != nil {
		return nil, err
	}
	w := newWorld(in)
	if err := w.checkOptions(); err != nil {
		return nil, err
	}
	a := &Assessment{Version: FormatVersion}
	var side sync.WaitGroup
	if w.workers > 1 {
		side.Go(func() { a.Run, a.Population, a.Paths = w.run(in, c), w.population(), w.controlPaths() })
	} else {
		a.Run, a.Population, a.Paths = w.run(in, c), w.population(), w.controlPaths()
	}
	results, err := c.evaluate(w)
	side.Wait()
	if err != nil {
		return nil, err
	}
	var rows []cell
	var found []*Finding
	for i, r := range results {
		e := c.entries[i]
		cr := ControlResult{ID: e.ID, Title: e.Title, Section: e.Section, Severity: e.Severity, Tally: r.tally}
		a.Controls = append(a.Controls, cr)
		found = collapse(w, r, found)
		rows = append(rows, r.cells...)
	}
	a.Matrix = w.matrix(rows)
	a.Findings = ordered(found, w.workers)
	a.applyExceptions(w, in.Exceptions, in.Now)
	a.summarise()
	return a, nil
}

// result is what one control gave.
type result struct {
	tally    Tally
	findings []*Finding
	cells    []cell
	unknown  map[string]int // by domain: objects for which it could not be decided
}

// note keeps the finding of an object. Unknowns that collapse is going to put
// into one are only counted, all but the first few.
func (r *result) note(ev *evaluation, e *Entry, out Outcome, lacks []missing, id forest.ID) {
	if out == Unknown {
		if r.unknown == nil {
			r.unknown = map[string]int{}
		}
		domain := ev.w.domainDNS(id)
		if r.unknown[domain]++; r.unknown[domain] > collapseAbove+1 {
			return
		}
	}
	f := ev.finding(e, out, lacks, ev.w.objectSubject(id), id)
	r.findings = append(r.findings, &f)
}

// A cell is the outcome for one host set, principal and right.
type cell struct {
	set       *hostSet
	principal string
	right     string
	outcome   Outcome
}

// chunkSize is how many subjects of a control are evaluated in one go.
const chunkSize = 4096

// A job is a control on some of its subjects.
type job struct {
	entry int // in the catalogue
	ids   []forest.ID
}

// jobs divides the work. Controls of objects are cut into chunks, so that no
// worker waits long for the last one; the host sets, which take long to find, come
// first.
func (c *Catalogue) jobs(w *world) []job {
	var early, late []job
	lists := map[string][]forest.ID{} // by selector
	subjects := func(name string, sel selector) []forest.ID {
		ids, done := lists[name]
		if !done {
			ids = sel.objects(w)
			lists[name] = ids
		}
		return ids
	}
	for i, e := range c.entries {
		sel, ok := selectors[e.Select]
		var ids []forest.ID
		switch {
		case !ok:
			ids = w.everyDomain(e.Select)
		case sel.whole || sel.hosts:
			early = append(early, job{entry: i})
			continue
		default:
			ids = subjects(e.Select, sel)
		}
		for chunk := range slices.Chunk(ids, chunkSize) {
			late = append(late, job{i, chunk})
		}
	}
	return append(early, late...)
}

// evaluate runs the controls, several at a time; results are in catalogue order.
func (c *Catalogue) evaluate(w *world) ([]result, error) {
	jobs := c.jobs(w)
	parts := make([]result, len(jobs))
	errs := make([]error, len(jobs))
	parallel(w.workers, len(jobs), func() func(int) {
		ev := &evaluation{w: w}
		return func(i int) { parts[i], errs[i] = ev.job(c.entries[jobs[i].entry], jobs[i].ids) }
	})
	results := make([]result, len(c.entries))
	failed := make([]error, len(c.entries))
	for i, j := range jobs {
		results[j.entry].add(parts[i])
		if failed[j.entry] == nil {
			failed[j.entry] = errs[i]
		}
	}
	ev := &evaluation{w: w}
	for i, e := range c.entries {
		if !selectors[e.Select].whole {
			ev.unlistedOutcomes(e, &results[i])
		}
		if !w.holdsDomain() {
			ev.domainless(e, &results[i])
		}
	}
	return results, errors.Join(failed...)
}

// parallel calls do for 0 to n-1, several at a time and about in that order; each
// worker has a do of its own.
func parallel(workers, n int, worker func() (do func(i int))) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(workers, n) {
		wg.Go(func() {
			do := worker()
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				do(int(i))
			}
		})
	}
	wg.Wait()
}

// add appends what the control gave for further subjects.
func (r *result) add(more result) {
	r.tally.Pass += more.tally.Pass
	r.tally.Fail += more.tally.Fail
	r.tally.Unknown += more.tally.Unknown
	r.findings = append(r.findings, more.findings...)
	r.cells = append(r.cells, more.cells...)
	for domain, n := range more.unknown {
		if r.unknown == nil {
			r.unknown = map[string]int{}
		}
		r.unknown[domain] += n
	}
}

// job evaluates one entry on its only subject, on host sets, or on objects.
func (ev *evaluation) job(e *Entry, ids []forest.ID) (result, error) {
	var r result
	sel, ok := selectors[e.Select]
	switch {
	case ok && sel.whole:
		err := ev.decide(e, forestVal{base{ev}}, ev.w.forestSubject(), forest.None, &r)
		return r, err
	case ok && sel.hosts:
		for _, h := range ev.w.hostSets() {
			if slices.Contains(sel.role, h.role) {
				if err := ev.onHosts(e, h, &r); err != nil {
					return r, err
				}
			}
		}
		return r, nil
	}
	err := ev.onObjects(e, ids, &r)
	return r, err
}

func (ev *evaluation) onObjects(e *Entry, ids []forest.ID, r *result) error {
	for _, id := range ids {
		out, lacks, err := ev.judgeObject(e, id)
		if err != nil {
			return e.errorf("%s: %v", ev.w.s.DN(id), err)
		}
		if !r.tally.count(out) || out == Pass {
			continue
		}
		lesser, err := ev.isLesser(e, out)
		if err != nil {
			return e.errorf("%s: %v", ev.w.s.DN(id), err)
		}
		if selectors[e.Select].privileged {
			ev.sawPrivilege(id)
		}
		r.note(ev, e, out, lacks, id)
		if lesser {
			r.findings[len(r.findings)-1].lower()
		}
	}
	return nil
}

// judgeObject decides for an object. Of one that may not be a subject at all, a
// failure is not known.
func (ev *evaluation) judgeObject(e *Entry, id forest.ID) (Outcome, []missing, error) {
	out, lacks, err := ev.judge(e, ev.object(id), nil)
	if out != Fail {
		return out, lacks, err
	}
	if doubt := ev.w.doubtful(e.Select, id); doubt != "" {
		return Unknown, []missing{{"attribute", doubt}}, err
	}
	return out, lacks, err
}

// doubtful says why id may not be a subject of the selector; "" if it is one.
func (w *world) doubtful(name string, id forest.ID) string {
	sel := selectors[name]
	if sel.attr != 0 && w.attrState(id, sel.attr) == forest.Unreadable {
		return sel.attr.String() + " of " + w.s.DN(id) + ": " + w.s.Why(id, sel.attr)
	}
	if name == "protected-object" {
		return w.privilege().maybe[id]
	}
	return ""
}

// sawPrivilege records why the subject is among the privileged accounts.
func (ev *evaluation) sawPrivilege(id forest.ID) {
	for _, g := range ev.w.privilege().members[id] {
		ev.facts = append(ev.facts, fact{kind: memberFact, id: id, other: g})
	}
}

func (ev *evaluation) decide(e *Entry, v ref.Val, s Subject, id forest.ID, r *result) error {
	out, lacks, err := ev.judge(e, v, nil)
	if err != nil {
		return e.errorf("%s: %v", s.Name, err)
	}
	if h, ok := v.(hosts); ok && out == Fail && h.set.doubt != "" {
		out, lacks = Unknown, []missing{{"attribute", h.set.doubt}}
	}
	if !r.tally.count(out) || out == Pass {
		return nil
	}
	lesser, err := ev.isLesser(e, out)
	if err != nil {
		return e.errorf("%s: %v", s.Name, err)
	}
	f := ev.finding(e, out, lacks, s, id)
	if lesser {
		f.lower()
	}
	r.findings = append(r.findings, &f)
	return nil
}

// count adds an outcome; it reports whether the control concerned the subject.
func (t *Tally) count(o Outcome) bool {
	switch o {
	case Pass:
		t.Pass++
	case Fail:
		t.Fail++
	case Unknown:
		t.Unknown++
	}
	return o != ""
}

// judge decides one control for one subject; "" if it does not concern it. Where
// it is not known whether it does, a pass still is a pass.
func (ev *evaluation) judge(e *Entry, subject, principal ref.Val) (Outcome, []missing, error) {
	ev.reset(subject, principal)
	concerns := Pass
	var whenLacks []missing
	if e.when != nil {
		var err error
		if concerns, whenLacks, err = ev.run(e.when); err != nil || concerns == Fail {
			return "", nil, err
		}
	}
	out, lacks, err := ev.run(e.pass)
	if err == nil && out != Pass && concerns == Unknown {
		return Unknown, append(whenLacks, lacks...), nil
	}
	return out, lacks, err
}

// isLesser reports whether a failure that was just judged is one step less severe.
// If that is not known it is not.
func (ev *evaluation) isLesser(e *Entry, out Outcome) (bool, error) {
	if out != Fail || e.lesser == nil {
		return false, nil
	}
	out, _, err := ev.run(e.lesser)
	return out == Pass, err
}

// lower makes a finding one step less severe, and says so.
func (f *Finding) lower() {
	order := []Severity{Critical, High, Medium, Low}
	if i := slices.Index(order, f.Severity); i < len(order)-1 {
		f.Reason += " One step less than " + string(f.Severity) + ", because of what holds today."
		f.Severity = order[i+1]
	}
}

// onHosts evaluates an entry on a host set, once for each principal if it names
// some, and makes one finding of it.
func (ev *evaluation) onHosts(e *Entry, h *hostSet, r *result) error {
	subject := h.subject
	if e.Principals == "" {
		return ev.decide(e, hosts{base{ev}, h}, subject, forest.None, r)
	}
	var sum hostsSum
	for _, p := range ev.w.principals(e.Principals) {
		out, lacks, err := ev.judge(e, hosts{base{ev}, h}, ev.object(p))
		if err != nil {
			return e.errorf("%s: %v", subject.Name, err)
		}
		if out == "" {
			continue
		}
		if out == Fail && h.doubt != "" {
			out, lacks = Unknown, []missing{{"attribute", h.doubt}}
		}
		lesser, err := ev.isLesser(e, out)
		if err != nil {
			return e.errorf("%s: %v", subject.Name, err)
		}
		sum.add(ev, out, lacks, p)
		if lesser {
			sum.lesser++
		}
		if e.Right != "" {
			r.cells = append(r.cells, cell{h, ev.w.principalName(p), e.Right, out})
		}
	}
	for _, text := range ev.w.unnamed(e.Principals) {
		ev.reset(nil, nil)
		sum.add(ev, Unknown, []missing{{"members", text}}, forest.None)
	}
	if sum.n == 0 {
		return nil
	}
	r.tally.count(sum.out)
	if sum.out != Pass {
		n := &note{Denied: sum.denied}
		for _, it := range sum.denied {
			if it.Why == "" {
				n.Open = append(n.Open, it)
			} else {
				n.Covered = append(n.Covered, it)
			}
		}
		f := ev.w.finish(e, sum.out, sum.lacks, subject, n)
		f.Evidence, f.offenders = sum.evidence, keysOf(sum.denied)
		if sum.lesser > 0 && sum.lesser == sum.failed {
			f.lower()
		}
		r.findings = append(r.findings, &f)
	}
	return nil
}

// hostsSum joins the outcomes of several principals.
type hostsSum struct {
	n        int
	failed   int // principals
	lesser   int // of failed
	out      Outcome
	lacks    []missing
	evidence []Evidence
	denied   []item
}

func (s *hostsSum) add(ev *evaluation, out Outcome, lacks []missing, p forest.ID) {
	if s.n++; s.n == 1 {
		s.out = Pass
	}
	if out == Pass {
		return
	}
	if out == Fail {
		s.out = Fail
		s.failed++
		it := item{Name: ev.w.principalName(p), Why: ev.through}
		if p != forest.None {
			it.DN, it.SID = ev.w.s.DN(p), ev.w.s.SID(p).String()
		}
		s.denied = append(s.denied, it)
	} else if s.out == Pass {
		s.out = Unknown
	}
	s.lacks = append(s.lacks, lacks...)
	for _, e := range ev.evidence() {
		if !slices.ContainsFunc(s.evidence, func(x Evidence) bool { return sameEvidence(x, e) }) {
			s.evidence = append(s.evidence, e)
		}
	}
}

func sameEvidence(a, b Evidence) bool {
	return a.Kind == b.Kind && a.Text == b.Text && a.DN == b.DN && a.Value == b.Value && a.Policy == b.Policy && a.Line == b.Line && a.Attr == b.Attr
}

func (w *world) principalName(p forest.ID) string {
	if p == forest.None {
		return "Administrator of each host"
	}
	return w.qualified(p)
}

// finding makes a finding of the evaluation just done.
func (ev *evaluation) finding(e *Entry, out Outcome, lacks []missing, s Subject, id forest.ID) Finding {
	n := &note{}
	n.Subject.id = id
	for _, o := range ev.offenders {
		n.Offenders = append(n.Offenders, ev.w.item(o))
	}
	f := ev.w.finish(e, out, lacks, s, n)
	f.Evidence, f.offenders = ev.evidence(), keysOf(n.Offenders)
	return f
}

// finish fills the texts of a finding.
func (w *world) finish(e *Entry, out Outcome, lacks []missing, s Subject, n *note) Finding {
	if n.Subject.id == 0 && s.Kind == "hosts" {
		n.Subject.id = forest.None
	}
	n.Subject.Subject, n.Subject.w = s, w
	n.Options = w.variables
	f := Finding{
		Control: e.ID, Title: e.Title, Section: e.Section, Severity: e.Severity, Reason: e.Reason, Outcome: out,
		Subject: s, Rationale: e.Rationale, Missing: []string{}, Verify: fill(e.texts.verify, n),
		Fix: Fix{Text: fill(e.texts.fix, n), Changes: []string{}},
	}
	if out == Unknown {
		f.Missing = e.missingTexts(lacks)
		f.Detail = "Could not be decided."
		if len(f.Missing) > 0 {
			f.Detail = "Could not be decided; missing: " + f.Missing[0] + "."
		}
		return f
	}
	f.Detail = fill(e.texts.detail, n)
	if f.Detail == "" {
		f.Detail = e.Title + ": not so for " + s.Name + "."
	}
	f.Fix.Changes = e.changes(n)
	return f
}

// missingTexts joins what the functions said with what the entry says.
func (e *Entry) missingTexts(lacks []missing) []string {
	out := []string{}
	for _, m := range lacks {
		text := m.text
		if more := e.Missing[m.key]; more != "" && text != "" {
			text += " (" + more + ")"
		} else if more != "" {
			text = more
		}
		if text == "" {
			text = m.key
		}
		if !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	slices.Sort(out)
	return out
}

// collapse puts unknowns of one control into one finding per domain if very many
// subjects lack evidence of the same kind: that is a fact about the scan.
func collapse(w *world, r result, to []*Finding) []*Finding {
	done := map[string]bool{}
	for _, f := range r.findings {
		n := r.unknown[f.Subject.Domain]
		if f.Outcome != Unknown || n <= collapseAbove || f.Subject.Kind == "hosts" {
			to = append(to, f)
			continue
		}
		if !done[f.Subject.Domain] {
			done[f.Subject.Domain] = true
			one := w.collapsed(*f, n)
			to = append(to, &one)
		}
	}
	return to
}

func (w *world) collapsed(f Finding, n int) Finding {
	first := f.Subject.DN
	f.Evidence = []Evidence{}
	f.Detail = fmt.Sprintf("Could not be decided for %d subjects; the first is %s.", n, first)
	f.Subject = Subject{Name: f.Subject.Domain, Kind: "domain", Domain: f.Subject.Domain}
	for _, d := range w.domains {
		if d.DNS == f.Subject.Domain {
			f.Subject.DN, f.Subject.SID = d.DN, d.SID.String()
		}
	}
	return f
}

// Subjects.

func (w *world) forestSubject() Subject {
	s := Subject{Name: "forest", Kind: "forest"}
	if w.root >= 0 {
		d := w.domains[w.root]
		s.Name, s.DN, s.SID, s.Domain = d.DNS, d.DN, d.SID.String(), d.DNS
	}
	return s
}

func (w *world) objectSubject(id forest.ID) Subject {
	return Subject{
		Name: w.accountName(id), DN: w.s.DN(id), SID: w.s.SID(id).String(),
		Kind: w.kind(id), Domain: w.domainDNS(id),
	}
}

func (w *world) hostsSubject(h *hostSet) Subject {
	s := Subject{Kind: "hosts", Scope: h.tag, Domain: w.domainDNS(h.computers[0])}
	if h.container != forest.None {
		s.Name, s.DN = w.accountName(h.container), w.s.DN(h.container)
	}
	for _, c := range h.computers {
		s.Hosts = append(s.Hosts, w.s.DN(c))
	}
	return s
}

// Order and sums.

var severityRank = map[Severity]int{Critical: 0, High: 1, Medium: 2, Low: 3}

// A rank is what findings are ordered by before their subjects.
type rank struct {
	outcome  Outcome
	severity Severity
	control  string
}

func (r rank) compare(o rank) int {
	return cmp.Or(
		cmp.Compare(r.outcome, o.outcome), // fail before unknown
		cmp.Compare(severityRank[r.severity], severityRank[o.severity]),
		cmp.Compare(r.control, o.control))
}

// ordered returns the findings, worst first. Findings of one rank are ordered by
// themselves, several ranks at a time.
func ordered(found []*Finding, workers int) []Finding {
	groups := map[rank][]*Finding{}
	for _, f := range found {
		r := rank{f.Outcome, f.Severity, f.Control}
		groups[r] = append(groups[r], f)
	}
	ranks := slices.SortedFunc(maps.Keys(groups), rank.compare)
	at, n := make([]int, len(ranks)), 0
	for i, r := range ranks {
		at[i] = n
		n += len(groups[r])
	}
	out := make([]Finding, n)
	parallel(workers, len(ranks), func() func(int) {
		return func(i int) {
			group := groups[ranks[i]]
			slices.SortStableFunc(group, compareSubjects)
			for j, f := range group {
				out[at[i]+j] = *f
			}
		}
	})
	return out
}

func compareSubjects(x, y *Finding) int {
	if c := cmp.Compare(x.Subject.Domain, y.Subject.Domain); c != 0 {
		return c
	}
	if c := compareFold(x.Subject.DN, y.Subject.DN); c != 0 {
		return c
	}
	return cmp.Compare(x.Subject.Scope, y.Subject.Scope)
}

// compareFold compares texts as if they were in lower case.
func compareFold(a, b string) int {
	for a != "" && b != "" {
		x, n := utf8.DecodeRuneInString(a)
		y, m := utf8.DecodeRuneInString(b)
		if x != y {
			if c := cmp.Compare(unicode.ToLower(x), unicode.ToLower(y)); c != 0 {
				return c
			}
		}
		a, b = a[n:], b[m:]
	}
	return cmp.Compare(len(a), len(b))
}

func (a *Assessment) summarise() {
	s := Summary{BySeverity: map[Severity]int{}, BySection: map[string]Tally{}}
	for _, c := range a.Controls {
		t := s.BySection[c.Section]
		t.Pass, t.Fail, t.Unknown = t.Pass+c.Pass, t.Fail+c.Fail, t.Unknown+c.Unknown
		s.BySection[c.Section] = t
		s.Pass, s.Fail, s.Unknown, s.Excepted = s.Pass+c.Pass, s.Fail+c.Fail, s.Unknown+c.Unknown, s.Excepted+c.Excepted
	}
	for i := range a.Findings {
		if f := &a.Findings[i]; f.Outcome == Fail && f.Exception == nil {
			s.BySeverity[f.Severity]++
		}
	}
	a.Summary = s
}

// run describes the input. The ID covers the content that was assessed, what it
// was assessed by, and when.
func (w *world) run(in Input, c *Catalogue) Run {
	i := in.Snapshot.Info()
	r := Run{
		Started: i.Started, Finished: i.Finished, Tool: i.Tool, Source: i.Source, Reader: i.Reader,
		Servers: i.Servers, Domains: w.sizes(), Coverage: in.Snapshot.Coverage(),
	}
	if r.Coverage == nil {
		r.Coverage = []forest.Coverage{}
	}
	h := sha256.New()
	enc := json.NewEncoder(h)
	for _, v := range []any{r, w.options, w.now, in.Exceptions, in.Snapshot.Len(), in.Snapshot.NumDescriptors()} {
		_ = enc.Encode(v) // a hash takes everything
	}
	for _, e := range c.entries {
		_ = enc.Encode(e)
	}
	r.ID = hex.EncodeToString(h.Sum(nil)[:8])
	return r
}

func (w *world) sizes() []DomainSize {
	out := make([]DomainSize, len(w.domains))
	for i, d := range w.domains {
		out[i] = DomainSize{DNS: d.DNS, DN: d.DN, SID: d.SID.String()}
	}
	for id, k := range w.kindOf {
		if k != "user" && k != "computer" && k != "group" {
			continue
		}
		d := w.domainIndex(forest.ID(id))
		switch {
		case d < 0:
		case k == "user":
			out[d].Users++
		case k == "computer":
			out[d].Computers++
		default:
			out[d].Groups++
		}
	}
	return out
}
