package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	ldap "github.com/go-ldap/ldap/v3"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/lab/labtest"
	"github.com/leastwise/leastwise/lab/need"
)

func TestMain(m *testing.M) {
	if text := os.Getenv(nodeVariable); text != "" {
		if err := node(text, os.Stdin, os.Stdout); err != nil {
			fatal(err)
		}
		return
	}
	os.Exit(m.Run())
}

// A few runs with short phases on a lab that others may use at the same time; make faults
// does two thousand.
func TestSmoke(t *testing.T) {
	need.Long(t)
	lab := labtest.Start(t, labtest.Options{Single: true})
	dir, err := os.MkdirTemp("", "leastwise-faults") // short: a socket lies in it
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	w := &world{lab: lab.Lab, dir: dir, tag: "faults" + strings.ToLower(t.Name()[4:])}
	if err := w.build(t.Context(), 6); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.with(t.Context(), func(c *ldap.Conn) error { return w.clear(c) }) }()
	o := options{databases: "sqlite", runs: 6, width: 6, phase: 1500 * time.Millisecond, limit: time.Minute, seed: 20261122, shared: true}
	var out bytes.Buffer
	ok, err := o.play(t.Context(), w, &out)
	if errors.Is(err, syscall.EPERM) {
		need.Missing(t, err)
	}
	t.Logf("%s", out.String())
	if err != nil || !ok || !strings.Contains(out.String(), "6 runs in 1 rounds, 0 violations") {
		t.Error(ok, err)
	}
}

// What the checks are for is found by them.
func TestChecksFindViolations(t *testing.T) {
	idle, holder := object{dn: "CN=idle"}, object{dn: "CN=Anna"}
	now := time.Now()
	both, alone := map[string]bool{"cn=idle": true, "cn=anna": true}, map[string]bool{"cn=idle": true}
	active := grant.Grant{ID: "a", State: grant.Active, Ends: now.Add(time.Hour)}
	over := grant.Grant{ID: "a", State: grant.Active, Ends: now.Add(-time.Hour)}
	for name, c := range map[string]struct {
		shape   shape
		members map[string]bool
		g       grant.Grant
		calm    bool
		want    string
	}{
		"wanted":               {plain, both, active, true, ""},
		"gone":                 {plain, alone, over, true, ""},
		"too late":             {plain, both, over, true, "nobody wants it"},
		"ended, and there":     {plain, both, grant.Grant{ID: "a", State: grant.Ended}, true, "nobody wants it"},
		"disturbed":            {plain, both, over, false, ""},
		"standing":             {standing, both, over, true, ""},
		"standing, removed":    {standing, alone, active, true, "was removed"},
		"somebody else's gone": {plain, map[string]bool{}, active, true, "lost a member"},
	} {
		x := &run{shape: c.shape, group: object{dn: "CN=g"}, holder: holder, ids: []grant.ID{"a"}, exposed: now.Add(-6 * time.Second)}
		r := &round{w: &world{idle: idle}, f: newFigures(), runs: []*run{x}}
		if c.calm {
			r.calm = now.Add(-10 * time.Second)
		}
		r.look(map[string]map[string]bool{"cn=g": c.members}, []grant.Grant{c.g})
		if got := strings.Join(r.problems, "; "); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestChain(t *testing.T) {
	log := func(reasons ...string) (out []audit.Entry) {
		for _, r := range reasons {
			out = append(out, audit.Entry{Reason: r})
		}
		return out
	}
	for _, c := range []struct {
		entries []audit.Entry
		last    grant.State
		want    string
	}{
		{log("none -> approved; why", "words: a -> b", "approved -> activating", "activating -> active; done by dc1", "active -> ending", "done", "ending -> ended"), grant.Ended, ""},
		{log("none -> approved", "activating -> active"), grant.Active, "goes from approved"},
		{log("none -> approved"), grant.Active, "ends with approved"},
		{nil, grant.Ended, "ends with none"},
	} {
		if got := chain(c.entries, c.last); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestMessages(t *testing.T) {
	short := []byte{0x30, 0x05, 0x02, 0x01, 0x07, 0x42, 0x00}
	m, err := readMessage(bufio.NewReader(bytes.NewReader(append(short, 0x99))))
	if err != nil || !bytes.Equal(m, short) {
		t.Fatalf("%x, %v", m, err)
	}
	if id, tag, err := parseMessage(m); id != 7 || tag != 0x42 || err != nil {
		t.Errorf("%d %#x %v", id, tag, err)
	}
	again := withID(m, 7+duplicate)
	if id, tag, err := parseMessage(again); id != 7+duplicate || tag != 0x42 || err != nil {
		t.Errorf("%d %#x %v", id, tag, err)
	}
	if id, tag, err := parseMessage(answer(300, 51)); id != 300 || tag != tagModifyResponse || err != nil {
		t.Errorf("%d %#x %v", id, tag, err)
	}
	for _, bad := range [][]byte{{0x31, 0x00}, {0x30, 0x85, 1, 1, 1, 1, 1}, {0x30, 0x80}, {0x30, 0x03, 0x02}} {
		if _, err := readMessage(bufio.NewReader(bytes.NewReader(bad))); err == nil {
			t.Errorf("%x was read", bad)
		}
	}
	if _, err := readMessage(bufio.NewReader(strings.NewReader(""))); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}
