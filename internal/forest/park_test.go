package forest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
)

// wide returns a snapshot whose columns are long enough to be parked.
func wide(t *testing.T) *Snapshot {
	t.Helper()
	entries := []Entry{entry(root, "objectClass", "domainDNS")}
	for i := range 9000 {
		name := fmt.Sprintf("User %05d with a long name", i)
		e := entry("CN="+name+","+root, "objectClass", "user", "displayName", name, "pwdLastSet", fmt.Sprint(133500000000000000+i*7919*1e7))
		if i%3 == 0 {
			e.Attrs = append(e.Attrs, Values{"servicePrincipalName", [][]byte{[]byte("http/" + name), []byte("cifs/" + name)}},
				Values{"description", [][]byte{bytes.Repeat([]byte{'x'}, i%97)}})
		}
		entries = append(entries, e)
	}
	return build(t, entries...)
}

func TestParkedColumns(t *testing.T) {
	s := wide(t)
	file := fileOf(t, s)
	got, err := Read(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []Attr{DisplayName, PwdLastSet, ServicePrincipalName, Description} {
		if got.parked[a] == nil || got.cols[a] != nil {
			t.Fatalf("%s is not parked", a)
		}
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for id := range ID(got.Len()) {
				for _, a := range []Attr{DisplayName, ServicePrincipalName, Description} {
					want, _ := s.Strs(id, a)
					if have, _ := got.Strs(id, a); !slices.Equal(want, have) {
						t.Errorf("%s of %d is %q, want %q", a, id, have, want)
						return
					}
				}
				want, wst := s.Int(id, PwdLastSet)
				if have, st := got.Int(id, PwdLastSet); have != want || st != wst {
					t.Errorf("pwdLastSet of %d is %d (%v), want %d (%v)", id, have, st, want, wst)
					return
				}
			}
		})
	}
	wg.Wait()
	if !Equal(s, got) || !bytes.Equal(file, fileOf(t, got)) {
		t.Error("not equal after the round trip")
	}
}

// What is parked is checked when the file is read, and not when it is used.
func TestParkedColumnsAreChecked(t *testing.T) {
	s := wide(t)
	for _, a := range []Attr{DisplayName, PwdLastSet, ServicePrincipalName} {
		for name, change := range map[string]func([]byte) []byte{
			"cut":    func(b []byte) []byte { return b[:len(b)-1] },
			"longer": func(b []byte) []byte { return append(b, 0) },
			"ids":    func(b []byte) []byte { b[8] = 0xFF; b[9] = 0x7F; return b },
		} {
			file := forge(t, s, func(sec section) []section {
				if sec.name == secColumn+a.String() {
					sec.raw = change(slices.Clone(sec.raw))
				}
				return []section{sec}
			})
			_, err := Read(bytes.NewReader(file))
			var f *FormatError
			if !errors.As(err, &f) || f.Section != secColumn+a.String() {
				t.Errorf("%s %s: %v", a, name, err)
			}
		}
	}
}

func TestRanking(t *testing.T) {
	for _, step := range []ID{1, 2, 3, 63, 64, 65, 1000} {
		var ids []ID
		for i := range ID(500) {
			ids = append(ids, 7+i*step)
		}
		r := makeRanking(ids)
		if (r == nil) != (step > 64) {
			t.Errorf("step %d: ranking %v", step, r != nil)
		}
		for id := ID(0); id < 500*step+100; id++ {
			i, ok := find(ids, r, id)
			j, want := slices.BinarySearch(ids, id)
			if ok != want || ok && i != j {
				t.Fatalf("step %d: %d is at %d, %v; want %d, %v", step, id, i, ok, j, want)
			}
		}
	}
}
