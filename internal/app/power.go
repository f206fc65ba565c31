package app

import (
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
)

// Power prepares the answers about effective control in s.
func Power(s *forest.Snapshot) *reach.Graph { return reach.Of(s) }
