"""What the kernel refuses: the host's output and status stay what they are without us."""

import errno
import os
import subprocess

from harness import Failure, check, read_text, run

ANSWERS = ("pprof/heap", "pprof/goroutine?debug=2", "pprof/profile?seconds=1", "fgprof?seconds=1", "connections")


class Host:
    """modest_host under `prefix`, with us and without: same output, same status."""

    def __init__(self, lab):
        self.lab = lab
        os.chmod(lab.tmp, 0o755)
        self.program = lab.compile("modest_host.cc", "modest_host", "-pthread")
        self.refusing = lab.compile("refusing.cc", "refusing")

    def start(self, prefix, **settings):
        env = self.lab.env(**settings)
        if settings:
            env["PRELOAD"] = self.lab.core
        return self.lab.start([*prefix, self.program], env=env, stdin=subprocess.PIPE)

    def end(self, process):
        process.popen.stdin.close()
        return process.wait(60)

    def ask(self, process, what):
        """Every answer comes, whatever it says; nothing hangs, nothing dies."""
        listing = self.lab.run([self.lab.heldby, "ls"]).out
        for line in listing.splitlines():
            if line.split()[:1] != [str(process.pid)] or "http://" not in line:
                continue
            url = "http://" + line.split("http://")[1].split()[0]
            for path in ANSWERS:
                try:
                    status, _ = self.lab.fetch(f"{url}/debug/{path}")
                except OSError as error:
                    raise Failure(f"{what}: {path}: {error}; the host: {process.popen.poll()}\n{process.err()}") from None
                check(status in (200, 500, 503), f"{what}: {path} answers {status}")
            return True
        return False

    def compare(self, what, prefix, serves=True, **settings):
        plain_process = self.start(prefix)
        plain_process.wait_for("ready")
        plain = self.end(plain_process)
        check(plain.status == 9, f"{what}: without us {plain.status}\n{plain.out}{plain.err}")
        settings = {"HELDBY_SAMPLE_BYTES": 4096, "HELDBY_LISTEN": "127.0.0.1:0", **settings}
        process = self.start(prefix, **settings)
        process.wait_for("ready")
        if serves:
            self.lab.served_address(process.pid)
            check(self.ask(process, what), f"{what}: not served\n{process.err()}")
        done = self.end(process)
        check((done.status, done.out) == (plain.status, plain.out),
              f"{what}: {done.status}, without us {plain.status}\n{done.out}{done.err}without us:\n{plain.out}")
        said = done.err.splitlines()
        check(all(line.startswith("heldby: ") for line in said), f"{what}: not ours:\n{done.err}")
        check(len(said) == len(set(said)), f"{what}: said twice:\n{done.err}")
        return done


def test_refused_system_calls_change_nothing_in_the_host(lab):
    host = Host(lab)
    # Where the announcement is a memfd, its absence is not being listed; without clone3 there are no threads in
    # glibc's eyes only if clone is refused too.
    for call, serves in (("perf_event_open", True), ("ptrace", True), ("timer_create", True), ("execve", True),
                         ("process_vm_readv", True), ("prctl", True), ("rt_tgsigqueueinfo", True), ("madvise", True),
                         ("clone3", True), ("memfd_create", False), ("clone", False), ("socket", False)):
        for error in (errno.EPERM, errno.ENOSYS):
            host.compare(f"{call} refused with {errno.errorcode[error]}", [host.refusing, call, error],
                         serves and (call, error) != ("clone3", errno.EPERM))


def test_tight_limits_change_nothing_in_the_host(lab):
    host = Host(lab)
    for limit, value, serves in (("nofile", 8, False), ("nofile", 64, True), ("stack", 256 << 10, True),
                                 ("nproc", 0, False), ("as", 256 << 20, False), ("as", 96 << 20, False)):
        host.compare(f"{limit}={value}", [host.refusing, limit, value], serves)


# SIGXFSZ and SIGPIPE end a process that does not expect them: what we write is not to bring them.
def test_a_dump_beyond_the_limit_of_a_files_size_ends_no_host(lab):
    host = Host(lab)
    done = host.compare("fsize=2048", [host.refusing, "fsize", 2048], HELDBY_SAMPLE_BYTES=1,
                        HELDBY_DUMP_AT_EXIT=lab.path("at_exit.pb.gz"))
    check("File too large" in done.err, f"the limit was not reached:\n{done.err}")


def test_a_standard_error_that_nobody_reads_ends_no_host(lab):
    program = lab.compile("modest_host.cc", "modest_host", "-pthread")
    for settings in ({"HELDBY_SAMPLE_BYTES": "many"}, {"HELDBY_DUMP_AT_EXIT": "/missing/heap"}, {"HELDBY_LISTEN": "nowhere"},
                     {"HELDBY_LISTEN": "127.0.0.1:0", "HELDBY_LEAKS_WINDOW": "never", "HELDBY_LOG": "info"}):
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run([program], env=lab.preloaded(**settings), stdin=subprocess.DEVNULL, stderr=writing,
                              stdout=subprocess.PIPE, timeout=60, check=False)
        os.close(writing)
        check(done.returncode == 9, f"{settings}: ended with {done.returncode}\n{done.stdout}")


def test_a_standard_error_that_is_full_holds_no_host_up(lab):
    program = lab.compile("modest_host.cc", "modest_host", "-pthread")
    for settings in ({"HELDBY_SAMPLE_BYTES": "many"}, {"HELDBY_DUMP_AT_EXIT": "/missing/heap"},
                     {"HELDBY_LISTEN": "127.0.0.1:0", "HELDBY_LEAKS_WINDOW": "never", "HELDBY_LOG": "info"}):
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        try:
            while True:
                os.write(writing, b"x" * 4096)
        except BlockingIOError:
            os.set_blocking(writing, True)
        try:
            done = subprocess.run([program], env=lab.preloaded(**settings), stdin=subprocess.DEVNULL, stderr=writing,
                                  stdout=subprocess.PIPE, timeout=60, check=False)
            check(done.returncode == 9, f"{settings}: ended with {done.returncode}\n{done.stdout}")
        except subprocess.TimeoutExpired:
            raise Failure(f"{settings}: the host waits for a reader") from None
        finally:
            os.close(reading)
            os.close(writing)


def in_a_namespace(lab, script):
    """A prefix that runs a program after `script`, with mounts of its own; None: nobody may have any here."""
    for options in (["-m"], ["-Urm"]):
        prefix = ["unshare", *options, "sh", "-c", f'{script} && exec "$@"', "sh"]
        if lab.run([*prefix, "true"]).status == 0:
            return prefix
    print("note    no mount namespaces here: nothing is tested")
    return None


def test_a_host_without_proc_runs_as_ever(lab):
    host = Host(lab)
    if prefix := in_a_namespace(lab, "mount -t tmpfs none /proc"):
        host.compare("no /proc", [*prefix, host.refusing, "none", 0], serves=False)


def test_a_host_that_can_write_nowhere_runs_as_ever(lab):
    host = Host(lab)
    prefix = in_a_namespace(lab, "mount --bind / / 2>/dev/null; mount -o remount,bind,ro /")
    if not prefix:
        return
    dump = lab.path("at_exit.pb.gz")
    done = host.compare("read-only", [*prefix, host.refusing, "none", 0],
                        HELDBY_DUMP_AT_EXIT=dump, HELDBY_DUMP_DIR=lab.path("dumps"))
    if "/tmp" not in read_text("/proc/self/mounts"):
        check("Read-only" in done.err, f"not a word on what could not be written:\n{done.err}")


if __name__ == "__main__":
    run(globals())
