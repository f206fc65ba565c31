//go:build linux

package apply

import (
	"errors"
	"strings"
	"testing"

	ldap "github.com/go-ldap/ldap/v3"

	"github.com/leastwise/leastwise/internal/plan"
	"github.com/leastwise/leastwise/internal/secdesc"
	"github.com/leastwise/leastwise/lab/labtest"
)

// container is the yard itself, as the place of new objects.
func (y *yard) container() plan.Target { return y.target(y.ou) }

func permits(t *testing.T, text string) *plan.Permits {
	t.Helper()
	p := &plan.Permits{}
	if err := p.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return p
}

// A group and an account are created as shown, once, and undoing deletes those two
// objects and no others.
func TestCreateAndUndo(t *testing.T) {
	y := newYard(t, labtest.Start(t, labtest.Options{Single: true}))
	dacl := "D:P(D;;CR;;;WD)(A;;RPWPCRCCDCLCLORCWOWDSDDTSW;;;" + y.target("CN=Domain Admins,CN=Users,"+y.lab.BaseDN).SID.String() + ")(A;;RPLCLORC;;;AU)"
	group := &plan.NewObject{Class: plan.ClassGroup, Name: `Managers, "all"`, Account: "mgrs-" + y.ou[9:15], Description: "für später", GroupType: plan.GlobalSecurityGroup}
	account := &plan.NewObject{
		Class: plan.ClassUser, Name: "Manager 1", Account: "mgr-" + y.ou[9:15], Flags: 0x100202, Encryption: 24, NoDialIn: true,
		Permissions: permits(t, dacl),
	}
	p := y.plan(plan.Change{Kind: plan.CreateObject, Object: y.container(), New: group}, plan.Change{Kind: plan.CreateObject, Object: y.container(), New: account})
	r, j := y.run()
	rep := apply(t, r, p)
	if rep.Count(Done) != 2 || rep.Changes[0].Made.IsZero() || !rep.Changes[1].Verified {
		t.Fatalf("%+v", rep)
	}
	e := y.read(account.DN(y.ou))
	for name, want := range map[string]string{"userAccountControl": "1049090", "msDS-SupportedEncryptionTypes": "24", "msNPAllowDialin": "FALSE", "sAMAccountName": account.Account} {
		if got := e.GetAttributeValue(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	sd, err := secdesc.Parse(e.GetRawAttributeValue("nTSecurityDescriptor"))
	if err != nil {
		t.Fatal(err)
	}
	bare := secdesc.Descriptor{Control: sd.Control & (secdesc.DACLPresent | secdesc.DACLProtected), DACL: sd.DACL}
	if got := bare.SDDL(secdesc.SID{}); got != dacl {
		t.Errorf("permissions %s, want %s", got, dacl)
	}
	if got := y.read(group.DN(y.ou)).GetAttributeValue("description"); got != group.Description {
		t.Errorf("description %q", got)
	}
	again, _ := y.run() // another plan for the same: nothing to do, and nothing to undo
	if rep := apply(t, again, p); rep.Count(Already) != 2 {
		t.Errorf("%+v", rep)
	}
	if rep, err := again.Undo(t.Context()); err != nil || rep.Count(Done) != 0 {
		t.Errorf("%+v, %v", rep, err)
	}
	// Another object under the name that was created is not deleted.
	anna := y.user("anna")
	y.modify(group.DN(y.ou), "member", anna.DN)
	if _, err := r.Undo(t.Context()); !errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), "has members") {
		t.Errorf("a group with members: %v", err)
	}
	if err := y.conn.Del(ldap.NewDelRequest(group.DN(y.ou), nil)); err != nil {
		t.Fatal(err)
	}
	y.add(group.DN(y.ou), "group", "sAMAccountName", group.Account)
	if _, err := r.Undo(t.Context()); !errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), "another object than the one that was created") {
		t.Errorf("another group of that name: %v", err)
	}
	if err := y.conn.Del(ldap.NewDelRequest(group.DN(y.ou), nil)); err != nil {
		t.Fatal(err)
	}
	if rep, err := r.Undo(t.Context()); err != nil {
		t.Errorf("%+v, %v", rep, err)
	}
	for _, n := range []*plan.NewObject{group, account} {
		if y.exists(n.DN(y.ou)) {
			t.Errorf("%s is still there", n.Name)
		}
	}
	if last := j.entries[len(j.entries)-1]; last.Event != Ended {
		t.Errorf("the journal ends with %+v", last)
	}
}
