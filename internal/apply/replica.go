package apply

import (
	"context"

	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/plan"
)

// Replicas reads on every other domain controller of the domain whether a change that
// was carried out has arrived there, by replication metadata where the domain
// controllers tell it (see [dc.Replica]).
func (d *Directory) Replicas(ctx context.Context, c plan.Change) []dc.Replica {
	switch c.Kind {
	case plan.AddMember, plan.RemoveMember:
		return d.w.ReplicasOfMember(ctx, c.Object.GUID, member(c), c.Kind == plan.AddMember)
	case plan.EnableAccount, plan.DisableAccount, plan.ResetPassword, plan.SetExpiry, plan.GrantEntry, plan.RevokeEntry, plan.CreateObject, plan.DeleteObject:
	}
	return d.w.ReplicasOfAttribute(ctx, c.Object.GUID, c.Attribute())
}
