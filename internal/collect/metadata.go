package collect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// errMetadata reports bytes that are not a replPropertyMetaData value.
var errMetadata = errors.New("malformed replPropertyMetaData")

// An attributeChange is one element of replPropertyMetaData.
type attributeChange struct {
	attid  uint32
	change forest.Change
}

const (
	metadataHeader  = 16
	metadataElement = 48
	// secondsTo1970 is 1970-01-01 as a DSTIME: seconds since 1601.
	secondsTo1970 = 11644473600
	// maxDSTime is the end of the year 9999, the last that reports can write.
	maxDSTime = secondsTo1970 + 253402300799
)

// parseMetadata reads the PROPERTY_META_DATA_VECTOR of replPropertyMetaData
// ([MS-DRSR] 5.163): version 1, then a counted array of 48-byte elements, all
// little-endian; times are seconds since 1601.
func parseMetadata(b []byte) ([]attributeChange, error) {
	if len(b) < metadataHeader || binary.LittleEndian.Uint32(b) != 1 {
		return nil, fmt.Errorf("%w: header", errMetadata)
	}
	n := binary.LittleEndian.Uint32(b[8:])
	if uint64(len(b)-metadataHeader) != uint64(n)*metadataElement {
		return nil, fmt.Errorf("%w: %d elements in %d bytes", errMetadata, n, len(b))
	}
	out := make([]attributeChange, n)
	for i := range out {
		e := b[metadataHeader+i*metadataElement:]
		seconds := binary.LittleEndian.Uint64(e[8:])
		if seconds > maxDSTime {
			return nil, fmt.Errorf("%w: element %d changed %d seconds after 1601", errMetadata, i, seconds)
		}
		out[i] = attributeChange{
			attid: binary.LittleEndian.Uint32(e),
			change: forest.Change{
				Version: binary.LittleEndian.Uint32(e[4:]),
				Time:    time.Unix(int64(seconds)-secondsTo1970, 0).UTC(),
				DSA:     secdesc.GUID(e[16:32]),
			},
		}
	}
	return out, nil
}

// prefixes are the first entries of every prefix table ([MS-DRSR] 5.16.4), by
// which an attribute's object identifier is compressed to a number.
var prefixes = map[string]uint32{
	"2.5.4":                    0,
	"2.5.6":                    1,
	"1.2.840.113556.1.2":       2,
	"1.2.840.113556.1.3":       3,
	"2.5.5":                    8,
	"1.2.840.113556.1.4":       9,
	"1.2.840.113556.1.5":       10,
	"2.16.840.1.113730.3":      20,
	"0.9.2342.19200300.100.1":  21,
	"2.16.840.1.113730.3.1":    22,
	"1.2.840.113556.1.5.7000":  23,
	"2.5.21":                   24,
	"2.5.18":                   25,
	"2.5.20":                   26,
	"1.3.6.1.4.1.1466.101.119": 27,
	"2.16.840.1.113730.3.2":    28,
	"1.3.6.1.4.1.250.1":        29,
	"1.2.840.113549.1.9":       30,
	"0.9.2342.19200300.100.4":  31,
	"1.2.840.113556.1.6.23":    32,
	"1.2.840.113556.1.6.18.1":  33,
	"1.2.840.113556.1.6.18.2":  34,
	"1.2.840.113556.1.6.13.3":  35,
	"1.2.840.113556.1.6.13.4":  36,
	"1.3.6.1.1.1.1":            37,
	"1.3.6.1.1.1.2":            38,
}

// attid returns the number that stands for an attribute in replication metadata:
// its msDS-IntId if it has one, else its compressed object identifier. ok is
// false for attributes outside the fixed part of the prefix table.
func attid(oid, intID string) (id uint32, ok bool) {
	if intID != "" {
		n, err := strconv.ParseInt(intID, 10, 64)
		return uint32(n), err == nil
	}
	dot := strings.LastIndexByte(oid, '.')
	if dot < 0 {
		return 0, false
	}
	prefix, ok := prefixes[oid[:dot]]
	last, err := strconv.ParseUint(oid[dot+1:], 10, 32)
	if !ok || err != nil || last >= 1<<14 {
		return 0, false
	}
	return prefix<<16 | uint32(last), true
}
