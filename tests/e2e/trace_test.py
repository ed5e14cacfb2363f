"""A trace is what became of each task, connection and thread, in a file that keeps every rule of its format."""

import os
import re
import subprocess
import threading

from harness import check, run, wait_until
from trace_rules import TraceFile

BEFORE, AFTER = "before the trace", "still there when the trace ended"


class Traced:
    """A trace that is fetched while `work` is done again and again."""

    def __init__(self, lab, endpoint, seconds, work=None):
        self.status = self.body = None
        fetching = threading.Thread(target=self._fetch, args=(lab, f"{endpoint}/debug/pprof/trace?seconds={seconds}"))
        fetching.start()
        while fetching.is_alive():
            if work:
                work()
            fetching.join(0.01)
        check(self.status == 200, f"the trace answers {self.status}: {self.body[:300]}")
        self.file = TraceFile(self.body)

    def _fetch(self, lab, url):
        self.status, self.body = lab.fetch(url, 60)


def whole(lives):
    """Those that began and ended meanwhile."""
    return [life for life in lives if "begin" not in life.args and "end" not in life.args]


def download_server(lab, **options):
    path = lab.path("file")
    with open(path, "wb") as file:
        file.write(os.urandom(300_000))
    server = lab.start([lab.bin("download_server"), f"--file={path}", "--listen=127.0.0.1:0",
                        "--debug=127.0.0.1:0", "--mode=chunked"], **options)
    return server.wait_for(r"debug endpoint on (\S+)/debug/pprof/")[1], server.wait_for(r"downloads on (\S+)")[1]


def test_a_trace_shows_what_became_of_each_download(lab):
    debug, downloads = download_server(lab)
    trace = Traced(lab, debug, 2, lambda: check(lab.fetch(downloads)[0] == 200, "a download")).file
    done = whole(trace.of("task", "download"))
    check(done, f"no download from its beginning to its end: {[vars(life) for life in trace.lives]}")
    for life in done:
        check("download_server.cc:" in life.args["made"] and life.args["labels.route"] == "/download", vars(life))
    connections = whole(trace.of("connection", "inbound connection"))
    check(connections, "no connection from its beginning to its end")
    for life in connections:
        check(re.fullmatch(r"127\.0\.0\.1:\d+", life.args.get("peer", "")), vars(life))
        check({"reading the request", "sending the file"} <= life.state_names(), vars(life))
    # One thread each: made by the one that accepts, and gone with the download.
    for life in whole(trace.of("thread")):
        check(life.args["created_by"].startswith("download_server "), vars(life))
    check(whole(trace.of("thread")), "no thread from its beginning to its end")
    runs = [args for _, name, _, _, _, args in trace.runs if name == "download"]
    check(runs and all(args["labels.route"] == "/download" for args in runs), runs)
    check(trace.other["dropped_events"] == 0 and trace.other["unfinished_events"] == 0, trace.other)


def test_a_trace_of_coroutines_shows_what_each_waits_for_and_who_began_it(lab):
    program = lab.compile("coroutine_echo.cc", "coroutine_echo", *lab.linked_flags())
    server = lab.start([program], stdin=subprocess.PIPE)
    debug = server.wait_for(r"debug endpoint on (\S+)")[1]
    trace = Traced(lab, debug, 2).file
    echoes = whole(trace.of("task", "Serve"))
    check(echoes, f"no coroutine from its beginning to its end: {[vars(life) for life in trace.lives]}")
    for life in echoes:
        check("coroutine_echo.cc:" in life.args["made"] and life.args["parent"].startswith("main "), vars(life))
        check("running" in life.state_names(), vars(life))
        # The program's bytes, as far as they are text.
        check(life.args['labels.quoted"'] == "\ufffd\ufffd\ufffd\n\\", vars(life))
    # Not of each: one may come to its next thread before the last one has left it.
    states = set().union(*(life.state_names() for life in echoes))
    check("IO wait: read" in states, states)
    older = trace.of("task", "main")
    check(len(older) == 2 and all(life.args["begin"] == BEFORE and life.args["end"] == AFTER for life in older), older)
    states = set().union(*(life.state_names() for life in older))
    check({"running", "IO wait: accept", "IO wait: connect", "sleep"} <= states, states)
    # What is shown as running is on a thread, under its name; each was begun by the one that accepts.
    check({"Serve", "main"} <= {name for _, name, *_ in trace.runs}, trace.runs[:5])
    flows = [event for event in trace.events if event["ph"] == "f"]
    check(len(flows) >= len(echoes), f"{len(flows)} arrows to {len(echoes)} coroutines")
    server.popen.stdin.close()
    check(server.wait().status == 0, server.err())


def test_a_trace_of_a_program_that_is_only_watched_has_its_connections_and_threads(lab):
    path = lab.path("file")
    with open(path, "wb") as file:
        file.write(b"x" * 100_000)
    server = lab.start([lab.bin("download_server_plain"), f"--file={path}", "--listen=127.0.0.1:0", "--mode=chunked"],
                       env=lab.preloaded(HELDBY_LISTEN="127.0.0.1:0"))
    downloads = server.wait_for(r"downloads on (\S+)")[1]
    debug = lab.served_address(server.pid)
    trace = Traced(lab, debug, 2, lambda: check(lab.fetch(downloads)[0] == 200, "a download")).file
    connections = whole(trace.of("connection", "inbound connection"))
    check(connections, f"no whole connection: {[vars(life) for life in trace.lives]}")
    for life in connections:
        check(life.args["known_by"] == "a wrapped call", vars(life))
        check(re.fullmatch(r"127\.0\.0\.1:\d+", life.args.get("peer", "")), vars(life))
    check(whole(trace.of("thread")), "no thread from its beginning to its end")
    main = [life for life in trace.of("thread") if life.args["tid"] == str(server.pid)]
    check(len(main) == 1 and main[0].args["begin"] == BEFORE and main[0].args["end"] == AFTER, main)
    names = set(trace.thread_names.values())
    check(not any(name.startswith("heldby-") for name in names), f"the profiler's own threads: {names}")


def test_one_trace_at_a_time_and_one_that_is_left_makes_room(lab):
    debug, _ = download_server(lab)
    argv = ["curl", "-s", "-o", lab.path("left"), f"{debug}/debug/pprof/trace?seconds=200"]
    client = lab.start(argv)

    def refusal():
        nonlocal client
        status, body = lab.fetch(f"{debug}/debug/pprof/trace?seconds=0.001")
        # The one that asks may itself have been in the way of the first.
        if client.popen.poll() is not None:
            client = lab.start(argv)
            return False
        return status != 200 and (status, body)

    refused = wait_until(refusal, "the first trace to have begun", pause_s=0.3)
    check(refused == (500, b"Could not enable tracing: tracing already in use\n"), refused)
    client.stop()
    wait_until(lambda: lab.fetch(f"{debug}/debug/pprof/trace?seconds=0.01")[0] == 200,
               "the trace of the client that left to end")


run(globals())
