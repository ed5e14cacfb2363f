// checkvalid reads a profile with google/pprof's own parser, checks it with CheckValid, and
// prints it in an order that does not depend on ids: equal output means equal profiles.
package main

import (
	"fmt"
	"os"
	"sort"
	"strings"

	"github.com/google/pprof/profile"
)

func frame(l *profile.Location) string {
	s := fmt.Sprintf("%#x", l.Address)
	// A mapping that nobody named, or that we named [unmapped], is no mapping.
	if m := l.Mapping; m != nil && m.File != "" && m.File != "[unmapped]" {
		s += fmt.Sprintf("@%s:%#x-%#x+%#x", m.File, m.Start, m.Limit, m.Offset)
	}
	for _, line := range l.Line {
		s += fmt.Sprintf("|%s %s:%d", line.Function.Name, line.Function.Filename, line.Line)
	}
	return s
}

func labels(s *profile.Sample) string {
	var all []string
	for key, values := range s.Label {
		all = append(all, fmt.Sprintf("%s=%q", key, values))
	}
	for key, values := range s.NumLabel {
		unit := key // what pprof takes for the unit where none is given
		if units := s.NumUnit[key]; len(units) > 0 && units[0] != "" {
			unit = units[0]
		}
		all = append(all, fmt.Sprintf("%s=%v%s", key, values, unit))
	}
	sort.Strings(all)
	return strings.Join(all, " ")
}

func dump(p *profile.Profile) string {
	out := ""
	for _, t := range p.SampleType {
		out += fmt.Sprintf("type %s/%s\n", t.Type, t.Unit)
	}
	if p.PeriodType != nil {
		out += fmt.Sprintf("period %d %s/%s\n", p.Period, p.PeriodType.Type, p.PeriodType.Unit)
	}
	var samples []string
	for _, s := range p.Sample {
		frames := make([]string, len(s.Location))
		for i, l := range s.Location {
			frames[i] = "  " + frame(l) + "\n"
		}
		samples = append(samples, fmt.Sprintf("sample %v %s\n%s", s.Value, labels(s), strings.Join(frames, "")))
	}
	sort.Strings(samples)
	return out + strings.Join(samples, "")
}

func main() {
	for _, name := range os.Args[1:] {
		file, err := os.Open(name)
		if err == nil {
			var p *profile.Profile
			if p, err = profile.Parse(file); err == nil {
				if err = p.CheckValid(); err == nil {
					// Merging with itself alone unites equal samples, as pprof does on reading.
					p, err = profile.Merge([]*profile.Profile{p})
				}
			}
			if err == nil {
				fmt.Print(dump(p))
			}
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			os.Exit(1)
		}
	}
}
