package control

import "testing"

func TestBuiltinCatalogue(t *testing.T) {
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(c.Entries()); n < 130 {
		t.Errorf("built-in catalogue has %d controls, want at least 130", n)
	}
	for _, e := range c.Entries() {
		t.Log(e.ID, e.Select, e.Title)
	}
}
