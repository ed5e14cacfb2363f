"""Budgets: a task made and ended <= 60 ns, and <= 96 bytes while it lives; a connection opened and ended
with its stack <= 1 us; 10,000 of them listed with what the kernel knows <= 50 ms; a goroutine profile of
1,000,000 parked tasks <= 0.5 s, with nobody stopped. Go's goroutines beside them, in the same rounds."""
import os
import subprocess

import harness
from harness import Contestant, Row

TASK_NS = 60
TASK_BYTES = 96
CONNECTION_NS = 1000
LIST_MS = 50
PROFILE_MS = 500


def go_program(context):
    path = context.build / "bench" / "goroutines"
    env = os.environ | {"GOCACHE": str(context.build / "bench" / "go-cache"), "GOFLAGS": "", "GO111MODULE": "off"}
    subprocess.run(["go", "build", "-o", path, context.root / "bench" / "goroutines.go"], env=env, check=True)
    return str(path)


def run(context):
    ours = Contestant("registry", [context.program("registry")])
    go = Contestant("go", [go_program(context)])
    operations, chunks, connections, parked, count = \
        (100, 2, 100, 1000, 1) if context.smoke else (20_000, 20, 10_000, 1_000_000, 5)

    def measure(contestant):
        size = (operations, chunks, connections, parked) if contestant is ours else (operations, chunks, parked)
        return list(map(float, contestant.output(*size).split()))

    taken = harness.rounds([ours, go], count, measure)
    task, connection, listed, task_bytes, profile, chains = map(list, zip(*taken["registry"], strict=True))
    goroutine, go_profile = map(list, zip(*taken["go"], strict=True))
    median, ratio = harness.median, harness.median_ratio

    def row(what, value, unit, budget, peer=None, against=None, digits=1):
        return Row(what=what, ours=f"{value:,.{digits}f} {unit}", peers=peer or "",
                   comparison=f"{against:.3f}x" if against else "", budget=f"{budget:,} {unit}", met=value <= budget)

    return [
        row("a task, made and ended", median(task), "ns", TASK_NS,
            f"goroutine, Go: {median(goroutine):.0f} ns", ratio(task, goroutine)),
        row("a live task", median(task_bytes), "bytes", TASK_BYTES, "goroutine, Go: 2 KiB of stack", digits=0),
        row("a connection, opened with its stack and ended", median(connection), "ns", CONNECTION_NS, digits=0),
        row("10,000 connections listed with kernel state, sockets without a peer", median(listed), "ms", LIST_MS),
        row("goroutine profile of 1,000,000 parked tasks", median(profile), "ms", PROFILE_MS,
            f"Go, world stopped: {median(go_profile):,.0f} ms", ratio(profile, go_profile)),
        row("the same, each in a chain of two coroutines", median(chains), "ms", PROFILE_MS,
            f"Go: {median(go_profile):,.0f} ms", ratio(chains, go_profile)),
    ]
