"""Budget: preloaded, default sampling, endpoint on: redis and nginx >= 0.99x of their requests a second, a python3 script
that computes <= 1.01x of its user time. Rounds of both in turns; beside the rate, which has the load generator's noise in it,
the server's own processor time for a request."""
import os
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


def service_rows(context, kind, folder, slice_s, rounds):
    core = context.preload
    watched_folder = os.path.join(folder, kind.name)
    plain = kind(services.Setup(os.path.join(folder, kind.name + ".plain"), str(context.build)))
    ours = None
    try:
        ours = kind(services.Setup(watched_folder, str(context.build), core,
                                   {"HELDBY_LISTEN": f"unix:{watched_folder}/heldby.%p.sock"}))
        services.wait_for(ours.endpoint, f"the endpoint of {kind.name}")
        rates, cpu = {plain: [], ours: []}, {plain: [], ours: []}
        for index in range(rounds):
            for side in (plain, ours) if index % 2 else (ours, plain):
                before = side.cpu_seconds()
                load = side.load(slice_s)
                rates[side].append(load.requests_per_second)
                cpu[side].append((side.cpu_seconds() - before) / load.requests)
    finally:
        for side in (plain, ours):
            if side is not None:
                side.end()
    rate = harness.median_ratio(rates[ours], rates[plain])
    cost = harness.median([a / b if b else 1.0 for a, b in zip(cpu[ours], cpu[plain], strict=True)])
    return [Row(what=f"{kind.name}, preloaded, endpoint on: requests a second", ours=f"{harness.median(rates[ours]):,.0f}/s",
                peers=f"without: {harness.median(rates[plain]):,.0f}/s", comparison=f"{rate:.3f}x", budget=f"{LOSS:.2f}x",
                met=rate >= LOSS),
            Row(what=f"{kind.name}: its processor time for a request", ours="", peers="", comparison=f"{cost:.3f}x")]


def python_row(context, folder, turns, rounds):
    script = os.path.join(folder, "compute.py")
    with open(script, "w", encoding="ascii") as file:
        file.write(SCRIPT % turns)
    command = ["/usr/bin/python3", script]
    plain = Contestant("without", command)
    ours = Contestant("heldby", command, {"LD_PRELOAD": context.preload, "HELDBY_LISTEN": f"unix:{folder}/heldby.%p.sock"})
    taken = harness.rounds([plain, ours], rounds, lambda one: harness.usage_of(one)[0])
    ratio = harness.median_ratio(taken["heldby"], taken["without"])
    return Row(what="a python3 script that computes: user time", ours=f"{harness.median(taken['heldby']):.2f} s",
               peers=f"without: {harness.median(taken['without']):.2f} s",
               comparison=f"{ratio:.3f}x, fastest runs {min(taken['heldby']) / min(taken['without']):.3f}x", budget="1.01x",
               met=ratio <= 1.01)


def run(context):
    slice_s, rounds, turns = (0.05, 1, 5) if context.smoke else (2.0, 15, 2500)
    out = context.build / "bench"
    with tempfile.TemporaryDirectory(dir=out) as folder:
        os.chmod(folder, 0o755)
        rows = []
        for kind in (services.Redis, services.Nginx):
            rows += service_rows(context, kind, folder, slice_s, rounds)
        rows.append(python_row(context, folder, turns, rounds))
    return rows
