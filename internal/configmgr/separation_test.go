package configmgr

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// separated runs the rules and gives each finding as "rule verdict a b".
func separated(t *testing.T, doc *Document) []string {
	t.Helper()
	var out []string
	for _, f := range mustLoad(t).Separations(doc) {
		if f.Reason == "" {
			t.Errorf("finding without reason: %+v", f)
		}
		out = append(out, fmt.Sprintf("%s %s %s@%s %s@%s", f.Rule, f.Verdict, f.A.Entry, f.A.Site, f.B.Entry, f.B.Site))
	}
	return out
}

func TestSeparations(t *testing.T) {
	sid, other := mustSID(t, "S-1-5-21-1-2-3-1101"), mustSID(t, "S-1-5-21-1-2-3-1102")
	assigned := func(list ...Assignment) *Document { return &Document{Assignments: list} }
	for _, tc := range []struct {
		name string
		doc  *Document
		want string // joined by |
	}{
		{"nothing", &Document{}, ""},
		{"different", assigned(
			Assignment{Entry: "network-access", Site: "PS1", Name: `EX\a`, SID: sid},
			Assignment{Entry: "capture-os-image", Site: "PS1", Name: `EX\b`, SID: other}), ""},
		{
			"one SID, two names", assigned(
				Assignment{Entry: "network-access", Site: "PS1", Name: `EX\a`, SID: sid},
				Assignment{Entry: "capture-os-image", Site: "PS1", Name: `ex.test\a`, SID: sid}),
			"must-differ violated capture-os-image@PS1 network-access@PS1",
		},
		{"two SIDs, one name", assigned(
			Assignment{Entry: "network-access", Site: "PS1", Name: `EX\a`, SID: sid},
			Assignment{Entry: "capture-os-image", Site: "PS1", Name: `EX\a`, SID: other}), ""},
		{
			"other site", assigned(
				Assignment{Entry: "network-access", Site: "PS1", Name: `EX\a`},
				Assignment{Entry: "ts-run-as", Site: "PS2", Name: `ex\A`}),
			"must-differ violated network-access@PS1 ts-run-as@PS2|one-per unknown ts-run-as@PS2 task-sequence@",
		},
		{"removed", assigned(
			Assignment{Entry: "network-access", Site: "PS1", Name: `EX\a`, Removed: time.Unix(1, 0)},
			Assignment{Entry: "capture-os-image", Site: "PS1", Name: `EX\a`}), ""},
		{
			"not resolved", assigned(
				Assignment{Entry: "network-access", Site: "PS1", Name: `EX\a`, SID: sid},
				Assignment{Entry: "capture-os-image", Site: "PS1", Name: `ex.test\a`}),
			"must-differ unknown capture-os-image@PS1 network-access@PS1",
		},
		{
			"UPN", assigned(
				Assignment{Entry: "network-access", Site: "PS1", Name: `EX\a`},
				Assignment{Entry: "capture-os-image", Site: "PS1", Name: `somebody@ex.test`}),
			"must-differ unknown capture-os-image@PS1 network-access@PS1",
		},
		{"other user", assigned(
			Assignment{Entry: "network-access", Site: "PS1", Name: `EX\a`},
			Assignment{Entry: "capture-os-image", Site: "PS1", Name: `ex.test\b`}), ""},
		{
			"may share", assigned(
				Assignment{Entry: "capture-os-image", Site: "PS1", Name: `EX\a`},
				Assignment{Entry: "ts-domain-joining", Site: "PS1", Name: `EX\a`}),
			"may-share shared capture-os-image@PS1 ts-domain-joining@PS1",
		},
		{
			"must match", assigned(
				Assignment{Entry: "amt-provisioning-and-discovery", Site: "PS1", Name: "admin"},
				Assignment{Entry: "amt-remote-admin", Site: "PS1", Name: "root"}),
			"must-match violated amt-provisioning-and-discovery@PS1 amt-remote-admin@PS1",
		},
		{"matches", assigned(
			Assignment{Entry: "amt-provisioning-and-discovery", Site: "PS1", Name: "admin"},
			Assignment{Entry: "amt-remote-admin", Site: "PS1", Name: "Admin"}), ""},
		{
			"match with nobody read", assigned(
				Assignment{Entry: "amt-provisioning-and-discovery", Site: "PS1", Name: "admin"}),
			"must-match unknown amt-provisioning-and-discovery@PS1 amt-remote-admin@PS1",
		},
		{"match with a slot that is empty", &Document{
			Readings:    []Reading{{Class: ClassAssignments, Scope: "PS1"}},
			Assignments: []Assignment{{Entry: "amt-provisioning-and-discovery", Site: "PS1", Name: "admin"}},
		}, ""},
		{
			"also be, nobody read", assigned(
				Assignment{Entry: "amt-provisioning-removal", Site: "PS1", Name: `EX\r`}),
			"must-also-be unknown amt-provisioning-removal@PS1 amt-user-accounts@PS1",
		},
		{"also be, is not", &Document{
			Readings: []Reading{{Class: ClassAssignments, Scope: "PS1"}},
			Assignments: []Assignment{
				{Entry: "amt-provisioning-removal", Site: "PS1", Name: `EX\r`},
				{Entry: "amt-user-accounts", Site: "PS1", Name: `EX\u`},
				{Entry: "amt-user-accounts", Site: "PS2", Name: `EX\r`},
			},
		}, "must-also-be violated amt-provisioning-removal@PS1 amt-user-accounts@PS1"},
		{"also be, is", assigned(
			Assignment{Entry: "amt-provisioning-removal", Site: "PS1", Name: `EX\r`},
			Assignment{Entry: "amt-user-accounts", Site: "PS1", Name: `EX\u`},
			Assignment{Entry: "amt-user-accounts", Site: "PS1", Name: `ex\R`}), ""},
		{"one per sequence", &Document{
			Assignments: []Assignment{{Entry: "ts-run-as", Site: "PS1", Name: `EX\r`}},
			Sequences: []Sequence{
				{ID: "S1", Accounts: []Step{{Entry: "ts-run-as", Name: `EX\r`}}},
				{ID: "S2", Accounts: []Step{{Entry: "ts-run-as", Name: `ex\R`}}},
			},
		}, "one-per violated ts-run-as@PS1 task-sequence@"},
		{"one sequence", &Document{
			Readings:    []Reading{{Class: ClassSequences}},
			Assignments: []Assignment{{Entry: "ts-run-as", Site: "PS1", Name: `EX\r`}},
			Sequences:   []Sequence{{ID: "S1", Accounts: []Step{{Entry: "ts-run-as", Name: `EX\r`}, {Entry: "ts-run-as", Name: `EX\r`}}}},
		}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := strings.Join(separated(t, tc.doc), "|"); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

// TestSeparationBothSides: a rule that both entries state gives one finding with the
// lines of both.
func TestSeparationBothSides(t *testing.T) {
	doc := &Document{Assignments: []Assignment{
		{Entry: "network-access", Site: "PS1", Name: `EX\a`},
		{Entry: "capture-os-image", Site: "PS1", Name: `EX\a`},
		{Entry: "ts-domain-joining", Site: "PS1", Name: `EX\a`},
	}}
	found := mustLoad(t).Separations(doc)
	if len(found) != 3 {
		t.Fatalf("%d findings: %+v", len(found), found)
	}
	for _, f := range found {
		if f.A.Entry == "network-access" && f.B.Entry == "ts-domain-joining" && fmt.Sprint(f.Lines) != "[455 559]" {
			t.Errorf("lines %v", f.Lines)
		}
	}
}
