"""Budget: a wrapped receive <= 20 ns over the bare call. Both in one preloaded process; the instructions
beside it are the wrapper's alone, system calls being the kernel's."""
import harness
from harness import Contestant, Row

RECEIVE_NS = 20


def run(context):
    preloaded = Contestant("receive", [context.program("receive")], {"LD_PRELOAD": context.preload})
    size, count = ((100, 2), 1) if context.smoke else ((20_000, 50), 7)
    taken = [list(map(float, preloaded.output(*size).split())) for _ in range(count)]
    bare, wrapped, bare_accept, accept = map(list, zip(*taken, strict=True))
    more_ns = harness.median_difference(wrapped, bare)
    rows = [
        Row(what="a wrapped receive, preloaded", ours=f"{harness.median(wrapped):.1f} ns",
            peers=f"bare: {harness.median(bare):.1f} ns", comparison=f"{more_ns:+.1f} ns",
            budget=f"+{RECEIVE_NS} ns", met=more_ns <= RECEIVE_NS),
        Row(what="accept and close of a TCP connection, preloaded", ours=f"{harness.median(accept):,.0f} ns",
            peers=f"bare: {harness.median(bare_accept):,.0f} ns",
            comparison=f"{harness.median_difference(accept, bare_accept):+,.0f} ns"),
    ]
    if not context.smoke:
        counted = {way: preloaded.instructions_per_operation(lambda n, way=way: [n, way], 1000, 101_000)
                   for way in ("bare", "wrapped")}
        rows.append(Row(what="the same receive in instructions", ours=f"{counted['wrapped']:.1f}",
                        peers=f"bare: {counted['bare']:.1f}",
                        comparison=f"{counted['wrapped'] - counted['bare']:+.1f}"))
    return rows
