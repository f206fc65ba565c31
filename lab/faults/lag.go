package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/apply"
	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/lab/samba"
)

// findHomes asks through which domain controller the nodes will write each group, as they find
// it out themselves.
func (w *world) findHomes(ctx context.Context) error {
	secret, err := w.lab.Admin.Password()
	if err != nil {
		return err
	}
	d := apply.NewGrants(apply.GrantOptions{Clock: app.Clock(), Directory: dc.Config{
		Domain: w.lab.Domain, DNS: w.lab.DNS, CAFile: w.lab.CAFile, Transport: dc.LDAPS, Bind: dc.Simple,
		Credentials: dc.Password(w.lab.Admin.Name+"@"+w.lab.Domain, secret),
	}})
	defer func() { _ = d.Close() }()
	if _, err := d.Time(ctx); err != nil {
		return err
	}
	w.homes = map[string]samba.Host{}
	for _, g := range w.groups {
		name := d.Home(g.guid)
		for _, h := range w.lab.DCs() {
			if strings.EqualFold(h.FQDN, name) {
				w.homes[lower(g)] = h
			}
		}
		if w.homes[lower(g)].Name == "" {
			return fmt.Errorf("%s is written through %q, which is no domain controller of the lab", g.dn, name)
		}
	}
	return nil
}

// hold stops replication between the domain controllers, or lets it go on.
func (w *world) hold(ctx context.Context, yes bool) error {
	sign := "-"
	if yes {
		sign = "+"
	}
	for _, h := range w.lab.DCs() {
		if _, err := w.lab.SambaTool(ctx, "drs", "options", h.FQDN, "--dsa-option="+sign+"DISABLE_INBOUND_REPL"); err != nil {
			return fmt.Errorf("holding replication to %s: %w", h.Name, err)
		}
	}
	if yes {
		return nil
	}
	for _, to := range w.lab.DCs() { // what was held is not asked for by itself for minutes
		for _, from := range w.lab.DCs() {
			if from.Name == to.Name {
				continue
			}
			if _, err := w.lab.SambaTool(ctx, "drs", "replicate", to.FQDN, from.FQDN, w.lab.BaseDN); err != nil {
				return fmt.Errorf("replicating from %s to %s: %w", from.Name, to.Name, err)
			}
		}
	}
	return nil
}

// lagging plays a round while the domain controllers lag behind each other. In the end all of
// them must say the same.
func (r *round) lagging(ctx context.Context, play func(context.Context) ([]string, error)) (problems []string, err error) {
	if len(r.w.lab.DCs()) < 2 {
		return play(ctx)
	}
	if err := r.w.hold(ctx, false); err != nil { // an earlier program may have been ended
		return nil, err
	}
	if err := r.w.lab.Converge(ctx); err != nil {
		return nil, err
	}
	if err := r.w.hold(ctx, true); err != nil {
		return nil, err
	}
	problems, err = play(ctx)
	apart, aerr := r.apart(ctx)
	r.f.apart += apart
	err = errors.Join(err, aerr, r.w.hold(context.WithoutCancel(ctx), false))
	if err != nil {
		return problems, err
	}
	limit, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if err := r.w.lab.Converge(limit); err != nil {
		return problems, err
	}
	if left, err := r.apart(ctx); err != nil || left > 0 {
		problems = append(problems, fmt.Sprintf("%d groups have different members on the domain controllers after replication (%v)", left, err))
	}
	return problems, nil
}

// apart counts the groups whose members differ between domain controllers.
func (r *round) apart(ctx context.Context) (n int, err error) {
	var all []map[string]map[string]bool
	for _, h := range r.w.lab.DCs() {
		m, err := r.w.membersOn(ctx, h)
		if err != nil {
			return 0, err
		}
		all = append(all, m)
	}
	for _, g := range r.w.groups {
		for _, other := range all[1:] {
			if !maps.Equal(all[0][lower(g)], other[lower(g)]) {
				n++
				break
			}
		}
	}
	return n, nil
}

// members returns who is in each group now, on the domain controller that it is written
// through, by lower-case distinguished names.
func (w *world) members(ctx context.Context) (map[string]map[string]bool, error) {
	if len(w.homes) == 0 {
		return w.membersOn(ctx, w.lab.DCs()[0])
	}
	out := map[string]map[string]bool{}
	for _, h := range w.lab.DCs() {
		some, err := w.membersOn(ctx, h)
		if err != nil {
			return nil, err
		}
		for g, m := range some {
			if w.homes[g].Name == h.Name {
				out[g] = m
			}
		}
	}
	return out, nil
}

// home is the domain controller that a group is written through.
func (w *world) home(group object) samba.Host {
	if h, ok := w.homes[lower(group)]; ok {
		return h
	}
	return w.lab.DCs()[0]
}
