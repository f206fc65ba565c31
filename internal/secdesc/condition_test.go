package secdesc

import (
	"bytes"
	"strings"
	"testing"
)

// TestConditionVectors: the bytes were put together by hand from
// [MS-DTYP] 2.4.4.17.
func TestConditionVectors(t *testing.T) {
	for _, tt := range []struct{ text, hex string }{
		{`(Title == "VP")`, `61727478 f80a000000 5400690074006c006500 1004000000 56005000 80`},
		{`(@USER.clearance >= 5)`, `61727478 f912000000 63006c0065006100720061006e0063006500 04 0500000000000000 03 02 85`},
		{`(x == -0x10)`, `61727478 f802000000 7800 04 f0ffffffffffffff 02 03 80`},
		{`(Member_of {SID(BA), SID(WD)})`, `61727478 5026000000
			51 10000000 01020000000000052000000020020000 51 0c000000 010100000000000100000000 89`},
		{`(Not_Member_of SID(WD))`, `61727478 51 0c000000 010100000000000100000000 90`},
		{`(Exists a)`, `61727478 f802000000 6100 87`},
		{`(!(@DEVICE.b))`, `61727478 fb02000000 6200 a2`},
		{`((a) && (@RESOURCE.b))`, `61727478 f802000000 6100 fa02000000 6200 a0`},
		{`(a Contains {#00ff})`, `61727478 f802000000 6100 5007000000 18 02000000 00ff 86`},
	} {
		t.Run(tt.text, func(t *testing.T) {
			want := unhex(t, tt.hex)
			for len(want)%4 != 0 {
				want = append(want, 0)
			}
			c, err := ParseCondition(tt.text, testDomain, testRoot)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Bytes(); !bytes.Equal(got, want) {
				t.Errorf("got  %x\nwant %x", got, want)
			}
			d, err := DecodeCondition(want)
			if err != nil {
				t.Fatal(err)
			}
			if got := d.SDDL(testDomain); got != tt.text {
				t.Errorf("got %s, want %s", got, tt.text)
			}
		})
	}
}

// TestConditionText: precedence, parentheses, case, escapes.
func TestConditionText(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"(a||b&&c)", "((a) || ((b) && (c)))"},
		{"((a||b)&&c)", "(((a) || (b)) && (c))"},
		{"(a&&b&&c)", "(((a) && (b)) && (c))"},
		{"(!a||!(b==1))", "((!(a)) || (!(b == 1)))"},
		{"(!!a)", "(!(!(a)))"},
		{"( MEMBER_OF{sid(ba)} )", "(Member_of {SID(BA)})"},
		{"(device_member_of_any(SID(BA)))", "(Device_Member_of_Any SID(BA))"},
		{"(@user.a any_of@resource.b)", "(@USER.a Any_of @RESOURCE.b)"},
		{"((a) == 1)", "(a == 1)"},
		{"(a == {})", "(a == {})"},
		{"(a == {1,+2,-3,07,0x1F,\"s\",#AB})", `(a == {1, +2, -3, 07, 0x1f, "s", #ab})`},
		{"(a == -9223372036854775808)", "(a == -9223372036854775808)"},
		{"(a == -0x8000000000000000)", "(a == -0x8000000000000000)"},
		{"(a == 0xffffffffffffffff)", "(a == 0xffffffffffffffff)"},
		{"(not_exists%0020x)", "(not_exists%0020x)"},
		{"(%0065xists)", "(%0065xists)"},
		{"(%0031a)", "(%0031a)"},
		{"(@USER.größe == 1)", "(@USER.gr%00f6%00dfe == 1)"},
		{"(@USER.%d83d%de00 == 1)", "(@USER.%d83d%de00 == 1)"},
	} {
		t.Run(tt.in, func(t *testing.T) {
			c, err := ParseCondition(tt.in, testDomain, testRoot)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.SDDL(testDomain); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			d, err := DecodeCondition(c.Bytes())
			if err != nil || d.SDDL(testDomain) != tt.want {
				t.Errorf("bytes: %v", err)
			}
		})
	}
}

// TestConditionRefused: what is not a condition stays bytes, it is not guessed.
func TestConditionRefused(t *testing.T) {
	for name, in := range map[string]string{
		"another application's data": "41424344",
		"nothing":                    "61727478",
		"unknown token":              "61727478 ff",
		"operator without operand":   "61727478 87",
		"two values":                 "61727478 f802000000 6100 f802000000 6100",
		"bare literal":               "61727478 1000000000",
		"string cut short":           "61727478 10ffffffff 4100",
		"odd UTF-16":                 "61727478 f803000000 610062",
		"lone surrogate":             "61727478 f802000000 00d8",
		"quotation mark":             "61727478 f802000000 6100 1002000000 2200 80",
		"nested list":                "61727478 f802000000 6100 5005000000 5000000000 80",
		"integer with wrong sign":    "61727478 f802000000 6100 04 ffffffffffffffff 01 02 80",
		"integer cut short":          "61727478 04 ffff",
		"data behind the padding":    "61727478 f802000000 6100 00 01",
		"attribute on no side":       "61727478 1000000000 1000000000 80",
	} {
		t.Run(name, func(t *testing.T) {
			b := unhex(t, in)
			if c, err := DecodeCondition(b); err == nil {
				t.Fatalf("read as %s", c.SDDL(testDomain))
			}
			a := ACE{Type: AllowCallback, SID: Everyone, Data: b}
			text := a.SDDL(testDomain)
			if !strings.Contains(text, ";0x") {
				t.Errorf("text %s does not show the bytes", text)
			}
			back, err := ParseACE(text, testDomain, testRoot)
			if err != nil || !back.Equal(a) {
				t.Errorf("%s: got %+v, %v", text, back, err)
			}
		})
	}
}

// TestConditionDepth: deep nesting is an error, not a stack overflow.
func TestConditionDepth(t *testing.T) {
	for _, n := range []int{200, 300, 100000} {
		for _, s := range []string{
			strings.Repeat("(", n) + "a" + strings.Repeat(")", n),
			"(" + strings.Repeat("!", n) + "a)",
			"(" + strings.Repeat("a&&", n) + "a)",
			"(a == " + strings.Repeat("(", n) + "1" + strings.Repeat(")", n) + ")",
		} {
			_, err := ParseCondition(s, testDomain, testRoot)
			if (err == nil) != (n < maxConditionDepth) {
				t.Errorf("%d deep: %v", n, err)
			}
		}
	}
	b := append([]byte(conditionMagic), 0xf8, 2, 0, 0, 0, 'a', 0)
	b = append(b, bytes.Repeat([]byte{byte(tokenNot)}, 60000)...)
	if _, err := DecodeCondition(b); err == nil {
		t.Error("60000 deep is accepted")
	}
}

func TestClaims(t *testing.T) {
	for _, tt := range []struct{ text, hex string }{
		{
			`("a",TI,0x1,-2)`,
			`14000000 0100 0000 01000000 01000000 18000000 61000000 feffffffffffffff`,
		},
		{
			`("a",TS,0x0,"b","")`,
			`18000000 0300 0000 00000000 02000000 1c000000 20000000 61000000 62000000 0000 0000`,
		},
		{
			`("a",TD,0x0,SID(WD))`,
			`14000000 0500 0000 00000000 01000000 18000000 61000000 0c000000 010100000000000100000000`,
		},
		{
			`("a",TX,0x0,#ff)`,
			`14000000 1000 0000 00000000 01000000 18000000 61000000 01000000 ff 000000`,
		},
		{`("a",TB,0x0)`, `10000000 0600 0000 00000000 00000000 61000000`},
		{`("a",TU,0x0,18446744073709551615)`, `14000000 0200 0000 00000000 01000000 18000000 61000000 ffffffffffffffff`},
	} {
		t.Run(tt.text, func(t *testing.T) {
			want := ACE{Type: ResourceAttribute, SID: Everyone, Data: unhex(t, tt.hex)}
			text := "(RA;;;;;WD;" + tt.text + ")"
			got, err := ParseACE(text, testDomain, testRoot)
			if err != nil {
				t.Fatal(err)
			}
			if !got.Equal(want) {
				t.Errorf("got  %x\nwant %x", got.Data, want.Data)
			}
			if s := want.SDDL(testDomain); s != text {
				t.Errorf("got %s, want %s", s, text)
			}
		})
	}
}

// TestClaimAmplification: many values that share bytes do not become large.
func TestClaimAmplification(t *testing.T) {
	c := Claim{Name: strings.Repeat("n", 1000), Type: ClaimString, Values: make([]ClaimValue, 1000)}
	b, ok := c.encode()
	if !ok {
		t.Fatal("does not fit")
	}
	for i := range c.Values {
		copy(b[claimHeaderSize+4*i:], b[:4]) // the value is the name
	}
	if _, err := DecodeClaim(b); err == nil {
		t.Error("1000 values of 1000 characters were read from 8000 bytes")
	}
}

func FuzzCondition(f *testing.F) {
	for _, s := range []string{`(Title == "VP")`, `((@USER.a Any_of {1, "x"}) || (!(Member_of {SID(BA)})))`, "(Exists a)"} {
		c, err := ParseCondition(s, testDomain, testRoot)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(c.Bytes())
	}
	f.Add(unhex(f, `18000000 0300 0000 00000000 02000000 1c000000 20000000 61000000 62000000 0000 0000`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := DecodeCondition(b); err == nil {
			text := c.SDDL(testDomain)
			again, err := ParseCondition(text, testDomain, testDomain)
			if err != nil {
				t.Fatalf("%x: %s: %v", b, text, err)
			}
			if got := again.SDDL(testDomain); got != text {
				t.Fatalf("%x: %s became %s", b, text, got)
			}
			if pad := b[min(len(b), len(c.Bytes())):]; !bytes.HasPrefix(c.Bytes(), b[:len(b)-len(pad)]) || !isZero(pad) {
				t.Fatalf("%x was written as %x", b, c.Bytes())
			}
		}
		if c, err := DecodeClaim(b); err == nil {
			if text, ok := c.text(testDomain); ok {
				p := sddlParser{s: text, domain: testDomain, root: testDomain}
				again, err := p.claim()
				if err != nil {
					t.Fatalf("%x: %s: %v", b, text, err)
				}
				if got, _ := again.text(testDomain); got != text {
					t.Fatalf("%x: %s became %s", b, text, got)
				}
			}
		}
	})
}
