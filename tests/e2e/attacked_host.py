"""A real server whose endpoint is attacked by real sockets, while `go tool pprof` is served.

Each attack goes on until three profiles have been fetched during it. Afterwards the host has as many
descriptors and threads as before, and at most RSS_BOUND_KIB more memory: buffers and stacks that its
allocator keeps, for 16 connections and 8 requests at work. No time is asserted, only that an end comes.
"""

import contextlib
import os
import re
import socket
import threading
import urllib.request

from harness import Failure, check, read_text, wait_until

RSS_BOUND_KIB = 32 << 10
PATIENCE_S = 120
LOCAL = b"Host: localhost\r\n"
HEAP = b"GET /debug/pprof/heap HTTP/1.1\r\n" + LOCAL + b"\r\n"
SYMBOL = b"POST /debug/pprof/symbol HTTP/1.1\r\n" + LOCAL


class Host:
    """examples/download_server with its endpoint."""

    def __init__(self, lab, **settings):
        path = lab.path("file.bin")
        with open(path, "wb") as file:
            file.truncate(4_000_000)
        self.lab = lab
        self.process = lab.start([lab.bin("download_server"), f"--file={path}", "--listen=127.0.0.1:0",
                                  "--debug=127.0.0.1:0", "--mode=leaky"], env=lab.env(**settings))
        self.downloads = "http://" + self.process.wait_for(r"downloads on http://(127\.0\.0\.1:\d+)/")[1] + "/"
        self.debug = self.process.wait_for(r"(http://127\.0\.0\.1:\d+)/debug/pprof/")[1]
        self.port = int(self.debug.rpartition(":")[2])

    def works(self):
        with urllib.request.urlopen(self.downloads, timeout=PATIENCE_S) as reply:
            check(len(reply.read()) == 4_000_000, "the host's own clients no longer get their file")

    def connect(self, read_buffer=None):
        client = socket.socket()
        if read_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, read_buffer)
        client.settimeout(10)
        client.connect(("127.0.0.1", self.port))
        return client

    def ask(self, request):
        """Everything that comes back for these bytes; nothing, if the connection had to make room."""
        with contextlib.suppress(OSError), self.connect() as client:
            client.sendall(request)
            return read_all(client)
        return b""

    def surely(self, request):
        """ask() until there is an answer."""
        return wait_until(lambda: self.ask(request), f"an answer to {request[:200]!r}", PATIENCE_S)

    def descriptors_and_threads(self):
        of = f"/proc/{self.process.pid}/"
        return len(os.listdir(of + "fd")), len(os.listdir(of + "task"))

    def what_is_open(self):
        of = f"/proc/{self.process.pid}/"
        files = []
        for number in os.listdir(of + "fd"):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                files.append(os.readlink(of + "fd/" + number))
        return files, [read_text(f"{of}task/{task}/comm").strip() for task in os.listdir(of + "task")]

    def is_quiet(self):
        """Nobody is connected, but those two who listen; no request is at work, and no download."""
        files, threads = self.what_is_open()
        return sum(name.startswith("socket:") for name in files) == 2 and len(threads) <= 3

    def rss_kib(self):
        return int(re.search(r"VmRSS:\s+(\d+)", read_text(f"/proc/{self.process.pid}/status"))[1])

    def fetch_with_pprof(self):
        """Asked to come back (503) or cut off is what a crowd may cost; not to be served at all is not."""

        def served():
            with contextlib.suppress(Failure):
                return self.lab.top(f"{self.debug}/debug/pprof/heap").text
            return None

        text = wait_until(served, "go tool pprof -top to be served", PATIENCE_S)
        check("Type: inuse_space" in text, text)


def read_all(client):
    got = b""
    with contextlib.suppress(OSError):
        while piece := client.recv(65536):
            got += piece
    return got


def status_of(answer):
    found = re.match(rb"HTTP/1\.1 (\d+) ", answer)
    check(found, f"no answer: {answer[:200]!r}")
    return int(found[1])


def check_answers(got):
    """What a hostile client gets is whole answers of ours, refusals, or nothing."""
    check(not got or re.match(rb"HTTP/1\.1 \d{3} ", got), f"not an answer: {got[:200]!r}")


def under(host, attack, attackers=4, at_its_height=lambda: True, rss_bound_kib=RSS_BOUND_KIB):
    """`attack(number, stop)` in threads of its own, again and again, while profiles are fetched."""
    host.fetch_with_pprof()
    for _ in range(40):
        host.ask(HEAP.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    wait_until(host.is_quiet, "the first requests to be over", PATIENCE_S)
    before, rss_before = host.descriptors_and_threads(), host.rss_kib()
    stop, rounds, failures = threading.Event(), [0] * attackers, []

    def repeat(number):
        try:
            while not stop.is_set():
                rounds[number] += 1
                with contextlib.suppress(OSError):  # refused, reset, timed out: as it should be
                    attack(number, stop)
                stop.wait(0.001)
        except Exception as failure:  # told by the main thread
            failures.append(failure)

    threads = [threading.Thread(target=repeat, args=(number,)) for number in range(attackers)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: failures or (all(rounds) and at_its_height()), "the attack to be under way", PATIENCE_S)
        for _ in range(3):
            host.fetch_with_pprof()
        host.works()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    with contextlib.suppress(Failure):
        wait_until(host.is_quiet, "the attack to leave nothing", PATIENCE_S)
    after = host.descriptors_and_threads()
    check(after == before, f"descriptors and threads were {before}, are {after}: {host.what_is_open()}")
    grown = host.rss_kib() - rss_before
    check(grown <= rss_bound_kib, f"RSS grew from {rss_before} KiB by {grown}")
    host.fetch_with_pprof()
    host.works()
    check(not host.process.err(), host.process.err())
