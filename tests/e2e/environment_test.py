"""A bad value is one clear line, and the host runs on as if nothing had been said."""

import os
import re
import socket

from harness import check, run


def host_program(lab):
    return lab.compile("fork_census.cc", "census")


def one_line(lab, name, value, accepted, **others):
    """`name`=`value` costs one line with all three in it, and nothing else changes."""
    census = host_program(lab)
    others.setdefault("HELDBY_LISTEN", "127.0.0.1:0")
    done = lab.run([census, "400"], lab.preloaded(**{**others, name: value}))
    check(done.status == 7, f"the host ended with {done.status}\n{done.err}")
    check(done.out.startswith("threads="), f"the host's output: {done.out!r}")
    lines = done.err.splitlines()
    check(len(lines) == 1, f"{name}={value}: {len(lines)} lines, expected one\n{done.err}")
    for word in (name, value, *accepted):
        check(word in lines[0], f"{name}={value}: no word of {word!r} in:\n{lines[0]}")


def test_a_bad_sampling_distance_is_one_clear_line(lab):
    for value in ("many", "-1", "12k", "99999999999999999999"):
        one_line(lab, "HELDBY_SAMPLE_BYTES", value, ["accepted", "1099511627776"])


def test_a_bad_contention_rate_is_one_clear_line(lab):
    for value in ("often", "-1", "3600000000001"):
        one_line(lab, "HELDBY_BLOCK_PROFILE_RATE", value, ["accepted", "3600000000000"])
    for value in ("all", "-1", "10001"):
        one_line(lab, "HELDBY_MUTEX_PROFILE_FRACTION", value, ["accepted", "10000"])


def test_a_bad_listen_address_is_one_clear_line(lab):
    for value in ("garbage", "127.0.0.1:99999", "127.0.0.1", "unix:"):
        one_line(lab, "HELDBY_LISTEN", value, ["accepted"])


def test_a_foreign_address_without_a_token_is_refused_in_one_line(lab):
    one_line(lab, "HELDBY_LISTEN", "0.0.0.0:0", ["HELDBY_TOKEN_FILE"])


def test_a_port_that_another_program_has_is_one_clear_line(lab):
    with socket.socket() as foreign:
        foreign.bind(("127.0.0.1", 0))
        foreign.listen(1)
        one_line(lab, "HELDBY_LISTEN", f"127.0.0.1:{foreign.getsockname()[1]}", [])


def test_children_of_a_served_process_are_silent_about_its_port(lab):
    port = lab.port_nobody_is_given()
    script = ("sleep 0.5; for i in 1 2 3; do /bin/sh -c 'sleep 0.4; /bin/true'; done; echo output; exit 7")
    done = lab.run(["/bin/sh", "-c", script], lab.preloaded(HELDBY_LISTEN=f"127.0.0.1:{port}"))
    check((done.status, done.out, done.err) == (7, "output\n", ""), f"{done.status} {done.out!r}\n{done.err}")


def test_an_unreadable_token_file_is_one_clear_line(lab):
    missing = lab.path("no-such-token")
    one_line(lab, "HELDBY_TOKEN_FILE", missing, [], HELDBY_LISTEN="0.0.0.0:0")


def test_a_dump_into_a_missing_folder_is_one_clear_line(lab):
    one_line(lab, "HELDBY_DUMP_AT_EXIT", lab.path("missing/heap.pb.gz"), ["No such file or directory"],
             HELDBY_LISTEN="")


def test_processes_that_dump_to_one_file_leave_one_whole_profile(lab):
    # All at once, all to the same name: the last one wins, nobody's half is left.
    dump = lab.path("all.pb.gz")
    program = host_program(lab)
    hosts = [lab.start([program, "0"], lab.preloaded(HELDBY_DUMP_AT_EXIT=dump, HELDBY_SAMPLE_BYTES=1))
             for _ in range(8)]
    for host in hosts:
        done = host.wait()
        check(done.err == "", f"a word on stderr: {done.err}")
    check(lab.top(dump, "-sample_index=alloc_space").total > 0, "an empty profile")
    left = [name for name in os.listdir(lab.tmp) if "partial" in name]
    check(not left, f"left behind: {left}")


def test_a_child_forked_while_the_server_library_is_loaded_slowly_ends_well(lab):
    # An auditor holds the loading up for longer than a fork waits.
    auditor = lab.compile("slow_auditor.cc", "slow_auditor.so", "-shared", "-fPIC")
    program = lab.compile("forks_late.cc", "forks_late")
    done = lab.run([program], lab.preloaded(LD_AUDIT=auditor, HELDBY_LISTEN="127.0.0.1:0",
                                            HELDBY_DUMP_AT_EXIT=lab.path("%p.pb.gz"), HELDBY_LOG="info"))
    check((done.status, done.out) == (0, "child 7\n"), f"{done.status}: {done.out}{done.err}")
    check("no endpoint in this child" in done.err, f"the fork waited for the library after all:\n{done.err}")


def test_a_program_that_makes_its_environment_anew_is_not_read_meanwhile(lab):
    # Our thread begins while the program, of one thread, changes what getenv() walks through.
    program = lab.compile("renews_environment.cc", "renews_environment")
    hosts = [lab.start([program], lab.preloaded(HELDBY_LISTEN="127.0.0.1:0", HELDBY_SAMPLE_BYTES="64")) for _ in range(4)]
    for host in hosts:
        done = host.wait()
        check((done.status, done.out, done.err) == (0, "changed\n", ""), f"{done.status}: {done.out}{done.err}")


def test_settings_that_are_too_long_together_start_no_endpoint(lab):
    # HELDBY_TOKEN_FILE may be what there was no room for.
    more = {f"HELDBY_LONG_{i}": 60000 * "x" for i in range(2)}
    done = lab.run([host_program(lab), "300"], lab.preloaded(HELDBY_LISTEN="127.0.0.1:0", HELDBY_LOG="info", **more))
    check(done.status == 7 and "longer than 64 KiB together" in done.err, f"{done.status}: {done.err}")
    check("serves" not in done.err, done.err)
    allowed = lab.run([host_program(lab), "300"], lab.preloaded(HELDBY_LISTEN="127.0.0.1:0", HELDBY_LOG="info",
                                                               LD_LIBRARY_PATH=100000 * "/"))
    check("serves" in allowed.err and "64 KiB" not in allowed.err, allowed.err)


def test_threads_that_a_handler_of_fork_starts_in_the_child_run_as_themselves(lab):
    program = lab.compile("forks_with_threads.cc", "forks_with_threads", "-pthread")
    done = lab.run([program], lab.preloaded())
    check((done.status, done.out) == (0, "0 children went wrong\n"), f"{done.status}: {done.out}{done.err}")


def test_a_bad_log_level_is_one_clear_line(lab):
    one_line(lab, "HELDBY_LOG", "loud", ["info", "error", "accepted"])


def test_a_bad_disable_is_one_clear_line(lab):
    one_line(lab, "HELDBY_DISABLE", "maybe", ["accepted", "1", "0"])
    one_line(lab, "HELDBY_THREAD_SIGNAL", "SIGUSR1", ["accepted", "1", "0"])


def test_disable_means_no_thread_no_file_and_no_dump(lab):
    census = host_program(lab)
    plain = lab.run([census, "300"])
    disabled = lab.run([census, "300"], lab.preloaded(
        HELDBY_DISABLE="1", HELDBY_LISTEN="127.0.0.1:0", HELDBY_SAMPLE_BYTES="1",
        HELDBY_DUMP_AT_EXIT=lab.path("%p.pb.gz")))
    check((plain.status, plain.out, plain.err) == (disabled.status, disabled.out, disabled.err),
          f"without: {plain.out}\nwith HELDBY_DISABLE=1: {disabled.out}{disabled.err}")
    check(not [name for name in os.listdir(lab.tmp) if name.endswith(".pb.gz")], "a profile was written")


def test_the_host_sees_no_child_of_ours(lab):
    census = host_program(lab)
    done = lab.run([census, "300"], lab.preloaded(HELDBY_LISTEN="127.0.0.1:0", HELDBY_SAMPLE_BYTES="1"))
    check("children=none" in done.out, f"waitpid(-1) found a child: {done.out}")


def test_hooks_stand_down_for_a_sanitizer_and_say_so(lab):
    for sanitizer, name in (("address", "AddressSanitizer"), ("thread", "ThreadSanitizer")):
        program = lab.compile("readable_names.cc", f"with_{sanitizer}", f"-fsanitize={sanitizer}", *lab.linked_flags())
        done = lab.run([program], env=lab.env(ASAN_OPTIONS="detect_leaks=0"))
        said = [line for line in done.err.splitlines() if line.startswith("heldby:")]
        check(done.status == 0, f"-fsanitize={sanitizer}: ended with {done.status}\n{done.err[-3000:]}")
        check(len(said) == 1 and "stand down" in said[0] and name in said[0], f"{sanitizer}:\n{done.err[-3000:]}")
        refused = lab.run([lab.heldby, "run", "--", program])
        check(refused.status == 1 and re.search(r"heldby run: .*sanitizer", refused.err),
              f"heldby run on -fsanitize={sanitizer}: {refused.status}\n{refused.err[-2000:]}")


def test_a_static_program_is_refused_clearly(lab):
    program = lab.compile("fork_census.cc", "static_census", "-static")
    done = lab.run([lab.heldby, "run", "--", program])
    check(done.status == 1 and "statically linked" in done.err and "dynamic linker" in done.err and done.out == "",
          f"{done.status}\n{done.out}{done.err}")


if __name__ == "__main__":
    run(globals())
