// Package server is leastwise on the network: HTTPS, the routes of package api, and
// who may use which.
//
// A request passes, in this order: its ID and the log; limits of size, time and
// number; the check that no browser sends it for another site; authentication by
// package operator (a session's cookie or a token); the permission of the route; the
// idempotency key; the handler. Everything that is decided about a grant is decided by
// package grant, with the caller that was authenticated here. Errors leave the server
// through one function, as problems with a stable code; what a problem says never
// comes from the text of an internal error.
//
// The package opens no directory and no database: it is given them. It refuses plain
// HTTP elsewhere than on loopback. It starts no goroutine of its own; those of
// net/http end with Serve.
package server
