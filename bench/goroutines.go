// What Go's runtime takes for what bench/registry.cc measures of ours.
//
//	goroutines OPERATIONS CHUNKS PARKED
//
// Prints "<ns of a goroutine, started and ended> <ms of a goroutine profile of PARKED ones>".
package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime/pprof"
	"strconv"
	"sync"
	"time"
)

func number(text string) int {
	value, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return value
}

// The fastest chunk: what is beside it on the machine only adds.
func fastest(chunks int, operation func()) time.Duration {
	best := time.Hour
	for i := 0; i < chunks; i++ {
		start := time.Now()
		operation()
		if took := time.Since(start); took < best {
			best = took
		}
	}
	return best
}

func waitForRead(stop chan bool)  { <-stop }
func waitForWrite(stop chan bool) { <-stop }
func waitForTimer(stop chan bool) { <-stop }
func waitForPeer(stop chan bool)  { <-stop }

func main() {
	operations, chunks, parked := number(os.Args[1]), number(os.Args[2]), number(os.Args[3])
	started := fastest(chunks, func() {
		var group sync.WaitGroup
		group.Add(operations)
		for i := 0; i < operations; i++ {
			go group.Done()
		}
		group.Wait()
	})
	stop := make(chan bool)
	places := []func(chan bool){waitForRead, waitForWrite, waitForTimer, waitForPeer}
	for i := 0; i < parked; i++ {
		go places[i%len(places)](stop)
	}
	time.Sleep(time.Second)
	profile := fastest(3, func() {
		var out bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&out, 0); err != nil {
			panic(err)
		}
	})
	fmt.Printf("%.1f %.1f\n", float64(started.Nanoseconds())/float64(operations),
		float64(profile.Microseconds())/1000)
}
