package collect_test

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/collect"
	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A fakeDC answers searches from a list, for what Samba cannot be brought to do: a
// broken descriptor, a silent rootDSE, several domains, reparse points.
type fakeDC struct {
	root    dc.RootDSE
	entries map[string][]dc.Entry // by base, or base and server: see on
	refs    map[string][]string
	answers dc.Server              // that answers searches; zero: the one in use
	fails   func(dc.Request) error // after the entries; may be nil

	mu    sync.Mutex // guards inUse
	inUse dc.Server
}

// on is the key of entries that one server has.
func on(s dc.Server, base string) string { return s.Name + "/" + base }

var fakeServer = dc.Server{Name: "dc1.contoso.test"}

func newFakeDC() *fakeDC {
	return &fakeDC{
		root: dc.RootDSE{
			DefaultNC: "DC=contoso,DC=test", ConfigurationNC: "CN=Configuration,DC=contoso,DC=test",
			SchemaNC: "CN=Schema,CN=Configuration,DC=contoso,DC=test",
		},
		entries: map[string][]dc.Entry{"": {fakeEntry("", "tokenGroups", string(secdesc.MustSID("S-1-5-11").Bytes()))}},
		refs:    map[string][]string{},
		inUse:   fakeServer,
	}
}

func (f *fakeDC) Root() dc.RootDSE { return f.root }
func (f *fakeDC) Domain() string   { return "contoso.test" }

func (f *fakeDC) Server() dc.Server {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.inUse
}

func (f *fakeDC) use(s dc.Server) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inUse = s
}

func (f *fakeDC) Search(_ context.Context, q dc.Request, fn func(dc.Entry) error) (dc.Result, error) {
	server := cmp.Or(f.answers, f.Server())
	for _, e := range slices.Concat(f.entries[q.Base], f.entries[on(server, q.Base)]) {
		if err := fn(e); err != nil {
			return dc.Result{}, err
		}
	}
	if f.fails != nil {
		if err := f.fails(q); err != nil {
			return dc.Result{}, err
		}
	}
	return dc.Result{Server: server, Referrals: f.refs[q.Base]}, nil
}

func fakeEntry(dn string, pairs ...string) dc.Entry {
	e := dc.Entry{DN: dn}
	for i := 0; i < len(pairs); i += 2 {
		e.Attributes = append(e.Attributes, dc.Attribute{Name: pairs[i], Values: [][]byte{[]byte(pairs[i+1])}})
	}
	return e
}

// fakeFiles is a SYSVOL share.
type fakeFiles []dc.File

func (f fakeFiles) Walk(_ context.Context, _ string, _ dc.WalkOption, fn func(dc.File) error) error {
	for _, x := range f {
		if err := fn(x); err != nil {
			return err
		}
	}
	return nil
}

func scanFake(t *testing.T, f *fakeDC, files collect.Files) *forest.Snapshot {
	t.Helper()
	s, err := collect.Scan(t.Context(), f, collect.Options{Tool: "test", Files: files, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Only partitions that were read have a server; another domain and what the server
// refers to are left out by name.
func TestOtherPartitions(t *testing.T) {
	f := newFakeDC()
	f.entries[f.root.ConfigurationNC] = []dc.Entry{fakeEntry("CN=CHILD,CN=Partitions,"+f.root.ConfigurationNC,
		"objectClass", "crossRef", "nETBIOSName", "CHILD", "nCName", "DC=child,DC=contoso,DC=test")}
	f.refs[f.root.DefaultNC] = []string{
		"ldap://child.contoso.test/DC=child,DC=contoso,DC=test",
		"ldap://other.contoso.test/DC=other%20one,DC=contoso,DC=test??base",
		"ldap://contoso.test/CN=Configuration,DC=contoso,DC=test",
	}
	s := scanFake(t, f, nil)
	for _, line := range s.Info().Servers {
		if strings.Contains(line, "child") || strings.Contains(line, "other") {
			t.Errorf("a partition that was not read has a server: %s", line)
		}
	}
	if n := len(s.Info().Servers); n != 3 {
		t.Errorf("%d partitions have a server, want 3", n)
	}
	covered(t, s, forest.AreaPartition, "DC=child,DC=contoso,DC=test", "not collected")
	covered(t, s, forest.AreaPartition, "DC=other one,DC=contoso,DC=test", "not collected")
	covered(t, s, forest.AreaPartition, "CN=Configuration,DC=contoso,DC=test", "complete")
}

// When a domain controller fails in the middle, nothing of it is kept: objects and
// files come from the one that takes over, and the caller is told which and why.
func TestBeginsAgain(t *testing.T) {
	lost := errors.New("connection was lost")
	f := newFakeDC()
	second := dc.Server{Name: "dc2.contoso.test"}
	f.entries[on(fakeServer, f.root.DefaultNC)] = []dc.Entry{fakeEntry("OU=from dc1,DC=contoso,DC=test", "objectClass", "organizationalUnit")}
	f.entries[on(second, f.root.DefaultNC)] = []dc.Entry{fakeEntry("OU=from dc2,DC=contoso,DC=test", "objectClass", "organizationalUnit")}
	f.fails = func(q dc.Request) error {
		if q.Base != f.root.DefaultNC || f.Server() == second {
			return nil
		}
		f.use(second)
		return q.Restart(dc.Restart{From: fakeServer, To: second, Cause: lost})
	}
	var told []dc.Restart
	s, err := collect.Scan(t.Context(), f, collect.Options{
		Now: time.Now, Files: filesInUse{f}, Restarted: func(r dc.Restart) { told = append(told, r) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(told) != 1 || told[0].To != second || !errors.Is(told[0].Cause, lost) {
		t.Errorf("told %+v", told)
	}
	if s.Lookup("OU=from dc1,DC=contoso,DC=test") != forest.None || s.Lookup("OU=from dc2,DC=contoso,DC=test") == forest.None {
		t.Error("the objects are not those of the second domain controller alone")
	}
	for _, line := range s.Info().Servers {
		if !strings.HasSuffix(line, " = dc2.contoso.test") {
			t.Errorf("a partition is of another server: %s", line)
		}
	}
	if len(s.Files()) != 1 || s.Files()[0].Path != "Policies/dc2.contoso.test/GPT.INI" {
		t.Errorf("files %+v, want that of the second domain controller", s.Files())
	}
}

// filesInUse hold the name of the domain controller in use.
type filesInUse struct{ f *fakeDC }

func (s filesInUse) Walk(_ context.Context, _ string, _ dc.WalkOption, fn func(dc.File) error) error {
	return fn(dc.File{Path: "contoso.test/Policies/" + s.f.Server().Name + "/GPT.INI", Data: []byte{}})
}

// A partition that another server answered would mix two states of the directory.
func TestAnswerOfAnotherServer(t *testing.T) {
	f := newFakeDC()
	f.answers = dc.Server{Name: "dc2.contoso.test"}
	if _, err := collect.Scan(t.Context(), f, collect.Options{Now: time.Now}); err == nil {
		t.Error("a scan answered by another server than it names succeeds")
	}
}

// Where nothing tells hidden from absent, the attribute is unreadable.
func TestRightsThatCannotBeEvaluated(t *testing.T) {
	const dn = "CN=u,DC=contoso,DC=test"
	user := func(sd string) dc.Entry {
		return fakeEntry(dn, "objectClass", "user", "nTSecurityDescriptor", sd)
	}
	d, err := secdesc.ParseSDDL("D:(A;;RPLCRC;;;AU)", secdesc.SID{}, secdesc.SID{})
	if err != nil {
		t.Fatal(err)
	}
	state := func(f *fakeDC, a forest.Attr) forest.State {
		s := scanFake(t, f, nil)
		if a.Syntax() == forest.Octets {
			_, st := s.Str(s.Lookup(dn), a)
			return st
		}
		_, st := s.Int(s.Lookup(dn), a)
		return st
	}
	schema := fakeEntry("CN=Admin-Count,CN=Schema,CN=Configuration,DC=contoso,DC=test", "objectClass", "attributeSchema",
		"lDAPDisplayName", "adminCount", "attributeID", "1.2.840.113556.1.4.150",
		"schemaIDGUID", string(must(secdesc.ParseGUID("bf967918-0de6-11d0-a285-00aa003049e2"))))

	member := fakeEntry("CN=Member,CN=Schema,CN=Configuration,DC=contoso,DC=test", "objectClass", "attributeSchema",
		"lDAPDisplayName", "member", "attributeID", "2.5.4.31",
		"schemaIDGUID", string(must(secdesc.ParseGUID("bf9679c0-0de6-11d0-a285-00aa003049e2"))))

	f := newFakeDC()
	f.entries[f.root.SchemaNC] = []dc.Entry{schema, member}
	f.entries[f.root.DefaultNC] = []dc.Entry{user(string(d.Bytes()))}
	if st := state(f, forest.AdminCount); st != forest.Absent {
		t.Errorf("with a token and a readable descriptor adminCount is %v, want absent", st)
	}
	// Of the schema this needs a definition that is always there, and none hidden.
	f.entries[f.root.SchemaNC] = []dc.Entry{schema, member}
	if st := state(f, forest.SIDHistory); st != forest.Absent {
		t.Errorf("what a schema does not define is %v, want absent", st)
	}
	f.entries[f.root.SchemaNC] = nil
	if st := state(f, forest.AdminCount); st != forest.Unreadable {
		t.Errorf("with a schema that cannot be listed adminCount is %v, want unreadable", st)
	}
	f.entries[f.root.SchemaNC] = []dc.Entry{member, fakeEntry("CN=Hidden,"+f.root.SchemaNC, "objectClass", "attributeSchema")}
	if st := state(f, forest.AdminCount); st != forest.Unreadable {
		t.Errorf("with a definition that is hidden adminCount is %v, want unreadable", st)
	}
	f.entries[f.root.SchemaNC] = []dc.Entry{schema, member}
	f.entries[f.root.DefaultNC] = []dc.Entry{user("no descriptor")}
	if st := state(f, forest.AdminCount); st != forest.Unreadable {
		t.Errorf("with a malformed descriptor adminCount is %v, want unreadable", st)
	}
	f.entries[f.root.DefaultNC] = []dc.Entry{user(string(d.Bytes()))}
	f.entries[""] = nil
	if st := state(f, forest.AdminCount); st != forest.Unreadable {
		t.Errorf("without the account's groups adminCount is %v, want unreadable", st)
	}
}

func must(g secdesc.GUID, err error) []byte {
	if err != nil {
		panic(err)
	}
	return g[:]
}

// A container whose permissions are hidden may hide what it holds.
func TestContainerWithoutPermissions(t *testing.T) {
	f := newFakeDC()
	f.entries[f.root.DefaultNC] = []dc.Entry{fakeEntry("OU=closed,DC=contoso,DC=test", "objectClass", "organizationalUnit")}
	s := scanFake(t, f, nil)
	covered(t, s, forest.AreaContainer, "OU=closed,DC=contoso,DC=test", "unreadable")
}

// What SYSVOL does not show is unreadable, and descriptors that are missing are
// stated; what was not walked is not absent.
func TestGapsOfSYSVOL(t *testing.T) {
	files := fakeFiles{
		{Path: "contoso.test/Policies", Dir: true, DescriptorErr: errors.New("denied")},
		{Path: "contoso.test/Policies/{A}", Dir: true, Link: true},
		{Path: "contoso.test/Policies/{B}/GPT.INI", Link: true},
		{Path: "contoso.test/Policies/{C}/GPT.INI", Data: []byte{}, DescriptorErr: errors.New("denied")},
	}
	s := scanFake(t, newFakeDC(), files)
	for path, want := range map[string]forest.State{
		"Policies/{A}/GPT.INI": forest.Unreadable, // behind a reparse point
		"Policies/{B}/GPT.INI": forest.Unreadable,
		"Policies/{C}/GPT.INI": forest.Known, // empty
		"Policies/{D}/GPT.INI": forest.Absent,
		"scripts/GPT.INI":      forest.Unreadable, // outside the walk
	} {
		if got := s.File("contoso.test", path); got.State != want {
			t.Errorf("%s is %v (%s), want %v", path, got.State, got.Reason, want)
		}
	}
	covered(t, s, forest.AreaFile, "contoso.test/Policies", "partial")
	covered(t, s, forest.AreaDescriptor, "contoso.test/Policies", "partial")
	i := slices.IndexFunc(s.Coverage(), func(c forest.Coverage) bool {
		return c.Area == forest.AreaDescriptor && c.Subject == "contoso.test/Policies"
	})
	if i >= 0 && s.Coverage()[i].Count != 2 {
		t.Errorf("%d files lack a descriptor, want 2", s.Coverage()[i].Count)
	}
}

// brokenFiles is a share that is lost, or a scan that is given up, after some files.
type brokenFiles struct {
	files fakeFiles
	err   error
	stop  context.CancelFunc
}

func (f brokenFiles) Walk(ctx context.Context, root string, opt dc.WalkOption, fn func(dc.File) error) error {
	if err := f.files.Walk(ctx, root, opt, fn); err != nil {
		return err
	}
	if f.stop != nil {
		f.stop()
	}
	return f.err
}

// What a walk did not reach before the share was lost is unreadable, not absent,
// and SYSVOL is not reported as done.
func TestSYSVOLLost(t *testing.T) {
	files := brokenFiles{
		files: fakeFiles{
			{Path: "contoso.test/Policies", Dir: true},
			{Path: "contoso.test/Policies/{A}", Dir: true},
			{Path: "contoso.test/Policies/{A}/GPT.INI", Data: []byte("x")},
		},
		err: &dc.Error{Kind: dc.ErrConnectionLost, Op: "reading SYSVOL", At: &dc.Position{}},
	}
	done := false
	s, err := collect.Scan(t.Context(), newFakeDC(), collect.Options{Files: files, Now: time.Now, Progress: func(p collect.Progress) {
		done = done || p.Phase == "SYSVOL" && p.Done
	}})
	if err != nil {
		t.Fatal(err)
	}
	if done {
		t.Error("SYSVOL is reported as done")
	}
	for path, want := range map[string]forest.State{
		"Policies/{A}/GPT.INI":              forest.Known,
		"Policies/{A}/Machine/Registry.pol": forest.Unreadable,
		"Policies/{B}/GPT.INI":              forest.Unreadable,
	} {
		if got := s.File("contoso.test", path); got.State != want {
			t.Errorf("%s is %v (%s), want %v", path, got.State, got.Reason, want)
		}
	}
	covered(t, s, forest.AreaFile, "contoso.test/Policies", "unreadable")
}

// A scan that is given up as its walk ends either succeeds or says so.
func TestInterruptedWalk(t *testing.T) {
	for name, lost := range map[string]error{"whole": nil, "cut": context.Canceled} {
		t.Run(name, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			_, err := collect.Scan(ctx, newFakeDC(), collect.Options{Files: brokenFiles{err: lost, stop: stop}, Now: time.Now})
			if !errors.Is(err, lost) || err != nil && strings.Contains(err.Error(), "%!") {
				t.Errorf("error %v, want %v", err, lost)
			}
		})
	}
}

func covered(t *testing.T, s *forest.Snapshot, area forest.Area, subject, state string) {
	t.Helper()
	if !slices.ContainsFunc(s.Coverage(), func(c forest.Coverage) bool {
		return c.Area == area && strings.EqualFold(c.Subject, subject) && c.State == state
	}) {
		t.Errorf("coverage lacks %s %s %s: %+v", area, subject, state, s.Coverage())
	}
}
