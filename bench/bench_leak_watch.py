"""Budget: remembering and judging take <= 0.5 % of a processor at 1,000 samples a second, and 8 MB at 10,000 sites."""
from harness import Contestant, Row

SHARE = 0.005
BYTES = 8 << 20


def run(context):
    sites, seconds = (300, 3) if context.smoke else (10000, 60)
    runner = Contestant("heldby", [context.program("leak_watch")], {"HELDBY_SAMPLE_BYTES": "1"})
    rows = []
    for what, tasks, connections in (("", 0, 0), (", 10^5 tasks, 10^4 connections", 100_000, 10_000)):
        cpu_s, took_s, size, moments, live = map(float, runner.output(sites, 1000, tasks, connections, seconds).split())
        rows.append(Row(what=f"watching for leaks, {sites:,} sites, 1,000 samples/s{what}; a look a second (default: in ten)",
                        ours=f"{cpu_s / took_s:.2%} of a processor, {live:,.0f} live samples", peers="", comparison="",
                        budget=f"{SHARE:.1%}", met=cpu_s / took_s <= SHARE))
        rows.append(Row(what=f"the past of {sites:,} sites{what}, {moments:.0f} moments", ours=f"{size / (1 << 20):.2f} MiB",
                        peers="", comparison="", budget="8 MiB", met=size <= BYTES))
    return rows
