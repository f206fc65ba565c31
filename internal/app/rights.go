package app

import (
	"errors"
	"fmt"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/reach"
)

// ErrNoScope reports a computer that group policy cannot be computed for.
var ErrNoScope = errors.New("computer is in no domain of this snapshot")

// Resultant computes what group policy sets on one computer.
func Resultant(s *forest.Snapshot, computer forest.ID) (*gpo.Result, error) {
	e := gpo.New(s, reach.New(s))
	scope, ok := e.ScopeOf(computer)
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrNoScope, s.DN(computer))
	}
	return e.Result(scope), nil
}
