package forest

// A File is one file of a SYSVOL share.
type File struct {
	Domain string // DNS name of the domain
	Path   string // below the domain's folder, with slashes: Policies/{GUID}/GPT.INI
	Data   []byte // nil if State is not Known
	State  State
	Reason string // why it is Unreadable
	SD     []byte // self-relative descriptor of the file, nil if it was not read
}

// Files returns all files, ordered by domain and path (ignoring case). The caller
// must not change them.
func (s *Snapshot) Files() []File { return s.files }

// File finds a file by domain and path, ignoring case. State Absent means that
// the folder was listed and has no such file; Unreadable, that the file, a folder
// that holds it or the domain's SYSVOL could not be read (Reason).
//
// What was listed is said by coverage of AreaFile: its subject is a domain
// ("contoso.test") or a folder ("contoso.test/Policies/{…}"), the nearest one
// counts. A folder that could not be listed is also recognised as an Unreadable
// File of its path.
func (s *Snapshot) File(domain, path string) File {
	return s.findFile(domain, path)
}
