// What Go's execution trace costs for what bench/trace.cc measures of ours.
//
//	goroutine_trace OPERATIONS ROUNDS
//
// Prints "<ns of a goroutine, started and ended> <the same while it is traced>".
package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"runtime/trace"
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

func started(operations int) float64 {
	var group sync.WaitGroup
	group.Add(operations)
	start := time.Now()
	for i := 0; i < operations; i++ {
		go group.Done()
	}
	group.Wait()
	return float64(time.Since(start).Nanoseconds()) / float64(operations)
}

func main() {
	operations, rounds := number(os.Args[1]), number(os.Args[2])
	off, on := 1e12, 1e12
	for i := 0; i < rounds; i++ {
		off = math.Min(off, started(operations))
		if err := trace.Start(io.Discard); err != nil {
			panic(err)
		}
		on = math.Min(on, started(operations))
		trace.Stop()
	}
	fmt.Printf("%.1f %.1f\n", off, on)
}
