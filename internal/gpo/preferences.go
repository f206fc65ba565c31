package gpo

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/leastwise/leastwise/internal/secdesc"
	"golang.org/x/text/encoding/htmlindex"
)

// An Action is what a preference item does ([MS-GPPREF] 2.2.1.11).
type Action uint8

// Actions. Update is the default.
const (
	Update Action = iota
	Create
	Replace
	Delete
)

// String returns the name of the action.
func (a Action) String() string { return [...]string{"update", "create", "replace", "delete"}[a] }

// A GroupItem is one Group of Groups.xml: what to do with a local group.
type GroupItem struct {
	Action         Action
	SID            secdesc.SID // groupSid; zero if only a name is given
	Name           string      // groupName
	NewName        string
	DeleteAllUsers bool
	DeleteAllGroup bool
	Members        []GroupMember
	Disabled       bool   // the item, or the whole file, is switched off
	RunOnce        bool   // applied once, then never again
	Filter         string // item-level targeting: names of the conditions; empty if there is none
	Line           int
}

// A GroupMember is one Member of a GroupItem.
type GroupMember struct {
	Name   string
	SID    secdesc.SID // zero if only a name is given
	Remove bool
	Line   int
}

// A UserItem is one User of Groups.xml: what to do with a local account. Its
// password is never kept.
type UserItem struct {
	Action      Action
	Name        string
	NewName     string
	SubAuth     string // RID_ADMIN, RID_GUEST or empty
	Disabled    Truth  // acctDisabled: is the account switched off
	HasPassword bool   // the file holds a password that every domain user can decrypt
	ItemOff     bool   // the item, or the whole file, is switched off
	Filter      string
	Line        int
}

// LocalAccounts is a parsed Groups.xml ([MS-GPPREF] 2.2.1.11).
type LocalAccounts struct {
	Groups []GroupItem
	Users  []UserItem
}

// Limits of Groups.xml.
const (
	maxItems   = 10_000
	maxMembers = 100_000
	maxDepth   = 64
)

// ParseGroupsXML reads a Groups.xml file of Group Policy Preferences. Errors name
// the line. Passwords are noticed and dropped.
func ParseGroupsXML(raw []byte) (*LocalAccounts, error) {
	text, enc, err := decodeText(raw)
	if err != nil {
		return nil, fmt.Errorf("reading Groups.xml: %w", err)
	}
	p := &groupsParser{dec: xml.NewDecoder(bytes.NewReader([]byte(text))), out: &LocalAccounts{}}
	p.dec.CharsetReader = func(label string, in io.Reader) (io.Reader, error) {
		if enc != UTF8 && enc != ANSI { // already decoded by its byte order mark
			return in, nil
		}
		e, err := htmlindex.Get(label)
		if err != nil {
			return nil, fmt.Errorf("encoding %q: %w", label, err)
		}
		return e.NewDecoder().Reader(in), nil
	}
	if err := p.run(); err != nil {
		line, _ := p.dec.InputPos()
		return nil, fmt.Errorf("reading Groups.xml: %w: line %d: %w", ErrSyntax, line, err)
	}
	return p.out, nil
}

type groupsParser struct {
	dec     *xml.Decoder
	out     *LocalAccounts
	path    []string
	root    bool // the Groups element was seen
	allOff  bool // <Groups disabled="1">
	group   *GroupItem
	user    *UserItem
	members int
}

func (p *groupsParser) run() error {
	for {
		tok, err := p.dec.Token()
		if errors.Is(err, io.EOF) {
			if !p.root {
				return errors.New("no Groups element")
			}
			return nil
		}
		if err != nil {
			return err
		}
		switch t := tok.(type) {
		case xml.StartElement:
			if len(p.path) == maxDepth {
				return fmt.Errorf("nested deeper than %d", maxDepth)
			}
			p.path = append(p.path, t.Name.Local)
			if err := p.start(t); err != nil {
				return err
			}
		case xml.EndElement:
			p.path = p.path[:len(p.path)-1]
			p.end(t.Name.Local)
		}
	}
}

func (p *groupsParser) start(t xml.StartElement) error {
	line, _ := p.dec.InputPos()
	at := func(i int, name string) bool { return len(p.path) == i && p.path[i-1] == name }
	switch {
	case len(p.path) == 1:
		if t.Name.Local != "Groups" {
			return fmt.Errorf("document element %q is not Groups", clip(t.Name.Local))
		}
		p.root, p.allOff = true, attrOn(t, "disabled")
	case at(2, "Group"):
		p.group = &GroupItem{Line: line, Disabled: p.allOff || attrOn(t, "disabled")}
	case at(2, "User"):
		p.user = &UserItem{Line: line, ItemOff: p.allOff || attrOn(t, "disabled")}
	case at(3, "Properties") && p.group != nil:
		return p.groupProperties(t)
	case at(3, "Properties") && p.user != nil:
		return p.userProperties(t)
	case at(5, "Member") && p.path[3] == "Members" && p.group != nil:
		return p.member(t, line)
	case len(p.path) == 4 && p.path[2] == "Filters":
		p.filter(t)
	}
	return nil
}

func (p *groupsParser) end(name string) {
	if len(p.path) != 1 {
		return
	}
	switch {
	case name == "Group" && p.group != nil:
		p.out.Groups = append(p.out.Groups, *p.group)
	case name == "User" && p.user != nil:
		p.out.Users = append(p.out.Users, *p.user)
	}
	p.group, p.user = nil, nil
}

func (p *groupsParser) groupProperties(t xml.StartElement) (err error) {
	if len(p.out.Groups) == maxItems {
		return fmt.Errorf("more than %d groups", maxItems)
	}
	g := p.group
	if g.Action, err = parseAction(attr(t, "action")); err != nil {
		return err
	}
	if g.SID, err = optionalSID(attr(t, "groupSid")); err != nil {
		return err
	}
	g.Name, g.NewName = attr(t, "groupName"), attr(t, "newName")
	g.DeleteAllUsers, g.DeleteAllGroup = attrOn(t, "deleteAllUsers"), attrOn(t, "deleteAllGroups")
	return nil
}

func (p *groupsParser) userProperties(t xml.StartElement) (err error) {
	if len(p.out.Users) == maxItems {
		return fmt.Errorf("more than %d users", maxItems)
	}
	u := p.user
	if u.Action, err = parseAction(attr(t, "action")); err != nil {
		return err
	}
	u.Name, u.NewName, u.SubAuth = attr(t, "userName"), attr(t, "newName"), attr(t, "subAuthority")
	u.HasPassword = attr(t, "cpassword") != ""
	switch attr(t, "acctDisabled") {
	case "1":
		u.Disabled = Yes
	case "0":
		u.Disabled = No
	}
	return nil
}

func (p *groupsParser) member(t xml.StartElement, line int) error {
	if p.members++; p.members > maxMembers {
		return fmt.Errorf("more than %d members", maxMembers)
	}
	sid, err := optionalSID(attr(t, "sid"))
	if err != nil {
		return err
	}
	m := GroupMember{Name: attr(t, "name"), SID: sid, Line: line}
	switch strings.ToUpper(attr(t, "action")) {
	case "ADD", "":
	case "REMOVE":
		m.Remove = true
	default:
		return fmt.Errorf("member action %q", clip(attr(t, "action")))
	}
	p.group.Members = append(p.group.Members, m)
	return nil
}

// filter notes an item-level targeting condition; FilterRunOnce is no condition.
func (p *groupsParser) filter(t xml.StartElement) {
	if p.group != nil && t.Name.Local == "FilterRunOnce" {
		p.group.RunOnce = true
		return
	}
	add := func(s *string) {
		if *s != "" {
			*s += ", "
		}
		*s += t.Name.Local
		if n := attr(t, "name"); n != "" {
			*s += " " + clip(n)
		}
	}
	switch {
	case p.group != nil:
		add(&p.group.Filter)
	case p.user != nil:
		add(&p.user.Filter)
	}
}

func attr(t xml.StartElement, name string) string {
	for _, a := range t.Attr {
		if strings.EqualFold(a.Name.Local, name) {
			return a.Value
		}
	}
	return ""
}

func attrOn(t xml.StartElement, name string) bool {
	v := attr(t, name)
	return v == "1" || strings.EqualFold(v, "true")
}

func parseAction(s string) (Action, error) {
	switch strings.ToUpper(s) {
	case "", "U":
		return Update, nil
	case "C":
		return Create, nil
	case "R":
		return Replace, nil
	case "D":
		return Delete, nil
	}
	return Update, fmt.Errorf("action %q is not C, R, U or D", clip(s))
}

func optionalSID(s string) (secdesc.SID, error) {
	if s = strings.TrimSpace(s); s == "" {
		return secdesc.SID{}, nil
	}
	return secdesc.ParseSID(s)
}
