package collect

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"
)

// metadataVector is a PROPERTY_META_DATA_VECTOR with two elements, written by hand
// from [MS-DRSR] 5.163.
func metadataVector() []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, 1)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint32(b, 2)
	b = le.AppendUint32(b, 0)
	for i, attid := range []uint32{0x90008, 0x1F} {
		b = le.AppendUint32(b, attid)
		b = le.AppendUint32(b, uint32(3+i))
		b = le.AppendUint64(b, secondsTo1970+1_700_000_000)
		b = append(b, make([]byte, 16)...)
		b = le.AppendUint64(b, 4711)
		b = le.AppendUint64(b, 4712)
	}
	return b
}

func TestParseMetadata(t *testing.T) {
	got, err := parseMetadata(metadataVector())
	if err != nil {
		t.Fatal(err)
	}
	want := time.Unix(1_700_000_000, 0).UTC()
	if len(got) != 2 || got[0].attid != 0x90008 || got[1].change.Version != 4 || !got[1].change.Time.Equal(want) {
		t.Errorf("got %+v", got)
	}
	for n := range len(metadataVector()) {
		if _, err := parseMetadata(metadataVector()[:n]); !errors.Is(err, errMetadata) {
			t.Errorf("cut to %d bytes: %v, want an error", n, err)
		}
	}
}

// A time that no report can write is malformed, not a date before Christ.
func TestMetadataTime(t *testing.T) {
	for seconds, ok := range map[uint64]bool{0: true, maxDSTime: true, maxDSTime + 1: false, 1 << 63: false, 1<<64 - 1: false} {
		b := metadataVector()
		binary.LittleEndian.PutUint64(b[metadataHeader+8:], seconds)
		got, err := parseMetadata(b)
		if (err == nil) != ok || err != nil && !errors.Is(err, errMetadata) {
			t.Errorf("%d seconds: %v, want taken %v", seconds, err, ok)
		}
		if err != nil {
			continue
		}
		if _, err := got[0].change.Time.MarshalJSON(); err != nil {
			t.Errorf("%d seconds: %v", seconds, err)
		}
	}
}

func TestAttid(t *testing.T) {
	for _, c := range []struct {
		oid, intID string
		want       uint32
		ok         bool
	}{
		{"1.2.840.113556.1.4.8", "", 0x90008, true},   // userAccountControl
		{"2.5.4.31", "", 0x1F, true},                  // member
		{"1.2.840.113556.1.2.281", "", 0x20119, true}, // nTSecurityDescriptor
		{"1.2.840.113556.1.4.1782", "", 0x906F6, true},
		{"1.3.6.1.4.1.99999.1", "", 0, false},
		{"1.3.6.1.4.1.99999.1", "-1945512153", 0x8C09D727, true},
		{"nonsense", "", 0, false},
	} {
		if got, ok := attid(c.oid, c.intID); got != c.want || ok != c.ok {
			t.Errorf("attid(%q, %q) = %#x %v, want %#x %v", c.oid, c.intID, got, ok, c.want, c.ok)
		}
	}
}

func FuzzParseMetadata(f *testing.F) {
	f.Add(metadataVector())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseMetadata(b)
		if err == nil && len(b) != metadataHeader+len(got)*metadataElement {
			t.Errorf("%d elements of %d bytes", len(got), len(b))
		}
	})
}
