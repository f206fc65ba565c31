package app

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// WriteFile writes a file that is either complete or not there: write fills a
// temporary file in the same folder, which takes the name only after it has
// reached the disk and ctx is still alive. An existing file stays as it was until
// then. The file is readable by its owner only, because snapshots and reports
// describe how to attack the forest.
func WriteFile(ctx context.Context, name string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*.tmp")
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	w := bufio.NewWriterSize(&ctxWriter{ctx, f}, 1<<16)
	if err := write(w); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	for _, step := range []func() error{w.Flush, f.Sync, f.Close, ctx.Err} {
		if err := step(); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

// A ctxWriter stops writing when its context ends.
type ctxWriter struct {
	ctx context.Context //nolint:containedctx // lives for one WriteFile only
	w   io.Writer
}

func (c *ctxWriter) Write(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.w.Write(p)
}
