package grant_test

import (
	"testing"

	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/grant/granttest"
)

func TestMemoryConforms(t *testing.T) {
	granttest.Conform(t, func(*testing.T) grant.Store { return granttest.NewMemory() })
}
