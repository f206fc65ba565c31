package gpo

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// An AuditEntry is one line of audit.csv ([MS-GPAC] 2.2.1).
type AuditEntry struct {
	Target      string       // "System", a SID, or empty for options and global object access lists
	Subcategory string       // display name, for people only
	GUID        secdesc.GUID // zero for options (Option:CrashOnAuditFail) and global lists (FileGlobalSacl)
	Value       string       // system: 0 unchanged, 1 success, 2 failure, 3 both, 4 none; options: number or SDDL
	Line        int
}

// maxAuditLines bounds audit.csv.
const maxAuditLines = 10_000

// ParseAuditCSV reads audit.csv. Errors name the line. The head line and blank
// lines are skipped; extra fields at the end are ignored.
func ParseAuditCSV(raw []byte) ([]AuditEntry, error) {
	text, _, err := decodeText(raw)
	if err != nil {
		return nil, fmt.Errorf("reading audit.csv: %w", err)
	}
	r := csv.NewReader(strings.NewReader(strings.TrimRight(text, "\x00\x1a")))
	r.FieldsPerRecord, r.LazyQuotes = -1, true
	var out []AuditEntry
	for {
		rec, err := r.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading audit.csv: %w: %w", ErrSyntax, err)
		}
		line, _ := r.FieldPos(0)
		e, skip, err := auditRecord(rec)
		if err != nil {
			return nil, fmt.Errorf("reading audit.csv: %w: line %d: %w", ErrSyntax, line, err)
		}
		if skip {
			continue
		}
		if len(out) == maxAuditLines {
			return nil, fmt.Errorf("reading audit.csv: %w: more than %d lines", ErrSyntax, maxAuditLines)
		}
		e.Line = line
		out = append(out, e)
	}
}

func auditRecord(rec []string) (e AuditEntry, skip bool, err error) {
	for i := range rec {
		rec[i] = strings.TrimSpace(rec[i])
	}
	if len(rec) == 1 && rec[0] == "" || len(rec) > 3 && strings.EqualFold(rec[3], "Subcategory GUID") {
		return e, true, nil
	}
	if len(rec) < 7 {
		return e, false, fmt.Errorf("%d fields instead of 7", len(rec))
	}
	e = AuditEntry{Target: rec[1], Subcategory: rec[2], Value: rec[6]}
	if rec[3] != "" {
		if e.GUID, err = secdesc.ParseGUID(rec[3]); err != nil {
			return e, false, err
		}
		if _, err := strconv.ParseUint(e.Value, 10, 8); err != nil {
			return e, false, fmt.Errorf("setting value %q is not a number", clip(e.Value))
		}
	}
	return e, false, nil
}
