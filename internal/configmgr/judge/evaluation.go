package judge

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"

	"github.com/leastwise/leastwise/internal/configmgr"
)

// An evaluation is the state of deciding one control for one subject. It is reused
// for the next and belongs to one goroutine.
type evaluation struct {
	w         *world
	site      *configmgr.Site
	a         *assignment
	g         *group
	domain    string // DNS name, of a domain control
	facts     []fact
	scopes    []scope
	offenders []string
	whole     bool   // the control is about the hierarchy: hosts of all its sites count
	nobody    string // why a set of hosts that was asked for is empty; "" if none was
}

// A fact is a question that was asked, with its answer.
type fact struct {
	f    *function
	args []ref.Val
	out  ref.Val
}

type scope struct {
	facts   int
	element ref.Val
}

var _ interpreter.Activation = (*evaluation)(nil)

// ConvertToNative is part of ref.Val, as are the next four.
func (ev *evaluation) ConvertToNative(reflect.Type) (any, error) {
	return nil, fmt.Errorf("an evaluation has no native form")
}

// ConvertToType refuses.
func (ev *evaluation) ConvertToType(ref.Type) ref.Val { return types.NewErr("not convertible") }

// Equal is identity.
func (ev *evaluation) Equal(o ref.Val) ref.Val { return types.Bool(o == ref.Val(ev)) }

// Type names the type.
func (ev *evaluation) Type() ref.Type { return evaluationType }

// Value returns ev itself.
func (ev *evaluation) Value() any { return ev }

// Parent is part of interpreter.Activation.
func (ev *evaluation) Parent() interpreter.Activation { return nil }

// ResolveName gives expressions their variables.
func (ev *evaluation) ResolveName(name string) (any, bool) {
	if name == thisVar {
		return ev, true
	}
	if get, ok := ev.w.rules.variables[name]; ok {
		return get(ev), true
	}
	return nil, false
}

func (ev *evaluation) reset() {
	ev.facts, ev.scopes, ev.offenders = ev.facts[:0], ev.scopes[:0], nil
	ev.a, ev.g, ev.domain, ev.whole, ev.nobody = nil, nil, "", false, ""
}

// saw notes a question and its answer.
func (ev *evaluation) saw(f *function, args []ref.Val, out ref.Val) {
	ev.facts = append(ev.facts, fact{f, args, out})
}

// mostOffenders is how many elements an outcome names.
const mostOffenders = 50

// offend notes an element of a list that fails.
func (ev *evaluation) offend(v ref.Val) {
	if s := textOf(v); len(ev.offenders) < mostOffenders && !slices.Contains(ev.offenders, s) {
		ev.offenders = append(ev.offenders, s)
	}
}

// lack is the value of a question that cannot be answered.
func (ev *evaluation) lack(m Missing) ref.Val { return ev.w.lack(m) }

// run evaluates an expression.
func (ev *evaluation) run(p cel.Program) (Verdict, []Missing, error) {
	v, _, err := p.Eval(ev)
	if u, ok := v.(*types.Unknown); ok {
		return Unknown, ev.w.lacks(u), nil
	}
	switch {
	case err != nil:
		return "", nil, err
	case v == types.True:
		return Pass, nil, nil
	case v == types.False:
		return Fail, nil, nil
	}
	return "", nil, fmt.Errorf("the expression yields %v", v)
}

// mostEvidence is how many facts an outcome tells.
const mostEvidence = 40

// evidence puts the facts into words.
func (ev *evaluation) evidence() []string {
	var out []string
	for _, f := range ev.facts {
		if quiet[f.f.name] {
			continue
		}
		text := f.f.name
		args := make([]string, len(f.args))
		for i, a := range f.args {
			args[i] = textOf(a)
		}
		if strings.HasPrefix(text, ".") {
			text = args[0] + text
		} else {
			text += "(" + strings.Join(args, ", ") + ")"
		}
		text += " = " + textOf(f.out)
		if len(out) < mostEvidence && !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return out
}

// quiet are functions and fields that say nothing by themselves.
var quiet = map[string]bool{".sid": true, ".host": true, ".site": true, ".server": true, ".db": true, "path": true, "dn": true, "union": true, ".hierarchy": true}

// textOf puts a value into words.
func textOf(v ref.Val) string {
	switch x := v.(type) {
	case *principal:
		return x.text()
	case *host:
		return x.name
	case record:
		return x.str
	case types.String:
		return "'" + string(x) + "'"
	case *types.Unknown:
		return "unknown"
	case *list:
		return x.text()
	case *evaluation:
		return ""
	}
	if known, gap := elements(v); known != nil || gap != nil {
		return listText(known, gap)
	}
	return fmt.Sprint(v.Value())
}
