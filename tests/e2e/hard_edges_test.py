"""Hosts that do what few do: a malloc made of its family, locked memory, files at numbers of their own, another user."""

import contextlib
import http.client
import os
import re
import shutil
import subprocess

from harness import check, need, run, wait_until

SERVED = {"HELDBY_LISTEN": "127.0.0.1:0"}


def edge_host(lab):
    return lab.compile("edge_host.cc", "edge_host", "-pthread")


# Asked for once by us, while our own table is being filled.
def test_a_malloc_of_the_hosts_own_may_be_made_of_any_call_of_the_family(lab):
    for composed_of in (1, 2, 3, 4):
        program = lab.compile("composed_malloc.cc", f"composed_{composed_of}", f"-DCOMPOSED_OF={composed_of}", "-fno-builtin")
        plain = lab.run([program])
        done = lab.run([program], env=lab.preloaded(HELDBY_SAMPLE_BYTES=1))
        check((done.status, done.out) == (plain.status, plain.out) == (9, plain.out),
              f"{composed_of}: {done.status}, without us {plain.status}\n{done.out}{done.err}")


def test_a_host_that_locks_its_memory_stays_small(lab):
    program = edge_host(lab)
    plain = lab.run([program, "lock"])
    if "mlockall" in plain.err:
        print(f"note    nobody may lock memory here: nothing is tested: {plain.err}")
        return
    done = lab.run([program, "lock"], env=lab.preloaded(HELDBY_SAMPLE_BYTES=4096))
    check((done.status, done.err) == (9, ""), f"{done.status}\n{done.err}")
    check(int(done.out) - int(plain.out) < 32 << 10, f"{done.out.strip()} kB locked, {plain.out.strip()} kB without us")


def test_fork_and_exit_cancel_no_thread(lab):
    program = edge_host(lab)
    for what, out in (("cancel fork", "forked: 1\ncancelled: 1\n"), ("cancel exit", "exits\n")):
        done = lab.run([program, what], env=lab.preloaded(HELDBY_DUMP_AT_EXIT=lab.path("%p.pb.gz"), **SERVED))
        check((done.status, done.out, done.err) == (9, out, ""), f"{what}: {done.status}\n{done.out}{done.err}")


def test_a_file_at_the_number_of_standard_error_is_not_written_to(lab):
    data = lab.path("data")
    done = lab.run([edge_host(lab), "data", data], env=lab.preloaded(HELDBY_DUMP_AT_EXIT="/missing/heap"))
    with open(data, encoding="ascii") as file:
        text = file.read()
    check((done.status, done.out, text) == (9, "number: 2\n", "data\n"), f"{done.status}\n{done.out}\nin its file:\n{text}")


def test_a_line_that_standard_error_does_not_take_is_counted(lab):
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen([edge_host(lab), "serve"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=writing,
                               env=lab.preloaded(HELDBY_SAMPLE_BYTES="many", HELDBY_LOG="loud", HELDBY_HISTORY_BYTES=1, **SERVED))
    os.close(writing)
    url = lab.served_address(process.pid)

    def counted():
        found = re.search(r'heldby_dropped_total\{what="error_lines"\} (\d+)', lab.fetch(url + "/metrics")[1].decode())
        return found and int(found[1]) == 3

    wait_until(counted, "three lines to be counted")
    process.stdin.close()
    check(process.wait(60) == 9, f"{process.returncode}")


def test_a_shell_that_gives_numbers_to_files_keeps_them_and_its_endpoint(lab):
    script = os.path.join(lab.programs, "writes_by_number.sh")
    for shell in ("bash", "dash"):
        folder = lab.path(shell)
        os.mkdir(folder)
        process = lab.start([need(shell), script, folder], stdin=subprocess.PIPE, env=lab.preloaded(**SERVED))
        url = lab.served_address(process.pid)
        process.popen.stdin.write(b"\n")
        process.popen.stdin.flush()
        process.wait_for("ready")
        for path in ("/healthz", "/metrics", "/debug/pprof/goroutine?debug=2"):
            status, body = lab.fetch(url + path)
            check(status == 200 and body, f"{shell}: {path}: {status}")
        process.popen.stdin.write(b"\n")
        process.popen.stdin.close()
        done = process.wait(60)
        lines = "".join(f"line {number}\n" for number in range(3, 10))
        check((done.status, done.out, done.err) == (9, "ready\n" + lines, ""), f"{shell}: {done.status}\n{done.out}{done.err}")


# The loader takes care of LD_PRELOAD; what is linked is there, and so are the variables.
def test_a_program_that_runs_as_another_user_takes_no_settings_from_who_starts_it(lab):
    if os.getuid() != 0:
        print("note    not root: nothing is tested")
        return
    program = lab.path("linked_host")
    lab.run_ok([need("g++"), "-std=c++20", os.path.join(lab.programs, "edge_host.cc"), "-o", program, *lab.linked_flags()],
               seconds=120)
    libraries = lab.path("lib")
    os.mkdir(libraries)
    for name in ("libheldby.so", "libheldby-server.so"):
        shutil.copy(lab.lib(name), libraries)
    for path in (lab.tmp, libraries):
        os.chmod(path, 0o755)
    os.chmod(program, 0o4755)
    dump = lab.path("at_exit.pb.gz")
    env = lab.env(HELDBY_DUMP_AT_EXIT=dump, HELDBY_SAMPLE_BYTES="many", **SERVED)
    nobody = [need("setpriv"), "--reuid=64999", "--regid=64999", "--clear-groups"]
    done = lab.run([*nobody, program], env=env)
    check((done.status, done.out, done.err) == (9, "", ""), f"{done.status}\n{done.out}{done.err}")
    check(not os.path.exists(dump), "somebody else's file was written by root")
    os.chmod(program, 0o755)
    done = lab.run([program], env=lab.env(HELDBY_DUMP_AT_EXIT=dump))
    check(done.status == 9 and os.path.exists(dump), f"{done.status}: its own user is not obeyed\n{done.err}")


def test_memory_that_is_refused_to_our_threads_ends_no_host_and_the_endpoint_comes_back(lab):
    allocator = lab.compile("refused_memory.cc", "refused_memory.so", "-shared", "-fPIC", "-fno-builtin")
    short = lab.path("memory_is_short")
    env = lab.preloaded(HELDBY_SAMPLE_BYTES=4096, REFUSE_WHILE=short, **SERVED)
    env["LD_PRELOAD"] += ":" + allocator
    process = lab.start([edge_host(lab), "serve"], stdin=subprocess.PIPE, env=env)
    url = lab.served_address(process.pid)
    with open(short, "w", encoding="ascii"):
        pass
    paths = ("/metrics", "/debug/pprof/heap", "/debug/pprof/goroutine?debug=2", "/debug/leaks", "/debug/connections",
             "/debug/pprof/profile?seconds=1", "/healthz")
    for path in paths * 8:
        with contextlib.suppress(OSError, http.client.HTTPException):
            lab.fetch(url + path, seconds=2)
        check(process.popen.poll() is None, f"{path} ended the host\n{process.err()}")
    os.remove(short)
    for path in paths:
        status, body = lab.fetch_when_up(url + path)
        check(status == 200 and body, f"{path}: {status} {body[:200]}")
    process.popen.stdin.close()
    done = process.wait(60)
    check(done.status == 9, f"{done.status}\n{done.err}")


# An auditor holds the loading up for longer than one fork waits.
def test_a_slow_loading_of_the_server_library_is_waited_for_by_one_fork_alone(lab):
    auditor = lab.compile("slow_auditor.cc", "slow_auditor.so", "-shared", "-fPIC")
    done = lab.run([edge_host(lab), "forks"], env=lab.preloaded(LD_AUDIT=auditor, **SERVED))
    said = done.err.splitlines()
    check(done.status == 9 and len(said) == 1 and "no endpoint in this child" in said[0], f"{done.status}\n{done.err}")


def test_a_dump_does_not_follow_a_link_that_lies_at_its_name(lab):
    precious = lab.path("precious")
    with open(precious, "w", encoding="ascii") as file:
        file.write("precious")
    dump = lab.path("at_exit.pb.gz")
    # The number of the process is known to who starts it, and guessed by others.
    script = f'ln -s {precious} {dump}.partial.$$; exec "$@"'
    lab.run([need("sh"), "-c", script, "sh", need("env"), f"LD_PRELOAD={lab.core}", f"HELDBY_DUMP_AT_EXIT={dump}",
             edge_host(lab)])
    with open(precious, "rb") as file:
        text = file.read()
    check(text == b"precious" and os.path.exists(dump), f"what the link led to was written over: {text[:100]}")


if __name__ == "__main__":
    run(globals())
