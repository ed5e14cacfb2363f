"""A memory control group to run into the limit of, where one can be made."""

import contextlib
import os
import signal
import time

from harness import read_text

V1, V2 = "/sys/fs/cgroup/memory", "/sys/fs/cgroup"


def own_group(hierarchy):
    for line in read_text("/proc/self/cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(",") if hierarchy == V1 else number == "0":
            return path.rstrip("/")
    return ""


class Group:
    """A memory control group of our own, below the one we are in."""

    def __init__(self, folder, is_v2):
        self.folder, self.is_v2 = folder, is_v2

    def write(self, name, value):
        with open(os.path.join(self.folder, name), "w", encoding="ascii") as file:
            file.write(str(value))

    def limit(self, limit_bytes):
        self.write("memory.max" if self.is_v2 else "memory.limit_in_bytes", limit_bytes)
        with contextlib.suppress(OSError):  # no swap: the limit is the limit
            self.write("memory.swap.max" if self.is_v2 else "memory.memsw.limit_in_bytes",
                       0 if self.is_v2 else limit_bytes)

    def command(self, argv):
        return ["sh", "-c", f'echo $$ > {self.folder}/cgroup.procs && exec "$@"', "sh", *map(str, argv)]

    def remove(self):
        with contextlib.suppress(OSError):
            with open(os.path.join(self.folder, "cgroup.procs"), encoding="ascii") as procs:
                for pid in procs.read().split():
                    os.kill(int(pid), signal.SIGKILL)
        for _ in range(200):
            try:
                os.rmdir(self.folder)
                return
            except FileNotFoundError:
                return
            except OSError:  # what was killed is still on its way out
                time.sleep(0.05)


@contextlib.contextmanager
def memory_group(limit_bytes):
    """A Group, or None where none can be made."""
    group = None
    for hierarchy in (V1, V2):
        folder = f"{hierarchy}{own_group(hierarchy)}/heldby-test-{os.getpid()}"
        with contextlib.suppress(OSError):
            os.mkdir(folder)
            candidate = Group(folder, hierarchy == V2)
            try:
                candidate.limit(limit_bytes)
                group = candidate
                break
            except OSError:
                os.rmdir(folder)
    try:
        yield group
    finally:
        if group:
            group.remove()
