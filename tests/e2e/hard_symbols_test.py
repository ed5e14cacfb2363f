"""Names: what the host defines is the host's, and nobody of ours calls it."""

import re
import subprocess

from harness import check, need, run

ANSWERS = ("pprof/heap", "pprof/allocs", "pprof/goroutine?debug=2", "pprof/profile?seconds=1", "pprof/threadcreate",
           "pprof/block", "pprof/mutex", "fgprof?seconds=1", "pprof/trace?seconds=1", "connections", "tasks", "leaks")


def all_answers(lab, process):
    url = lab.served_address(process.pid)
    for path in ANSWERS:
        status, body = lab.fetch(f"{url}/debug/{path}")
        check(status == 200 and body, f"{path}: {status} {body[:200]}\n{process.err()}")
    done = lab.run_ok([need("curl"), "-sS", "-f", "--compressed", url + "/metrics"])
    check("heldby_heap_live_bytes" in done.out, f"/metrics, compressed:\n{done.out[:300]}")
    return url


def test_a_host_with_functions_by_the_names_of_libraries_is_never_called(lab):
    program = lab.compile("own_libraries.cc", "own_libraries", "-rdynamic")
    dump = lab.path("at_exit.pb.gz")
    process = lab.start([program], stdin=subprocess.PIPE,
                        env=lab.preloaded(HELDBY_SAMPLE_BYTES=1, HELDBY_LISTEN="127.0.0.1:0", HELDBY_DUMP_AT_EXIT=dump))
    process.wait_for("ready")
    lab.top(all_answers(lab, process) + "/debug/pprof/heap")
    process.popen.stdin.close()
    done = process.wait()
    check((done.status, done.out, done.err) == (9, "ready\ndone\n", ""), f"{done.status}\n{done.out}{done.err}")
    lab.top(dump)


REAL = ("-lz", "-lprotobuf", "-lunwind", "-lunwind-x86_64", "-ldw", "-lprometheus-cpp-pull", "-lprometheus-cpp-core",
        "-labsl_strings", "-labsl_synchronization", "-labsl_raw_hash_set", "-labsl_hash", "-pthread")


# libunwind takes the program's exceptions over, and prometheus-cpp brings a server of its own.
def test_a_host_that_works_with_the_real_libraries_works_on_while_every_profile_is_fetched(lab):
    program = lab.compile("real_libraries.cc", "real_libraries", "-Wno-pedantic", *REAL)
    outs = []
    for settings in (None, {"HELDBY_SAMPLE_BYTES": 1, "HELDBY_BLOCK_PROFILE_RATE": 1},
                     {"HELDBY_DUMP_AT_EXIT": lab.path("at_exit.pb.gz")}):
        env = lab.env() if settings is None else lab.preloaded(HELDBY_LISTEN="127.0.0.1:0", **settings)
        process = lab.start([program], env=env, stdin=subprocess.PIPE)
        process.wait_for("ready", 60)
        if settings is not None:
            for _ in range(2):
                all_answers(lab, process)
        process.popen.stdin.close()
        done = process.wait()
        check((done.status, done.err) == (9, "") and "wrong: 0" in done.out, f"{settings}: {done.status}\n{done.out}{done.err}")
        outs.append(done.out)
    check(outs[1] == outs[0] and outs[2] == outs[0], f"{outs[1]}{outs[2]}without us:\n{outs[0]}")
    lab.top(lab.path("at_exit.pb.gz"))


# Of libc, libstdc++, libgcc: names with a version. Of the core: the malloc family and the calls it wraps. Of Abseil:
# names with the version that Debian puts into them.
def test_no_name_of_the_server_library_can_be_taken_for_one_of_the_host(lab):
    listing = lab.run_ok([need("nm"), "-D", "--undefined-only", lab.lib("libheldby-server.so")]).out
    core = lab.run_ok([need("nm"), "-D", "--defined-only", lab.lib("libheldby.so")]).out.split()
    for line in listing.splitlines():
        name = line.split()[-1]
        versioned = re.search(r"@(GLIBC|GLIBCXX|CXXABI|GCC)_", name)
        weak = line.split()[-2] == "w" and name.startswith(("_ITM_", "__gmon_"))
        check(versioned or weak or name in core or re.match(r"_ZN?K?4absl7debian\d", name) or "4absl7debian" in name,
              f"libheldby-server.so asks whoever defines it for {name}")


if __name__ == "__main__":
    run(globals())
