package control

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// A shortcut is an expression of the catalogue turned into functions of Go, for
// the part of the language in which answers are yes or no and nothing is missing.
// It asks the same functions in the same order as the interpreter, so that it
// leaves the same evidence. Whatever goes beyond, an unknown, an error, a value of
// a type that it does not expect, it leaves to the interpreter, whose answer is
// the one that counts. A large forest evaluates some million expressions, and most
// of them are as simple as this.
type shortcut struct {
	root value
	vars int // variables of the expression
}

// A value computes a part of an expression; nil if the interpreter must.
type value func(ev *evaluation) ref.Val

// try evaluates the shortcut. If ok is false, ev is as it was.
func (s *shortcut) try(ev *evaluation) (holds, ok bool) {
	before := ev.mark()
	for len(ev.vars) < s.vars {
		ev.vars = append(ev.vars, nil)
	}
	if b, isBool := s.root(ev).(types.Bool); isBool {
		return bool(b), true
	}
	ev.rewind(before)
	return false, false
}

// A mark is how far an evaluation has come.
type mark struct {
	facts, missing, scopes, offenders int
	through                           string
	searched                          *Evidence
}

func (ev *evaluation) mark() mark {
	return mark{len(ev.facts), len(ev.missing), len(ev.scopes), len(ev.offenders), ev.through, ev.searched}
}

func (ev *evaluation) rewind(m mark) {
	ev.facts, ev.missing = ev.facts[:m.facts], ev.missing[:m.missing]
	ev.scopes, ev.offenders = ev.scopes[:m.scopes], ev.offenders[:m.offenders]
	ev.through, ev.searched = m.through, m.searched
	ev.args = ev.args[:0]
}

// newShortcut turns a checked expression into a shortcut; nil if the expression
// has parts that only the interpreter knows.
func newShortcut(checked *cel.Ast, methods map[string]method) *shortcut {
	b := shortcutBuilder{ast: checked.NativeRep(), methods: methods}
	if root := b.value(b.ast.Expr()); root != nil {
		return &shortcut{root, b.most}
	}
	return nil
}

// A shortcutBuilder turns the parts of one expression into values. Its methods
// return nil for what they do not know.
type shortcutBuilder struct {
	ast     *ast.AST
	methods map[string]method // by overload
	scope   []string          // names of variables, by index
	most    int               // largest length of scope
}

func (b *shortcutBuilder) value(e ast.Expr) value {
	switch e.Kind() {
	case ast.LiteralKind:
		v := e.AsLiteral()
		return func(*evaluation) ref.Val { return v }
	case ast.ListKind:
		return b.list(e)
	case ast.IdentKind:
		return b.ident(e.AsIdent())
	case ast.SelectKind:
		return option(e.AsSelect())
	case ast.CallKind:
		return b.call(e)
	case ast.ComprehensionKind:
		return b.comprehension(e.AsComprehension())
	}
	return nil
}

// list takes a list of literals.
func (b *shortcutBuilder) list(e ast.Expr) value {
	var elems []ref.Val
	for _, x := range e.AsList().Elements() {
		if x.Kind() != ast.LiteralKind || len(e.AsList().OptionalIndices()) > 0 {
			return nil
		}
		elems = append(elems, x.AsLiteral())
	}
	v := types.NewRefValList(types.DefaultTypeAdapter, elems)
	return func(*evaluation) ref.Val { return v }
}

func (b *shortcutBuilder) ident(name string) value {
	for i := len(b.scope) - 1; i >= 0; i-- {
		if b.scope[i] == name {
			return func(ev *evaluation) ref.Val { return ev.vars[i] }
		}
	}
	switch name {
	case "subject":
		return func(ev *evaluation) ref.Val { return ev.subject }
	case "principal":
		return func(ev *evaluation) ref.Val { return ev.principal }
	case "forest":
		return func(ev *evaluation) ref.Val { return forestVal{base{ev}} }
	}
	return nil
}

// option takes options.NAME.
func option(e ast.SelectExpr) value {
	if e.IsTestOnly() || e.Operand().Kind() != ast.IdentKind || e.Operand().AsIdent() != "options" {
		return nil
	}
	name := e.FieldName()
	return func(ev *evaluation) ref.Val { return ev.w.optionVals[name] }
}

func (b *shortcutBuilder) call(e ast.Expr) value {
	c := e.AsCall()
	info := b.ast.ReferenceMap()[e.ID()]
	if info == nil || len(info.OverloadIDs) == 0 {
		return nil
	}
	exprs := c.Args()
	if c.IsMemberFunction() {
		exprs = append([]ast.Expr{c.Target()}, exprs...)
	}
	m, own := b.methods[info.OverloadIDs[0]]
	args := make([]value, len(exprs))
	for i, x := range exprs {
		if own && i > 0 && x.Kind() == ast.LiteralKind {
			v := resolved(x.AsLiteral())
			args[i] = func(*evaluation) ref.Val { return v }
		} else if args[i] = b.value(x); args[i] == nil {
			return nil
		}
	}
	if own && len(info.OverloadIDs) == 1 {
		return invocation(m.call, args)
	}
	return operation(c.FunctionName(), args)
}

// resolved returns an argument with what it names looked up.
func resolved(v ref.Val) ref.Val {
	if text, ok := v.(types.String); ok {
		return newLiteral(text)
	}
	return v
}

// invocation calls a function with its arguments, which it must not keep.
func invocation(call func([]ref.Val) ref.Val, args []value) value {
	return func(ev *evaluation) ref.Val {
		from := len(ev.args)
		for _, arg := range args {
			v := arg(ev)
			if v == nil {
				return nil
			}
			ev.args = append(ev.args, v)
		}
		v := call(ev.args[from:len(ev.args):len(ev.args)])
		ev.args = ev.args[:from]
		if types.IsUnknownOrError(v) {
			return nil
		}
		return v
	}
}

// operation is an operator of the language, or one of the functions that the
// macros expand to.
func operation(name string, args []value) value {
	switch name {
	case operators.LogicalAnd:
		return junction(args, types.False)
	case operators.LogicalOr:
		return junction(args, types.True)
	case operators.LogicalNot:
		return func(ev *evaluation) ref.Val {
			if b, ok := args[0](ev).(types.Bool); ok {
				return !b
			}
			return nil
		}
	case operators.NotStrictlyFalse: // of a boolean: that boolean
		return args[0]
	case operators.Conditional:
		return func(ev *evaluation) ref.Val {
			switch args[0](ev) {
			case types.True:
				return args[1](ev)
			case types.False:
				return args[2](ev)
			}
			return nil
		}
	case enterFunc:
		return invocation(func(args []ref.Val) ref.Val { return enter(args[0], args[1]) }, args)
	case leaveFunc:
		return invocation(func(args []ref.Val) ref.Val { return leave(args...) }, args)
	case operators.Add, operators.Subtract:
		return arithmetic(name, args)
	}
	if f, ok := comparisons[name]; ok {
		return comparison(f, args)
	}
	return nil
}

// junction joins booleans, left to right; end is the one that decides alone.
func junction(args []value, end types.Bool) value {
	return func(ev *evaluation) ref.Val {
		for _, arg := range args {
			b, ok := arg(ev).(types.Bool)
			if !ok {
				return nil
			}
			if b == end {
				return end
			}
		}
		return !end
	}
}

// arithmetic adds and subtracts integers; an overflow is the interpreter's.
func arithmetic(name string, args []value) value {
	return func(ev *evaluation) ref.Val {
		x, ok := args[0](ev).(types.Int)
		if !ok {
			return nil
		}
		y, ok := args[1](ev).(types.Int)
		if !ok {
			return nil
		}
		var v ref.Val
		if name == operators.Add {
			v = x.Add(y)
		} else {
			v = x.Subtract(y)
		}
		if types.IsError(v) {
			return nil
		}
		return v
	}
}

// comparisons say which results of comparing two values an operator accepts.
var comparisons = map[string]func(types.Int) bool{
	operators.Equals:        func(c types.Int) bool { return c == 0 },
	operators.NotEquals:     func(c types.Int) bool { return c != 0 },
	operators.Less:          func(c types.Int) bool { return c < 0 },
	operators.LessEquals:    func(c types.Int) bool { return c <= 0 },
	operators.Greater:       func(c types.Int) bool { return c > 0 },
	operators.GreaterEquals: func(c types.Int) bool { return c >= 0 },
}

// comparison compares two integers, texts or booleans.
func comparison(accept func(types.Int) bool, args []value) value {
	return func(ev *evaluation) ref.Val {
		x := args[0](ev)
		if x == nil {
			return nil
		}
		y := args[1](ev)
		switch x.(type) {
		case types.Int, types.String, types.Bool:
		default:
			return nil
		}
		if y == nil || x.Type() != y.Type() {
			return nil
		}
		if c, ok := x.(traits.Comparer).Compare(y).(types.Int); ok {
			return types.Bool(accept(c))
		}
		return nil
	}
}

// comprehension takes what all, exists, exists_one and every expand to.
func (b *shortcutBuilder) comprehension(c ast.ComprehensionExpr) value {
	if c.HasIterVar2() || c.AccuInit().Kind() != ast.LiteralKind {
		return nil
	}
	over, init, at := b.value(c.IterRange()), c.AccuInit().AsLiteral(), len(b.scope)
	b.scope = append(b.scope, c.IterVar(), c.AccuVar())
	b.most = max(b.most, len(b.scope))
	goOn, step, result := b.value(c.LoopCondition()), b.value(c.LoopStep()), b.value(c.Result())
	b.scope = b.scope[:at]
	if over == nil || goOn == nil || step == nil || result == nil {
		return nil
	}
	return func(ev *evaluation) ref.Val {
		list, ok := over(ev).(traits.Lister)
		if !ok {
			return nil
		}
		n := list.Size().(types.Int)
		ev.vars[at+1] = init
		for i := types.Int(0); i < n; i++ {
			more := goOn(ev)
			if more == types.False {
				break
			}
			if more != types.True {
				return nil
			}
			ev.vars[at] = list.Get(i)
			if ev.vars[at+1] = step(ev); ev.vars[at+1] == nil {
				return nil
			}
		}
		return result(ev)
	}
}
