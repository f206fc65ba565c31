package bloodhound

import (
	"archive/zip"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/leastwise/leastwise/internal/forest"
)

// Limits of an archive. JSON of collections shrinks to a tenth to a thirtieth.
const (
	maxFiles    = 10_000
	maxUnpacked = 64 << 30 // bytes of all files together
	maxRatio    = 400      // unpacked to packed, beyond freeBytes
	freeBytes   = 16 << 20
)

// IsZip reports whether head, the beginning of a file, is that of a zip archive.
func IsZip(head []byte) bool {
	return len(head) >= 4 && head[0] == 'P' && head[1] == 'K' && (head[2] == 3 && head[3] == 4 || head[2] == 5 && head[3] == 6)
}

// AddZip adds the JSON files of an archive of size bytes. Files of other kinds are
// passed over and counted. Archives that are encrypted, that hold archives, or that
// unpack to more than is plausible are refused. Errors are those of AddJSON, with
// the name of the file in the archive, [forest.ErrTruncated] for an archive without
// its end, and ErrDamaged.
func (c *Collection) AddZip(name string, r io.ReaderAt, size int64) error {
	z, err := zip.NewReader(r, size)
	if errors.Is(err, zip.ErrFormat) { // it begins as one: see IsZip
		return fmt.Errorf("%w: the archive does not end with the list of its files", forest.ErrTruncated)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if len(z.File) > maxFiles {
		return fmt.Errorf("%w: %d files", ErrLimit, len(z.File))
	}
	left, files := plausible(size), 0
	for _, f := range z.File {
		inner := clip(f.Name)
		switch ext := strings.ToLower(path.Ext(f.Name)); {
		case f.FileInfo().IsDir():
			continue
		case f.Flags&1 != 0:
			return fmt.Errorf("%s: %w: it is encrypted: unpack it first", inner, ErrCollection)
		case ext == ".zip":
			return fmt.Errorf("%s: %w: an archive within an archive: unpack it first", inner, ErrCollection)
		case ext != ".json":
			c.stats.skipped["files that are not JSON"]++
			continue
		}
		n, err := c.addMember(name+": "+inner, f, left)
		if err != nil {
			return err
		}
		left -= n
		files++
	}
	if files == 0 {
		return fmt.Errorf("%w: the archive holds no JSON", ErrCollection)
	}
	return nil
}

// plausible returns to how many bytes so many packed ones can unpack. It bounds the
// files of an archive and the archive, whose files may claim the same bytes.
func plausible(packed int64) int64 {
	return min(maxUnpacked, freeBytes+min(packed, maxUnpacked)*maxRatio)
}

// addMember adds one file of an archive and returns how many bytes it had.
func (c *Collection) addMember(name string, f *zip.File, left int64) (int64, error) {
	r, err := f.Open()
	if err != nil {
		return 0, fmt.Errorf("%s: %w: %w", clip(f.Name), ErrDamaged, err)
	}
	defer r.Close()
	src := &meter{r: r, left: min(left, plausible(int64(min(f.CompressedSize64, maxUnpacked))))}
	if err = c.AddJSON(name, src); err != nil && !errors.Is(err, ErrLimit) {
		if _, rest := io.Copy(io.Discard, src); isDamage(rest) || errors.Is(rest, io.ErrUnexpectedEOF) { // what was read is not what was packed
			err = fmt.Errorf("%w: %w", ErrDamaged, rest)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", clip(f.Name), err)
	}
	return src.n, nil
}

// meter counts what is unpacked and stops at the limit.
type meter struct {
	r    io.Reader
	n    int64
	left int64
}

func (m *meter) Read(p []byte) (int, error) {
	if m.left <= 0 {
		return 0, fmt.Errorf("%w: it unpacks to more than is plausible", ErrLimit)
	}
	n, err := m.r.Read(p[:min(int64(len(p)), m.left)])
	m.n, m.left = m.n+int64(n), m.left-int64(n)
	return n, err
}

// isDamage reports an error of unpacking, not of what was packed.
func isDamage(err error) bool {
	var corrupt flate.CorruptInputError
	return errors.As(err, &corrupt) || errors.Is(err, zip.ErrChecksum) || errors.Is(err, zip.ErrFormat)
}
