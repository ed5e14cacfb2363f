"""What every end-to-end test shares: a lab that starts real programs and leaves nothing behind.

A test is a function `test_<sentence>(lab)`; run(globals()) at the end of a file runs the one that
the command line names. Processes are stopped by their id only. Each waits at most a stated number
of seconds, and the test as a whole at most TEST_SECONDS: less than ctest's own limit, because
ctest's SIGKILL would leave our children running.
"""

import contextlib
import ctypes
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request

TEST_SECONDS = 280
PR_SET_CHILD_SUBREAPER = 36
GO_PPROF_COMPLAINTS = ("ocal symbolization failed", "unrecognized", "malformed", "panic:")


class Failure(Exception):
    """A broken promise, in words."""


def check(condition, message):
    if not condition:
        raise Failure(message)


def wait_until(condition, what, seconds=20, pause_s=0.05):
    """Returns the first true value of condition()."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        check(time.monotonic() < deadline, f"waited {seconds} s in vain for {what}")
        time.sleep(pause_s)


def need(program):
    """The path of a program that `./dev setup` installs."""
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin:/sbin")
    check(path, f"{program} is not installed; ./dev setup installs it")
    return path


def read_text(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def children_of(pid):
    """Direct children, zombies included."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        stat = read_text_of_process(name, "stat")
        if stat and int(stat.rpartition(")")[2].split()[1]) == pid:
            found.append(int(name))
    return found


def read_text_of_process(pid, name):
    try:
        return read_text(f"/proc/{pid}/{name}")
    except (ProcessLookupError, PermissionError):
        return ""


def descendants_of(pid):
    found, queue = [], [pid]
    while queue:
        below = children_of(queue.pop())
        found += below
        queue += below
    return found


class Finished:
    """What a program left: exit status (negative: signal), stdout, stderr."""

    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    def heldby_lines(self):
        return [line for line in self.err.splitlines() if line.startswith("heldby")]


class Process:
    """A running program; its output goes to files, so that no pipe can fill up."""

    def __init__(self, argv, env, folder, name, stdin=subprocess.DEVNULL, cwd=None):
        self.argv = argv
        self.out_path = os.path.join(folder, name + ".out")
        self.err_path = os.path.join(folder, name + ".err")
        with open(self.out_path, "wb") as out, open(self.err_path, "wb") as err:
            self.popen = subprocess.Popen(argv, env=env, stdin=stdin, stdout=out, stderr=err, cwd=cwd)
        self.pid = self.popen.pid

    def out(self):
        return read_text(self.out_path)

    def err(self):
        return read_text(self.err_path)

    def wait_for(self, pattern, seconds=20):
        """The first match of `pattern` in stdout or stderr."""

        def match():
            found = re.search(pattern, self.out()) or re.search(pattern, self.err())
            check(found or self.popen.poll() is None,
                  f"{self.argv[0]} ended with {self.popen.returncode} before it said /{pattern}/:\n"
                  f"{self.out()}{self.err()}")
            return found

        return wait_until(match, f"{self.argv[0]} to say /{pattern}/", seconds)

    def wait(self, seconds=60):
        try:
            status = self.popen.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"{' '.join(self.argv)} still runs after {seconds} s:\n"
                          f"{self.out()}{self.err()}") from None
        return Finished(status, self.out(), self.err())

    def stop(self, signal_number=signal.SIGTERM, seconds=20):
        """Asks it to end, and says how it did."""
        self.popen.send_signal(signal_number)
        return self.wait(seconds)


class Row:
    """A row of `go tool pprof -top`."""

    def __init__(self, flat, cum, name):
        self.flat, self.cum, self.name = flat, cum, name


class Top:
    """The parsed report of `go tool pprof -top -unit=B` (or of counts)."""

    LINE = re.compile(r"^\s*(-?[\d.]+)\S*\s+-?[\d.]+%\s+-?[\d.]+%\s+(-?[\d.]+)\S*\s+-?[\d.]+%\s+(.+)$")

    def __init__(self, text):
        self.text = text
        self.rows = [Row(float(m[1]), float(m[2]), m[3]) for m in map(self.LINE.match, text.splitlines()) if m]
        total = re.search(r"of (-?[\d.]+)\w* total", text)
        self.total = float(total[1]) if total else 0.0

    def cum_of(self, pattern):
        """The largest cumulative value among the rows that match."""
        return max((row.cum for row in self.rows if re.search(pattern, row.name)), default=0.0)

    def names(self):
        return [row.name for row in self.rows]

    def check_every_frame_has_a_name(self):
        for row in self.rows:
            check(row.name.strip() not in ("", "<unknown>") and not re.match(r"^(0x)?[0-9a-f]{8,}$", row.name),
                  f"a frame without a name: {row.name!r}\n{self.text}")


class Lab:
    """The build under test, a temporary folder, and every process the test starts."""

    def __init__(self, build):
        self.build = build
        self.source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        self.programs = os.path.join(self.source, "tests", "e2e", "programs")
        self.tmp = tempfile.mkdtemp(prefix="heldby-e2e-")
        self.count = 0
        self.core = self.lib("libheldby.so")
        self.heldby = self.bin("heldby")

    def bin(self, name):
        return self._built("bin", name)

    def lib(self, name):
        return self._built("lib", name)

    def _built(self, folder, name):
        path = os.path.join(self.build, folder, name)
        check(os.path.exists(path), f"{path} has not been built; ./dev build builds it")
        return path

    def path(self, name):
        return os.path.join(self.tmp, name)

    def env(self, preload=False, **settings):
        """The environment of a user; HELDBY_* only as given here."""
        env = {key: value for key, value in os.environ.items() if not key.startswith(("HELDBY_", "LD_", "PPROF_"))}
        env.update(LC_ALL="C.UTF-8", TMPDIR=self.tmp)
        if preload:
            env["LD_PRELOAD"] = self.core
        env.update({key: str(value) for key, value in settings.items()})
        return env

    def start(self, argv, env=None, **options):
        self.count += 1
        name = f"{self.count:03}-{os.path.basename(argv[0])}"
        return Process([str(word) for word in argv], env or self.env(), self.tmp, name, **options)

    def run(self, argv, env=None, seconds=60, **options):
        return self.start(argv, env, **options).wait(seconds)

    def run_ok(self, argv, env=None, seconds=60, **options):
        done = self.run(argv, env, seconds, **options)
        check(done.status == 0, f"{' '.join(map(str, argv))} ended with {done.status}:\n{done.out}{done.err}")
        return done

    def preloaded(self, **settings):
        return self.env(preload=True, **settings)

    def compile(self, source, output, *flags, compiler="g++"):
        """Builds one of tests/e2e/programs; returns the path of the result."""
        path = self.path(output)
        inputs = [os.path.join(self.programs, source)]
        self.run_ok([need(compiler), "-std=c++20", "-O1", "-g", "-Wall", "-Wextra", *inputs, "-o", path, *flags],
                    seconds=120)
        return path

    def linked_flags(self):
        """What a program linked with heldby::heldby is linked with."""
        libs = os.path.join(self.build, "lib")
        return (f"-I{self.source}/include", f"-L{libs}", "-Wl,--no-as-needed", "-lheldby", "-lheldby-server",
                f"-Wl,-rpath,{libs}", "-pthread")

    def port_nobody_is_given(self):
        """A free port below the range that the kernel takes port 0 from: a test beside this one cannot get it."""
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as limits:
            first = int(limits.read().split()[0])
        for _ in range(100):
            port = random.randrange(first // 2, first)
            with socket.socket() as probe:
                try:
                    probe.bind(("127.0.0.1", port))
                    return port
                except OSError:
                    continue
        raise Failure("no free port below the ephemeral range")

    def fetch(self, url, seconds=30):
        """(status, body)"""
        try:
            with urllib.request.urlopen(url, timeout=seconds) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def fetch_when_up(self, url, seconds=20):
        """fetch(), from a server that says its address before it listens, or listens before it is ready (503)."""

        def answer():
            with contextlib.suppress(urllib.error.URLError):
                reply = self.fetch(url)
                return reply if reply[0] != 503 else None

        return wait_until(answer, f"{url} to answer", seconds)

    def go_env(self):
        return self.env(HOME=self.tmp, PPROF_TMPDIR=self.path("pprof"), GOFLAGS="", GOCACHE=self.path("gocache"))

    def pprof(self, *arguments, seconds=60):
        """The output of `go tool pprof`, which must succeed and complain of nothing."""
        done = self.run_ok([need("go"), "tool", "pprof", *arguments], env=self.go_env(), seconds=seconds)
        for complaint in GO_PPROF_COMPLAINTS:
            check(complaint not in done.out + done.err,
                  f"go tool pprof complains ({complaint}):\n{done.err}{done.out}")
        return done.out

    def top(self, source, *arguments):
        text = self.pprof("-top", "-unit=B", "-nodefraction=0", "-nodecount=2000", *arguments, source)
        return Top(text)

    def served_address(self, process, seconds=20):
        """Where a preloaded process serves, as `heldby ls` tells."""

        def address():
            listing = self.run_ok([self.heldby, "ls"]).out
            found = re.search(rf"^\s*{process}\s+(http://\S+|unix:\S+)", listing, re.MULTILINE)
            return found and found[1]

        return wait_until(address, f"heldby ls to show process {process}", seconds)

    def close(self):
        """Ends what the test left running, grandchildren and daemons included, by id."""
        for _ in range(20):
            left = descendants_of(os.getpid())
            if not left:
                break
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0] != 0:
                    pass
            time.sleep(0.05)
        shutil.rmtree(self.tmp, ignore_errors=True)


def interrupted(signal_number, _frame):
    """Raises, so that what the test started is ended before this process is."""
    if signal_number == signal.SIGTERM:
        raise SystemExit("terminated")
    raise Failure(f"the test took longer than {TEST_SECONDS} s")


def run(tests):
    """usage: x_test.py BUILD_FOLDER SENTENCE [SENTENCE ...]; without a sentence: all of them."""
    sentences = [name[5:] for name in tests if name.startswith("test_")]
    if len(sys.argv) < 2:
        sys.exit(f"usage: {sys.argv[0]} BUILD_FOLDER [SENTENCE ...]\nsentences:\n  " + "\n  ".join(sentences))
    # Daemons of a test become children of this process, and can be found and ended by it.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGALRM, interrupted)
    signal.signal(signal.SIGTERM, interrupted)
    failed = 0
    for sentence in sys.argv[2:] or sentences:
        start = time.monotonic()
        lab = Lab(os.path.abspath(sys.argv[1]))
        try:
            test = tests["test_" + sentence]
            signal.alarm(getattr(test, "seconds", TEST_SECONDS))
            test(lab)
            print(f"ok      {sentence} ({time.monotonic() - start:.1f} s)", flush=True)
        except Exception as failure:  # a surprise ends this test, not the ones after it
            failed += 1
            what = failure if isinstance(failure, Failure) else traceback.format_exc()
            print(f"FAILED  {sentence} ({time.monotonic() - start:.1f} s)\n{what}", flush=True)
        finally:
            signal.alarm(0)
            lab.close()
    sys.exit(1 if failed else 0)
