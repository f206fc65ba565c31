package app_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/app"
)

// Editors of Windows put a byte order mark before UTF-8, and PowerShell 5 writes
// UTF-16: the one is read, the other named.
func TestReadFileByteOrderMark(t *testing.T) {
	const text = "domain: contoso.test\n"
	for _, tt := range []struct{ name, content, want, err string }{
		{"plain", text, text, ""},
		{"UTF-8", "\ufeff" + text, text, ""},
		{"empty", "", "", ""},
		{"UTF-16 LE", "\xff\xfed\x00:\x00", "", "it is UTF-16: save it as UTF-8"},
		{"UTF-16 BE", "\xfe\xff\x00d\x00:", "", "it is UTF-16: save it as UTF-8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "a.yaml")
			if err := os.WriteFile(name, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := app.ReadFile(name)
			if tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil || string(got) != tt.want {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

// A fixture with a byte order mark is the same fixture.
func TestLoadFixtureByteOrderMark(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.yaml")
	if err := os.WriteFile(name, []byte("\ufefffixture: 1\ndomain: contoso.test\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := app.Load(t.Context(), name, "test", time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Info().Domain; got != "contoso.test" {
		t.Errorf("domain %q, want contoso.test", got)
	}
}
