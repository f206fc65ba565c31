package main

import (
	"bytes"
	"strings"
	"testing"
)

// What is not understood is refused before anything is done.
func TestUsage(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"", 2, "Usage: "},
		{"frob --dir " + dir, 2, "Usage: "},
		{"up --frob", 2, "Usage: "},
		{"down --dir " + dir + " other", 2, `down takes no "other"`},
		{"seed --dir " + dir, 2, "name the fixture"},
		{"seed a.yaml --dir " + dir + " b.yaml", 2, `seed takes no "b.yaml"`},
		{"seed a.yaml --dir " + dir, 3, "no lab in this folder"},
		{"seed --dir " + dir + " a.yaml", 3, "no lab in this folder"},
		{"status --dir " + dir, 3, "no lab in this folder"},
		{"down --dir " + dir, 0, "nothing to do"},
		{"down --help", 0, "Usage: "},
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), strings.Fields(c.args), &out, &errs)
		if code != c.code || !strings.Contains(errs.String(), c.says) || out.Len() > 0 {
			t.Errorf("lab %s: exit code %d, output %q, errors %q; want %d, %q", c.args, code, out.String(), errs.String(), c.code, c.says)
		}
	}
}
