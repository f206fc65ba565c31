package audit_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/audit/audittest"
)

// aFact is a short valid entry.
func aFact(n int) audit.Entry {
	return audit.Entry{
		Time: noon.Add(time.Duration(n) * time.Second), Phase: audit.Fact, Action: "grant.request",
		Actor: audit.Actor{Name: `CONTOSO\alice`, Method: audit.Kerberos}, Reason: fmt.Sprintf("reason %d", n),
	}
}

// aLog returns a log of n entries with a signed checkpoint at each of the sizes.
func aLog(t *testing.T, s *audit.Signer, n int, sizes ...int) *audittest.Memory {
	t.Helper()
	m := &audittest.Memory{}
	for i := 1; i < n; i++ {
		if _, err := audit.Append(t.Context(), m, aFact(i)); err != nil {
			t.Fatal(err)
		}
		for _, size := range sizes {
			if size == len(m.Records) {
				if _, err := audit.MakeCheckpoint(t.Context(), m, s, noon); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return m
}

// aSigner returns a signer whose key depends on the seed alone.
func aSigner(t testing.TB, name string, seed byte) *audit.Signer {
	t.Helper()
	secret, _, err := audit.GenerateKey(rand.NewChaCha8([32]byte{seed}), name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := audit.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The tree is that of RFC 6962, whether entries come one by one or together.
func TestAppendOneByOneIsAppendTogether(t *testing.T) {
	single, together := &audittest.Memory{}, &audittest.Memory{}
	var all []audit.Entry
	for i := 1; i < 40; i++ {
		all = append(all, aFact(i))
		if _, err := audit.Append(t.Context(), single, aFact(i)); err != nil {
			t.Fatal(err)
		}
	}
	if first, err := audit.Append(t.Context(), together, all...); err != nil || first != 1 {
		t.Fatal(first, err)
	}
	for size := int64(0); size <= 40; size++ {
		a, err1 := audit.Root(t.Context(), single, size)
		b, err2 := audit.Root(t.Context(), together, size)
		if want := naiveRoot(single.Records[:size]); err1 != nil || err2 != nil || a != b || a != want {
			t.Fatalf("size %d: %v, %v, want %v (%v, %v)", size, a, b, want, err1, err2)
		}
	}
}

// naiveRoot is the definition of RFC 6962, 2.1, word for word.
func naiveRoot(records []audit.Record) tlog.Hash {
	switch n := len(records); n {
	case 0:
		h, _ := tlog.TreeHash(0, nil)
		return h
	case 1:
		return tlog.RecordHash(records[0].Body)
	default:
		k := 1
		for k*2 < n {
			k *= 2
		}
		return tlog.NodeHash(naiveRoot(records[:k]), naiveRoot(records[k:]))
	}
}

func TestAppendNormalisesAndRefusesTogether(t *testing.T) {
	m := &audittest.Memory{}
	e := aFact(1)
	e.Time = time.Date(2026, 11, 22, 13, 0, 0, 999, time.FixedZone("CET", 3600))
	e.Reason = "a\x00b\xff" + strings.Repeat("ü", audit.MaxReason)
	if _, err := audit.Append(t.Context(), m, e); err != nil {
		t.Fatal(err)
	}
	got, _ := m.Last("grant.request")
	if !got.Time.Equal(noon.Truncate(time.Second)) || got.Time.Location() != time.UTC {
		t.Errorf("time is %v", got.Time)
	}
	if r := got.Reason; len(r) > audit.MaxReason || len(r) < audit.MaxReason-8 || !utf8.ValidString(r) || !strings.HasPrefix(r, "a\uFFFDb\uFFFDüü") || !strings.HasSuffix(r, "ü […]") {
		t.Errorf("reason is %d bytes: %.20q … %.20q", len(r), r, r[len(r)-20:])
	}
	if first := m.Entries[0]; first.Action != audit.BeginAction || first.Index != 0 {
		t.Errorf("entry 0 is %+v", first)
	}
	bad := aFact(3)
	bad.Request = "two words"
	if _, err := audit.Append(t.Context(), m, aFact(2), bad); !errors.Is(err, audit.ErrEntry) {
		t.Error(err)
	}
	if len(m.Records) != 2 {
		t.Errorf("%d records after a refusal, want 2", len(m.Records))
	}
	if _, err := audit.Append(t.Context(), m); err == nil {
		t.Error("appended nothing without an error")
	}
}

func TestAnswerIsTheOutcomeOfItsIntent(t *testing.T) {
	m := &audittest.Memory{}
	intent := full()
	intent.Phase, intent.Answers, intent.Result = audit.Intent, 0, 0
	at, err := audit.Append(t.Context(), m, intent, intent)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Append(t.Context(), m, intent.Answer(at, noon, audit.NotDone, "refused by the directory")); err != nil {
		t.Fatal(err)
	}
	r, err := audit.Verify(t.Context(), m, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Open) != 1 || r.Open[0] != at+1 || !r.Sound() {
		t.Errorf("open intents: %v, want [%d]; problems: %v", r.Open, at+1, r.Problems)
	}
	out, _ := m.Last("membership.add")
	if out.Phase != audit.Outcome || out.Answers != at || out.Target != intent.Target || out.Result != audit.NotDone {
		t.Errorf("%+v", out)
	}
}
