package secdesc

import (
	"bufio"
	"bytes"
	"os"
	"strings"
	"testing"
)

// contoso returns the descriptors of testdata/contoso.txt with their texts.
func contoso(t testing.TB) (domain SID, bytes [][]byte, texts []string) {
	t.Helper()
	f, err := os.Open("testdata/contoso.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		first, rest, _ := strings.Cut(lines.Text(), " ")
		switch first {
		case "#":
		case "domain":
			domain = MustSID(rest)
		default:
			bytes, texts = append(bytes, unhex(t, first)), append(texts, rest)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return domain, bytes, texts
}

// TestContoso: real descriptors, byte for byte and in Samba's words.
func TestContoso(t *testing.T) {
	domain, raw, texts := contoso(t)
	if len(raw) < 50 {
		t.Fatalf("only %d descriptors", len(raw))
	}
	for i, b := range raw {
		d, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Bytes(); !bytes.Equal(got, b) {
			t.Errorf("got  %x\nwant %x", got, b)
		}
		if got := d.SDDL(domain); got != texts[i] {
			t.Errorf("got  %s\nwant %s", got, texts[i])
		}
		read, err := ParseSDDL(texts[i], domain, domain)
		if err != nil {
			t.Errorf("%s: %v", texts[i], err)
			continue
		}
		if got := read.SDDL(domain); got != texts[i] {
			t.Errorf("got  %s\nwant %s", got, texts[i])
		}
	}
}

func BenchmarkParse(b *testing.B) {
	_, raw, _ := contoso(b)
	b.ReportAllocs()
	for b.Loop() {
		for _, r := range raw {
			if _, err := Parse(r); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(raw)), "ns/descriptor")
}

func BenchmarkSDDL(b *testing.B) {
	domain, raw, _ := contoso(b)
	var all []*Descriptor
	for _, r := range raw {
		d, err := Parse(r)
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, d)
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, d := range all {
			_ = d.SDDL(domain)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(raw)), "ns/descriptor")
}
