package dc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// A Lockout is what the directory says of how near an account is to being locked out.
// Numbers are -1 where they could not be read; Unread says why.
type Lockout struct {
	Threshold int           // wrong passwords that lock; 0: none do
	Bad       int           // counted now, on the domain controller that was asked
	Window    time.Duration // after which the count begins anew
	Unread    string
}

// spare is how many wrong passwords are left to the owner of the account.
const spare = 2

// Known reports whether it is known how near the account is to a lockout.
func (l Lockout) Known() bool { return l.Threshold == 0 || l.Threshold > 0 && l.Bad >= 0 }

// Near reports whether one more wrong password is too many. Where that is not known it is
// said to be near.
func (l Lockout) Near() bool {
	switch {
	case !l.Known():
		return true
	case l.Threshold == 0:
		return false
	}
	return l.Bad+1 > l.Threshold-spare
}

// Worse returns which of two is nearer to a lockout, one that is not known first.
func (l Lockout) Worse(m Lockout) Lockout {
	switch {
	case !l.Known():
		return l
	case !m.Known(), l.Threshold == 0, m.Threshold > 0 && m.Threshold-m.Bad < l.Threshold-l.Bad:
		return m
	}
	return l
}

// What a lockout depends on ([MS-ADA1], [MS-ADA2]): badPwdCount is in the property set
// User-Logon, msDS-ResultantPSO in none.
var (
	guidBadPwdCount  = secdesc.MustGUID("bf96792e-0de6-11d0-a285-00aa003049e2")
	guidUserLogon    = secdesc.MustGUID("5f202010-79a5-11d0-9020-00c04fc2d4cf")
	guidResultantPSO = secdesc.MustGUID("b77ea093-88d0-4780-9a98-911f8e8b1dca")
)

// Lockout reads how near an account, named by its distinguished name or by <GUID=…>, is
// to a lockout, on the domain controller in use: each counts for itself. The policy is
// the account's own (msDS-ResultantPSO), else the domain's.
//
// An attribute that is not there may be one that the reading account may not see. So what
// is absent counts as absent only if the permissions of the account say that it could be
// read; else it is not known.
func (r *Reader) Lockout(ctx context.Context, dn string, now time.Time) (Lockout, Server, error) {
	l := Lockout{Threshold: -1, Bad: -1}
	entry, server, err := r.base(ctx, Request{
		Base: dn, SDFlags: SDOwner | SDGroup | SDDACL, Attributes: []string{"badPwdCount", "badPasswordTime", "msDS-ResultantPSO", "nTSecurityDescriptor"},
	})
	if err != nil {
		return l, server, err
	}
	policy, names := r.Root().DefaultNC, []string{"lockoutThreshold", "lockOutObservationWindow"}
	own := entry.Value("msDS-ResultantPSO")
	if l.Bad = number(entry, "badPwdCount"); own == "" || l.Bad < 0 {
		view, err := r.view(ctx, entry)
		switch {
		case err != nil:
			return l, server, err
		case own == "" && !reads(view, guidResultantPSO):
			l.Unread = "msDS-ResultantPSO of the account may not be read, so that its password settings object is not known"
			return l, server, nil
		case l.Bad < 0 && reads(view, guidUserLogon, guidBadPwdCount):
			l.Bad = 0 // nobody was refused there
		case l.Bad < 0:
			l.Unread = "badPwdCount of the account may not be read"
		}
	}
	if own != "" {
		policy, names = own, []string{"msDS-LockoutThreshold", "msDS-LockoutObservationWindow"}
	}
	p, same, err := r.base(ctx, Request{Base: policy, Attributes: names})
	if err != nil {
		return l, server, fmt.Errorf("reading the lockout policy: %w", err)
	}
	if same != server {
		return l, server, &Error{Kind: ErrTruncated, Op: "reading the lockout policy", Server: same.String(), Detail: "the domain controller changed meanwhile"}
	}
	if l.Threshold = number(p, names[0]); l.Threshold < 0 {
		l.Unread = names[0] + " of " + policy + " may not be read"
	}
	if w := value(p, names[1]); w < 0 { // in units of 100 ns, negative
		l.Window = time.Duration(-w) * 100
	}
	// The count is kept until the next logon, but an old one no longer counts.
	if last := fileTime(value(entry, "badPasswordTime")); l.Window > 0 && l.Bad > 0 && !last.IsZero() && now.After(last.Add(l.Window+acceptSkew)) {
		l.Bad = 0
	}
	return l, server, nil
}

// view returns the permissions of an object as the reading account meets them, nil if
// they cannot be read.
func (r *Reader) view(ctx context.Context, e Entry) (*secdesc.View, error) {
	raw := e.Values("nTSecurityDescriptor")
	if len(raw) != 1 {
		return nil, nil
	}
	d, err := secdesc.Parse(raw[0])
	if err != nil {
		return nil, fmt.Errorf("reading the permissions of %s: %w", e.DN, err)
	}
	who, err := r.WhoAmI(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking who is signed in: %w", err)
	}
	token := map[secdesc.SID]bool{}
	for _, b := range append(who.TokenGroups, who.SID) {
		if sid, err := secdesc.SIDFromBytes(b); err == nil {
			token[sid] = true
		}
	}
	return d.View(func(sid secdesc.SID) bool { return token[sid] }, secdesc.OwnersDecide), nil
}

// reads reports whether an attribute may be read for sure; types are its GUID and that of
// its property set.
func reads(v *secdesc.View, types ...secdesc.GUID) bool {
	return v != nil && v.Check(secdesc.Request{Mask: secdesc.ReadProperty, Types: types}).Outcome == secdesc.Granted
}

// Primary returns the domain controller to which the others report wrong passwords, the
// emulator of the primary domain controller ([MS-ADTS] 6.1.5.3); the name is empty if it
// is the one in use.
func (r *Reader) Primary(ctx context.Context) (name string, err error) {
	const op = "looking for the primary domain controller"
	root := r.Root()
	head, server, err := r.base(ctx, Request{Base: root.DefaultNC, Attributes: []string{"fSMORoleOwner"}})
	if err != nil {
		return "", fmt.Errorf(op+": %w", err)
	}
	settings := head.Value("fSMORoleOwner")
	if strings.EqualFold(settings, root.DSServiceName) {
		return "", nil
	}
	_, object, ok := strings.Cut(settings, ",")
	if !ok {
		return "", &Error{Kind: ErrNoSuchObject, Op: op, Server: server.String(), Detail: "fSMORoleOwner of the domain cannot be read"}
	}
	host, server, err := r.base(ctx, Request{Base: object, Attributes: []string{"dNSHostName"}})
	if err != nil {
		return "", fmt.Errorf(op+": %w", err)
	}
	if name = host.Value("dNSHostName"); name == "" {
		return "", &Error{Kind: ErrNoSuchObject, Op: op, Server: server.String(), Detail: "dNSHostName of " + object + " cannot be read"}
	}
	return strings.ToLower(name), nil
}

// base reads one object.
func (r *Reader) base(ctx context.Context, q Request) (entry Entry, server Server, err error) {
	found := false
	q.Scope, q.Restart = ScopeBase, func(Restart) error { found = false; return nil }
	res, err := r.Search(ctx, q, func(e Entry) error {
		entry, found = e, true
		return nil
	})
	if err == nil && !found {
		err = &Error{Kind: ErrNoSuchObject, Op: "reading " + q.Base, Server: res.Server.String()}
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
