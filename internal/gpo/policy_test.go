package gpo

import (
	"testing"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// A policy of which only the common name is known is named once.
func TestPolicyString(t *testing.T) {
	t.Parallel()
	const text = "31B2F340-016D-11D2-945F-00C04FB984F9"
	guid, err := secdesc.ParseGUID(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, want string }{
		{"Default Domain Policy", "Default Domain Policy {" + text + "}"},
		{"{" + text + "}", "{" + text + "}"},
		{"{31b2f340-016d-11d2-945f-00c04fb984f9}", "{31b2f340-016d-11d2-945f-00c04fb984f9}"},
		{"{6AC1786C-016F-11D2-945F-00C04FB984F9}", "{6AC1786C-016F-11D2-945F-00C04FB984F9} {" + text + "}"},
	} {
		if got := (&Policy{Name: tt.name, GUID: guid}).String(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
	if got := (&Policy{Name: "no GUID"}).String(); got != "no GUID" {
		t.Errorf("got %q", got)
	}
}
