"""The slow reader: three clients that never read a 200 MB file, seen with go tool pprof."""

import os
import re
import signal
import subprocess

from harness import check, need, read_text, run, wait_until

FILE_BYTES = 200 * 1000 * 1000
CLIENTS = 3


class Story:
    """examples/download_server with clients of examples/stuck_client."""

    def __init__(self, lab, mode):
        self.lab = lab
        self.file = lab.path("big.bin")
        with open(self.file, "wb") as file:
            file.truncate(FILE_BYTES)
        self.server = lab.start([lab.bin("download_server"), f"--file={self.file}", "--listen=127.0.0.1:0",
                                 "--debug=127.0.0.1:0", f"--mode={mode}"])
        self.port = int(self.server.wait_for(r"downloads on http://127\.0\.0\.1:(\d+)/")[1])
        self.debug = self.server.wait_for(r"(http://127\.0\.0\.1:\d+)/debug/pprof/")[1]
        self.heap = self.debug + "/debug/pprof/heap"
        self.clients = None

    def clients_arrive(self):
        self.clients = self.lab.start([self.lab.bin("stuck_client"), f"--port={self.port}", f"--count={CLIENTS}",
                                       "--seconds=120"], stdin=subprocess.PIPE)
        self.clients.wait_for("stopped reading")

    def files_are_held(self):
        wait_until(lambda: self.held_bytes() >= 0.98 * CLIENTS * FILE_BYTES, "the files to be in memory", 30)
        return self

    def clients_leave(self):
        self.clients.popen.stdin.close()
        self.clients.wait()
        wait_until(lambda: self.held_bytes() < 0.01 * CLIENTS * FILE_BYTES, "the files to be given back", 30)

    def held_bytes(self):
        """From the text form, whose first line is: heap profile: N: BYTES [N: BYTES] @ heap/RATE"""
        status, body = self.lab.fetch(self.heap + "?debug=1")
        check(status == 200, f"{self.heap}?debug=1 answers {status}: {body[:200]}")
        return int(re.match(rb"heap profile: \d+: (\d+) ", body)[1])

    def threads(self):
        """Names of the server's threads that are not heldby's own."""
        folder = f"/proc/{self.server.pid}/task"
        names = [read_text(f"{folder}/{thread}/comm") for thread in os.listdir(folder)]
        return [name for name in names if not name.startswith("heldby")]


def leaky(lab):
    story = Story(lab, "leaky")
    story.clients_arrive()
    return story.files_are_held()


def test_go_pprof_names_the_leaking_function(lab):
    story = leaky(lab)
    top = lab.top(story.heap)
    top.check_every_frame_has_a_name()
    expected = CLIENTS * FILE_BYTES
    check(abs(top.total - expected) <= 0.02 * expected, f"{expected} bytes are held, pprof says {top.total}\n{top.text}")
    held = top.cum_of(r"::ReadWhole\b")
    check(held >= 0.95 * top.total, f"ReadWhole holds {held} of {top.total} bytes\n{top.text}")
    check(top.cum_of(r"::ServeWhole\b") >= 0.95 * top.total, f"no ServeWhole above it\n{top.text}")


def test_go_pprof_shows_file_and_line_of_the_leak(lab):
    story = leaky(lab)
    source = open(f"{lab.source}/examples/download_server.cc", encoding="utf-8").read().splitlines()
    line = 1 + next(i for i, text in enumerate(source) if "std::vector<char> content(size_bytes())" in text)
    lines = lab.top(story.heap, "-lines")
    held = lines.cum_of(rf"ReadWhole .*examples/download_server\.cc:{line}\b")
    check(held >= 0.95 * lines.total, f"download_server.cc:{line} holds {held} of {lines.total}\n{lines.text}")
    listing = lab.pprof("-list=ReadWhole", story.heap)
    check(re.search(rf"\d+(\.\d+)?MB +{line}: +std::vector<char> content", listing),
          f"-list does not show line {line} with its bytes:\n{listing}")


def test_memory_of_clients_that_left_is_gone_from_the_profile(lab):
    story = leaky(lab)
    base = lab.path("base.pb.gz")
    with open(base, "wb") as file:
        file.write(lab.fetch(story.heap)[1])
    story.clients_leave()
    now = lab.top(story.heap)
    check(now.cum_of("ReadWhole") < 0.01 * CLIENTS * FILE_BYTES, f"still held:\n{now.text}")
    difference = lab.top(story.heap, f"-base={base}")
    gone = min((row.cum for row in difference.rows if "ReadWhole" in row.name), default=0)
    check(abs(gone + CLIENTS * FILE_BYTES) <= 0.02 * CLIENTS * FILE_BYTES,
          f"-base shows {gone} bytes of ReadWhole, expected {-CLIENTS * FILE_BYTES}\n{difference.text}")
    ever = lab.top(story.heap, "-sample_index=alloc_space").cum_of("ReadWhole")
    check(ever >= 0.98 * CLIENTS * FILE_BYTES, f"alloc_space forgets freed memory: {ever}")


def test_every_sample_type_and_the_traces_are_readable(lab):
    story = leaky(lab)
    for index in ("alloc_space", "alloc_objects", "inuse_space", "inuse_objects"):
        top = lab.top(story.heap, f"-sample_index={index}")
        check(f"Type: {index}" in top.text, f"{index} is not shown as such:\n{top.text}")
        check(top.cum_of("ReadWhole") > 0, f"{index} misses ReadWhole:\n{top.text}")
    objects = lab.top(story.heap, "-sample_index=inuse_objects").cum_of("ReadWhole")
    check(objects == CLIENTS, f"{CLIENTS} files are held, inuse_objects says {objects}")
    traces = lab.pprof("-traces", story.heap)
    check("ReadWhole" in traces and "SendHeader" not in traces, f"-traces:\n{traces[:4000]}")
    for endpoint, index in (("heap", "inuse_space"), ("allocs", "alloc_space")):
        text = lab.pprof("-top", f"{story.debug}/debug/pprof/{endpoint}")
        check(f"Type: {index}" in text, f"{endpoint} does not open with {index}:\n{text}")


def test_the_web_pages_of_go_pprof_open(lab):
    story = leaky(lab)
    web = lab.start([need("go"), "tool", "pprof", "-http=127.0.0.1:", "-no_browser", story.heap], env=lab.go_env())
    page = web.wait_for(r"Serving web UI on (http://\S+)")[1].rstrip("/")
    for path in ("/ui/top", "/ui/flamegraph", "/ui/peek"):
        status, body = lab.fetch_when_up(page + path)
        check(status == 200, f"{path} answers {status}: {body[:400]}")
        check(b"ReadWhole" in body, f"{path} does not show ReadWhole")
    web.stop(signal.SIGINT)


def test_the_fixed_server_stays_small(lab):
    story = Story(lab, "chunked")
    story.clients_arrive()
    wait_until(lambda: len(story.threads()) >= CLIENTS + 1, "three downloads to be under way", 20)
    check(story.held_bytes() < 0.01 * CLIENTS * FILE_BYTES, f"{story.held_bytes()} bytes are held in chunked mode")
    lab.top(story.heap).check_every_frame_has_a_name()


if __name__ == "__main__":
    run(globals())
