package secdesc

import "testing"

// What is cut out of a descriptor is what Parse finds in it.
func TestAppendEntry(t *testing.T) {
	text := "O:BAG:SYD:AI(OD;;CR;00299570-246d-11d0-a768-00aa006e0529;;WD)(A;CI;GA;;;BA)(A;CIID;RPWP;;;S-1-5-21-1-2-3-1104)S:(AU;SA;WP;;;WD)"
	d, err := ParseSDDL(text, SID{}, SID{})
	if err != nil {
		t.Fatal(err)
	}
	raw := string(d.Bytes())
	for i, want := range d.DACL.ACEs {
		one, flags, ok := AppendEntry([]byte("before"), raw, i)
		if !ok || flags != want.Flags || string(one[:6]) != "before" {
			t.Fatalf("entry %d: %v, flags %v", i, ok, flags)
		}
		got, err := Parse(one[6:])
		if err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
		if got.Owner != d.Owner || got.Group != d.Group || len(got.DACL.ACEs) != 1 || !got.DACL.ACEs[0].Equal(want) {
			t.Errorf("entry %d: got %+v", i, got)
		}
	}
	for _, index := range []int{-1, 3} {
		if _, _, ok := AppendEntry(nil, raw, index); ok {
			t.Errorf("there is no entry %d", index)
		}
	}
}

// Whatever the bytes are, cutting an entry out of them does not panic, and what
// comes of a descriptor that can be parsed can be parsed, too.
func FuzzAppendEntry(f *testing.F) {
	d, err := ParseSDDL("O:BAG:SYD:(A;CI;GA;;;BA)(OA;;CR;00299570-246d-11d0-a768-00aa006e0529;;WD)", SID{}, SID{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(d.Bytes(), 1)
	f.Add([]byte("\x01\x00\x04\x80"), 0)
	f.Fuzz(func(t *testing.T, raw []byte, index int) {
		one, _, ok := AppendEntry(nil, string(raw), index)
		whole, err := Parse(raw)
		if err != nil || !ok || whole.DACL == nil || index >= len(whole.DACL.ACEs) {
			return
		}
		got, err := Parse(one)
		if err != nil || len(got.DACL.ACEs) != 1 || !got.DACL.ACEs[0].Equal(whole.DACL.ACEs[index]) {
			t.Errorf("%v: %+v of %+v", err, got, whole)
		}
	})
}
