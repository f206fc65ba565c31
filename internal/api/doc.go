// Package api is the form in which the server and its clients speak to each other:
// the bodies of requests and answers, problems (RFC 9457), cursors, and a client.
//
// Types here are promises to people's scripts: fields are added, never renamed. Times
// are RFC 3339 in UTC, durations are written as policies write them (90m, 1h30m, 7d),
// objects of the directory are their objectGUID with the name that they had. What is
// not known is said in words in a field of its own and never left out silently.
//
// The package decides nothing. Nothing in it holds a secret but the fields that are
// named so (password, code, token), which are only ever sent, never logged.
package api
