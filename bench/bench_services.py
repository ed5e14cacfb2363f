"""Budget: preloaded, default sampling, endpoint on: redis and nginx >= 0.99x of their requests a second, a python3 script
that computes <= 1.01x of its user time. Each pair of processes is started anew, because where a process happens to lie in
memory decides by some percent between two of the same kind; both are loaded in short turns. Beside the rate, which
has the load generator's noise in it, the server's own processor time for a request, and, counted by callgrind, the instructions
that it takes outside the kernel."""
import contextlib
import os
import pathlib
import re
import tempfile

import harness
import services
from harness import Contestant, Row

LOSS = 0.99
SCRIPT = """
import hashlib, json
total = 0
for i in range(%d):
    table = {str(k): [k, k * i, {"name": "x" * (k %% 50)}] for k in range(200)}
    text = json.dumps(table, sort_keys=True)
    total += len(json.loads(text)) + hashlib.md5(text.encode()).digest()[0]
print(total)
"""


def settings(folder):
    return {"HELDBY_LISTEN": f"unix:{folder}/heldby.%p.sock"}


def pin(pid, processors):
    for thread in pathlib.Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), processors)


@contextlib.contextmanager
def load_apart():
    """The servers on one processor, what loads them (started by us) on another: where both may move, which of them waits for
    which decides by a tenth. Yields the servers' processors."""
    all_of_them = os.sched_getaffinity(0)
    first, rest = {min(all_of_them)}, all_of_them - {min(all_of_them)}
    os.sched_setaffinity(0, rest or first)
    try:
        yield first
    finally:
        os.sched_setaffinity(0, all_of_them)


def ratios_of_a_pair(context, kind, folder, slices, slice_s):
    """Medians over the turns of two new processes: (requests a second, ns of a processor for a request) of both."""
    plain = kind(services.Setup(os.path.join(folder, "plain"), str(context.build)))
    ours = None
    try:
        watched = os.path.join(folder, "ours")
        ours = kind(services.Setup(watched, str(context.build), context.preload, settings(watched)))
        services.wait_for(ours.endpoint, f"the endpoint of {kind.name}")
        rates, cpu = {plain: [], ours: []}, {plain: [], ours: []}
        with load_apart() as servers:
            for side in (plain, ours):
                pin(side.serving_pid(), servers)
            for index in range(slices):
                for side in (plain, ours) if index % 2 else (ours, plain):
                    before = side.cpu_ns()
                    load = side.load(slice_s)
                    rates[side].append(load.requests_per_second)
                    cpu[side].append((side.cpu_ns() - before) / load.requests)
    finally:
        for side in (plain, ours):
            if side is not None:
                side.end()
    return [harness.median(values[side]) for values in (rates, cpu) for side in (ours, plain)]


def instructions(context, kind, folder, preload, few, many):
    """For a request, outside the kernel; start and end cancel. Without an endpoint: its threads count by the second."""
    counted = []
    for count in (few, many):
        home = os.path.join(folder, str(count))
        log = home + ".valgrind"  # its standard error may become the program's log
        server = kind(services.Setup(home, str(context.build), preload, under=[
            "valgrind", f"--log-file={log}", "--tool=callgrind", "--callgrind-out-file=/dev/null"]))
        server.requests(count)
        server.end()
        with open(log, encoding="utf-8") as file:
            found = re.search(r"Collected : (\d+)", file.read())
        if not found:
            raise SystemExit(f"bench: {kind.name} under valgrind counted nothing")
        counted.append(int(found[1]))
    return (counted[1] - counted[0]) / (many - few)


def service_rows(context, kind, folder, pairs, slices, slice_s):
    rates, cpu, ours_s, plain_s = [], [], [], []
    for index in range(pairs):
        one = os.path.join(folder, f"{kind.name}.{index}")
        os.mkdir(one)
        os.chmod(one, 0o755)
        ours_rate, plain_rate, ours_ns, plain_ns = ratios_of_a_pair(context, kind, one, slices, slice_s)
        rates.append(ours_rate / plain_rate)
        cpu.append(ours_ns / plain_ns if plain_ns else 1.0)
        ours_s.append(ours_rate)
        plain_s.append(plain_rate)
    few, many = (20, 40) if context.smoke else (500, 5500)
    counted = []
    for name, preload in (("plain", ""), ("ours", context.preload)):
        one = os.path.join(folder, f"{kind.name}.{name}.counted")
        os.mkdir(one)
        os.chmod(one, 0o755)
        counted.append(instructions(context, kind, one, preload, few, many))
    rate, rate_error = harness.ratio_with_error(rates)
    cost, cost_error = harness.ratio_with_error(cpu)
    return [Row(what=f"{kind.name}, preloaded, endpoint on: requests a second", ours=f"{harness.median(ours_s):,.0f}/s",
                peers=f"without: {harness.median(plain_s):,.0f}/s",
                comparison=f"{rate:.3f}x, good to {rate_error:.3f}", budget=f"{LOSS:.2f}x",
                met=harness.is_at_most(1 / rate, rate_error, 1 / LOSS)),
            Row(what=f"{kind.name}: its processor time for a request", ours="", peers="",
                comparison=f"{cost:.3f}x, good to {cost_error:.3f}"),
            Row(what=f"{kind.name}: instructions for a request, outside the kernel",
                ours=f"{counted[1]:,.0f}", peers=f"without: {counted[0]:,.0f}",
                comparison=f"{counted[1] - counted[0]:+,.0f}, {counted[1] / counted[0]:.3f}x")]


def python_rows(context, folder, turns, count):
    script = os.path.join(folder, "compute.py")
    with open(script, "w", encoding="ascii") as file:
        file.write(SCRIPT % turns)
    few = os.path.join(folder, "compute_less.py")
    with open(few, "w", encoding="ascii") as file:
        file.write(SCRIPT % max(turns // 4, 1))
    seed = {"PYTHONHASHSEED": "0"}
    plain = Contestant("without", ["/usr/bin/python3"], seed)
    ours = Contestant("heldby", ["/usr/bin/python3"], seed | settings(folder) | {"LD_PRELOAD": context.preload})
    taken = harness.rounds([plain, ours], count, lambda one: harness.usage_of(one, script)[0])
    ratio, error = harness.ratio_with_error([a / b for a, b in zip(taken["heldby"], taken["without"], strict=True)])
    counted = {one.name: one.collected(script) - one.collected(few) for one in (plain, ours)}
    in_count = counted["heldby"] / counted["without"]
    return [Row(what="a python3 script that computes: user time", ours=f"{harness.median(taken['heldby']):.2f} s",
                peers=f"without: {harness.median(taken['without']):.2f} s",
                comparison=f"{ratio:.3f}x, good to {error:.3f}", budget="1.01x",
                met=harness.is_at_most(ratio, error, 1.01)),
            Row(what="the same script, instructions", ours=f"{counted['heldby'] / 1e9:.3f} billion",
                peers=f"without: {counted['without'] / 1e9:.3f} billion", comparison=f"{in_count:.4f}x", budget="1.01x",
                met=in_count <= 1.01)]


def run(context):
    pairs, slices, slice_s, turns, count = (1, 1, 0.05, 8, 1) if context.smoke else (20, 4, 0.5, 1000, 60)
    out = context.build / "bench"
    with tempfile.TemporaryDirectory(dir=out) as folder:
        os.chmod(folder, 0o755)
        rows = []
        for kind in (services.Redis, services.Nginx):
            rows += service_rows(context, kind, folder, pairs, slices, slice_s)
        rows += python_rows(context, folder, turns, count)
    return rows
