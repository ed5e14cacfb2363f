"""/debug/leaks, heldby leaks and since=, by the two examples and the programs of the corpus."""

import json
import re
import subprocess
import time

from harness import check, need, run, wait_until
from metrics_test import download_server, stuck_clients
from pprof_bytes import Profile


def first_line(lab, address):
    """The first verdict: "LEAK: ..."; empty while there is none."""
    text = lab.fetch(address + "/debug/leaks")[1].decode()
    found = re.search(r"^1\. (.*)$", text, re.MULTILINE)
    return found[1] if found else ""


def leaky_client(lab, mode, calls=40):
    process = lab.start([lab.bin("leaky_client"), "--listen=127.0.0.1:0", f"--mode={mode}", f"--calls={calls}"],
                        stdin=subprocess.PIPE)
    return process, process.wait_for(r"(http://127\.0\.0\.1:\d+)/debug/pprof/")[1]


def test_the_first_line_on_a_slow_reader_says_route_count_bytes_silence_and_line(lab):
    _, port, debug = download_server(lab, "leaky")
    clients = stuck_clients(lab, port)
    line = wait_until(lambda: (line := first_line(lab, debug)).startswith("LEAK: 3 ") and line, "a verdict", 60, 0.5)
    check(re.match(r"LEAK: 3 connections of /download hold 11[45]\.\d\dMB for peers that have not read for \d+ s; "
                   r"11[45]\.\d\dMB allocated at File::ReadWhole download_server\.cc:\d+ < ", line), line)
    source = open(f"{lab.source}/examples/download_server.cc", encoding="utf-8").read().splitlines()
    number = int(re.search(r"ReadWhole download_server\.cc:(\d+)", line)[1])
    check("content(size_bytes())" in source[number - 1], f"line {number} is {source[number - 1]!r}")
    done = lab.run([lab.bin("heldby"), "leaks", debug.removeprefix("http://")])
    check(done.status == 3 and "1. LEAK: 3 connections" in done.out, f"{done.status} {done.out} {done.err}")
    clients.popen.stdin.close()


def test_the_first_line_on_unclosed_bodies_says_count_peers_and_who_called(lab):
    process, debug = leaky_client(lab, "leak")
    line = wait_until(lambda: (line := first_line(lab, debug)).startswith("LEAK: 40 ") and line, "a verdict", 60, 0.5)
    check(re.match(r"LEAK: 40 outbound connections .*at rest for \d+ s.*nobody reads or closes; opened at .*"
                   r"Transport::RoundTrip leaky_client\.cc:\d+ < CheckHealth leaky_client\.cc:\d+", line), line)
    process.popen.stdin.close()


def test_the_fixed_examples_have_no_leak(lab):
    _, port, fixed = download_server(lab, "chunked")
    clients = stuck_clients(lab, port)
    process, pooled = leaky_client(lab, "fixed")
    until = time.monotonic() + 15
    while time.monotonic() < until:
        for debug in (fixed, pooled):
            report = json.loads(lab.fetch(debug + "/debug/leaks?format=json")[1])
            check(report["schema"] == "heldby-leaks/1" and report["leaks"] == 0, f"{debug}: {report}")
        time.sleep(0.5)
    done = lab.run([lab.bin("heldby"), "leaks", "-json", pooled.removeprefix("http://")])
    check(done.status == 0 and json.loads(done.out)["leaks"] == 0, f"{done.status} {done.out} {done.err}")
    clients.popen.stdin.close()
    process.popen.stdin.close()


def corpus(lab, name, seconds, **variables):
    process = lab.start([lab.bin(f"corpus/{name}"), "--seed=5", f"--seconds={seconds}"],
                        env=lab.env(HELDBY_SAMPLE_BYTES=16384, HELDBY_LEAKS_WINDOW="6s", **variables))
    return process.wait_for(r"serving (http://127\.0\.0\.1:\d+)")[1]


def test_growth_is_named_and_what_is_expected_is_not_counted(lab):
    path = lab.path("expected")
    with open(path, "w", encoding="utf-8") as file:
        file.write("# a pattern, and why\n*AnswerCache::Get*   it is looked at on Monday\n")
    for variables, first in (({}, "LEAK: "), ({"HELDBY_LEAKS_EXPECTED": path}, "LEAK: ")):
        debug = corpus(lab, "leak_unbounded_cache", 100, **variables)
        line = wait_until(lambda: "AnswerCache::Get" in (line := first_line(lab, debug)) and line.startswith(first) and line,
                          "the cache to be named", 90, 0.5)
        check(re.search(r"MB and growing by [\d.]+[MG]B an hour, for \d+ s; allocated at .*leak_unbounded_cache\.cc:1\d", line), line)
        report = json.loads(lab.fetch(debug + "/debug/leaks?format=json")[1])
        verdict = report["verdicts"][0]
        check(verdict["slope_per_hour"] > 2 * verdict["slope_error"] > 0 and verdict["since_s"] > 0, f"{verdict}")
        check((verdict["expected"] == "it is looked at on Monday") == bool(variables), f"{verdict}")
        check((report["leaks"] == 0) == bool(variables), f"{report}")


def test_what_changed_is_answered_at_the_first_visit(lab):
    debug = corpus(lab, "leak_per_request", 100)

    def since(what):
        status, body = lab.fetch(f"{debug}/debug/pprof/{what}")
        check(status == 200, f"{what}: {status} {body[:200]}")
        return Profile(body)

    def grown():
        profile = since("heap?since=5s")
        is_much = sum(sample["values"][3] for sample in profile.samples) > 500_000
        return is_much and profile.duration_nanos > 4e9 and profile

    profile = wait_until(grown, "growth", 60, 0.5)
    check(profile.duration_nanos < 60e9, f"{profile.duration_nanos}")
    top = lab.top(f"{debug}/debug/pprof/heap?since=5s", "-sample_index=inuse_space", "-cum")
    check("MakeContext" in top.text, top.text)
    for what in ("allocs?since=5s", "goroutine?since=5s", "connections?since=1h"):
        since(what)
    status, index = lab.fetch(debug + "/debug/pprof/")
    check(status == 200 and b"heap?since=10m" in index and b"../leaks" in index, f"{index}")


def test_bad_questions_about_the_past_are_told_what_is_accepted(lab):
    debug = corpus(lab, "healthy_pool", 60)
    for query, words in (("heap?since=0", "accepted: a time such as"), ("heap?since=-5m", "accepted"), ("heap?since=soon", "accepted"),
                         ("heap?since=5m&seconds=1", "incompatible"), ("heap?since=5m&debug=1", "incompatible"),
                         ("mutex?since=5m", "accepted: heap, allocs, goroutine, connections")):
        status, body = lab.fetch(f"{debug}/debug/pprof/{query}")
        check(status == 400 and words in body.decode() and body.count(b"\n") == 1, f"{query}: {status} {body}")


def test_a_bad_setting_is_one_line_and_the_program_serves(lab):
    for name, value in (("HELDBY_LEAKS_WINDOW", "often"), ("HELDBY_HISTORY_BYTES", "12"), ("HELDBY_LEAKS_EXPECTED", "/nowhere")):
        process = lab.start([need("sleep"), "100"],
                            env=lab.preloaded(HELDBY_LISTEN="127.0.0.1:0", **{name: value}))
        address = lab.served_address(process.pid)
        check(lab.fetch(address + "/debug/leaks")[0] == 200, "no page")
        lines = [line for line in process.err().splitlines() if name in line]
        check(len(lines) == 1 and value in lines[0] and "accepted" in lines[0], process.err())


def test_who_is_not_watched_is_told_so(lab):
    process = lab.start([need("sleep"), "100"],
                        env=lab.preloaded(HELDBY_LISTEN="127.0.0.1:0", HELDBY_LEAKS_WINDOW="0"))
    address = lab.served_address(process.pid)
    check(b"nobody watches" in lab.fetch(address + "/debug/leaks")[1], "the page does not say so")
    status, body = lab.fetch(address + "/debug/pprof/heap?since=5m")
    check(status == 503 and b"no LeakWatch" in body, f"{status} {body}")
    check(b"heldby_leaks" not in lab.fetch(address + "/metrics")[1], "a metric of nobody")


if __name__ == "__main__":
    run(globals())
