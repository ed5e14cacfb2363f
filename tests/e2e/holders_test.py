"""Which client: five that never read among two hundred that do, by peer, on the page and in go tool pprof."""

import http.client
import json
import re
import subprocess
import threading
import urllib.request

from harness import check, read_text, run, wait_until

FILE_BYTES = 8 * 1000 * 1000  # more than the kernel takes for a client that never reads
STUCK = 5
HEALTHY = 200


class Service:
    """examples/download_server, and clients of both kinds."""

    def __init__(self, lab):
        self.lab = lab
        path = lab.path("file.bin")
        with open(path, "wb") as file:
            file.truncate(FILE_BYTES)
        self.server = lab.start([lab.bin("download_server"), f"--file={path}", "--listen=127.0.0.1:0",
                                 "--debug=127.0.0.1:0", "--mode=leaky"])
        self.port = int(self.server.wait_for(r"downloads on http://127\.0\.0\.1:(\d+)/")[1])
        self.debug = self.server.wait_for(r"(http://127\.0\.0\.1:\d+)/debug/pprof/")[1]
        self.done = threading.Event()
        self.downloads = 0

    def stuck_clients_arrive(self):
        self.stuck = self.lab.start([self.lab.bin("stuck_client"), f"--port={self.port}", f"--count={STUCK}",
                                     "--seconds=200"], stdin=subprocess.PIPE)
        self.stuck.wait_for("stopped reading")
        return wait_until(self.ports_of_stuck_clients, "their connections in /proc/net/tcp")

    def ports_of_stuck_clients(self):
        """Local ports of the sockets that the client process itself has open."""
        listing = self.lab.run_ok(["ls", "-l", f"/proc/{self.stuck.pid}/fd"]).out
        inodes = set(re.findall(r"socket:\[(\d+)\]", listing))
        rows = [line.split() for line in read_text("/proc/net/tcp").splitlines()[1:]]
        ports = {int(row[1].split(":")[1], 16) for row in rows if row[9] in inodes}
        return ports if len(ports) == STUCK else None

    def healthy_clients_download(self):
        """Each of them one whole file after another."""

        def client():
            room = bytearray(1 << 18)
            while not self.done.is_set():
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/file", timeout=60) as reply:
                        size = 0
                        while count := reply.readinto(room):
                            size += count
                        self.downloads += size == FILE_BYTES
                except (OSError, http.client.HTTPException):
                    return  # the server has been ended; too few downloads fail the test
                self.done.wait(4)

        self.threads = [threading.Thread(target=client, daemon=True) for _ in range(HEALTHY)]
        for thread in self.threads:
            thread.start()

    def end(self):
        self.done.set()
        for thread in self.threads:
            thread.join(30)

    def connections(self):
        status, body = self.lab.fetch(self.debug + "/debug/connections?format=json")
        check(status == 200, f"/debug/connections answers {status}: {body[:300]}")
        return json.loads(body)["connections"]

    def tasks(self):
        rows = json.loads(self.lab.fetch(self.debug + "/debug/tasks?format=json")[1])["tasks"]
        return [row for row in rows if row["kind"] == "task"]

    def rows_that_stopped(self):
        return [row for row in self.connections() if "peer stopped reading" in row["what_is_wrong"]]


def port_of(row):
    return int(row["peer"].rpartition(":")[2])


def test_the_clients_that_never_read_are_named_among_those_that_do(lab):
    service = Service(lab)
    ports = service.stuck_clients_arrive()
    service.healthy_clients_download()
    stopped = wait_until(lambda: len(service.rows_that_stopped()) >= STUCK and service.downloads >= HEALTHY
                         and service.rows_that_stopped(), "five to be called stopped", 60)
    check({port_of(row) for row in stopped} == ports, f"stuck: {ports}, the page says {stopped}")
    for row in stopped:
        check(abs(row["held_bytes"] - FILE_BYTES) <= 0.02 * FILE_BYTES, f"not one file: {row}")
        check(re.fullmatch(r"peer stopped reading for \d+ s with \d+ bytes unsent", row["what_is_wrong"]), row)
        check(row["state"] == "sending the file" and row["unsent_bytes"] > 0, row)
        check(abs(row["stalled_s"] - row["age_s"]) <= 5, f"it has been stuck from the beginning: {row}")
        check(row["task"] == "download" and row["labels"] == "route=/download", row)
        check("DownloadHandler::Serve" in row["opened_by"], f"who opened it is not named: {row}")
        check(row["waits_for"].split(",")[0] in ("send", "write", "poll"), f"what its task waits for: {row}")
        check("DownloadHandler::Serve" in row["at"], f"where its task is parked: {row}")
    service.end()
    first = service.connections()[:STUCK]
    check({port_of(row) for row in first} == ports, f"stuck: {ports}, the first rows are {first}")

    url = service.debug + "/debug/pprof/heap?labels=connection"
    top = lab.pprof("-top", "-unit=B", "-nodecount=50", "-tagroot=peer", url)
    for port in ports:
        held = re.search(rf"(\d+)B\s+[\d.]+%\s+127\.0\.0\.1:{port}\b", top)
        check(held and abs(int(held[1]) - FILE_BYTES) <= 0.02 * FILE_BYTES, f"peer {port} is not a tree:\n{top}")
    check("/download" in lab.pprof("-tags", service.debug + "/debug/pprof/heap"), "the route is not a tag")

    service.stuck.popen.stdin.close()
    service.stuck.wait()
    wait_until(lambda: not service.connections(), "the page to be empty after they left")
    wait_until(lambda: not service.tasks(), "no task to be left")


if __name__ == "__main__":
    run(globals())
