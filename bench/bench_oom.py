"""Budget: in a memory control group of 512 MB, at a growth of 200 MB/s and less, a complete dump in 99 of 100 runs, and
a black box in all of them at any growth. Twenty minutes; fewer runs: python3 bench/bench_oom.py BUILD_DIR RUNS."""
import concurrent.futures
import contextlib
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import harness
from harness import Row

LIMIT_BYTES = 512 * 1000 * 1000
# MB/s: how many at once. Slow ones hardly need a processor.
RATES = {10: 10, 50: 5, 200: 1, 1000: 1}
V1, V2 = "/sys/fs/cgroup/memory", "/sys/fs/cgroup"


class Group:
    def __init__(self, name):
        self.folder = None
        for root, limit, swap in ((V1, "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
                                  (V2, "memory.max", "memory.swap.max")):
            folder = pathlib.Path(root) / name
            try:
                folder.mkdir()
                (folder / limit).write_text(str(LIMIT_BYTES))
            except OSError:
                with contextlib.suppress(OSError):
                    folder.rmdir()
                continue
            with contextlib.suppress(OSError):
                (folder / swap).write_text("0" if root == V2 else str(LIMIT_BYTES))
            self.folder = folder
            return
        raise SystemExit("bench: no memory control group can be made here")

    def remove(self):
        for _ in range(200):
            with contextlib.suppress(OSError):
                self.folder.rmdir()
                return
            time.sleep(0.05)


def held_bytes(context, path):
    """What a file that is whole and has its names says is held; 0 of any other."""
    done = subprocess.run([context.build / "bin" / "heldby", "top", "-unit=B", "-nodecount=5", path], text=True,
                          capture_output=True)
    found = re.search(r"^\s*(\d+)B.*Hoard::Grow", done.stdout, re.MULTILINE)
    return int(found[1]) if done.returncode == 0 and "was cut" not in done.stdout and found else 0


@dataclasses.dataclass
class Outcome:
    was_killed: bool
    dump_bytes: int  # of the fullest one
    box_bytes: int


def one_run(context, rate, number):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="oom-bench-", dir=context.build))
    group = Group(f"heldby-bench-{os.getpid()}-{rate}-{number}")
    try:
        command = ["sh", "-c", f'echo $$ > {group.folder}/cgroup.procs && exec "$@"', "sh",
                   context.program("grows"), str(rate), "2000", str(folder)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        dumps = [held_bytes(context, path) for path in folder.glob("*.heap")]
        boxes = [held_bytes(context, path) for path in folder.glob("*.box")]
        return Outcome(done.returncode == -9, max(dumps, default=0), max(boxes, default=0))
    finally:
        group.remove()
        shutil.rmtree(folder, ignore_errors=True)


def row(context, rate, runs):
    with concurrent.futures.ThreadPoolExecutor(RATES[rate]) as pool:
        outcomes = list(pool.map(lambda number: one_run(context, rate, number), range(runs)))
    if not all(outcome.was_killed for outcome in outcomes):
        raise SystemExit("bench: a program that grows was not killed")
    dumps = [outcome.dump_bytes for outcome in outcomes if outcome.dump_bytes]
    boxes = [outcome.box_bytes for outcome in outcomes if outcome.box_bytes]
    share = [100 * harness.median(found) / LIMIT_BYTES if found else 0 for found in (dumps, boxes)]
    promised = rate <= 200
    return Row(what=f"growth of {rate} MB/s to 512 MB, {runs} runs: whole dumps, black boxes",
               ours=f"{len(dumps)}, {len(boxes)}", peers="",
               comparison=f"median of the limit that they explain: {share[0]:.0f} %, {share[1]:.0f} %",
               budget="99 %, all" if promised else "-, all",
               met=(not promised or len(dumps) >= 0.99 * runs) and len(boxes) == runs)


def run(context, runs=100):
    return [row(context, rate, 1 if context.smoke else runs) for rate in RATES]


if __name__ == "__main__":
    here = pathlib.Path(__file__).resolve().parent.parent
    sys.stdout.write(harness.markdown(
        run(harness.Context(build=pathlib.Path(sys.argv[1]).resolve(), smoke=False, root=here),
            int(sys.argv[2]) if len(sys.argv) > 2 else 100)))
