package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/control"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/report"
)

// A Difference is what lies between two snapshots of one forest.
type Difference struct {
	Version   int                `json:"version"` // 1
	Directory *forest.Changes    `json:"directory"`
	Findings  *report.Difference `json:"findings"`
	New       []control.Finding  `json:"-"` // findings that only the second has
	Grown     []control.Finding  `json:"-"` // failures of both that are more in the second
}

// ErrUnrelated reports two snapshots that have no domain in common.
var ErrUnrelated = errors.New("there is nothing to compare")

// Diff reads two files and compares them: what the directory holds, and how the
// controls come out. Snapshots without a common domain are ErrUnrelated: every
// object of theirs would count as gone or new.
func Diff(ctx context.Context, set *ControlSet, names [2]string, tool string, now time.Time) (*Difference, error) {
	var snapshots [2]*forest.Snapshot
	for i, name := range names {
		s, err := Load(ctx, name, tool, now)
		if err != nil {
			return nil, err
		}
		snapshots[i] = s
	}
	if !related(snapshots[0], snapshots[1]) {
		return nil, fmt.Errorf("%w: %s holds %s, %s holds %s", ErrUnrelated,
			names[0], domainNames(snapshots[0]), names[1], domainNames(snapshots[1]))
	}
	var results [2]*control.Assessment
	for i, s := range snapshots {
		var err error
		if results[i], err = set.Assess(s, now, tool); err != nil {
			return nil, err
		}
	}
	d := control.Diff(results[0], results[1])
	return &Difference{
		Version:   1,
		Directory: forest.Diff(snapshots[0], snapshots[1]),
		Findings:  report.NewDifference(results[0], results[1], d),
		New:       d.New,
		Grown:     d.Grown(),
	}, nil
}

// related reports whether a and b have read a domain in common: one with the same
// SID, or with the same name where a SID was not read. Snapshots without any
// domain, such as LDIF of a configuration partition, are not judged.
func related(a, b *forest.Snapshot) bool {
	as, bs := domainsRead(a), domainsRead(b)
	for _, x := range as {
		for _, y := range bs {
			if x.SID == y.SID && !x.SID.IsZero() {
				return true
			}
			if (x.SID.IsZero() || y.SID.IsZero()) && strings.EqualFold(x.DNS, y.DNS) {
				return true
			}
		}
	}
	return len(as) == 0 || len(bs) == 0
}

// domainsRead lists the domains whose objects are part of s.
func domainsRead(s *forest.Snapshot) []forest.Domain {
	return slices.DeleteFunc(slices.Clone(s.Domains()), func(d forest.Domain) bool { return d.Head == forest.None })
}

// domainNames names the domains of s with their SIDs, which tell forests of one
// name apart.
func domainNames(s *forest.Snapshot) string {
	var out []string
	for _, d := range domainsRead(s) {
		out = append(out, fmt.Sprintf("%s (%s)", d.DNS, d.SID))
	}
	return strings.Join(out, ", ")
}
