"""Budgets: a heap profile of 10,000 distinct stacks, symbols cold, <= 2 s, warm <= 50 ms, a service's p99
within 5 % meanwhile; sampler memory <= 200 bytes per live sample."""
import harness
from harness import Contestant, Row

FIRST_S = 2
WARM_MS = 50
SAMPLE_BYTES = 200
LATER = 1.05


def measure(context, stacks, blocks_per_stack):
    runner = Contestant("heldby", [context.program("heap_profile")], {"HELDBY_SAMPLE_BYTES": "1"})
    warm_runs, processes = (1, 1) if context.smoke else (11, 5)
    taken = [list(map(float, runner.output(stacks, blocks_per_stack, warm_runs).split()))
             for _ in range(processes)]
    return [harness.median(column) for column in zip(*taken, strict=True)]


def memory_row(live, table_bytes, blocks_per_stack):
    per_sample = table_bytes / live
    alone = "one live sample" if blocks_per_stack == 1 else f"{blocks_per_stack} live samples"
    return Row(what=f"sampler memory, {alone} a stack ({live:,.0f} samples)",
               ours=f"{per_sample:.0f} bytes a sample ({table_bytes / (1 << 20):.1f} MiB mapped)",
               peers="", comparison="", budget=f"{SAMPLE_BYTES} bytes",
               met=per_sample <= SAMPLE_BYTES)


def latency_row(context, stacks):
    runner = Contestant("heldby", [context.program("profile_latency")], {"HELDBY_SAMPLE_BYTES": "1"})
    rounds, slice_ms = (2, 50) if context.smoke else (15, 1500)
    alone, meanwhile, ratio, taken = map(float, runner.output(stacks, rounds, slice_ms).split())
    return Row(what="p99 of a service while such profiles are taken one after the other",
               ours=f"{meanwhile:.1f} us, {taken / (rounds * slice_ms / 1000):.0f} profiles a second",
               peers=f"no profile: {alone:.1f} us", comparison=f"{ratio:.3f}x", budget=f"{LATER:.2f}x", met=ratio <= LATER)


def run(context):
    stacks = 500 if context.smoke else 10000
    first_ms, warm_ms, size, seen, live, table_bytes, functions = measure(context, stacks, 1)
    if seen < stacks:
        raise SystemExit(f"bench: only {seen:.0f} of {stacks} stacks are in the profile")
    *_, many_live, many_bytes, _ = measure(context, stacks, 10)
    return [
        Row(what=f"heap profile, {stacks:,} distinct stacks, symbols cold",
            ours=f"{first_ms / 1000:.2f} s, {functions:,.0f} functions", peers="", comparison="",
            budget=f"{FIRST_S} s", met=first_ms <= FIRST_S * 1000),
        Row(what=f"heap profile, {stacks:,} distinct stacks, warm",
            ours=f"{warm_ms:.0f} ms, {size / 1024:.0f} KiB gzipped", peers="", comparison="",
            budget=f"{WARM_MS} ms", met=warm_ms <= WARM_MS),
        latency_row(context, stacks),
        memory_row(live, table_bytes, 1),
        memory_row(many_live, many_bytes, 10),
    ]
