package control

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
)

// ErrOptions reports options that name what the snapshot does not hold. The text
// gives the option as the command line calls it.
var ErrOptions = errors.New("options do not fit the snapshot")

// Options adapt the assessment to a forest. The zero value of a field means its
// default; DefaultOptions returns them filled in. All are part of Run.ID.
type Options struct {
	// ExemptOUs are the distinguished names of OUs whose computers are jump
	// servers: the deny rights of members are not demanded there.
	ExemptOUs []string `yaml:"exempt_ous" json:"exempt_ous,omitempty"`
	// ServerOUs and WorkstationOUs decide the role of the computers below them,
	// against their operatingSystem. The nearest OU counts.
	ServerOUs      []string `yaml:"server_ous" json:"server_ous,omitempty"`
	WorkstationOUs []string `yaml:"workstation_ous" json:"workstation_ous,omitempty"`
	// StaleDays is the time without logon after which an account is stale (90).
	StaleDays int `yaml:"stale_days" json:"stale_days"`
	// OldPasswordDays is the age from which a password is old (365).
	OldPasswordDays int `yaml:"old_password_days" json:"old_password_days"`
	// KrbtgtDays is the age from which krbtgt's password is old (180).
	KrbtgtDays int `yaml:"krbtgt_days" json:"krbtgt_days"`
	// MaxPrivileged is how many accounts may stand in Enterprise Admins, Domain
	// Admins and Administrators together (5).
	MaxPrivileged int `yaml:"max_privileged" json:"max_privileged"`
	// AdminGroups are groups beside the protected ones whose effective members are
	// administrative accounts: sAMAccountName, distinguished name or SID.
	AdminGroups []string `yaml:"admin_groups" json:"admin_groups,omitempty"`
	// VIPGroups are groups whose effective members are VIP accounts.
	VIPGroups []string `yaml:"vip_groups" json:"vip_groups,omitempty"`
	// ManagementGroups are groups whose effective members are management accounts
	// even if AdminSDHolder grants them nothing.
	ManagementGroups []string `yaml:"management_groups" json:"management_groups,omitempty"`
	// RefuseTimeBound makes time-bound members of Enterprise Admins, Domain Admins
	// and Administrators failures like standing ones.
	RefuseTimeBound bool `yaml:"refuse_time_bound" json:"refuse_time_bound"`
}

// DefaultOptions returns the options of an assessment that is told nothing.
func DefaultOptions() Options { return Options{}.filled() }

func (o Options) filled() Options {
	for _, d := range []struct {
		field *int
		value int
	}{{&o.StaleDays, 90}, {&o.OldPasswordDays, 365}, {&o.KrbtgtDays, 180}, {&o.MaxPrivileged, 5}} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	return o
}

// variables returns the options as expressions and texts see them.
func (o Options) variables() map[string]any {
	return map[string]any{
		"staleDays":       o.StaleDays,
		"oldPasswordDays": o.OldPasswordDays,
		"krbtgtDays":      o.KrbtgtDays,
		"maxPrivileged":   o.MaxPrivileged,
		"acceptTimeBound": !o.RefuseTimeBound,
	}
}

// Input is what an assessment is made of.
type Input struct {
	Snapshot *forest.Snapshot
	// Now decides which exceptions have expired. Ages count from the end of the
	// scan, Snapshot.Info().Finished, and from Now only if that is not known: an old
	// snapshot says the same as on its first day.
	Now        time.Time
	Options    Options
	Exceptions []Exception
	Workers    int          // goroutines that Assess may use; 2 if zero
	Graph      *reach.Graph // of Snapshot, with its memberships and policies; made if nil
}

// under reports whether id lies in or below one of the containers.
func under(s *forest.Snapshot, id forest.ID, containers []forest.ID) (depth int, ok bool) {
	for n := 0; id != forest.None; id, n = s.Parent(id), n+1 {
		if slices.Contains(containers, id) {
			return n, true
		}
	}
	return 0, false
}

// lookups resolves distinguished names that checkOptions has seen.
func lookups(s *forest.Snapshot, dns []string) []forest.ID {
	var ids []forest.ID
	for _, dn := range dns {
		if id := s.Lookup(strings.TrimSpace(dn)); id != forest.None {
			ids = append(ids, id)
		}
	}
	return ids
}

// checkOptions refuses options that name nothing: a misspelled OU would silently
// demand too much or too little. The error names every such option.
func (w *world) checkOptions() error {
	var errs []error
	for _, o := range []struct {
		name string
		dns  []string
	}{{"exempt", w.options.ExemptOUs}, {"servers", w.options.ServerOUs}, {"workstations", w.options.WorkstationOUs}} {
		for _, dn := range o.dns {
			if w.s.Lookup(strings.TrimSpace(dn)) == forest.None {
				errs = append(errs, fmt.Errorf("%w: %s: no container %q in the snapshot", ErrOptions, o.name, dn))
			}
		}
	}
	for _, o := range []struct {
		name   string
		groups []string
	}{{"admin-groups", w.options.AdminGroups}, {"vip-groups", w.options.VIPGroups}, {"management-groups", w.options.ManagementGroups}} {
		for _, g := range o.groups {
			ids := w.groupNamed(g)
			if !slices.ContainsFunc(ids, func(id forest.ID) bool { return w.kind(id) == "group" }) {
				errs = append(errs, fmt.Errorf("%w: %s: no group %q in the snapshot", ErrOptions, o.name, g))
			}
		}
	}
	return errors.Join(errs...)
}
