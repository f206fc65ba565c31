package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/configmgr"
)

// UpdateSlots gives a document the history of an earlier one, read from a file: when
// assignments were first seen, and which have gone.
func UpdateSlots(ctx context.Context, previous string, d *configmgr.Document, now time.Time) (*configmgr.Document, error) {
	cat, err := Slots()
	if err != nil {
		return nil, err
	}
	old, err := ReadSlotDocument(ctx, cat, previous, now)
	if err != nil {
		return nil, err
	}
	return configmgr.Update(old, d), nil
}

// ImportSlots makes one document of several files: documents, declared files, and what
// cmdlets of Configuration Manager wrote. site is the code for rows that do not tell
// theirs. The notices say what a person should know of the files.
func ImportSlots(ctx context.Context, files []string, site string, now time.Time) (*configmgr.Document, []configmgr.Notice, error) {
	cat, err := Slots()
	if err != nil {
		return nil, nil, err
	}
	var docs []*configmgr.Document
	var notices []configmgr.Notice
	for _, name := range files {
		if ctx.Err() != nil {
			return nil, nil, fmt.Errorf("reading %s: %w", name, context.Cause(ctx))
		}
		d, n, err := importSlotFile(ctx, cat, name, configmgr.Provenance{Source: configmgr.Imported, Collector: "cmdlet", Site: strings.ToUpper(site), At: now})
		if err != nil {
			return nil, nil, err
		}
		docs, notices = append(docs, d), append(notices, n...)
	}
	return configmgr.Merge(docs...), notices, nil
}

func importSlotFile(ctx context.Context, cat *configmgr.Catalogue, name string, p configmgr.Provenance) (*configmgr.Document, []configmgr.Notice, error) {
	if isDeclared(name) {
		d, err := ReadSlotDocument(ctx, cat, name, p.At)
		return d, nil, err
	}
	data, err := readExport(name)
	if errors.Is(err, configmgr.ErrImport) {
		return nil, nil, fmt.Errorf("importing %w", err)
	}
	if errors.Is(err, ErrInput) {
		return nil, nil, fmt.Errorf("reading %s: it is a folder: name the files in it", name)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if isDocument(data) {
		d, err := ReadSlotDocument(ctx, cat, name, p.At)
		return d, nil, err
	}
	d, notices, err := configmgr.Import([]configmgr.Export{{Name: filepath.Base(name), Data: data}}, p)
	if err != nil {
		return nil, nil, fmt.Errorf("importing %w", err)
	}
	return d, notices, nil
}

// readExport reads a file as it is, whatever its encoding.
func readExport(name string) ([]byte, error) {
	f, err := openInput(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := configmgr.ReadExport(filepath.Base(name), f)
	return data, cause(err)
}

func isDeclared(name string) bool {
	ext := strings.ToLower(filepath.Ext(name))
	return ext == ".yaml" || ext == ".yml"
}

// isDocument says whether JSON is a document of leastwise and not an export: it says
// its version and holds nothing of a cmdlet's.
func isDocument(data []byte) bool {
	var head struct {
		Version  *int              `json:"version"`
		Value    json.RawMessage   `json:"value"`
		Readings []json.RawMessage `json:"readings"`
		Sites    []json.RawMessage `json:"sites"`
		Stated   []json.RawMessage `json:"attestations"`
		Assigned []json.RawMessage `json:"assignments"`
	}
	if err := json.Unmarshal(data, &head); err != nil || head.Version == nil || head.Value != nil {
		return false
	}
	return len(head.Readings)+len(head.Sites)+len(head.Stated)+len(head.Assigned) > 0
}
