package dc

import (
	"context"
	"encoding/hex"
	"fmt"
)

// complete fetches the values that the server held back ([MS-ADTS]
// 3.1.1.3.1.3.3): the first range came with the entry, the others are asked for
// on a second connection while the search goes on.
func (s *search) complete(ctx context.Context, e *Entry) error {
	completed := false
	for i := range e.Attributes {
		a := &e.Attributes[i]
		base, first, last, ok := rangeOption(a.Name)
		if !ok {
			continue
		}
		if first != 0 {
			return s.rangeError(e, base, fmt.Sprintf("the first range begins at %d", first))
		}
		a.Name, completed = base, true
		for last >= 0 {
			if len(a.Values) != last+1 {
				return s.rangeError(e, base, fmt.Sprintf("%d values in range 0-%d", len(a.Values), last))
			}
			values, end, err := s.nextRange(ctx, e, base, last+1)
			if err != nil {
				return err
			}
			a.Values = append(a.Values, values...)
			last = end
		}
	}
	if completed {
		e.dropEmptyTwins()
	}
	return nil
}

// dropEmptyTwins removes the empty attribute that Windows sends beside the first
// range of the same one.
func (e *Entry) dropEmptyTwins() {
	kept := e.Attributes[:0]
	for _, a := range e.Attributes {
		if len(a.Values) > 0 || len(e.Values(a.Name)) == 0 {
			kept = append(kept, a)
		}
	}
	e.Attributes = kept
}

// nextRange reads the values from first on; last is -1 if they are the rest.
func (s *search) nextRange(ctx context.Context, e *Entry, name string, first int) (values [][]byte, last int, err error) {
	if s.ranges == nil {
		if s.ranges, err = s.r.acquire(ctx); err != nil {
			return nil, 0, err
		}
		if s.ranges.server != s.res.Server {
			return nil, 0, s.rangeError(e, name, "the domain controller in use has changed meanwhile")
		}
	}
	q := Request{Base: e.DN, Attributes: []string{fmt.Sprintf("%s;range=%d-*", name, first)}}
	// The object may be renamed during the scan: its GUID stays.
	if id := e.Values("objectGUID"); len(id) == 1 {
		q.Base = "<GUID=" + hex.EncodeToString(id[0]) + ">"
	}
	entries, r, err := s.ranges.lookup(ctx, q, s.controls())
	if err != nil {
		return nil, 0, err
	}
	if r.code != resultSuccess {
		return nil, 0, resultError(fmt.Sprintf("reading %s of %q from value %d", name, e.DN, first), s.res.Server.String(), r)
	}
	if len(entries) != 1 {
		return nil, 0, s.rangeError(e, name, fmt.Sprintf("%d entries", len(entries)))
	}
	for _, a := range entries[0].Attributes {
		base, from, to, ok := rangeOption(a.Name)
		if !ok || base != name {
			continue
		}
		if from != first || len(a.Values) == 0 || to >= 0 && to != from+len(a.Values)-1 {
			return nil, 0, s.rangeError(e, name, fmt.Sprintf("asked for values from %d, got %d values as %s", first, len(a.Values), a.Name))
		}
		return a.Values, to, nil
	}
	return nil, 0, s.rangeError(e, name, fmt.Sprintf("the server returns no values from %d on: the attribute has changed meanwhile", first))
}

func (s *search) rangeError(e *Entry, name, what string) error {
	return &Error{Kind: ErrTruncated, Op: fmt.Sprintf("reading %s of %q", name, e.DN), Server: s.res.Server.String(), Detail: what}
}
