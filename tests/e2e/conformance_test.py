"""The endpoint, row by row: each path with each parameter, valid and not, as clients and scrapers meet it.

A row of ANSWERS says what comes back over the wire. A row of PROFILES is fetched, and its bytes go
through what reads them for real: our own rules (heldby convert), google/pprof's Parse and
CheckValid, `go tool pprof -raw`, and the list of what Alloy, Pyroscope and Parca insist on.
A new endpoint is a new row.
"""

import concurrent.futures
import gzip
import http.client
import os
import re
import threading
import time
import urllib.parse
import urllib.request

from harness import check, need, run
from pprof_bytes import Profile
from shape_test import TYPES, Server, check_shape

ROOT = "/debug/pprof/"
TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"
BYTES = "application/octet-stream"
CPU = (["samples/count", "cpu/nanoseconds"], "cpu/nanoseconds")
WALL = (["samples/count", "time/nanoseconds"], "wallclock/nanoseconds")

METRICS = "text/plain; version=0.0.4; charset=utf-8"
BAD_SECONDS = 'invalid value for "seconds" - must be a positive integer'
NO_DELTA = '"seconds" parameter is not supported for this profile type'
BOTH = "seconds and debug params are incompatible"
UNKNOWN = "Unknown profile"

# Go's own names, those of scrapers that difference, and ours.
NAMED = ["allocs", "block", "connections", "goroutine", "heap", "mutex", "threadcreate"]
SINCE_LAST = ["delta_block", "delta_heap", "delta_mutex"]


class Answer:
    """What a request is to get. `body`: an exact line, or a pattern in slashes."""

    def __init__(self, method, target, status, kind=TEXT, body=None, headers=None, send=None):
        self.method, self.target, self.status, self.kind = method, target, status, kind
        self.body, self.headers, self.send = body, headers or {}, send

    def __str__(self):
        return f"{self.method} {self.target}"


def error(target, status, line, method="GET", **headers):
    return Answer(method, target, status, TEXT, line, {"X-Go-Pprof": "1", "Content-Disposition": None, **headers})


def download(target, name):
    return Answer("GET", target, 200, BYTES, None,
                  {"Content-Disposition": f'attachment; filename="{name}"', "Content-Encoding": None, "X-Go-Pprof": None})


def text(target, pattern):
    return Answer("GET", target, 200, TEXT, pattern, {"Content-Disposition": None, "X-Go-Pprof": None})


ANSWERS = [
    Answer("GET", "/debug/pprof", 301, TEXT, None, {"Location": "pprof/"}),
    Answer("GET", "/debug/pprof?a=b", 301, TEXT, None, {"Location": "pprof/?a=b"}),
    Answer("GET", ROOT, 200, HTML, "/<title>/debug/pprof/</title>/"),
    Answer("GET", "/debug/connections", 200, TEXT, "/held_bytes/"),
    Answer("GET", "/debug/connections?format=html", 200, HTML),
    Answer("GET", "/debug/connections?format=json", 200, "application/json"),
    Answer("GET", "/debug/tasks", 200, TEXT),
    Answer("GET", "/healthz", 200, TEXT, "ok"),
    Answer("GET", "/metrics", 200, METRICS, "/^# HELP heldby_heap_live_bytes /", {"Content-Encoding": None}),
    Answer("GET", "/metrics?seconds=1&debug=x", 200, METRICS, "/^# HELP/"),
    error("/metrics", 405, "Method Not Allowed", "POST", Allow="GET, HEAD"),
    error("/metrics/", 404, "404 page not found"),
    Answer("GET", ROOT + "cmdline", 200, TEXT, "/^[^\n]*download_server\0--file=[^\n]*[^\0\n]$/"),
    Answer("GET", ROOT + "symbol", 200, TEXT, "num_symbols: 1"),
    Answer("GET", ROOT + "symbol?0x1", 200, TEXT, "num_symbols: 1"),
    Answer("GET", ROOT + "symbol?%zz", 200, TEXT, "num_symbols: 1"),
    Answer("POST", ROOT + "symbol", 200, TEXT, "num_symbols: 1", send=b"0x1+0x2+nonsense+"),
    Answer("POST", ROOT + "symbol", 413, TEXT, send=b"+" * ((1 << 20) + 1)),
    error(ROOT + "symbol", 405, "Method Not Allowed", "PUT", Allow="GET, HEAD, POST"),
    error("/", 404, "404 page not found"),
    error("/debug", 404, "404 page not found"),
    error("/debug/pprofx", 404, "404 page not found"),
    error("/elsewhere", 404, "404 page not found", "POST"),
    error(ROOT + "nope", 404, UNKNOWN),
    error(ROOT + "nope?seconds=x&debug=1", 404, UNKNOWN),
    error(ROOT + "Heap", 404, UNKNOWN),
    error(ROOT + "heap/", 404, UNKNOWN),
    error(ROOT + "delta_allocs", 404, UNKNOWN),
    error(ROOT + "delta_", 404, UNKNOWN),
    error(ROOT + "heap?debug=%zz", 400, 'invalid percent-encoding in the value of query parameter "debug"'),
    error(ROOT + "%", 400, 'invalid percent-encoding in path "/debug/pprof/%"'),
    error(ROOT + "heap?labels=colour", 400, 'labels has "colour"; accepted: connection, task, state, age, or all'),
]
for name in NAMED:
    ANSWERS += [download(f"{ROOT}{name}{query}", name)
                for query in ("", "?debug=0", "?debug=x", "?debug=", "?gc=1", "?seconds=", "?unknown=1", "?labels=all")]
    # In Go's order: the name, the number, whether there are deltas, then debug.
    ANSWERS += [error(f"{ROOT}{name}?seconds={value}", 400, BAD_SECONDS)
                for value in ("x", "0", "-1", "1.5", "1s", "99999999999999999999", "x&seconds=1", "0&debug=1", "x&debug=1")]
    ANSWERS += [error(f"{ROOT}{name}?seconds=1&debug={value}", 400, BOTH) for value in ("1", "2", "-1")]
    ANSWERS += [text(f"{ROOT}{name}?debug={value}", "/./") for value in ("1", "2", "-1")]
for name in SINCE_LAST:
    ANSWERS += [download(f"{ROOT}{name}{query}", name)
                for query in ("", "?gc=1", "?seconds=1&seconds=2", "?seconds=x", "?labels=all", "?frames=all")]
    ANSWERS += [text(f"{ROOT}{name}?debug=1", "/./")]
for name in NAMED + SINCE_LAST + ["", "cmdline", "nope"]:
    ANSWERS += [error(ROOT + name, 405, "Method Not Allowed", method, Allow=None if name in ("block", "mutex") else "GET, HEAD")
                for method in ("DELETE", "OPTIONS", "PATCH", "NONSENSE")]

# The texts that other tools parse begin like this.
ANSWERS += [
    text(ROOT + "heap?debug=1", r"/^heap profile: \d+: \d+ \[\d+: \d+\] @ heap/\d+\n/"),
    text(ROOT + "allocs?debug=1", r"/^heap profile: \d+: \d+ \[\d+: \d+\] @ heap/\d+\n/"),
    text(ROOT + "delta_heap?debug=1", r"/^heap profile: \d+: \d+ \[\d+: \d+\] @ heap/\d+\n/"),
    text(ROOT + "goroutine?debug=1", r"/^goroutine profile: total \d+\n/"),
    text(ROOT + "goroutine?debug=2", r"/^goroutine \d+ \[[a-z ]+[^\n]*:\n/"),
    text(ROOT + "threadcreate?debug=1", r"/^threadcreate profile: total \d+\n/"),
    text(ROOT + "connections?debug=1", r"/^connections profile: total \d+\n/"),
    text(ROOT + "block?debug=1", r"/^--- contention:\ncycles/second=\d+\n/"),
    text(ROOT + "mutex?debug=1", r"/^--- mutex:\ncycles/second=\d+\nsampling period=\d+\n/"),
]

# What takes its time, with numbers that are none; Go's own defaults where Go has them.
for value in ("0", "-1", "1001", "x", "1e3", "99.5", "99999999999999999999"):
    ANSWERS.append(error(f"{ROOT}profile?seconds=1&hz={value}", 400, f'hz is "{value}"; accepted: 1 to 1000'))
ANSWERS.append(error(f"{ROOT}profile?seconds=1&labels=colour", 400,
                     'labels has "colour"; accepted: connection, task, state, age, or all'))
ANSWERS += [download(f"{ROOT}profile?seconds=1&hz={value}", "profile") for value in ("1", "1000", "")]
for value in ("0", "-1", "x", "1.5", "99999999999999999999"):
    ANSWERS.append(error(f"/debug/fgprof?seconds={value}", 400, f'seconds is "{value}"; accepted: a positive integer'))
ANSWERS += [error("/debug/fgprof?seconds=1&format=svg", 400, 'format is "svg"; accepted: pprof or folded'),
            download("/debug/fgprof?seconds=1", "fgprof"), download("/debug/fgprof?seconds=1&format=pprof", "fgprof"),
            text("/debug/fgprof?seconds=1&format=folded", r"/^[^\n]+ \d+\n/")]
ANSWERS += [download(f"{ROOT}trace?seconds={value}", "trace") for value in ("0.1", "1e-9", "x", "0", "-1", "nan", "")]
for target in ("/debug/fgprof", ROOT + "profile", ROOT + "trace"):
    ANSWERS += [error(target, 405, "Method Not Allowed", method, Allow="GET, HEAD") for method in ("POST", "PUT", "DELETE")]
    ANSWERS.append(error(target + "?seconds=%zz", 400,
                         'invalid percent-encoding in the value of query parameter "seconds"'))

# Rates are set by POST, and only where there is one.
for name, parameter, most, meaning in (
        ("block", "rate", 3_600_000_000_000, "nanoseconds from 0 (off) and 1 (every wait)"),
        ("mutex", "fraction", 10_000, "one contention in N, from 0 (off) and 1 (all)")):
    for value in ("", "x", "-1", "1.5", str(most + 1), "99999999999999999999"):
        ANSWERS.append(error(f"{ROOT}{name}?{parameter}={value}", 400,
                             f'"{parameter}" is "{value}"; accepted: a whole number, {meaning}, to {most}', "POST"))
    ANSWERS += [error(f"{ROOT}{name}{query}", 400, f'/^"{parameter}" is ""; accepted/', "POST") for query in ("", "?seconds=1")]
    # Each answer tells what the one before set; off again at the end.
    before = 0
    for value in (1, most, 0):
        ANSWERS.append(Answer("POST", f"{ROOT}{name}?{parameter}={value}", 200, TEXT, f"before: {before}\nnow: {value}"))
        before = value
    ANSWERS += [error(f"{ROOT}{name}?{parameter}=1", 405, "Method Not Allowed", "PUT", Allow="GET, HEAD, POST"),
                error(f"{ROOT}delta_{name}?{parameter}=1", 405, "Method Not Allowed", "POST", Allow="GET, HEAD")]
ANSWERS.append(error(f"{ROOT}heap?rate=1", 405, "Method Not Allowed", "POST", Allow="GET, HEAD"))


class Bytes:
    """A profile to be had, and what it is."""

    def __init__(self, target, types, seconds=0, *, is_interval=False, most_seconds=None):
        self.target, self.types = target, types
        self.seconds, self.is_interval, self.most_seconds = seconds, is_interval or seconds > 0, most_seconds

    def __str__(self):
        return self.target


PROFILES = [Bytes(ROOT + name, TYPES[name]) for name in NAMED]
PROFILES += [Bytes(f"{ROOT}{name}?labels=all", TYPES[name]) for name in ("heap", "goroutine", "connections")]
PROFILES += [Bytes(f"{ROOT}heap?frames=all&gc=1", TYPES["heap"])]
PROFILES += [Bytes(f"{ROOT}{name}?seconds=1", TYPES[name], seconds=1) for name in NAMED]
PROFILES += [Bytes(f"{ROOT}{name}?seconds=1&seconds=20", TYPES[name], seconds=1) for name in ("heap", "mutex")]
PROFILES += [Bytes(ROOT + name, TYPES[name.removeprefix("delta_")], is_interval=True) for name in SINCE_LAST]
PROFILES += [Bytes(f"{ROOT}profile?seconds={query}", CPU, seconds=1) for query in ("1", "1&seconds=20", "1&debug=1", "1&hz=50", "1&hz=1000", "1&labels=all")]
PROFILES += [Bytes(f"/debug/fgprof?seconds={query}", WALL, seconds=1) for query in ("1", "1&seconds=20", "1&debug=1")]

def ask(base, method, target, body=None, seconds=60):
    """(status, headers, body), of a connection of its own."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(base).netloc, timeout=seconds)
    try:
        connection.request(method, target, body=body)
        reply = connection.getresponse()
        return reply.status, reply.headers, reply.read()
    finally:
        connection.close()


def check_body(row, body):
    if row.body is None:
        return
    said = body.decode()
    if len(row.body) > 1 and row.body[0] == row.body[-1] == "/":
        check(re.search(row.body[1:-1], said), f"{row}: {said[:300]!r} has no {row.body}")
    else:
        check(said == row.body + "\n", f"{row}: {said[:300]!r}, wanted {row.body!r}")


def check_answer(base, row):
    status, headers, body = ask(base, row.method, row.target, row.send)
    check(status == row.status, f"{row}: {status} {body[:200]!r}, wanted {row.status}")
    check(headers["Content-Type"] == row.kind, f"{row}: {headers['Content-Type']}")
    check(headers["X-Content-Type-Options"] == "nosniff", f"{row}: a browser may guess the type")
    check("Access-Control-Allow-Origin" not in headers, f"{row}: a foreign page may read it")
    for key, value in row.headers.items():
        if key == "Allow" and value is None:
            check("GET, HEAD" in headers["Allow"], f"{row}: Allow: {headers['Allow']}")
        else:
            check(headers[key] == value, f"{row}: {key}: {headers[key]}, wanted {value}")
    check_body(row, body)


def test_every_path_and_parameter_is_answered_as_its_row_says(lab):
    base = Server(lab).debug
    for row in ANSWERS:
        check_answer(base, row)
    check(len(ANSWERS) > 200, f"{len(ANSWERS)} rows")


def test_head_has_the_status_and_headers_of_get_and_no_body(lab):
    base = Server(lab).debug
    for row in ANSWERS:
        if row.method != "GET" or "seconds=1&seconds" in row.target:
            continue
        status, headers, body = ask(base, "HEAD", row.target)
        check(status == row.status and body == b"", f"HEAD {row.target}: {status} {body[:100]!r}")
        check(headers["Content-Type"] == row.kind, f"HEAD {row.target}: {headers['Content-Type']}")
        check(int(headers["Content-Length"]) > 0, f"HEAD {row.target}: {headers['Content-Length']}")


def test_the_index_lists_every_profile_in_the_form_that_tools_scrape(lab):
    base = Server(lab).debug
    page = ask(base, "GET", ROOT)[2].decode()
    rows = re.findall(r"<tr><td>(\d+)</td><td><a href='([^']+)'>([^<]+)</a></td></tr>", page)
    names = [name for _, _, name in rows]
    check(names == sorted(names) and set(NAMED + SINCE_LAST + ["cmdline", "profile", "symbol"]) <= set(names), f"{names}")
    for _, href, name in rows:
        if name not in ("profile", "trace", "fgprof"):  # those take their time
            check(ask(base, "GET", ROOT + href)[0] == 200, f"{name}: the link {href} is dead")


def take(base, row):
    start = time.monotonic()
    status, headers, body = ask(base, "GET", row.target, seconds=120)
    took = time.monotonic() - start
    check(status == 200, f"{row}: {status} {body[:200]!r}")
    check(headers["Content-Type"] == BYTES and body, f"{row}: {headers['Content-Type']}, {len(body)} bytes")
    check(took >= row.seconds * 0.99, f"{row}: an interval of {row.seconds} s was over after {took}")
    return body


def check_limits(row, body, profile):
    """R4, R12, R13: what Alloy's table and Pyroscope's limits take."""
    check(len(profile.sample_types) <= 4, f"{row}: {profile.sample_types}")
    check(len(gzip.decompress(body)) <= 4 << 20 and len(profile.samples) <= 16_000, f"{row}: too large for Pyroscope")
    check(all(len(sample["stack"]) <= 1000 for sample in profile.samples), f"{row}: a deep stack")
    check(all(len(each) <= 65_535 for each in profile.strings), f"{row}: a long string")
    check(all(len(sample["labels"]) <= 100 for sample in profile.samples), f"{row}: many labels")


def checkvalid(lab, files):
    """google/pprof's own Parse and CheckValid."""
    env = lab.go_env()
    env.update(GO111MODULE="off", GOPATH="/usr/share/gocode")
    source = os.path.join(lab.source, "tests", "unit", "pprof", "checkvalid", "checkvalid.go")
    done = lab.run_ok([need("go"), "run", source, *files], env=env, seconds=200)
    check(done.out.count("period ") >= len(files), "checkvalid read fewer profiles than it was given")


def test_every_profile_is_valid_to_every_reader(lab):
    base = Server(lab).debug
    # A CPU profile may refuse company; the others go side by side, as scrapers ask for them.
    alone = [row for row in PROFILES if "/profile" in row.target]
    with concurrent.futures.ThreadPoolExecutor(max_workers=4) as pool:
        bodies = dict(zip(PROFILES, pool.map(lambda row: None if row in alone else take(base, row), PROFILES)))
    bodies.update({row: take(base, row) for row in alone})
    files = []
    for number, row in enumerate(PROFILES):
        profile = Profile(bodies[row])
        TYPES["row"] = row.types
        # Those of a waiting thread, and those asked for, have tests of their own.
        is_free = "labels=" in row.target or "block" in row.target or "mutex" in row.target
        found = {key for sample in profile.samples for key in sample["labels"]}
        check_shape("row", profile, is_interval=row.is_interval, allowed=found if is_free else {"bytes", "route"})
        check_limits(row, bodies[row], profile)
        file = lab.path(f"row{number}.pb.gz")
        with open(file, "wb") as out:
            out.write(bodies[row])
        lab.run_ok([lab.heldby, "convert", file, lab.path("converted.pb.gz")])
        raw = lab.pprof("-raw", file)
        check(" ".join(row.types[0]) in raw.replace("[dflt]", ""), f"{row}: go tool pprof reads other columns\n{raw[:500]}")
        files.append(file)
    checkvalid(lab, files)


# What a scraper differences; counters by identity, as Alloy has it: addresses and labels.
COUNTERS = {"allocs": 2, "heap": 2, "block": 2, "mutex": 2}


def totals(name, profile):
    """identity -> the columns that only grow."""
    result = {}
    for sample in profile.samples:
        stack = tuple(profile.locations[i - 1][3][0] for i in sample["stack"])
        key = (stack, tuple(sorted((key, tuple(map(str, values))) for key, values in sample["labels"].items())))
        check(key not in result, f"{name}: one identity in two samples: {key}")
        # Signed, as the format has it.
        result[key] = [value - (1 << 64) if value >> 63 else value for value in sample["values"][:COUNTERS[name]]]
    return result


def column_sums(rows):
    return [sum(column) for column in zip(*rows.values())]


def keep_busy(url, stop):
    while not stop.is_set():
        with urllib.request.urlopen(url, timeout=60) as reply:
            reply.read(1 << 20)
        stop.wait(0.2)


def scrape(base, pool):
    """Five endpoints at once, one of them long. name -> body."""
    targets = {"allocs": "allocs", "block": "block", "goroutine": "goroutine", "mutex": "mutex",
               "profile": "profile?seconds=1"}
    asked = {name: pool.submit(ask, base, "GET", ROOT + target) for name, target in targets.items()}
    bodies = {}
    for name, future in asked.items():
        status, headers, body = future.result()
        check(status == 200 and headers["Content-Type"] == BYTES and body[:2] == b"\x1f\x8b", f"{name}: {status} {body[:200]!r}")
        bodies[name] = body
    return bodies


def check_growth(before, bodies):
    for name in ("allocs", "block", "mutex"):
        now = totals(name, Profile(bodies[name]))
        for key, values in before.get(name, {}).items():
            if not {label for label, _ in key[1]} <= {"bytes", "route"}:
                continue  # a mark of what is not over yet goes when it is
            check(key in now, f"{name}: a stack is gone: {key}")
            check(all(a <= b for a, b in zip(values, now[key])), f"{name}: {values} became {now[key]}")
        before[name] = now


def test_scrapers_see_no_failure_and_totals_that_only_grow(lab):
    """Some seconds here; HELDBY_SCRAPE_SECONDS=60 for the whole minute."""
    seconds = int(os.environ.get("HELDBY_SCRAPE_SECONDS", "12"))
    server = Server(lab)
    before, since_last = {}, {}
    stop = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(max_workers=6) as pool:
        busy = pool.submit(keep_busy, server.downloads, stop)
        try:
            rounds = max(3, seconds // 2)
            for number in range(rounds):
                begin = time.monotonic()
                check_growth(before, scrape(server.debug, pool))
                profile = Profile(ask(server.debug, "GET", ROOT + "delta_heap")[2])
                check(profile.duration_nanos > 0, "a delta without an interval")
                for key, values in totals("heap", profile).items():
                    check(min(values) >= 0, f"delta_heap: {values}")
                    since_last[key] = [a + b for a, b in zip(since_last.get(key, [0, 0]), values)]
                check(not busy.done(), "the download ended")
                time.sleep(max(0.0, begin + 2 - time.monotonic()) if number + 1 < rounds else 0)
        finally:
            stop.set()
        busy.result()
    # All that the deltas told is all there is: what was there before the last, and no more than after.
    earlier = column_sums(totals("allocs", Profile(ask(server.debug, "GET", ROOT + "allocs")[2])))
    for key, values in totals("heap", Profile(ask(server.debug, "GET", ROOT + "delta_heap")[2])).items():
        since_last[key] = [a + b for a, b in zip(since_last.get(key, [0, 0]), values)]
    later = column_sums(totals("allocs", Profile(ask(server.debug, "GET", ROOT + "allocs")[2])))
    told = column_sums(since_last)
    check(all(a <= b <= c for a, b, c in zip(earlier, told, later)) and told[1] > 0,
          f"the deltas add up to {told}, allocs says {earlier} before and {later} after the last")


if __name__ == "__main__":
    run(globals())
