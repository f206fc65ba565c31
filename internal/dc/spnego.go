package dc

import (
	"bytes"
	"errors"
	"fmt"
)

// oidSPNEGO is the negotiation mechanism, 1.3.6.1.5.5.2 (RFC 4178 4), as DER.
var oidSPNEGO = [...]byte{0x06, 0x06, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x02}

// States of a negotiation (RFC 4178 4.2.2).
const (
	negotiationCompleted  = 0
	negotiationIncomplete = 1
	negotiationRejected   = 2
	negotiationWantsMIC   = 3
)

// negotiationInit wraps the first token of Kerberos into a NegTokenInit (RFC 4178
// 4.2.1). Kerberos is the only mechanism that is offered, so that no server can
// choose a weaker one.
func negotiationInit(token []byte) []byte {
	mechanisms := tlv(0xa0, tlv(0x30, oidKRB5[:]))
	body := tlv(0x30, mechanisms, tlv(0xa2, tlv(0x04, token)))
	return tlv(0x60, oidSPNEGO[:], tlv(0xa0, body))
}

// A negotiationAnswer is a NegTokenResp (RFC 4178 4.2.2).
type negotiationAnswer struct {
	state int64  // -1 if the server left it out
	token []byte // of the mechanism; nil if there is none
}

// parseNegotiation reads what a server answers: a NegTokenResp, or the bare token of
// Kerberos, which some send instead.
func parseNegotiation(b []byte) (negotiationAnswer, error) {
	a := negotiationAnswer{state: -1}
	if len(b) > 0 && b[0] == 0x60 {
		a.token = b
		return a, nil
	}
	d := berDecoder(b)
	c, err := d.expect(0xa1)
	if err != nil {
		return a, fmt.Errorf("answer of the negotiation: %w", err)
	}
	in := berDecoder(c)
	if c, err = in.expect(0x30); err != nil {
		return a, fmt.Errorf("answer of the negotiation: %w", err)
	}
	for in = c; len(in) > 0; {
		tag, content, err := in.next()
		if err == nil {
			err = a.take(tag, content)
		}
		if err != nil {
			return a, fmt.Errorf("answer of the negotiation: %w", err)
		}
	}
	return a, nil
}

// take reads one element of a NegTokenResp.
func (a *negotiationAnswer) take(tag byte, content []byte) (err error) {
	d := berDecoder(content)
	switch tag {
	case 0xa0:
		if a.state, err = d.integer(0x0a); err == nil && (a.state < negotiationCompleted || a.state > negotiationWantsMIC) {
			err = fmt.Errorf("state %d", a.state)
		}
	case 0xa1:
		// Windows may name the old identifier of Kerberos, 1.2.840.48018.1.2.2
		// ([MS-SPNG] 3.1.5.2); whatever is named, the token must be one of Kerberos.
		_, err = d.expect(0x06)
	case 0xa2:
		a.token, err = d.expect(0x04)
	}
	return err
}

// finish checks the server's answer to our first token. Where the answer holds a
// token, it must prove the server's identity; proved says whether it did.
func (g *gssContext) finish(b []byte) (proved bool, err error) {
	a, err := parseNegotiation(b)
	if err != nil {
		return false, err
	}
	if len(a.token) > 0 {
		if err := g.accept(bytes.Clone(a.token)); err != nil {
			return false, err
		}
		proved = true
	}
	switch a.state {
	case negotiationRejected:
		return false, errors.New("the server rejects the Kerberos ticket")
	case negotiationIncomplete, negotiationWantsMIC:
		if !proved {
			return false, errors.New("the server wants to negotiate on; it does not take Kerberos alone")
		}
	}
	return proved, nil
}
