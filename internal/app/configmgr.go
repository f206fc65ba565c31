package app

import (
	"fmt"

	"github.com/leastwise/leastwise/internal/configmgr"
)

// Slots reads the built-in catalogue of the groups and accounts of Configuration
// Manager.
func Slots() (*configmgr.Catalogue, error) {
	cat, err := configmgr.Load()
	if err != nil {
		return nil, fmt.Errorf("reading the built-in catalogue of slots: %w", err)
	}
	return cat, nil
}
