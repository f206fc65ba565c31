package control

import (
	"fmt"
	"reflect"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Types of the expression language.
var (
	forestType = cel.OpaqueType("forest")    // the forest as a whole
	objectType = cel.OpaqueType("object")    // an object of the directory
	hostsType  = cel.OpaqueType("hosts")     // computers with the same policies
	aceType    = cel.OpaqueType("ace")       // an entry of a descriptor
	rightType  = cel.OpaqueType("right")     // the resultant of a user right
	holderType = cel.OpaqueType("principal") // an entry of a list in a policy, or an identifier
	groupType  = cel.OpaqueType("localgroup")
	linkType   = cel.OpaqueType("link") // a link of a policy
)

// base gives a fact its place in the expression language. Facts carry the
// evaluation that they belong to, so that every question asked of them is
// recorded there.
type base struct{ ev *evaluation }

func (base) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("facts have no native form %s", t)
}
func (base) ConvertToType(ref.Type) ref.Val { return types.NewErr("facts cannot be converted") }
func (b base) Value() any                   { return b }

// Values of the types above.
type (
	forestVal struct{ base }
	object    struct {
		base
		id    forest.ID
		group forest.ID // as an element of this group's members, or None
		why   string    // id is None: why the object is not known
	}
	hosts struct {
		base
		set *hostSet
	}
	ace struct {
		base
		owner forest.ID // whose descriptor
		list  string    // dacl, sacl
		index int
		ace   secdesc.ACE
	}
	right struct {
		base
		setting gpo.Setting
		set     *hostSet // whose right it is
	}
	holder struct {
		base
		p      gpo.Principal
		source gpo.Source
		why    string // not known
	}
	localGroup struct {
		base
		group gpo.LocalGroup
		found bool
	}
	link struct {
		base
		container forest.ID
		enabled   bool
		enforced  bool
		why       string // container is None: why the link is not known
	}
)

func (forestVal) Type() ref.Type  { return forestType }
func (object) Type() ref.Type     { return objectType }
func (hosts) Type() ref.Type      { return hostsType }
func (ace) Type() ref.Type        { return aceType }
func (right) Type() ref.Type      { return rightType }
func (holder) Type() ref.Type     { return holderType }
func (localGroup) Type() ref.Type { return groupType }
func (link) Type() ref.Type       { return linkType }

func (forestVal) Equal(o ref.Val) ref.Val { _, ok := o.(forestVal); return types.Bool(ok) }
func (x object) Equal(o ref.Val) ref.Val {
	y, ok := o.(object)
	return types.Bool(ok && x.id == y.id && x.id != forest.None)
}

func (x hosts) Equal(o ref.Val) ref.Val { y, ok := o.(hosts); return types.Bool(ok && x.set == y.set) }

func (x ace) Equal(o ref.Val) ref.Val {
	y, ok := o.(ace)
	return types.Bool(ok && x.ace.Equal(y.ace))
}
func (right) Equal(ref.Val) ref.Val { return types.False }
func (x holder) Equal(o ref.Val) ref.Val {
	y, ok := o.(holder)
	return types.Bool(ok && x.p.SID == y.p.SID && x.p.Raw == y.p.Raw)
}
func (localGroup) Equal(ref.Val) ref.Val { return types.False }
func (x link) Equal(o ref.Val) ref.Val {
	y, ok := o.(link)
	return types.Bool(ok && x.container == y.container)
}

// environments are those for the types that the variable subject may have.
type environments struct {
	object, hosts, each, whole *cel.Env
	methods                    map[string]method // by overload
}

func newEnvs() (envs environments, err error) {
	base, err := newEnv()
	if err != nil {
		return envs, err
	}
	for _, x := range []struct {
		env  **cel.Env
		opts []cel.EnvOption
	}{
		{&envs.object, []cel.EnvOption{cel.Variable("subject", objectType)}},
		{&envs.hosts, []cel.EnvOption{cel.Variable("subject", hostsType)}},
		{&envs.each, []cel.EnvOption{cel.Variable("subject", hostsType), cel.Variable("principal", objectType)}},
		{&envs.whole, []cel.EnvOption{cel.Variable("subject", forestType)}},
	} {
		if *x.env, err = base.Extend(x.opts...); err != nil {
			return envs, err
		}
	}
	envs.methods = map[string]method{}
	for _, m := range methods() {
		envs.methods[m.overload()] = m
	}
	return envs, nil
}

func (envs environments) of(e *Entry) *cel.Env {
	sel := selectors[e.Select]
	switch {
	case sel.whole:
		return envs.whole
	case sel.hosts && e.Principals != "":
		return envs.each
	case sel.hosts:
		return envs.hosts
	}
	return envs.object
}

// newEnv returns the environment that all expressions share.
func newEnv() (*cel.Env, error) {
	opts := []cel.EnvOption{
		ext.Strings(),
		cel.Variable("forest", forestType),
		cel.Variable("options", cel.MapType(cel.StringType, cel.DynType)),
		cel.Macros(append([]cel.Macro{everyMacro()}, cel.StandardMacros...)...),
		cel.Function(enterFunc, cel.Overload(enterFunc, []*cel.Type{forestType, cel.DynType}, cel.BoolType,
			cel.OverloadIsNonStrict(), cel.BinaryBinding(enter))),
		cel.Function(leaveFunc, cel.Overload(leaveFunc, []*cel.Type{forestType, cel.BoolType, cel.BoolType}, cel.BoolType,
			cel.OverloadIsNonStrict(), cel.FunctionBinding(leave))),
	}
	for _, m := range methods() {
		opts = append(opts, m.option())
	}
	return cel.NewEnv(opts...)
}

// A method is a function of the expression language, as documented for authors.
type method struct {
	recv *cel.Type
	name string
	args []*cel.Type
	out  *cel.Type
	doc  string
	call func(args []ref.Val) ref.Val
}

// overload is the name by which a checked expression refers to m.
func (m method) overload() string {
	id := m.recv.TypeName() + "_" + m.name
	for _, a := range m.args {
		id += "_" + strings.ReplaceAll(a.TypeName(), ".", "_")
	}
	return id
}

func (m method) option() cel.EnvOption {
	params := append([]*cel.Type{m.recv}, m.args...)
	return cel.Function(m.name, cel.MemberOverload(m.overload(), params, m.out,
		cel.FunctionBinding(func(args ...ref.Val) ref.Val { return m.call(args) })))
}

// Names of the functions that the macro every expands to.
const (
	enterFunc = "@enter"
	leaveFunc = "@leave"
)

// everyMacro defines list.every(x, condition): true if the condition holds for
// each element. Unlike all it always looks at every element, and of the evidence
// it keeps that of the elements that fail or cannot be decided; the failing ones
// become the offenders of the finding.
func everyMacro() cel.Macro {
	return cel.ReceiverMacro("every", 2, func(eh cel.MacroExprFactory, target ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
		if args[0].Kind() != ast.IdentKind {
			return nil, eh.NewError(args[0].ID(), "argument must be a simple name")
		}
		v, accu := args[0].AsIdent(), eh.AccuIdentName()
		step := eh.NewCall(operators.LogicalAnd,
			eh.NewCall(leaveFunc, eh.NewIdent("forest"), eh.NewCall(enterFunc, eh.NewIdent("forest"), eh.NewIdent(v)), args[1]),
			eh.NewAccuIdent())
		return eh.NewComprehension(target, v, accu, eh.NewLiteral(types.True), eh.NewLiteral(types.True), step, eh.NewAccuIdent()), nil
	})
}

// enter begins the scope of one element.
func enter(f, element ref.Val) ref.Val {
	ev := f.(forestVal).ev
	ev.scopes = append(ev.scopes, scope{facts: len(ev.facts), element: element})
	return types.True
}

// leave ends the scope of one element with the condition's value.
func leave(args ...ref.Val) ref.Val {
	ev, verdict := args[0].(forestVal).ev, args[2]
	s := ev.scopes[len(ev.scopes)-1]
	ev.scopes = ev.scopes[:len(ev.scopes)-1]
	switch {
	case verdict == types.True:
		ev.facts = ev.facts[:s.facts]
	case verdict == types.False && len(ev.scopes) == 0:
		ev.offend(s.element)
	}
	return verdict
}
