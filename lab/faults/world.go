package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	ldap "github.com/go-ldap/ldap/v3"

	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/secdesc"
	"github.com/leastwise/leastwise/lab/samba"
)

// A world is what the rounds share: the lab, and groups and accounts in it.
type world struct {
	lab    *samba.Lab
	dir    string
	tag    string // begins the names of what is made
	ou     string
	groups []object
	users  []object
	idle   object // a member of every group, by no grant

	made  int                   // measurements of many ends
	homes map[string]samba.Host // of groups, by lower-case distinguished name; empty: there is one domain controller

	mu    sync.Mutex
	conns map[string]*ldap.Conn // by name of the host
}

// An object of the directory.
type object struct {
	dn   string
	guid secdesc.GUID
	sid  secdesc.SID
}

func (o object) party() grant.Party {
	return grant.Party{Account: o.guid, SID: o.sid, Name: strings.SplitN(o.dn, ",", 2)[0]}
}

// with calls f with a connection as Administrator to the first domain controller that does
// not pass the proxy.
func (w *world) with(ctx context.Context, f func(*ldap.Conn) error) error {
	return w.on(ctx, w.lab.DCs()[0], f)
}

// on is with for any domain controller.
func (w *world) on(ctx context.Context, h samba.Host, f func(*ldap.Conn) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.conns[h.Name]
	if c == nil || c.IsClosing() {
		var err error
		if c, err = w.lab.Dial(ctx, h, w.lab.Admin); err != nil {
			return err
		}
		if w.conns == nil {
			w.conns = map[string]*ldap.Conn{}
		}
		c.SetTimeout(30 * time.Second)
		w.conns[h.Name] = c
	}
	err := f(c)
	if err != nil && ldap.IsErrorWithCode(err, ldap.ErrorNetwork) {
		c.Close()
		delete(w.conns, h.Name)
	}
	return err
}

// build makes the organizational unit with what the rounds need.
func (w *world) build(ctx context.Context, groups int) error {
	w.ou = "OU=" + w.tag + "," + w.lab.BaseDN
	return w.with(ctx, func(c *ldap.Conn) error {
		if err := w.clear(c); err != nil {
			return err
		}
		if err := add(c, w.ou, "organizationalUnit"); err != nil {
			return err
		}
		var err error
		for i := range 24 {
			if w.users, err = w.make(c, w.users, "user", fmt.Sprintf("%s-u%d", w.tag, i), "userAccountControl", "544"); err != nil {
				return err
			}
		}
		w.idle, w.users = w.users[0], w.users[1:]
		for i := range groups {
			if w.groups, err = w.make(c, w.groups, "group", fmt.Sprintf("%s-g%d", w.tag, i)); err != nil {
				return err
			}
		}
		return w.policies()
	})
}

// clear removes the organizational unit, if it is there.
func (w *world) clear(c *ldap.Conn) error {
	err := c.Del(ldap.NewDelRequest(w.ou, []ldap.Control{ldap.NewControlString("1.2.840.113556.1.4.805", true, "")}))
	if ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject) {
		return nil
	}
	return err
}

func add(c *ldap.Conn, dn, class string, attrs ...string) error {
	r := ldap.NewAddRequest(dn, nil)
	r.Attribute("objectClass", []string{class})
	for i := 0; i+1 < len(attrs); i += 2 {
		r.Attribute(attrs[i], []string{attrs[i+1]})
	}
	return c.Add(r)
}

func (w *world) make(c *ldap.Conn, list []object, class, name string, attrs ...string) ([]object, error) {
	o := object{dn: "CN=" + name + "," + w.ou}
	if err := add(c, o.dn, class, append(attrs, "sAMAccountName", name)...); err != nil {
		return nil, err
	}
	r, err := c.Search(ldap.NewSearchRequest(o.dn, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"objectGUID", "objectSid"}, nil))
	if err != nil {
		return nil, err
	}
	if o.guid, err = secdesc.GUIDFromBytes(r.Entries[0].GetRawAttributeValue("objectGUID")); err != nil {
		return nil, err
	}
	o.sid, err = secdesc.SIDFromBytes(r.Entries[0].GetRawAttributeValue("objectSid"))
	return append(list, o), err
}

func (w *world) policyFile() string { return filepath.Join(w.dir, "policies.yaml") }

// policies writes the policy file: one policy for each group.
func (w *world) policies() error {
	var b strings.Builder
	b.WriteString("grants: 1\npolicies:\n")
	for i, g := range w.groups {
		fmt.Fprintf(&b, "  - {name: g%d, title: Group %d, group: %s, requesters: [S-1-5-11], duration: {longest: 1h, usual: 1m}}\n", i, i, g.sid)
	}
	return os.WriteFile(w.policyFile(), []byte(b.String()), 0o600)
}

// fill gives a group exactly some members.
func (w *world) fill(ctx context.Context, group object, members ...object) error {
	var dns []string
	for _, m := range members {
		dns = append(dns, m.dn)
	}
	return w.on(ctx, w.home(group), func(c *ldap.Conn) error {
		r := ldap.NewModifyRequest(group.dn, nil)
		r.Replace("member", dns)
		return c.Modify(r)
	})
}

// drop removes a member as another administrator would.
func (w *world) drop(ctx context.Context, group, member object) error {
	return w.on(ctx, w.home(group), func(c *ldap.Conn) error {
		r := ldap.NewModifyRequest(group.dn, nil)
		r.Delete("member", []string{member.dn})
		return c.Modify(r)
	})
}

// membersOn returns who is in each group now by one domain controller.
func (w *world) membersOn(ctx context.Context, h samba.Host) (map[string]map[string]bool, error) {
	out := map[string]map[string]bool{}
	err := w.on(ctx, h, func(c *ldap.Conn) error {
		r, err := c.Search(ldap.NewSearchRequest(w.ou, ldap.ScopeSingleLevel, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=group)", []string{"member"}, nil))
		if err != nil {
			return err
		}
		for _, e := range r.Entries {
			set := map[string]bool{}
			for _, v := range e.GetAttributeValues("member") {
				set[strings.ToLower(v)] = true
			}
			out[strings.ToLower(e.DN)] = set
		}
		return nil
	})
	return out, err
}

// powerCut stops the domain controller at once, and starts it again after a while.
func (w *world) powerCut(ctx context.Context, away time.Duration) error {
	h := w.lab.DCs()[0]
	if err := w.lab.StopHost(ctx, h, false); err != nil {
		return err
	}
	time.Sleep(away)
	return w.lab.StartHost(ctx, h, nil)
}
