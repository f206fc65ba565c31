package audit_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/leastwise/leastwise/internal/audit"
)

func TestCheckpointIsASignedNote(t *testing.T) {
	s := aSigner(t, "contoso.com/leastwise", 1)
	m := aLog(t, s, 5, 5)
	v, err := note.NewVerifier(s.Key().String())
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open([]byte(m.Checkpoints[0]), note.VerifierList(v)) // by the library alone
	if err != nil {
		t.Fatal(err)
	}
	root, err := audit.Root(t.Context(), m, 5)
	if err != nil {
		t.Fatal(err)
	}
	if want := "contoso.com/leastwise\n5\n" + root.String() + "\ntime 2026-11-22T12:00:00.123456Z\n"; n.Text != want {
		t.Errorf("got %q, want %q", n.Text, want)
	}
}

func TestParseCheckpointRefusesWhatTextDoesNotWrite(t *testing.T) {
	good := "contoso\n5\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\ntime 2026-11-22T12:00:00.000000Z\n"
	if _, err := audit.ParseCheckpoint(good); err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{
		{"contoso", ""},
		{"contoso", "con toso"},
		{"5\n", "05\n"},
		{"5\n", "-5\n"},
		{"5\n", "+5\n"},
		{"5\n", "99999999999999999999\n"},
		{"AA=", "AB="},
		{"AA=", "A="},
		{"time ", ""},
		{"000Z", "000+00:00"},
		{"Z\n", "Z"},
		{"Z\n", "Z\nmore\n"},
		{"\n", "\r\n"},
	} {
		text := strings.Replace(good, change[0], change[1], 1)
		if c, err := audit.ParseCheckpoint(text); !errors.Is(err, audit.ErrCheckpoint) {
			t.Errorf("%q: %+v, %v", text, c, err)
		}
	}
}

func FuzzParseCheckpoint(f *testing.F) {
	f.Add("contoso\n5\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\ntime 2026-11-22T12:00:00.000000Z\n")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := audit.ParseCheckpoint(text)
		if err == nil && c.Text() != text {
			t.Fatalf("not canonical: %q", text)
		}
		if err != nil && !errors.Is(err, audit.ErrCheckpoint) {
			t.Fatal(err)
		}
	})
}

func FuzzOpenCheckpoint(f *testing.F) {
	key := aSigner(f, "contoso", 1).Key()
	f.Add("contoso\n5\nAAAA\n\n— contoso AAAAAAAA\n")
	f.Fuzz(func(t *testing.T, msg string) {
		if c, err := audit.OpenCheckpoint(msg, key); err == nil {
			t.Fatalf("a forged signature: %+v", c)
		}
		_, _ = audit.ReadCheckpoints([]byte(msg)) // must not panic
		_, _ = audit.ParseProof([]byte(msg))
	})
}

// Nothing is signed that contradicts what was signed before.
func TestMakeCheckpointRefusesALogThatForked(t *testing.T) {
	s := aSigner(t, "contoso", 1)
	sound := aLog(t, s, 20, 10)
	again, err := audit.MakeCheckpoint(t.Context(), sound.Clone(), s, noon)
	if err != nil || !strings.Contains(again, "\n20\n") {
		t.Errorf("%q, %v", again, err)
	}
	m := sound.Clone()
	for range 2 {
		if _, err := audit.MakeCheckpoint(t.Context(), m, s, noon); err != nil {
			t.Fatal(err)
		}
	}
	if len(m.Checkpoints) != 2 {
		t.Errorf("%d checkpoints of one size", len(m.Checkpoints)-1)
	}

	m = sound.Clone()
	m.Records = m.Records[:9]
	if _, err := audit.MakeCheckpoint(t.Context(), m, s, noon); !errors.Is(err, audit.ErrForked) {
		t.Errorf("cut off: %v", err)
	}
	m = sound.Clone()
	m.Records[4].Body = other(t, 4)
	rebuild(t, m)
	if _, err := audit.MakeCheckpoint(t.Context(), m, s, noon); !errors.Is(err, audit.ErrForked) {
		t.Errorf("rewritten: %v", err)
	}
	next := aSigner(t, "contoso", 2)
	if _, err := audit.MakeCheckpoint(t.Context(), sound.Clone(), next, noon); !errors.Is(err, audit.ErrSignature) {
		t.Errorf("another key: %v", err)
	}
	if _, err := audit.MakeCheckpoint(t.Context(), sound.Clone(), next.WithEarlier(s.Key()), noon); err != nil {
		t.Errorf("the next key, told of the earlier one: %v", err)
	}
}

func TestProofsHoldForEveryEntryAndPairOfCheckpoints(t *testing.T) {
	s := aSigner(t, "contoso", 1)
	m := aLog(t, s, 24, 3, 8, 13, 24)
	for _, checkpoint := range m.Checkpoints {
		c, err := audit.OpenCheckpoint(checkpoint, s.Key())
		if err != nil {
			t.Fatal(err)
		}
		for i := range c.Size {
			p, err := audit.ProveEntry(t.Context(), m, s.Keys(), checkpoint, i, m.Records[i].Body)
			if err != nil {
				t.Fatal(err)
			}
			checkProof(t, s, p)
		}
		if _, err := audit.ProveEntry(t.Context(), m, s.Keys(), checkpoint, c.Size, nil); err == nil {
			t.Error("proved an entry after the checkpoint")
		}
	}
	for i, earlier := range m.Checkpoints {
		for _, later := range m.Checkpoints[i:] {
			p, err := audit.ProveConsistency(t.Context(), m, s.Keys(), earlier, later)
			if err != nil {
				t.Fatal(err)
			}
			checkProof(t, s, p)
		}
	}
	if _, err := audit.ProveConsistency(t.Context(), m, s.Keys(), m.Checkpoints[2], m.Checkpoints[1]); err == nil {
		t.Error("proved that the later is the beginning of the earlier")
	}
	forked := m.Clone()
	forked.Records[1].Body = other(t, 1)
	rebuild(t, forked)
	if _, err := audit.ProveConsistency(t.Context(), forked, s.Keys(), m.Checkpoints[0], m.Checkpoints[3]); !errors.Is(err, audit.ErrProof) {
		t.Errorf("a fork: %v", err)
	}
}

// checkProof takes a proof through JSON, checks it, and checks that each change of
// it is noticed.
func checkProof(t *testing.T, s *audit.Signer, p *audit.Proof) {
	t.Helper()
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	p, err = audit.ParseProof(raw)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Check(s.Key()); err != nil {
		t.Error(err)
	}
	if _, err := p.Check(aSigner(t, "contoso", 9).Key()); !errors.Is(err, audit.ErrSignature) {
		t.Errorf("another key: %v", err)
	}
	changes := map[string]func(*audit.Proof){
		"version": func(p *audit.Proof) { p.Version = 2 },
		"both":    func(p *audit.Proof) { p.Entry, p.Earlier = "a", "b" },
		"longer":  func(p *audit.Proof) { p.Hashes = append(p.Hashes, strings.Repeat("A", 43)+"=") },
		"garbage": func(p *audit.Proof) { p.Hashes = append(p.Hashes, "garbage") },
	}
	if p.Entry != "" {
		changes["entry"] = func(p *audit.Proof) { p.Entry += " " }
		changes["index"] = func(p *audit.Proof) { p.Index++ }
	}
	if len(p.Hashes) > 0 {
		changes["shorter"] = func(p *audit.Proof) { p.Hashes = p.Hashes[1:] }
	}
	for name, change := range changes {
		q := *p
		q.Hashes = append([]string(nil), p.Hashes...)
		change(&q)
		if _, err := q.Check(s.Key()); err == nil {
			t.Errorf("%s was changed, and the proof holds: %+v", name, q)
		}
	}
}

func TestSecretKeyIsNeverShown(t *testing.T) {
	secret, key, err := audit.GenerateKey(strings.NewReader(strings.Repeat("secret seed of key", 10)), "contoso")
	if err != nil {
		t.Fatal(err)
	}
	s, err := audit.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	private := strings.Split(strings.Split(secret, "\n")[0], "+")[4]
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%+v", s), fmt.Sprintf("%#v", s), key.String()} {
		if strings.Contains(text, private) {
			t.Errorf("shows the secret: %s", text)
		}
	}
	for _, bad := range []string{"", "garbage", secret[:30], strings.Split(secret, "\n")[0], strings.Replace(secret, "+A", "+B", 1), secret[:len(secret)/2] + secret} {
		_, err := audit.NewSigner(bad)
		if !errors.Is(err, audit.ErrKey) || strings.Contains(err.Error(), private) {
			t.Errorf("%v", err)
		}
	}
	for _, name := range []string{"", "two words", "a+b", strings.Repeat("a", 200)} {
		if _, _, err := audit.GenerateKey(strings.NewReader(secret), name); !errors.Is(err, audit.ErrKey) {
			t.Errorf("%q: %v", name, err)
		}
	}
}
