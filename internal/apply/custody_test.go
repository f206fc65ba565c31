//go:build linux

package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/plan"
	"github.com/leastwise/leastwise/internal/secdesc"
	"github.com/leastwise/leastwise/lab/labtest"
)

// Rights of the guide's appendix I.
const (
	resetRight = "(OA;;CR;00299570-246d-11d0-a768-00aa006e0529;;%s)"
	flagsRight = "(OA;;RPWP;bf967a68-0de6-11d0-a285-00aa003049e2;;%s)"
)

// custody is a group, a management account that may write its members, and a service
// account that may enable it and no more.
type custody struct {
	*yard
	group, manager, anna plan.Target
	service              plan.Target
	name                 string // of the service account
}

func newCustody(t *testing.T) *custody {
	y := newYard(t, labtest.Start(t, labtest.Options{Single: true}))
	c := &custody{yard: y, group: y.group("g"), manager: y.user("manager"), anna: y.user("anna"), service: y.user("service")}
	y.modify(c.manager.DN, "userAccountControl", "514")
	c.name = y.read(c.service.DN).GetAttributeValue("sAMAccountName")
	apply(t, first(y.run()), y.plan(
		plan.Change{Kind: plan.GrantEntry, Object: c.manager, Entry: entry(t, resetRight, c.service.SID)},
		plan.Change{Kind: plan.GrantEntry, Object: c.manager, Entry: entry(t, flagsRight, c.service.SID)},
		plan.Change{Kind: plan.GrantEntry, Object: c.group, Entry: entry(t, writeMember, c.manager.SID)},
	))
	return c
}

func (c *custody) use(do func(context.Context, *Directory) error) Use {
	return Use{Account: c.manager, Object: c.group.GUID, Do: do}
}

func (c *custody) addAnna(ctx context.Context, d *Directory) error {
	return wrote(d.w.AddMember(ctx, c.group.GUID, dc.Member{GUID: c.anna.GUID}, 0))
}

func (c *custody) mustBeIdle(when string) {
	c.t.Helper()
	if flags := c.number(c.manager, "userAccountControl"); flags&2 == 0 {
		c.t.Errorf("%s: the management account is enabled: %d", when, flags)
	}
}

// A management account writes what the account that enables it may not write, and is
// disabled with another password afterwards, whatever happens meanwhile.
func TestThrough(t *testing.T) {
	c := newCustody(t)
	d := c.open(c.configFor(c.name, userPassword))
	if err := c.addAnna(t.Context(), d); dc.KindOf(err) != dc.ErrAccessDenied {
		t.Fatalf("the service account writes members itself: %v", err)
	}
	var steps []UseStep
	var set int64
	u := c.use(func(ctx context.Context, lent *Directory) error {
		set = c.number(c.manager, "pwdLastSet")
		if c.number(c.manager, "userAccountControl")&2 != 0 {
			t.Error("the account is not enabled")
		}
		return c.addAnna(ctx, lent)
	})
	u.Step = func(s UseStep) { steps = append(steps, s) }
	done, err := d.Through(t.Context(), u)
	if !done || err != nil {
		t.Fatalf("%t, %v", done, err)
	}
	if want := "[read reset enable sign-in work disable scramble end]"; fmt.Sprint(steps) != want {
		t.Errorf("steps %v, want %s", steps, want)
	}
	if got := c.members(c.group); len(got) != 1 || got[0] != c.anna.DN {
		t.Errorf("members %q", got)
	}
	c.mustBeIdle("after the use")
	if now := c.number(c.manager, "pwdLastSet"); now == set {
		t.Error("the password of the use is still in force")
	}
	broken := errors.New("the work cannot be done")
	done, err = d.Through(t.Context(), c.use(func(context.Context, *Directory) error { return broken }))
	if done || !errors.Is(err, broken) {
		t.Errorf("%t, %v", done, err)
	}
	c.mustBeIdle("after work that failed")
	ctx, cancel := context.WithCancel(t.Context())
	_, err = d.Through(ctx, c.use(func(ctx context.Context, _ *Directory) error { cancel(); return ctx.Err() }))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	c.mustBeIdle("after an interruption")
	stranger := c.use(c.addAnna)
	stranger.Account.SID = stranger.Account.SID.Domain().Child(4_000_000)
	if done, err := d.Through(t.Context(), stranger); done || err == nil || !strings.Contains(err.Error(), "as shown") {
		t.Errorf("another account than was named: %t, %v", done, err)
	}
}

// Uses of one account at once wait for each other.
func TestThroughTogether(t *testing.T) {
	c := newCustody(t)
	d := c.open(c.configFor(c.name, userPassword))
	var inside, most int
	var mu sync.Mutex
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = d.Through(t.Context(), c.use(func(ctx context.Context, lent *Directory) error {
				mu.Lock()
				inside++
				most = max(most, inside)
				mu.Unlock()
				if found, err := d.Reclaim(ctx, c.manager); found != FoundInUse || err != nil {
					t.Errorf("reclaimed in use: %v, %v", found, err)
				}
				err := c.addAnna(ctx, lent)
				mu.Lock()
				inside--
				mu.Unlock()
				return err
			}))
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil || most != 1 {
		t.Errorf("%d at once, %v", most, err)
	}
	c.mustBeIdle("after all uses")
}

// Another process that uses the account is not disturbed; what it left behind is ended.
func TestReclaim(t *testing.T) {
	c := newCustody(t)
	cfg := c.configFor(c.name, userPassword)
	d := c.open(cfg)
	if found, err := d.Reclaim(t.Context(), c.manager); found != FoundIdle || err != nil {
		t.Errorf("%v, %v", found, err)
	}
	c.modify(c.manager.DN, "userAccountControl", "512") // the password is new: as another node would leave it
	if found, err := d.Reclaim(t.Context(), c.manager); found != FoundInUse || err != nil {
		t.Errorf("%v, %v", found, err)
	}
	if _, err := d.Through(t.Context(), c.use(c.addAnna)); !errors.Is(err, ErrInUse) {
		t.Errorf("used by two: %v", err)
	}
	set := c.number(c.manager, "pwdLastSet")
	d.cfg.Now = func() time.Time { return time.Now().Add(24 * time.Hour) } // this machine's clock says nothing about it
	if found, err := d.Reclaim(t.Context(), c.manager); found != FoundInUse || err != nil {
		t.Errorf("by a wrong clock: %v, %v", found, err)
	}
	d.longest = over
	if found, err := d.Reclaim(t.Context(), c.manager); found != FoundAbandoned || err != nil {
		t.Errorf("%v, %v", found, err)
	}
	c.mustBeIdle("reclaimed")
	if c.number(c.manager, "pwdLastSet") == set {
		t.Error("the password stayed")
	}
}

// over is a longest use that is over already, although the controller tells whole seconds.
const over = -2 * time.Second

// Whoever enabled the account died. An end does not wait until the longest use is over: it
// takes the account over as soon as a use for a grant would be.
func TestTakenOver(t *testing.T) {
	c := newCustody(t)
	d := c.open(c.configFor(c.name, userPassword))
	c.modify(c.manager.DN, "userAccountControl", "512")
	u := c.use(c.addAnna)
	u.Patience = time.Minute
	if _, err := d.Through(t.Context(), u); !errors.Is(err, ErrInUse) {
		t.Errorf("within a minute: %v", err)
	}
	u.Patience = over
	if done, err := d.Through(t.Context(), u); !done || err != nil {
		t.Errorf("afterwards: %t, %v", done, err)
	}
	c.mustBeIdle("taken over")
}

// useVariable makes this test's program a child that uses a management account.
const useVariable = "LEASTWISE_APPLY_USE_CHILD"

// A useOrder tells it how, and where it kills itself.
type useOrder struct {
	Manager, Group, Anna           plan.Target
	KillAt                         UseStep
	Domain, DNS, Server, CA, Named string
}

func useChild() error {
	var o useOrder
	if err := json.Unmarshal([]byte(os.Getenv(useVariable)), &o); err != nil {
		return err
	}
	d, err := Open(context.Background(), dc.Config{
		Domain: o.Domain, DNS: o.DNS, Server: o.Server, CAFile: o.CA, Timeout: 20 * time.Second, Credentials: dc.Password(o.Named, userPassword),
	})
	if err != nil {
		return err
	}
	_, err = d.Through(context.Background(), Use{
		Account: o.Manager, Object: o.Group.GUID,
		Do: func(ctx context.Context, lent *Directory) error {
			return wrote(lent.w.AddMember(ctx, o.Group.GUID, dc.Member{GUID: o.Anna.GUID}, 0))
		},
		Step: func(s UseStep) {
			if s == o.KillAt {
				kill()
			}
		},
	})
	return err
}

// A process is killed at every step of a use. Either the account is disabled then, or the
// next sweep disables it; nobody can sign in as it meanwhile; and the next use works.
func TestUseKilledAtEveryStep(t *testing.T) {
	c := newCustody(t)
	l := c.lab
	later := c.configFor(c.name, userPassword)
	open := map[UseStep]bool{UseSignIn: true, UseWork: true, UseDisable: true}
	for _, step := range []UseStep{UseRead, UseReset, UseEnable, UseSignIn, UseWork, UseDisable, UseScramble, UseEnd} {
		text, err := json.Marshal(useOrder{
			Manager: c.manager, Group: c.group, Anna: c.anna, KillAt: step,
			Domain: l.Domain, DNS: l.DNS, Server: l.DCs()[0].FQDN, CA: l.CAFile, Named: c.name,
		})
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), useVariable+"="+string(text))
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || !exit.Sys().(syscall.WaitStatus).Signaled() {
			t.Fatalf("%s: was not killed: %v\n%s", step, err, out)
		}
		if got := c.number(c.manager, "userAccountControl")&2 == 0; got != open[step] {
			t.Errorf("killed at %s: enabled %t", step, got)
		}
		if err := canSignIn(c.yard, c.manager, userPassword); err == nil {
			t.Errorf("killed at %s: the old password is good for signing in", step)
		}
		want := FoundIdle
		if open[step] {
			want = FoundAbandoned
		}
		sweeper := Directory{w: c.open(later).w, cfg: later, longest: over}
		if found, err := sweeper.Reclaim(t.Context(), c.manager); found != want || err != nil {
			t.Errorf("killed at %s: the sweep finds %v, %v", step, found, err)
		}
		c.mustBeIdle("swept after " + string(step))
	}
	d := c.open(c.configFor(c.name, userPassword))
	if done, err := d.Through(t.Context(), c.use(c.addAnna)); !done || err != nil {
		t.Errorf("the use after all that: %t, %v", done, err)
	}
	c.mustBeIdle("at the end")
	var none secdesc.GUID
	if _, err := d.Through(t.Context(), Use{Account: plan.Target{DN: "CN=nobody", GUID: none}, Object: c.group.GUID}); err == nil {
		t.Error("an account that does not exist was used")
	}
}
