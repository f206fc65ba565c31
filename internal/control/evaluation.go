package control

import (
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"

	"github.com/leastwise/leastwise/internal/forest"
)

// An evaluation is the state of deciding one control for one subject: what was
// looked at, what was missing, which elements failed. It is reused for the next
// subject and belongs to one goroutine.
type evaluation struct {
	w         *world
	subject   ref.Val
	principal ref.Val
	facts     []fact
	missing   []missing
	scopes    []scope
	offenders []offender
	through   string    // what a deny right covers the principal through
	searched  *Evidence // a list in which nothing may have been found; evidence if there is no other

	vars []ref.Val // variables of a shortcut
	args []ref.Val // arguments of the functions that a shortcut is calling, innermost last
}

// missing is evidence that a function could not get.
type missing struct{ key, text string }

type scope struct {
	facts   int
	element ref.Val
}

// A fact is something that was looked at, kept small: it is put into words only
// if a finding needs it.
type fact struct {
	kind  factKind
	id    forest.ID
	other forest.ID
	attr  forest.Attr
	index int
	list  string
	ready *Evidence // textual facts
}

type factKind uint8

const (
	attrFact factKind = iota
	memberFact
	directFact
	aceFact
	readyFact
)

var _ interpreter.Activation = (*evaluation)(nil)

// ResolveName gives expressions their variables.
func (ev *evaluation) ResolveName(name string) (any, bool) {
	switch name {
	case "subject":
		return ev.subject, true
	case "forest":
		return forestVal{base{ev}}, true
	case "options":
		return ev.w.optionsVal, true
	case "principal":
		return ev.principal, ev.principal != nil
	}
	return nil, false
}

// Parent is part of interpreter.Activation.
func (ev *evaluation) Parent() interpreter.Activation { return nil }

func (ev *evaluation) reset(subject, principal ref.Val) {
	ev.subject, ev.principal = subject, principal
	ev.facts, ev.missing = ev.facts[:0], ev.missing[:0]
	ev.scopes, ev.offenders = ev.scopes[:0], ev.offenders[:0]
	ev.through, ev.searched = "", nil
}

// unknown is the value of a question that cannot be answered.
func (ev *evaluation) unknown(key, text string) ref.Val {
	ev.missing = append(ev.missing, missing{key, text})
	return types.NewUnknown(int64(len(ev.missing)), types.NewAttributeTrail(key))
}

func (ev *evaluation) object(id forest.ID) object {
	return object{base: base{ev}, id: id, group: forest.None}
}

// run evaluates an expression. Anything but a boolean or an unknown is an error in
// the catalogue.
func (ev *evaluation) run(x *expression) (out Outcome, lacks []missing, err error) {
	if x.shortcut != nil {
		if holds, ok := x.shortcut.try(ev); ok {
			return outcomeOf(holds), nil, nil
		}
	}
	v, _, err := x.program.Eval(ev)
	if u, ok := v.(*types.Unknown); ok {
		for _, id := range u.IDs() {
			if id > 0 && id <= int64(len(ev.missing)) {
				lacks = append(lacks, ev.missing[id-1])
			}
		}
		return Unknown, lacks, nil
	}
	if err != nil {
		return "", nil, err
	}
	return outcomeOf(v == types.True), nil, nil
}

func outcomeOf(holds bool) Outcome {
	if holds {
		return Pass
	}
	return Fail
}
