package apply

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/plan"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A Directory is one domain that plans are carried out in.
type Directory struct {
	w   *dc.Writer
	cfg dc.Config
	// longest is how long a management account may be enabled for one use; 0: longestUse.
	longest time.Duration

	mu   sync.Mutex
	lent map[secdesc.GUID]chan struct{} // management accounts in use, see Through
}

// Open finds the domain controllers and signs in. Config says where and as whom; the
// account needs exactly the rights to what the plans write, and to read that.
func Open(ctx context.Context, cfg dc.Config) (*Directory, error) {
	w, err := dc.OpenWriter(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &Directory{w: w, cfg: cfg}, nil
}

// Close ends the connections.
func (d *Directory) Close() error { return d.w.Close() }

// Domain returns the DNS name of the domain.
func (d *Directory) Domain() string { return d.w.Domain() }

// objectAttributes are what conditions may be about.
var objectAttributes = []string{"objectSid", "userAccountControl", "accountExpires", "pwdLastSet", "whenChanged", "uSNChanged", "isDeleted"}

// facts reads what a change depends on, on the domain controller that its object is
// written through. An object that is gone, or may not be seen, is an error of kind
// dc.ErrNoSuchObject unless it is found among the deleted ones.
func (d *Directory) facts(ctx context.Context, c plan.Change) (plan.Facts, error) {
	var f plan.Facts
	q := dc.Request{Attributes: objectAttributes}
	e, server, err := d.w.Read(ctx, c.Object.GUID, q)
	if dc.KindOf(err) == dc.ErrNoSuchObject {
		q.ShowDeleted = true
		if gone, s, derr := d.w.Read(ctx, c.Object.GUID, q); derr == nil && gone.Value("isDeleted") == "TRUE" {
			return plan.Facts{Server: s.Name, DN: gone.DN, Deleted: true}, nil
		}
	}
	if err != nil {
		return f, err
	}
	f.Server, f.DN, f.SID = server.Name, e.DN, sidOf(e)
	f.WhenChanged = e.Value("whenChanged")
	f.USNChanged, _ = strconv.ParseInt(e.Value("uSNChanged"), 10, 64)
	f.Expires, f.PasswordSet = number(e, "accountExpires"), number(e, "pwdLastSet")
	if v := number(e, "userAccountControl"); v != nil {
		flags := uint32(*v)
		f.Flags = &flags
	}
	switch c.Kind {
	case plan.AddMember, plan.RemoveMember:
		err = d.memberFacts(ctx, c, &f)
	case plan.GrantEntry, plan.RevokeEntry:
		sd, _, derr := d.w.ReadDACL(ctx, c.Object.GUID)
		if derr == nil {
			f.Entry = plan.Known(indexOf(sd, c.Entry.ACE) >= 0)
		} else if dc.KindOf(derr) != dc.ErrAccessDenied { // else the entry stays not read
			err = derr
		}
	case plan.CreateObject, plan.DeleteObject:
		err = d.childFacts(ctx, c, &f)
	case plan.EnableAccount, plan.DisableAccount, plan.ResetPassword, plan.SetExpiry:
	}
	return f, err
}

func (d *Directory) memberFacts(ctx context.Context, c plan.Change, f *plan.Facts) error {
	in, _, err := d.w.IsMember(ctx, c.Object.GUID, member(c))
	if err != nil {
		return err
	}
	f.Membership = plan.Known(in)
	if in && c.Kind == plan.RemoveMember {
		if f.TimeBound, err = d.w.TimeBoundLinks(ctx, c.Object.GUID); err != nil {
			return err
		}
	}
	if c.Member.GUID.IsZero() {
		return nil
	}
	e, _, err := d.w.ReadVia(ctx, c.Object.GUID, c.Member.GUID, dc.Request{Attributes: []string{"objectSid"}})
	switch {
	case dc.KindOf(err) == dc.ErrNoSuchObject:
		return nil // its SID stays unknown, which refuses whatever would touch it
	case err != nil:
		return err
	}
	f.MemberDN, f.MemberSID = e.DN, sidOf(e)
	return nil
}

// childFacts reads the object that has the name of a new one.
func (d *Directory) childFacts(ctx context.Context, c plan.Change, f *plan.Facts) error {
	e, there, _, err := d.w.Child(ctx, c.Object.GUID, c.New.Name, "objectGUID", "objectClass", "sAMAccountName", "userAccountControl", "member")
	f.ChildThere = plan.Known(there)
	if err != nil || !there {
		return err
	}
	guid, err := secdesc.GUIDFromBytes([]byte(e.Value("objectGUID")))
	if err != nil {
		return fmt.Errorf("reading the objectGUID of %s: %w", e.DN, err)
	}
	f.Child = &plan.Child{GUID: guid, DN: e.DN, Account: e.Value("sAMAccountName"), Members: len(e.Values("member")) > 0}
	if classes := e.Values("objectClass"); len(classes) > 0 {
		f.Child.Class = string(classes[len(classes)-1])
	}
	if v := number(e, "userAccountControl"); v != nil {
		flags := uint32(*v)
		f.Child.Flags = &flags
	}
	return nil
}

func member(c plan.Change) dc.Member { return dc.Member{GUID: c.Member.GUID, SID: c.Member.SID} }

func sidOf(e dc.Entry) secdesc.SID {
	sid, err := secdesc.SIDFromBytes([]byte(e.Value("objectSid")))
	if err != nil {
		return secdesc.SID{}
	}
	return sid
}

// number returns an integer attribute, nil if it was not read.
func number(e dc.Entry, name string) *int64 {
	v, err := strconv.ParseInt(e.Value(name), 10, 64)
	if err != nil {
		return nil
	}
	return &v
}

// write carries out a change that fits the facts.
func (d *Directory) write(ctx context.Context, c plan.Change, f plan.Facts, password func() ([]byte, error)) dc.Write {
	switch c.Kind {
	case plan.AddMember:
		return d.w.AddMember(ctx, c.Object.GUID, member(c), ttl(c))
	case plan.RemoveMember:
		return d.w.RemoveMember(ctx, c.Object.GUID, member(c))
	case plan.EnableAccount, plan.DisableAccount:
		flags := int64(*f.Flags)
		return d.w.ReplaceInt(ctx, c.Object.GUID, "userAccountControl", flags, flags^int64(plan.AccountDisabled))
	case plan.SetExpiry:
		return d.w.ReplaceInt(ctx, c.Object.GUID, "accountExpires", *f.Expires, c.Expires.FileTime())
	case plan.GrantEntry, plan.RevokeEntry:
		return d.writeEntry(ctx, c)
	case plan.CreateObject:
		o := dc.NewObject{Name: c.New.Name, RDN: c.New.DN(""), Attributes: c.New.Attributes()}
		o.RDN = strings.TrimSuffix(o.RDN, ",")
		if c.New.Permissions != nil {
			o.Permissions = c.New.Permissions.Descriptor
		}
		return d.w.Create(ctx, c.Object.GUID, o)
	case plan.DeleteObject:
		if err := d.w.Pin(f.Child.GUID, f.Server); err != nil {
			return dc.Write{Outcome: dc.NotDone, Err: err}
		}
		return d.w.Delete(ctx, f.Child.GUID)
	case plan.ResetPassword:
		value, err := password()
		if err != nil {
			return dc.Write{Outcome: dc.NotDone, Err: err}
		}
		defer clear(value)
		return d.w.ResetPassword(ctx, c.Object.GUID, value)
	}
	return dc.Write{Outcome: dc.NotDone, Err: errors.New("there is no change of kind " + string(c.Kind))}
}

// A Removal is what became of one membership that was to end.
type Removal struct {
	Result   Result // Done, Already, Failed or Uncertain
	Server   string
	Verified bool
	Err      error // why it is not Done or Already
}

// RemoveMembers ends many memberships of one group at once, without a journal: it is for
// callers whose own store has noted before that these memberships have to end, and who
// call again until each has. Only members that are given are removed.
func (d *Directory) RemoveMembers(ctx context.Context, group plan.Target, members []plan.Target) []Removal {
	list := make([]dc.Member, len(members))
	for i, m := range members {
		list[i] = dc.Member{GUID: m.GUID, SID: m.SID}
	}
	results := map[dc.Outcome]Result{dc.Done: Done, dc.Already: Already, dc.NotDone: Failed, dc.Uncertain: Uncertain}
	out := make([]Removal, len(members))
	for i, w := range d.w.RemoveMembers(ctx, group.GUID, list) {
		out[i] = Removal{results[w.Outcome], w.Server.Name, w.Verified, w.Err}
	}
	return out
}

// writeEntry puts an entry into the DACL, or takes it out.
func (d *Directory) writeEntry(ctx context.Context, c plan.Change) dc.Write {
	want := c.Kind == plan.GrantEntry
	return d.w.ChangeDACL(ctx, c.Object.GUID,
		func(sd *secdesc.Descriptor) (*secdesc.Descriptor, error) { return withEntry(sd, c.Entry.ACE, want) },
		func(now *secdesc.Descriptor) bool { return (indexOf(now, c.Entry.ACE) >= 0) == want })
}

// errNoDACL: everybody may do everything, so an entry would take rights away.
var errNoDACL = errors.New("the object has no DACL, so that an entry would take rights away: set one first")

// indexOf finds an entry that the object has itself; -1 if there is none.
func indexOf(sd *secdesc.Descriptor, ace secdesc.ACE) int {
	if sd.DACL == nil {
		return -1
	}
	for i, a := range sd.DACL.ACEs {
		if a.Equal(ace) {
			return i
		}
	}
	return -1
}

// withEntry returns the descriptor with an entry, or without any that equals it. A new
// one comes where the canonical order wants it: denials before what is allowed, and both
// before what is inherited ([MS-DTYP] 2.4.5, [MS-ADTS] 5.1.3.2).
func withEntry(sd *secdesc.Descriptor, ace secdesc.ACE, there bool) (*secdesc.Descriptor, error) {
	if sd.DACL == nil {
		return nil, errNoDACL
	}
	out := sd.Clone()
	var list []secdesc.ACE
	put := !there
	for _, a := range out.DACL.ACEs {
		if a.Equal(ace) {
			continue
		}
		if !put && (a.IsInherited() || ace.IsDeny() && !a.IsDeny()) {
			list, put = append(list, ace), true
		}
		list = append(list, a)
	}
	if !put {
		list = append(list, ace)
	}
	out.DACL.ACEs = list
	if ace.Type.IsObject() && out.DACL.Revision < secdesc.ACLRevisionDS {
		out.DACL.Revision = secdesc.ACLRevisionDS
	}
	return out, nil
}
