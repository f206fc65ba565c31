package configmgr

import (
	"encoding/json"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A Row is one row of a class, column by column, as encoding/json decodes it: text,
// numbers (float64 or json.Number), booleans, nil, lists and maps of these. Columns
// compare without regard to case.
type Row map[string]any

// get returns the value of a column, nil if the row lacks it.
func (r Row) get(column string) any {
	if v, ok := r[column]; ok {
		return v
	}
	for name, v := range r {
		if strings.EqualFold(name, column) {
			return v
		}
	}
	return nil
}

// has reports whether the row has the column, empty or not.
func (r Row) has(column string) bool {
	if _, ok := r[column]; ok {
		return true
	}
	for name := range r {
		if strings.EqualFold(name, column) {
			return true
		}
	}
	return false
}

func (r Row) text(column string) string { return textOf(r.get(column)) }

func (r Row) number(column string) (int64, bool) { return numberOf(r.get(column)) }

func (r Row) truth(column string) (value, ok bool) { return truthOf(r.get(column)) }

func (r Row) list(column string) []any { return listOf(r.get(column)) }

// texts returns the elements of a list as texts, without empty ones.
func (r Row) texts(column string) []string { return textsOf(r.get(column)) }

func textOf(v any) string {
	switch v := v.(type) {
	case string:
		return strings.TrimSpace(v)
	case json.Number:
		return v.String()
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

func numberOf(v any) (int64, bool) {
	if f, ok := v.(float64); ok {
		return int64(f), f == math.Trunc(f) && math.Abs(f) < 1<<53
	}
	n, err := strconv.ParseInt(textOf(v), 10, 64)
	return n, err == nil
}

func truthOf(v any) (value, ok bool) {
	switch strings.ToLower(textOf(v)) {
	case "true", "1", "-1":
		return true, true
	case "false", "0":
		return false, true
	}
	return false, false
}

// listOf returns a value as a list. PowerShell writes a list as an array, as the bare
// element where there was one, or, from version 5.1, as {"value": […], "Count": n}.
func listOf(v any) []any {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		return v
	case []string:
		out := make([]any, len(v))
		for i, s := range v {
			out[i] = s
		}
		return out
	case map[string]any:
		if list, ok := v["value"].([]any); ok && v["Count"] != nil {
			return list
		}
		return []any{v}
	case string:
		if strings.TrimSpace(v) == "" {
			return nil
		}
	}
	return []any{v}
}

func textsOf(v any) []string {
	var out []string
	for _, e := range listOf(v) {
		s := textOf(e)
		for part := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == ';' || r == '\n' || r == '|' }) {
			if part = strings.TrimSpace(part); part != "" {
				out = append(out, part)
			}
		}
	}
	return out
}

// isCut reports whether a value is only the name of a type, which is what ConvertTo-Json
// writes below its depth and Export-Csv for every list.
func isCut(v any) bool {
	s, ok := v.(string)
	return ok && cutValue.MatchString(strings.TrimSpace(s))
}

var cutValue = regexp.MustCompile(`^(System\.[\w.+` + "`" + `]+(\[\S*\])?|Microsoft\.ConfigurationManagement\.[\w.]+(\[\])?|[\w.]+\[\])$`)

// accountName returns a name that can be an account's. What looks like a ciphertext
// or has no business in a name is refused, so that a secret in the wrong column does
// not survive as a name.
func accountName(s string) (name string, ok bool) {
	s = strings.TrimSpace(s)
	if s == "" || len(s) > maxName || isCut(s) || cipherText.MatchString(s) && !strings.HasPrefix(s, "S-1-") {
		return "", false
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) {
		return "", false
	}
	return s, true
}

// maxName is more than DNS name and user name of any account together, in bytes.
const maxName = 600

// cipherText matches long hexadecimal and base-64 texts. Account names of that length
// have a domain and so a backslash, a full stop or an @.
var cipherText = regexp.MustCompile(`^(?i:(0x)?[0-9a-f]{40,}|[a-z0-9+/_-]{44,}={0,2}|<[^>]*>.*)$`)

// timeOf reads a time as ConvertTo-Json, the AdminService, WMI and Export-Csv write it.
func timeOf(v any) (time.Time, bool) {
	switch t := v.(type) {
	case map[string]any: // PowerShell 5.1: {"value": "/Date(…)/", "DateTime": "…"}
		return timeOf(t["value"])
	case time.Time:
		return t, true
	}
	s := textOf(v)
	if m := jsonDate.FindStringSubmatch(s); m != nil {
		ms, err := strconv.ParseInt(m[1], 10, 64)
		return time.UnixMilli(ms).UTC(), err == nil
	}
	if m := cimDate.FindStringSubmatch(s); m != nil {
		t, err := time.Parse("20060102150405", m[1])
		if err != nil {
			return time.Time{}, false
		}
		minutes, err := strconv.Atoi(m[2])
		return t.Add(-time.Duration(minutes) * time.Minute), err == nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.9999999", "2006-01-02 15:04:05Z", "2006-01-02 15:04:05", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

var (
	jsonDate = regexp.MustCompile(`^/Date\((-?\d{1,15})(?:[+-]\d{4})?\)/$`)
	cimDate  = regexp.MustCompile(`^(\d{14})\.\d{6}([+-]\d{3})$`) // [DMTF] interval of CIM: yyyymmddHHMMSS.mmmmmm±UUU
)
