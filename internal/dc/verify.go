package dc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// A Lockout is what the directory says of how near an account is to being locked out.
// Numbers are -1 where they could not be read.
type Lockout struct {
	Threshold int           // wrong passwords that lock; 0: none do
	Bad       int           // counted now, on the domain controller that was asked
	Window    time.Duration // after which the count begins anew
}

// spare is how many wrong passwords are left to the owner of the account.
const spare = 2

// Near reports whether one more wrong password is too many. Where the threshold cannot
// be read it is not known, and said to be near.
func (l Lockout) Near() bool {
	switch {
	case l.Threshold == 0:
		return false
	case l.Threshold < 0:
		return true
	}
	return max(0, l.Bad)+1 > l.Threshold-spare
}

// Lockout reads how near an account, named by its distinguished name or by <GUID=…>, is
// to a lockout, on the domain controller in use: each counts for itself. The policy is
// the account's own (msDS-ResultantPSO), else the domain's.
func (r *Reader) Lockout(ctx context.Context, dn string, now time.Time) (Lockout, Server, error) {
	entry, server, err := r.base(ctx, dn, "badPwdCount", "badPasswordTime", "msDS-ResultantPSO")
	if err != nil {
		return Lockout{Threshold: -1}, server, err
	}
	policy, names := r.Root().DefaultNC, [2]string{"lockoutThreshold", "lockOutObservationWindow"}
	if own := entry.Value("msDS-ResultantPSO"); own != "" {
		policy, names = own, [2]string{"msDS-LockoutThreshold", "msDS-LockoutObservationWindow"}
	}
	p, same, err := r.base(ctx, policy, names[:]...)
	if err != nil {
		return Lockout{Threshold: -1}, server, fmt.Errorf("reading the lockout policy: %w", err)
	}
	if same != server {
		return Lockout{Threshold: -1}, server, &Error{Kind: ErrTruncated, Op: "reading the lockout policy", Server: same.String(), Detail: "the domain controller changed meanwhile"}
	}
	l := Lockout{Threshold: number(p, names[0]), Bad: number(entry, "badPwdCount")}
	if w := value(p, names[1]); w < 0 { // in units of 100 ns, negative
		l.Window = time.Duration(-w) * 100
	}
	// The count is kept until the next logon, but an old one no longer counts.
	if last := fileTime(value(entry, "badPasswordTime")); l.Window > 0 && !last.IsZero() && now.After(last.Add(l.Window+acceptSkew)) {
		l.Bad = 0
	}
	return l, server, nil
}

// base reads one object.
func (r *Reader) base(ctx context.Context, dn string, attributes ...string) (entry Entry, server Server, err error) {
	found := false
	res, err := r.Search(ctx, Request{
		Base: dn, Scope: ScopeBase, Attributes: attributes,
		Restart: func(Restart) error { found = false; return nil },
	}, func(e Entry) error {
		entry, found = e, true
		return nil
	})
	if err == nil && !found {
		err = &Error{Kind: ErrNoSuchObject, Op: "reading " + dn, Server: res.Server.String()}
	}
	return entry, res.Server, err
}

func value(e Entry, name string) int64 {
	n, err := strconv.ParseInt(e.Value(name), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// number is -1 where there is none.
func number(e Entry, name string) int {
	n, err := strconv.Atoi(e.Value(name))
	if err != nil {
		return -1
	}
	return n
}

// fileTime converts a count of 100 ns since 1601.
func fileTime(v int64) time.Time {
	const toUnix = 116444736000000000
	if v <= 0 {
		return time.Time{}
	}
	return time.Unix(0, 0).Add(time.Duration(v-toUnix) * 100).UTC()
}

// VerifyPassword tries a password once, by a bind inside verified TLS as the object with
// the given distinguished name, on one domain controller. cfg says how controllers are
// reached; its credentials are not used. The errors are those of a bind.
func VerifyPassword(ctx context.Context, cfg Config, server Server, dn, password string) error {
	cfg.Server, cfg.Bind, cfg.NoFailover, cfg.Credentials = cmp.Or(server.Name, server.Addr.String()), Simple, true, Password(dn, password)
	if cfg.Transport == Sealed {
		cfg.Transport = LDAPS
	}
	r, err := Open(ctx, cfg)
	if err != nil {
		return err
	}
	return r.Close()
}

// Refused reports whether a failure to verify a password is about the account or the
// password, and not about the way to the directory.
func Refused(err error) bool {
	for _, k := range []Kind{ErrWrongPassword, ErrUnknownUser, ErrLockedOut, ErrDisabled, ErrRevoked, ErrPasswordExpired, ErrAccountExpired, ErrLogonRestricted} {
		if errors.Is(err, k) {
			return true
		}
	}
	return false
}
