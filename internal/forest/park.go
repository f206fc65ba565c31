package forest

import (
	"bytes"
	"sync"
)

// A parked column was read and found well-formed, but is kept as it stands in the
// file until somebody asks for its values: few questions need all attributes.
type parked struct {
	attr    Attr
	frame   frame
	reading *reading // for its counts
	once    sync.Once
	c       *column
}

// parkFrom is the size from which columns are parked.
const parkFrom = 64 << 10

// parks reports whether the column of a is to be parked. Those that every question
// needs are not.
func (in *reading) parks(a Attr, f *frame) bool {
	return f.rawLen >= parkFrom && a != InstanceType
}

// park checks a column and keeps its section.
func (in *reading) park(a Attr, f *frame, d *decoder, w *worker) error {
	if !in.sameSyntax(a, f.name, d) {
		return nil
	}
	w.parked.passing = true
	if err := in.decodeColumn(&w.parked, a, d); err != nil {
		return err
	}
	kept := *f
	kept.body = bytes.Clone(f.body) // the file need not stay in memory
	in.s.parked[a] = &parked{attr: a, frame: kept, reading: &reading{info: in.info}}
	return nil
}

// column returns the values.
func (p *parked) column() *column {
	p.once.Do(func() {
		c := &column{}
		if err := p.decode(c); err != nil {
			panic("forest: a section that was read once cannot be read again: " + err.Error())
		}
		p.c, p.frame.body, p.reading = c, nil, nil
	})
	return p.c
}

func (p *parked) decode(c *column) error {
	w, err := newWorker()
	if err != nil {
		return err
	}
	defer w.zip.Close()
	raw, err := w.raw(&p.frame)
	if err != nil {
		return err
	}
	d := &decoder{b: raw}
	d.uint() // the syntax
	return p.reading.decodeColumn(c, p.attr, d)
}

// col returns the column of a; nil if there is none.
func (s *Snapshot) col(a Attr) *column {
	if p := s.parked[a]; p != nil {
		return p.column()
	}
	return s.cols[a]
}
