package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
)

// floors measures what nothing that reads a whole snapshot file can be faster than.
func (b *bench) floors(ctx context.Context, name, label string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	s, err := b.repeat(func() *exec.Cmd { return exec.CommandContext(ctx, self, "floor", name) })
	if err != nil {
		return err
	}
	b.table.add(row{
		what:  label + "floor: expanding the file and touching each byte once",
		value: fmt.Sprintf("%.2f s (%.2f s of processor time)", s.wall().Seconds(), s.cpu().Seconds()),
	})
	return nil
}

// A packed section is one of a snapshot file as docs/FORMATS.md describes it.
type packed struct {
	zstd bool
	body []byte
	size int // of the content
}

// floorOf expands the sections of a snapshot file, on all processors, and touches
// each byte of them once.
func floorOf(name string) error {
	file, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	sections, err := sectionsOf(file)
	if err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	var next, sum atomic.Int64
	errs := make([]error, runtime.GOMAXPROCS(0))
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			zip, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
			if err != nil {
				errs[i] = err
				return
			}
			defer zip.Close()
			var room []byte
			for k := next.Add(1) - 1; int(k) < len(sections); k = next.Add(1) - 1 {
				s := sections[k]
				content := s.body
				if s.zstd {
					if cap(room) < s.size {
						room = make([]byte, 0, s.size)
					}
					if content, err = zip.DecodeAll(s.body, room[:0]); err != nil {
						errs[i] = err
						return
					}
				}
				touched := int64(0)
				for _, c := range content {
					touched += int64(c)
				}
				sum.Add(touched)
			}
		})
	}
	all.Wait()
	fmt.Println(sum.Load())
	return errors.Join(errs...)
}

func sectionsOf(file []byte) ([]packed, error) {
	var out []packed
	for at := 12; at < len(file) && file[at] == 'S'; {
		if len(file)-at < 4+int(file[at+3])+20 {
			return nil, errors.New("cut short")
		}
		sizes := file[at+4+int(file[at+3]):]
		size, length := binary.LittleEndian.Uint64(sizes), binary.LittleEndian.Uint64(sizes[8:])
		if length > uint64(len(sizes)-20) || size > 4<<30 {
			return nil, errors.New("cut short")
		}
		out = append(out, packed{file[at+2] == 1, sizes[20 : 20+length], int(size)})
		at += 4 + int(file[at+3]) + 20 + int(length)
	}
	if len(out) == 0 {
		return nil, errors.New("it has no sections")
	}
	return out, nil
}
