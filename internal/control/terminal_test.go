package control

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf16"
)

// writeTerminal is the inverse of parseTerminal.
func writeTerminal(reserved string, props ...terminalProperty) string {
	var b strings.Builder
	b.WriteString(reserved)
	b.WriteRune(terminalSignature)
	b.WriteRune(rune(len(props)))
	for _, p := range props {
		name, digits := utf16.Encode([]rune(p.name)), hex.EncodeToString(p.value)
		fmt.Fprintf(&b, "%c%c%c%s", 2*len(name), len(digits), terminalItem, p.name)
		for i := 0; i < len(digits); i += 2 {
			b.WriteRune(rune(digits[i]) | rune(digits[i+1])<<8)
		}
	}
	return b.String()
}

// blankReserved is what Active Directory Users and Computers leaves in front.
var blankReserved = strings.Repeat(" ", terminalReserved)

// terminalOf is what the Remote control tab writes.
func terminalOf(shadow byte) string {
	return writeTerminal(blankReserved,
		terminalProperty{"CtxCfgPresent", []byte{0x55, 0x1e, 0x0b, 0xb0}},
		terminalProperty{"CtxCfgFlags1", []byte{0x00, 0xf0, 0x20, 0x90}},
		terminalProperty{"CtxShadow", []byte{shadow, 0, 0, 0}})
}

// The text is as a domain controller of Windows returns it; the dial-in settings
// of the account fill the reserved part.
const windowsTerminal = "m                     d\x01                        P\x04" +
	"\x1a\x08\x01CtxCfgPresent㔵攱戰ぢ" + "\x18\x08\x01CtxCfgFlags1〰て〲〹" +
	"\x12\x08\x01CtxShadow㄰〰〰〰" + "*\x02\x01CtxMinEncryptionLevel㄰"

func TestParseTerminal(t *testing.T) {
	props, err := parseTerminal(windowsTerminal)
	want := []terminalProperty{
		{"CtxCfgPresent", []byte{0x55, 0x1e, 0x0b, 0xb0}},
		{"CtxCfgFlags1", []byte{0x00, 0xf0, 0x20, 0x90}},
		{"CtxShadow", []byte{1, 0, 0, 0}},
		{"CtxMinEncryptionLevel", []byte{1}},
	}
	if err != nil || !reflect.DeepEqual(props, want) {
		t.Fatalf("got %v, %v", props, err)
	}
	if got := writeTerminal(windowsTerminal[:terminalReserved], props...); got != windowsTerminal {
		t.Errorf("written back it is %q", got)
	}
}

func TestRemoteControlMode(t *testing.T) {
	present := terminalProperty{"CtxCfgPresent", []byte{0x55, 0x1e, 0x0b, 0xb0}}
	shadow := func(b ...byte) terminalProperty { return terminalProperty{"CtxShadow", b} }
	for _, tt := range []struct {
		text string
		want int
		err  string
	}{
		{windowsTerminal, 1, ""},
		{terminalOf(0), 0, ""},
		{terminalOf(4), 4, ""},
		{terminalOf(5), 0, "CtxShadow is 5"},
		{writeTerminal(blankReserved, present), 1, ""},            // says nothing of it
		{writeTerminal(blankReserved, shadow(0, 0, 0, 0)), 1, ""}, // not marked as present
		{writeTerminal(blankReserved, terminalProperty{"CtxCfgPresent", []byte{1, 0, 0, 0}}, shadow(0, 0, 0, 0)), 1, ""},
		{writeTerminal(blankReserved, present, shadow(0)), 0, "1 bytes, not 4"},
		{writeTerminal(blankReserved, present, shadow(0, 0, 0, 0), shadow(1, 0, 0, 0)), 0, "twice"},
		{blankReserved + "d rest", 1, ""}, // the signature of another program
		{"", 0, "too few"},
		{"CtxShadow", 0, "too few"},
		{blankReserved + "P", 0, "unit 49: the number"},
		{blankReserved + "P\x01", 0, "unit 50: property 1 of 1: lengths and type are cut off"},
		{blankReserved + "P\x01\x02\x02\x02AB", 0, "type 2"},
		{blankReserved + "P\x01\x03\x02\x01AB", 0, "whole characters"},
		{blankReserved + "P\x01\x02\x20\x01AB", 0, "are announced"},
		{blankReserved + "P\x01\x02\x02\x01AB", 0, "not hexadecimal"},
		{blankReserved + "P\xff", 0, "not UTF-8"},
		{strings.Repeat(" ", terminalMost+1), 0, "more than"},
	} {
		got, err := remoteControlMode(tt.text)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) || got != tt.want {
			t.Errorf("%.80q: got %d, %v, want %d, %q", tt.text, got, err, tt.want, tt.err)
		}
	}
}

// Whatever is read can be written back, and reads the same.
func FuzzParseTerminal(f *testing.F) {
	for _, text := range []string{windowsTerminal, terminalOf(0), blankReserved + "P\x01\x02\x02\x01AB", "CtxShadow", ""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		props, err := parseTerminal(text)
		if err != nil || props == nil {
			return
		}
		again, err := parseTerminal(writeTerminal(blankReserved, props...))
		if err != nil || !reflect.DeepEqual(again, props) {
			t.Errorf("%q: %v, written back %v, %v", text, props, again, err)
		}
		if mode, err := remoteControlMode(text); err == nil && (mode < 0 || mode >= len(remoteControlModes)) {
			t.Errorf("%q: mode %d", text, mode)
		}
	})
}
