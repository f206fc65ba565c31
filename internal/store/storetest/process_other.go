//go:build !linux

package storetest

import "syscall"

// attributes leaves programs as they are: PostgreSQL is looked for in Debian's
// places only.
func attributes(*identity) *syscall.SysProcAttr { return nil }
