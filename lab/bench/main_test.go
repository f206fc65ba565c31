package main

import "testing"

// What cannot be measured is refused before a lab is started.
func TestCheck(t *testing.T) {
	good := bench{runs: 1, objects: 100}
	if err := good.check(nil); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*bench) []string{
		"a word":     func(*bench) []string { return []string{"live"} },
		"no runs":    func(b *bench) []string { b.runs = 0; return nil },
		"no objects": func(b *bench) []string { b.objects = 0; return nil },
		"only what":  func(b *bench) []string { b.only = "all"; return nil },
	} {
		b := good
		if more := change(&b); b.check(more) == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
