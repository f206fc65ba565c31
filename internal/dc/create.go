package dc

import (
	"context"
	"crypto/sha256"
	"strings"

	ldap "github.com/go-ldap/ldap/v3"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// A NewObject is what Create makes: an object named CN=Name below a container.
type NewObject struct {
	Name       string
	RDN        string      // CN=Name, escaped as in a distinguished name (RFC 4514)
	Attributes [][2]string // name and value; objectClass among them
	// Permissions is the descriptor that it is born with; nil: the default.
	Permissions *secdesc.Descriptor
}

// encodeAdd returns an AddRequest (RFC 4511 4.7).
func encodeAdd(dn string, o NewObject) []byte {
	var list []byte
	add := func(name string, value []byte) {
		list = appendTLV(list, 0x30, berString(0x04, name), tlv(0x31, appendTLV(nil, 0x04, value)))
	}
	for _, a := range o.Attributes {
		add(a[0], []byte(a[1]))
	}
	if o.Permissions != nil {
		add("nTSecurityDescriptor", o.Permissions.Bytes())
	}
	return tlv(opAddRequest, berString(0x04, dn), tlv(0x30, list))
}

// Create makes an object below a container, which is addressed by its GUID and locked
// for other creations of this name. A name that is taken is [ErrExists], whatever has it:
// read it with [Writer.Child].
func (w *Writer) Create(ctx context.Context, container secdesc.GUID, o NewObject) Write {
	return w.run(ctx, job{
		flight: flight{container, nameKey(o.Name)},
		doing:  "creating " + o.RDN + " below " + container.String(),
		request: func(ctx context.Context, c *conn) ([]byte, error) {
			parent, err := c.readObject(ctx, container, Request{Attributes: []string{"objectGUID"}})
			if err != nil {
				return nil, err
			}
			return encodeAdd(o.RDN+","+parent.DN, o), nil
		},
		repeats: true,
		shows: func(ctx context.Context, c *conn) (bool, error) {
			_, there, err := c.child(ctx, container, o.Name, nil)
			return there, err
		},
	})
}

// Delete removes one object, which must have none below it.
func (w *Writer) Delete(ctx context.Context, object secdesc.GUID) Write {
	return w.run(ctx, job{
		flight:  flight{object: object},
		doing:   "deleting " + object.String(),
		request: func(context.Context, *conn) ([]byte, error) { return tlv(opDelRequest, []byte(guidDN(object))), nil },
		shows: func(ctx context.Context, c *conn) (bool, error) {
			_, err := c.readObject(ctx, object, Request{Attributes: []string{"objectGUID"}})
			if KindOf(err) == ErrNoSuchObject {
				return true, nil
			}
			return false, err
		},
	})
}

// nameKey is a name's part of a flight.
func nameKey(name string) (g secdesc.GUID) {
	h := sha256.Sum256([]byte(strings.ToLower(name)))
	copy(g[:], h[:])
	return g
}

// Child reads the object named CN=name right below a container, on the domain controller
// through which the container is written.
func (w *Writer) Child(ctx context.Context, container secdesc.GUID, name string, attributes ...string) (e Entry, there bool, s Server, err error) {
	l, c, err := w.acquire(ctx, container)
	if err != nil {
		return Entry{}, false, w.serverOf(l), err
	}
	e, there, err = c.child(ctx, container, name, attributes)
	w.put(l, c)
	return e, there, c.server, err
}

func (c *conn) child(ctx context.Context, container secdesc.GUID, name string, attributes []string) (Entry, bool, error) {
	if len(attributes) == 0 {
		attributes = []string{"objectGUID"}
	}
	q := Request{Base: guidDN(container), Scope: ScopeOne, Filter: "(cn=" + ldap.EscapeFilter(name) + ")", Attributes: attributes}
	entries, r, err := c.lookup(ctx, q, nil)
	switch {
	case err != nil:
		return Entry{}, false, err
	case r.code != resultSuccess:
		return Entry{}, false, resultError("looking for CN="+name+" below "+container.String(), c.server.String(), r)
	case len(entries) == 0:
		return Entry{}, false, nil
	}
	return entries[0], true, nil
}
