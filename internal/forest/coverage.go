package forest

// Coverage is one statement about what a scan asked for and got.
type Coverage struct {
	Area    Area   `json:"area"`
	Subject string `json:"subject"`          // partition DN, container DN, attribute name or file path
	State   string `json:"state"`            // "complete", "partial", "unreadable", "not collected", "not read", "assumed"
	Reason  string `json:"reason,omitempty"` // why it is not complete, and what would help
	Count   int    `json:"count"`            // objects, values or files read (partial: that are missing)
}

// An Area is what a coverage statement is about.
type Area string

// Areas.
const (
	AreaPartition  Area = "partition"
	AreaContainer  Area = "container"
	AreaAttribute  Area = "attribute"
	AreaDescriptor Area = "descriptor"
	AreaSACL       Area = "sacl"
	AreaMetadata   Area = "metadata"
	AreaFile       Area = "file"
	AreaHost       Area = "host"
	AreaSnapshot   Area = "snapshot" // parts of the snapshot file itself
)

// Complete reports whether everything asked for was read.
func (c Coverage) Complete() bool { return c.State == "complete" }

// ReasonApplication is the Reason of an application partition that was left out: DNS zones
// and the like, which hold neither accounts nor policies.
const ReasonApplication = "application partition: no control needs it"

// Application reports whether c is about an application partition that was left out, so
// that no account can be missing because of it.
func (c Coverage) Application() bool {
	return c.Area == AreaPartition && c.Reason == ReasonApplication
}

// StateAssumed is the State of what was not read, and for which an import put
// something in its place: the usual value, or what follows from other facts. The
// Subject is an attribute, SubjectDescriptor or SubjectSchema.
const StateAssumed = "assumed"

// Subjects of coverage that are no attributes.
const (
	SubjectDescriptor = "nTSecurityDescriptor"
	SubjectSchema     = "schema"
)

// Assumed reports whether values of subject are assumed, and why: an attribute's
// name, SubjectDescriptor or SubjectSchema. What rests on them holds only if they
// are true; a rule that judges the values themselves cannot.
func (s *Snapshot) Assumed(subject string) (why string, ok bool) {
	why, ok = s.assumed[subject]
	return why, ok
}

// OutsideSchema reports whether no object can have a, which the snapshot does not
// hold: the schema was read, and lacks it.
func (s *Snapshot) OutsideSchema(a Attr) bool {
	if _, assumed := s.Assumed(SubjectSchema); assumed {
		return false
	}
	return !s.Collected(a) && s.schema.Attr("member") != nil && s.schema.Attr(a.String()) == nil
}

// indexAssumed makes assumptions findable by what they are about.
func (s *Snapshot) indexAssumed() {
	s.assumed = map[string]string{}
	for _, c := range s.coverage {
		if c.State == StateAssumed {
			s.assumed[c.Subject] = c.Reason
		}
	}
}
