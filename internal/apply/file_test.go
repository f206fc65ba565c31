package apply

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/plan"
	"github.com/leastwise/leastwise/internal/secdesc"
)

func somePlan(t *testing.T) *plan.Plan {
	t.Helper()
	object := plan.Target{GUID: secdesc.MustGUID("11111111-2222-3333-4444-555555555555"), DN: "CN=a"}
	p, err := plan.New("x.test", "", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), []plan.Change{
		{Kind: plan.DisableAccount, Object: object}, {Kind: plan.ResetPassword, Object: object},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func openFile(t *testing.T, name string) *File {
	t.Helper()
	j, err := OpenFile(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

// A journal file keeps what was added, loses only half a line, and belongs to one
// process.
func TestFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "journal")
	p := somePlan(t)
	j := openFile(t, name)
	flags := uint32(512)
	for _, e := range []Entry{
		{Event: Begun, Plan: p, Digest: p.Digest()},
		{Event: Intent, Change: 1, Server: "dc1", Facts: &plan.Facts{Flags: &flags}},
	} {
		if err := j.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := OpenFile(name); !errors.Is(err, ErrJournal) {
		t.Errorf("a second process holds it: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(name); err != nil || runtime.GOOS != "windows" && fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(whole), "\n")
	for cut := len(lines[0]); cut <= len(whole); cut++ { // every crash within the second line
		if err := os.WriteFile(name, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := OpenFile(name)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		want := 1
		if cut == len(whole) {
			want = 2
		}
		if len(j.entries) != want {
			t.Errorf("cut at %d: %d entries", cut, len(j.entries))
		}
		if err := j.Append(t.Context(), Entry{Event: Outcome, Change: 1, Result: Done}); err != nil {
			t.Fatal(err)
		}
		_ = j.Close()
		again, err := OpenFile(name)
		if err != nil {
			t.Fatalf("cut at %d and added to: %v", cut, err)
		}
		h, err := readHistory(again.entries)
		if err != nil || h.digest != p.Digest() || h.forth[0].result != Done || len(again.entries) != want+1 {
			t.Errorf("cut at %d: %+v, %v", cut, h, err)
		}
		_ = again.Close()
	}
}

// A journal that was tampered with, or is of something else, is refused and left as it
// is.
func TestFileRefused(t *testing.T) {
	p := somePlan(t)
	name := filepath.Join(t.TempDir(), "journal")
	j := openFile(t, name)
	for _, e := range []Entry{
		{Event: Begun, Plan: p, Digest: p.Digest()}, {Event: Intent, Change: 2, Facts: &plan.Facts{}}, {Event: Outcome, Change: 2, Result: Uncertain},
	} {
		if err := j.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	_ = j.Close()
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for why, change := range map[string][2]string{
		"digest":            {`disable-account`, `enable-account`},
		"no change 9":       {`"change":2`, `"change":9`},
		"no event":          {`"event":"intent"`, `"event":"whim"`},
		"without facts":     {`"facts":{}`, `"facts":null`},
		"has the number":    {`"number":2`, `"number":5`},
		"unknown field":     {`"number":2`, `"nummer":2`},
		"invalid character": {`{"number":3`, `x{"number":3`},
	} {
		text := strings.Replace(string(whole), change[0], change[1], 1)
		if text == string(whole) {
			t.Fatalf("%s is not in it", change[0])
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := OpenFile(name)
		if err == nil {
			_, err = readHistory(j.entries)
			_ = j.Close()
		}
		if !errors.Is(err, ErrJournal) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", why, err)
		}
		if now, _ := os.ReadFile(name); string(now) != text {
			t.Errorf("%s: the file was changed", why)
		}
	}
}

// What is open, final and the first intent, over all orders of events that can follow
// each other.
func TestHistory(t *testing.T) {
	p := somePlan(t)
	intent := func(server string) Entry {
		return Entry{Event: Intent, Change: 1, Server: server, Facts: &plan.Facts{}}
	}
	outcome := func(r Result) Entry { return Entry{Event: Outcome, Change: 1, Result: r} }
	cases := []struct {
		name    string
		entries []Entry
		open    bool
		final   bool
		first   string // server of the first intent
	}{
		{"nothing", nil, false, false, ""},
		{"intended", []Entry{intent("a")}, true, false, "a"},
		{"done", []Entry{intent("a"), outcome(Done)}, false, true, "a"},
		{"already", []Entry{outcome(Already)}, false, true, ""},
		{"lost", []Entry{intent("a"), outcome(Uncertain)}, true, false, "a"},
		{"lost and intended", []Entry{intent("a"), outcome(Uncertain), intent("b")}, true, false, "a"},
		{"crashed and found done", []Entry{intent("a"), outcome(Done)}, false, true, "a"},
		{"refused", []Entry{outcome(Refused)}, false, false, ""},
		{"failed, then lost", []Entry{intent("a"), outcome(Failed), intent("b"), outcome(Uncertain)}, true, false, "b"},
		{"lost, then known not done", []Entry{intent("a"), outcome(Uncertain), outcome(Refused)}, false, false, ""},
	}
	for _, c := range cases {
		list := append([]Entry{{Event: Begun, Plan: p, Digest: p.Digest()}}, c.entries...)
		for i := range list {
			list[i].Number = i + 1
		}
		h, err := readHistory(list)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		first := ""
		if f := h.forth[0].first; f != nil {
			first = f.Server
		}
		if h.forth[0].open() != c.open || h.forth[0].final() != c.final || first != c.first {
			t.Errorf("%s: open %t, final %t, first %q", c.name, h.forth[0].open(), h.forth[0].final(), first)
		}
	}
}

// An entry goes where the canonical order wants it, and nothing else moves.
func TestWithEntry(t *testing.T) {
	ace := func(s string) secdesc.ACE {
		a, err := secdesc.ParseACE(s, secdesc.SID{}, secdesc.SID{})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	const (
		deny, allow = "(D;;WD;;;S-1-5-21-1-2-3-1)", "(A;;RC;;;S-1-5-21-1-2-3-2)"
		inherited   = "(A;CIID;RP;;;S-1-5-21-1-2-3-3)"
		fresh       = "(OA;;RPWP;bf9679c0-0de6-11d0-a285-00aa003049e2;;S-1-5-21-1-2-3-4)"
		freshDeny   = "(D;;SD;;;S-1-5-21-1-2-3-4)"
	)
	cases := []struct {
		before, entry string
		there         bool
		after         string
	}{
		{deny + allow + inherited, fresh, true, deny + allow + fresh + inherited},
		{deny + allow + inherited, freshDeny, true, deny + freshDeny + allow + inherited},
		{allow, fresh, true, allow + fresh},
		{"", fresh, true, fresh},
		{inherited, freshDeny, true, freshDeny + inherited},
		{deny + fresh + allow + fresh + inherited, fresh, false, deny + allow + inherited},
		{deny + allow, fresh, false, deny + allow},
	}
	for _, c := range cases {
		sd, err := secdesc.ParseSDDL("O:S-1-5-18D:PAI"+c.before, secdesc.SID{}, secdesc.SID{})
		if err != nil {
			t.Fatal(err)
		}
		was := sd.SDDL(secdesc.SID{})
		out, err := withEntry(sd, ace(c.entry), c.there)
		if err != nil {
			t.Fatal(err)
		}
		_, got, _ := strings.Cut(out.SDDL(secdesc.SID{}), "D:PAI")
		if got != c.after || (indexOf(out, ace(c.entry)) >= 0) != c.there {
			t.Errorf("%s with %s (%t): %s", c.before, c.entry, c.there, got)
		}
		if sd.SDDL(secdesc.SID{}) != was {
			t.Error("the descriptor that was read is changed")
		}
		if err := out.Check(); err != nil {
			t.Error(err)
		}
	}
	if _, err := withEntry(&secdesc.Descriptor{Control: secdesc.DACLPresent}, ace(fresh), true); !errors.Is(err, errNoDACL) {
		t.Error(err)
	}
}

func FuzzJournal(f *testing.F) {
	f.Add([]byte("{\"number\":1,\"time\":\"2026-11-22T03:00:00Z\",\"event\":\"begun\"}\n{\"num"))
	f.Fuzz(func(t *testing.T, b []byte) {
		name := filepath.Join(t.TempDir(), "journal")
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := OpenFile(name)
		if err != nil {
			return
		}
		defer j.Close()
		if _, err := readHistory(j.entries); err != nil && !errors.Is(err, ErrJournal) {
			t.Errorf("%v is no ErrJournal", err)
		}
	})
}
