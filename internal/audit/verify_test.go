package audit_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/audit/audittest"
)

// altered is a log whose head says something else than its entries.
type altered struct {
	*audittest.Memory
	head int64
}

func (a altered) AuditHead(context.Context) (int64, error) { return a.head, nil }

// other returns an entry in place of the one with that index, as if it had been
// logged.
func other(t *testing.T, index int64) []byte {
	t.Helper()
	e := aFact(int(index))
	e.Index, e.Actor.Name = index, `CONTOSO\somebody-else`
	b, err := audit.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// rebuild makes the hashes of a log fit its entries again.
func rebuild(t *testing.T, m *audittest.Memory) {
	t.Helper()
	done := &audittest.Memory{}
	for i := range m.Records {
		reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) { return done.ReadAuditHashes(t.Context(), indexes) })
		hashes, err := tlog.StoredHashes(int64(i), m.Records[i].Body, reader)
		if err != nil {
			t.Fatal(err)
		}
		m.Records[i].Hashes = hashes
		done.Records = append(done.Records, m.Records[i])
	}
}

// Whoever changes the log is found out, and where, in each way to change it.
func TestTamperingIsFoundAndLocated(t *testing.T) {
	s := aSigner(t, "contoso", 1)
	sound := aLog(t, s, 40, 8, 21, 40)
	cases := []struct {
		name   string
		tamper func(m *audittest.Memory) (head int64)
		want   []string // kind first last
	}{
		{"nothing", func(*audittest.Memory) int64 { return 40 }, nil},
		{"an entry changed", func(m *audittest.Memory) int64 {
			m.Records[13].Body = other(t, 13)
			return 40
		}, []string{"entry-changed 13 13"}},
		{"two entries changed", func(m *audittest.Memory) int64 {
			m.Records[12].Body, m.Records[13].Body = other(t, 12), other(t, 13)
			return 40
		}, []string{"entry-changed 12 12", "entry-changed 13 13"}},
		{"the last entry changed", func(m *audittest.Memory) int64 {
			m.Records[39].Body = other(t, 39)
			return 40
		}, []string{"entry-changed 39 39"}},
		{"a byte changed so that it is no entry", func(m *audittest.Memory) int64 {
			m.Records[5].Body[0] = 'L'
			return 40
		}, []string{"entry-unreadable 5 5", "entry-changed 5 5"}},
		{"an entry and its hash changed", func(m *audittest.Memory) int64 {
			m.Records[13].Body = other(t, 13)
			m.Records[13].Hashes[0] = tlog.RecordHash(m.Records[13].Body)
			return 40
		}, []string{"hash-changed 12 13"}},
		{"an entry and all hashes changed", func(m *audittest.Memory) int64 {
			m.Records[13].Body = other(t, 13)
			rebuild(t, m)
			return 40
		}, []string{"log-rewritten 8 20", "log-rewritten 8 39"}},
		{"the hash of an entry changed", func(m *audittest.Memory) int64 {
			m.Records[13].Hashes[0][3] ^= 1
			return 40
		}, []string{"hash-changed 13 13"}},
		{"a hash of a subtree changed", func(m *audittest.Memory) int64 {
			m.Records[15].Hashes[3][0] ^= 1
			return 40
		}, []string{"hash-changed 8 15"}},
		{"a hash removed", func(m *audittest.Memory) int64 {
			m.Records[15].Hashes = m.Records[15].Hashes[:2]
			return 40
		}, []string{"hash-changed 15 15"}},
		{"an entry deleted", func(m *audittest.Memory) int64 {
			m.Records = slices.Delete(m.Records, 10, 11)
			return 40
		}, []string{"entry-deleted 10 10"}},
		{"several entries deleted", func(m *audittest.Memory) int64 {
			m.Records = slices.Delete(m.Records, 10, 14)
			return 40
		}, []string{"entry-deleted 10 13"}},
		{"the first entry deleted", func(m *audittest.Memory) int64 {
			m.Records = slices.Delete(m.Records, 0, 1)
			return 40
		}, []string{"entry-deleted 0 0"}},
		{"an entry deleted and the others moved up", func(m *audittest.Memory) int64 {
			m.Records = slices.Delete(m.Records, 37, 38)
			for i := range m.Records {
				m.Records[i].Index = int64(i)
			}
			rebuild(t, m)
			return 39
		}, []string{"entry-moved 37 37", "entry-moved 38 38", "log-truncated 39 39"}},
		{"two entries swapped", func(m *audittest.Memory) int64 {
			m.Records[10].Body, m.Records[11].Body = m.Records[11].Body, m.Records[10].Body
			return 40
		}, []string{"entry-moved 10 10", "entry-moved 11 11", "entry-changed 10 10", "entry-changed 11 11"}},
		{"two entries swapped with their hashes", func(m *audittest.Memory) int64 {
			m.Records[10].Body, m.Records[11].Body = m.Records[11].Body, m.Records[10].Body
			rebuild(t, m)
			return 40
		}, []string{"entry-moved 10 10", "entry-moved 11 11", "log-rewritten 8 20", "log-rewritten 8 39"}},
		{"rows in another order", func(m *audittest.Memory) int64 {
			m.Records[10], m.Records[11] = m.Records[11], m.Records[10]
			return 40
		}, []string{"entry-deleted 10 10", "entry-moved 10 10"}},
		{"the end cut off", func(m *audittest.Memory) int64 {
			m.Records = m.Records[:38]
			return 40
		}, []string{"log-truncated 38 39", "log-truncated 38 39"}},
		{"the end cut off and the count changed", func(m *audittest.Memory) int64 {
			m.Records = m.Records[:38]
			return 38
		}, []string{"log-truncated 38 39"}},
		{"an entry added behind the log's back", func(m *audittest.Memory) int64 {
			if _, err := audit.Append(t.Context(), m, aFact(40)); err != nil {
				t.Fatal(err)
			}
			return 40
		}, []string{"log-extended 40 40"}},
		{"all deleted", func(m *audittest.Memory) int64 {
			m.Records = nil
			return 0
		}, []string{"log-truncated 0 7", "log-truncated 0 20", "log-truncated 0 39"}},
		{"a checkpoint of another key", func(m *audittest.Memory) int64 {
			forged := aSigner(t, "contoso", 2)
			m.Checkpoints = aLog(t, forged, 40, 40).Checkpoints
			return 40
		}, []string{"checkpoint-forged 0 0"}},
		{"a checkpoint changed", func(m *audittest.Memory) int64 {
			m.Checkpoints[1] = strings.Replace(m.Checkpoints[1], "21\n", "22\n", 1)
			return 40
		}, []string{"checkpoint-forged 0 0"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := sound.Clone()
			head := c.tamper(m)
			r, err := audit.Verify(t.Context(), altered{m, head}, nil, s.Key())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range r.Problems {
				got = append(got, fmt.Sprintf("%s %d %d", p.Kind, p.First, p.Last))
			}
			if !slices.Equal(got, c.want) || r.Sound() != (c.want == nil) {
				t.Errorf("got  %q\nwant %q\n%+v", got, c.want, r.Problems)
			}
		})
	}
}

// A checkpoint that somebody kept finds what the database's own no longer can: all
// after entry 30 was cut off or replaced, and the checkpoints with it.
func TestKeptCheckpointFindsTruncationAndForks(t *testing.T) {
	s := aSigner(t, "contoso", 1)
	m := aLog(t, s, 40, 20, 40)
	kept := m.Checkpoints[1]
	m.Records, m.Entries, m.Checkpoints = m.Records[:30], m.Entries[:30], m.Checkpoints[:1]
	check := func(want audit.Kind, kept ...string) {
		t.Helper()
		r, err := audit.Verify(t.Context(), m, kept, s.Key())
		if err != nil {
			t.Fatal(err)
		}
		if want == "" && !r.Sound() || want != "" && (r.Count != 1 || r.Problems[0].Kind != want) {
			t.Errorf("got %+v, want %q", r.Problems, want)
		}
	}
	check("") // nobody can know
	check(audit.Truncated, kept)
	for i := 30; i < 45; i++ {
		e := aFact(i)
		e.Reason = "another history"
		if _, err := audit.Append(t.Context(), m, e); err != nil {
			t.Fatal(err)
		}
	}
	check("")
	check(audit.Rewritten, kept)
	if _, err := audit.MakeCheckpoint(t.Context(), m, s, noon); err != nil {
		t.Fatal(err)
	}
	check(audit.Rewritten, kept)
}

// Any change of one byte anywhere in what is signed is found.
func TestEveryByteCounts(t *testing.T) {
	s := aSigner(t, "contoso", 1)
	sound := aLog(t, s, 33, 33)
	rapid.Check(t, func(rt *rapid.T) {
		m := sound.Clone()
		r := &m.Records[rapid.IntRange(0, len(m.Records)-1).Draw(rt, "record")]
		if rapid.Bool().Draw(rt, "hash") {
			h := &r.Hashes[rapid.IntRange(0, len(r.Hashes)-1).Draw(rt, "level")]
			h[rapid.IntRange(0, 31).Draw(rt, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
		} else {
			r.Body[rapid.IntRange(0, len(r.Body)-1).Draw(rt, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
		}
		report, err := audit.Verify(t.Context(), m, nil, s.Key())
		if err != nil {
			rt.Fatal(err)
		}
		if report.Sound() {
			rt.Fatal("nothing was found")
		}
		for _, p := range report.Problems {
			if p.First > r.Index || p.Last < r.Index {
				rt.Fatalf("located at %d to %d, changed was %d: %+v", p.First, p.Last, r.Index, report.Problems)
			}
		}
	})
}

// Without a key the hashes are compared all the same, and the report says that no
// signature was.
func TestVerifyWithoutKeyClaimsNoCoverage(t *testing.T) {
	s := aSigner(t, "contoso", 1)
	m := aLog(t, s, 10, 10)
	r, err := audit.Verify(t.Context(), m, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Sound() || r.KeyKnown || r.Covered != 0 || r.Checkpoints != 0 {
		t.Errorf("%+v", r)
	}
	m.Records[3].Body = other(t, 3)
	rebuild(t, m)
	if r, err = audit.Verify(t.Context(), m, nil); err != nil || r.Sound() {
		t.Errorf("%+v, %v", r, err)
	}
	r, err = audit.Verify(t.Context(), aLog(t, s, 10, 4), nil, s.Key())
	if err != nil || r.Covered != 4 || r.Checkpoints != 1 || r.Entries != 10 {
		t.Errorf("%+v, %v", r, err)
	}
}

// An export verifies with nothing else, and tampering with it is located in it.
func TestExportVerifiesAlone(t *testing.T) {
	s := aSigner(t, "contoso", 1)
	m := aLog(t, s, 1200, 700, 1200)
	var b bytes.Buffer
	if err := audit.WriteExport(t.Context(), &b, m, s.Key().String()); err != nil {
		t.Fatal(err)
	}
	verify := func(text string) *audit.Report {
		t.Helper()
		x, err := audit.OpenExport(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if x.Key() != s.Key().String() {
			t.Errorf("key %q", x.Key())
		}
		r, err := audit.Verify(t.Context(), x, nil, s.Key())
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := verify(b.String()); !r.Sound() || r.Covered != 1200 || r.Entries != 1200 || r.Checkpoints != 2 {
		t.Errorf("%+v", r)
	}
	lines := strings.SplitAfter(b.String(), "\n")
	swapped := slices.Clone(lines)
	swapped[100], swapped[101] = swapped[101], swapped[100]
	for name, c := range map[string]struct {
		text string
		want audit.Kind
	}{
		"changed":   {strings.Replace(b.String(), "reason 800", "reason 801", 1), audit.Rewritten},
		"deleted":   {strings.Join(slices.Delete(slices.Clone(lines), 100, 101), ""), audit.Deleted},
		"swapped":   {strings.Join(swapped, ""), audit.Deleted},
		"truncated": {strings.Join(lines[:1000], ""), audit.Truncated},
	} {
		if r := verify(c.text); r.Sound() || r.Problems[0].Kind != c.want {
			t.Errorf("%s: %+v", name, r.Problems)
		}
	}
}

func TestOpenExportSaysWhere(t *testing.T) {
	head := `{"leastwise-audit-export":1,"key":"","entries":1}` + "\n"
	for name, c := range map[string]struct{ text, want string }{
		"empty":            {"", "empty"},
		"not JSON":         {"hello", "line 1"},
		"something else":   {`{"a":1}`, "line 1"},
		"version":          {`{"leastwise-audit-export":7,"key":"","entries":1}`, "version 7"},
		"garbage":          {head + "garbage\n", "line 2"},
		"negative":         {head + `{"entry":-1,"text":""}`, "line 2"},
		"no number":        {head + `{"text":"a"}`, "line 2"},
		"two in a line":    {head + `{"entry":0,"text":""}{"entry":1,"text":""}`, "line 2"},
		"endless line":     {head + `{"entry":0,"text":"` + strings.Repeat("a", audit.MaxLine), "line 2"},
		"checkpoint later": {head + `{"entry":0,"text":"a"}` + "\n" + `{"checkpoint":"a"}`, "line 3"},
	} {
		x, err := audit.OpenExport(strings.NewReader(c.text))
		if err == nil {
			_, err = audit.Verify(t.Context(), x, nil)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
