package forest

import (
	"encoding/json"
	"strings"
	"testing"
)

func guidOf(n byte) string { return strings.Repeat(string(rune('a'+n)), 16) }

// pairOf builds two snapshots with the same attributes collected.
func pairOf(t *testing.T, before, after func(*Builder)) (*Snapshot, *Snapshot) {
	t.Helper()
	one := func(fill func(*Builder)) *Snapshot {
		b := newTestBuilder()
		b.Collected(Member, Description, AdminCount, SAMAccountName)
		fill(b)
		return mustBuild(t, b)
	}
	return one(before), one(after)
}

func TestDiffObjects(t *testing.T) {
	before, after := pairOf(t, func(b *Builder) {
		mustAdd(t, b, entry(root), entry("OU=a,"+root, "objectGUID", guidOf(1)), entry("OU=b,"+root, "objectGUID", guidOf(2)),
			entry("CN=moves,OU=a,"+root, "objectGUID", guidOf(3)), entry("CN=old name,OU=a,"+root, "objectSid", sidBytes(domSID+"-9")),
			entry("CN=goes,"+root, "objectGUID", guidOf(4)), entry("CN=reused,"+root, "objectGUID", guidOf(5)),
			entry("CN=stays,OU=b,"+root, "objectGUID", guidOf(6), "whenChanged", "20240101000000.0Z"))
	}, func(b *Builder) {
		mustAdd(t, b, entry(root), entry("OU=a,"+root, "objectGUID", guidOf(1)), entry("OU=bb,"+root, "objectGUID", guidOf(2)),
			entry("CN=moves,OU=bb,"+root, "objectGUID", guidOf(3)), entry("CN=new name,OU=a,"+root, "objectSid", sidBytes(domSID+"-9")),
			entry("CN=comes,"+root, "objectGUID", guidOf(7)), entry("CN=reused,"+root, "objectGUID", guidOf(8)),
			entry("CN=stays,OU=bb,"+root, "objectGUID", guidOf(6), "whenChanged", "20250101000000.0Z"))
	})
	var got []string
	for _, o := range Diff(before, after).Objects {
		line := string(o.Kind) + " " + strings.TrimSuffix(o.DN, ","+root)
		if o.OldDN != "" {
			line += " from " + strings.TrimSuffix(o.OldDN, ","+root)
		}
		got = append(got, line)
	}
	want := []string{
		"added CN=comes", "removed CN=goes", "removed CN=reused", "added CN=reused",
		"moved CN=new name,OU=a from CN=old name,OU=a", "moved OU=bb from OU=b", "moved CN=moves,OU=bb from CN=moves,OU=a",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestDiffOfEqualIsEmpty(t *testing.T) {
	if d := Diff(mustBuild(t, sample(t)), mustBuild(t, sample(t))); !d.Empty() {
		t.Errorf("%+v", d)
	}
}

func TestDiffContent(t *testing.T) {
	before, after := pairOf(t, func(b *Builder) {
		mustAdd(t, b, entry(root, "objectClass", "domainDNS", "objectSid", sidBytes(domSID)), entry("CN=u,"+root, "objectGUID", guidOf(1)), entry("CN=gone,"+root),
			entry("CN=g,"+root, "description", "x", "adminCount", "1", "nTSecurityDescriptor", descriptor("S-1-5-18", domSID+"-512", 0x100),
				"member", "CN=u,"+root, "member", "CN=gone,"+root, "member", "CN=far,DC=y", "member", "CN=w,DC=y"))
	}, func(b *Builder) {
		mustAdd(t, b, entry(root, "objectClass", "domainDNS", "objectSid", sidBytes(domSID)), entry("CN=v,"+root, "objectGUID", guidOf(1)), entry("CN=gone,"+root),
			entry("CN=g,"+root, "description", "y", "nTSecurityDescriptor", descriptor("S-1-5-32-544", domSID+"-513", 0x100),
				"member", "CN=v,"+root, "member", "cn=FAR,DC=y", "member", "CN=more,DC=y", "member", "<TTL=60>,CN=w,DC=y"))
		b.MarkUnreadable(AdminCount, "no right")
	})
	d := Diff(before, after)
	if len(d.Objects) != 2 {
		t.Fatalf("%+v", d.Objects)
	}
	raw, err := json.Marshal(d.Objects[0])
	if err != nil {
		t.Fatal(err)
	}
	want := `{"kind":"changed","dn":"CN=g,DC=contoso,DC=test","attributes":[` +
		`{"attribute":"adminCount","old":["1"],"new":null,"old_state":"known","new_state":"unreadable"},` +
		`{"attribute":"description","old":["x"],"new":["y"],"old_state":"known","new_state":"known"}],` +
		`"links":[{"kind":"removed","attribute":"member","target":"CN=gone,DC=contoso,DC=test"},` +
		`{"kind":"added","attribute":"member","target":"CN=more,DC=y"},` +
		`{"kind":"changed","attribute":"member","target":"CN=w,DC=y","new_expires":"2026-03-01T12:01:00Z"}],` +
		`"descriptor":{"old_state":"known","new_state":"known","old_owner":"S-1-5-18","new_owner":"S-1-5-32-544","entries":[` +
		`{"kind":"removed","list":"dacl","index":0,"sddl":"(A;;CR;;;DA)"},{"kind":"added","list":"dacl","index":0,"sddl":"(A;;CR;;;DU)"}]}}`
	if string(raw) != want {
		t.Errorf("got  %s\nwant %s", raw, want)
	}
}

// What is no longer readable was not removed.
func TestDiffUnreadableIsNotRemoved(t *testing.T) {
	part := func(state string) Coverage { return Coverage{Area: AreaPartition, Subject: root, State: state} }
	before, after := pairOf(t, func(b *Builder) {
		mustAdd(t, b, entry(root), entry("OU=h,"+root), entry("CN=a,OU=h,"+root), entry("CN=b,"+root), entry("CN=c,"+config),
			entry("CN=g,"+root, "member", "CN=b,"+root))
		b.Cover(part("complete"))
		b.Cover(Coverage{Area: AreaPartition, Subject: config, State: "complete"})
		b.AddFile(File{Domain: "x", Path: "a", State: Known, Data: []byte("1")})
		b.AddFile(File{Domain: "x", Path: "b", State: Known, Data: []byte("1")})
		b.AddFile(File{Domain: "x", Path: "c", State: Known, Data: []byte("1")})
	}, func(b *Builder) {
		mustAdd(t, b, entry(root), entry("OU=h,"+root), entry("CN=g,"+root))
		b.MarkUnreadable(Member, "no right")
		b.Cover(part("partial"))
		b.Cover(Coverage{Area: AreaContainer, Subject: "OU=h," + root, State: "unreadable"})
		b.Cover(Coverage{Area: AreaPartition, Subject: config, State: "unreadable"})
		b.Cover(Coverage{Area: AreaFile, Subject: "X", State: "complete"})
		b.AddFile(File{Domain: "x", Path: "a", State: Unreadable, Reason: "no"})
		b.AddFile(File{Domain: "x", Path: "c", State: Known, Data: []byte("2")})
	})
	d := Diff(before, after)
	got := map[string]ChangeKind{}
	for _, o := range d.Objects {
		got[o.DN] = o.Kind
		for _, l := range o.Links {
			got["member "+l.Target] = l.Kind
		}
	}
	for _, f := range d.Files {
		got["file "+f.Path] = f.Kind
	}
	for what, kind := range map[string]ChangeKind{
		"CN=a,OU=h," + root: Lost, "CN=b," + root: Removed, "CN=c," + config: Lost, "member CN=b," + root: Lost,
		"file a": Lost, "file b": Removed, "file c": Modified,
	} {
		if got[what] != kind {
			t.Errorf("%s is %q, want %q", what, got[what], kind)
		}
	}
	back := Diff(after, before)
	for _, o := range back.Objects {
		if o.DN == "CN=a,OU=h,"+root && o.Kind != Found {
			t.Errorf("%s is %q", o.DN, o.Kind)
		}
	}
	if len(d.Coverage) == 0 {
		t.Error("no coverage differences")
	}
}

// A system list or a partition that only one side read is no change.
func TestDiffOfReadingIsNoChange(t *testing.T) {
	plain := descriptor("S-1-5-18", domSID+"-512", 0x100)
	full := []byte(plain)
	full[2], full[3] = full[2]|0x10, full[3]|0x08 // SACL present (and empty), auto-inherited
	head := func(b *Builder, sd string, state string) {
		mustAdd(t, b, entry(root, "objectClass", "domainDNS", "nTSecurityDescriptor", sd))
		b.Cover(Coverage{Area: AreaPartition, Subject: root, State: "complete"})
		b.Cover(Coverage{Area: AreaSACL, Subject: "nTSecurityDescriptor", State: state})
	}
	before, after := pairOf(t, func(b *Builder) { head(b, plain, "unreadable") }, func(b *Builder) {
		head(b, string(full), "complete")
		mustAdd(t, b, entry(config, "objectClass", "configuration"), entry("CN=c,"+config))
	})
	for want, d := range map[ChangeKind]*Changes{Found: Diff(before, after), Lost: Diff(after, before)} {
		if len(d.Objects) != 2 {
			t.Errorf("%s: %+v", want, d.Objects)
		}
		for _, o := range d.Objects {
			if o.Kind != want {
				t.Errorf("%s is %s, want %s", o.DN, o.Kind, want)
			}
		}
	}
}
