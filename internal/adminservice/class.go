package adminservice

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/configmgr"
)

// identification is the class that tells whose provider answers.
const identification = "SMS_Identification"

// fingerprint identifies a row among the pages of its class.
func fingerprint(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:]
}

// A pass is what one reading of all pages of a class gave.
type pass struct {
	rows    []configmgr.Row
	ids     []string // fingerprints, in order
	overlap bool     // a row came on two pages
}

// class reads all rows of a class.
//
// Pages are cut by position, and nothing says that the order stays as it is from one
// request to the next. So if a row comes twice, another may have been passed over: the
// class is read again, until two readings agree.
func (c *Client) class(ctx context.Context, ask configmgr.Ask) ([]configmgr.Row, error) {
	limit := c.opt.ClassTimeout
	if ask.Slow {
		limit *= 5
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	q := query{class: ask.Class, columns: ask.Columns, all: ask.Whole, filter: ask.Filter, top: c.opt.PageSize}
	first, err := c.pages(ctx, q)
	if errors.Is(err, ErrSelect) && mayComeWhole(ask.Class) {
		q.all = true
		first, err = c.pages(ctx, q)
	}
	if err != nil {
		return nil, err
	}
	for range 3 {
		if !first.overlap {
			return first.rows, nil
		}
		q.top += c.opt.PageSize/3 + 1 // cut elsewhere, so that two readings do not go wrong alike
		next, err := c.pages(ctx, q)
		if err != nil {
			return nil, err
		}
		if same(first.ids, next.ids) {
			return next.rows, nil
		}
		first = next
	}
	if !first.overlap {
		return first.rows, nil
	}
	return nil, &Error{Kind: ErrPaging, Host: c.host, Class: ask.Class, Detail: "four readings in turn gave different rows"}
}

// mayComeWhole reports whether all columns of a class may be asked for: not if one of
// them is known to hold a secret.
func mayComeWhole(class string) bool {
	return !slices.ContainsFunc(configmgr.NeverCollected(), func(n configmgr.Never) bool { return strings.EqualFold(n.Class, class) })
}

// same reports whether two readings gave the same rows, each as often, in whatever
// order.
func same(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// pages reads page after page until one is empty: a service may send fewer rows than
// it was asked for, so that a short page is no end.
func (c *Client) pages(ctx context.Context, q query) (pass, error) {
	var (
		out   pass
		first int // rows of the first page
	)
	seen := map[string]bool{}
	for {
		q.skip = len(out.ids)
		p, err := c.ask(ctx, q)
		if err != nil {
			return pass{}, err
		}
		if len(p.rows) == 0 {
			if p.more {
				return pass{}, &Error{Kind: ErrPaging, Host: c.host, Class: q.class, Detail: "an empty page is said to have a next one"}
			}
			return out, nil
		}
		fresh := 0
		for i, row := range p.rows {
			id := string(p.ids[i])
			out.ids = append(out.ids, id)
			if seen[id] {
				continue
			}
			fresh++
			seen[id] = true
			out.rows = append(out.rows, row)
		}
		if q.skip > 0 && fresh < len(p.rows) {
			out.overlap = true
		}
		c.opt.Progress(Progress{Class: q.class, Rows: len(out.rows)})
		if len(out.ids) > c.opt.MaxRows {
			return pass{}, &Error{Kind: ErrLimit, Host: c.host, Class: q.class, Detail: fmt.Sprintf("more than %d rows", c.opt.MaxRows)}
		}
		if q.skip == 0 {
			first = len(p.ids)
		}
		if n := len(p.ids); q.skip > 0 && n == first && fresh == 0 && slices.Equal(out.ids[:n], out.ids[len(out.ids)-n:]) {
			return c.repeated(q, out, p)
		}
	}
}

// repeated judges a page that is the first one again, as a service sends it that does
// not know $skip. That was all only if it was not a full one.
func (c *Client) repeated(q query, out pass, p page) (pass, error) {
	n := len(p.ids)
	if q.skip == n && n != q.top && !p.more {
		out.ids, out.overlap = out.ids[:n], false
		return out, nil
	}
	return pass{}, &Error{Kind: ErrPaging, Host: c.host, Class: q.class, Detail: fmt.Sprintf("the page after %d rows is the first one again", q.skip)}
}

// A keyed class has a lazy column, which comes only if a single row is asked for.
type keyed struct {
	key, column string
	quoted      bool // the key is a text
}

func keyedClass(class string) (keyed, bool) {
	switch class {
	case "SMS_Role":
		return keyed{"RoleID", "Operations", true}, true
	case "SMS_ClientSettings":
		return keyed{"SettingsID", "AgentConfigurations", false}, true
	}
	return keyed{}, false
}

// fill asks for the rows of a keyed class one by one where the lazy column did not
// come. Rows whose column cannot be had stay, and the error says how many.
func (c *Client) fill(ctx context.Context, ask configmgr.Ask, rows []configmgr.Row) error {
	k, ok := keyedClass(ask.Class)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.opt.ClassTimeout)
	defer cancel()
	var (
		first error
		left  int
	)
	for i, row := range rows {
		if row[k.column] != nil {
			continue
		}
		one, err := c.one(ctx, ask, k, row)
		if err != nil || one[k.column] == nil {
			left++
			if first == nil {
				first = err
			}
			if ctx.Err() != nil {
				return c.contextError(ctx, ask.Class)
			}
			continue
		}
		rows[i] = one
	}
	if left == 0 {
		return nil
	}
	return &Error{Kind: ErrPartial, Host: c.host, Class: ask.Class, Detail: fmt.Sprintf("%s did not come for %d of %d rows", k.column, left, len(rows)), Err: first}
}

// doubt says what the rows of a class cannot tell although all of them came. Accounts
// stand in embedded properties: if not one row has any, the service has left them out.
func (c *Client) doubt(ask configmgr.Ask, rows []configmgr.Row) error {
	e := &Error{Kind: ErrPartial, Host: c.host, Class: ask.Class}
	if ask.Class == "SMS_ClientSettings" {
		e.Detail = "the default client settings are not among them"
		return e
	}
	if slices.Contains(ask.Columns, "Props") && len(rows) > 0 && !slices.ContainsFunc(rows, func(r configmgr.Row) bool { return r["Props"] != nil }) {
		e.Detail = fmt.Sprintf("not one of %d rows has the column Props", len(rows))
		return e
	}
	return nil
}

// one asks for a single row by its key.
func (c *Client) one(ctx context.Context, ask configmgr.Ask, k keyed, row configmgr.Row) (configmgr.Row, error) {
	id := fmt.Sprint(row[k.key])
	if id == "" || len(id) > 64 || strings.ContainsFunc(id, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '-' && r != '{' && r != '}'
	}) {
		return nil, &Error{Kind: ErrRow, Host: c.host, Class: ask.Class, Detail: "the key " + k.key + " is no key"}
	}
	if k.quoted {
		id = "'" + id + "'"
	}
	p, err := c.ask(ctx, query{class: ask.Class, columns: ask.Columns, all: true, key: id})
	if err != nil {
		return nil, err
	}
	if len(p.rows) != 1 {
		return nil, &Error{Kind: ErrPaging, Host: c.host, Class: ask.Class, Detail: fmt.Sprintf("%d rows for one key", len(p.rows))}
	}
	return p.rows[0], nil
}

// A Site is whose provider answers.
type Site struct {
	Code, Name string
}

// Identify asks whose provider answers. It is the probe: where it fails, nothing else
// can be read.
func (c *Client) Identify(ctx context.Context) (Site, error) {
	ctx, cancel := context.WithTimeout(ctx, max(c.opt.ClassTimeout, time.Second))
	defer cancel()
	p, err := c.ask(ctx, query{class: identification, columns: []string{"ThisSiteCode", "ThisSiteName"}})
	if err != nil {
		return Site{}, err
	}
	var s Site
	if len(p.rows) > 0 {
		s.Code, _ = p.rows[0]["ThisSiteCode"].(string)
		s.Name, _ = p.rows[0]["ThisSiteName"].(string)
	}
	if !siteCode(s.Code) {
		return Site{}, &Error{Kind: ErrMalformed, Host: c.host, Class: identification, Detail: "it names no site code of three letters or digits"}
	}
	return s, nil
}

// siteCode reports whether s is a site code.
func siteCode(s string) bool {
	return len(s) == 3 && !strings.ContainsFunc(s, func(r rune) bool { return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') })
}
