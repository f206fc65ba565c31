package judge

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/leastwise/leastwise/internal/configmgr"
	"github.com/leastwise/leastwise/internal/forest"
)

// ErrInput reports an input that cannot be judged.
var ErrInput = errors.New("nothing to judge")

// Rules are the controls of a catalogue with their conditions compiled. They are
// safe for concurrent use.
type Rules struct {
	catalogue *configmgr.Catalogue
	variables map[string]func(*evaluation) ref.Val
	controls  []rule
}

// A rule is a control with its expressions.
type rule struct {
	control         *configmgr.Control
	when, condition cel.Program // when is nil if the control has none
}

// Catalogue returns the catalogue that r was made of.
func (r *Rules) Catalogue() *configmgr.Catalogue { return r.catalogue }

// Judge compiles the catalogue of in and decides its controls. Who judges more than
// once compiles once: see Compile.
func Judge(in Input) (*Assessment, error) {
	r, err := Compile(in.Catalogue)
	if err != nil {
		return nil, err
	}
	return r.Judge(in)
}

// Compile reads the conditions of a catalogue. An error names the controls whose
// conditions do not compile, and where.
func Compile(c *configmgr.Catalogue) (*Rules, error) {
	if c == nil {
		return nil, fmt.Errorf("%w: there is no catalogue", ErrInput)
	}
	env, err := newEnv()
	if err != nil {
		return nil, fmt.Errorf("making the language of conditions: %w", err)
	}
	r := &Rules{catalogue: c, variables: map[string]func(*evaluation) ref.Val{}}
	for _, v := range variables() {
		r.variables[v.name] = v.get
	}
	var bad []error
	for _, ctl := range c.Controls() {
		x := rule{control: ctl}
		if ctl.When != "" {
			if x.when, err = compile(env, ctl.When); err != nil {
				bad = append(bad, fmt.Errorf("compiling when of control %s: %w", ctl.ID, err))
			}
		}
		if x.condition, err = compile(env, ctl.Condition); err != nil {
			bad = append(bad, fmt.Errorf("compiling the condition of control %s: %w", ctl.ID, err))
		}
		r.controls = append(r.controls, x)
	}
	if err := errors.Join(bad...); err != nil {
		return nil, err
	}
	return r, nil
}

// Judge decides every control on every site of the document. The result depends on
// nothing but the input and the catalogue; its order is fixed.
func (r *Rules) Judge(in Input) (*Assessment, error) {
	if in.Snapshot == nil || in.Document == nil {
		return nil, fmt.Errorf("%w: a snapshot and a document are needed", ErrInput)
	}
	if len(in.Document.Sites) == 0 {
		return nil, fmt.Errorf("%w: the document names no site", ErrInput)
	}
	first := newWorld(r, in)
	out := &Assessment{Hierarchy: in.Document.Hierarchy, Made: in.Now, Sites: make([]Site, len(in.Document.Sites))}
	errs := make([]error, len(out.Sites))
	var next atomic.Int64
	var wg sync.WaitGroup
	for n := range min(workers, len(out.Sites)) {
		w := first
		if n > 0 {
			w = first.sibling(in)
		}
		wg.Go(func() {
			ev := &evaluation{w: w}
			for i := next.Add(1) - 1; i < int64(len(out.Sites)); i = next.Add(1) - 1 {
				out.Sites[i], errs[i] = ev.judgeSite(&in.Document.Sites[i])
			}
		})
	}
	wg.Wait()
	for _, s := range out.Sites {
		out.Summary.sum(s.Summary)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return out, nil
}

// workers is how many sites are judged at a time.
const workers = 2

// judgeSite decides every control on one site.
func (ev *evaluation) judgeSite(s *configmgr.Site) (Site, error) {
	ev.site = s
	rules := ev.w.rules.controls
	res := Site{Code: s.Code, Name: s.Name, Release: s.Release, Outcomes: make([]Outcome, 0, len(rules))}
	for _, x := range rules {
		o, err := ev.decide(x)
		if err != nil {
			return res, fmt.Errorf("deciding control %s on site %s: %w", x.control.ID, s.Code, err)
		}
		res.Outcomes = append(res.Outcomes, o)
		res.Summary.add(o)
	}
	return res, nil
}

// decide asks one control about everything that it concerns on the site.
func (ev *evaluation) decide(x rule) (Outcome, error) {
	c := x.control
	o := Outcome{Control: c, ID: c.ID, Title: c.Title, Severity: c.Severity, Entry: entryID(c), Verdict: NotApplicable}
	ev.reset()
	for _, i := range ev.instances(c) {
		res, err := ev.judge(x, i)
		if err != nil {
			return o, fmt.Errorf("about %s: %w", i.subject.Name, err)
		}
		o.Instances = append(o.Instances, res)
		o.Verdict = worse(o.Verdict, res.Verdict)
		if res.Verdict == NotApplicable && o.Reason == "" {
			o.Reason = res.Reason
		}
	}
	if o.Verdict != NotApplicable {
		o.Reason = ""
	}
	return o, nil
}

// rank orders verdicts, worst first.
var rank = map[Verdict]int{Fail: 1, Unknown: 2, Pass: 3, NotApplicable: 4}

func worse(a, b Verdict) Verdict {
	if rank[b] < rank[a] {
		return b
	}
	return a
}

// judge decides one instance. Where it is not known whether the control applies, a
// pass still is a pass.
func (ev *evaluation) judge(x rule, i instance) (Instance, error) {
	ev.reset()
	ev.a, ev.g, ev.domain, ev.whole = i.a, i.g, i.domain, x.control.Scope == configmgr.PerHierarchy
	out := Instance{Subject: i.subject}
	switch {
	case i.na != "":
		out.Verdict, out.Reason = NotApplicable, i.na
		return out, nil
	case i.lacks != nil:
		out.Verdict, out.Missing = Unknown, ev.w.lacks(i.lacks)
		return out, nil
	}
	applies, whenLacks := Pass, []Missing(nil)
	if x.when != nil {
		var err error
		if applies, whenLacks, err = ev.run(x.when); err != nil {
			return out, err
		}
		if applies == Fail {
			out.Verdict, out.Reason = NotApplicable, "it applies only when "+strings.Join(strings.Fields(x.control.When), " ")
			return out, nil
		}
	}
	v, lacks, err := ev.run(x.condition)
	if err != nil {
		return out, err
	}
	if v == Fail && applies == Unknown {
		v, lacks = Unknown, whenLacks
	}
	out.Verdict, out.Missing = v, lacks
	if why := ev.gone(i, lacks); v == Unknown && why != "" {
		out.Verdict, out.Missing, out.Reason = NotApplicable, nil, why
		return out, nil
	}
	if v == Pass && ev.nobody != "" {
		out.Verdict, out.Missing, out.Reason = NotApplicable, nil, ev.nobody
		return out, nil
	}
	if v != Pass {
		out.Evidence, out.Offenders = ev.evidence(), ev.offenders
	}
	for n := range out.Missing {
		if m := &out.Missing[n]; m.Collector == "" {
			m.Collector, m.Tier = "ldap", ev.w.rules.catalogue.Collectors["ldap"].Tier
		}
	}
	if v == Unknown && len(out.Missing) == 0 {
		out.Missing = []Missing{{Collector: "product-state", Tier: ev.w.rules.catalogue.Collectors["product-state"].Tier, Text: "what it was asked of is not known"}}
	}
	return out, nil
}

// gone says that nothing can be answered because the account of an assignment does not
// exist, or not in Windows: no collector is named for that.
func (ev *evaluation) gone(i instance, lacks []Missing) string {
	if i.a == nil || i.a.p.id != forest.None {
		return ""
	}
	u, ok := i.a.p.known().(*types.Unknown)
	if !ok {
		return ""
	}
	for _, m := range ev.w.lacks(u) {
		if m.Collector == "" && slices.Contains(lacks, m) {
			return m.Text
		}
	}
	return ""
}
