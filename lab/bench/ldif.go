package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/leastwise/leastwise/internal/forest"
)

// asLDIF writes a snapshot file as the LDIF that ldapsearch would write of the forest.
func asLDIF(snapshot, name string) error {
	in, err := os.Open(snapshot)
	if err != nil {
		return err
	}
	defer in.Close()
	s, err := forest.Read(in)
	if err != nil {
		return err
	}
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(s.WriteLDIF(out), out.Close())
}

// imports measures the import of the LDIF of a forest, which is there only meanwhile.
func (b *bench) imports(ctx context.Context, name, label string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	text := strings.TrimSuffix(name, ".lws") + ".ldif"
	defer os.Remove(text)
	if _, err := once(exec.CommandContext(ctx, self, "ldif", name, text)); err != nil {
		return err
	}
	size, err := os.Stat(text)
	if err != nil {
		return err
	}
	s, err := b.repeat(func() *exec.Cmd {
		return exec.CommandContext(ctx, b.program, "import", text, "--quiet", "--out", filepath.Join(b.out, "imported.lws"))
	})
	if err != nil {
		return err
	}
	b.table.under(fmt.Sprintf("%simport of its LDIF, %.1f GB", label, mb(size.Size())/1e3), "%.1f s", s.wall().Seconds(), 25)
	b.table.add(row{what: label + "import, processor time", value: fmt.Sprintf("%.1f s, %.0f MB", s.cpu().Seconds(), mb(s.peak()))})
	return nil
}

// importOf imports a file of LDIF as leastwise does and prints how long each part took.
func importOf(args []string) error {
	fs := flag.NewFlagSet("bench import", flag.ContinueOnError)
	profile := fs.String("profile", "", "file for a profile of the processor time")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() != 1 {
		return errors.New("import takes one file of LDIF")
	}
	return profiled(*profile, func() error {
		lap := laps()
		in, err := os.Open(fs.Arg(0))
		if err != nil {
			return err
		}
		defer in.Close()
		b := forest.NewBuilder(forest.Info{Source: "ldif"})
		if err := forest.ReadLDIF(in, b); err != nil {
			return err
		}
		lap("read")
		s, err := b.Build()
		if err != nil {
			return err
		}
		lap("build")
		if err := s.Write(io.Discard); err != nil {
			return err
		}
		lap("write")
		fmt.Fprintf(os.Stderr, "%d objects\n", s.Len())
		return nil
	})
}
