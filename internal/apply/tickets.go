package apply

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Lifetimes of tickets where no policy says otherwise ([MS-KILE] 3.1.1, the defaults of
// Windows), and for members of Protected Users ([MS-KILE] 3.3.5.1).
const (
	defaultTicket  = 10 * time.Hour
	defaultRenewal = 7 * 24 * time.Hour
	defaultService = 10 * time.Hour
	protectedLife  = 4 * time.Hour
	protectedRID   = "-525"
)

// How long the domain's lifetimes are kept, and how long that they could not be read.
const (
	ticketsKept   = 10 * time.Minute
	ticketsFailed = time.Minute
	ticketsTime   = 4 * time.Second // for reading them
)

// kept are the domain's lifetimes as last read.
type kept struct {
	t     grant.Tickets
	until time.Duration // by the monotonic clock
}

// Tickets implements [grant.Directory]. The lifetimes are those of the policies that are
// linked to the domain, the only place from which domain controllers take them; whether a
// filter keeps one of these policies from the domain controllers is not looked at, and
// said in Source. For a member of Protected Users they are four hours, not renewable.
func (d *Grants) Tickets(ctx context.Context, account secdesc.GUID) (grant.Tickets, error) {
	now := d.opt.Clock().Mono
	d.mu.Lock()
	k := d.tickets
	d.mu.Unlock()
	if now >= k.until {
		k = d.readTickets(ctx, now)
		d.mu.Lock()
		d.tickets = k
		d.mu.Unlock()
	}
	t := k.t
	if !t.Known {
		return t, nil
	}
	if o, err := d.Object(ctx, account); err == nil && !o.SID.IsZero() {
		domain := o.SID.String()
		protected := grant.Ref(domain[:strings.LastIndex(domain, "-")] + protectedRID)
		if in, err := d.Within(ctx, account, []grant.Ref{protected}); err == nil && in {
			t.Ticket, t.Renewal, t.Service = min(t.Ticket, protectedLife), min(t.Renewal, protectedLife), min(t.Service, protectedLife)
			t.Source += "; the account is in Protected Users"
		}
	}
	return t, nil
}

// readTickets reads the domain's lifetimes.
func (d *Grants) readTickets(ctx context.Context, now time.Duration) kept {
	ctx, cancel := context.WithTimeout(ctx, ticketsTime)
	defer cancel()
	var list []policy
	err := d.anywhere(ctx, func(ctx context.Context, a asking) (err error) {
		list, err = readPolicies(ctx, a)
		return err
	})
	var t grant.Tickets
	if err == nil {
		t, err = d.readTemplates(ctx, list)
	}
	if err != nil {
		return kept{grant.Tickets{Why: err.Error()}, now + ticketsFailed}
	}
	return kept{t, now + ticketsKept}
}

// A policy is a group policy object that is linked to the domain.
type policy struct {
	name, path string // display name; folder in SYSVOL
}

// readPolicies returns the policies that are linked to the domain and apply to computers,
// the one that wins first.
func readPolicies(ctx context.Context, a asking) ([]policy, error) {
	head, _, err := a.w.Find(ctx, a.via, dc.Request{Base: a.h.base, Scope: dc.ScopeBase, Attributes: []string{"gPLink"}})
	if err != nil || len(head) != 1 {
		return nil, fmt.Errorf("reading which policies are linked to %s: %w", a.h.base, err)
	}
	links, err := gpo.ParseLinks(head[0].Value("gPLink"))
	if err != nil {
		return nil, err
	}
	slices.Reverse(links) // the last one has link order 1
	slices.SortStableFunc(links, func(x, y gpo.LinkEntry) int {
		return int(y.Flags&gpo.LinkFlagEnforced) - int(x.Flags&gpo.LinkFlagEnforced)
	})
	const computerPartDisabled = 2 // [MS-GPOL] 2.2.4, flags
	var out []policy
	for _, l := range links {
		if l.Flags&gpo.LinkFlagDisabled != 0 {
			continue
		}
		e, _, err := a.w.Find(ctx, a.via, dc.Request{Base: l.DN, Scope: dc.ScopeBase, Attributes: []string{"displayName", "gPCFileSysPath", "flags"}})
		if dc.KindOf(err) == dc.ErrNoSuchObject {
			continue // linked, and deleted
		}
		if err != nil || len(e) != 1 {
			return nil, fmt.Errorf("reading the policy %s: %w", l.DN, err)
		}
		if flags := number(e[0], "flags"); flags != nil && *flags&computerPartDisabled != 0 {
			continue
		}
		path, err := dc.SysvolPath(e[0].Value("gPCFileSysPath"))
		if err != nil {
			return nil, fmt.Errorf("reading the policy %s: %w", l.DN, err)
		}
		out = append(out, policy{e[0].Value("displayName"), path})
	}
	return out, nil
}

// readTemplates reads the lifetimes from SYSVOL.
func (d *Grants) readTemplates(ctx context.Context, list []policy) (grant.Tickets, error) {
	r, err := dc.Open(ctx, d.opt.Directory)
	if err != nil {
		return grant.Tickets{}, err
	}
	defer r.Close()
	vol, err := r.Sysvol(ctx, dc.Limits{})
	if err != nil {
		return grant.Tickets{}, err
	}
	defer func() { _ = vol.Close() }()
	return lifetimes(list, func(name string) ([]byte, error) { return vol.ReadFile(ctx, name) })
}

// lifetimes takes each lifetime from the first policy that sets it.
func lifetimes(list []policy, read func(string) ([]byte, error)) (grant.Tickets, error) {
	t := grant.Tickets{Ticket: defaultTicket, Renewal: defaultRenewal, Service: defaultService, Known: true, Source: "the defaults of Windows"}
	ages := map[string]struct {
		unit time.Duration
		to   *time.Duration
	}{"MaxTicketAge": {time.Hour, &t.Ticket}, "MaxRenewAge": {24 * time.Hour, &t.Renewal}, "MaxServiceAge": {time.Minute, &t.Service}}
	var sources []string
	for _, p := range list {
		data, err := read(p.path + "/Machine/Microsoft/Windows NT/SecEdit/GptTmpl.inf")
		if dc.KindOf(err) == dc.ErrNoSuchObject {
			continue // it has no security settings
		}
		if err != nil {
			return grant.Tickets{}, err
		}
		tmpl, err := gpo.ParseTemplate(data)
		if err != nil {
			return grant.Tickets{}, fmt.Errorf("the policy %s: %w", p.name, err)
		}
		for key, age := range ages {
			item, ok := tmpl.Get("Kerberos Policy", key)
			if !ok {
				continue
			}
			n, err := strconv.ParseInt(strings.TrimSpace(item.Value), 10, 32)
			if err != nil || n <= 0 {
				return grant.Tickets{}, fmt.Errorf("the policy %s sets %s to %q, which is no lifetime that ends", p.name, key, item.Value)
			}
			*age.to = time.Duration(n) * age.unit
			delete(ages, key)
			if !slices.Contains(sources, p.name) {
				sources = append(sources, p.name)
			}
		}
	}
	if len(sources) > 0 {
		t.Source = "policy " + strings.Join(sources, ", ") + " (filters not looked at)"
	}
	return t, nil
}
