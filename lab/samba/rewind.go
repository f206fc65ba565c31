package samba

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// keptDir holds the copies of the hosts' folders that Keep made.
const keptDir = "kept"

// Keep remembers the lab as it is now, for Rewind. The hosts are stopped for the time of
// the copy. If leash is not nil the hosts end when the other end of it closes.
func (l *Lab) Keep(ctx context.Context, leash *os.File) error {
	return l.offline(ctx, leash, func() error {
		if err := os.RemoveAll(l.path(keptDir)); err != nil {
			return fmt.Errorf("removing what was kept before: %w", err)
		}
		if err := os.Mkdir(l.path(keptDir), 0o700); err != nil {
			return fmt.Errorf("making the folder of what is kept: %w", err)
		}
		for _, h := range l.Hosts {
			if err := copyTree(ctx, h.Dir, l.path(keptDir, h.Name)); err != nil {
				return err
			}
		}
		return copyTree(ctx, l.path(labFile), l.path(keptDir, labFile))
	})
}

// Rewind takes the lab back to what Keep remembered: nothing that was loaded or changed
// since is left, and it can be seeded as it could be then.
func (l *Lab) Rewind(ctx context.Context, leash *os.File) error {
	err := l.offline(ctx, leash, func() error {
		for _, h := range l.Hosts {
			kept := l.path(keptDir, h.Name)
			if _, err := os.Stat(kept); err != nil {
				return fmt.Errorf("nothing was kept of %s: %w", h.Name, err)
			}
			if err := os.RemoveAll(h.Dir); err != nil {
				return fmt.Errorf("removing what %s has now: %w", h.Name, err)
			}
			if err := copyTree(ctx, kept, h.Dir); err != nil {
				return err
			}
		}
		return copyTree(ctx, l.path(keptDir, labFile), l.path(labFile))
	})
	if err != nil {
		return fmt.Errorf("taking the lab back: %w", err)
	}
	then, err := Open(l.Dir)
	if err != nil {
		return err
	}
	*l = *then
	return nil
}

// offline does something while no host runs, and starts them again.
func (l *Lab) offline(ctx context.Context, leash *os.File, do func() error) error {
	for _, h := range l.Hosts {
		if err := l.StopHost(ctx, h, true); err != nil {
			return err
		}
	}
	if err := do(); err != nil {
		return err
	}
	for _, h := range l.Hosts {
		if err := l.start(h, leash); err != nil {
			return err
		}
	}
	return l.wait(ctx)
}

// copyTree copies a file or folder with its owners, modes and extended attributes, in
// which Samba keeps descriptors of files.
func copyTree(ctx context.Context, from, to string) error {
	out, err := exec.CommandContext(ctx, "cp", "-a", "--sparse=always", from, to).CombinedOutput()
	if err != nil {
		return errors.Join(fmt.Errorf("copying %s: %w: %s", filepath.Base(from), err, out), ctx.Err())
	}
	return nil
}
