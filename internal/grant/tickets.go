package grant

import "time"

// Tickets are the lifetimes that a domain's Kerberos policy gives tickets.
type Tickets struct {
	Ticket  time.Duration `json:"ticket"`           // MaxTicketAge: of a ticket-granting ticket
	Renewal time.Duration `json:"renewal"`          // MaxRenewAge: from first issue to the last renewal's end
	Service time.Duration `json:"service"`          // MaxServiceAge
	Known   bool          `json:"known"`            // false: they could not be read
	Why     string        `json:"why,omitempty"`    // why not
	Source  string        `json:"source,omitempty"` // the policy that they were read from
}

// Access says how long access may outlive a membership.
type Access struct {
	// Ends is the end of the membership; zero if it has none (a standing one).
	Ends time.Time `json:"ends,omitzero"`
	// Tickets is until when a ticket may carry the group if it was issued just before
	// the end and is not renewed; zero: not known.
	Tickets time.Time `json:"tickets,omitzero"`
	// Renewed is the same if the ticket is renewed as often as possible: a renewed
	// ticket keeps the groups that it was issued with ([MS-KILE] 3.3.5.6).
	Renewed  time.Time `json:"renewed,omitzero"`
	Known    bool      `json:"known"`
	Text     string    `json:"text"`
	Stronger string    `json:"stronger"` // what would cut access off with the membership
}

// AccessAfter says until when tickets may live on after a membership ends. The end of
// membership is not the end of access: nothing takes back a ticket or a session.
//
// An expiring link caps the tickets that are issued while it stands at its own end
// ([MS-KILE] 3.3.5.3); where the grant has one, that end counts if it comes first.
func AccessAfter(g *Grant) Access {
	const layout = "2006-01-02 15:04 MST"
	a := Access{Ends: g.Ends, Known: g.Tickets.Known, Stronger: "Sessions that are open and logons that a computer has cached go on in any case. " +
		"A separate account that is disabled at the end, or membership of Protected Users (tickets of four hours, not renewable), shortens this; " +
		"disabling the account also refuses to renew its tickets."}
	end := g.Ends
	if !g.EndedAt.IsZero() {
		end = g.EndedAt // at the latest; people read this afterwards, too
	}
	switch {
	case end.IsZero() && g.Activated.IsZero():
		a.Text = "It is not active: how long tickets live is counted from the end of the membership."
		return a
	case !g.Basis.removable() && g.Basis != NoBasis:
		a.Ends, a.Known = time.Time{}, true
		a.Text = "The account was a member before this grant and stays one: access does not end with the grant."
		return a
	case !g.Tickets.Known:
		a.Text = "How long tickets live in this domain could not be read (" + g.Tickets.Why + "): assume that access outlives the membership by days."
		return a
	}
	a.Tickets = end.Add(max(g.Tickets.Ticket, g.Tickets.Service))
	a.Renewed = end.Add(max(g.Tickets.Renewal, g.Tickets.Ticket, g.Tickets.Service))
	if !g.Native.IsZero() && g.Native.After(end) {
		a.Tickets, a.Renewed = earlier(a.Tickets, g.Native), earlier(a.Renewed, g.Native)
	}
	a.Text = "Tickets that were issued while the membership stood may give access until " + a.Tickets.UTC().Format(layout) +
		", and if they are renewed until " + a.Renewed.UTC().Format(layout) + "."
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
