"""Servers nobody rebuilt: who does not read is named, with what is held for it, by preloading alone."""

import json
import os
import re
import socket
import subprocess
import threading

from harness import check, children_of, need, read_text, run, wait_until

STUCK = 5
HEALTHY = 200
ANSWER_BYTES = 1000 * 1000
FILE_BYTES = 20 * 1000 * 1000
# The buckets of the server's own table, a cached thread's: made for one client, kept after it.
ENDED = "ended, and still holds memory"
STOPPED = r"peer stopped reading for \d+ s with \d+ bytes unsent"


def ports_of(lab, process, count):
    """Local ports of the sockets that a client has open."""
    listing = lab.run_ok(["ls", "-l", f"/proc/{process.pid}/fd"]).out
    inodes = set(re.findall(r"socket:\[(\d+)\]", listing))
    rows = [line.split() for line in read_text("/proc/net/tcp").splitlines()[1:]]
    ports = {int(row[1].split(":")[1], 16) for row in rows if row[9] in inodes}
    return ports if len(ports) == count else None


def stuck_clients(lab, port, count):
    process = lab.start([lab.bin("stuck_client"), f"--port={port}", f"--count={count}", "--seconds=250"],
                        stdin=subprocess.PIPE)
    process.wait_for("stopped reading")
    return process, wait_until(lambda: ports_of(lab, process, count), "their connections in /proc/net/tcp")


def connections(lab, address):
    status, body = lab.fetch(address + "/debug/connections?format=json&limit=1000")
    check(status == 200, f"/debug/connections answers {status}: {body[:300]}")
    return json.loads(body)["connections"]


def port_of(row):
    return int(row["peer"].rpartition(":")[2]) if row["peer"].startswith("127.") else 0


def stopped_rows(lab, address):
    return [row for row in connections(lab, address) if re.fullmatch(STOPPED, row["what_is_wrong"])]


class HealthyClients:
    """Each downloads an answer whole and stays."""

    def __init__(self, port):
        self.sockets = []
        for _ in range(HEALTHY):
            self.sockets.append(socket.create_connection(("127.0.0.1", port), timeout=30))
        self.on_threads(self.download, self.sockets)

    def download(self, client):
        client.sendall(b"GET /file HTTP/1.1\r\nHost: localhost\r\n\r\n")
        left, head = None, b""
        while left is None or left > 0:
            data = client.recv(1 << 18)
            check(data, "the server closed a healthy connection")
            if left is None:
                head += data
                if b"\r\n\r\n" not in head:
                    continue
                left = ANSWER_BYTES
                data = head.partition(b"\r\n\r\n")[2]
            left -= len(data)

    def on_threads(self, action, sockets):
        failures = []

        def some(part):
            try:
                for client in part:
                    action(client)
            except Exception as failure:  # told below, in the test's own thread
                failures.append(failure)

        threads = [threading.Thread(target=some, args=(sockets[i::8],), daemon=True) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        check(not failures, f"a healthy client: {failures}")

    def close(self):
        for client in self.sockets:
            client.close()


def check_the_stuck_ones_are_named(lab, mode):
    program = lab.compile("plain_server.cc", "plain_server", "-O2", "-D_FORTIFY_SOURCE=2", "-pthread")
    check("heldby" not in lab.run_ok(["ldd", program]).out, "the server is to know nothing of us")
    env = lab.env(HELDBY_LISTEN="127.0.0.1:0", HELDBY_SAMPLE_BYTES=16384)
    server = lab.start([lab.heldby, "run", "--", program, mode, ANSWER_BYTES], env=env)
    port = int(server.wait_for(r"port (\d+)")[1])
    address = lab.served_address(server.pid)
    stuck, ports = stuck_clients(lab, port, STUCK)
    healthy = HealthyClients(port)
    wait_until(lambda: len(stopped_rows(lab, address)) >= STUCK, "five to be called stopped", 60)
    healthy.on_threads(healthy.download, healthy.sockets[::2])

    def only_the_stuck_hold_much():
        now = connections(lab, address)
        return now if all(row["held_bytes"] < 0.5 * ANSWER_BYTES for row in now[STUCK:]) else None

    rows = wait_until(only_the_stuck_hold_much, "the server to forget what it has sent to the healthy")
    first = rows[:STUCK]
    check({port_of(row) for row in first} == ports, f"stuck: {ports}, the first rows are {first}")
    check(len(rows) == STUCK + HEALTHY, f"{len(rows)} rows, for {STUCK + HEALTHY} clients")
    for row in rows:
        check(row["attribution"] == "implicit" and row["direction"] == "in", row)
    for row in first:
        check(abs(row["held_bytes"] - ANSWER_BYTES) <= 0.1 * ANSWER_BYTES, f"not one answer: {row}")
        check(re.fullmatch(STOPPED, row["what_is_wrong"]) and row["unsent_bytes"] > 0, row)
        check(abs(row["stalled_s"] - row["age_s"]) <= 1, f"it has been stuck from the beginning: {row}")
        check(("AcceptOne" if mode == "threads" else "AcceptAll") in row["opened_by"], f"who opened it? {row}")

    url = address + "/debug/pprof/heap?labels=connection"
    top = lab.pprof("-top", "-unit=B", "-nodecount=300", "-nodefraction=0", "-tagroot=peer", url)
    for peer in ports:
        held = re.search(rf"(\d+)B\s+[\d.]+%\s+127\.0\.0\.1:{peer}\b", top)
        check(held and abs(int(held[1]) - ANSWER_BYTES) <= 0.1 * ANSWER_BYTES, f"peer {peer} is not a tree:\n{top}")
    guessed = lab.pprof("-top", "-unit=B", "-tagfocus=attribution=implicit", url)
    check("MakeAnswer" in guessed, f"what is guessed does not say so:\n{guessed}")
    plain = lab.pprof("-tags", address + "/debug/pprof/heap")
    check("attribution" not in plain and "peer" not in plain, f"nobody asked for these labels:\n{plain}")

    healthy.close()
    stuck.popen.stdin.close()
    stuck.wait()

    def only_what_the_server_keeps():
        left = connections(lab, address)
        ended = all(row["what_is_wrong"] == ENDED and row["held_bytes"] < 0.1 * ANSWER_BYTES for row in left)
        return ended and len(left) < HEALTHY

    wait_until(only_what_the_server_keeps, "the page to forget those who left")


def test_an_unknown_server_with_threads_names_the_clients_that_never_read(lab):
    check_the_stuck_ones_are_named(lab, "threads")


def test_an_unknown_server_with_epoll_names_the_clients_that_never_read(lab):
    check_the_stuck_ones_are_named(lab, "epoll")


def check_stuck_peer_is_named(lab, pids, ports):
    """On the page of one of these processes."""
    addresses = [lab.served_address(pid) for pid in pids]

    def rows():
        found = [row for address in addresses for row in stopped_rows(lab, address) if port_of(row) in ports]
        return found if {port_of(row) for row in found} == ports else None

    found = wait_until(rows, f"{ports} to be called stopped", 60)
    for row in found:
        check(row["unsent_bytes"] > 0 and row["attribution"] == "implicit", row)
    return found


CALLS = 200
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def test_who_forgot_to_close_is_named_in_a_client_that_nobody_rebuilt(lab):
    server = socket.create_server(("127.0.0.1", 0), backlog=CALLS)
    accepted = []

    def answer():
        for _ in range(CALLS):
            accepted.append(server.accept()[0])
            accepted[-1].recv(1000)
            accepted[-1].sendall(ANSWER)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    program = lab.compile("forgetful_client.cc", "forgetful_client")
    client = lab.start([program, str(server.getsockname()[1]), str(CALLS)], stdin=subprocess.PIPE,
                       env=lab.preloaded(HELDBY_LISTEN="127.0.0.1:0"))
    client.wait_for(f"{CALLS} healthy")
    address = lab.served_address(client.pid)
    top = lab.top(f"{address}/debug/pprof/connections")
    check(top.cum_of(r"CheckHealth") == CALLS, f"who forgot to close is not named:\n{top.text}")
    rows = connections(lab, address)
    check(len(rows) == CALLS, f"{len(rows)} connections")
    for row in rows:
        check(row["direction"] == "out" and row["attribution"] == "implicit", row)
        check(row["unread_bytes"] > 0 and port_of(row) == server.getsockname()[1], row)
    client.popen.stdin.close()
    check(client.wait().status == 0, client.err())
    thread.join(20)
    for each in [*accepted, server]:
        each.close()


def test_nginx_names_a_peer_that_never_reads_with_its_kernel_queue(lab):
    os.mkdir(lab.path("www"))
    os.chmod(lab.tmp, 0o755)
    with open(lab.path("www/file"), "wb") as file:
        file.truncate(FILE_BYTES)
    port = lab.port_nobody_is_given()
    with open(lab.path("nginx.conf"), "w", encoding="ascii") as file:
        file.write(f"worker_processes 2; daemon off; pid {lab.tmp}/nginx.pid; error_log {lab.tmp}/error.log;\n"
                   "events { worker_connections 64; }\nhttp { access_log off; sendfile on;\n")
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
            file.write(f"{name}_temp_path {lab.tmp}/{name};\n")
        file.write(f"server {{ listen 127.0.0.1:{port}; root {lab.tmp}/www; }} }}\n")
    master = lab.start([need("nginx"), "-e", lab.path("error.log"), "-c", lab.path("nginx.conf")],
                       env=lab.preloaded(HELDBY_LISTEN="127.0.0.1:0", HELDBY_SAMPLE_BYTES=4096))
    workers = wait_until(lambda: len(found := children_of(master.pid)) == 2 and found, "two workers")
    wait_until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, "nginx to listen")
    _, ports = stuck_clients(lab, port, 2)
    check_stuck_peer_is_named(lab, workers, ports)
    check(master.stop().status == 0, "nginx did not end well")


def test_redis_names_a_peer_that_never_reads_and_what_it_holds_for_it(lab):
    port = lab.port_nobody_is_given()
    server = lab.start([need("redis-server"), "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                        "--dir", lab.tmp], env=lab.preloaded(HELDBY_LISTEN="127.0.0.1:0", HELDBY_SAMPLE_BYTES=4096))
    server.wait_for("Ready to accept")
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client, socket.socket() as stuck:
        value = b"v" * 1000000
        client.sendall(b"*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$%d\r\n%s\r\n" % (len(value), value))
        check(client.recv(100) == b"+OK\r\n", "redis did not store")
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.connect(("127.0.0.1", port))
        stuck.sendall(b"GET big\r\n" * 20)
        found = check_stuck_peer_is_named(lab, [server.pid], {stuck.getsockname()[1]})
        # What the kernel did not take of twenty answers lies in redis's own buffers.
        check(found[0]["held_bytes"] > 10 * len(value), f"the answers are not held for it: {found}")
    check(server.stop().status == 0, "redis did not end well")


def test_a_python_server_names_a_peer_that_never_reads_with_its_kernel_queue(lab):
    with open(lab.path("file"), "wb") as file:
        file.truncate(FILE_BYTES)
    server = lab.start(["/usr/bin/python3", "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"], cwd=lab.tmp,
                       env=lab.preloaded(HELDBY_LISTEN="127.0.0.1:0", HELDBY_SAMPLE_BYTES=4096))
    port = int(server.wait_for(r"port (\d+)")[1])
    _, ports = stuck_clients(lab, port, 2)
    found = check_stuck_peer_is_named(lab, [server.pid], ports)
    check(all(row["held_bytes"] > 0 for row in found), f"their threads' memory is not theirs: {found}")


if __name__ == "__main__":
    run(globals())
