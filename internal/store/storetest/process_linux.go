package storetest

import "syscall"

// attributes make a program run as who, and end if this process dies.
func attributes(who *identity) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT} // PostgreSQL's "immediate" shutdown
	if who != nil {
		a.Credential = &syscall.Credential{Uid: uint32(who.uid), Gid: uint32(who.gid)}
	}
	return a
}
