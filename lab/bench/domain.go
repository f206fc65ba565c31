package main

import (
	"fmt"
	"strings"
)

// domain returns a fixture (docs/FORMATS.md) of a company whose domain has about
// the given number of objects beside those of every domain: of 100, some 60 users,
// 30 computers and 8 groups in chains of eight, in departments of 500 objects.
// One user in 20 and one computer in 30 are stale, one user in 10 has an old
// password, and the deny rights are set on half of the departments.
func domain(objects int) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	departments := max(2, objects/500)
	line("fixture: 1\nabout: %d objects to measure with\ndomain: contoso.test\nnetbios: CONTOSO\ndefaults: windows", objects)
	line("ous:\n  - {name: Company}")
	for d := range departments {
		line("  - {name: %s, in: Company}", department(d))
		for _, part := range []string{"Users", "Computers", "Servers", "Groups"} {
			line("  - {name: %s, in: Company/%s}", part, department(d))
		}
	}
	bulk(line, objects, departments)
	line("users:")
	for n := range 12 {
		line("  - {name: adm%02d, in: Company/%s/Users, member-of: [%s]}", n, department(0), []string{"Domain Admins", "Administrators", "Account Operators"}[n%3])
	}
	line("permissions:")
	for d := range departments {
		line("  - {on: Company/%s, lines: ['allow \"Team%03d-00001\" reset-password, read-write pwdLastSet on user below']}", department(d), d+1)
	}
	policies(line, departments)
	return b.String()
}

func department(d int) string { return fmt.Sprintf("Dept%03d", d+1) }

// bulk writes what is only counted.
func bulk(line func(string, ...any), objects, departments int) {
	const recent, stale = "last-logon: [1d, 50d]", "last-logon: [150d, 3y]"
	const young, old = "password-set: [1d, 300d]", "password-set: [400d, 6y]"
	line("bulk:")
	for d := range departments {
		name := department(d)
		share := func(percent int) int { return max(1, objects*percent/100/departments) }
		users := fmt.Sprintf("in: [Company/%s/Users], account: '%s-{n:05}', name: '{first} {last} %s {n}'", name, strings.ToLower(name), name)
		line("  - {users: %d, %s, %s, %s}", share(51), users, recent, young)
		line("  - {users: %d, %s, %s, %s}", share(6), strings.ReplaceAll(users, "{n", "O{n"), recent, old)
		line("  - {users: %d, %s, %s, %s}", share(3), strings.ReplaceAll(users, "{n", "S{n"), stale, young)
		line("  - {computers: %d, in: [Company/%s/Computers], name: 'W%03d{n:05}', %s, password-set: [1d, 29d]}", share(24), name, d+1, recent)
		line("  - {computers: %d, in: [Company/%s/Computers], name: 'X%03d{n:05}', %s, password-set: [400d, 2y]}", share(1), name, d+1, stale)
		line("  - {computers: %d, in: [Company/%s/Servers], name: 'S%03d{n:05}', role: server, %s, password-set: [1d, 29d]}", share(5), name, d+1, recent)
		line("  - {groups: %d, in: [Company/%s/Groups], name: 'Team%03d-{n:05}', depth: 8, members: 12, from: Company/%s/Users}", share(8), name, d+1, name)
	}
}

func policies(line func(string, ...any), departments int) {
	const everyone = "[Administrator, Administrators, Domain Admins, Enterprise Admins, plain Administrator]"
	line("policies:")
	for _, right := range []string{"Network", "Batch", "Service", "Interactive", "RemoteInteractive"} {
		line("  - {name: Deny %s, rights: {SeDeny%sLogonRight: %s}}", right, right, everyone)
	}
	line("links:\n  - {on: domain, policies: [Default Domain Policy]}")
	for d := range departments {
		set := "Deny Network, Deny Batch, Deny Service"
		if d%2 == 0 {
			set += ", Deny Interactive, Deny RemoteInteractive"
		}
		line("  - {on: Company/%s, policies: [%s]}", department(d), set)
	}
}
