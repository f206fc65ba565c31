package operatortest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Directory is a membership and an authenticator that a test fills. It stands for a
// domain named CONTOSO, contoso.test.
type Directory struct {
	mu       sync.Mutex
	accounts []*entry
	groups   map[string][]string // names of a group's members: accounts and groups
	down     error
	asked    int
	near     bool // a lockout of every account
}

type entry struct {
	operator.Account
	password string
	upn      string
}

var (
	_ operator.Membership    = (*Directory)(nil)
	_ operator.Authenticator = (*Directory)(nil)
)

// NewDirectory returns an empty directory.
func NewDirectory() *Directory { return &Directory{groups: map[string][]string{}} }

// Add makes an account and returns it. Its password is the name with "-password" behind.
func (d *Directory) Add(name string) operator.Account {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(d.accounts) + 1
	e := &entry{
		Account: operator.Account{
			GUID: GUID(n), SID: secdesc.MustSID(fmt.Sprintf("S-1-5-21-1-2-3-%d", 1100+n)), Name: `CONTOSO\` + name, DN: "CN=" + name,
			Kind: operator.User, Exists: true,
		},
		password: name + "-password", upn: name + "@contoso.test",
	}
	d.accounts = append(d.accounts, e)
	return e.Account
}

// Change changes an account.
func (d *Directory) Change(guid secdesc.GUID, f func(a *operator.Account, upn *string)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.accounts {
		if e.GUID == guid {
			f(&e.Account, &e.upn)
		}
	}
}

// Group makes a group of accounts and groups, by name without domain, or replaces it;
// with no name after it the group is there and empty.
func (d *Directory) Group(name string, members ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.groups[name] = members
}

// Ungroup removes a group.
func (d *Directory) Ungroup(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.groups, name)
}

// Fail makes every question fail, until it is called with nil.
func (d *Directory) Fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down = err
}

// Near says that every account is close to its lockout.
func (d *Directory) Near(yes bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.near = yes
}

// Asked returns how often a standing was asked for.
func (d *Directory) Asked() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked
}

// Account implements [operator.Membership].
func (d *Directory) Account(_ context.Context, ref operator.AccountRef) (operator.Account, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down != nil {
		return operator.Account{}, d.down
	}
	var found []operator.Account
	for _, e := range d.accounts {
		_, name, _ := strings.Cut(e.Name, `\`)
		typed := ref.Name
		switch {
		case !e.Exists:
		case !ref.GUID.IsZero() && e.GUID == ref.GUID, !ref.SID.IsZero() && e.SID == ref.SID:
			found = append(found, e.Account)
		case typed == "":
		case strings.EqualFold(typed, name), strings.EqualFold(typed, e.Name), strings.EqualFold(typed, e.upn), strings.EqualFold(typed, name+"@contoso.test"):
			found = append(found, e.Account)
		}
	}
	if len(found) != 1 {
		return operator.Account{}, nil
	}
	return found[0], nil
}

// Standing implements [operator.Membership].
func (d *Directory) Standing(ctx context.Context, account secdesc.GUID, groups []string) (operator.Standing, error) {
	a, err := d.Account(ctx, operator.AccountRef{GUID: account})
	if err != nil || !a.Exists {
		return operator.Standing{Account: a}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	st := operator.Standing{Account: a}
	_, name, _ := strings.Cut(a.Name, `\`)
	for _, g := range groups {
		_, short, _ := strings.Cut(g, `\`)
		if _, ok := d.groups[short]; !ok {
			st.Absent = append(st.Absent, g)
		} else if d.within(name, short, 0) {
			st.In = append(st.In, g)
		}
	}
	return st, nil
}

func (d *Directory) within(member, group string, depth int) bool {
	for _, m := range d.groups[group] {
		if m == member || depth < 20 && d.within(member, m, depth+1) {
			return true
		}
	}
	return false
}

// Ticket returns a token that Kerberos takes for an account; n tells tokens apart.
func Ticket(a operator.Account, n int) []byte { return fmt.Appendf(nil, "ticket %s %d", a.SID, n) }

// Kerberos implements [operator.Authenticator] for tokens of [Ticket].
func (d *Directory) Kerberos(_ context.Context, token, _ []byte) (operator.Ticket, error) {
	var sid string
	var n int
	if _, err := fmt.Sscanf(string(token), "ticket %s %d", &sid, &n); err != nil {
		return operator.Ticket{}, fmt.Errorf("%w: not a ticket", operator.ErrSignIn)
	}
	return operator.Ticket{SID: secdesc.MustSID(sid), Name: "client@CONTOSO.TEST", Reply: []byte("reply"), Once: sha256.Sum256(token), Until: Origin.Add(time.Hour)}, nil
}

// Password implements [operator.Authenticator].
func (d *Directory) Password(_ context.Context, a operator.Account, password operator.Secret) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down != nil {
		return d.down
	}
	if d.near {
		return &operator.RetryError{After: time.Minute}
	}
	i := slices.IndexFunc(d.accounts, func(e *entry) bool { return e.GUID == a.GUID })
	if i < 0 || d.accounts[i].password != password.Reveal() {
		return fmt.Errorf("%w: wrong password", operator.ErrSignIn)
	}
	return nil
}
