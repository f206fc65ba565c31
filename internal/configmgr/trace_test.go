package configmgr

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

var update = flag.Bool("update", false, "write golden files anew")

// hashFile holds, for each line of the reference of 2015 that is not empty, its number and
// hashes of its sequences of eight words, or of all its words if it is a sentence of five
// to seven. It holds nothing of the text.
const hashFile = "testdata/reference.hashes"

// TestLines proves that every line of the reference is accounted for, and that every
// control which the reference is the source of is reached from each line it names.
func TestLines(t *testing.T) {
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	lines, _ := readHashes(t)
	said := map[int]Line{}
	for _, l := range c.Lines {
		said[l.Line] = l
	}
	for _, n := range lines {
		if _, ok := said[n]; !ok && !slices.Contains(c.Headings, n) {
			t.Errorf("line %d of the reference is not listed", n)
		}
	}
	if got := len(c.Lines) + len(c.Headings); got != len(lines) {
		t.Errorf("%d lines are listed, the reference has %d that are not empty", got, len(lines))
	}
	for _, ctl := range c.Controls() {
		for _, n := range ctl.Lines {
			if slices.Contains(ctl.Kinds, FromReference) && !slices.Contains(said[n].Controls, ctl.ID) {
				t.Errorf("control %s names line %d, which does not name it", ctl.ID, n)
			}
		}
	}
	for _, e := range c.Entries {
		if e.InReference() && !slices.Contains(c.Headings, e.Span[0]) {
			t.Errorf("entry %s begins at line %d, which is not a heading", e.ID, e.Span[0])
		}
	}
	// Between the first and the last entry only the heading and the introduction of the
	// accounts belong to no entry.
	for n := range said {
		in := slices.ContainsFunc(c.Entries, func(e *Entry) bool { return e.Span[0] <= n && n <= e.Span[1] })
		if want := !slices.Contains([]int{7, 9, 13, 17, 231}, n); in != want {
			t.Errorf("line %d: within the span of an entry is %t, want %t", n, in, want)
		}
	}
}

// TestOwnWords proves that nothing of the catalogue or its documentation repeats a
// sentence of the reference.
func TestOwnWords(t *testing.T) {
	_, hashes := readHashes(t)
	files := []string{"../../docs/CONFIGMGR.md"}
	err := filepath.WalkDir("catalogue", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(docsFolder + "/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("%s has no pages: %v", docsFolder, err)
	}
	for _, f := range append(files, pages...) {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range repeats(string(data), hashes) {
			t.Errorf("%s: %q stands in the reference", f, r)
		}
	}
}

// TestRepeats proves that the test above can fail.
func TestRepeats(t *testing.T) {
	hashes := map[string]bool{hashWords(strings.Fields("a sentence of eight words that stands elsewhere")): true}
	if got := repeats("Here is A sentence of eight\n  words, that stands elsewhere.", hashes); len(got) != 1 {
		t.Errorf("found %q, want the sentence", got)
	}
	if got := repeats("A sentence of nine words that stands elsewhere too.", hashes); len(got) != 0 {
		t.Errorf("found %q, want nothing", got)
	}
}

// repeats lists the sequences of words of a text whose hashes are known.
func repeats(text string, hashes map[string]bool) []string {
	var out []string
	for _, seq := range sequences(words(text), 5, 6, 7, 8) {
		if hashes[hashWords(seq)] {
			out = append(out, strings.Join(seq, " "))
		}
	}
	return out
}

// TestReferenceHashes compares the hashes with the text, which the project does not hold:
// give its path in LEASTWISE_REFERENCE, and -update to write the hashes.
func TestReferenceHashes(t *testing.T) {
	name := os.Getenv("LEASTWISE_REFERENCE")
	if name == "" {
		t.Skip("LEASTWISE_REFERENCE does not name the text of the reference")
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for i, line := range strings.Split(string(data), "\n") {
		if strings.TrimSpace(line) == "" {
			continue
		}
		fmt.Fprint(&b, i+1)
		w := words(line)
		sizes := []int{8}
		if len(w) >= 5 && len(w) < 8 && strings.HasSuffix(strings.TrimSpace(line), ".") {
			sizes = []int{len(w)}
		}
		for _, seq := range sequences(w, sizes...) {
			fmt.Fprint(&b, " ", hashWords(seq))
		}
		b.WriteByte('\n')
	}
	if *update {
		if err := os.WriteFile(hashFile, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	old, err := os.ReadFile(hashFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(old) != b.String() {
		t.Errorf("%s does not belong to this text", hashFile)
	}
}

// readHashes returns the numbers of the lines and the set of hashes.
func readHashes(t *testing.T) (lines []int, hashes map[string]bool) {
	t.Helper()
	f, err := os.Open(hashFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	hashes = map[string]bool{}
	s := bufio.NewScanner(f)
	for s.Scan() {
		fields := strings.Fields(s.Text())
		n, err := strconv.Atoi(fields[0])
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, n)
		for _, h := range fields[1:] {
			hashes[h] = true
		}
	}
	if err := s.Err(); err != nil || len(lines) == 0 {
		t.Fatalf("%s has no lines: %v", hashFile, err)
	}
	return lines, hashes
}

// words are the words of a text without case and punctuation.
func words(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// sequences are all runs of the given numbers of words.
func sequences(w []string, sizes ...int) [][]string {
	var out [][]string
	for _, n := range sizes {
		for i := 0; i+n <= len(w); i++ {
			out = append(out, w[i:i+n])
		}
	}
	return out
}

func hashWords(w []string) string {
	sum := sha256.Sum256([]byte(strings.Join(w, " ")))
	return hex.EncodeToString(sum[:6])
}
