package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

const largest = 200_000

// synthetic measures the assessment of generated forests of three sizes. That of
// 20,000 may take at most as many times that of 2,000 as it has more objects.
func (b *bench) synthetic(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var small float64 // seconds per object of the smallest
	for i, n := range []int{2_000, 20_000, largest} {
		b.say("synthetic forest of %d objects", n)
		name := filepath.Join(b.out, fmt.Sprintf("synthetic-%d.lws", n))
		made, err := once(exec.CommandContext(ctx, self, "generate", strconv.Itoa(n), name))
		if err != nil {
			return err
		}
		s, objects, err := b.assess(ctx, name)
		if err != nil {
			return err
		}
		each := s.wall().Seconds() / float64(objects)
		label := fmt.Sprintf("synthetic forest of %d objects: ", objects)
		if n == largest {
			b.table.under(label+"assess", "%.2f s", s.wall().Seconds(), 5)
			if err := b.loadRow(label, name); err != nil {
				return err
			}
			b.table.add(row{what: label + "assess, peak memory", value: fmt.Sprintf("%.0f MB", mb(s.peak()))})
			b.table.add(row{what: label + "build and write, peak memory", value: fmt.Sprintf("%.0f MB", mb(made.peak))})
		} else {
			b.table.add(row{what: label + "assess", value: fmt.Sprintf("%.2f s, %.0f MB", s.wall().Seconds(), mb(s.peak()))})
		}
		b.table.add(row{what: label + "processor time", value: fmt.Sprintf("%.2f s", s.cpu().Seconds())})
		if i == 0 {
			small = each
			continue
		}
		b.table.under(label+"time per object, of that of the smallest", "%.2f", each/small, 1)
	}
	return nil
}

func (b *bench) loadRow(label, name string) error {
	d, err := b.load(name)
	if err != nil {
		return err
	}
	b.table.under(label+"load", "%.2f s", d.Seconds(), 1)
	return nil
}
