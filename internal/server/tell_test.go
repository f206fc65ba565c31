package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/api"
	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/store"
)

// told says for each error that the packages below export with which code it leaves the
// server. What only happens while the server starts, or in packages that it does not
// call, is internal.
var told = map[string]struct {
	err  error
	code api.Code
}{
	"grant.ErrForbidden":   {grant.ErrForbidden, api.CodeForbidden},
	"grant.ErrNotFound":    {grant.ErrNotFound, api.CodeNotFound},
	"grant.ErrIllegal":     {grant.ErrIllegal, api.CodeConflict},
	"grant.ErrPolicy":      {grant.ErrPolicy, api.CodePolicy},
	"grant.ErrStale":       {grant.ErrStale, api.CodeConflict},
	"grant.ErrExists":      {grant.ErrExists, api.CodeKeyReused},
	"grant.ErrConflict":    {grant.ErrConflict, api.CodeConflict},
	"grant.ErrLog":         {grant.ErrLog, api.CodeStore},
	"grant.ErrUnreachable": {grant.ErrUnreachable, api.CodeDirectory},
	"grant.ErrPolicies":    {grant.ErrPolicies, api.CodeInternal},

	"operator.ErrSignIn":      {operator.ErrSignIn, api.CodeUnauthorized},
	"operator.ErrSignedOut":   {operator.ErrSignedOut, api.CodeUnauthorized},
	"operator.ErrForbidden":   {operator.ErrForbidden, api.CodeForbidden},
	"operator.ErrStepUp":      {operator.ErrStepUp, api.CodeStepUp},
	"operator.ErrFactor":      {operator.ErrFactor, api.CodeForbidden},
	"operator.ErrNoFactor":    {operator.ErrNoFactor, api.CodeConflict},
	"operator.ErrRetry":       {operator.ErrRetry, api.CodeTooMany},
	"operator.ErrInvalid":     {operator.ErrInvalid, api.CodeInvalid},
	"operator.ErrNotFound":    {operator.ErrNotFound, api.CodeNotFound},
	"operator.ErrInitialized": {operator.ErrInitialized, api.CodeConflict},
	"operator.ErrUnavailable": {operator.ErrUnavailable, api.CodeDirectory},
	"operator.ErrList":        {operator.ErrList, api.CodeInternal},
	"operator.ErrExtension":   {operator.ErrExtension, api.CodeInternal},
	"operator.ErrPolicies":    {operator.ErrPolicies, api.CodeInternal},
	"operator.ErrKeys":        {operator.ErrKeys, api.CodeInternal},
	"operator.ErrConflict":    {operator.ErrConflict, api.CodeConflict},

	"store.ErrMissing":       {store.ErrMissing, api.CodeInternal},
	"store.ErrForeign":       {store.ErrForeign, api.CodeInternal},
	"store.ErrOlder":         {store.ErrOlder, api.CodeInternal},
	"store.ErrNewer":         {store.ErrNewer, api.CodeInternal},
	"store.ErrInUse":         {store.ErrInUse, api.CodeInternal},
	"store.ErrSettings":      {store.ErrSettings, api.CodeInternal},
	"store.ErrFull":          {store.ErrFull, api.CodeStore},
	"store.ErrBusy":          {store.ErrBusy, api.CodeStore},
	"store.ErrReadOnly":      {store.ErrReadOnly, api.CodeStore},
	"store.ErrCorrupt":       {store.ErrCorrupt, api.CodeStore},
	"store.ErrUnreachable":   {store.ErrUnreachable, api.CodeStore},
	"store.ErrCommitUnknown": {store.ErrCommitUnknown, api.CodeUnknown},
	"store.ErrNotFound":      {store.ErrNotFound, api.CodeNotFound},
	"store.ErrStale":         {store.ErrStale, api.CodeConflict},
	"store.ErrManaged":       {store.ErrManaged, api.CodeInternal},
	"store.ErrTooMany":       {store.ErrTooMany, api.CodeTooMany},
	"store.ErrOccupied":      {store.ErrOccupied, api.CodeInternal},
	"store.ErrBackup":        {store.ErrBackup, api.CodeInternal},
}

// exported returns the errors that the packages below export, by reading their source.
func exported(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for _, pkg := range []string{"grant", "operator", "store"} {
		files, err := filepath.Glob(filepath.Join("..", pkg, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatal(pkg, err)
		}
		for _, name := range files {
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range f.Decls {
				g, ok := d.(*ast.GenDecl)
				if !ok || g.Tok != token.VAR || strings.HasSuffix(name, "_test.go") {
					continue
				}
				for _, spec := range g.Specs {
					for _, id := range spec.(*ast.ValueSpec).Names { //nolint:forcetypeassert // that is what VAR has
						if strings.HasPrefix(id.Name, "Err") {
							out[pkg+"."+id.Name] = true
						}
					}
				}
			}
		}
	}
	return out
}

// Whatever goes wrong below, the answer has the code that is meant for it and nothing of
// the text that belongs to the logs: not before the error, not behind it, not beside it.
func TestErrorsKeepTheirTexts(t *testing.T) {
	have := exported(t)
	for name := range told {
		if !have[name] {
			t.Errorf("there is no %s", name)
		}
	}
	const canary = "SQLITE_IOERR /var/lib/leastwise.db dc1.contoso.test 80090308"
	inner := errors.New(canary)
	for name := range have {
		c, ok := told[name]
		if !ok {
			t.Errorf("%s: with which code does it leave the server? Add it to the table", name)
			continue
		}
		for what, err := range map[string]error{
			"before": fmt.Errorf("%s: %w", canary, c.err), "behind": fmt.Errorf("doing: %w: %w", c.err, inner),
			"beside": errors.Join(c.err, inner), "beside, first": errors.Join(inner, c.err), "logged": fmt.Errorf("%w; logging that: %s", c.err, canary),
		} {
			p := tell(err)
			if p.Code() != c.code {
				t.Errorf("%s %s: %s, want %s", name, what, p.Code(), c.code)
			}
			if text, err := json.Marshal(p); err != nil || strings.Contains(string(text), "SQLITE") || strings.Contains(string(text), "8009") {
				t.Errorf("%s %s: %s, %v", name, what, text, err)
			}
			if c.code != api.CodeInternal && p.Detail == "" {
				t.Errorf("%s: nothing is said", name)
			}
		}
	}
	for _, err := range []error{inner, context.DeadlineExceeded, fmt.Errorf("%s: %w", canary, context.Canceled)} {
		if text, _ := json.Marshal(tell(err)); strings.Contains(string(text), "SQLITE") {
			t.Error(string(text))
		}
	}
	// Whether something was done stands before why it failed.
	if p := tell(errors.Join(store.ErrCommitUnknown, store.ErrUnreachable)); p.Code() != api.CodeUnknown {
		t.Errorf("a lost commit: %s", p.Code())
	}
}

// What the directory said while somebody asked is not in the answer.
func TestDirectoryTextsStayInside(t *testing.T) {
	w := newWorld(t)
	g := w.as("ben").request("guarded")
	dora := w.strong("dora")
	w.mu.Lock()
	w.blind = func(refs []grant.Ref) error { // those who decide cannot be asked for; whether she may see it can
		if len(refs) == 1 {
			return fmt.Errorf("%w: LDAP 52e: dc7.contoso.test says no", grant.ErrUnreachable)
		}
		return nil
	}
	w.mu.Unlock()
	a := dora.do("POST", "/v1/grants/"+g.ID+"/approve", api.Note{Reason: "x"})
	if a.code() != api.CodeForbidden || !strings.Contains(a.Body.String(), "could not be found out") || strings.Contains(a.Body.String(), "dc7") {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	if text := w.as("ulla").do("GET", "/v1/audit/export", nil).Body.String(); !strings.Contains(text, "dc7") {
		t.Error("the audit log does not say what the directory said")
	}
}
