"""The endpoint under attack by clients without manners; attacked_host.py says what has to hold.

HELDBY_ATTACK_REQUESTS=1000000 (./dev attack) is the whole flood.
"""

import contextlib
import os
import random
import re
import signal
import socket
import struct
import threading

from attacked_host import HEAP, LOCAL, PATIENCE_S, RSS_BOUND_KIB, SYMBOL, Host, check_answers, read_all, status_of, under
from harness import Failure, check, run, wait_until

FLOOD_REQUESTS = int(os.environ.get("HELDBY_ATTACK_REQUESTS", "20000"))


def dropped(host):
    page = host.surely(b"GET /metrics HTTP/1.1\r\n" + LOCAL + b"Connection: close\r\n\r\n")
    return float(re.search(rb"^heldby_http_connections_dropped_total (\S+)", page, re.MULTILINE)[1])


def test_three_hundred_slow_lorises_keep_nobody_out(lab):
    host, made = Host(lab), [0] * 4
    heads = (b"GET /debug/pprof/heap HTTP/1.1\r\nHost: local", b"G", b"",
             SYMBOL + b"Content-Length: 500000\r\n\r\n0x1+", SYMBOL + b"Transfer-Encoding: chunked\r\n\r\n8\r\n0x1")

    def lorises(number, stop):
        clients = [None] * 75
        try:
            while not stop.is_set():
                for i, client in enumerate(clients):
                    if stop.is_set():
                        return
                    try:
                        if client is None:
                            clients[i] = client = host.connect()
                            made[number] += 1
                            client.sendall(heads[(i + number) % len(heads)])
                        client.sendall(b"x")
                    except OSError:  # it had to make room
                        if client is not None:
                            client.close()
                        clients[i] = None
                stop.wait(1)
        finally:
            for client in clients:
                if client is not None:
                    client.close()

    under(host, lorises, at_its_height=lambda: sum(made) >= 300)
    check(dropped(host) > 0, "nobody had to make room")


def test_a_flood_of_requests_is_answered_or_asked_to_come_back(lab):
    host = Host(lab)
    answered, lock = [0], threading.Lock()
    paths = (b"/debug/pprof/heap", b"/healthz", b"/healthz", b"/debug/pprof/nope", b"/debug/pprof/cmdline",
             b"/healthz", b"/elsewhere", b"/debug/pprof/heap?debug=1")
    batch = b"".join(b"GET %s HTTP/1.1\r\n%s\r\n" % (path, LOCAL) for path in paths)

    def flood(number, stop):
        with host.connect() as client:
            for _ in range(10):
                client.sendall(batch)
                got = b""
                while got.count(b"HTTP/1.1 ") < len(paths) or not got.endswith(b"\n"):
                    piece = client.recv(1 << 20)
                    if not piece:
                        break
                    got += piece
                statuses = re.findall(rb"HTTP/1\.1 (\d{3}) ", got)
                check(set(statuses) <= {b"200", b"404", b"503"}, f"answers {statuses}")
                with lock:
                    answered[0] += len(statuses)
                if len(statuses) < len(paths):
                    return

    under(host, flood)
    stop = threading.Event()

    def finish(number):
        while answered[0] < FLOOD_REQUESTS and not stop.is_set():
            with contextlib.suppress(OSError):
                flood(number, stop)

    threads = [threading.Thread(target=finish, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: answered[0] >= FLOOD_REQUESTS, f"{FLOOD_REQUESTS} answers", 200 + FLOOD_REQUESTS // 200)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    host.fetch_with_pprof()
    check(host.descriptors_and_threads()[1] <= 12, "threads are left over")


test_a_flood_of_requests_is_answered_or_asked_to_come_back.seconds = 270 + FLOOD_REQUESTS // 100


def test_a_stream_of_new_connections_keeps_nobody_out(lab):
    host = Host(lab)

    def connect(number, stop):
        for i in range(200):
            client = host.connect()
            if i % 4 == 0:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()

    under(host, connect)


def endless(client, stop, head, piece, times=200):
    """Sends for as long as anybody takes it, then reads the answer."""
    client.sendall(head)
    with contextlib.suppress(OSError):
        for _ in range(times):
            if stop.is_set():
                break
            client.sendall(piece)
    check_answers(read_all(client))


def test_heads_and_bodies_without_end_cost_no_memory(lab):
    host = Host(lab)
    get = b"GET /debug/pprof/heap HTTP/1.1\r\n" + LOCAL
    chunked = SYMBOL + b"Transfer-Encoding: chunked\r\n\r\n"
    rows = [
        (get + b"X: ", b"x" * 65536), (get, b"Y: y\r\n" * 10000), (b"GET /", b"a" * 65536),
        (b"GET /debug/pprof/heap?x=", b"%41" * 20000), (b"A" * 100, b"A" * 65536), (b"\r\n", b"\r\n" * 30000),
        (SYMBOL + b"Content-Length: 9223372036854775807\r\n\r\n", b"0x1+" * 16384),
        (get + b"Content-Length: 9223372036854775807\r\n\r\n", b"0" * 65536),
        (SYMBOL + b"Content-Length: 1048576\r\n\r\n", b"1+" * 30000), (chunked + b"ffffffff\r\n", b"1+" * 30000),
        (chunked, b"1\r\n+\r\n" * 10000), (chunked + b"1;", b"e" * 65536), (chunked + b"0\r\n", b"T: t\r\n" * 10000)]
    for head, status in ((SYMBOL + b"Content-Length: 1048577\r\n\r\n", 413), (b"GET /" + b"a" * 10000, 431),
                         (get + b"X: " + b"x" * 9000 + b"\r\n\r\n", 431), (chunked + b"fffffffffffffffff\r\n", 400),
                         (chunked + b"-1\r\n", 400), (chunked + b"zz\r\n", 400), (chunked + b"200000\r\n", 413),
                         (SYMBOL + b"Content-Length: -1\r\n\r\n", 400), (SYMBOL + b"Content-Length: 1e3\r\n\r\n", 400),
                         (SYMBOL + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
                         (SYMBOL + b"Content-Length: 99999999999999999999\r\n\r\n", 400)):
        answer = host.surely(head)
        check(status_of(answer) == status, f"{head[:200]!r}: {answer[:200]!r}")

    def send(number, stop):
        with host.connect() as client:
            endless(client, stop, *random.choice(rows))

    under(host, send)


def test_half_closed_reset_and_pipelined_connections_leave_nothing(lab):
    host = Host(lab)

    def leave(number, stop):
        way = random.randrange(5)
        with host.connect() as client:
            if way == 0:  # half closed: answered, or not, and over
                client.sendall(HEAP)
                client.shutdown(socket.SHUT_WR)
                check_answers(read_all(client))
            elif way == 1:  # half closed within the head
                client.sendall(HEAP[:random.randrange(len(HEAP))])
                client.shutdown(socket.SHUT_WR)
                check(read_all(client)[:9] in (b"", b"HTTP/1.1 "), "an answer to half a request")
            elif way == 2:  # reset, at any point
                client.sendall((HEAP * 3)[:random.randrange(3 * len(HEAP))])
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif way == 3:  # pipelined, and gone
                client.sendall(HEAP * 200)
            else:  # gone amid a wait
                client.sendall(HEAP.replace(b"heap", b"heap?seconds=300"))
                client.recv(1) if random.random() < 0.1 else None

    under(host, leave)


def test_clients_that_never_read_keep_nobody_out(lab):
    host = Host(lab)
    # The largest answer there is: the same long name for every address of a full body.
    stacks = host.surely(b"GET /debug/pprof/goroutine?debug=1 HTTP/1.1\r\n" + LOCAL + b"Connection: close\r\n\r\n")
    address = max(re.findall(rb"#\t(0x[0-9a-f]+)\t(\S+)", stacks), key=lambda found: len(found[1]))[0]
    body = (address + b"+") * ((1 << 20) // (len(address) + 1))
    check(b"\n" + address + b" " in host.surely(SYMBOL + b"Connection: close\r\nContent-Length: %d\r\n\r\n"
                                               % len(address) + address),
          f"{address} has no name")
    # Pipelined: what a socket keeps for a reader who does not read is some megabytes.
    large = (SYMBOL + b"Content-Length: %d\r\n\r\n" % len(body) + body) * 4
    turned_away = [0] * 4

    def never_read(number, stop):
        clients = []
        try:
            while not stop.is_set():
                client = host.connect(read_buffer=4096)
                clients.append(client)
                with contextlib.suppress(OSError):
                    client.sendall(large)
                    # Looked at, not taken: the rest of the answer has nowhere to go.
                    turned_away[number] += client.recv(12, socket.MSG_PEEK) != b"HTTP/1.1 200"
                stop.wait(0 if len(clients) < 8 else 0.1)  # more, as others are made to leave
        finally:
            for client in clients:
                client.close()

    # Answers of 3 MB: glibc keeps up to twice the largest block ever freed in each of its arenas,
    # of which there are eight for a processor.
    bound = RSS_BOUND_KIB + 8 * (os.cpu_count() or 1) * 8192
    under(host, never_read, at_its_height=lambda: sum(turned_away) >= 8, rss_bound_kib=bound)
    check(dropped(host) > 0, "nobody had to make room")


def test_bytes_that_are_no_http_are_refused(lab):
    host = Host(lab)
    hello = bytes.fromhex("16030100c8010000c40303") + bytes(190)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)
    for garbage in (hello + b"\r\n\r\n", preface, b"GET\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/0.9\r\n\r\n", b"\0" * 100,
                    b"GET / HTTP/1.1\r\nHost\r\n\r\n", b"GET / HTTP/1.1\r\n Host: localhost\r\n\r\n",
                    b"GET /\x00 HTTP/1.1\r\n" + LOCAL + b"\r\n", b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
                    b"GET /%zz HTTP/1.1\r\n" + LOCAL + b"Connection: close\r\n\r\n",
                    b"GET /debug/pprof/heap?debug=%f HTTP/1.1\r\n" + LOCAL + b"Connection: close\r\n\r\n",
                    b"OPTIONS * HTTP/1.1\r\n" + LOCAL + b"Connection: close\r\n\r\n",
                    b"CONNECT localhost:80 HTTP/1.1\r\n" + LOCAL + b"Connection: close\r\n\r\n"):
        answer = host.surely(garbage)
        check(status_of(answer) == 400 and b"\x1b" not in answer, f"{garbage!r}: {answer[:300]!r}")

    def spoil(number, stop):
        request = bytearray(random.choice((HEAP, SYMBOL + b"Content-Length: 4\r\n\r\n0x1+", hello, preface)))
        for _ in range(random.randrange(1, 6)):
            request[random.randrange(len(request))] = random.randrange(256)
        with host.connect() as client:
            client.sendall(random.choice((bytes(request), random.randbytes(random.randrange(1, 5000)))))
            client.shutdown(socket.SHUT_WR)
            check_answers(read_all(client))

    under(host, spoil)


def test_absurd_parameters_are_refused_or_bounded_and_waiting_ones_leave_room(lab):
    host = Host(lab)
    root = "/debug/pprof/"
    for target, status in ((root + "heap?seconds=-1", 400), (root + "heap?seconds=NaN", 400),
                           (root + "heap?seconds=1e9", 400), (root + "heap?seconds=0x10", 400),
                           (root + "profile?hz=1000000", 400), (root + "profile?hz=-1", 400),
                           (root + "profile?hz=NaN", 400), ("/debug/fgprof?seconds=-1", 400),
                           ("/debug/connections?limit=-1", 400), ("/debug/connections?limit=1e99", 400),
                           ("/debug/tasks?format=%1b[2J", 400), (root + "heap?since=-1h", 400),
                           (root + "heap?since=inf", 400), (root + "heap?labels=%0d%0aa", 400),
                           (root + "heap?" + "a&" * 3500, 200), (root + "heap?debug=1&debug=0" + "&debug=2" * 800, 200),
                           (root + "symbol?" + "0x1+" * 1500, 200), (root + "delta_heap?debug=1e400", 200)):
        answer = host.surely(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        head, _, body = answer.partition(b"\r\n\r\n")
        check(status_of(answer) == status, f"{target[:100]}: {answer[:300]!r}")
        check(status == 200 or not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", body), f"{target[:100]}: {body!r}")

    waits = ("profile?seconds=1000000000&hz=1000", "heap?seconds=999999999", "block?seconds=300", "goroutine?seconds=300")

    def wait_for_ever(number, stop):
        clients = []
        try:
            for target in waits:
                clients.append(host.connect())
                clients[-1].sendall(HEAP.replace(b"heap", target.encode()))
            stop.wait()
        finally:
            for client in clients:
                client.close()

    # Three times as many as there are places for requests.
    under(host, wait_for_ever, attackers=6)


def test_a_lack_of_memory_costs_answers_and_neither_the_host_nor_its_endpoint(lab):
    starves = lab.compile("starves_profiler.cc", "starves.so", "-shared", "-fPIC")
    host = Host(lab, LD_PRELOAD=starves, STARVE_ONE_IN=150)
    root = "/debug/pprof/"
    targets = [root, root + "heap", root + "heap?debug=1", root + "goroutine?debug=2", root + "delta_heap",
               root + "trace?seconds=0.01", root + "cmdline", root + "symbol?0x1", "/metrics", "/healthz", "/nowhere",
               "/debug/connections?format=html", "/debug/tasks?format=json", "/debug/leaks"]
    host.fetch_with_pprof()
    host.process.popen.send_signal(signal.SIGUSR1)

    def ask():
        for i in range(40):
            with contextlib.suppress(OSError), host.connect() as client:
                client.settimeout(1)
                client.sendall(f"GET {random.choice(targets)} HTTP/1.1\r\nHost: localhost\r\n"
                               f"Connection: {'close' if i % 2 else 'keep-alive'}\r\n\r\n".encode())
                check_answers(client.recv(65536))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    host.process.popen.send_signal(signal.SIGUSR2)
    host.fetch_with_pprof()
    with contextlib.suppress(Failure):
        wait_until(host.is_quiet, "every connection to be over", PATIENCE_S)
    check(host.is_quiet(), f"not over yet: {host.what_is_open()}")
    # No place is lost either.
    clients = [host.connect() for _ in range(6)]
    for client in clients:
        client.sendall(HEAP.replace(b"heap", b"heap?seconds=300"))
    wait_until(lambda: host.what_is_open()[1].count("heldby-request") == 6, "six requests to wait", PATIENCE_S)
    for _ in range(3):
        host.fetch_with_pprof()
    for client in clients:
        client.close()
    wait_until(host.is_quiet, "those who waited to be gone", PATIENCE_S)
    host.works()
    said = host.process.err().splitlines()
    check(len(said) == 1 and "stand down" in said[0], f"beside the line about a malloc before ours: {said}")


if __name__ == "__main__":
    run(globals())
