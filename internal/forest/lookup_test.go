package forest

import (
	"fmt"
	"testing"
)

// TestLookupWithoutIndex asks for every name while few have been asked for, when there is
// no index, and afterwards: names below containers that were not read, below those whose
// name begins another's, and of other partitions are found either way, and no others.
func TestLookupWithoutIndex(t *testing.T) {
	b := newTestBuilder()
	names := []string{
		"DC=a", "CN=Configuration,DC=a", "DC=child,DC=a", "CN=x,DC=child,DC=a", "OU=u,DC=a", "OU=u2,DC=a", "OU=u,OU=u,DC=a",
		"CN=y,OU=unread,DC=a", "CN=z,CN=y,OU=unread,DC=a", "CN=y,OU=unread,OU=u,DC=a", "DC=b", "CN=q,OU=gone,DC=c", `CN=M\, N,OU=u2,DC=a`,
	}
	for i := range 40 {
		names = append(names, fmt.Sprintf("CN=n%d,OU=u,DC=a", i))
	}
	for _, dn := range names {
		mustAdd(t, b, entry(dn, "objectClass", "top"))
	}
	s := mustBuild(t, b)
	check := func(how string) {
		t.Helper()
		for _, dn := range names {
			if id := s.Lookup(dn); id == None || s.DN(id) != dn {
				t.Errorf("%s: %s is object %d", how, dn, id)
			}
		}
		for _, dn := range []string{"OU=unread,DC=a", "CN=n4", "CN=n40,OU=u,DC=a", "OU=gone,DC=c", "DC=c", "CN=z,OU=unread,DC=a", "OU=u,DC=b"} {
			if id := s.Lookup(dn); id != None {
				t.Errorf("%s: there is no %s, but it is object %d", how, dn, id)
			}
		}
	}
	s.looks.Store(1 << 20)
	check("step by step")
	if s.looks.Load() == 1<<20 {
		t.Error("nothing was looked for step by step")
	}
	s.looks.Store(3)
	if id := s.Lookup("CN=n39,OU=u,DC=a"); id == None {
		t.Error("not found where steps run out on the way")
	}
	s.looks.Store(0)
	check("by the index")
}
