"""Real servers, each started twice - as it is, and with heldby in it - and put under real load.

What the soak run and the benchmark of services share. Every process that is started is ended by
its id; nothing listens but on 127.0.0.1 and unix sockets.
"""
import contextlib
import dataclasses
import glob
import hashlib
import http.client
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import time

START_SECONDS = 30


class Trouble(Exception):
    """The sentence is for whoever reads the report."""


def clean_environment():
    return {key: value for key, value in os.environ.items()
            if not key.startswith(("HELDBY_", "LD_", "MALLOC_"))}


def wait_for(condition, what, seconds=START_SECONDS):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise Trouble(f"waited {seconds} s in vain for {what}")


def quiet_port():
    """A free port below the range that the kernel takes port 0 from."""
    limits = pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii")
    first = int(limits.split()[0])
    for _ in range(100):
        port = random.randrange(first // 2, first)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise Trouble("no free port below the ephemeral range")


@dataclasses.dataclass
class Load:
    requests: int
    requests_per_second: float
    errors: int


@dataclasses.dataclass
class Setup:
    """How a service is to run: `preload` and `settings` are empty for the one as it is."""
    folder: str
    build: str
    preload: str = ""
    settings: dict = dataclasses.field(default_factory=dict)
    under: list = dataclasses.field(default_factory=list)  # a tool and its arguments

    @property
    def is_watched(self):
        return bool(self.settings)

    def path(self, name):
        return os.path.join(self.folder, name)

    def environment(self):
        env = clean_environment() | self.settings
        if self.preload:
            env["LD_PRELOAD"] = self.preload
        return env


class Service:
    name = ""
    is_linked = False  # with heldby; else it is preloaded

    def __init__(self, setup):
        self.setup = setup
        os.makedirs(setup.folder)
        with open(setup.path("output"), "wb") as output:
            self.process = subprocess.Popen([*setup.under, *self.command()], env=setup.environment(), stdout=output,
                                            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            wait_for(self.is_up, f"{self.name} to serve")
        except Trouble as trouble:
            self.process.kill()
            self.process.wait()
            raise Trouble(f"{trouble}; it said:\n{self.said()}") from None

    def said(self):
        return pathlib.Path(self.setup.path("output")).read_text(encoding="utf-8", errors="replace")

    def serving_pid(self):
        return self.process.pid

    def endpoint(self):
        """The socket of the process that serves, or None."""
        found = glob.glob(self.setup.path(f"heldby.{self.serving_pid()}.sock"))
        return found[0] if found else None

    def resident_bytes(self):
        statm = pathlib.Path(f"/proc/{self.serving_pid()}/statm").read_text(encoding="ascii")
        return int(statm.split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def cpu_ns(self):
        """Processor time of its threads so far, in the kernel and outside."""
        tasks = pathlib.Path(f"/proc/{self.serving_pid()}/task").iterdir()
        return sum(int((task / "schedstat").read_text(encoding="ascii").split()[0]) for task in tasks)

    def p99_us(self, seconds):
        """Of one request at a time: what is late is the server, not a queue before it."""
        client = os.path.join(self.setup.build, "bench", "latency_client")
        address, request = self.one_request()
        return float(run([client, address, str(seconds)], seconds + 60, input=request).split()[1])

    def wake(self):
        """What may be needed for it to see a signal."""

    def end(self):
        """The status that it ended with."""
        self.process.send_signal(signal.SIGTERM)
        self.wake()
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return "killed: it did not end in 20 s"


def run(argv, seconds, **options):
    done = subprocess.run(argv, env=clean_environment(), text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=seconds, check=False, **options)
    if done.returncode != 0:
        raise Trouble(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


class Redis(Service):
    name = "redis"

    def command(self):
        return ["redis-server", "--port", "0", "--unixsocket", self.setup.path("redis.sock"), "--save", "",
                "--dir", self.setup.folder, "--enable-debug-command", "yes"]

    def is_up(self):
        if not os.path.exists(self.setup.path("redis.sock")):
            return False
        done = subprocess.run(["redis-cli", "-s", self.setup.path("redis.sock"), "ping"], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=10, check=False)
        return done.stdout.strip() == "PONG"

    def one_request(self):
        return self.setup.path("redis.sock"), f"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$1024\r\n{'v' * 1024}\r\n"

    def requests(self, count):
        run(["redis-benchmark", "-s", self.setup.path("redis.sock"), "-n", str(count), "-c", "5", "-d", "1024", "-r",
             "2000", "-t", "set", "-q"], 300)

    # SET with values of 3 bytes to 64 KiB among a million keys would only measure growth: few keys, replaced.
    def load(self, seconds):
        rate = 60_000
        requests = max(int(rate * seconds), 2000)
        out = run(["redis-benchmark", "-s", self.setup.path("redis.sock"), "-n", str(requests), "-c", "20", "-d",
                   "1024", "-r", "2000", "-t", "set", "--csv"], seconds * 20 + 60)
        fields = re.search(r'^"SET",(.*)$', out, re.MULTILINE)
        if not fields:
            raise Trouble(f"redis-benchmark says\n{out}")
        return Load(requests, float(fields[1].split(",")[0].strip('"')), 0)

    def answers(self):
        """What the same commands are answered, and the digest of what is there after them."""
        chance = random.Random(20261123)
        lines = ["FLUSHALL"]
        for i in range(3000):
            key = f"key:{chance.randrange(200)}"
            lines.append(chance.choice([
                f"SET s:{key} {'v' * chance.randrange(1, 3000)}", f"GET s:{key}", f"APPEND s:{key} {i}",
                f"LPUSH l:{key} {i} {i + 1}", f"RPOP l:{key}", f"SADD t:{key} {i % 50}", f"HSET h:{key} f{i % 40} {i}",
                f"ZADD z:{key} {i} m{i % 60}", f"DEL s:{key}", f"LRANGE l:{key} 0 -1", f"ZRANGE z:{key} 0 -1"]))
        lines += ["DBSIZE", "DEBUG DIGEST"]
        out = run(["redis-cli", "-s", self.setup.path("redis.sock")], 120, input="\n".join(lines) + "\n")
        return hashlib.sha256(out.encode()).hexdigest()


def wrk(url, seconds, connections=20):
    out = run(["wrk", "-t1", f"-c{connections}", f"-d{max(round(seconds), 1)}", url],
              seconds + 60)
    count = re.search(r"^\s+(\d+) requests in", out, re.MULTILINE)
    rate = re.search(r"^Requests/sec:\s+([\d.]+)", out, re.MULTILINE)
    if not count or not rate:
        raise Trouble(f"wrk says\n{out}")
    errors = sum(int(n) for line in re.findall(r"^\s+Socket errors:.*$|^\s+Non-2xx.*$", out, re.MULTILINE)
                 for n in re.findall(r"\d+", line.replace("2xx", "").replace("3xx", "")))
    return Load(int(count[1]), float(rate[1]), errors)


def fetched(port, target, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", target, headers=headers)
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


NGINX = """
{user}
{master}
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{port}; root {folder}/www; gzip on; gzip_min_length 2000; gzip_types *; }}
}}
"""


class Nginx(Service):
    name = "nginx"

    def command(self):
        folder = self.setup.folder
        self.port = quiet_port()
        os.makedirs(self.setup.path("www"))
        os.chmod(folder, 0o755)
        chance = random.Random(7)
        for i in range(8):
            size = 400 * 4 ** (i % 4)
            text = "".join(chance.choice(["one ", "two ", "three\n"]) for _ in range(size))
            pathlib.Path(self.setup.path(f"www/{i}.txt")).write_text(text, encoding="ascii")
        pathlib.Path(self.setup.path("nginx.conf")).write_text(
            NGINX.format(folder=folder, port=self.port, user="user root;" if os.geteuid() == 0 else "",
                         master="master_process off;" if self.setup.under else ""),
            encoding="ascii")
        return ["nginx", "-e", self.setup.path("error.log"), "-c", self.setup.path("nginx.conf")]

    def is_up(self):
        with contextlib.suppress(OSError):
            return fetched(self.port, "/0.txt")[0] == 200
        return False

    def serving_pid(self):
        """The worker."""
        if self.setup.under:
            return self.process.pid
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        found = children.read_text(encoding="ascii").split()
        if not found:
            raise Trouble("nginx has no worker")
        return int(found[0])

    def load(self, seconds):
        return wrk(f"http://127.0.0.1:{self.port}/0.txt", seconds)

    def one_request(self):
        return str(self.port), "GET /0.txt HTTP/1.1\r\nHost: localhost\r\n\r\n"

    def requests(self, count):
        """One after the other."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        for _ in range(count):
            connection.request("GET", "/0.txt")
            connection.getresponse().read()
        connection.close()

    def wake(self):
        # Under valgrind it sleeps through a SIGTERM until something happens on a socket.
        if self.setup.under:
            time.sleep(0.5)
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=10).close()

    def answers(self):
        digest = hashlib.sha256()
        for i in range(9):
            for coding in ("identity", "gzip"):
                status, body = fetched(self.port, f"/{i}.txt", **{"Accept-Encoding": coding})
                digest.update(str(status).encode() + body)
        return digest.hexdigest()


class Downloads(Service):
    """The example: linked with heldby, and the same source without it."""
    name = "download_server"
    is_linked = True

    def command(self):
        with open(self.setup.path("file"), "wb") as file:
            file.write(random.Random(3).randbytes(256 << 10))
        program = "download_server" if self.setup.is_watched else "download_server_plain"
        command = [os.path.join(self.setup.build, "bin", program), f"--file={self.setup.path('file')}",
                   "--listen=127.0.0.1:0", "--mode=leaky"]
        if self.setup.is_watched:
            command.append(f"--debug=unix:{self.setup.path('heldby.%p.sock')}")
        return command

    def is_up(self):
        found = re.search(r"127\.0\.0\.1:(\d+)", self.said())
        self.port = int(found[1]) if found else 0
        return self.port != 0

    def load(self, seconds):
        return wrk(f"http://127.0.0.1:{self.port}/", seconds, connections=8)

    def one_request(self):
        return str(self.port), "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"

    def answers(self):
        status, body = fetched(self.port, "/")
        if pathlib.Path(self.setup.path("file")).read_bytes() != body:
            raise Trouble(f"download_server answers {status} and {len(body)} other bytes")
        return hashlib.sha256(body).hexdigest()


SERVICES = [Redis, Nginx, Downloads]
