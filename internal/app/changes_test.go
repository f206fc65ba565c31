package app

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"
)

// metadata makes a value of replPropertyMetaData.
func metadata(at time.Time, ids ...uint32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 1)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(ids)))
	for i, id := range ids {
		b = binary.LittleEndian.AppendUint32(b, id)
		b = binary.LittleEndian.AppendUint32(b, uint32(i+1))
		b = binary.LittleEndian.AppendUint64(b, uint64(at.Unix()+11644473600))
		b = append(b, make([]byte, 32)...)
	}
	return b
}

func TestParseMetadata(t *testing.T) {
	at := time.Date(2026, 11, 22, 6, 45, 40, 0, time.UTC)
	list, err := parseMetadata(metadata(at, 31, 0x90008, 0x9ffff))
	if err != nil || len(list) != 3 {
		t.Fatal(list, err)
	}
	for i, want := range []string{"member", "userAccountControl", "attribute 0x9ffff"} {
		if list[i].Attribute != want || !list[i].Time.Equal(at) || list[i].Version != int64(i+1) {
			t.Errorf("%+v, want %s", list[i], want)
		}
	}
	whole := metadata(at, 31, 13)
	for n := range whole {
		if _, err := parseMetadata(whole[:n]); err == nil {
			t.Errorf("%d bytes of %d are taken", n, len(whole))
		}
	}
	many := append([]byte(nil), whole...)
	binary.LittleEndian.PutUint64(many[8:], 1<<62)
	if _, err := parseMetadata(many); err == nil || !strings.Contains(err.Error(), "elements") {
		t.Errorf("too many elements: %v", err)
	}
}

func FuzzParseMetadata(f *testing.F) {
	f.Add(metadata(time.Unix(0, 0), 31, 13))
	f.Add([]byte{1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := parseMetadata(b)
		if err == nil && len(list) > len(b) {
			t.Errorf("%d changes of %d bytes", len(list), len(b))
		}
	})
}
