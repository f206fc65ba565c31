package secdesc_test

import (
	"testing"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// TestReader reads long and short descriptors in turn: nothing of one is left in the
// next, and each is what ParseString makes of it.
func TestReader(t *testing.T) {
	var r secdesc.Reader
	for _, sddl := range []string{
		"O:BAG:BAD:PAI(OD;CIID;WP;bf9679c0-0de6-11d0-a285-00aa003049e2;bf967aba-0de6-11d0-a285-00aa003049e2;WD)(A;;GA;;;SY)(A;;RP;;;AU)S:(AU;SA;WP;;;WD)",
		"O:SYD:(A;;WD;;;BA)",
		"G:BAD:",
		"O:BA",
		"O:BAD:(A;CI;GA;;;DA)(D;;WO;;;WD)(A;;RC;;;BU)(A;;RC;;;BG)",
	} {
		d, err := secdesc.ParseSDDL(sddl, secdesc.MustSID("S-1-5-21-1-2-3"), secdesc.MustSID("S-1-5-21-1-2-3"))
		if err != nil {
			t.Fatal(err)
		}
		b := d.Bytes()
		want, err := secdesc.ParseString(string(b))
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.Read(string(b))
		if err != nil {
			t.Fatal(err)
		}
		if !got.Equal(want) || string(got.Bytes()) != string(b) {
			t.Errorf("%s: read as %s", sddl, got.SDDL(secdesc.MustSID("S-1-5-21-1-2-3")))
		}
		if _, err := r.Read(string(b[:len(b)-1])); err == nil {
			t.Errorf("%s: cut short, and read", sddl)
		}
	}
}
