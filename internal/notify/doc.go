// Package notify tells people what happens to grants: by mail (SMTP), by signed webhook,
// and by syslog.
//
// A notice is stored in the transaction of what it tells of (package grant). A [Service]
// turns each into deliveries, one for each target and recipient, in one transaction that
// takes the notice away, and sends these at least once: every delivery has an identifier
// that stays the same however often it is sent. What cannot be delivered is tried again,
// ever more rarely, and after [MaxAttempts] put aside as dead, where it stays visible
// until somebody lets it try again. One slow target holds up no other.
//
// It refuses mail without TLS and webhooks without HTTPS except to loopback, and follows no redirect.
// Text from outside never becomes a header, a line of a protocol or an address: what is
// not printable is replaced. Passwords and keys come from files, and are in no error and
// no log.
package notify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/leastwise/leastwise/internal/grant"
)

// ErrConfig reports a file of notifications that cannot be used; the text names file and
// line.
var ErrConfig = errors.New("configuration of notifications")

// A Notice is a stored message that has not been turned into deliveries yet.
type Notice struct {
	ID int64 // of the store; it may be used again once the notice is gone
	grant.Notice
}

// A Message is what a target sends. Its fields are for machines; Text is for people.
type Message struct {
	ID        string           `json:"id"` // the same however often it is sent
	Time      time.Time        `json:"time"`
	Grant     grant.ID         `json:"grant"`
	Event     grant.Event      `json:"event"`
	State     grant.State      `json:"state"`
	Loud      bool             `json:"loud"`
	Audiences []grant.Audience `json:"audiences"`
	Text      string           `json:"text"`
}

// A Delivery is one message for one recipient of one target.
type Delivery struct {
	ID        string // of the delivery, and of its Message
	Target    string // name of the target
	Recipient string // mail address; empty where the target itself is the recipient
	Message   Message
	Attempts  int       // tries that failed
	Next      time.Time // not before
	Created   time.Time
	Dead      bool   // put aside after MaxAttempts
	Fault     string // of the last try
}

// Outbox keeps notices and deliveries. Package store has one. Each method is one
// transaction; several nodes may share one.
type Outbox interface {
	// Owed returns the oldest notices.
	Owed(ctx context.Context, limit int) ([]Notice, error)
	// Route stores the deliveries of a notice and removes it. If exactly this notice is
	// gone already, nothing is done: another node was faster. A delivery that is there
	// stays as it is.
	Route(ctx context.Context, n Notice, list []Delivery) error
	// Claim returns deliveries of a target that are due, oldest first, and makes them due
	// again at lease only, so that no other node takes them meanwhile.
	Claim(ctx context.Context, target string, now, lease time.Time, limit int) ([]Delivery, error)
	// Settle removes a delivery that was made, or stores Attempts, Next, Dead and Fault of one that was not.
	Settle(ctx context.Context, d Delivery, made bool) error
	// Undelivered returns the dead, oldest first, and the number of those that wait.
	Undelivered(ctx context.Context, limit int) (dead []Delivery, waiting int, err error)
	// Revive makes a dead delivery due at once; false if there is none.
	Revive(ctx context.Context, id string, now time.Time) (bool, error)
}

// Addresses finds the mail addresses of an audience of a grant. An error means that it
// could not be found out now; none is an answer.
type Addresses interface {
	Addresses(ctx context.Context, id grant.ID, to grant.Audience) ([]string, error)
}

// A Target sends messages somewhere. Send returns when the other side has taken the
// message over, as far as its protocol can tell.
type Target interface {
	Name() string
	Send(ctx context.Context, recipient string, m Message) error
}

// A wait is an error of a target that said when to come again.
type wait struct {
	error
	after time.Duration
}

func (w wait) Unwrap() error { return w.error }

// deliveryID names a delivery by what is delivered to whom.
func deliveryID(n grant.Notice, target, recipient string) string {
	h := sha256.New()
	for _, part := range []string{n.Time.UTC().Format(time.RFC3339Nano), string(n.Grant), string(n.Event), string(n.State), n.Text, target, recipient} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
