//go:build race

package control

// raceEnabled says that the race detector slows everything down.
const raceEnabled = true
