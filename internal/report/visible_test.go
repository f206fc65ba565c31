package report

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/leastwise/leastwise/internal/control"
)

func TestVisible(t *testing.T) {
	for in, want := range map[string]string{
		"":                                     "",
		"Domain Admins":                        "Domain Admins",
		"Müller, Jörg":                         "Müller, Jörg",
		"דוד לוי":                              "דוד לוי",
		"a\u202Eb":                             "a<U+202E>b",
		"a\u200Bb\uFEFF":                       "a<U+200B>b<U+FEFF>",
		"a\nb\r\x00":                           "a<U+000A>b<U+000D><U+0000>",
		"a\u00A0b":                             "a<U+00A0>b",
		" a ":                                  "␠a␠",
		"a\xffb":                               "a<0xFF>b",
		"\uFFFD":                               "\uFFFD",
		"e\u0301":                              "e\u0301",
		"\U000E0041":                           "<U+E0041>",
		"x" + "\u0301\u0301\u0301\u0301\u0301": "x\u0301\u0301\u0301\u0301<U+0301>",
	} {
		if got := visible(in); got != want {
			t.Errorf("visible(%q) = %q, want %q", in, got, want)
		}
	}
	if got := visibleLines("a\n\tb"); got != "a\n<U+0009>b" {
		t.Errorf("visibleLines: %q", got)
	}
}

// FuzzVisible: the result is valid UTF-8 without anything hidden, and what was
// harmless is not changed.
func FuzzVisible(f *testing.F) {
	for _, s := range []string{"", "a", "\u202E", "\xff\xfe", " x", "a\u0301\u0301\u0301\u0301\u0301\u0301"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := visible(s)
		if !utf8.ValidString(got) {
			t.Fatalf("visible(%q) is not UTF-8: %q", s, got)
		}
		for _, r := range got {
			if hidden(r) {
				t.Fatalf("visible(%q) = %q holds U+%04X", s, got, r)
			}
		}
		if visible(got) != got {
			t.Fatalf("visible(%q) = %q is changed again to %q", s, got, visible(got))
		}
		if m := string(markup(s, 50)); strings.Contains(strings.NewReplacer("<bdi>", "", "</bdi>", "", "<wbr>", "", `<span class="ctl">`, "", "</span>", "").Replace(m), "<") {
			t.Fatalf("markup(%q) = %q", s, m)
		}
	})
}

func TestPercent(t *testing.T) {
	for _, c := range []struct{ part, whole, want int }{{0, 0, 0}, {0, 5, 0}, {5, 5, 100}, {999, 1000, 99}, {1, 1000, 1}, {1, 2, 50}, {2, 3, 67}} {
		if got := percent(c.part, c.whole); got != c.want {
			t.Errorf("percent(%d, %d) = %d, want %d", c.part, c.whole, got, c.want)
		}
	}
	if passRate(control.Tally{Unknown: 3}) != "undecided" {
		t.Error("a section of which nothing is known has a rate")
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d) = %q", n, got)
		}
	}
}

func TestBarFillsItsWidth(t *testing.T) {
	b := newBar(seg{"pass", 9998}, seg{"fail", 1}, seg{"unknown", 1}, seg{"excepted", 0})
	if len(b.Parts) != 3 || b.Parts[1].W != "1.00%" || b.Parts[2].X != "99.00%" || b.Label != "9,998 pass, 1 fail, 1 unknown" {
		t.Errorf("%+v", b)
	}
}
