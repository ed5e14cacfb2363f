"""Budgets: a task that nobody traces costs at most 4 instructions more than before there was a trace (417 then, with
this compiler and valgrind; 9 more since a guard that a handler of the host's jumps over forgets itself); an event of a trace <= 60 ns, two of which are a task made and ended. Go's execution
trace of goroutines beside it, in the same rounds."""
import os
import subprocess

import harness
from harness import Contestant, Row

OFF_INSTRUCTIONS = 417 + 9 + 4
EVENT_NS = 60


def go_program(context):
    path = context.build / "bench" / "goroutine_trace"
    env = os.environ | {"GOCACHE": str(context.build / "bench" / "go-cache"), "GOFLAGS": "", "GO111MODULE": "off"}
    subprocess.run(["go", "build", "-o", path, context.root / "bench" / "goroutine_trace.go"], env=env, check=True)
    return str(path)


def run(context):
    ours = Contestant("trace", [context.program("trace")])
    go = Contestant("go", [go_program(context)])
    few, many = (100, 1100) if context.smoke else (100_000, 300_000)
    off = ours.instructions_per_operation(lambda n: ["off", n], few, many)
    operations, chunks, count = (100, 1, 1) if context.smoke else (50_000, 5, 7)

    def measure(contestant):
        arguments = ("on", operations, chunks) if contestant is ours else (operations, chunks)
        return list(map(float, contestant.output(*arguments).split()))

    taken = harness.rounds([ours, go], count, measure)
    task, traced, to_file, kib = map(list, zip(*taken["trace"], strict=True))
    goroutine, go_traced = map(list, zip(*taken["go"], strict=True))
    event = [max(on - off_ns, 0) / 2 for on, off_ns in zip(traced, task, strict=True)]
    median = harness.median
    return [
        Row(what="a task, made and ended, nobody traces", ours=f"{off:.1f} instr, {median(task):.1f} ns", peers="",
            comparison="", budget=f"{OFF_INSTRUCTIONS} instr", met=off <= OFF_INSTRUCTIONS),
        Row(what="an event of a trace", ours=f"{median(event):.1f} ns", peers="",
            comparison="", budget=f"{EVENT_NS} ns", met=median(event) <= EVENT_NS),
        Row(what="a task, made and ended, while it is traced", ours=f"{median(traced):.0f} ns",
            peers=f"goroutine, Go: {median(go_traced):.0f} ns, not traced {median(goroutine):.0f} ns",
            comparison=f"{harness.median_ratio(traced, go_traced):.3f}x", budget="", met=None),
        Row(what="a full log of 262,144 events to its file", ours=f"{median(to_file):.0f} ms, {median(kib):.0f} KiB",
            peers="", comparison="", budget="", met=None),
    ]
