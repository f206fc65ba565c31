package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/reach"
)

// phases runs what is measured of effective control over a snapshot file and
// prints how long each part took.
func phases(name, profile string) error {
	if profile != "" {
		p, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer p.Close()
		if err := pprof.StartCPUProfile(p); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	began, spent := time.Now(), processor()
	lap := func(what string) {
		now, cpu := time.Now(), processor()
		fmt.Printf("%-10s %8.3f s  processor %8.3f s\n", what, now.Sub(began).Seconds(), (cpu - spent).Seconds())
		began, spent = now, cpu
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	s, err := forest.Read(f)
	if err != nil {
		return err
	}
	lap("load")
	x := reach.New(s)
	lap("index")
	e := gpo.New(s, x)
	lap("policies")
	g := reach.NewGraph(x, e)
	lap("graph")
	goals := g.Resolve(reach.TierZero())
	r := g.WhoCan(goals)
	lap("search")
	n := len(r.Certain())
	lap("list")
	if profile != "" {
		h, _ := os.Create(profile + ".heap")
		runtime.GC()
		pprof.Lookup("heap").WriteTo(h, 0)
		h.Close()
		runtime.KeepAlive(r)
		return nil
	}
	chokes := g.Chokes(goals, 20)
	lap("chokes")
	fmt.Printf("%d of %d objects are or reach Tier 0; %d choke points\n", n, s.Len(), len(chokes))
	return nil
}

// processor is the processor time of this process so far.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
