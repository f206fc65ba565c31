package app

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/leastwise/leastwise/internal/control"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
)

// A ControlSet is a catalogue with the options and exceptions to apply it with.
type ControlSet struct {
	Catalogue  *control.Catalogue
	Options    control.Options
	Exceptions []control.Exception
}

// Catalogue compiles the guide's controls and those of the configured files.
func Catalogue(c *Config) (*control.Catalogue, error) {
	var files []control.Source
	for _, name := range c.List("catalogue") {
		data, err := ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading catalogue %s: %w", name, err)
		}
		files = append(files, control.Source{Name: filepath.Base(name), Data: data})
	}
	return control.New(files...)
}

// Controls reads the configured catalogue files and exceptions.
func Controls(c *Config) (*ControlSet, error) {
	cat, err := Catalogue(c)
	if err != nil {
		return nil, err
	}
	set := &ControlSet{Catalogue: cat, Options: control.Options{
		ExemptOUs: c.List("exempt"), ServerOUs: c.List("servers"), WorkstationOUs: c.List("workstations"),
		AdminGroups: c.List("admin-groups"), VIPGroups: c.List("vip-groups"), ManagementGroups: c.List("management-groups"),
		StaleDays: c.Int("stale-days"), OldPasswordDays: c.Int("password-days"), KrbtgtDays: c.Int("krbtgt-days"),
		MaxPrivileged: c.Int("max-privileged"), RefuseTimeBound: c.Bool("refuse-time-bound"),
	}}
	if name := c.Text("exceptions"); name != "" {
		data, err := ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading exceptions %s: %w", name, err)
		}
		if set.Exceptions, err = control.ParseExceptions(filepath.Base(name), data); err != nil {
			return nil, err
		}
	}
	return set, nil
}

// ErrNoDomain reports a snapshot without any domain: its assessment says what is
// missing, and nothing about a domain.
var ErrNoDomain = errors.New("no domain was assessed")

// CheckDomain returns ErrNoDomain if s holds no head of a domain.
func CheckDomain(s *forest.Snapshot) error {
	if len(domainsRead(s)) > 0 {
		return nil
	}
	return fmt.Errorf("%w: what was read holds no head of a domain (objectClass domainDNS with objectSid), so every control is unknown", ErrNoDomain)
}

// Assess evaluates the controls on a snapshot. Ages count from the end of the
// scan; now only decides which exceptions have expired and dates the run.
func (set *ControlSet) Assess(s *forest.Snapshot, now time.Time, tool string) (*control.Assessment, error) {
	a, err := set.Catalogue.Assess(control.Input{Snapshot: s, Now: now, Options: set.Options, Exceptions: set.Exceptions})
	if errors.Is(err, control.ErrOptions) {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if err != nil {
		return nil, fmt.Errorf("assessing: %w", err)
	}
	a.Run.Tool = tool
	return a, nil
}

// Simulate evaluates the controls on the snapshot of a graph and on that of its view
// with changes; see [control.Catalogue.Simulate]. It ends when ctx does.
func (set *ControlSet) Simulate(ctx context.Context, before, after *reach.Graph, now time.Time, progress func(phase string, done, all int)) (*control.Simulation, error) {
	was := control.Input{Snapshot: before.Snapshot(), Graph: before, Now: now, Options: set.Options, Exceptions: set.Exceptions}
	will := control.Input{Snapshot: after.Snapshot(), Graph: after}
	sim, err := set.Catalogue.Simulate(was, will, control.Watch{
		Progress: progress, Stopped: func() error { return context.Cause(ctx) },
	})
	if errors.Is(err, control.ErrOptions) {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if err != nil {
		return nil, fmt.Errorf("evaluating the controls: %w", err)
	}
	return sim, nil
}
