"""What scrapers insist on (Alloy, Pyroscope, Parca), on the bytes of every profile of a busy server."""

import re
import subprocess
import urllib.request

from harness import check, run, wait_until
from pprof_bytes import Profile

# Types as Go has them: the scrapers find what they difference by exact name and unit.
TYPES = {
    "heap": (["alloc_objects/count", "alloc_space/bytes", "inuse_objects/count", "inuse_space/bytes"], "space/bytes"),
    "allocs": (["alloc_objects/count", "alloc_space/bytes", "inuse_objects/count", "inuse_space/bytes"], "space/bytes"),
    "block": (["contentions/count", "delay/nanoseconds"], "contentions/count"),
    "mutex": (["contentions/count", "delay/nanoseconds"], "contentions/count"),
    "goroutine": (["goroutine/count"], "goroutine/count"),
    "threadcreate": (["threadcreate/count"], "threadcreate/count"),
    "connections": (["connections/count", "held_space/bytes", "queued_space/bytes"], "connections/count"),
}
# Labels that may be there without being asked for: a block's size, and what the program itself set.
ALLOWED = {"heap": {"bytes", "route"}, "allocs": {"bytes", "route"}}


class Server:
    """examples/download_server with stuck clients: connections, tasks and labels all over it."""

    def __init__(self, lab):
        path = lab.path("file.bin")
        with open(path, "wb") as file:
            file.truncate(20_000_000)
        server = lab.start([lab.bin("download_server"), f"--file={path}", "--listen=127.0.0.1:0",
                            "--debug=127.0.0.1:0", "--mode=leaky"])
        port = server.wait_for(r"downloads on http://127\.0\.0\.1:(\d+)/")[1]
        self.downloads = f"http://127.0.0.1:{port}/"
        self.debug = server.wait_for(r"(http://127\.0\.0\.1:\d+)/debug/pprof/")[1]
        stuck = lab.start([lab.bin("stuck_client"), f"--port={port}", "--count=3", "--seconds=200"],
                          stdin=subprocess.PIPE)
        stuck.wait_for("stopped reading")
        # The client has stopped; that does not mean that the server has begun.
        wait_until(lambda: sum(sample["values"][3] for sample in self.get("heap").samples) >= 59_000_000,
                   "three downloads to be in memory")

    def get(self, name):
        with urllib.request.urlopen(f"{self.debug}/debug/pprof/{name}", timeout=60) as reply:
            check(reply.headers["Content-Type"] == "application/octet-stream", f"{name}: {reply.headers}")
            check("Content-Encoding" not in reply.headers, f"{name}: the body is gzip, the transfer is not")
            return Profile(reply.read())


def check_shape(name, profile, *, is_interval=False, allowed=None):
    types, period_type = TYPES[name]
    check(profile.sample_types == types, f"{name}: {profile.sample_types}")
    check(profile.period_type == period_type and profile.period >= 1, f"{name}: {profile.period_type}")
    check(all("-" not in each for each in profile.sample_types), f"{name}: Pyroscope wants no hyphen")
    check(profile.time_nanos > 0, f"{name}: no time")
    check((profile.duration_nanos > 0) == is_interval, f"{name}: {profile.duration_nanos} ns for an interval")
    check(profile.strings[0] == "", f"{name}: the first string is the empty one")
    for table in (profile.mappings, profile.locations, profile.functions):
        check([row[1][0] for row in table] == list(range(1, len(table) + 1)), f"{name}: ids are 1..N in order")
    addresses = [row.get(3, [0])[0] for row in profile.locations]
    check(0 not in addresses and len(set(addresses)) == len(addresses), f"{name}: an address each, and none is 0")
    for row in profile.locations:
        check(row.get(2, [0])[0] != 0, f"{name}: a location without a mapping")
        file = profile.mapping_file(row)
        real = file.startswith("/") and row[3][0] < 1 << 47
        check(real or file.startswith("["), f"{name}: {file} at {row[3][0]:#x}")
    for sample in profile.samples:
        check(len(sample["values"]) == len(types), f"{name}: {sample}")
        check(set(sample["labels"]) <= (allowed or ALLOWED.get(name, {"route"})), f"{name}: labels {sample['labels']}")
        for key, values in sample["labels"].items():
            check(re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", key) and len(values) == 1, f"{name}: {key} {values}")


def test_every_default_profile_has_gos_shape_and_no_label_that_changes(lab):
    server = Server(lab)
    for name in TYPES:
        profile = server.get(name)
        check_shape(name, profile)
        if name in ("heap", "allocs", "goroutine", "connections"):
            check(profile.samples, f"{name}: nothing in it")


def test_a_place_has_one_address_as_long_as_the_process_lives(lab):
    server = Server(lab)
    for name in ("heap", "goroutine", "connections"):
        before = server.get(name).addresses_by_name()
        after = server.get(name).addresses_by_name()
        both = before.keys() & after.keys()
        check(both, f"{name}: no function is in both")
        for key in both:
            check(before[key] & after[key], f"{name}: {key} moved from {before[key]} to {after[key]}")


def test_the_difference_of_two_looks_at_a_server_at_rest_is_nothing(lab):
    server = Server(lab)
    for name in ("goroutine", "connections"):
        first = lab.path(f"{name}.pb.gz")
        with urllib.request.urlopen(f"{server.debug}/debug/pprof/{name}", timeout=60) as reply:
            body = reply.read()
        with open(first, "wb") as file:
            file.write(body)
        text = lab.pprof("-top", f"-base={first}", f"{server.debug}/debug/pprof/{name}")
        check("Showing nodes accounting for 0" in text, f"{name}: a difference at rest:\n{text}")


if __name__ == "__main__":
    run(globals())
