package grant

import (
	"context"
	"time"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// A Holding is what is known of one membership across all grants of it.
type Holding struct {
	Key   Key    `json:"key"`
	Ours  bool   `json:"ours"`            // a grant added it, and nobody has removed it since
	Stamp string `json:"stamp,omitempty"` // of the link that a grant added, see [Link]
	Basis Basis  `json:"basis,omitempty"` // Added or Inferred, where Ours
	Last  ID     `json:"last,omitempty"`  // the grant that wrote last

	// Busy is until when (by the controller's clock, as Watch) a write that was
	// announced may still be sent or, of a removal, take effect. No grant adds
	// the membership before then; removals do not wait.
	Busy time.Time `json:"busy,omitzero"`
	// Watch is until when the link is looked at although no grant wants it: an
	// addition whose answer was lost may take effect late.
	Watch time.Time `json:"watch,omitzero"`
	// Gone is set when group or account was deleted while the membership was there:
	// a restored object brings its memberships back.
	Gone bool `json:"gone,omitempty"`

	Revision int64 `json:"revision"` // see Tx.PutHolding
}

// Kind says what an entry of the log stands for.
type Kind string

// The kinds of entries.
const (
	Intent   Kind = "intent"   // a write follows
	Outcomes Kind = "outcome"  // what became of it
	Decision Kind = "decision" // a change of state, or of what belongs to it
	Refusal  Kind = "refusal"  // somebody asked for what he may not have
	Stale    Kind = "stale"    // an action of an earlier generation, inert
	Notable  Kind = "notable"  // an event of the surroundings
)

// An Entry of the audit log.
type Entry struct {
	Time       time.Time    `json:"time"` // wall clock
	Kind       Kind         `json:"kind"`
	Actor      Actor        `json:"actor"`
	Action     Event        `json:"action"`
	Grant      ID           `json:"grant,omitempty"`
	Generation int64        `json:"generation,omitempty"`
	Group      secdesc.GUID `json:"group"`
	GroupName  string       `json:"group_name,omitempty"`
	Target     secdesc.GUID `json:"target"` // the holder's account
	TargetName string       `json:"target_name,omitempty"`
	Until      time.Time    `json:"until,omitzero"` // when the grant ends, once that is known
	From       State        `json:"from,omitempty"`
	To         State        `json:"to,omitempty"`
	Reason     string       `json:"reason,omitempty"` // the caller's words
	Detail     string       `json:"detail,omitempty"` // ours
	Late       bool         `json:"late,omitempty"`   // it happened before it could be logged
}

// An Actor is who did something: a caller, or the server itself.
type Actor struct {
	Party
	Method  string `json:"method,omitempty"`  // how he was authenticated
	Factor  string `json:"factor,omitempty"`  // second factor, if any
	Session string `json:"session,omitempty"` // names session or token; never its secret
	From    string `json:"from,omitempty"`    // address that the request came from
	Request string `json:"request,omitempty"` // the request's ID
}

// Audience says who is told.
type Audience string

// The audiences.
const (
	ToRequester Audience = "requester" // and the holder
	ToApprovers Audience = "approvers"
	ToObservers Audience = "observers"
	ToSecurity  Audience = "security"
	ToReviewers Audience = "reviewers"
)

// A Notice is a message that is owed to people.
type Notice struct {
	Time  time.Time  `json:"time"`
	Grant ID         `json:"grant"`
	Event Event      `json:"event"`
	State State      `json:"state"`
	To    []Audience `json:"to"`
	Loud  bool       `json:"loud,omitempty"`
	Text  string     `json:"text"`
}

// Due selects the grants that need work.
type Due struct {
	Wall   time.Time // grants whose Wake is set and not after this
	DC     time.Time // and those whose WakeDC is; zero: none
	States []State   // of these states only; empty: all
	Limit  int
}

// A Page selects grants for people, newest request first.
type Page struct {
	States []State      // empty: all
	Party  secdesc.GUID // requester or holder; zero: all
	Policy string       // empty: all
	After  ID           // those behind this grant in the order; empty: from the start
	Limit  int          // 1 to 1000
}

// Store keeps grants. Its methods may be called at once from several goroutines and
// several nodes.
type Store interface {
	// Update runs f in one transaction: everything that f put, recorded and announced
	// is there afterwards, or nothing of it. It returns f's error. f has no effect but
	// through its Tx, since it may run more than once.
	Update(ctx context.Context, f func(ctx context.Context, tx Tx) error) error
	// Read returns one grant, ErrNotFound if there is none.
	Read(ctx context.Context, id ID) (Grant, error)
	// ReadAll returns those of some grants that there are, in any order.
	ReadAll(ctx context.Context, ids []ID) ([]Grant, error)
	// Due returns grants that need work: first those of Wake, then those of WakeDC, each
	// in its order.
	Due(ctx context.Context, d Due) ([]Grant, error)
	// List returns grants for people.
	List(ctx context.Context, p Page) ([]Grant, error)
	// Holding returns the record of a membership, an empty one if there is none.
	Holding(ctx context.Context, k Key) (Holding, error)
	// HoldingsOf returns the records of those of some memberships that have one, in any
	// order.
	HoldingsOf(ctx context.Context, keys []Key) ([]Holding, error)
	// Holdings returns the memberships whose Watch is not before watched and, if all,
	// those with Ours or Gone set as well. Those that a grant has or
	// writes (Tx.Holders) are not among them.
	Holdings(ctx context.Context, watched time.Time, all bool) ([]Holding, error)
}

// Tx is the part of a transaction that this package uses. Reads see the writes of the
// same transaction.
type Tx interface {
	// Grant returns one grant, ErrNotFound if there is none, and keeps others from
	// changing it until the transaction ends.
	Grant(ctx context.Context, id ID) (Grant, error)
	// Put stores a grant: a new one if was is 0, otherwise in place of generation was.
	// ErrConflict if another generation is stored, ErrExists if a new one is there.
	Put(ctx context.Context, g Grant, was int64) error
	// Holding returns the record of a membership, an empty one if there is none, and
	// keeps others from changing it.
	Holding(ctx context.Context, k Key) (Holding, error)
	// PutHolding stores it if the stored revision is still h.Revision (0: none), and
	// raises that; ErrConflict otherwise.
	PutHolding(ctx context.Context, h Holding) error
	// Holders returns the grants of a membership in the states Activating, Active and
	// Ending.
	Holders(ctx context.Context, k Key) ([]Grant, error)
	// Record appends to the audit log, and Notify to what people are to be told.
	Record(ctx context.Context, e Entry) error
	Notify(ctx context.Context, n Notice) error
}
