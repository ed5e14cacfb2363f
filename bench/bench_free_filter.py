"""Why a sampled block is placed at a page boundary (the page filter) and not found by a Bloom
filter: what the free of a block that was not sampled pays for either, over an empty loop."""
import harness
from harness import Contestant, Row

ALLOCATORS = {"glibc": "", "tcmalloc": "libtcmalloc.so.4", "jemalloc": "libjemalloc.so.2"}


def measure(context, live):
    field = [Contestant(name, [context.program("free_filter"), name, str(live)])
             for name in ("none", "page", "bloom")]
    few, many = (65536, 131072) if context.smoke else (65536, 65536 * 17)
    instructions = {}
    if not context.smoke:
        instructions = {c.name: c.instructions_per_operation(lambda n: [n, 1], few, many)
                        for c in field}
    frees, chunks, count = (65536, 2, 1) if context.smoke else (1 << 20, 15, 7)
    shares = {}

    def ns(contestant):
        best, share = contestant.output(frees, chunks).split()
        shares[contestant.name] = float(share)
        return float(best)

    return instructions, harness.rounds(field, count, ns), shares


def row(live, instructions, times, shares):
    more_ns = {name: harness.median_difference(times[name], times["none"])
               for name in ("page", "bloom")}
    more = {name: instructions[name] - instructions["none"] for name in more_ns if instructions}

    def figures(name):
        count = f"{more[name]:+.1f} instr, " if more else ""
        return f"{count}{more_ns[name]:+.2f} ns, {shares[name]:.2%} looked up"

    count = f"{more['page'] - more['bloom']:+.1f} instr, " if more else ""
    return Row(what=f"free, not sampled, {live:,} samples alive",
               ours=f"page filter {figures('page')}", peers=f"Bloom filter {figures('bloom')}",
               comparison=f"{count}{more_ns['page'] - more_ns['bloom']:+.2f} ns")


def shares_by_allocator(context):
    """How many ordinary blocks lie where a sampled one would: a property of the allocator."""
    shares = {}
    for allocator, library in ALLOCATORS.items():
        env = {"LD_PRELOAD": library} if library else {}
        runner = Contestant(allocator, [context.program("free_filter"), "page", "0"], env)
        shares[allocator] = float(runner.output(65536, 1).split()[1])
    return Row(what="ordinary blocks that pass the page filter",
               ours=", ".join(f"{name} {share:.2%}" for name, share in shares.items()),
               peers="", comparison="by chance 2 of 256: 0.78%")


def run(context):
    lives = (0, 2000) if context.smoke else (0, 2000, 20000, 200000)
    return [row(live, *measure(context, live)) for live in lives] + [shares_by_allocator(context)]
