//go:build linux

package apply

const childVariable = "LEASTWISE_APPLY_CHILD"

func child() {}
