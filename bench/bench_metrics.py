"""Budget: a scrape of /metrics a second <= 1 ms of processor time each, with 100,000 tasks and 10,000 connections;
100,000 scrapes leave no memory behind. Beside a registry of prometheus-cpp's with as many series, which has nothing
to count."""
from harness import Contestant, Row

SCRAPE_MS = 1.0


def run(context):
    program = Contestant("metrics", [context.program("metrics")])
    size = (3, 10, 1000, 100) if context.smoke else (60, 1000, 100_000, 10_000)
    ours, largest, first, theirs, oldest = map(float, program.output("scrape", *size).split())
    small = float(program.output("scrape", *(3, 10, 10, 10) if context.smoke else (30, 1000, 100, 100)).split()[0])
    grown = int(program.output("flat", 100 if context.smoke else 100_000))
    return [
        Row(what="a scrape a second: processor time, 100,000 tasks, 10,000 connections", ours=f"{ours:.2f} ms",
            peers=f"prometheus-cpp's Registry, as many series: {theirs:.2f} ms", comparison=f"{ours / theirs:.1f}x",
            budget=f"{SCRAPE_MS:.0f} ms", met=ours <= SCRAPE_MS),
        Row(what="the dearest of 60, and the second one", ours=f"{largest:.2f} ms, {first:.2f} ms", peers="",
            comparison=f"counts are up to {oldest:.0f} s old"),
        Row(what="the same with 100 tasks and 100 connections", ours=f"{small:.2f} ms", peers="", comparison=""),
        Row(what="resident memory after 100,000 scrapes", ours=f"{grown:+,} bytes", peers="", comparison="",
            budget="flat", met=grown <= 256 * 1024),
    ]
