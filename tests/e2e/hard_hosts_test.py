"""Hosts with signals of their own, with clocks that jump, without a dynamic linker."""

import contextlib
import http.client
import re
import subprocess

from harness import check, run, wait_until

TIMED = ("pprof/profile?seconds=1", "fgprof?seconds=1", "pprof/goroutine?debug=2", "pprof/heap?seconds=1",
         "pprof/trace?seconds=1", "pprof/block?debug=1", "connections", "tasks", "leaks")


def ask_all(lab, process):
    url = lab.served_address(process.pid)
    bodies = {}
    for path in TIMED:
        status, body = lab.fetch(f"{url}/debug/{path}")
        check(status == 200, f"{path}: {status} {body[:300]}\n{process.err()}")
        bodies[path] = body.decode(errors="replace")
    return bodies


def test_a_host_with_handlers_of_its_own_keeps_them_and_its_timers(lab):
    program = lab.compile("own_signals.cc", "own_signals", "-pthread")
    process = lab.start([program], stdin=subprocess.PIPE,
                        env=lab.preloaded(HELDBY_SAMPLE_BYTES=1, HELDBY_LISTEN="127.0.0.1:0"))
    process.wait_for("ready")
    for _ in range(2):
        ask_all(lab, process)
    process.popen.stdin.close()
    done = process.wait()
    check((done.status, done.err) == (9, ""), f"{done.status}\n{done.out}{done.err}")
    check(done.out.splitlines()[-1] == "SIGURG 200, SIGRTMAX 200, SIGRTMIN 200, SIGUSR1 0, SIGCHLD 0, strangers 0, "
          "taken 0, every 5000 us", done.out)


# Where the monotonic clock jumps, a connection's time may be over at once.
def answer_in_the_end(lab, url):
    def answer():
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, body = lab.fetch(url)
            return body.decode() if status == 200 else None
        return None

    return wait_until(answer, url, 60)


# An hour back and forth between two looks at the clock. Whatever lasted is no hour, and nothing waits for one.
def test_clocks_that_jump_hang_nothing_and_make_no_negative_time(lab):
    clock = lab.compile("jumping_clock.cc", "jumping_clock.so", "-shared", "-fPIC")
    program = lab.compile("modest_host.cc", "modest_host", "-pthread")
    for jumps in ("wall", "all"):
        env = lab.preloaded(HELDBY_SAMPLE_BYTES=4096, HELDBY_LISTEN="127.0.0.1:0", HELDBY_BLOCK_PROFILE_RATE=1,
                            JUMPS=jumps)
        env["LD_PRELOAD"] += ":" + clock
        process = lab.start([program], env=env, stdin=subprocess.PIPE)
        process.wait_for("ready")
        process.popen.stdin.write(b"t" * 40)
        process.popen.stdin.flush()
        wait_until(lambda: process.out().count("thread: Success") == 41, "its threads", 60)
        block = answer_in_the_end(lab, lab.served_address(process.pid) + "/debug/pprof/block?debug=1")
        delays = [int(row) for row in re.findall(r"^(-?\d+) \d+ @", block, re.MULTILINE)]
        check(delays and min(delays) > 0 and max(delays) < 100 * 3600e9, f"jumps of {jumps}: {delays}")
        if jumps == "wall":
            for path, body in ask_all(lab, process).items():
                found = re.search(r"(?<![\w.])-\d+(\.\d+)?\s*(ns|us|ms|s|seconds|minutes)\b", body)
                check(not found, f"{path} tells of {found and found[0]}:\n{body[:2000]}")
        process.popen.stdin.close()
        done = process.wait()
        check((done.status, done.err) == (9, ""), f"jumps of {jumps}: {done.status}\n{done.out}{done.err}")


def test_a_static_pie_is_refused_clearly_and_runs_as_ever_when_preloaded(lab):
    for flags in (("-static",), ("-static-pie",)):
        program = lab.compile("fork_census.cc", "static_census", *flags)
        done = lab.run([lab.heldby, "run", "--", program])
        check(done.status == 1 and "statically linked" in done.err and done.out == "",
              f"{flags}: {done.status}\n{done.out}{done.err}")
        plain = lab.run([program, "0"])
        done = lab.run([program, "0"], env=lab.preloaded(HELDBY_LISTEN="127.0.0.1:0"))
        check((done.status, done.out, done.err) == (plain.status, plain.out, plain.err),
              f"{flags}: {done.status}\n{done.out}{done.err}")


def test_the_core_in_a_fully_static_executable_says_so_at_its_first_malloc(lab):
    archive = f"{lab.build}/lib/core/libheldby-core.a"
    core = (archive, "-Wl,-u,malloc", "-Wl,-u,heldby_core_start", "-pthread")
    for flags in (("-static",), ("-static-pie",)):
        program = lab.compile("own_new.cc", "static_core", *flags, *core, "-w")
        done = lab.run([program])
        check(done.status < 0 and "fully static" in done.err and "accepted" in done.err and done.out == "",
              f"{flags}: {done.status}\n{done.out}{done.err}")


if __name__ == "__main__":
    run(globals())
