package audit_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/secdesc"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 123456000, time.UTC)

// full has a value in every field.
func full() audit.Entry {
	return audit.Entry{
		Index: 18, Time: noon, Late: true, Phase: audit.Outcome, Action: "membership.add",
		Actor: audit.Actor{
			Name: `CONTOSO\jürgen`, SID: secdesc.MustSID("S-1-5-21-1-2-3-1104"), Method: audit.Kerberos,
			Factor: audit.WebAuthn, Session: "7f3a", From: "[2001:db8::1]:51002",
		},
		Request: "req-01", Answers: 17, Result: audit.Unknown,
		Target: secdesc.MustGUID("11111111-2222-3333-4444-555555555555"), TargetName: "CN=Domain Admins,CN=Users,DC=contoso,DC=com",
		Subject: secdesc.MustGUID("66666666-7777-8888-9999-aaaaaaaaaaaa"), SubjectName: "CN=Ann,DC=contoso,DC=com",
		Record: "grant/42", Generation: 3, Until: noon.Add(time.Hour), Server: "dc1.contoso.com",
		Digest: [32]byte{1, 2, 3}, Reason: "the answer was lost\n\x1b[2J\u202e",
	}
}

// fullText is full as docs/FORMATS.md describes it. It never changes: logs of
// version 1 exist.
const fullText = `leastwise-audit-entry 1
index 18
time 2026-11-22T12:00:00.123456Z
late yes
phase outcome
action membership.add
actor "CONTOSO\\j\u00fcrgen"
actor-sid S-1-5-21-1-2-3-1104
method kerberos
factor webauthn
session 7f3a
from [2001:db8::1]:51002
request req-01
answers 17
result unknown
target 11111111-2222-3333-4444-555555555555
target-name "CN=Domain Admins,CN=Users,DC=contoso,DC=com"
subject 66666666-7777-8888-9999-aaaaaaaaaaaa
subject-name "CN=Ann,DC=contoso,DC=com"
record grant/42
generation 3
until 2026-11-22T13:00:00.123456Z
server dc1.contoso.com
digest 0102030000000000000000000000000000000000000000000000000000000000
reason "the answer was lost\n\x1b[2J\u202e"
`

func TestEncodingOfVersion1NeverChanges(t *testing.T) {
	got, err := audit.Encode(full())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fullText, string(got)); diff != "" {
		t.Error(diff)
	}
	e, err := audit.Decode([]byte(fullText))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(full(), e, cmp.Comparer(func(a, b secdesc.SID) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	formats, err := os.ReadFile("../../docs/FORMATS.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(fullText) {
		key, _, _ := strings.Cut(line, " ")
		if !strings.Contains(string(formats), "`"+key+"`") && key != "leastwise-audit-entry" {
			t.Errorf("docs/FORMATS.md does not describe %s", key)
		}
	}
}

// Exactly one sequence of bytes stands for an entry, so that nobody can put other
// bytes in its place that read the same.
func TestDecodeRefusesWhatEncodeDoesNotWrite(t *testing.T) {
	change := func(from, to string) string {
		if !strings.Contains(fullText, from) {
			t.Fatalf("no %q to change", from)
		}
		return strings.Replace(fullText, from, to, 1)
	}
	for name, text := range map[string]string{
		"empty":                 "",
		"not an entry":          "hello\n",
		"no last line feed":     strings.TrimSuffix(fullText, "\n"),
		"empty line":            change("phase", "\nphase"),
		"order":                 change("late yes\nphase outcome\n", "phase outcome\nlate yes\n"),
		"repeated":              change("late yes\n", "late yes\nlate yes\n"),
		"unknown field":         change("late yes\n", "late yes\nlater yes\n"),
		"leading zero":          change("index 18", "index 018"),
		"plus sign":             change("index 18", "index +18"),
		"negative":              change("index 18", "index -18"),
		"zone":                  change("456Z\nlate", "456+00:00\nlate"),
		"fewer digits":          change("123456Z\nlate", "123Z\nlate"),
		"late no":               change("late yes", "late no"),
		"two spaces":            change("late yes", "late  yes"),
		"trailing space":        change("late yes", "late yes "),
		"unescaped":             change(`\u00fc`, "ü"),
		"other escape":          change(`\n`, `\x0a`),
		"raw string":            change(`"CN=Ann,DC=contoso,DC=com"`, "`CN=Ann,DC=contoso,DC=com`"),
		"upper-case GUID":       change("aaaaaaaaaaaa", "AAAAAAAAAAAA"),
		"GUID in braces":        change("11111111-2222-3333-4444-555555555555", "{11111111-2222-3333-4444-555555555555}"),
		"zero GUID":             change("11111111-2222-3333-4444-555555555555", "00000000-0000-0000-0000-000000000000"),
		"SID in lower case":     change("S-1-5", "s-1-5"),
		"upper-case digest":     change("010203", "0A0203"),
		"short digest":          change("01020300", "010203"),
		"zero digest":           change("010203", "000000"),
		"unknown phase":         change("outcome", "guess"),
		"no result":             change("result unknown\n", ""),
		"no action":             change("action membership.add\n", ""),
		"action of one word":    change("membership.add", "membership"),
		"method with capitals":  change("method kerberos", "method Kerberos"),
		"session with a space":  change("session 7f3a", "session 7f 3a"),
		"answers itself":        change("answers 17", "answers 18"),
		"answers nothing":       change("answers 17", "answers 0"),
		"CR":                    strings.ReplaceAll(fullText, "\n", "\r\n"),
		"NUL in text":           change(`\n\x1b`, `\x00\x1b`),
		"surrogate":             change(`\u202e`, `\ud800`),
		"not UTF-8":             change(`\x1b`, `\xff`),
		"name over its limit":   change("CN=Ann", strings.Repeat("a", audit.MaxName)),
		"reason over its limit": change("the answer", strings.Repeat("a", audit.MaxReason)),
		"too long":              fullText + strings.Repeat("x", audit.MaxEncoded),
		"version 0":             change("entry 1\n", "entry 0\n"),
		"version 01":            change("entry 1\n", "entry 01\n"),
	} {
		if e, err := audit.Decode([]byte(text)); !errors.Is(err, audit.ErrEncoding) {
			t.Errorf("%s: got %+v, %v", name, e, err)
		}
	}
	if _, err := audit.Decode([]byte(change("entry 1\n", "entry 2\n"))); !errors.Is(err, audit.ErrVersion) {
		t.Errorf("version 2: %v", err)
	}
}

// drawEntry makes valid entries.
func drawEntry(t *rapid.T) audit.Entry {
	id := rapid.StringMatching(`[A-Za-z0-9._:/@%\[\]-]{0,40}`)
	free := rapid.Custom(func(t *rapid.T) string {
		return strings.ReplaceAll(rapid.StringN(0, 50, 200).Draw(t, "text"), "\x00", "")
	})
	guid := rapid.Custom(func(t *rapid.T) secdesc.GUID {
		return secdesc.GUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "guid"))
	})
	at := rapid.Custom(func(t *rapid.T) time.Time {
		return time.UnixMicro(rapid.Int64Range(0, 250_000_000_000_000_000).Draw(t, "time")).UTC()
	})
	e := audit.Entry{
		Index: rapid.Int64Range(2, 1<<62).Draw(t, "index"), Time: at.Draw(t, "at"), Late: rapid.Bool().Draw(t, "late"),
		Phase:  rapid.SampledFrom([]audit.Phase{audit.Intent, audit.Outcome, audit.Refusal, audit.Fact}).Draw(t, "phase"),
		Action: rapid.StringMatching(`[a-z0-9-]{1,20}(\.[a-z0-9-]{1,20}){1,2}`).Draw(t, "action"),
		Actor: audit.Actor{
			Name: "a" + free.Draw(t, "name"), Method: audit.Method(rapid.StringMatching(`[a-z0-9-]{1,32}`).Draw(t, "method")),
			Session: id.Draw(t, "session"), From: id.Draw(t, "from"),
		},
		Request: id.Draw(t, "request"), Record: id.Draw(t, "record"), Server: id.Draw(t, "server"),
		Target: guid.Draw(t, "target"), Subject: guid.Draw(t, "subject"), TargetName: free.Draw(t, "tn"), SubjectName: free.Draw(t, "sn"),
		Generation: rapid.Uint64().Draw(t, "generation"), Reason: free.Draw(t, "reason"),
	}
	if rapid.Bool().Draw(t, "ends") {
		e.Until = at.Draw(t, "until")
	}
	if e.Phase == audit.Outcome {
		e.Answers, e.Result = rapid.Int64Range(1, e.Index-1).Draw(t, "answers"), audit.Result(rapid.IntRange(1, 4).Draw(t, "result"))
	}
	return e
}

func TestEveryEntrySurvivesItsEncoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawEntry(t)
		b, err := audit.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := audit.Decode(b)
		if err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		if got != e {
			t.Fatalf("got %+v, want %+v", got, e)
		}
		for _, c := range b {
			if c != '\n' && (c < ' ' || c > '~') {
				t.Fatalf("byte %#x in the encoding", c)
			}
		}
	})
}

func TestEncodeRefusesWhatDoesNotFit(t *testing.T) {
	for name, change := range map[string]func(*audit.Entry){
		"no time":             func(e *audit.Entry) { e.Time = time.Time{} },
		"year 10000":          func(e *audit.Entry) { e.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"no phase":            func(e *audit.Entry) { e.Phase = 0 },
		"phase 9":             func(e *audit.Entry) { e.Phase = 9 },
		"no action":           func(e *audit.Entry) { e.Action = "" },
		"long action":         func(e *audit.Entry) { e.Action = strings.Repeat("a.", audit.MaxAction) + "a" },
		"no actor":            func(e *audit.Entry) { e.Actor.Name = "" },
		"no method":           func(e *audit.Entry) { e.Actor.Method = "" },
		"a line in a request": func(e *audit.Entry) { e.Request = "a\nresult done" },
		"a long request":      func(e *audit.Entry) { e.Request = strings.Repeat("r", audit.MaxID+1) },
		"result of a fact":    func(e *audit.Entry) { e.Phase = audit.Fact },
		"intent that answers": func(e *audit.Entry) { e.Phase, e.Result = audit.Intent, 0 },
		"intent as entry 0":   func(e *audit.Entry) { e.Index, e.Phase, e.Result, e.Answers = 0, audit.Intent, 0, 0 },
	} {
		e := full()
		change(&e)
		if b, err := audit.Encode(e); !errors.Is(err, audit.ErrEntry) {
			t.Errorf("%s: %v\n%s", name, err, b)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(fullText))
	f.Add([]byte("leastwise-audit-entry 1\nindex 0\ntime 2026-11-22T12:00:00.000000Z\nphase fact\naction log.begin\nactor \"leastwise\"\nmethod system\n"))
	f.Add([]byte("leastwise-audit-entry 2\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := audit.Decode(b)
		if err != nil {
			if !errors.Is(err, audit.ErrEncoding) && !errors.Is(err, audit.ErrVersion) {
				t.Fatalf("neither error: %v", err)
			}
			return
		}
		again, err := audit.Encode(e)
		if err != nil || string(again) != string(b) {
			t.Fatalf("not canonical: %v\n%s\n%s", err, b, again)
		}
	})
}
