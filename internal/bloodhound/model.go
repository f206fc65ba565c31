package bloodhound

import "encoding/json"

// The types below are the parts of SharpHound's output (SharpHoundCommon,
// OutputTypes) that are taken over. Other fields are passed over. Names are matched
// without case, as BloodHound itself does.

// meta describes one file.
type meta struct {
	Methods int64  `json:"methods"`
	Type    string `json:"type"`
	Count   int64  `json:"count"`
	Version int    `json:"version"`
}

// A principal names an object: by SID, with the domain's name before it if it is a
// well-known one (CONTOSO.COM-S-1-5-32-544), by GUID, or by distinguished name.
type principal struct {
	ObjectIdentifier string
	ObjectType       string
}

// ace is one right in words.
type ace struct {
	PrincipalSID string
	RightName    string
	IsInherited  bool
}

type gpLink struct {
	GUID       string
	IsEnforced bool
}

type trust struct {
	TargetDomainSid     string
	TargetDomainName    string
	IsTransitive        bool
	SidFilteringEnabled bool
	TrustAttributes     json.RawMessage // a number, or a number as text; version 5 has none
	TrustDirection      json.RawMessage // a name or its number
	TrustType           json.RawMessage
}

// results is a list that was collected from a host.
type results struct {
	Results []json.RawMessage
}

// object is the union of all kinds of objects.
type object struct {
	ObjectIdentifier   string
	Properties         properties
	Aces               []ace
	IsDeleted          bool
	IsACLProtected     bool
	Members            []principal // groups
	PrimaryGroupSID    string      // users, computers
	AllowedToAct       []principal // computers
	HasSIDHistory      []principal
	DumpSMSAPassword   []principal // computers: the service accounts that they run
	IsDC               bool
	Trusts             []trust  // domains
	Links              []gpLink // domains, organizational units
	ForestRootID       string   `json:"ForestRootIdentifier"`
	GroupLink          principal
	EnabledTemplates   []principal `json:"EnabledCertTemplates"`
	Sessions           results
	PrivilegedSessions results
	RegistrySessions   results
	LocalGroups        []json.RawMessage
	UserRights         []json.RawMessage
}

// hostFacts reports whether the object carries what was read from a host.
func (o *object) hostFacts() bool {
	return len(o.Sessions.Results)+len(o.PrivilegedSessions.Results)+len(o.RegistrySessions.Results)+len(o.LocalGroups)+len(o.UserRights) > 0
}

// properties are attributes under BloodHound's names.
type properties map[string]json.RawMessage

// text returns a property that is text; ok is false if it is missing, and text is
// empty if it is null.
func (p properties) text(name string) (text string, ok bool) {
	raw, ok := p[name]
	if !ok {
		return "", false
	}
	if json.Unmarshal(raw, &text) != nil {
		return "", false
	}
	return text, true
}

// flag returns a property that is true or false.
func (p properties) flag(name string) (on, ok bool) {
	raw, ok := p[name]
	if !ok || string(raw) == "null" || json.Unmarshal(raw, &on) != nil {
		return false, false
	}
	return on, true
}

// number returns a property that is a whole number, as such or as text.
func (p properties) number(name string) (n int64, ok bool) {
	raw, ok := p[name]
	if !ok {
		return 0, false
	}
	return number(raw)
}

// list returns a property that is a list of texts.
func (p properties) list(name string) (list []string, ok bool) {
	raw, ok := p[name]
	if !ok || json.Unmarshal(raw, &list) != nil {
		return nil, false
	}
	return list, true
}

// number reads a whole number that may stand in quotes.
func number(raw json.RawMessage) (n int64, ok bool) {
	if len(raw) > 1 && raw[0] == '"' {
		raw = raw[1 : len(raw)-1]
	}
	if len(raw) == 0 || string(raw) == "null" {
		return 0, false
	}
	var f float64
	if json.Unmarshal(raw, &n) == nil {
		return n, true
	}
	if json.Unmarshal(raw, &f) == nil && f == float64(int64(f)) {
		return int64(f), true
	}
	return 0, false
}
