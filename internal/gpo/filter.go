package gpo

import (
	"cmp"
	"fmt"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// The right and the class that security filtering looks at.
var (
	applyGroupPolicy = secdesc.MustGUID("edacfd8f-ffb3-11d1-b41d-00a0c968f939")
	classGPC         = secdesc.MustGUID("f30e3bc2-9ff0-11d1-b603-0000f80367c1")
)

// filter is the security filter of a policy ([MS-GPOL] 3.2.5.1.6): what its
// descriptor says about Read and Apply-Group-Policy, in the order of the list.
type filter struct {
	everyone bool // NULL DACL
	steps    []filterStep
}

// filterStep is an entry of the DACL that grants or denies Read or Apply.
type filterStep struct {
	index       int // in the DACL
	sid         secdesc.SID
	deny        bool
	read, apply bool
	conditional bool // callback entry: its condition is not evaluated
}

// newFilter picks out the entries of d that count. One that is not for heirs alone
// counts whatever class of heirs it names ([MS-DTYP] 2.5.3.2).
func newFilter(d *secdesc.Descriptor) *filter {
	if d.DACL == nil {
		return &filter{everyone: true}
	}
	f := &filter{}
	for i, a := range d.DACL.ACEs {
		if !a.Type.IsAllow() && !a.Type.IsDeny() || a.Flags.Has(secdesc.InheritOnly) {
			continue
		}
		m := a.Mask.MapGeneric()
		whole := a.ObjectType.IsZero() || a.ObjectType == classGPC
		s := filterStep{index: i, sid: a.SID, deny: a.Type.IsDeny(), conditional: a.Type.IsCallback()}
		s.read = m&secdesc.ReadProperty != 0 && whole
		s.apply = m&secdesc.ControlAccess != 0 && (whole || a.ObjectType == applyGroupPolicy)
		if s.read || s.apply {
			f.steps = append(f.steps, s)
		}
	}
	return f
}

// verdict is the outcome of a filter for one token.
type verdict struct {
	pass   Truth
	reason Reason
	ace    int // index in the DACL of the entry that denied, or -1
	sid    secdesc.SID
	text   string // why it is unknown
}

// A membership tells whether a token holds a SID; why says why it is Unknown.
type membership func(secdesc.SID) (in Truth, why string)

// decide walks the DACL for a token: for each of Read and Apply-Group-Policy the
// first entry that matches decides ([MS-ADTS] 5.1.3.3). Entries of which it is
// unknown whether they count are taken both ways.
func (f *filter) decide(holds membership) verdict {
	worst, unsure := f.walk(holds, false)
	if unsure == "" {
		return worst
	}
	best, _ := f.walk(holds, true)
	if best.pass == worst.pass {
		return best
	}
	return verdict{pass: Unknown, ace: -1, text: unsure}
}

// walk decides with every unsure entry turning out for the computer (hopeful) or
// against it; unsure says what the first of them depends on.
func (f *filter) walk(holds membership, hopeful bool) (v verdict, unsure string) {
	if f.everyone {
		return verdict{pass: Yes, ace: -1}, ""
	}
	read, apply := false, false
	for _, s := range f.steps {
		in, why := holds(s.sid)
		if in == No || !(s.read && !read || s.apply && !apply) {
			continue
		}
		if s.conditional {
			in, why = Unknown, fmt.Sprintf("entry %d of its descriptor has a condition", s.index)
		}
		if in == Unknown {
			unsure = cmp.Or(unsure, why)
			if s.deny == hopeful {
				continue
			}
		}
		if s.deny {
			return verdict{pass: No, reason: FilteredDenied, ace: s.index, sid: s.sid}, unsure
		}
		read, apply = read || s.read, apply || s.apply
	}
	switch {
	case !apply:
		return verdict{pass: No, reason: FilteredNoApply, ace: -1}, unsure
	case !read:
		return verdict{pass: No, reason: FilteredNoRead, ace: -1}, unsure
	}
	return verdict{pass: Yes, ace: -1}, unsure
}

// sids lists the trustees of the filter.
func (f *filter) sids() []secdesc.SID {
	out := make([]secdesc.SID, 0, len(f.steps))
	for _, s := range f.steps {
		out = append(out, s.sid)
	}
	return out
}

// entry is a link of a scope with what is known about it so far.
type entry struct {
	policy   *Policy // nil: whatever an unreadable container links
	link     Link
	when     []string
	rejected *Rejected
}
