package operator_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/operator"
)

func mustAddr(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestDefaultPolicies(t *testing.T) {
	p := policies(t, operator.DefaultPolicies())
	if len(p.List()) != 9 || len(p.Groups()) != 0 {
		t.Errorf("%v; groups %v", p.List(), p.Groups())
	}
	for _, r := range p.List() {
		if r.File != "test.cedar" || r.Line == 0 || r.ID == "" {
			t.Errorf("%+v", r)
		}
	}
}

// A mistake is an error with its place, never a policy that matches nothing.
func TestPolicyMistakes(t *testing.T) {
	const good = `@id("a") permit (principal, action == Action::"audit.read", resource);` + "\n"
	for name, c := range map[string]struct{ text, want string }{
		"empty":             {"// nothing\n", "it holds 0 policies"},
		"syntax":            {good + "permit (principal, action, resource)", "test.cedar"},
		"no id":             {good + "permit (principal, action, resource);", "test.cedar:2: it needs a name"},
		"two ids":           {good + good, `test.cedar:2: there are two policies @id("a")`},
		"unknown action":    {good + `@id("b") permit (principal, action == Action::"audit.write", resource);`, `test.cedar:2: policy "b"`},
		"unknown type":      {good + `@id("b") permit (principal in Team::"x", action, resource);`, `test.cedar:2: policy "b"`},
		"unknown attribute": {good + `@id("b") permit (principal, action, resource) when { principal.title == "x" };`, `test.cedar:2: policy "b"`},
		"unknown context":   {good + `@id("b") permit (principal, action, resource) when { context.stepUp };`, `test.cedar:2: policy "b"`},
		"wrong type":        {good + `@id("b") permit (principal, action, resource) when { principal.name == 1 };`, `test.cedar:2: policy "b"`},
		"wrong resource":    {good + `@id("b") permit (principal, action == Action::"audit.read", resource is Grant);`, `test.cedar:2: policy "b"`},
		"other role":        {good + `@id("b") permit (principal in Role::"boss", action, resource);`, `there is no Role::"boss"`},
		"no group":          {good + `@id("b") permit (principal in Group::" ", action, resource);`, "a group without a name"},
		"two mistakes":      {"permit (principal, action, resource);\npermit (principal, action, resource);", "test.cedar:2: it needs a name"},
		"too long":          {strings.Repeat(" ", 1<<20+1), "bytes are more than"},
	} {
		_, err := operator.ParsePolicies("test.cedar", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant … %s …", name, err, c.want)
		}
		wants(t, name, err, operator.ErrPolicies)
	}
}

// Groups are found wherever a policy mentions them.
func TestPolicyGroups(t *testing.T) {
	p := policies(t, `@id("a") permit (principal in Group::"one", action, resource) when { principal in Group::"two" || principal in [Group::"three", Group::"one"] };
@id("b") permit (principal is Account in Group::"four", action == Action::"token.issue", resource) unless { resource in Group::"five" };`)
	if got := strings.Join(p.Groups(), " "); got != "five four one three two" {
		t.Error(got)
	}
}

// New policies are loaded by an administrator, and that is logged.
func TestUsePolicies(t *testing.T) {
	w := newWorld(t)
	admin, anna := w.administrator("root"), w.signIn(w.dir.Add("anna"))
	p := policies(t, `@id("all") permit (principal, action == Action::"audit.read", resource);`)
	wants(t, "anna", w.Use(t.Context(), w.caller(anna.Secret), p), operator.ErrForbidden)
	if err := w.Use(t.Context(), w.caller(admin.Secret), p); err != nil || w.Policies() != p {
		t.Fatal(err)
	}
	if _, err := w.Authorize(t.Context(), w.caller(anna.Secret), operator.AuditRead, operator.Server()); err != nil {
		t.Error(err)
	}
	if got := w.entries(audit.Fact, "operator.policies"); len(got) != 1 {
		t.Error(got)
	}
}

func FuzzParsePolicies(f *testing.F) {
	f.Add([]byte(operator.DefaultPolicies()))
	f.Add([]byte(groupPolicies))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := operator.ParsePolicies("f", b)
		if err != nil {
			return
		}
		for _, r := range p.List() {
			if r.ID == "" || r.Line < 1 {
				t.Errorf("%+v", r)
			}
		}
	})
}
