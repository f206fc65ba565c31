package server

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/leastwise/leastwise/internal/api"
	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/secdesc"
	"github.com/leastwise/leastwise/internal/store"
)

// Power is what membership of a group brings, by a snapshot.
type Power struct {
	Taken  time.Time       // when the snapshot was
	Known  bool            // false: it has no such group
	Extent json.RawMessage // in the form of the command reach
}

// Changes are what changed in the directory while a grant was active.
type Changes struct {
	Server string
	Items  []api.Change
	More   bool // there were more than are listed
}

type (
	powerOut   struct{ Body api.Power }
	changesOut struct{ Body api.Changes }
	entriesOut struct{ Body api.AuditEntries }
)

func (s *Server) registerGrantViews() {
	add(s, route{
		id: "power-of-grant", method: http.MethodGet, path: "/v1/grants/{id}/power", tag: tagGrants, summary: "What the power is that a grant gives",
		text:  "What membership of the group brings, by the newest snapshot, and how long tickets may outlive it. For those who decide about the grant, watch or review it.",
		codes: []api.Code{api.CodeUnavailable},
	}, s.showPower)
	add(s, route{
		id: "changes-during-grant", method: http.MethodGet, path: "/v1/grants/{id}/changes", tag: tagGrants, summary: "What changed in the directory while a grant was active",
		text:  "For observers and reviewers. The directory notes when an attribute changed and on which domain controller, but not who did it: changes by others are among these.",
		codes: []api.Code{api.CodeUnavailable, api.CodeConflict},
	}, s.showChanges)
	add(s, route{
		id: "log-of-grant", method: http.MethodGet, path: "/v1/grants/{id}/log", tag: tagGrants, summary: "What the audit log says of a grant",
	}, s.showGrantLog)
}

// deciding reads a grant for a caller who decides about it, watches or reviews it. The
// holder is not told what he could do with it.
func (s *Server) deciding(ctx context.Context, c *caller, id string) (grant.Grant, error) {
	g, err := s.visible(ctx, c, id, operator.GrantRead)
	if err != nil {
		return g, err
	}
	on, err := s.resource(ctx, c, &g, concernedBy{})
	if err != nil {
		return g, err
	}
	if on.Concerned && !on.Owner {
		return g, nil
	}
	return g, s.may(ctx, c, operator.AssessRead, onServer)
}

// powerFor is how long an answer about power is kept: it follows from a snapshot.
const powerFor = 5 * time.Minute

// A powerCache keeps answers about power, since several approvers ask for the same.
type powerCache struct {
	mu   sync.Mutex
	kept map[secdesc.SID]keptPower
}

type keptPower struct {
	Power
	at time.Time
}

func (s *Server) powerOf(ctx context.Context, group secdesc.SID) (Power, error) {
	now := s.cfg.Now()
	s.power.mu.Lock()
	k, ok := s.power.kept[group]
	s.power.mu.Unlock()
	if age := now.Sub(k.at); ok && age >= 0 && age < powerFor {
		return k.Power, nil
	}
	p, err := s.cfg.Power(ctx, group)
	if err != nil {
		return p, err
	}
	s.power.mu.Lock()
	defer s.power.mu.Unlock()
	if len(s.power.kept) > maxScanned || s.power.kept == nil {
		s.power.kept = map[secdesc.SID]keptPower{}
	}
	s.power.kept[group] = keptPower{p, now}
	return p, nil
}

func (s *Server) showPower(ctx context.Context, c *caller, in *grantIn) (*powerOut, error) {
	g, err := s.deciding(ctx, c, in.ID)
	if err != nil {
		return nil, err
	}
	out := &powerOut{api.Power{Group: api.NewGrant(&g).Group}}
	switch p, err := s.powerIfAny(ctx, g.Group.SID); {
	case err != nil:
		return nil, err
	case p == nil:
		out.Body.Missing = "no snapshot is configured on this server: what the group can do is not known"
	case !p.Known:
		out.Body.Snapshot, out.Body.Missing = p.Taken, "the snapshot does not hold this group: what it can do is not known"
	default:
		out.Body.Snapshot, out.Body.Known, out.Body.Extent = p.Taken, true, p.Extent
		out.Body.Age = grant.Span(max(0, s.cfg.Now().Sub(p.Taken)).Round(time.Minute)).String()
	}
	out.Body.Tickets = s.tickets(ctx, &g)
	return out, nil
}

// powerIfAny returns nil where the server has no snapshot.
func (s *Server) powerIfAny(ctx context.Context, group secdesc.SID) (*Power, error) {
	if s.cfg.Power == nil || group.IsZero() {
		return nil, nil
	}
	p, err := s.powerOf(ctx, group)
	return &p, err
}

// tickets says how long tickets may outlive a grant, before it is active as well.
func (s *Server) tickets(ctx context.Context, g *grant.Grant) string {
	if !g.Activated.IsZero() {
		return grant.AccessAfter(g).Text
	}
	t, err := s.cfg.Directory.Tickets(ctx, g.Key.Member)
	switch {
	case err != nil:
		return "How long tickets may outlive the membership is not known: the directory could not be asked."
	case !t.Known:
		return "How long tickets may outlive the membership is not known: " + t.Why + ". Assume days."
	}
	return "Tickets that are issued while the membership stands may give access for " + grant.Span(max(t.Ticket, t.Service)).String() +
		" after its end, and for " + grant.Span(max(t.Renewal, t.Ticket, t.Service)).String() + " if they are renewed."
}

func (s *Server) showChanges(ctx context.Context, c *caller, in *grantIn) (*changesOut, error) {
	g, err := s.deciding(ctx, c, in.ID)
	if err != nil {
		return nil, err
	}
	if g.Activated.IsZero() {
		return nil, api.NewProblem(api.CodeConflict, "the grant was not active yet")
	}
	if s.cfg.Changes == nil {
		return nil, api.NewProblem(api.CodeUnavailable, "this server does not look for changes in the directory")
	}
	until := g.EndedAt
	if until.IsZero() {
		until = s.cfg.Now().Add(time.Minute) // the controller's clock may be ahead
	}
	list, err := s.cfg.Changes(ctx, g.Activated, until)
	if err != nil {
		return nil, err
	}
	out := &changesOut{api.Changes{
		Since: g.Activated.UTC(), Until: until.UTC(), Server: list.Server, Items: list.Items, More: list.More,
		Note: "The directory does not say who made a change. Those of leastwise are the membership of this and other grants; others may be by anybody.",
	}}
	if out.Body.Items == nil {
		out.Body.Items = []api.Change{}
	}
	return out, nil
}

// maxGrantLog bounds the entries of one grant that are shown, the newest.
const maxGrantLog = 500

func (s *Server) showGrantLog(ctx context.Context, c *caller, in *grantIn) (*entriesOut, error) {
	g, err := s.visible(ctx, c, in.ID, operator.GrantRead)
	if err != nil {
		return nil, err
	}
	out := &entriesOut{api.AuditEntries{Items: []api.AuditEntry{}}}
	err = s.cfg.Store.View(ctx, func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.AuditEntries(ctx, store.AuditFilter{Record: "grant/" + string(g.ID), Limit: maxGrantLog})
		for _, e := range list {
			out.Body.Items = append(out.Body.Items, api.NewAuditEntry(e))
		}
		return err
	})
	return out, err
}
