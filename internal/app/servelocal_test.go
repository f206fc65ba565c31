package app

import (
	"strings"
	"testing"
)

func TestParseMappings(t *testing.T) {
	const key = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	list, err := parseMappings([]byte(`client-certificates: 1
mappings:
  - account: S-1-5-21-1-2-3-1104
    issuer: CN=People CA,DC=contoso,DC=com
    serial: 61:00:00:00:2a
  - account: 6c3f0a0e-5c5d-4d3c-9d6e-0123456789ab
    key: ` + key + "\n"))
	if err != nil || len(list) != 2 || list[0].Account.SID.String() != "S-1-5-21-1-2-3-1104" || list[0].Serial.Text(16) != "610000002a" ||
		list[0].Issuer != "CN=People CA,DC=contoso,DC=com" || list[1].Account.GUID.String() != "6c3f0a0e-5c5d-4d3c-9d6e-0123456789ab" || list[1].Key[0] != 0x9f {
		t.Fatalf("%+v, %v", list, err)
	}
	for text, want := range map[string]string{
		"mappings: []":                        "client-certificates is 0",
		"client-certificates: 2":              "client-certificates is 2",
		"client-certificates: 1\nmapping: []": "mapping",
		"client-certificates: 1\nmappings:\n- {account: anna, key: x}":          `"anna" is no SID`,
		"client-certificates: 1\nmappings:\n- {account: S-1-5-18, key: abcd}":   "SHA-256",
		"client-certificates: 1\nmappings:\n- {account: S-1-5-18, serial: xyz}": "hexadecimal",
	} {
		if _, err := parseMappings([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
