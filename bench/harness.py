"""What every benchmark here needs: run things side by side, count, compare, tell.

Machines are noisy, and this one has neighbours. So instruction counts (callgrind: exact, they
repeat to the digit) come first, and times are taken in rounds that visit every contestant once;
what is reported is the median over rounds of the ratio or difference *within* a round.
"""
import dataclasses
import math
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import time


@dataclasses.dataclass
class Row:
    """One line of the report. `met` is None where nothing was promised."""
    what: str
    ours: str
    peers: str
    comparison: str
    budget: str = ""
    met: bool | str | None = None  # or a word

    def cells(self):
        met = {None: "", True: "yes", False: "**no**"}.get(self.met, self.met)
        return [self.what, self.comparison, self.ours, self.peers, self.budget, met]


@dataclasses.dataclass
class Context:
    build: pathlib.Path
    smoke: bool
    root: pathlib.Path

    def program(self, name):
        path = self.build / "bench" / name
        if not path.exists():
            raise SystemExit(f"bench: {path} is not built; configure with -DHELDBY_BUILD_BENCH=ON")
        return str(path)

    @property
    def preload(self):
        return str(self.build / "lib" / "libheldby.so")


@dataclasses.dataclass
class Contestant:
    name: str
    command: list
    env: dict = dataclasses.field(default_factory=dict)

    def full_env(self):
        # Nothing inherited may decide: a developer's MALLOC_CONF or HELDBY_* stays outside.
        inherited = {k: v for k, v in os.environ.items()
                     if not k.startswith(("HELDBY_", "MALLOC_", "TCMALLOC_", "LD_PRELOAD"))}
        return inherited | self.env

    def output(self, *extra):
        done = subprocess.run([*self.command, *map(str, extra)], env=self.full_env(), text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode != 0:
            raise SystemExit(f"bench: {self.name}: {self.command} failed:\n{done.stderr}")
        return done.stdout

    def collected(self, *extra):
        """Instructions of one whole run under callgrind."""
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *self.command,
             *map(str, extra)],
            env=self.full_env(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        found = re.search(r"Collected : (\d+)", done.stderr)
        if done.returncode != 0 or not found:
            raise SystemExit(f"bench: {self.name} under valgrind failed:\n{done.stderr}")
        return int(found.group(1))

    def instructions_per_operation(self, arguments, few, many):
        """`arguments(n)` are those of a run of n operations; start-up cancels in the difference."""
        return (self.collected(*arguments(many)) - self.collected(*arguments(few))) / (many - few)


def usage_of(contestant, *extra):
    """(user seconds, peak bytes) of one run with its children."""
    null = os.open(os.devnull, os.O_RDWR)
    try:
        command = [shutil.which(contestant.command[0]) or contestant.command[0],
                   *contestant.command[1:], *map(str, extra)]
        pid = os.posix_spawn(command[0], command, contestant.full_env(),
                             file_actions=[(os.POSIX_SPAWN_DUP2, null, 1)])
        _, status, usage = os.wait4(pid, 0)
    finally:
        os.close(null)
    if status != 0:
        raise SystemExit(f"bench: {contestant.name}: {command} failed with status {status}")
    return usage.ru_utime, usage.ru_maxrss * 1024


def rounds(contestants, count, measure):
    """{name: [one value per round]}; each round starts with another contestant."""
    taken = {c.name: [] for c in contestants}
    for i in range(count):
        turn = i % len(contestants)
        for contestant in contestants[turn:] + contestants[:turn]:
            taken[contestant.name].append(measure(contestant))
    return taken


def median(values):
    return statistics.median(values)


def median_difference(ours, base):
    return median(a - b for a, b in zip(ours, base, strict=True))


def median_ratio(ours, base):
    return median(a / b for a, b in zip(ours, base, strict=True))


def ratio_with_error(ratios):
    """(median, its standard error: 1.253 standard deviations of the ratios / sqrt(their count))"""
    spread = statistics.stdev(ratios) if len(ratios) > 1 else 0.0
    return statistics.median(ratios), 1.253 * spread / math.sqrt(len(ratios))


def is_at_most(ratio, error, limit):
    """A promise that a series misses by less than its own error is not told by it."""
    if ratio <= limit:
        return True
    return False if ratio - error > limit else "within the error"


def markdown(rows):
    head = ["what", "ratio or difference", "ours", "peers", "budget", "met"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row.cells()) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def machine():
    cpu = "unknown CPU"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    release = pathlib.Path("/etc/os-release").read_text()
    system = re.search(r'PRETTY_NAME="(.*)"', release).group(1)
    return (f"{time.strftime('%Y-%m-%d')}, {cpu}, {os.cpu_count()} CPUs, {system}, "
            f"Linux {os.uname().release}, load {os.getloadavg()[0]:.1f} at the end")
