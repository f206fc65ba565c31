package cli

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/report"
)

// maxRanked bounds how many principals reach --all lists.
const maxRanked = 10_000

// ranking is what reach --all is asked.
type ranking struct {
	top, broad int
	zones      string
}

func (r *ranking) check(cmd *cobra.Command, all bool) error {
	for _, name := range []string{"top", "broad", "zones"} {
		if cmd.Flags().Changed(name) && !all {
			return usagef("add --all, or leave it out", "--%s is about all principals", name)
		}
	}
	if r.top < 1 || r.top > maxRanked {
		return usagef("", "--top must be between 1 and %d", maxRanked)
	}
	if r.broad < 0 {
		return usagef("", "--broad must not be negative")
	}
	return nil
}

// rank ranks all principals of a forest.
func (c *command) rank(cmd *cobra.Command, s *forest.Snapshot, o *output, ask ranking) error {
	zones, err := readZones(ask.zones)
	if err != nil {
		return err
	}
	g, x := app.Power(s), reach.New(s)
	opt := report.RankingOptions{Top: ask.top, Broad: ask.broad}
	for i := range zones {
		ids, unknown := zones[i].Resolve(g, x, s)
		c.noteUnknown(&zones[i], unknown, ask.zones)
		opt.Zones = append(opt.Zones, report.RankingZone{Name: zones[i].Name, Level: zones[i].Level, Objects: ids})
	}
	r := report.NewRanking(s, g, opt)
	return c.write(cmd.Context(), o, func(w io.Writer) error {
		if o.form == "json" {
			return r.JSON(w)
		}
		return r.Text(w, c.screen(o))
	})
}
