package samba

import (
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/forest/fixture"
)

// A lab takes one fixture: a second, or one after a failure, is refused with what
// to do, before anything is written.
func TestSeedOnce(t *testing.T) {
	f, err := fixture.Parse([]byte("fixture: 1\ndomain: contoso.test\nnetbios: CONTOSO\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		began, seeded, want string
	}{
		{"2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z", "holds a fixture already, loaded 2026-01-02T03:04:05Z"},
		{"2026-01-02T03:04:05Z", "", "holds a part of a fixture: loading began 2026-01-02T03:04:05Z"},
	} {
		l := newLab(t.TempDir(), "127.0.10", true)
		stale := *l // read before another process loaded the fixture
		l.SeedBegan, l.Seeded = tt.began, tt.seeded
		if err := l.save(); err != nil {
			t.Fatal(err)
		}
		for _, lab := range []*Lab{l, &stale} {
			err := lab.Seed(t.Context(), f, time.Now(), func(string) { t.Error("something was done") })
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "go run ./lab down --dir "+l.Dir) {
				t.Errorf("got %v, want %q and what to do", err, tt.want)
			}
		}
	}
}

// A running lab does not grow.
func TestSingleStaysSingle(t *testing.T) {
	if err := newLab("/srv/lab", "127.0.10", true).suits(Options{Net: "127.0.10", Dir: "/srv/lab"}); err == nil || !strings.Contains(err.Error(), "built with --single") {
		t.Errorf("a lab of one host for two: %v", err)
	}
	for _, o := range []Options{{Net: "127.0.10"}, {Net: "127.0.10", Single: true}} {
		if err := newLab("/srv/lab", "127.0.10", o.Single).suits(o); err != nil {
			t.Errorf("single %t: %v", o.Single, err)
		}
	}
	if err := newLab("/srv/lab", "127.0.10", false).suits(Options{Net: "127.0.10", Single: true}); err != nil {
		t.Errorf("more hosts than asked for: %v", err)
	}
	if err := newLab("/srv/lab", "127.0.10", false).suits(Options{Net: "127.0.11"}); err == nil || !strings.Contains(err.Error(), "lives at 127.0.10") {
		t.Errorf("another address: %v", err)
	}
}
