package judge

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/decls"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Types of the expression language beside those of CEL. Records have fields.
var (
	evaluationType = cel.OpaqueType("@evaluation")
	principalType  = cel.OpaqueType("principal")
	hostType       = cel.OpaqueType("host")
	anyType        = cel.TypeParamType("A")
	anyList        = cel.ListType(anyType)
	textList       = cel.ListType(cel.StringType)
	principalList  = cel.ListType(principalType)
	hostList       = cel.ListType(hostType)
	timeList       = cel.ListType(cel.TimestampType)
)

// thisVar is the variable that carries the evaluation into functions.
const thisVar = "@this"

// A function of the expression language, as documented for authors.
type function struct {
	name  string
	args  []*cel.Type
	out   *cel.Type
	needs string // evidence
	doc   string
	call  func(ev *evaluation, args []ref.Val) ref.Val
}

// overload names f with its arguments.
func (f *function) overload() string {
	id := f.name
	for _, a := range f.args {
		id += "_" + typeName(a)
	}
	return id
}

func typeName(t *cel.Type) string {
	return strings.NewReplacer("(", "_", ")", "", ".", "_").Replace(t.String())
}

// option declares f with the evaluation as an argument that authors do not write.
func (f *function) option() cel.EnvOption {
	args := append([]*cel.Type{evaluationType}, f.args...)
	// The checker knows the types; a guard at run time would look at the elements of
	// lists and refuse those that are unknown.
	return cel.Function("@"+f.name, decls.DisableTypeGuards(true), cel.Overload("@"+f.overload(), args, f.out,
		cel.FunctionBinding(func(args ...ref.Val) ref.Val {
			ev := args[0].(*evaluation)
			out := f.call(ev, args[1:])
			if out == nil {
				return types.NewErr("%s has no answer", f.name)
			}
			ev.saw(f, args[1:], out)
			return out
		})))
}

// macro turns name(x) into @name(@this, x).
func (f *function) macro() cel.Macro {
	return cel.GlobalMacro(f.name, len(f.args), func(eh cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
		return eh.NewCall("@"+f.name, append([]ast.Expr{eh.NewIdent(thisVar)}, args...)...), nil
	})
}

// Names of the functions that the macro every expands to.
const (
	enterFunc = "@enter"
	leaveFunc = "@leave"
)

// everyMacro defines list.every(x, condition): true if the condition holds for each
// element. Unlike all it always looks at every element; those that fail become the
// offenders, and of the evidence it keeps theirs.
func everyMacro() cel.Macro {
	return cel.ReceiverMacro("every", 2, func(eh cel.MacroExprFactory, target ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
		if args[0].Kind() != ast.IdentKind {
			return nil, eh.NewError(args[0].ID(), "argument must be a simple name")
		}
		v, accu := args[0].AsIdent(), eh.AccuIdentName()
		enter := eh.NewCall(enterFunc, eh.NewIdent(thisVar), eh.NewIdent(v))
		step := eh.NewCall(operators.LogicalAnd, eh.NewCall(leaveFunc, eh.NewIdent(thisVar), enter, args[1]), eh.NewAccuIdent())
		return eh.NewComprehension(target, v, accu, eh.NewLiteral(types.True), eh.NewLiteral(types.True), step, eh.NewAccuIdent()), nil
	})
}

func enter(this, element ref.Val) ref.Val {
	ev := this.(*evaluation)
	ev.scopes = append(ev.scopes, scope{len(ev.facts), element})
	return types.True
}

func leave(args ...ref.Val) ref.Val {
	ev, verdict := args[0].(*evaluation), args[2]
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

// newEnv returns the environment of conditions.
func newEnv() (*cel.Env, error) {
	registry, err := types.NewRegistry()
	if err != nil {
		return nil, fmt.Errorf("making the registry of types: %w", err)
	}
	macros := []cel.Macro{everyMacro()}
	opts := []cel.EnvOption{
		cel.CustomTypeProvider(provider{registry, recordTypes()}),
		cel.CustomTypeAdapter(registry),
		cel.Variable(thisVar, evaluationType),
		cel.Function(enterFunc, cel.Overload(enterFunc, []*cel.Type{evaluationType, cel.DynType}, cel.BoolType,
			cel.OverloadIsNonStrict(), cel.BinaryBinding(enter))),
		cel.Function(leaveFunc, cel.Overload(leaveFunc, []*cel.Type{evaluationType, cel.BoolType, cel.BoolType}, cel.BoolType,
			cel.OverloadIsNonStrict(), cel.FunctionBinding(leave))),
	}
	for _, v := range variables() {
		opts = append(opts, cel.Variable(v.name, v.typ))
	}
	seen := map[string]bool{}
	for _, f := range functions() {
		opts = append(opts, f.option())
		if key := fmt.Sprint(f.name, len(f.args)); !seen[key] {
			seen[key] = true
			macros = append(macros, f.macro())
		}
	}
	opts = append(opts, cel.Macros(append(macros, cel.StandardMacros...)...))
	return cel.NewEnv(opts...)
}

// compile checks one expression of a control.
func compile(env *cel.Env, text string) (cel.Program, error) {
	checked, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, errors.New(strings.ReplaceAll(issues.Err().Error(), "@", ""))
	}
	if checked.OutputType() != cel.BoolType {
		return nil, fmt.Errorf("the expression yields %s, not a boolean", checked.OutputType())
	}
	if bad := unsafeCall(checked); bad != "" {
		return nil, errors.New(bad)
	}
	return env.Program(checked)
}

// unsafeCall finds what would take a list that was not read to its end for the whole
// list: size, in and == know nothing of that.
func unsafeCall(checked *cel.Ast) string {
	bad := ""
	isList := func(e ast.Expr) bool {
		t := checked.NativeRep().GetType(e.ID())
		return t != nil && t.Kind() == types.ListKind && e.Kind() != ast.ListKind
	}
	ast.PreOrderVisit(checked.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind {
			return
		}
		c := e.AsCall()
		args := c.Args()
		if c.IsMemberFunction() {
			args = append([]ast.Expr{c.Target()}, args...)
		}
		switch c.FunctionName() {
		case "size", operators.In, operators.Equals, operators.NotEquals:
			if slices.ContainsFunc(args, isList) {
				bad = fmt.Sprintf("%s does not see that a list may be incomplete: use empty, at_most, in_set or set_equal", strings.Trim(c.FunctionName(), "_@"))
			}
		}
	}))
	return bad
}

// A field of a record.
type field struct {
	name string
	typ  *cel.Type
	doc  string
	get  func(ev *evaluation, v any) ref.Val
}

// A recordType is a type with fields.
type recordType struct {
	typ    *cel.Type
	doc    string
	fields []field
	byName map[string]field
}

func newRecord(typ *cel.Type, doc string, fields []field) *recordType {
	r := &recordType{typ, doc, fields, map[string]field{}}
	for _, f := range fields {
		r.byName[f.name] = f
	}
	return r
}

// A record is a value with fields.
type record struct {
	ev  *evaluation
	typ *cel.Type
	v   any    // comparable
	str string // in words
}

func (r record) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("%s has no native form %s", r.typ, t)
}
func (r record) ConvertToType(ref.Type) ref.Val { return types.NewErr("facts cannot be converted") }
func (r record) Type() ref.Type                 { return r.typ }
func (r record) Value() any                     { return r }
func (r record) Equal(o ref.Val) ref.Val {
	x, ok := o.(record)
	return types.Bool(ok && x.typ == r.typ && x.v == r.v)
}

// A provider knows the fields of records.
type provider struct {
	types.Provider
	records map[string]*recordType
}

// FindStructType is part of types.Provider.
func (p provider) FindStructType(name string) (*types.Type, bool) {
	if r, ok := p.records[name]; ok {
		return types.NewTypeTypeWithParam(r.typ), true
	}
	return p.Provider.FindStructType(name)
}

// FindStructFieldType is part of types.Provider.
func (p provider) FindStructFieldType(name, fieldName string) (*types.FieldType, bool) {
	r, ok := p.records[name]
	if !ok {
		return p.Provider.FindStructFieldType(name, fieldName)
	}
	f, ok := r.byName[fieldName]
	if !ok {
		return nil, false
	}
	seen := &function{name: "." + f.name}
	return &types.FieldType{
		Type:  f.typ,
		IsSet: func(any) bool { return true },
		GetFrom: func(target any) (any, error) {
			x, ok := target.(record)
			if !ok {
				return nil, fmt.Errorf("%T has no field %s", target, f.name)
			}
			out := f.get(x.ev, x.v)
			if out == nil {
				return nil, fmt.Errorf("%s has no answer", f.name)
			}
			x.ev.saw(seen, []ref.Val{x}, out)
			return out, nil
		},
	}, true
}
