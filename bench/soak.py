"""bench/soak.py BUILD MINUTES

Redis, nginx and the example server for so long, each as it is and with heldby in it, everything
switched on and scrapers at the endpoint; load goes to one and the other in turns of seconds. Says
what the host lost: requests that differ, throughput, p99, memory, descriptors, threads. Ends with
status 1 if an answer differs, a process died or failed, memory or descriptors grow, or anything
was dropped. What a neighbour of the machine can spoil - throughput and p99 - is told, not judged.
"""
import argparse
import collections
import dataclasses
import http.client
import os
import pathlib
import re
import shutil
import socket
import statistics
import sys
import tempfile
import threading
import time

import harness
import services
from services import Trouble

SLICE_SECONDS = 2.0
LATE_SECONDS = 1.0  # of one request at a time: beside it a processor is free for the scrapers
# Of memory after the first quarter: what a scrape or two has at work, and the allocator keeps.
GROWTH_BYTES = 4 << 20
GROWTH_PART = 0.05


class Endpoint(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


class Scraper(threading.Thread):
    """What Prometheus, a continuous profiler and a person would fetch, while the service is loaded."""

    EVERY = (("/metrics", 1.0), ("/debug/pprof/heap", 10.0), ("/debug/pprof/delta_mutex", 10.0),
             ("/debug/pprof/delta_block", 10.0), ("/debug/pprof/goroutine?debug=2", 15.0),
             ("/debug/pprof/profile?seconds=2", 10.0), ("/debug/connections?format=json", 5.0),
             ("/debug/leaks?format=json", 10.0), ("/debug/pprof/heap?since=30s", 30.0))

    def __init__(self, service):
        super().__init__(daemon=True)
        self.service = service
        self.is_wanted = threading.Event()
        self.is_over = threading.Event()
        self.is_idle = threading.Event()
        self.statuses = collections.Counter()
        self.metrics = ""

    def run(self):
        due = {target: 0.0 for target, _ in self.EVERY}
        while not self.is_over.is_set():
            if not self.is_wanted.wait(0.2):
                self.is_idle.set()
                continue
            self.is_idle.clear()
            now = time.monotonic()
            for target, period in self.EVERY:
                if due[target] <= now and self.is_wanted.is_set():
                    self.fetch(target)
                    due[target] = now + period
            time.sleep(0.05)

    def fetch(self, target):
        try:
            connection = Endpoint(self.service.endpoint() or "no endpoint")
            connection.request("GET", target)
            reply = connection.getresponse()
            body = reply.read()
            connection.close()
            self.statuses[reply.status] += 1
            if target == "/metrics" and reply.status == 200:
                self.metrics = body.decode()
            elif reply.status != 200:
                self.statuses[f"{reply.status} {target}: {body[:120].decode(errors='replace').strip()}"] += 1
        except (OSError, http.client.HTTPException) as error:
            self.statuses[f"{type(error).__name__} {target}: {error}"] += 1

    def dropped(self):
        """Every counter of something that was given up, of /metrics."""
        found = re.findall(r"^(heldby_\w*(?:dropped|failures|refused)_total(?:\{[^}]*\})?) (\S+)$", self.metrics,
                           re.MULTILINE)
        return {name: float(value) for name, value in found if float(value) > 0}


@dataclasses.dataclass
class Side:
    service: services.Service
    loads: list = dataclasses.field(default_factory=list)
    p99_us: list = dataclasses.field(default_factory=list)
    resident: list = dataclasses.field(default_factory=list)
    descriptors: list = dataclasses.field(default_factory=list)
    threads: list = dataclasses.field(default_factory=list)

    def look(self):
        proc = f"/proc/{self.service.serving_pid()}"
        self.resident.append(self.service.resident_bytes())
        self.descriptors.append(len(os.listdir(proc + "/fd")))
        self.threads.append(len(os.listdir(proc + "/task")))


def quarters(values):
    """Medians of the second and of the last quarter: by then all has been used once."""
    quarter = max(len(values) // 4, 1)
    return statistics.median(values[quarter:2 * quarter] or values), statistics.median(values[-quarter:])


class Pair:
    def __init__(self, kind, build, folder):
        core = "" if kind.is_linked else os.path.join(build, "lib", "libheldby.so")
        watched = os.path.join(folder, kind.name)
        settings = {"HELDBY_LISTEN": f"unix:{watched}/heldby.%p.sock", "HELDBY_DUMP_DIR": watched,
                    "HELDBY_MUTEX_PROFILE_FRACTION": "1", "HELDBY_BLOCK_PROFILE_RATE": "1"}
        if kind.is_linked:
            del settings["HELDBY_LISTEN"]  # it listens by itself
        self.name = kind.name
        self.plain = Side(kind(services.Setup(os.path.join(folder, kind.name + ".plain"), build)))
        try:
            self.ours = Side(kind(services.Setup(watched, build, core, settings)))
        except Trouble:
            self.plain.service.end()
            raise
        self.scraper = Scraper(self.ours.service)
        self.wrongs = []

    def begin(self):
        services.wait_for(self.ours.service.endpoint, f"the endpoint of {self.name}")
        self.scraper.start()

    def round(self, first):
        sides = [(self.plain, False), (self.ours, True)]
        for side, is_ours in sides if first else sides[::-1]:
            if is_ours:
                self.scraper.is_wanted.set()
            load = side.service.load(SLICE_SECONDS)
            side.p99_us.append(side.service.p99_us(LATE_SECONDS))
            if is_ours:
                # Nothing of ours is at work in the other's turn.
                self.scraper.is_wanted.clear()
                self.scraper.is_idle.wait(60)
            if load.errors:
                self.wrongs.append(f"{load.errors} requests failed {'with' if is_ours else 'without'} heldby")
            side.loads.append(load)
        for side, _ in sides:
            side.look()

    def stop(self):
        """Both, after trouble."""
        for side in (self.plain, self.ours):
            side.service.end()

    def end(self):
        try:
            answers = [side.service.answers() for side in (self.plain, self.ours)]
            if answers[0] != answers[1]:
                self.wrongs.append("answers differ")
        except (Trouble, OSError) as error:
            self.wrongs.append(f"no answer: {error}")
        self.scraper.fetch("/metrics")
        self.scraper.is_over.set()
        self.scraper.join(70)
        said = self.ours.service.said()
        ends = [side.service.end() for side in (self.plain, self.ours)]
        if ends[0] != ends[1]:
            self.wrongs.append(f"ended with {ends[1]}, without heldby {ends[0]}")
        self.wrongs += [f"it said: {line}" for line in said.splitlines()
                        if line.startswith("heldby: ") and "serv" not in line]
        self.judge()

    def judge(self):
        for what, most in (("resident", None), ("descriptors", 3), ("threads", 3)):
            before, after = quarters(getattr(self.ours, what))
            others_before, others_after = quarters(getattr(self.plain, what))
            allowed = GROWTH_BYTES + GROWTH_PART * before if most is None else most
            if (after - before) - max(others_after - others_before, 0) > allowed:
                self.wrongs.append(f"{what} grew from {before:,.0f} to {after:,.0f}")
        for status, count in self.scraper.statuses.items():
            if status != 200:
                self.wrongs.append(f"{count} scrapes: {status}")
        for name, value in self.scraper.dropped().items():
            self.wrongs.append(f"{name} is {value:,.0f}")

    def row(self):
        def ratio(ours, plain):
            return "%.3fx, good to %.3f" % harness.ratio_with_error([a / b for a, b in zip(ours, plain, strict=True)])

        rates = [[load.requests_per_second for load in side.loads] for side in (self.ours, self.plain)]
        plain, ours = quarters(self.plain.resident), quarters(self.ours.resident)
        return (f"| {self.name} | {ratio(*rates)}, of {statistics.median(rates[1]):,.0f}/s | "
                f"{ratio(self.ours.p99_us, self.plain.p99_us)}, of {statistics.median(self.plain.p99_us):.1f} us | "
                f"{ours[0] / 2**20:.1f} -> {ours[1] / 2**20:.1f} MB (alone {plain[0] / 2**20:.1f} -> "
                f"{plain[1] / 2**20:.1f}) | {self.scraper.statuses[200]:,} | "
                f"{'same' if not self.wrongs else '; '.join(self.wrongs)} |")


def main():
    parser = argparse.ArgumentParser(prog="bench/soak.py")
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("minutes", type=float)
    arguments = parser.parse_args()
    if not 0 < arguments.minutes <= 100_000:
        parser.error(f"MINUTES is {arguments.minutes}; accepted: more than 0")
    build = str(arguments.build.resolve())
    # Not in /tmp, which may be memory: dumps are refused there.
    out = pathlib.Path(build) / "bench"
    out.mkdir(exist_ok=True)
    folder = tempfile.mkdtemp(prefix="soak-", dir=out)
    os.chmod(folder, 0o755)
    pairs = []
    try:
        for kind in services.SERVICES:
            pairs.append(Pair(kind, build, folder))
        end = time.monotonic() + arguments.minutes * 60
        for pair in pairs:
            pair.begin()
        rounds = 0
        while time.monotonic() < end or rounds < 4:
            for pair in pairs:
                pair.round(first=rounds % 2 == 0)
            rounds += 1
        for pair in pairs:
            pair.end()
    except BaseException:
        for pair in pairs:
            pair.stop()
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    table = "\n".join(["| service | throughput | p99 of one request at a time | resident memory, early -> late | scrapes | result |",
                       "|---|---|---|---|---|---|", *(pair.row() for pair in pairs)]) + "\n"
    sys.stdout.write(table)
    (out / "soak.md").write_text(f"{time.strftime('%Y-%m-%d')}, {arguments.minutes:g} minutes, {rounds} rounds\n\n{table}")
    sys.exit(1 if any(pair.wrongs for pair in pairs) else 0)


if __name__ == "__main__":
    try:
        main()
    except Trouble as trouble:
        sys.exit(f"soak: {trouble}")
