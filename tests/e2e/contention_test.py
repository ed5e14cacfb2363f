"""Waits of real programs, as go tool pprof shows them: counts are exact, lengths are the program's own, and
who waits for ever is seen doing it."""

import os
import re
import subprocess
import urllib.error
import urllib.request

from harness import check, need, run, wait_until

EVERY_WAIT = {"HELDBY_BLOCK_PROFILE_RATE": 1, "HELDBY_MUTEX_PROFILE_FRACTION": 1}


def build_waits(lab):
    return lab.compile("waits.cc", "waits", "-pthread")


def start_waits(lab, what, program=None, **settings):
    process = lab.start([program or build_waits(lab), what], stdin=subprocess.PIPE,
                        env=lab.preloaded(HELDBY_LISTEN="127.0.0.1:0", **settings))
    process.wait_for(r"ready", 60)
    return process, lab.served_address(process.pid) + "/debug/pprof/"


def measured(process):
    """{function: (waits, nanoseconds)} by the program's own clock."""
    return {name: (int(count), int(delay)) for name, count, delay in
            re.findall(r"^waited (\w+) (\d+) (\d+)$", process.out(), re.MULTILINE)}


def flat(lab, source, index, unit):
    """{function: value} of `go tool pprof -top`; a comment of the profile is no row."""
    text = lab.pprof("-top", f"-unit={unit}", f"-sample_index={index}", "-nodefraction=0", "-nodecount=2000", source)
    rows = re.findall(r"^\s*(-?[\d.]+)\S*\s+-?[\d.]+%\s+-?[\d.]+%\s+-?[\d.]+\S*\s+-?[\d.]+%\s+(.+)$", text, re.MULTILINE)
    return {name.strip(): float(value) for value, name in rows}


def save(lab, url, name):
    status, body = lab.fetch(url)
    check(status == 200, f"{url}: {status}\n{body[:500]}")
    path = lab.path(name)
    with open(path, "wb") as file:
        file.write(body)
    return path


def post(url, **headers):
    request = urllib.request.Request(url, method="POST", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def near(counted, own, what):
    check(abs(counted - own) <= 0.05 * own, f"{what}: the profile says {counted} ns, the program {own} ns")


def test_waits_of_known_length_are_counted_exactly(lab):
    process, url = start_waits(lab, "known", **EVERY_WAIT)
    known = measured(process)
    check(len(known) == 6, f"the program waits in six ways:\n{process.out()}")
    block = save(lab, url + "block", "block.pb.gz")
    counts, delays = flat(lab, block, "contentions", "count"), flat(lab, block, "delay", "ns")
    for name, (count, delay_ns) in known.items():
        check(counts.get(name) == count, f"{name}: {counts.get(name)} waits in the profile, {count} in the program")
        near(delays[name], delay_ns, name)
    # Who made them wait: read locks and write locks are given up by the same function.
    mutex = save(lab, url + "mutex", "mutex.pb.gz")
    counts, delays = flat(lab, mutex, "contentions", "count"), flat(lab, mutex, "delay", "ns")
    check(counts.get("HoldsMutex") == known["WaitsForMutex"][0], f"mutex: {counts}")
    near(delays["HoldsMutex"], known["WaitsForMutex"][1], "HoldsMutex")
    check(counts.get("HoldsShared") == known["WaitsToRead"][0] + known["WaitsToWrite"][0], f"mutex: {counts}")
    near(delays["HoldsShared"], known["WaitsToRead"][1] + known["WaitsToWrite"][1], "HoldsShared")


def test_a_deadlocked_pair_shows_up_while_it_waits(lab):
    process, url = start_waits(lab, "deadlock", HELDBY_BLOCK_PROFILE_RATE=1000)
    pair = ("LocksFirstThenSecond", "LocksSecondThenFirst")

    def both():
        found = flat(lab, save(lab, url + "block", "block.pb.gz"), "contentions", "count")
        return all(found.get(name) == 1 for name in pair)

    wait_until(both, "both of the pair to wait")
    before = save(lab, url + "block", "before.pb.gz")
    after = save(lab, url + "block", "after.pb.gz")
    # Still the same two waits, only longer: no value falls.
    for index, unit in (("contentions", "count"), ("delay", "ns")):
        first, second = flat(lab, before, index, unit), flat(lab, after, index, unit)
        for name in pair:
            check(second[name] >= first[name] > 0, f"{name}, {index}: {first[name]}, then {second[name]}")
    check(second["LocksFirstThenSecond"] > first["LocksFirstThenSecond"], "the wait does not grow")
    check("waits under way: 2; the longest: " in lab.pprof("-comments", after), lab.pprof("-comments", after))
    tags = lab.pprof("-tags", save(lab, url + "block?labels=state", "state.pb.gz"))
    check(re.search(r"state:.*\n.*waiting", tags) and re.search(r"lock:.*\n.*mutex", tags), tags)
    check(process.popen.poll() is None, "it has ended")


def test_the_profiles_are_switched_on_in_a_running_server_by_post(lab):
    process, url = start_waits(lab, "idle")
    for name in ("block", "mutex"):
        check(not flat(lab, save(lab, url + name, "off.pb.gz"), "contentions", "count"), f"{name} is not empty")
        check("is off" in lab.pprof("-comments", lab.path("off.pb.gz")), lab.pprof("-comments", lab.path("off.pb.gz")))
    # Asking changes nothing, whatever is in the query.
    check(lab.fetch(url + "block?rate=1&debug=1")[0] == 200, "a parameter that is not for GET")
    check(b"block_profile_rate_ns = 0" in lab.fetch(url + "block?debug=1")[1], "a GET has changed the rate")
    check(post(url + "block?rate=1") == (200, "before: 0\nnow: 1\n"), "POST block")
    check(post(url + "mutex?fraction=1") == (200, "before: 0\nnow: 1\n"), "POST mutex")
    process.popen.stdin.write(b"\n")
    process.popen.stdin.flush()
    process.wait_for(r"waited WaitsForMutex 1 \d+")
    for name, function in (("block", "WaitsForMutex"), ("mutex", "HoldsMutex")):
        counts = flat(lab, save(lab, url + name, "on.pb.gz"), "contentions", "count")
        check(counts.get(function) == 1, f"{name}: {counts}")
    check(post(url + "block?rate=0") == (200, "before: 1\nnow: 0\n"), "POST block, off")
    check(flat(lab, save(lab, url + "block", "off.pb.gz"), "contentions", "count").get("WaitsForMutex") == 1,
          "what was counted has gone")


def test_a_bad_rate_is_refused_with_what_is_accepted(lab):
    _, url = start_waits(lab, "idle")
    for name, parameter, most in (("block", "rate", "3600000000000"), ("mutex", "fraction", "10000")):
        for value in ("", "often", "-1", "1.5", "99999999999999999999", str(int(most) + 1)):
            status, text = post(f"{url}{name}?{parameter}={value}")
            check(status == 400 and parameter in text and f'"{value}"' in text and most in text, f"{status} {text}")
    check(post(url + "heap?rate=1")[0] == 405, "POST heap")
    host = url.split("/")[2]
    status, text = post(url + "block?rate=1", Origin="http://evil.example")
    check(status == 403 and "origin" in text, f"another origin: {status} {text}")
    status, text = post(url + "block?rate=1", Host="evil.example")
    check(status == 403, f"another host than {host}: {status} {text}")
    check(b"block_profile_rate_ns = 0" in lab.fetch(url + "block?debug=1")[1], "a refused POST has changed the rate")


def test_both_texts_of_contention_are_read_back_by_pprof(lab):
    _, url = start_waits(lab, "known", **EVERY_WAIT)
    for name, function in (("block", "WaitsForMutex"), ("mutex", "HoldsMutex")):
        text = save(lab, f"{url}{name}?debug=1", f"{name}.txt")
        whole = save(lab, url + name, f"{name}.pb.gz")
        for index, unit in (("contentions", "count"), ("delay", "ns")):
            ours, theirs = flat(lab, whole, index, unit), flat(lab, text, index, unit)
            check(len(theirs) > 0 and sum(theirs.values()) > 0, f"{name}: {theirs}")
            near(sum(theirs.values()), sum(ours.values()), f"{name} as text, {index}")
        check(function in open(text, encoding="utf-8").read(), f"{name}: no frames in the text")


def test_waits_for_an_absl_mutex_are_in_the_mutex_profile(lab):
    flags = lab.run_ok([need("pkg-config"), "--libs", "absl_synchronization", "absl_time"]).out.split()
    program = lab.compile("absl_mutex.cc", "absl_mutex", *lab.linked_flags(), *flags)
    done = lab.run_ok([program])
    count, delay_ns = map(int, re.search(r"^waited (\d+) (\d+)$", done.out, re.MULTILINE).groups())
    counted = re.search(r"^counted (\d+) (\d+) GivesUp$", done.out, re.MULTILINE)
    check(counted, f"no wait is counted for who unlocked:\n{done.out}")
    check(int(counted[1]) == count, f"{count} waits:\n{done.out}")
    near(int(counted[2]), delay_ns, "GivesUp")
    second = lab.run_ok([program, "second"])
    check("refused: absl::RegisterMutexProfiler() has been called" in second.out and second.out.endswith("done\n"),
          f"{second.out}{second.err}")
    check(second.err == "", f"a word on stderr: {second.err}")


def test_hosts_whose_allocator_locks_run_on_while_every_wait_is_recorded(lab):
    program = build_waits(lab)
    for allocator in ("libtcmalloc.so.4", "libjemalloc.so.2", "libmimalloc.so.2"):
        path = f"/usr/lib/x86_64-linux-gnu/{allocator}"
        check(os.path.exists(path), f"{path} is missing; ./dev setup installs it")
        env = lab.preloaded(HELDBY_SAMPLE_BYTES=1, **EVERY_WAIT)
        env["LD_PRELOAD"] += ":" + path
        done = lab.run([program, "known"], env=env, stdin=subprocess.DEVNULL)
        check(done.status == 0 and done.err == "" and done.out.endswith("ready\n"),
              f"{allocator}: {done.status}\n{done.out}{done.err}")


if __name__ == "__main__":
    run(globals())
