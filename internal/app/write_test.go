package app

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// names returns what is in a folder.
func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return strings.Join(out, " ")
}

func content(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	for _, want := range []string{"one", "two, longer"} { // new, then replaced
		if err := WriteFile(t.Context(), name, text(want)); err != nil {
			t.Fatal(err)
		}
		if got := content(t, name); got != want {
			t.Errorf("content %q, want %q", got, want)
		}
	}
	if got := names(t, dir); got != "f" {
		t.Errorf("the folder holds %s", got)
	}
	fi, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want owner only", fi.Mode())
	}
}

// Whatever goes wrong, the file that was there stays and nothing else is left.
func TestWriteFileFails(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		write  func(stop context.CancelFunc, w io.Writer) error
		is     error
		reason string
	}{
		"writer": {
			func(_ context.CancelFunc, w io.Writer) error {
				return errors.Join(text(strings.Repeat("x", 1<<17))(w), broken)
			},
			broken, "broken",
		},
		"interrupted while writing": {
			func(stop context.CancelFunc, w io.Writer) error { stop(); return text(strings.Repeat("x", 1<<17))(w) },
			context.Canceled, "context canceled",
		},
		"interrupted at the end": {
			func(stop context.CancelFunc, w io.Writer) error { err := text("x")(w); stop(); return err },
			context.Canceled, "context canceled",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "f")
			if err := os.WriteFile(file, []byte("before"), 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			err := WriteFile(ctx, file, func(w io.Writer) error { return c.write(stop, w) })
			var e *WriteError
			if !errors.As(err, &e) || !errors.Is(err, c.is) || e.Name != file {
				t.Fatalf("error %v, want a WriteError of %v", err, c.is)
			}
			if want := "writing " + file + ": " + c.reason; err.Error() != want {
				t.Errorf("error %q, want %q", err, want)
			}
			if got := names(t, dir); got != "f" {
				t.Errorf("the folder holds %s", got)
			}
			if got := content(t, file); got != "before" {
				t.Errorf("content %q", got)
			}
		})
	}
}

func TestWriteFilePlaces(t *testing.T) {
	dir := t.TempDir()
	for name, want := range map[string]string{
		dir:                                "writing " + dir + ": it is a folder",
		filepath.Join(dir, "nowhere", "f"): "writing " + filepath.Join(dir, "nowhere", "f") + ": ",
	} {
		for what, err := range map[string]error{"write": WriteFile(t.Context(), name, text("x")), "check": CheckWritable(name)} {
			if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), ".tmp") {
				t.Errorf("%s %s: %v, want %q", what, name, err, want)
			}
		}
	}
	if err := CheckWritable(filepath.Join(dir, "f")); err != nil {
		t.Error(err)
	}
	if got := names(t, dir); got != "" {
		t.Errorf("the folder holds %s", got)
	}
}

func TestWriteFileFollowsLink(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	if err := WriteFile(t.Context(), link, text("x")); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Lstat(link); err != nil || fi.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link became %v, %v", fi.Mode(), err)
	}
	if got := content(t, file); got != "x" {
		t.Errorf("content %q", got)
	}
}
