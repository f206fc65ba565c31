package operator

import (
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
	cedarast "github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
)

// ErrPolicies reports policies that cannot be used. The text names file and line of
// each mistake.
var ErrPolicies = errors.New("policies of operators")

// Limits of a file of policies.
const (
	maxPolicyFile = 1 << 20 // bytes
	maxPolicies   = 1000
	maxGroups     = 500 // different groups that they name
)

// administratorRole is what an account made by Init is in.
const administratorRole = "administrator"

//go:embed default.cedar
var defaultPolicies string

// DefaultPolicies returns the text of the policies that hold where no file is given.
func DefaultPolicies() string { return defaultPolicies }

// Policies say what each account may do. They do not change; make them with
// [ParsePolicies].
type Policies struct {
	set    *cedar.PolicySet
	digest [32]byte        // SHA-256 of the text
	groups []string        // all groups that they name
	guards map[string]bool // those whose absence could permit something: if one is absent, nothing is
}

// A PolicyRef says where a policy stands.
type PolicyRef struct {
	ID   string
	File string
	Line int
}

// String returns ID and place.
func (p PolicyRef) String() string { return fmt.Sprintf("%s (%s:%d)", p.ID, p.File, p.Line) }

// ParsePolicies reads policies in the Cedar language. Each must have an annotation
// @id("…") that no other has, and must fit [Schema]: an unknown action, attribute or
// kind of entity is an error, never a policy that matches nothing.
func ParsePolicies(file string, text []byte) (*Policies, error) {
	if len(text) > maxPolicyFile {
		return nil, fmt.Errorf("%w: %s: %d bytes are more than %d", ErrPolicies, file, len(text), maxPolicyFile)
	}
	list, err := cedar.NewPolicyListFromBytes(file, text)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrPolicies, file, err)
	}
	if len(list) == 0 || len(list) > maxPolicies {
		return nil, fmt.Errorf("%w: %s: it holds %d policies, want 1 to %d", ErrPolicies, file, len(list), maxPolicies)
	}
	v, err := validator()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPolicies, err)
	}
	p := &Policies{set: cedar.NewPolicySet(), digest: sha256.Sum256(text), guards: map[string]bool{}}
	var errs []error
	for _, one := range list {
		if err := p.add(v, one); err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", file, one.Position().Line, err))
		}
	}
	if len(p.groups) > maxGroups {
		errs = append(errs, fmt.Errorf("%s: they name %d groups, want at most %d", file, len(p.groups), maxGroups))
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("%w: %w", ErrPolicies, errors.Join(errs...))
	}
	slices.Sort(p.groups)
	return p, nil
}

// add takes one policy in.
func (p *Policies) add(v *validate.Validator, one *cedar.Policy) error {
	id := string(one.Annotations()["id"])
	if id == "" || len(id) > 100 {
		return errors.New(`it needs a name of 1 to 100 characters: @id("…") before it`)
	}
	if p.set.Get(cedar.PolicyID(id)) != nil {
		return fmt.Errorf("there are two policies @id(%q)", id)
	}
	if err := v.Policy(id, (*cedarast.Policy)(one.AST())); err != nil {
		return fmt.Errorf("policy %q: %w", id, err)
	}
	entities, guards, err := entitiesOf(one)
	if err != nil {
		return fmt.Errorf("policy %q: %w", id, err)
	}
	for _, e := range guards {
		if e.Type == "Group" {
			p.guards[e.ID] = true
		}
	}
	for _, e := range entities {
		switch {
		case e.Type == "Role" && e.ID != administratorRole:
			return fmt.Errorf("policy %q: there is no Role::%q, only Role::%q; name a group of the directory", id, e.ID, administratorRole)
		case e.Type != "Group":
			continue
		case strings.TrimSpace(e.ID) == "":
			return fmt.Errorf("policy %q: a group without a name", id)
		}
		if !slices.Contains(p.groups, e.ID) {
			p.groups = append(p.groups, e.ID)
		}
	}
	p.set.Add(cedar.PolicyID(id), one)
	return nil
}

// Groups returns the groups that the policies name, sorted.
func (p *Policies) Groups() []string { return slices.Clone(p.groups) }

// List returns where each policy stands, by ID.
func (p *Policies) List() []PolicyRef {
	var list []PolicyRef
	for id, one := range p.set.All() {
		at := one.Position()
		list = append(list, PolicyRef{string(id), at.Filename, at.Line})
	}
	slices.SortFunc(list, func(a, b PolicyRef) int { return strings.Compare(a.ID, b.ID) })
	return list
}

// An entityName is an entity that a policy mentions.
type entityName struct{ Type, ID string }

// entitiesOf returns what a policy mentions, and what of it guards: may permit more if it
// is not there. Those are all that a forbid mentions, and of a permit what stands in an
// unless, or in a when behind anything but and, or, in and is.
func entitiesOf(p *cedar.Policy) (all, guards []entityName, err error) {
	raw, err := p.MarshalJSON()
	if err != nil {
		return nil, nil, err
	}
	var tree any
	if err := json.Unmarshal(raw, &tree); err != nil {
		return nil, nil, err
	}
	all = mentioned(tree)
	if p.Effect() == cedar.Forbid {
		return all, all, nil
	}
	var form struct {
		Conditions []struct {
			Kind string `json:"kind"`
			Body any    `json:"body"`
		} `json:"conditions"`
	}
	if err := json.Unmarshal(raw, &form); err != nil {
		return nil, nil, err
	}
	for _, c := range form.Conditions {
		if c.Kind == "when" {
			guards = append(guards, guarding(c.Body)...)
		} else {
			guards = append(guards, mentioned(c.Body)...)
		}
	}
	return all, guards, nil
}

// mentioned returns the entities in a part of a policy: in its JSON form each is an
// object with type and id, wherever it stands.
func mentioned(part any) (list []entityName) {
	switch v := part.(type) {
	case []any:
		for _, x := range v {
			list = append(list, mentioned(x)...)
		}
	case map[string]any:
		kind, ok1 := v["type"].(string)
		id, ok2 := v["id"].(string)
		if ok1 && ok2 && len(v) == 2 {
			return []entityName{{kind, id}}
		}
		for _, x := range v {
			list = append(list, mentioned(x)...)
		}
	}
	return list
}

// guarding returns the entities of a condition that could make it true by not being
// there. Being in a group that is not there is false, and so are and and or of that;
// whatever else is made of it may be true.
func guarding(condition any) []entityName {
	node, ok := condition.(map[string]any)
	if !ok || len(node) != 1 {
		return mentioned(condition)
	}
	for op, v := range node {
		args, ok := v.(map[string]any)
		if !ok {
			break
		}
		switch op {
		case "&&", "||":
			return slices.Concat(guarding(args["left"]), guarding(args["right"]))
		case "in", "is": // the group of an is … in stands in "in"
			return slices.Concat(mentioned(args["left"]), computed(args["right"]), computed(args["in"]))
		}
	}
	return mentioned(condition)
}

// computed returns what the right side of an in mentions, unless that is written out: one
// entity or a set of them.
func computed(side any) (list []entityName) {
	node, ok := side.(map[string]any)
	if !ok {
		return mentioned(side)
	}
	if _, ok := node["Value"]; ok && len(node) == 1 {
		return nil
	}
	if set, ok := node["Set"].([]any); ok && len(node) == 1 {
		for _, x := range set {
			list = append(list, computed(x)...)
		}
		return list
	}
	return mentioned(side)
}

// Schema returns the schema, in Cedar's language, that policies must fit. It is made of
// [Rules].
func Schema() string {
	var b strings.Builder
	b.WriteString(`// Which groups an account is in is asked of the directory. Groups are named by SID,
// by objectGUID or as DOMAIN\name; accounts by objectGUID.
entity Group;
entity Role;
entity Account in [Group, Role] {
  name: String,  // DOMAIN\name
  sid: String,
  kind: String,  // user, computer or service
};
entity Server;
entity GrantPolicy;
entity Grant in [GrantPolicy];

type Circumstances = {
  method: String,         // kerberos, password, certificate or token
  token: Bool,            // by an API token, not in person
  secondFactor: Bool,     // this session has passed a second factor
  steppedUp: Bool,        // and within the last minutes
  factor: String,         // totp, webauthn or empty
  from: ipaddr,           // address of the request
  now: datetime,
  since: datetime,        // when the caller signed in
  owner: Bool,            // the caller requested the grant or holds it
  concerned: Bool,        // the policy of the grant names the caller to decide, observe or review
};
`)
	for _, r := range Rules() {
		kinds := make([]string, len(r.On))
		for i, k := range r.On {
			kinds[i] = string(k)
		}
		fmt.Fprintf(&b, "\n// %s\naction %q appliesTo {\n  principal: Account,\n  resource: [%s],\n  context: Circumstances\n};\n", r.About, r.Action, strings.Join(kinds, ", "))
	}
	return b.String()
}

func validator() (*validate.Validator, error) {
	var s schema.Schema
	if err := s.UnmarshalCedar([]byte(Schema())); err != nil {
		return nil, fmt.Errorf("reading the schema: %w", err)
	}
	resolved, err := s.Resolve()
	if err != nil {
		return nil, fmt.Errorf("reading the schema: %w", err)
	}
	return validate.New(resolved), nil
}
