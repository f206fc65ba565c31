package plan

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Schema is the format of plan files.
const Schema = "leastwise-plan/1"

// Limits of plan files.
const (
	MaxChanges = 100_000
	MaxSize    = 64 << 20 // bytes
)

// A Plan is a list of changes in one domain, carried out in this order.
type Plan struct {
	Schema  string    `json:"schema"`
	Domain  string    `json:"domain"` // DNS name, lower case
	Made    time.Time `json:"made"`
	Title   string    `json:"title,omitempty"`
	Changes []Change  `json:"changes"`
}

// New returns a plan of changes in the order given. made is the time now.
func New(domain, title string, made time.Time, changes []Change) (*Plan, error) {
	p := &Plan{Schema: Schema, Domain: strings.ToLower(domain), Made: made.UTC().Truncate(time.Second), Title: title, Changes: changes}
	return p, p.Validate()
}

// Arrange sorts changes so that what is given comes before what is taken, and a
// password is reset before its account is enabled: nobody is locked out in between, and
// no account is open with an old password. Changes of one kind stay in their order.
func Arrange(changes []Change) []Change {
	rank := Kinds()
	out := slices.Clone(changes)
	slices.SortStableFunc(out, func(a, b Change) int { return slices.Index(rank, a.Kind) - slices.Index(rank, b.Kind) })
	return out
}

// Validate says what is wrong with a plan: a change by itself, or changes that cannot
// follow each other.
func (p *Plan) Validate() error {
	switch {
	case p.Schema != Schema:
		return badPlan("its schema is %q, not %q", p.Schema, Schema)
	case p.Domain == "" || p.Domain != strings.ToLower(p.Domain):
		return badPlan("its domain %q is not a DNS name in lower case", p.Domain)
	case p.Made.IsZero() || !p.Made.Equal(p.Made.Truncate(time.Second)) || p.Made.Year() > 9999 || p.Made.Year() < 1:
		return badPlan("it does not say when it was made, in whole seconds")
	case len(p.Changes) == 0:
		return badPlan("it changes nothing")
	case len(p.Changes) > MaxChanges:
		return badPlan("%d changes are more than %d", len(p.Changes), MaxChanges)
	case !utf8.ValidString(p.Title) || !utf8.ValidString(p.Domain):
		return badPlan("title or domain is not UTF-8")
	}
	state := map[string]bool{} // facts as the changes so far leave them
	touched := map[string]int{}
	for i, c := range p.Changes {
		if err := c.Validate(); err != nil {
			return fmt.Errorf("change %d: %w", i+1, err)
		}
		if err := c.follows(state, touched); err != nil {
			return fmt.Errorf("change %d: %w", i+1, err)
		}
		state[c.Subject()] = c.gives()
		touched[c.Object.key()] = i + 1
	}
	return nil
}

// follows reports whether a change can come after those before it.
func (c Change) follows(state map[string]bool, touched map[string]int) error {
	was, said := state[c.Subject()]
	before := touched[c.Object.key()]
	r := c.Require
	switch {
	case said && !c.toggles():
		return badPlan("%s: an earlier change does so, too", c.Text())
	case said && was == c.gives():
		return badPlan("%s: it is so after an earlier change", c.Text())
	case before > 0 && (r.WhenChanged != "" || r.USNChanged != 0):
		return badPlan("%s: it requires that its object was not changed, but change %d changes it", c.Text(), before)
	}
	return nil
}

// Canonical is the one way to write the plan in bytes: JSON without white space, fields
// in the order of the types of this package. The digest is over these bytes.
func (p *Plan) Canonical() []byte {
	b, err := marshal(p)
	if err != nil {
		panic("plan: marshalling values that always can be: " + err.Error())
	}
	return b
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// Digest names the plan: "sha256:" and the SHA-256 of Canonical in hexadecimal.
func (p *Plan) Digest() string {
	sum := sha256.Sum256(p.Canonical())
	return "sha256:" + hex.EncodeToString(sum[:])
}

// JSON is the plan file: Canonical with white space for people.
func (p *Plan) JSON() []byte {
	var b bytes.Buffer
	_ = json.Indent(&b, p.Canonical(), "", "  ") // fails only for what is not JSON
	b.WriteByte('\n')
	return b.Bytes()
}

// Parse reads a plan file. White space is free; everything else must be byte for byte
// what JSON writes, so that no two readers can understand one file differently.
func Parse(b []byte) (*Plan, error) {
	if len(b) > MaxSize {
		return nil, badPlan("the file has more than %d bytes", MaxSize)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var p Plan
	if err := d.Decode(&p); err != nil {
		return nil, badPlan("%s", jsonError(b, err))
	}
	var tight bytes.Buffer
	if err := json.Compact(&tight, b); err != nil {
		return nil, badPlan("after the plan: %v", err)
	}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	want := p.Canonical()
	if got := tight.Bytes(); !bytes.Equal(got, want) {
		at := firstDifference(got, want)
		return nil, badPlan("it is not in the form that leastwise plan writes: near %q", got[max(0, at-20):min(len(got), at+20)])
	}
	return &p, nil
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// jsonError adds the line to an error of package json.
func jsonError(b []byte, err error) string {
	text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "json: "), ErrPlan.Error()+": ")
	at := int64(-1)
	switch e := err.(type) { //nolint:errorlint // package json wraps nothing
	case *json.SyntaxError:
		at = e.Offset
	case *json.UnmarshalTypeError:
		at = e.Offset
	}
	if at < 0 || at > int64(len(b)) {
		return text
	}
	return fmt.Sprintf("line %d: %s", 1+bytes.Count(b[:at], []byte("\n")), text)
}

// Text writes the plan for people, with its digest.
func (p *Plan) Text(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Plan for %s, made %s\n", p.Domain, p.Made.Format(time.RFC3339))
	if p.Title != "" {
		fmt.Fprintf(&b, "%s\n", quote(p.Title))
	}
	for i, c := range p.Changes {
		fmt.Fprintf(&b, "\n%3d  %s\n", i+1, c.Text())
		fmt.Fprintf(&b, "     object {%s} %s\n", c.Object.GUID, c.Object.SID)
		if c.Member != nil && !c.Member.GUID.IsZero() {
			fmt.Fprintf(&b, "     member {%s} %s\n", c.Member.GUID, c.Member.SID)
		}
		if c.New != nil {
			for _, line := range c.New.details() {
				fmt.Fprintf(&b, "     %s\n", line)
			}
		}
		for _, line := range c.Conditions() {
			fmt.Fprintf(&b, "     if %s\n", line)
		}
		if _, err := c.Inverse(Facts{Expires: new(int64)}); err != nil {
			b.WriteString("     cannot be undone\n")
		}
	}
	fmt.Fprintf(&b, "\ndigest %s\n", p.Digest())
	_, err := w.Write(b.Bytes())
	return err
}
