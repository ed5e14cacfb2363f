"""Budgets: clang++ -O2 -c of a template-heavy file with heldby preloaded over glibc takes
<= 1.01x the user time and <= 6 MB more at its peak. A compiler is the worst of hosts: it
allocates all the time, keeps nearly all of it, and is done in seconds. User time is told by many
runs of half the file, memory and the peers by few runs of the whole."""
import os
import re
import subprocess
import tempfile

import harness
from harness import Contestant, Row

RATIO = 1.01
PEAK_MB = 6
MB = 1 << 20

JEMALLOC = "libjemalloc.so.2"


def field_for(context, scratch, *flags):
    # Any translation unit shows that every contestant runs.
    source = "bench/call_chain_without.cc" if context.smoke else "bench/template_heavy.cc"
    command = ["clang++", "-std=c++20", "-O2", *flags, "-I", str(context.root), "-c",
               str(context.root / source), "-o", os.path.join(scratch, "out.o")]
    return [
        Contestant("glibc", command),
        Contestant("heldby", command, {"LD_PRELOAD": context.preload}),
        Contestant("jemalloc", command, {"LD_PRELOAD": JEMALLOC}),
        Contestant("jemalloc prof:true", command,
                   {"LD_PRELOAD": JEMALLOC, "MALLOC_CONF": "prof:true,lg_prof_sample:19"}),
        # The same as the first: how far this machine, today, is from telling 1.01 from 1.
        Contestant("glibc again", command),
    ]


def sites_in_dump(context, command, scratch):
    """How much one more run saw: allocation sites in the profile that it leaves at its exit."""
    pattern = os.path.join(scratch, "heap.%p.pb.gz")
    Contestant("heldby, dump", command, {"LD_PRELOAD": context.preload,
                                         "HELDBY_DUMP_AT_EXIT": pattern}).output()
    dumps = [name for name in os.listdir(scratch) if name.startswith("heap.")]
    if not dumps:
        raise SystemExit("bench: HELDBY_DUMP_AT_EXIT left no dump")
    raw = subprocess.run(["go", "tool", "pprof", "-raw", os.path.join(scratch, dumps[0])],
                         text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    # A sample is a line of four numbers, a colon, and its locations.
    rows = re.findall(r"^\s*\d+\s+\d+\s+\d+\s+\d+: ", raw, re.MULTILINE)
    return f"{len(rows):,} allocation sites seen"


def run(context):
    with tempfile.TemporaryDirectory() as scratch:
        field = field_for(context, scratch)
        taken = harness.rounds(field, 1 if context.smoke else 5, harness.usage_of)
        seconds = {name: [s for s, _ in values] for name, values in taken.items()}
        half = [one for one in field_for(context, scratch, "-DHELDBY_BENCH_SIZE=1") if "jemalloc" not in one.name]
        halves = harness.rounds(half, 1 if context.smoke else 24, lambda one: harness.usage_of(one)[0])
        peaks = {name: [b for _, b in values] for name, values in taken.items()}
        seen = "" if context.smoke else sites_in_dump(context, field[0].command, scratch)

    def more_mb(name, base):
        return harness.median_difference(peaks[name], peaks[base]) / MB

    def ratio_of_halves(name):
        return harness.ratio_with_error([a / b for a, b in zip(halves[name], halves["glibc"], strict=True)])

    ours, ours_error = ratio_of_halves("heldby")
    noise, noise_error = ratio_of_halves("glibc again")
    theirs = harness.median_ratio(seconds["jemalloc prof:true"], seconds["jemalloc"])
    fastest = min(halves["heldby"]) / min(halves["glibc"] + halves["glibc again"])
    ours_mb = more_mb("heldby", "glibc")
    theirs_mb = more_mb("jemalloc prof:true", "jemalloc")
    return [
        Row(what="clang++ -O2 -c, preloaded over glibc: user time",
            ours=f"{harness.median(seconds['heldby']):.2f} s" + (f", {seen}" if seen else ""),
            peers=f"glibc {harness.median(seconds['glibc']):.2f} s; jemalloc "
                  f"{harness.median(seconds['jemalloc']):.2f} s, with prof "
                  f"{harness.median(seconds['jemalloc prof:true']):.2f} s",
            comparison=f"{ours:.3f}x, good to {ours_error:.3f}, fastest runs {fastest:.3f}x; glibc to itself "
                       f"{noise:.3f}x, good to {noise_error:.3f}; jemalloc prof {theirs:.3f}x",
            budget=f"{RATIO}x", met=harness.is_at_most(ours, ours_error, RATIO)),
        Row(what="clang++ -O2 -c, preloaded over glibc: peak resident",
            ours=f"{harness.median(peaks['heldby']) / MB:.1f} MB",
            peers=f"glibc {harness.median(peaks['glibc']) / MB:.1f} MB; jemalloc "
                  f"{harness.median(peaks['jemalloc']) / MB:.1f} MB, with prof "
                  f"{harness.median(peaks['jemalloc prof:true']) / MB:.1f} MB",
            comparison=f"{ours_mb:+.1f} MB; jemalloc prof {theirs_mb:+.1f} MB",
            budget=f"+{PEAK_MB} MB", met=ours_mb <= PEAK_MB),
    ]
