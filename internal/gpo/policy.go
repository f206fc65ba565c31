package gpo

import (
	"fmt"
	"strings"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Flags of a policy ([MS-GPOL] 2.2.4).
const computerHalfDisabled = 2

// loadPolicy reads the policy object dn.
func loadPolicy(s *forest.Snapshot, dn string) *Policy {
	p := &Policy{ID: s.Lookup(dn), DN: dn, data: &content{}}
	cn := dn
	if parts, err := forest.ParseDN(dn); err == nil && len(parts) > 0 {
		cn = parts[0].Value
		p.Domain = domainOfDN(s, parts)
	}
	p.Name, p.Folder = cn, "Policies/"+cn
	p.GUID, _ = secdesc.ParseGUID(cn)
	if p.ID == forest.None {
		p.missing(s)
		return p
	}
	p.DN = s.DN(p.ID)
	if n, st := s.Str(p.ID, forest.DisplayName); st == forest.Known {
		p.Name = n
	}
	if !p.readable(s) {
		p.hidden("its object is there, but its attributes could not be read")
		p.readFilter(s)
		return p
	}
	p.readObject(s)
	if p.denied == nil {
		p.readVersion(s)
		p.load(s)
	}
	return p
}

// readable reports whether any of the attributes that every policy has was read: a
// directory does not tell attributes that are hidden from attributes without value.
func (p *Policy) readable(s *forest.Snapshot) bool {
	_, path := s.Str(p.ID, forest.GPCFileSysPath)
	_, version := s.Int(p.ID, forest.VersionNumber)
	_, functionality := s.Int(p.ID, forest.GPCFunctionalityVersion)
	return path == forest.Known || version == forest.Known || functionality == forest.Known
}

// domainOfDN finds the DNS name of the domain that a name belongs to.
func domainOfDN(s *forest.Snapshot, parts []forest.RDN) string {
	var labels []string
	for _, r := range parts {
		if strings.EqualFold(r.Type, "DC") {
			labels = append(labels, r.Value)
		}
	}
	dns := strings.Join(labels, ".")
	for _, d := range s.Domains() {
		if strings.EqualFold(d.DNS, dns) {
			return d.DNS
		}
	}
	return dns
}

// missing decides about a link to an object that is not in the snapshot: clients
// ignore it if it does not exist ([MS-GPOL] 3.2.5.1.5), but it may only have been
// hidden from whoever made the snapshot.
func (p *Policy) missing(s *forest.Snapshot) {
	ini := s.File(p.Domain, p.Folder+"/GPT.INI")
	known := false
	for _, d := range s.Domains() {
		known = known || strings.EqualFold(d.DNS, p.Domain) && d.Head != forest.None
	}
	switch {
	case !known:
		p.hidden("the domain " + p.Domain + " is not part of this snapshot")
	case ini.State == forest.Absent:
		p.denied = &Rejected{Policy: p, Reason: MissingPolicy, ACE: -1, Text: "the link names a policy that does not exist"}
	case ini.State == forest.Known:
		p.hidden("its object could not be read, but its folder in SYSVOL exists")
	default:
		p.hidden("its object could not be read, and whether its folder exists is unknown: " + ini.Reason)
	}
}

// hidden makes p a policy of which nothing is known.
func (p *Policy) hidden(why string) {
	p.problemOf(Unseen, why)
	p.maybe = append(p.maybe, fmt.Sprintf("policy %s exists and applies (%s)", p, why))
	for f := range numFiles {
		p.data.unread[f] = fmt.Sprintf("nothing is known of policy %s: %s", p, why)
	}
	p.filter = &filter{everyone: true}
}

// readObject reads what the directory says of the policy.
func (p *Policy) readObject(s *forest.Snapshot) {
	p.readFilter(s)
	if v, st := s.Int(p.ID, forest.GPCFunctionalityVersion); st == forest.Known && v != 2 {
		p.deny(FunctionalityTooNew, fmt.Sprintf("gPCFunctionalityVersion is %d; clients only process 2", v))
	}
	flags, st := s.Int(p.ID, forest.Flags)
	p.flags = flags
	if st == forest.Unreadable {
		p.unsure("its computer half is enabled (%s)", s.Why(p.ID, forest.Flags))
	}
	if flags&computerHalfDisabled != 0 {
		p.deny(PolicyDisabled, fmt.Sprintf("the computer half of the policy is disabled (flags %d)", flags))
	}
	p.readExtensions(s)
	p.readWMI(s)
	path, st := s.Str(p.ID, forest.GPCFileSysPath)
	if st != forest.Known {
		return // the usual place
	}
	domain, folder, err := splitSysPath(path)
	if err != nil {
		p.problem(err.Error())
		return
	}
	if !strings.EqualFold(domain, p.Domain) || !strings.EqualFold(folder, p.Folder) {
		p.problem("its files are in " + path)
	}
	p.Domain, p.Folder = domain, folder
}

func (p *Policy) deny(r Reason, text string) {
	if p.denied == nil {
		p.denied = &Rejected{Policy: p, Reason: r, Text: text, ACE: -1}
	}
}

func (p *Policy) unsure(format string, args ...any) {
	p.maybe = append(p.maybe, "policy "+p.String()+" applies: "+fmt.Sprintf(format, args...))
}

func (p *Policy) readFilter(s *forest.Snapshot) {
	d, st := s.Descriptor(p.ID)
	if st != forest.Known {
		p.unsure("its security filter lets the computer in (its descriptor could not be read)")
		p.filter = &filter{everyone: true}
		return
	}
	if d.DACL == nil && !d.HasNullDACL() {
		p.unsure("its security filter lets the computer in (its access control list was not read)")
	}
	p.filter = newFilter(d)
}

func (p *Policy) readExtensions(s *forest.Snapshot) {
	text, st := s.Str(p.ID, forest.GPCMachineExtensionNames)
	every := Extensions{{CSE: cseGroups}, {CSE: cseRegistry}, {CSE: cseSecurity}, {CSE: cseAudit}}
	if st == forest.Unreadable {
		p.unsure("it lists the extensions (%s)", s.Why(p.ID, forest.GPCMachineExtensionNames))
		p.problemOf(Unseen, "whether the policy lists its extensions: "+s.Why(p.ID, forest.GPCMachineExtensionNames))
		p.ext = every
		return
	}
	x, err := ParseExtensions(text)
	if err != nil { // what clients make of it is not documented
		p.unsure("clients read its list of extensions (%v)", err)
		p.problem("gPCMachineExtensionNames: " + err.Error())
		p.ext = every
		return
	}
	p.ext = x
	if len(x) == 0 {
		p.deny(NoExtensions, "gPCMachineExtensionNames lists no extension, so clients do not process the computer half")
	}
	for i := 1; i < len(x); i++ {
		if x[i].CSE.String() < x[i-1].CSE.String() {
			p.problem(fmt.Sprintf("gPCMachineExtensionNames is not in ascending order at entry %d: clients stop there", i+1))
			break
		}
	}
}

func (p *Policy) readWMI(s *forest.Snapshot) {
	text, st := s.Str(p.ID, forest.GPCWQLFilter)
	if st == forest.Unreadable {
		p.unsure("it has no WMI filter that is false (%s)", s.Why(p.ID, forest.GPCWQLFilter))
		return
	}
	w, err := ParseWQLFilter(text)
	if err != nil {
		p.problem(err.Error())
		p.unsure("its WMI filter is true (the attribute is malformed)")
		return
	}
	if w.ID == "" {
		return
	}
	p.wmi = w.ID
	dn := "CN=" + forest.EscapeRDN(w.ID) + ",CN=SOM,CN=WMIPolicy,CN=System,DC=" + strings.ReplaceAll(w.Domain, ".", ",DC=")
	if id := s.Lookup(dn); id != forest.None {
		if n, st := s.Str(id, forest.MsWMIName); st == forest.Known {
			p.wmi = n
		}
	}
	p.maybe = append(p.maybe, fmt.Sprintf("WMI filter %q of policy %s is true on the computer", p.wmi, p))
}

// readVersion compares the two versions. Clients process a policy unless the
// computer halves of both are 0; what they apply is what SYSVOL holds.
func (p *Policy) readVersion(s *forest.Snapshot) {
	v, vst := s.Int(p.ID, forest.VersionNumber)
	p.Version = v
	ini := s.File(p.Domain, p.Folder+"/GPT.INI")
	fileKnown := false
	switch ini.State {
	case forest.Known:
		fv, err := ParseGPTINI(ini.Data)
		if err != nil {
			p.problem(err.Error())
			p.unsure("clients can read its GPT.INI (%v)", err)
			break
		}
		p.FileVer, fileKnown = int64(fv), true
		if vst == forest.Known && Version(v) != fv {
			p.problemOf(VersionMismatch, fmt.Sprintf("versionNumber is %d but GPT.INI says %d: clients apply what SYSVOL holds", v, fv))
		}
	case forest.Absent:
		p.problem("GPT.INI is missing: clients stop processing all their policies with an error")
		p.unsure("clients can process it although GPT.INI is missing")
	default:
		p.unsure("its GPT.INI is there (%s)", ini.Reason)
	}
	if vst == forest.Known && fileKnown && Version(v).Computer() == 0 && Version(p.FileVer).Computer() == 0 {
		p.deny(EmptyPolicy, "the computer half of the policy has version 0 in the directory and in GPT.INI")
	}
}
