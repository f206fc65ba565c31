package server

import (
	"context"
	"sync"
	"time"

	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// amongFor is how long it is remembered whether somebody is among those whom terms name.
// Only what is shown depends on it: package grant asks the directory at each decision.
const amongFor = 5 * time.Second

// maxAmong bounds what is remembered.
const maxAmong = 10_000

// An amongCache remembers it, so that a crowd which looks at lists does not keep the domain
// controllers busy. The zero value is ready for use.
type amongCache struct {
	mu   sync.Mutex
	kept map[amongKey]amongAnswer
}

type amongKey struct {
	account secdesc.GUID
	refs    string
}

type amongAnswer struct {
	is bool
	at time.Time
}

// amongThem reports whether an account is among those named, or was some seconds ago. What
// could not be found out is not remembered.
func (s *Server) amongThem(ctx context.Context, account secdesc.GUID, refs []grant.Ref) (bool, error) {
	key, now := amongKey{account, joinRefs(refs)}, s.cfg.Now()
	s.among.mu.Lock()
	a, ok := s.among.kept[key]
	s.among.mu.Unlock()
	if age := now.Sub(a.at); ok && age >= 0 && age < amongFor {
		return a.is, nil
	}
	is, err := s.cfg.Directory.Within(ctx, account, refs)
	if err != nil {
		return false, err
	}
	s.among.mu.Lock()
	defer s.among.mu.Unlock()
	if s.among.kept == nil || len(s.among.kept) >= maxAmong {
		s.among.kept = map[amongKey]amongAnswer{}
	}
	s.among.kept[key] = amongAnswer{is, now}
	return is, nil
}
