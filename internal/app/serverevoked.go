package app

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"

	"github.com/leastwise/leastwise/internal/operator"
)

// revocations are files with lists of revoked certificates, which authorities replace while
// the server runs. It is safe for concurrent use.
type revocations struct {
	log *slog.Logger

	mu    sync.Mutex
	files []*revocationFile
}

// A revocationFile is one of them as it was read last.
type revocationFile struct {
	name  string
	tried fs.FileInfo // as it was when it was read, or tried to be
	lists []*x509.RevocationList
	gone  bool // it could not be looked at
}

// openRevocations reads the files. What cannot be used is an error now; later it is only
// logged, and what was read before counts until it ends.
func openRevocations(files []string, log *slog.Logger) (*revocations, error) {
	r := &revocations{log: log}
	for _, name := range files {
		f := &revocationFile{name: name}
		if err := f.read(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrConfig, err)
		}
		r.files = append(r.files, f)
	}
	return r, nil
}

// read reads the file if it has changed since it was read or tried.
func (f *revocationFile) read() error {
	fi, err := os.Stat(f.name)
	if err != nil {
		if f.gone {
			return nil
		}
		f.gone = true
		return fmt.Errorf("reading revoked certificates %s: %w", f.name, cause(err))
	}
	f.gone = false
	if f.tried != nil && os.SameFile(f.tried, fi) && fi.ModTime().Equal(f.tried.ModTime()) && fi.Size() == f.tried.Size() {
		return nil
	}
	f.tried = fi
	data, err := ReadFile(f.name)
	if err != nil {
		return fmt.Errorf("reading revoked certificates %s: %w", f.name, err)
	}
	lists, err := parseRevocations(data)
	if err != nil {
		return fmt.Errorf("reading revoked certificates %s: %w", f.name, err)
	}
	f.lists = lists
	return nil
}

// parseRevocations reads one list in DER form, or several in PEM form.
func parseRevocations(data []byte) (out []*x509.RevocationList, err error) {
	take := func(der []byte) error {
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return fmt.Errorf("it is no list of revoked certificates: %w", err)
		}
		out = append(out, list)
		return operator.CheckList(list)
	}
	block, rest := nextPEM(data)
	if block == nil {
		return out, take(data)
	}
	for ; block != nil; block, rest = nextPEM(rest) {
		if block.Type != "X509 CRL" {
			return nil, errors.New("it holds something else than lists of revoked certificates: " + block.Type)
		}
		if err := take(block.Bytes); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// lists returns the newest lists. It never fails: a list that has ended is no longer
// current, which package operator sees.
func (r *revocations) lists() (all []*x509.RevocationList, _ error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.files {
		if err := f.read(); err != nil {
			r.log.Warn("the lists of revoked certificates that were read before stay in use", "error", err.Error())
		}
		all = append(all, f.lists...)
	}
	return all, nil
}
