"""Processes and threads that are made in other ways than fork() and pthread_create()."""

import json
import subprocess

from harness import check, run


def odd_clones(lab):
    return lab.compile("odd_clones.cc", "odd_clones", "-pthread")


def check_done(done, out="done\n"):
    check((done.status, done.out, done.err) == (9, out, ""), f"{done.status}\n{done.out}{done.err}")


def test_spawn_popen_system_and_vfork_under_load_end_as_ever(lab):
    program = odd_clones(lab)
    for listen in ("", "127.0.0.1:0"):
        check_done(lab.run([program, "spawn"], env=lab.preloaded(HELDBY_SAMPLE_BYTES=1, HELDBY_LISTEN=listen), seconds=200))


def test_a_process_that_shares_our_memory_closes_no_connection_of_ours(lab):
    process = lab.start([odd_clones(lab), "memory"], stdin=subprocess.PIPE,
                        env=lab.preloaded(HELDBY_SAMPLE_BYTES=1, HELDBY_LISTEN="127.0.0.1:0"))
    process.wait_for("ready")
    status, body = lab.fetch(lab.served_address(process.pid) + "/debug/connections?format=json")
    rows = json.loads(body)["connections"]
    open_rows = [row for row in rows if not row["what_is_wrong"].startswith("ended")]
    check(status == 200 and len(open_rows) == 2, f"{status}: {len(open_rows)} of 2 connections are open\n{rows}")
    process.popen.stdin.close()
    check_done(process.wait(), "ready\ndone\n")


def test_threads_that_libc_knows_nothing_of_survive_every_profile(lab):
    process = lab.start([odd_clones(lab), "bare"], stdin=subprocess.PIPE,
                        env=lab.preloaded(HELDBY_SAMPLE_BYTES=1, HELDBY_LISTEN="127.0.0.1:0"))
    process.wait_for("ready")
    url = lab.served_address(process.pid)
    for path in ("pprof/goroutine?debug=2", "pprof/profile?seconds=2", "fgprof?seconds=1", "pprof/heap",
                 "pprof/goroutine?debug=2"):
        status, body = lab.fetch(f"{url}/debug/{path}")
        check(status == 200, f"{path}: {status} {body[:300]}\n{process.err()}")
    process.popen.stdin.close()
    check_done(process.wait(), "ready\ndone\n")


if __name__ == "__main__":
    run(globals())
