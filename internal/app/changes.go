package app

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/leastwise/leastwise/internal/api"
	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/secdesc"
	"github.com/leastwise/leastwise/internal/server"
)

// maxChanges is how many changes of attributes are listed.
const maxChanges = 500

// changes lists what changed in the domain between two moments, by the metadata that the
// directory keeps of each attribute ([MS-DRSR] 5.16.4). It notes when and on which domain
// controller, not by whom; of an attribute that was written several times only the last
// write is there, and memberships of groups show as the group's object.
func (p *people) changes(ctx context.Context, since, until time.Time) (server.Changes, error) {
	o, err := p.get(ctx)
	if err != nil {
		return server.Changes{}, fmt.Errorf("reading what changed: %w", err)
	}
	out := server.Changes{Server: o.reader.Server().String()}
	filter := "(whenChanged>=" + since.UTC().Format("20060102150405.0Z") + ")" // [MS-ADTS] 3.1.1.2.2.2.7
	found, err := o.find(ctx, o.reader.Root().DefaultNC, dc.ScopeSubtree, filter, "objectGUID", "whenChanged", "replPropertyMetaData")
	if err != nil {
		return server.Changes{}, fmt.Errorf("reading what changed: %w", err)
	}
	for _, e := range found {
		list, err := changesOf(e, since, until)
		if err != nil {
			return server.Changes{}, fmt.Errorf("reading what changed of %s: %w", e.DN, err)
		}
		out.Items = append(out.Items, list...)
	}
	slices.SortStableFunc(out.Items, func(a, b api.Change) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Object, b.Object)) })
	if len(out.Items) > maxChanges {
		out.Items, out.More = out.Items[:maxChanges], true
	}
	return out, nil
}

// changesOf lists the changes of one object.
func changesOf(e dc.Entry, since, until time.Time) ([]api.Change, error) {
	guid, err := secdesc.GUIDFromBytes([]byte(e.Value("objectGUID")))
	if err != nil {
		return nil, err
	}
	one := api.Change{Object: e.DN, GUID: guid.String()}
	metadata := []byte(e.Value("replPropertyMetaData"))
	if len(metadata) == 0 { // not readable: when the object changed is known, not what
		t, err := time.Parse("20060102150405.0Z", e.Value("whenChanged"))
		if err != nil || t.After(until) {
			return nil, err
		}
		one.Time, one.Attribute = t, "(metadata not readable)"
		return []api.Change{one}, nil
	}
	all, err := parseMetadata(metadata)
	var out []api.Change
	var newest api.Change
	for _, c := range all {
		c.Object, c.GUID = one.Object, one.GUID
		if !c.Time.Before(since.Truncate(time.Second)) && !c.Time.After(until) {
			out = append(out, c)
		}
		newest = c
	}
	if err == nil && len(out) == 0 && len(all) > 0 && linkOnly(e, since, until) {
		newest.Attribute, newest.Version = "(a link, such as member)", 0
		newest.Time, _ = time.Parse("20060102150405.0Z", e.Value("whenChanged"))
		out = append(out, newest)
	}
	return out, err
}

// linkOnly reports whether an object changed although none of its attributes did: links
// have metadata of their own.
func linkOnly(e dc.Entry, since, until time.Time) bool {
	t, err := time.Parse("20060102150405.0Z", e.Value("whenChanged"))
	return err == nil && !t.Before(since.Truncate(time.Second)) && !t.After(until)
}

// parseMetadata reads replPropertyMetaData ([MS-DRSR] 5.16.4, version 1).
func parseMetadata(b []byte) ([]api.Change, error) {
	const header, entry = 16, 48
	if len(b) < header || binary.LittleEndian.Uint32(b) != 1 {
		return nil, fmt.Errorf("replPropertyMetaData: unknown header of %d bytes", len(b))
	}
	n := int64(binary.LittleEndian.Uint64(b[8:]))
	if n < 0 || n > int64(len(b)-header)/entry {
		return nil, fmt.Errorf("replPropertyMetaData: %d elements in %d bytes", n, len(b))
	}
	const toUnix = 11644473600 // seconds from 1601 to 1970
	out := make([]api.Change, n)
	for i := range out {
		x := b[header+i*entry:]
		out[i] = api.Change{
			Attribute: attributeName(binary.LittleEndian.Uint32(x)), Version: int64(binary.LittleEndian.Uint32(x[4:])),
			Time: time.Unix(int64(binary.LittleEndian.Uint64(x[8:]))-toUnix, 0).UTC(),
		}
	}
	return out, nil
}

// attributeName names an attribute by its number. The numbers are those of the schema's
// prefix table in every forest ([MS-DRSR] 5.16.4); others are given as they are.
func attributeName(id uint32) string {
	switch id {
	case 0:
		return "objectClass"
	case 3:
		return "cn"
	case 13:
		return "description"
	case 31:
		return "member"
	case 0x20001:
		return "instanceType"
	case 0x20002:
		return "whenCreated"
	case 0x20030:
		return "isDeleted"
	case 0x20119:
		return "nTSecurityDescriptor"
	case 0x90001:
		return "name"
	case 0x90008:
		return "userAccountControl"
	case 0x90037:
		return "dBCSPwd"
	case 0x9005a:
		return "unicodePwd"
	case 0x9005e:
		return "ntPwdHistory"
	case 0x90060:
		return "pwdLastSet"
	case 0x90062:
		return "primaryGroupID"
	case 0x9007d:
		return "supplementalCredentials"
	case 0x90092:
		return "objectSid"
	case 0x90096:
		return "adminCount"
	case 0x9009f:
		return "accountExpires"
	case 0x900a0:
		return "lmPwdHistory"
	case 0x900dd:
		return "sAMAccountName"
	case 0x90290:
		return "userPrincipalName"
	case 0x90296:
		return "lockoutTime"
	case 0x902ee:
		return "groupType"
	case 0x90303:
		return "servicePrincipalName"
	case 0x906a0:
		return "lastLogonTimestamp"
	}
	return fmt.Sprintf("attribute %#x", id)
}
