package forest

// Coverage is one statement about what a scan asked for and got.
type Coverage struct {
	Area    Area   `json:"area"`
	Subject string `json:"subject"`          // partition DN, container DN, attribute name or file path
	State   string `json:"state"`            // "complete", "partial", "unreadable", "not collected", "not read"
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
