package granttest

import (
	"fmt"
	"sync"

	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Rules is the policy file of a [World].
const Rules = `grants: 1
security-team: ['CONTOSO\Security']
people:
  - name: Anna
    accounts: ['CONTOSO\anna', 'CONTOSO\adm-anna']
policies:
  - name: quick
    title: Nobody needs to approve
    group: CONTOSO\Server Admins
    requesters: ['CONTOSO\Staff']
    duration: {longest: 1h, usual: 2m}
    extension: {times: 2, longest: 10m, approval: none}
  - name: guarded
    title: Two approve, one observes
    group: CONTOSO\Domain Admins
    requesters: ['CONTOSO\Staff']
    duration: {longest: 4h, usual: 3m}
    approval: {needed: 2, from: ['CONTOSO\Approvers'], within: 1h}
    observer: {needed: true, from: ['CONTOSO\Approvers'], leaves: grace, grace: 30s}
    extension: {times: 1, longest: 5m}
    start-ahead: 7d
    revokers: ['CONTOSO\Revokers']
    emergency: {from: ['CONTOSO\Staff'], longest: 2m, review: ['CONTOSO\Approvers'], review-within: 1h}
  - name: nightly
    title: At night without approval, otherwise one approves
    group: CONTOSO\Server Admins
    requesters: ['CONTOSO\Staff']
    duration: {longest: 1h, usual: 2m}
    approval: {needed: 1, from: ['CONTOSO\Approvers']}
    schedules:
      - {name: mornings, for: ['CONTOSO\Staff'], windows: [{from: "08:00", to: "11:00", zone: UTC}]}
    activation: by-holder
    start-ahead: 7d
`

// World is a directory with people in it.
type World struct {
	*Directory
	Staff     []secdesc.GUID // anna, adm-anna (the same person), ben, carl
	Approvers []secdesc.GUID // dora, emil, fay, and anna
	Powers    []secdesc.GUID // Server Admins, Domain Admins
}

// NewWorld returns the directory that [Rules] is about.
func NewWorld() *World {
	d := NewDirectory()
	w := &World{Directory: d}
	account := func(name string, in ...grant.Ref) secdesc.GUID {
		g := d.NewObject(name, false)
		for _, r := range in {
			d.Groups[r] = append(d.Groups[r], g)
		}
		return g
	}
	anna := account("anna", `CONTOSO\Staff`, `CONTOSO\Approvers`)
	w.Staff = []secdesc.GUID{anna, account("adm-anna", `CONTOSO\Staff`), account("ben", `CONTOSO\Staff`), account("carl", `CONTOSO\Staff`)}
	w.Approvers = []secdesc.GUID{
		account("dora", `CONTOSO\Approvers`), account("emil", `CONTOSO\Approvers`), account("fay", `CONTOSO\Approvers`), anna,
	}
	w.Powers = []secdesc.GUID{d.NewObject("Server Admins", true), d.NewObject("Domain Admins", true)}
	account("sam", `CONTOSO\Security`)
	return w
}

// Caller returns a caller with an account.
func (w *World) Caller(g secdesc.GUID) grant.Caller {
	o := w.Objects[g]
	return grant.Caller{Actor: grant.Actor{Party: grant.Party{Account: g, SID: o.SID, Name: o.Name}, Method: "kerberos"}}
}

// Policies returns the rules, read.
func Policies() *grant.Policies { return policies() }

var policies = sync.OnceValue(func() *grant.Policies {
	p, err := grant.ParsePolicies("rules", []byte(Rules))
	if err != nil {
		panic(fmt.Sprintf("granttest: %v", err)) // a fault of this file
	}
	return p
})
