package judge

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// A list is a list of which some elements may not be known: it iterates over those
// that are, and over the gap as one element that is unknown.
type list struct {
	known []ref.Val
	gap   *types.Unknown // nil: the list is complete
}

var (
	_ traits.Lister   = (*list)(nil)
	_ traits.Foldable = (*list)(nil)
)

// lst makes a list; gap is nil or unknown.
func lst(known []ref.Val, gap ref.Val) *list {
	u, _ := gap.(*types.Unknown)
	return &list{known, u}
}

// Add is part of traits.Lister, as are those that follow.
func (l *list) Add(o ref.Val) ref.Val {
	known, gap := elements(o)
	return &list{append(append([]ref.Val{}, l.known...), known...), merge(l.gap, gap)}
}

// Contains tells whether an element is in the list.
func (l *list) Contains(v ref.Val) ref.Val { return isIn(v, l) }

// Get returns an element that is known.
func (l *list) Get(i ref.Val) ref.Val {
	n, ok := i.(types.Int)
	if !ok || n < 0 || int(n) >= len(l.known) {
		return types.NewErr("no element %v", i)
	}
	return l.known[n]
}

// Size counts the known elements and the gap; conditions cannot ask for it.
func (l *list) Size() ref.Val {
	if l.gap != nil {
		return types.Int(len(l.known) + 1)
	}
	return types.Int(len(l.known))
}

// Fold goes over the known elements and then the gap, as macros do.
func (l *list) Fold(f traits.Folder) {
	for i, v := range l.known {
		if !f.FoldEntry(types.Int(i), v) {
			return
		}
	}
	if l.gap != nil {
		f.FoldEntry(types.Int(len(l.known)), l.gap)
	}
}

// Iterator goes over the known elements and then the gap.
func (l *list) Iterator() traits.Iterator { return &iterator{l: l} }

// ConvertToNative refuses.
func (l *list) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("a list of facts has no native form %s", t)
}

// ConvertToType refuses.
func (l *list) ConvertToType(ref.Type) ref.Val { return types.NewErr("facts cannot be converted") }

// Equal compares as sets.
func (l *list) Equal(o ref.Val) ref.Val { return setEqual(l, o) }

// Type is list.
func (l *list) Type() ref.Type { return types.ListType }

// Value returns the list itself.
func (l *list) Value() any { return l }

func (l *list) text() string { return listText(l.known, l.gap) }

func listText(known []ref.Val, gap *types.Unknown) string {
	const most = 10
	var b strings.Builder
	b.WriteByte('[')
	for i, x := range known {
		if i > 0 {
			b.WriteString(", ")
		}
		if i == most {
			fmt.Fprintf(&b, "%d more", len(known)-most)
			break
		}
		b.WriteString(textOf(x))
	}
	if gap != nil {
		if len(known) > 0 {
			b.WriteString(", ")
		}
		b.WriteString("perhaps more")
	}
	return b.String() + "]"
}

type iterator struct {
	l *list
	i int
}

// HasNext is part of traits.Iterator.
func (it *iterator) HasNext() ref.Val {
	return types.Bool(it.i < len(it.l.known) || it.i == len(it.l.known) && it.l.gap != nil)
}

// Next is part of traits.Iterator.
func (it *iterator) Next() ref.Val {
	it.i++
	if it.i <= len(it.l.known) {
		return it.l.known[it.i-1]
	}
	return it.l.gap
}

// ConvertToNative is part of ref.Val, as are the next four.
func (it *iterator) ConvertToNative(reflect.Type) (any, error) {
	return nil, fmt.Errorf("an iterator has no native form")
}

// ConvertToType refuses.
func (it *iterator) ConvertToType(ref.Type) ref.Val { return types.NewErr("not convertible") }

// Equal is identity.
func (it *iterator) Equal(o ref.Val) ref.Val { return types.Bool(o == ref.Val(it)) }

// Type is that of iterators.
func (it *iterator) Type() ref.Type { return types.IteratorType }

// Value returns the iterator itself.
func (it *iterator) Value() any { return it }

// elements takes a list apart.
func elements(v ref.Val) (known []ref.Val, gap *types.Unknown) {
	switch l := v.(type) {
	case *list:
		return l.known, l.gap
	case traits.Lister:
		for it := l.Iterator(); it.HasNext() == types.True; {
			switch x := it.Next().(type) {
			case *types.Unknown:
				gap = merge(gap, x)
			default:
				known = append(known, x)
			}
		}
	}
	return known, gap
}

// merge joins what is unknown; both may be nil.
func merge(a, b *types.Unknown) *types.Unknown {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return types.MergeUnknowns(a, b)
}

// orUnknown is u if it is unknown, else v.
func orUnknown(u *types.Unknown, v ref.Val) ref.Val {
	if u != nil {
		return u
	}
	return v
}

// isIn tells whether x is in a list: true if a known element equals it, unknown if one
// may, or if the list has a gap.
func isIn(x, of ref.Val) ref.Val {
	known, gap := elements(of)
	maybe := gap
	for _, y := range known {
		switch eq := x.Equal(y).(type) {
		case types.Bool:
			if eq {
				if h, ok := y.(*host); ok && h.doubt != nil {
					maybe = merge(maybe, h.doubt)
					continue
				}
				return types.True
			}
		case *types.Unknown:
			maybe = merge(maybe, eq)
		}
	}
	return orUnknown(maybe, types.False)
}

// isSubset tells whether every element of a is in b, and which surely are not.
func isSubset(a, b ref.Val) (v ref.Val, outside []ref.Val) {
	known, gap := elements(a)
	maybe := gap
	for _, x := range known {
		switch in := isIn(x, b).(type) {
		case types.Bool:
			if in {
				continue
			}
			if h, ok := x.(*host); ok && h.doubt != nil {
				maybe = merge(maybe, h.doubt)
				continue
			}
			outside = append(outside, x)
		case *types.Unknown:
			maybe = merge(maybe, in)
		}
	}
	if len(outside) > 0 {
		return types.False, outside
	}
	return orUnknown(maybe, types.True), nil
}

func setEqual(a, b ref.Val) ref.Val {
	x, _ := isSubset(a, b)
	y, _ := isSubset(b, a)
	return and(x, y)
}

// and is the conjunction of three-valued values.
func and(x, y ref.Val) ref.Val {
	if x == types.False || y == types.False {
		return types.False
	}
	return either(x, y, types.True)
}

// or is the disjunction of three-valued values.
func or(x, y ref.Val) ref.Val {
	if x == types.True || y == types.True {
		return types.True
	}
	return either(x, y, types.False)
}

func either(x, y, sure ref.Val) ref.Val {
	a, _ := x.(*types.Unknown)
	b, _ := y.(*types.Unknown)
	return orUnknown(merge(a, b), sure)
}

// not is the negation of a three-valued value.
func not(x ref.Val) ref.Val {
	if b, ok := x.(types.Bool); ok {
		return !b
	}
	return x
}

func isUnknown(v ref.Val) bool {
	_, ok := v.(*types.Unknown)
	return ok
}

func texts(s []string) []ref.Val {
	out := make([]ref.Val, len(s))
	for i, x := range s {
		out[i] = types.String(x)
	}
	return out
}

func textsOf(v ref.Val) []string {
	known, _ := elements(v)
	var out []string
	for _, x := range known {
		if s, ok := x.(types.String); ok {
			out = append(out, string(s))
		}
	}
	return out
}

func timestamp(t time.Time) ref.Val { return types.Timestamp{Time: t.UTC()} }

func str(v ref.Val) string {
	s, _ := v.(types.String)
	return string(s)
}

// A variable of conditions.
type variable struct {
	name string
	typ  *cel.Type
	doc  string
	get  func(ev *evaluation) ref.Val
}
