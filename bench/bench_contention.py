"""Budget: an uncontended lock and unlock <= +2 ns over plain pthreads, with the contention profiles off and
on. Both in one preloaded process. What a contended one costs is told, and promised nothing."""
import harness
from harness import Contestant, Row

PAIR_NS = 2
ON = {"HELDBY_BLOCK_PROFILE_RATE": "1", "HELDBY_MUTEX_PROFILE_FRACTION": "1"}


def pairs(contestant, state, size, count):
    taken = [list(map(float, contestant.output(*size).split())) for _ in range(count)]
    bare, wrapped, bare_read, read = map(list, zip(*taken, strict=True))
    rows = []
    for what, ours, base in (("lock and unlock of a mutex", wrapped, bare),
                             ("read lock and unlock", read, bare_read)):
        more_ns = harness.median_difference(ours, base)
        rows.append(Row(what=f"{what}, nobody waits, profiles {state}", ours=f"{harness.median(ours):.1f} ns",
                        peers=f"bare: {harness.median(base):.1f} ns", comparison=f"{more_ns:+.1f} ns",
                        budget=f"+{PAIR_NS} ns", met=more_ns <= PAIR_NS))
    return rows


def instructions(contestant, state):
    counted = {way: contestant.instructions_per_operation(lambda n, way=way: [n, way], 1000, 101_000)
               for way in ("bare", "wrapped")}
    return Row(what=f"the same mutex in instructions, profiles {state}", ours=f"{counted['wrapped']:.1f}",
               peers=f"bare: {counted['bare']:.1f}", comparison=f"{counted['wrapped'] - counted['bare']:+.1f}")


def run(context):
    program = [context.program("contention")]
    plain = Contestant("plain", program)
    off = Contestant("off", program, {"LD_PRELOAD": context.preload})
    on = Contestant("on", program, {"LD_PRELOAD": context.preload} | ON)
    size, count = ((1000, 2), 1) if context.smoke else ((200_000, 50), 7)
    rows = pairs(off, "off", size, count) + pairs(on, "on", size, count)
    if not context.smoke:
        rows += [instructions(off, "off"), instructions(on, "on")]
    for what, unit, argument, few, many in (
            ("a round of two threads for one mutex, 100 additions in it", "ns", "contended", 1000, 300_000),
            ("a mutex handed over to a thread that sleeps for it", "us", "handed-over", 2, 300)):
        taken = harness.rounds([plain, off, on], count,
                               lambda c, n=few if context.smoke else many, a=argument: float(c.output(n, a)))
        for contestant, state in ((off, "off"), (on, "on")):
            rows.append(Row(what=f"{what}, profiles {state}",
                            ours=f"{harness.median(taken[contestant.name]):,.1f} {unit}",
                            peers=f"plain: {harness.median(taken['plain']):,.1f} {unit}",
                            comparison=f"{harness.median_ratio(taken[contestant.name], taken['plain']):.2f}x"))
    return rows
