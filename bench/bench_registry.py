"""Budgets: a task made and ended <= 60 ns, and <= 96 bytes while it lives; a connection opened and ended
with its stack <= 1 us; 10,000 of them listed with what the kernel knows <= 50 ms."""
import harness
from harness import Contestant, Row

TASK_NS = 60
TASK_BYTES = 96
CONNECTION_NS = 1000
LIST_MS = 50


def run(context):
    contestant = Contestant("registry", [context.program("registry")])
    size, count = ((100, 2, 100), 1) if context.smoke else ((20_000, 20, 10_000), 5)
    taken = [list(map(float, contestant.output(*size).split())) for _ in range(count)]
    task_ns, connection_ns, list_ms, task_bytes = map(harness.median, zip(*taken, strict=True))
    return [
        Row(what="a task, made and ended", ours=f"{task_ns:.1f} ns", peers="", comparison="",
            budget=f"{TASK_NS} ns", met=task_ns <= TASK_NS),
        Row(what="a live task", ours=f"{task_bytes:.0f} bytes", peers="", comparison="",
            budget=f"{TASK_BYTES} bytes", met=task_bytes <= TASK_BYTES),
        Row(what="a connection, opened with its stack and ended", ours=f"{connection_ns:,.0f} ns",
            peers="", comparison="", budget=f"{CONNECTION_NS:,} ns", met=connection_ns <= CONNECTION_NS),
        Row(what="10,000 connections listed with kernel state, sockets without a peer",
            ours=f"{list_ms:.1f} ms", peers="", comparison="", budget=f"{LIST_MS} ms", met=list_ms <= LIST_MS),
    ]
