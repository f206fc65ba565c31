package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// A WriteError reports a file that could not be written. A file that was there
// before is as it was.
type WriteError struct {
	Name string
	Err  error
}

// Error names the file that was asked for, not the temporary one.
func (e *WriteError) Error() string { return fmt.Sprintf("writing %s: %v", e.Name, e.Err) }

// Unwrap returns the cause.
func (e *WriteError) Unwrap() error { return e.Err }

// writeError takes the name of the temporary file out of err.
func writeError(name string, err error) error {
	if err == nil {
		return nil
	}
	return &WriteError{name, cause(err)}
}

// WriteFile writes a file that is either complete or not there: write fills a
// temporary file in the same folder, which takes the name only after it has
// reached the disk and ctx is still alive. An existing file stays as it was until
// then. The file is readable by its owner only, because snapshots and reports
// describe how to attack the forest.
//
// A symbolic link is followed; a device or pipe (/dev/stdout) is written to as it
// is, never replaced. Errors are WriteErrors.
func WriteFile(ctx context.Context, name string, write func(io.Writer) error) error {
	target, direct, err := resolve(name)
	switch {
	case err != nil:
	case direct:
		err = writeDirect(ctx, target, write)
	default:
		err = writeWhole(ctx, target, write)
	}
	return writeError(name, err)
}

// CheckWritable reports, before long work, whether WriteFile could write name. It
// leaves nothing behind.
func CheckWritable(name string) error {
	target, direct, err := resolve(name)
	if err != nil || direct {
		return writeError(name, err)
	}
	f, err := createTemp(target)
	if err != nil {
		return writeError(name, err)
	}
	return writeError(name, errors.Join(f.Close(), os.Remove(f.Name())))
}

// resolve follows symbolic links and tells whether name is something that is
// written to directly.
func resolve(name string) (target string, direct bool, err error) {
	fi, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return name, false, nil
	case err != nil:
		return "", false, err
	case fi.IsDir():
		return "", false, errors.New("it is a folder")
	case !fi.Mode().IsRegular():
		return name, true, nil
	}
	target, err = filepath.EvalSymlinks(name)
	return target, false, err
}

func createTemp(name string) (*os.File, error) {
	return os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*.tmp")
}

func writeDirect(ctx context.Context, name string, write func(io.Writer) error) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(fill(ctx, f, write), f.Close())
}

// fill writes through a buffer until ctx ends.
func fill(ctx context.Context, f *os.File, write func(io.Writer) error) error {
	w := bufio.NewWriterSize(&ctxWriter{ctx, f}, 1<<16)
	if err := write(w); err != nil {
		return err
	}
	return w.Flush()
}

func writeWhole(ctx context.Context, name string, write func(io.Writer) error) (err error) {
	f, err := createTemp(name)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err := fill(ctx, f, write); err != nil {
		return err
	}
	for _, step := range []func() error{f.Sync, f.Close, ctx.Err} {
		if err := step(); err != nil {
			return err
		}
	}
	return os.Rename(f.Name(), name)
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
