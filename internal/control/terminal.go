package control

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"unicode/utf16"
	"unicode/utf8"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/leastwise/leastwise/internal/forest"
)

// The attribute userParameters as Remote Desktop Services write it ([MS-TSTS]
// 2.3.1): UTF-16 units that hold, after 48 reserved ones, a signature, a count and
// that many properties.
const (
	terminalReserved  = 48        // units before the signature
	terminalSignature = 'P'       // another unit: what follows means nothing
	terminalMost      = 128 << 10 // bytes of UTF-8; the schema allows 32767 units
	terminalItem      = 1         // PROP_TYPE_ITEM
)

// terminalPresent is the only value of the property CtxCfgPresent ([MS-TSTS]
// 2.3.2); without it the other properties mean nothing.
const terminalPresent = 0xB00B1E55

// A terminalProperty is one TSProperty ([MS-TSTS] 2.3.2). In the attribute two
// hexadecimal digits stand for each byte of the value.
type terminalProperty struct {
	name  string
	value []byte
}

// parseTerminal reads the properties in userParameters. There are none if the
// signature is not that of Remote Desktop Services: the attribute is older than
// they are and others write to it as well. An error says at which unit, from 0,
// the text is not what it has to be.
func parseTerminal(text string) ([]terminalProperty, error) {
	if len(text) > terminalMost {
		return nil, fmt.Errorf("%d bytes are more than the %d that are read", len(text), terminalMost)
	}
	if !utf8.ValidString(text) {
		return nil, fmt.Errorf("the text is not UTF-8")
	}
	units := utf16.Encode([]rune(text))
	if len(units) <= terminalReserved {
		return nil, fmt.Errorf("%d units are too few: the signature is unit %d", len(units), terminalReserved)
	}
	if units[terminalReserved] != terminalSignature {
		return nil, nil
	}
	at := terminalReserved + 1
	if len(units) == at {
		return nil, fmt.Errorf("unit %d: the number of properties is missing", at)
	}
	count := int(units[at])
	at++
	var out []terminalProperty
	for range count {
		p, n, err := parseTerminalProperty(units[at:])
		if err != nil {
			return nil, fmt.Errorf("unit %d: property %d of %d: %w", at, len(out)+1, count, err)
		}
		if slices.ContainsFunc(out, func(q terminalProperty) bool { return q.name == p.name }) {
			return nil, fmt.Errorf("unit %d: property %q is there twice", at, p.name)
		}
		out = append(out, p)
		at += n
	}
	return out, nil
}

// parseTerminalProperty reads the property that units begin with, and says how
// many units it takes.
func parseTerminalProperty(units []uint16) (p terminalProperty, n int, err error) {
	if len(units) < 3 {
		return p, 0, fmt.Errorf("lengths and type are cut off")
	}
	name, value, kind := int(units[0]), int(units[1]), units[2]
	if kind != terminalItem {
		return p, 0, fmt.Errorf("type %d is not known", kind)
	}
	if name%2 != 0 || value%2 != 0 {
		return p, 0, fmt.Errorf("lengths of %d and %d bytes are not whole characters", name, value)
	}
	n = 3 + name/2 + value/2
	if n > len(units) {
		return p, 0, fmt.Errorf("%d units are announced, %d are left", n, len(units))
	}
	p.name = string(utf16.Decode(units[3 : 3+name/2]))
	var digits []byte
	for _, u := range units[3+name/2 : n] {
		digits = binary.LittleEndian.AppendUint16(digits, u)
	}
	if p.value, err = hex.DecodeString(string(digits)); err != nil {
		return p, 0, fmt.Errorf("the value of %q is not hexadecimal", p.name)
	}
	return p, n, nil
}

// remoteControlModes are the values of CtxShadow ([MS-TSTS] 2.3.2).
var remoteControlModes = []string{
	"off", "on: to steer, with the user's consent", "on: to steer, without the user's consent",
	"on: to watch, with the user's consent", "on: to watch, without the user's consent",
}

// remoteControlDefault holds where the account says nothing.
const remoteControlDefault = 1

// remoteControlMode returns CtxShadow of userParameters, an index into
// remoteControlModes.
func remoteControlMode(text string) (int, error) {
	props, err := parseTerminal(text)
	if err != nil {
		return 0, err
	}
	number := func(name string) (n uint32, found bool, err error) {
		i := slices.IndexFunc(props, func(p terminalProperty) bool { return p.name == name })
		if i < 0 {
			return 0, false, nil
		}
		if len(props[i].value) != 4 {
			return 0, false, fmt.Errorf("%s has %d bytes, not 4", name, len(props[i].value))
		}
		return binary.LittleEndian.Uint32(props[i].value), true, nil
	}
	present, _, err := number("CtxCfgPresent")
	if err != nil {
		return 0, err
	}
	mode, found, err := number("CtxShadow")
	switch {
	case present != terminalPresent:
		return remoteControlDefault, nil
	case err != nil:
		return 0, err
	case !found:
		return remoteControlDefault, nil
	case int64(mode) >= int64(len(remoteControlModes)):
		return 0, fmt.Errorf("CtxShadow is %d, which is not known", mode)
	}
	return int(mode), nil
}

// remoteControl answers how far sessions of the account may be watched or steered.
func remoteControl(o object, _ []ref.Val) ref.Val {
	ev := o.ev
	text, st := ev.w.s.Str(o.id, forest.UserParameters)
	if st == forest.Unreadable {
		return ev.unreadable(o.id, forest.UserParameters)
	}
	e := Evidence{Kind: "attribute", DN: ev.w.s.DN(o.id), Attr: forest.UserParameters.String()}
	mode := remoteControlDefault
	if st == forest.Known {
		var err error
		if mode, err = remoteControlMode(text); err != nil {
			return ev.unknown("terminal-services-parameters", fmt.Sprintf("userParameters of %s are not as Remote Desktop Services write them: %v", e.DN, err))
		}
		e.Value = fmt.Sprintf("CtxShadow %d", mode)
	}
	e.Text = "remote control is " + remoteControlModes[mode]
	ev.saw(e)
	return types.Int(mode)
}
