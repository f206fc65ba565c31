package app

import (
	"context"
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
}

// Diff reads two files and compares them: what the directory holds, and how the
// controls come out.
func Diff(ctx context.Context, set *ControlSet, before, after, tool string, now time.Time) (*Difference, error) {
	var snapshots [2]*forest.Snapshot
	var results [2]*control.Assessment
	for i, name := range []string{before, after} {
		s, err := Load(ctx, name, tool, now)
		if err != nil {
			return nil, err
		}
		if results[i], err = set.Assess(s, now, tool); err != nil {
			return nil, err
		}
		snapshots[i] = s
	}
	d := control.Diff(results[0], results[1])
	return &Difference{
		Version:   1,
		Directory: forest.Diff(snapshots[0], snapshots[1]),
		Findings:  report.NewDifference(results[0], results[1], d),
		New:       d.New,
	}, nil
}
