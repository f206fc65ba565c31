package samba

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/forest/fixture"
	"github.com/leastwise/leastwise/internal/secdesc"
)

//go:embed scripts/seed.py
var seedScript string

// seedJob is what scripts/seed.py reads.
type seedJob struct {
	Dir       string            `json:"dir"`
	Changes   []seedChange      `json:"changes"`
	Passwords map[string]string `json:"passwords,omitempty"` // to be given before the changes
	Keep      map[string]string `json:"keep,omitempty"`      // to be given back after them, where they took it away
	Schema    bool              `json:"schema,omitempty"`
}

type seedChange struct {
	DN     string              `json:"dn"`
	Verb   fixture.Verb        `json:"verb"`
	Attrs  map[string][][]byte `json:"attrs,omitempty"` // base64 in JSON
	Values string              `json:"values,omitempty"`
	Relax  fixture.Relax       `json:"relax,omitempty"`
}

// SeedFile loads the fixture file name; see Seed. It remembers the file by its
// checksum: FixtureSum.
func (l *Lab) SeedFile(ctx context.Context, name string, now time.Time, progress func(string)) error {
	f, err := fixture.ParseFS(os.DirFS(filepath.Dir(name)), filepath.Base(name))
	if err != nil {
		return err
	}
	sum, err := FixtureSum(name)
	if err != nil {
		return err
	}
	if err := l.Seed(ctx, f, now, progress); err != nil {
		return err
	}
	l.Fixture = sum
	return l.save()
}

// FixtureSum returns the checksum by which Lab.Fixture names a fixture file.
func FixtureSum(name string) (string, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("reading the fixture: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// Seed loads a fixture into the lab: its objects into the directory of the first
// domain controller, its policies' files into SYSVOL of all. now is the moment
// that the fixture's ages count from. Seed returns once every domain controller
// has everything. A lab can be seeded once; what went in before a failure stays.
func (l *Lab) Seed(ctx context.Context, f *fixture.Forest, now time.Time, progress func(string)) error {
	if err := l.seedable(); err != nil {
		return err
	}
	adds, err := f.Adds(now)
	if err != nil {
		return err
	}
	l.SeedBegan = now.UTC().Format(time.RFC3339)
	if err := l.save(); err != nil {
		return err
	}
	n := 0
	for n < len(adds) && adds[n].Relax == fixture.RelaxSchema {
		n++
	}
	if n > 0 {
		progress("extending the schema")
		if _, err := l.seed(ctx, adds[:n], nil); err != nil {
			return fmt.Errorf("extending the schema: %w", err)
		}
		adds = adds[n:]
	}
	progress(fmt.Sprintf("adding %d objects", len(adds)))
	sids, err := l.seed(ctx, adds, nil)
	if err != nil {
		return fmt.Errorf("adding objects: %w", err)
	}
	rest, err := f.Finish(now, sids)
	if err != nil {
		return err
	}
	passwords := map[string]string{}
	for _, name := range rest.Passwords {
		passwords[name] = newPassword()
		if err := writeFile(l.path("secrets", name), passwords[name], 0o600); err != nil {
			return err
		}
	}
	progress(fmt.Sprintf("making %d changes", len(rest.Changes)))
	if _, err := l.seed(ctx, rest.Changes, passwords); err != nil {
		return fmt.Errorf("changing objects: %w", err)
	}
	progress(fmt.Sprintf("writing %d files to SYSVOL", len(rest.Files)))
	if err := l.seedSysvol(ctx, rest.Files); err != nil {
		return err
	}
	progress("waiting for replication")
	if err := l.convergeAfterSeed(ctx); err != nil {
		return err
	}
	for _, h := range l.DCs()[1:] {
		// Permissions were copied as numbers of the first domain controller; those
		// of new groups may be others here.
		if err := l.resetSysvol(ctx, h); err != nil {
			return err
		}
	}
	l.Seeded = now.UTC().Format(time.RFC3339)
	return l.save()
}

// seedable refuses a second fixture, and one on top of what a failure left. What
// is in lab.json counts, not what was read of it earlier.
func (l *Lab) seedable() error {
	now, err := Open(l.Dir)
	if err != nil {
		return err
	}
	var what string
	switch {
	case now.Seeded != "":
		what = "holds a fixture already, loaded " + now.Seeded
	case now.SeedBegan != "":
		what = "holds a part of a fixture: loading began " + now.SeedBegan + " and has not come to its end"
	default:
		return nil
	}
	return fmt.Errorf("the lab in %s %s; a lab takes one fixture, once: take it down (go run ./lab down --dir %s), build it again with up, then seed", l.Dir, what, l.Dir)
}

// seedReplication bounds how long thousands of new objects may take to arrive.
const seedReplication = 5 * time.Minute

// convergeAfterSeed is Converge with more patience.
func (l *Lab) convergeAfterSeed(ctx context.Context) error {
	for end := time.Now().Add(seedReplication); ; {
		err := l.Converge(ctx)
		refused := ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) // no patience helps
		if err == nil || refused || ctx.Err() != nil || time.Now().After(end) {
			return err
		}
	}
}

// seed has scripts/seed.py carry out changes; it returns the SIDs of all objects.
func (l *Lab) seed(ctx context.Context, changes []fixture.Change, passwords map[string]string) (map[string]secdesc.SID, error) {
	admin, err := l.Admin.Password()
	if err != nil {
		return nil, err
	}
	job := seedJob{Dir: l.DCs()[0].Dir, Passwords: passwords, Changes: make([]seedChange, 0, len(changes)), Keep: map[string]string{l.Admin.Name: admin}}
	job.Schema = len(changes) > 0 && changes[0].Relax == fixture.RelaxSchema
	for _, c := range changes {
		s := seedChange{DN: c.DN, Verb: c.Verb, Values: c.Values, Relax: c.Relax, Attrs: map[string][][]byte{}}
		for _, v := range c.Attrs {
			s.Attrs[v.Name] = v.Vals
		}
		job.Changes = append(job.Changes, s)
	}
	in, err := json.Marshal(job)
	if err != nil {
		return nil, fmt.Errorf("describing the changes: %w", err)
	}
	out, err := l.Python(ctx, seedScript, in)
	if err != nil {
		return nil, err
	}
	text := map[string]string{}
	if err := json.Unmarshal(out, &text); err != nil {
		return nil, fmt.Errorf("reading the SIDs of the new objects: %w", err)
	}
	sids := make(map[string]secdesc.SID, len(text))
	for dn, s := range text {
		if sids[dn], err = secdesc.ParseSID(s); err != nil {
			return nil, fmt.Errorf("reading the SID of %s: %w", dn, err)
		}
	}
	return sids, nil
}

// seedSysvol replaces the policies' folders, gives them the permissions that
// their objects have, and copies them to the other domain controllers.
func (l *Lab) seedSysvol(ctx context.Context, files []forest.File) error {
	dcs := l.DCs()
	root := filepath.Join(dcs[0].Dir, "state", "sysvol", l.Domain)
	if err := os.RemoveAll(filepath.Join(root, "Policies")); err != nil {
		return fmt.Errorf("emptying SYSVOL: %w", err)
	}
	for _, f := range files {
		path := filepath.Join(root, filepath.FromSlash(f.Path))
		if !strings.HasPrefix(path, root+string(filepath.Separator)) {
			return fmt.Errorf("file %q lies outside SYSVOL", f.Path)
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("writing SYSVOL: %w", err)
		}
		if err := os.WriteFile(path, f.Data, 0o644); err != nil {
			return fmt.Errorf("writing SYSVOL: %w", err)
		}
	}
	if err := l.resetSysvol(ctx, dcs[0]); err != nil {
		return err
	}
	for _, to := range dcs[1:] {
		if err := l.copySysvol(ctx, dcs[0], to); err != nil {
			return err
		}
	}
	return nil
}

// resetSysvol gives the files of h's SYSVOL the permissions that follow from the
// policies' descriptors in its directory.
func (l *Lab) resetSysvol(ctx context.Context, h Host) error {
	if _, err := run(l.Command(ctx, "samba-tool", "ntacl", "sysvolreset", "-s", h.toolsConf())); err != nil {
		return fmt.Errorf("setting permissions of SYSVOL on %s: %w", h.Name, err)
	}
	return nil
}
